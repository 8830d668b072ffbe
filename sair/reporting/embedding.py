"""Convert numbers and images to the form of the report's page."""

from __future__ import annotations

import base64
import io
import math

import numpy as np
from PIL import Image

INFINITY = "Infinity"  # JSON has no number for it


def json_number(value: float, decimals: int | None = None) -> float | str | None:
    """Return a number as a JSON value: None for ``nan``, a text for infinity."""
    if math.isnan(value):
        return None
    if math.isinf(value):
        return INFINITY
    return float(value) if decimals is None else round(float(value), decimals)


def image_uri(pixels: np.ndarray) -> str:
    """Return the data URI of an image, uint8 (H, W, 3 or 4), without loss."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "WEBP", lossless=True, method=1, quality=60)  # others: slower, not smaller
    return f"data:image/webp;base64,{base64.b64encode(stream.getvalue()).decode()}"
