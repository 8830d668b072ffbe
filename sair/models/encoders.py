"""Appearance encoders, which turn a masked image and its mask into a feature map of the image's size."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sair.models.convolutions import Convolutions


class ResidualBlock(nn.Module):
    """x + conv(relu(conv(x))), 3x3, no normalisation."""

    def __init__(self, channels: int, dilation: int = 1) -> None:
        super().__init__()
        self.body = Convolutions(
            nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, channels, h, w), the shape of ``x``."""
        return x + self.body(x)


def start_for_relu(module: nn.Module) -> None:
    """Draw initial weights so that ReLU layers keep the signal's size (He et al., 2015).

    PyTorch's default reduces the variance to a third in every layer. In an encoder of 12 layers without normalisation
    or skips, almost nothing of the image would reach the output at the start of training.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        elif isinstance(layer, nn.ConvTranspose2d):
            # An output pixel depends on kernel / stride taps along each side, in every input channel.
            taps = layer.kernel_size[0] * layer.kernel_size[1] / (layer.stride[0] * layer.stride[1])
            nn.init.normal_(layer.weight, std=(2 / (layer.in_channels * taps)) ** 0.5)
        if isinstance(layer, nn.Conv2d | nn.Linear | nn.ConvTranspose2d) and layer.bias is not None:
            nn.init.zeros_(layer.bias)
    for layer in module.modules():
        if isinstance(layer, ResidualBlock):
            last = layer.body[-1]
            assert isinstance(last, nn.Conv2d)
            nn.init.zeros_(last.weight)


class AppEncoder(nn.Module):
    """The paper's AppEncoder (Table 4 of the paper, "detail the architecture").

    The table prints its last two layers as Conv(., ., 4, 2, 1); these must be transposed convolutions, because only
    then is the output "of the same size as the input image" (section 4.4). At the paper's size the receptive
    field of a feature is 164 pixels, 0.6 of a 256-pixel side.

    Args:
        channels: width of the first and last layer (paper: 64); the inner ones are two and four times as wide.
        blocks: residual blocks at a quarter of the size (paper: 8).
    """

    def __init__(self, channels: int = 64, blocks: int = 8) -> None:
        super().__init__()
        self.channels = channels
        self.layers = Convolutions(
            nn.Conv2d(4, channels, 7, padding=3),
            nn.ReLU(),
            nn.Conv2d(channels, 2 * channels, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(2 * channels, 4 * channels, 4, stride=2, padding=1),
            nn.ReLU(),
            *[ResidualBlock(4 * channels) for _ in range(blocks)],
            nn.Conv2d(4 * channels, 4 * channels, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(4 * channels, 4 * channels, 3, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(4 * channels, 2 * channels, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(2 * channels, channels, 4, stride=2, padding=1),
            nn.ReLU(),
        )
        start_for_relu(self)

    def forward(self, images: Tensor, masks: Tensor) -> Tensor:
        """Encode (B, 3, H, W) in [-1, 1] with holes at 0 and (B, 1, H, W), 1 = hole, to (B, channels, H, W)."""
        height, width = images.shape[-2:]
        x = torch.cat([images, masks], dim=1)
        # Two halvings need sides divisible by four; the border is repeated outwards and cut off again.
        x = nn.functional.pad(x, (0, -width % 4, 0, -height % 4), mode="replicate")
        # Channels last makes bfloat16 convolutions faster, and the implicit function looks up rows of channels.
        return self.layers(x.contiguous(memory_format=torch.channels_last))[..., :height, :width]


class EDSR(nn.Module):
    """EDSR-baseline without its upsampling tail (Lim et al., 2017), the encoder of LIIF and LTE.

    Parameter names are those of the authors' checkpoints.

    Args:
        channels: width of every layer (paper: 64).
        blocks: residual blocks (paper: 16).
        mask: take the mask as a fourth input channel; the authors' super-resolution models have none.
        dilations: one per residual block, instead of ``blocks``; see ``AtrousEncoder``.
    """

    def __init__(
        self, channels: int = 64, blocks: int = 16, mask: bool = True, dilations: Sequence[int] | None = None
    ) -> None:
        super().__init__()
        self.channels, self.mask = channels, mask
        self.head = Convolutions(nn.Conv2d(4 if mask else 3, channels, 3, padding=1))
        self.body = Convolutions(
            *[ResidualBlock(channels, dilation) for dilation in dilations or [1] * blocks],
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, images: Tensor, masks: Tensor) -> Tensor:
        """Encode (B, 3, H, W) in [-1, 1] with holes at 0 and (B, 1, H, W), 1 = hole, to (B, channels, H, W)."""
        x = torch.cat([images, masks], dim=1) if self.mask else images
        x = self.head(x.contiguous(memory_format=torch.channels_last))
        return x + self.body(x)


class AtrousEncoder(EDSR):
    """A substitute for AppEncoder on small images and in short runs.

    AppEncoder halves the image twice to enlarge its receptive field. On a 64-pixel image dilated residual blocks reach
    as far at full resolution. EDSR's skip from the first to the last layer carries the image's detail. AppEncoder
    passes it through a bottleneck, which takes far more steps to train than a run of minutes has
    (docs/mini-preset.md gives the figures).

    Args:
        channels: width of every layer.
        dilations: one per residual block; the receptive field is 5 + 4 * sum(dilations) pixels.
    """

    def __init__(self, channels: int = 32, dilations: Sequence[int] = (1, 1, 2, 2, 2, 1)) -> None:
        super().__init__(channels, dilations=dilations)


ENCODERS = {"app": AppEncoder, "atrous": AtrousEncoder, "edsr": EDSR}
