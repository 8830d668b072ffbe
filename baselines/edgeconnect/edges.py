"""Compute the input of EdgeConnect's edge generator: the grey image and its Canny edges."""

from __future__ import annotations

import numpy as np
import torch
from skimage.color import rgb2gray
from skimage.feature import canny
from torch import Tensor

from sair.common.tensors import constants

GREY = (0.2125, 0.7154, 0.0721)  # scikit-image's weights of red, green and blue


def grey(images: Tensor) -> Tensor:
    """Return scikit-image's luminance of images: (B, 3, H, W) to (B, 1, H, W)."""
    return (images * constants(GREY, images.device, images.dtype).view(3, 1, 1)).sum(1, keepdim=True)


def canny_edges(images: Tensor, masks: Tensor | None = None, sigma: float = 2.0) -> Tensor:
    """Return Canny edges of the grey images, one pixel wide, with scikit-image's default thresholds.

    Args:
        images: (B, 3, H, W) in [0, 1].
        masks: (B, 1, H, W), 1 = hole. No edge depends on the content of the hole or lies in it.
        sigma: standard deviation of the smoothing that precedes, in pixels; 2 as published, for 256-pixel images.

    Returns:
        (B, 1, H, W) in {0, 1}, float32, on the images' device.
    """
    arrays = images.detach().cpu().double().numpy()
    known = [None] * len(arrays) if masks is None else masks[:, 0].cpu().numpy() < 0.5
    found = [
        canny(rgb2gray(array, channel_axis=0), sigma=sigma, mask=mask)
        for array, mask in zip(arrays, known, strict=True)
    ]
    return torch.from_numpy(np.stack(found)[:, None]).to(images.device, torch.float32)
