"""Pool to a given size with a gradient that CUDA computes deterministically, by a matrix product per axis."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def average_pool(x: Tensor, size: Sequence[int]) -> Tensor:
    """Return ``functional.adaptive_avg_pool2d(x, size)``, computed by matrix products.

    Args:
        x: (B, C, H, W), float32 or float64.
        size: rows and columns of the result.
    """
    with torch.autocast(x.device.type, enabled=False):
        rows, columns = (_means(old, new, x) for old, new in zip(x.shape[-2:], size, strict=True))
        return rows @ x @ columns.T


def _means(old: int, new: int, like: Tensor) -> Tensor:
    """Return the (new, old) matrix whose row i averages the positions from floor(i old/new) to ceil((i+1) old/new)."""
    cell = torch.arange(new, device=like.device)[:, None]
    position = torch.arange(old, device=like.device)
    inside = (position >= cell * old // new) & (position < -(-(cell + 1) * old // new))
    return inside.to(like.dtype) / inside.sum(1, keepdim=True)
