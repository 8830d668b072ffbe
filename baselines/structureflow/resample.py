"""Sample features where a flow points, through a Gaussian window (StructureFlow, section 3.2)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


def gaussian_resample(features: Tensor, flow: Tensor, window: int, sigma: float) -> Tensor:
    """Return, for each position, the Gaussian-weighted mean of the features around its flow's target.

    A bilinear sample would pass gradients to four positions; this one also reaches further targets. Taps outside the
    features repeat the border with the weight of their own distance. It is differentiable in both arguments, except
    where a target crosses a pixel and the window moves.

    Args:
        features: (B, C, H, W).
        flow: (B, 2, h, w), from each position to its target: columns right, then rows down, in pixels.
        window: number of taps per axis, even; half of them lie on each side of the target.
        sigma: standard deviation of the window in pixels.

    Returns:
        (B, C, h, w), float32, or float64 if ``features`` are.
    """
    with torch.autocast(features.device.type, enabled=False):
        features = features if features.dtype == torch.float64 else features.float()
        flow = flow.to(features.dtype)
        (batch, channels, height, width), (rows, columns) = features.shape, flow.shape[-2:]
        grid: dict[str, Any] = {"dtype": flow.dtype, "device": flow.device}
        x_index, x_weight = _taps(flow[:, 0] + torch.arange(columns, **grid), width, window, sigma)
        y_index, y_weight = _taps(flow[:, 1] + torch.arange(rows, **grid)[:, None], height, window, sigma)
        image = torch.arange(batch, device=flow.device).view(-1, 1, 1, 1, 1) * (height * width)
        index = image + y_index[..., :, None] * width + x_index[..., None, :]
        weight = y_weight[..., :, None] * x_weight[..., None, :]
        # With one row of channels per position, a weighted bag of rows is exactly this mean, and has a fast kernel.
        bags = (-1, window * window)
        table = features.permute(0, 2, 3, 1).reshape(-1, channels)
        sampled = functional.embedding_bag(
            index.reshape(bags), table, per_sample_weights=weight.reshape(bags), mode="sum"
        )
        return sampled.view(batch, rows, columns, channels).permute(0, 3, 1, 2)


def _taps(target: Tensor, length: int, window: int, sigma: float) -> tuple[Tensor, Tensor]:
    """Return, along one axis, the taps around targets (B, h, w): indices and normalised weights (B, h, w, window)."""
    offsets = torch.arange(window, device=target.device) - (window // 2 - 1)
    pixel = target.detach().floor()
    distance = offsets - (target - pixel)[..., None]
    weight = torch.softmax(-distance.square() / (2 * sigma**2), dim=-1)
    # Clamp before converting to integers, because a flow may point anywhere.
    index = pixel.clamp(-window, length + window).long()[..., None] + offsets
    return index.clamp(0, length - 1), weight
