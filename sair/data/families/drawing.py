"""Draw numbers and shapes such that a seed gives the same mask on every machine.

Only IEEE additions, products, quotients and roundings decide a pixel, and only ``Generator.random`` is drawn: sines of
the C library, and numpy's normal draws, may differ in the last bit between machines.
"""

from __future__ import annotations

import math

import numpy as np

QUARTER = math.pi / 2


def integer(rng: np.random.Generator, low: int, high: int) -> int:
    """Draw an integer from [low, high), as ``numpy.random.randint`` defines the interval."""
    return low + int(rng.random() * (high - low))


def uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw a number from [low, high)."""
    return low + rng.random() * (high - low)


def normal(rng: np.random.Generator) -> float:
    """Draw a number of mean 0 and deviation 1: the sum of twelve uniform ones less 6, normal up to 0.002 in its CDF."""
    return sum(rng.random() for _ in range(12)) - 6.0


def sine_cosine(angle: float) -> tuple[float, float]:
    """Return sine and cosine of an angle in radians, by their series."""
    turns = math.floor(angle / QUARTER + 0.5)
    rest = angle - turns * QUARTER
    sine = cosine = 0.0
    term = 1.0
    for power in range(20):  # |rest| is at most pi / 4, so the next term is below 1e-20
        if power % 2:
            sine += term if power % 4 == 1 else -term
        else:
            cosine += term if power % 4 == 0 else -term
        term *= rest / (power + 1)
    return [(sine, cosine), (cosine, -sine), (-sine, -cosine), (-cosine, sine)][turns % 4]


def line(mask: np.ndarray, start: tuple[int, int], end: tuple[int, int], radius: float) -> None:
    """Set the pixels of a mask within ``radius`` of a segment.

    Args:
        mask: bool (H, W), changed in place.
        start, end: (x, y) of the ends in pixels; they may be outside.
        radius: half the width of the line in pixels.
    """
    (x0, y0), (x1, y1) = start, end
    height, width = mask.shape
    rows = _span(min(y0, y1) - radius, max(y0, y1) + radius, height)
    columns = _span(min(x0, x1) - radius, max(x0, x1) + radius, width)
    y = np.arange(rows.start, rows.stop)[:, None] - float(y0)
    x = np.arange(columns.start, columns.stop) - float(x0)
    dy, dx = float(y1 - y0), float(x1 - x0)
    length = dy * dy + dx * dx
    # The nearest point of the segment to each pixel, as a share of the way from start to end.
    along = np.clip((y * dy + x * dx) / length, 0.0, 1.0) if length else np.zeros(())
    across, ahead = y - along * dy, x - along * dx
    mask[rows, columns] |= across * across + ahead * ahead <= radius * radius


def rectangle(mask: np.ndarray, left: int, top: int, width: int, height: int) -> None:
    """Set the pixels of a rectangle, bool (H, W) in place; the part outside the mask is left out."""
    mask[max(top, 0) : max(top + height, 0), max(left, 0) : max(left + width, 0)] = True


def _span(first: float, last: float, limit: int) -> slice:
    """Return the indices of the pixels from ``first`` to ``last`` inside [0, limit)."""
    start = min(max(0, math.floor(first)), limit)
    return slice(start, max(start, min(limit, math.ceil(last) + 1)))
