"""Filter each pixel with its own 3x3 kernel, which a network predicts from the image (predictive filtering).

Source: Guo et al., "EfficientDeRain", AAAI 2021, as MISF (Li et al., CVPR 2022) and JPGNet (Guo et al., ACM MM 2021)
use it: no softmax over a kernel, no normalisation, no bias.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

TAPS = 9


def predictive_filter(maps: Tensor, kernels: Tensor, dilations: Sequence[int] = (1,)) -> list[Tensor]:
    """Filter each channel at each position with the kernel predicted for it, in float32.

    Args:
        maps: (B, C, H, W), an image or features; zero beyond the border.
        kernels: (B, 9 C, H, W); channel ``9 c + 3 i + j`` weighs the neighbour in row i, column j of map c.
        dilations: distances between neighbouring taps, in pixels; each gives a result.

    Returns:
        for each dilation (B, C, H, W), sums that are not normalised.
    """
    # The taps of a kernel are planes of one layout; channels last would scatter them.
    taps = kernels.contiguous().float().unflatten(1, (-1, TAPS))
    return list(cast(tuple[Tensor, ...], _Filter.apply(maps.float(), taps, tuple(dilations))))


class _Filter(torch.autograd.Function):
    """Add up the taps one by one: a tensor of all neighbours would be nine times as large as the maps."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, taps: Tensor, dilations: tuple[int, ...]) -> tuple[Tensor, ...]:
        ctx.save_for_backward(maps, taps)
        ctx.dilations = dilations
        filtered = []
        for dilation in dilations:
            total = torch.zeros_like(maps, memory_format=torch.contiguous_format)
            for tap, neighbours in enumerate(_neighbours(_padded(maps, dilation), dilation)):
                total += neighbours * taps[:, :, tap]  # not in one step, which rounds differently
            filtered.append(total)
        return tuple(filtered)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        maps, taps = ctx.saved_tensors
        of_maps = torch.zeros_like(maps) if ctx.needs_input_grad[0] else None
        of_taps = torch.zeros_like(taps) if ctx.needs_input_grad[1] else None
        for dilation, gradient in zip(ctx.dilations, gradients, strict=True):
            gradient = gradient.contiguous()
            if of_taps is not None:
                for tap, neighbours in enumerate(_neighbours(_padded(maps, dilation), dilation)):
                    of_taps[:, :, tap].addcmul_(neighbours, gradient)
            if of_maps is not None:
                padded = _padded(torch.zeros_like(maps), dilation)
                for tap, neighbours in enumerate(_neighbours(padded, dilation)):
                    neighbours.addcmul_(taps[:, :, tap], gradient)
                of_maps += padded[..., dilation:-dilation, dilation:-dilation]
        return of_maps, of_taps, None


def _padded(maps: Tensor, width: int) -> Tensor:
    return functional.pad(maps, (width,) * 4).contiguous()


def _neighbours(padded: Tensor, dilation: int) -> Iterator[Tensor]:
    """Yield views of each tap's neighbours, (B, C, H, W), row by row of the kernel."""
    height, width = (side - 2 * dilation for side in padded.shape[-2:])
    for i in range(0, 3 * dilation, dilation):
        for j in range(0, 3 * dilation, dilation):
            yield padded[..., i : i + height, j : j + width]


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
