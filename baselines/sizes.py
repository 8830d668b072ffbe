"""Bring images and masks to the size that a foreign network or program needs, and its output back."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from baselines.networks import symmetric_pad

Fill = Callable[[Tensor, Tensor], Tensor]  # images and masks of one size -> predictions of that size


def resized(images: Tensor, masks: Tensor, shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Resize images and masks; a resized pixel that overlaps the hole is part of the hole.

    Args:
        images: (B, 3, H, W).
        masks: (B, 1, H, W), 1 = hole.
        shape: height and width of the results.

    Returns:
        Images by antialiased bilinear interpolation, and masks in {0, 1}.
    """
    if images.shape[-2:] == shape:
        return images, masks
    images = F.interpolate(images, shape, mode="bilinear", align_corners=False, antialias=True)
    # The colour of a pixel that overlaps the hole is mixed with what is under the hole.
    return images, (F.interpolate(masks, shape, mode="area") > 0).float()


def back(predictions: Tensor, shape: tuple[int, int]) -> Tensor:
    """Resize predictions (B, 3, h, w) to a height and width by bicubic interpolation, clamped to [0, 1]."""
    if predictions.shape[-2:] == shape:
        return predictions
    return F.interpolate(predictions, shape, mode="bicubic", align_corners=False).clamp(0, 1)


def on_multiple(fill: Fill, images: Tensor, masks: Tensor, multiple: int) -> Tensor:
    """Fill images that are mirrored at the bottom and right until their sides are multiples; crop the predictions.

    Args:
        fill: fills images of that size.
        images: (B, 3, H, W).
        masks: (B, 1, H, W), 1 = hole; mirrored in the same way.
        multiple: of the sides, in pixels.

    Returns:
        (B, 3, H, W)
    """
    height, width = images.shape[-2:]
    sides = [-(-side // multiple) * multiple for side in (height, width)]
    return fill(symmetric_pad(images, *sides), symmetric_pad(masks, *sides))[..., :height, :width]


def by_tiles(fill: Fill, images: Tensor, masks: Tensor, size: int, overlap: int) -> Tensor:
    """Fill images tile by tile; tiles without a hole are left as they are, and overlapping ones are blended.

    Args:
        fill: fills images of ``size`` x ``size``.
        images: (B, 3, H, W). If a side is shorter than ``size``, it is mirrored up to it.
        masks: (B, 1, H, W), 1 = hole.
        size: side of a tile in pixels.
        overlap: width in pixels of the strip that neighbouring tiles share, less than ``size``. In it the weight of a
            tile rises linearly from its edge.

    Returns:
        (B, 3, H, W)
    """
    height, width = images.shape[-2:]
    sides = [max(side, size) for side in (height, width)]
    images, masks = symmetric_pad(images, *sides), symmetric_pad(masks, *sides)
    ramp = torch.arange(1, size + 1, device=images.device, dtype=images.dtype)
    ramp = torch.minimum(ramp, ramp.flip(0)).clamp_max(max(1, overlap))
    weight = ramp[:, None] * ramp[None]
    total, weights = torch.zeros_like(images), torch.zeros_like(images[:1, :1])
    for top in _starts(sides[0], size, overlap):
        for left in _starts(sides[1], size, overlap):
            part = (..., slice(top, top + size), slice(left, left + size))
            tile, hole = images[part], masks[part]
            total[part] += weight * (fill(tile, hole) if hole.any() else tile)
            weights[part] += weight
    return (total / weights)[..., :height, :width]


def _starts(side: int, size: int, overlap: int) -> Iterator[int]:
    """Yield where tiles begin along a side: evenly, with at least the overlap, the last one at the end."""
    count = max(1, -(-(side - overlap) // (size - overlap)))
    for number in range(count):
        yield round(number * (side - size) / max(1, count - 1))
