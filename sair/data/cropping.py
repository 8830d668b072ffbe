"""Cut the central square out of an image or a label map, and resize it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from PIL import Image

from sair.common.errors import InputError


def square(
    pixels: np.ndarray, size: int, path: str | Path, spec: Mapping[str, Any] = MappingProxyType({})
) -> np.ndarray:
    """Crop the central square of an image and resize it to ``size``.

    Images (H, W, 3) are resized by antialiased bicubic interpolation, label maps (H, W) by nearest neighbour.

    Args:
        pixels: uint8 image (H, W, 3), or label map (H, W) of integers.
        size: side of the result in pixels.
        path: the file, for messages.
        spec: the dataset: ``crop`` is the side of the square in pixels (default: the shorter side), ``stretch``
            resizes the whole image to a square instead, ``enlarge`` allows a crop smaller than ``size``.

    Raises:
        InputError: the image is smaller than the crop, or the crop is smaller than ``size`` without ``enlarge``.
    """
    height, width = pixels.shape[:2]
    side = crop_side(height, width, size, path, spec)
    if not spec.get("stretch"):
        top, left = (height - side) // 2, (width - side) // 2
        pixels = pixels[top : top + side, left : left + side]
    method = Image.Resampling.BICUBIC if pixels.ndim == 3 else Image.Resampling.NEAREST
    return np.array(Image.fromarray(pixels).resize((size, size), method))


def crop_side(height: int, width: int, size: int, path: str | Path, spec: Mapping[str, Any]) -> int:
    """Return the side in pixels of the square that ``square`` cuts out of an image of this height and width.

    Other arguments and errors are the same as in ``square``.
    """
    side = spec.get("crop") or min(height, width)
    if min(height, width) < side or (side < size and not spec.get("enlarge")):
        raise InputError(
            f"{path}: {width}x{height} pixels, but a {side}-pixel crop resized to {size} is needed. Lower `crop` or "
            "`image_size`, remove the image, or, if the crop itself fits, set `enlarge: true`."
        )
    return side
