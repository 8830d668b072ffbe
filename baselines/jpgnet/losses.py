"""Compute the SSIM loss of JPGNet's filtering networks, in float32."""

from __future__ import annotations

import torch
from torch import Tensor

WINDOW, SIGMA = 11, 1.5
C1, C2 = 0.01**2, 0.03**2


def structural_similarity(a: Tensor, b: Tensor) -> Tensor:
    """Return a differentiable SSIM (Wang et al., 2004): mean over pixels, channels and batch.

    It uses an 11x11 Gaussian window of 1.5 pixels, zeros beyond the border, and biased covariances.

    Args:
        a: (B, C, H, W), range 1.
        b: the same shape and range.
    """
    with torch.autocast(a.device.type, enabled=False):
        a, b = a.float(), b.float()
        rows, columns = (_window(side, a.device) for side in a.shape[-2:])
        mean_a, mean_b, *squares = (rows @ x @ columns for x in (a, b, a * a + b * b, a * b))
        product, sum_of_squares = mean_a * mean_b, mean_a**2 + mean_b**2
        luminance = (2 * product + C1) / (sum_of_squares + C1)
        contrast = (2 * (squares[1] - product) + C2) / (squares[0] - sum_of_squares + C2)
        return (luminance * contrast).mean()


def _window(side: int, device: torch.device) -> Tensor:
    """Return the symmetric (side, side) matrix that applies the window along one axis."""
    offsets = torch.arange(WINDOW, device=device) - WINDOW // 2
    line = torch.softmax(-(offsets**2) / (2 * SIGMA**2), dim=0)
    position = torch.arange(side, device=device)
    tap = position[:, None] - position + WINDOW // 2
    return torch.where((tap >= 0) & (tap < WINDOW), line[tap.clamp(0, WINDOW - 1)], 0)
