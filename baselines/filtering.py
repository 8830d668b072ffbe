"""Filter each pixel with its own 3x3 kernel, which a network predicts from the image (predictive filtering).

Source: Guo et al., "EfficientDeRain", AAAI 2021, as MISF (Li et al., CVPR 2022) and JPGNet (Guo et al., ACM MM 2021)
use it: no softmax over a kernel, no normalisation, no bias.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

TAPS = 9


def predictive_filter(maps: Tensor, kernels: Tensor, dilation: int = 1) -> Tensor:
    """Filter each channel at each position with the kernel predicted for it, in float32.

    Args:
        maps: (B, C, H, W), an image or features; zero beyond the border.
        kernels: (B, 9 C, H, W); channel ``9 c + 3 i + j`` weighs the neighbour in row i, column j of map c.
        dilation: distance between neighbouring taps, in pixels.

    Returns:
        (B, C, H, W), sums that are not normalised.
    """
    shape = (len(maps), maps.shape[1], TAPS, *maps.shape[2:])
    # `unfold` lists, for each channel, the nine neighbours of every position: (B, 9 C, H W), channel by channel.
    neighbours = functional.unfold(maps.float(), kernel_size=3, dilation=dilation, padding=dilation)
    return (neighbours.view(shape) * kernels.float().view(shape)).sum(dim=2)


class KernelBlock(nn.Module):
    """Three 3x3 convolutions, each with a ReLU: the block of the networks that predict kernels."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for channels in (inputs, outputs, outputs):
            layers += [nn.Conv2d(channels, outputs, 3, padding=1), nn.ReLU(True)]
        self.conv1 = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H, W)."""
        return self.conv1(x)


def halve(x: Tensor) -> Tensor:
    """Return the means of 2x2 pixels, (B, C, H/2, W/2)."""
    return functional.avg_pool2d(x, 2)


def double(x: Tensor) -> Tensor:
    """Return twice the height and width, bilinearly interpolated."""
    return functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
