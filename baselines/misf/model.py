"""MISF's generator, written from the published facts; outputs equal the authors' (``tests/golden/misf.json``).

Source: Li et al., "MISF: Multi-level Interactive Siamese Filtering for High-Fidelity Image Inpainting", CVPR 2022.
One branch encodes and decodes, same as EdgeConnect's inpainting generator. The other predicts kernels from the same
image, which filter the first branch's features and, at the end, its image.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from baselines.filtering import TAPS, KernelBlock, double, halve, predictive_filter
from baselines.networks import InstanceNorm2d, LastConv2d, ResidualBlock, normal_weights, symmetric_pad

FACTOR = 4
# The residual blocks mirror two pixels at a quarter of the resolution, which requires at least three.
SMALLEST = 3 * FACTOR
# The network predicts 9/4 values per feature and position; each is used for this many neighbouring taps.
SHARED_BY = 4


class KernelPrediction(nn.Module):
    """The branch that predicts the kernels of both levels.

    ``conv_final`` is not used; it exists because the authors' files contain its weights.
    """

    def __init__(self, channels: int = 64) -> None:
        super().__init__()
        one, two, four, eight = (channels * k for k in (1, 2, 4, 8))
        self.conv1 = KernelBlock(4, one)
        self.conv2 = KernelBlock(one, two)
        self.conv3 = KernelBlock(two + two, four)
        self.conv4 = KernelBlock(four, eight)
        self.conv7 = KernelBlock(four + eight, four)
        self.conv8 = KernelBlock(four + four, two)
        self.conv9 = KernelBlock(one + two, one)
        self.kernels = nn.Conv2d(four, four * TAPS // SHARED_BY, 1)
        self.core_img = nn.Conv2d(one, 3 * TAPS, 1)
        self.conv_final = nn.Conv2d(12, 3, 3, padding=1)

    def forward(self, x: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """Predict the kernels of both levels.

        Args:
            x: (B, 4, H, W), the image with its hole and the mask.
            features: (B, 2 C, H/2, W/2), features of the other branch after its first downsampling.

        Returns:
            kernels for 4 C features (B, 9 * 4 C, H/4, W/4) and for the image (B, 27, H, W).
        """
        full = self.conv1(x)
        half = torch.cat([self.conv2(halve(full)), features], dim=1)
        quarter = self.conv3(halve(half))
        # Same as the authors' nearest-neighbour resize along the channel axis: taps of a kernel share values.
        kernels = self.kernels(quarter).repeat_interleave(SHARED_BY, dim=1)
        up = self.conv7(torch.cat([quarter, self.conv4(quarter)], dim=1))
        up = self.conv8(torch.cat([half, double(up)], dim=1))
        return kernels, self.core_img(self.conv9(torch.cat([full, double(up)], dim=1)))


class MISFGenerator(nn.Module):
    """The generator with both branches (published size: 64 channels, 8 blocks).

    Args:
        channels: channels after the first convolution of either branch.
        blocks: residual blocks at a quarter of the resolution.
    """

    def __init__(self, channels: int = 64, blocks: int = 8) -> None:
        super().__init__()
        if channels < 1 or blocks < 1:
            raise ValueError(f"MISF needs channels >= 1 and blocks >= 1, got {channels} and {blocks}.")
        one, two, four = (channels * k for k in (1, 2, 4))
        self.encoder0 = nn.Sequential(nn.ReflectionPad2d(3), nn.Conv2d(4, one, 7), *_norm(one))
        self.encoder1 = nn.Sequential(nn.Conv2d(one, two, 4, stride=2, padding=1), *_norm(two))
        self.encoder2 = nn.Sequential(nn.Conv2d(two, four, 4, stride=2, padding=1), *_norm(four))
        self.middle = nn.Sequential(*(ResidualBlock(four) for _ in range(blocks)))
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(four, two, 4, stride=2, padding=1),
            *_norm(two),
            nn.ConvTranspose2d(two, one, 4, stride=2, padding=1),
            *_norm(one),
            nn.ReflectionPad2d(3),
            LastConv2d(one, 3, 7),
        )
        self.kpn_model = KernelPrediction(channels)
        self.apply(normal_weights)

    def forward(self, images: Tensor, masks: Tensor) -> Tensor:
        """Paint the whole image; the caller composites.

        The authors' code works for squares only; for other shapes it swaps the sides of the kernel maps. Here any size
        works, padded at the bottom and right by mirroring to a multiple of 4.

        Args:
            images: (B, 3, H, W) in [0, 1]; their content inside the hole is ignored (the hole is filled black).
            masks: (B, 1, H, W), 1 = hole.

        Returns:
            (B, 3, H, W) in [0, 1], float32.
        """
        height, width = images.shape[-2:]
        x = torch.cat([images * (1 - masks), masks], dim=1)
        x = symmetric_pad(x, *(max(SMALLEST, -(-side // FACTOR) * FACTOR) for side in (height, width)))
        features = self.encoder1(self.encoder0(x))
        feature_kernels, image_kernels = self.kpn_model(x, features)
        (features,) = predictive_filter(self.encoder2(features), feature_kernels)
        (painted,) = predictive_filter(self.decoder(self.middle(features)), image_kernels)
        return (painted.tanh() + 1)[..., :height, :width] / 2


def _norm(channels: int) -> tuple[nn.Module, nn.Module]:
    return InstanceNorm2d(channels), nn.ReLU(True)
