"""Shrink masks by nearest neighbour, or as the loaders of published methods do (docs/masks.md)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

NEAREST = "nearest"
FIXED_POINT = 2048  # OpenCV rounds the weights of 8-bit images to this fraction


def shrink(mask: np.ndarray, size: int, rule: str = NEAREST) -> np.ndarray:
    """Return a mask resized to ``size``.

    Args:
        mask: bool (H, W), True = hole.
        size: side of the result in pixels.
        rule: a name of ``RULES``. Except for ``nearest``, every pixel above 0 after the smooth filter becomes hole, so
            the hole grows.

    Returns:
        bool (size, size); the mask itself if it has this size.
    """
    return mask if mask.shape == (size, size) else RULES[rule](mask, size)


def _pillow(method: Image.Resampling) -> Callable[[np.ndarray, int], np.ndarray]:
    def resize(mask: np.ndarray, size: int) -> np.ndarray:
        image = Image.fromarray(mask.astype(np.uint8) * 255)
        return np.array(image.resize((size, size), method)) > 0

    return resize


def _opencv_bilinear(mask: np.ndarray, size: int) -> np.ndarray:
    """Resize as OpenCV's ``INTER_LINEAR`` does 8-bit images: four neighbours, no antialiasing, fixed-point weights."""
    rows, columns = _neighbours(mask.shape[0], size), _neighbours(mask.shape[1], size)
    levels = mask.astype(np.int64) * 255
    mixed = levels[:, columns[0]] * (FIXED_POINT - columns[2]) + levels[:, columns[1]] * columns[2]
    total = mixed[rows[0]] * (FIXED_POINT - rows[2])[:, None] + mixed[rows[1]] * rows[2][:, None]
    return 2 * total >= FIXED_POINT**2  # rounded to 8 bits, at least 1


def _neighbours(length: int, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return for each new pixel its two old neighbours, and the weight of the second one times ``FIXED_POINT``."""
    place = np.clip((np.arange(size) + 0.5) * (length / size) - 0.5, 0, length - 1)
    first = np.floor(place).astype(np.int64)
    weight = np.rint((place - first) * FIXED_POINT).astype(np.int64)
    return first, np.minimum(first + 1, length - 1), weight


def _nearest(mask: np.ndarray, size: int) -> np.ndarray:
    small = Image.fromarray(mask.astype(np.uint8)).resize((size, size), Image.Resampling.NEAREST)
    return np.array(small) > 0


RULES: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    NEAREST: _nearest,
    "pillow_bilinear": _pillow(Image.Resampling.BILINEAR),
    "pillow_bicubic": _pillow(Image.Resampling.BICUBIC),
    "opencv_bilinear": _opencv_bilinear,
}
