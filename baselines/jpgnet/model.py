"""JPGNet's kernel-predicting networks, written from the published facts; outputs equal the authors'.

Source: Guo et al., "JPGNet: Joint Predictive Filtering and Generative Network for Image Inpainting", ACM MM 2021.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from baselines.filtering import TAPS, KernelBlock, double, halve, predictive_filter

DILATIONS = (1, 2, 3, 4)


class KernelNetwork(nn.Module):
    """A U-Net that predicts a 3x3 kernel for every pixel and channel of one or two images, and filters them.

    The same kernels are applied at four dilations, and a convolution merges the four results. ``conv_fusion``
    exists, as in the authors' files, although a network of one image does not use it.

    Args:
        inputs: channels of the network's input.
        images: number of RGB images that are filtered, 1 or 2.
        channels: width of the first block; 64 as published.
        downsamplings: halvings of the side, at least 2; 4 as published.
        init_gain: gain of Xavier's initial weights.
    """

    def __init__(
        self,
        inputs: int,
        images: int,
        channels: int = 64,
        downsamplings: int = 4,
        init_gain: float = 0.02,
    ) -> None:
        super().__init__()
        if downsamplings < 2 or channels < 1:
            raise ValueError(f"JPGNet needs channels >= 1 and downsamplings >= 2, got {channels} and {downsamplings}.")
        self.downsamplings = downsamplings
        widths = [channels * 2 ** min(n, downsamplings - 1) for n in range(downsamplings + 1)]
        kernels = TAPS * 3 * images
        previous = inputs
        for n, width in enumerate(widths):
            self.add_module(f"conv{n + 1}", KernelBlock(previous, width))
            previous = width
        for n in self._ups():
            outputs = widths[n] if n > 1 else kernels
            self.add_module(self._up(n), KernelBlock(widths[n] + previous, outputs))
            previous = outputs
        self.outc = nn.Conv2d(kernels, kernels, 1)
        self.conv_final = nn.Conv2d(3 * len(DILATIONS), 3, 3, padding=1)
        self.conv_fusion = nn.Conv2d(6, 3, 1)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.xavier_normal_(layer.weight, init_gain)

    def _ups(self) -> range:
        """Return the levels of the decoder, by halvings of the side; the last doubling has no block."""
        return range(self.downsamplings - 1, 0, -1)

    def _up(self, level: int) -> str:
        return f"conv{2 * self.downsamplings + 1 - level}"

    def forward(self, x: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
        """Filter images.

        Args:
            x: (B, inputs, H, W), sides divisible by 2 to the number of downsamplings.
            images: (B, 3, H, W) or (B, 6, H, W), one or two RGB images.

        Returns:
            one image (B, 3, H, W), unbounded, and the kernels (B, 27 or 54, H, W), which are not normalised.
        """
        maps = [self.get_submodule("conv1")(x)]
        for n in range(2, self.downsamplings + 2):
            maps.append(getattr(self, f"conv{n}")(halve(maps[-1])))
        up = maps[-1]
        for level in self._ups():
            up = getattr(self, self._up(level))(torch.cat([maps[level], double(up)], dim=1))
        kernels = self.outc(double(up))
        filtered = predictive_filter(images, kernels, DILATIONS)
        if images.shape[1] > 3:
            filtered = [self.conv_fusion(image) for image in filtered]
        return self.conv_final(torch.cat(filtered, dim=1)).float(), kernels


def uncertainty(kernels: Tensor) -> Tensor:
    """Return the uncertainty of the filtering: the mean of each pixel's kernels, scaled to [0, 1] over each image.

    The authors scale over the whole batch, so that a result depends on the other images. They test one image at a time,
    where the two are the same. Their code also works for 256x256 pixels only.

    Args:
        kernels: (B, K, H, W).

    Returns:
        (B, 1, H, W) in [0, 1], float32.
    """
    mean = kernels.float().mean(dim=1, keepdim=True)
    lowest, highest = mean.amin(dim=(2, 3), keepdim=True), mean.amax(dim=(2, 3), keepdim=True)
    return (mean - lowest) / (highest - lowest).clamp(min=1e-12)
