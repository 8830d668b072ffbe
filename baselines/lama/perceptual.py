"""The network of LaMa's high-receptive-field perceptual loss: a dilated ResNet-50, trained to segment ADE20K.

Source: Suvorov et al., WACV 2022, section 2.2.1. The weights are those of the encoder ``resnet50dilated`` of MIT's
semantic-segmentation-pytorch, under its parameter names.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck, ResNet

from baselines.checkpoints import load_network, read_checkpoint, state_of
from sair import weights
from sair.weights.imagenet import IMAGENET_MEAN, IMAGENET_STD

WEIGHTS = "ade20k_resnet50"


class DilatedResNet50(nn.Module):
    """ResNet-50 with a stem of three 3x3 convolutions and with dilation instead of strides in the last two stages.

    So the third and fourth stage keep an eighth of the side, and see most of a 256-pixel image.
    """

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        plan = ResNet(Bottleneck, [3, 4, 6, 3], replace_stride_with_dilation=[False, True, True])
        for number, (inputs, outputs, stride) in enumerate([(3, 64, 2), (64, 64, 1), (64, 128, 1)], 1):
            self.add_module(f"conv{number}", nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False))
            self.add_module(f"bn{number}", nn.BatchNorm2d(outputs))
        self.pool = plan.maxpool
        self.layer1, self.layer2, self.layer3, self.layer4 = plan.layer1, plan.layer2, plan.layer3, plan.layer4
        first = self.layer1[0]  # the stem of three convolutions has 128 channels, torchvision's 64
        first.conv1 = nn.Conv2d(128, 64, 1, bias=False)
        first.downsample[0] = nn.Conv2d(128, 256, 1, bias=False)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map (B, 3, H, W) in [0, 1] to the outputs of the four stages, at 1/4, 1/8, 1/8 and 1/8 of the side."""
        x = (images - self.mean) / self.std
        for number in (1, 2, 3):
            x = torch.relu(getattr(self, f"bn{number}")(getattr(self, f"conv{number}")(x)))
        x, maps = self.pool(x), []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
            maps.append(x)
        return maps


def load_encoder(path: str | Path) -> DilatedResNet50:
    """Return the frozen network with the weights of an ``encoder_epoch_20.pth``.

    Raises:
        InputError: no such file, or names or shapes that are missing, left over or wrong; it lists them.
    """
    with torch.random.fork_rng(devices=[]):  # its initial weights must not affect the training's random numbers
        network = DilatedResNet50()
    load_network(network, state_of(read_checkpoint(path), path), path)
    return network.eval().requires_grad_(False)


def hrf_features() -> DilatedResNet50:
    """Return the network with the authors' weights from any source of ``sair.weights``.

    Raises:
        InputError: no source has them; the message says where to get them.
    """
    return load_encoder(weights.file(WEIGHTS))
