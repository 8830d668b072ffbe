"""Compute the SSIM loss of JPGNet's filtering networks, in float32."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

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
        channels = a.shape[1]
        offsets = torch.arange(WINDOW, device=a.device) - WINDOW // 2
        line = torch.softmax(-(offsets**2) / (2 * SIGMA**2), dim=0)
        window = (line[:, None] * line).expand(channels, 1, WINDOW, WINDOW)
        moments = [
            functional.conv2d(x, window, padding=WINDOW // 2, groups=channels) for x in (a, b, a * a, b * b, a * b)
        ]
        mean_a, mean_b = moments[:2]
        luminance = (2 * mean_a * mean_b + C1) / (mean_a**2 + mean_b**2 + C1)
        variances = moments[2] - mean_a**2 + moments[3] - mean_b**2
        contrast = (2 * (moments[4] - mean_a * mean_b) + C2) / (variances + C2)
        return (luminance * contrast).mean()
