"""Draw irregular hole masks from a seed: brush strokes with round joints, and blobs.

The field trains and tests on free-form masks (NVIDIA's irregular masks, the brush strokes of gated convolution). The
embedded sets need the same kind without a download, at any image size, with a hole ratio in a given bucket. Only IEEE
additions, products, quotients and square roots decide a pixel, and only ``Generator.random`` is drawn, so that a seed
gives the same mask on every machine.

A mask grows stroke by stroke towards a hole count that is drawn first. For every stroke the order in which the brush
reaches the pixels is known, so the last stroke is cut off where the count is reached exactly.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

BLOB_SHARE = 0.25  # share of strokes that are short and thick
UNREACHED = np.inf  # arrival of pixels that the brush does not cover


def hole_limits(pixels: int, low: float, high: float) -> tuple[int, int]:
    """Return the fewest and most hole pixels of a bucket.

    They satisfy ``low * pixels <= 100 * hole < high * pixels`` and ``hole >= 1``.

    Args:
        pixels: number of pixels of the mask.
        low, high: the half-open bucket in percent, 0 <= low < high <= 100.

    Raises:
        ValueError: the limits are not those of a bucket, or no number of pixels lies in it.
    """
    if not 0 <= low < high <= 100:
        raise ValueError(f"bucket [{low}, {high}) %: expected 0 <= low < high <= 100")
    fewest = max(1, int(-(-low * pixels // 100)))
    most = int((high * pixels - 1) // 100)
    if fewest > most:
        raise ValueError(f"no hole count of a {pixels}-pixel mask lies in the bucket [{low}, {high}) %")
    return fewest, most


def draw_strokes(seed: int, height: int, width: int, low: float, high: float) -> np.ndarray:
    """Draw one mask whose hole ratio is uniformly distributed over a bucket.

    Args:
        seed: non-negative; the same arguments always give the same mask.
        height, width: of the mask in pixels.
        low, high: the half-open bucket in percent: ``low * pixels <= 100 * hole < high * pixels``.

    Returns:
        bool (height, width), True = hole; at least one pixel is a hole.

    Raises:
        ValueError: a side is below 1, or no mask of this size is in the bucket.
    """
    if height < 1 or width < 1:
        raise ValueError(f"a mask needs at least one pixel, got {height} x {width}")
    fewest, most = hole_limits(height * width, low, high)
    rng = np.random.Generator(np.random.PCG64(seed))
    target = fewest + int(rng.random() * (most - fewest + 1))

    # Draw small holes with a small brush; otherwise every small hole would be the beginning of one thick stroke.
    reach = min(height, width) * (0.35 + 0.65 * np.sqrt(target / (height * width)))
    mask = np.zeros((height, width), dtype=bool)
    missing = target
    while missing > 0:
        known = np.flatnonzero(~mask)
        # Each stroke starts on a known pixel and covers at least that one, so there are at most `target` strokes.
        start = divmod(int(known[int(rng.random() * known.size)]), width)
        arrival = _arrival(_path(rng, start, reach), _brush(rng, reach), height, width)
        arrival[mask] = UNREACHED
        fresh = np.flatnonzero(arrival < UNREACHED)
        if fresh.size > missing:
            order = np.argsort(arrival.ravel()[fresh], kind="stable")
            fresh = fresh[order[:missing]]
        mask.ravel()[fresh] = True
        missing -= fresh.size
    return mask


def _path(rng: np.random.Generator, start: tuple[int, int], reach: float) -> list[tuple[float, float]]:
    """Draw the corner points (y, x) of one stroke; the steps of a blob are shorter than its brush is wide."""
    blob = rng.random() < BLOB_SHARE
    steps = 1 + int(rng.random() * (2 if blob else 6))
    # Random directions and turns use t -> (1-t², 2t) / (1+t²), which needs no sine.
    dy, dx = _turn(1.0, 0.0, 8.0 * (rng.random() - 0.5))
    if rng.random() < 0.5:
        dy, dx = -dy, -dx
    y, x = float(start[0]), float(start[1])
    points = [(y, x)]
    for _ in range(steps):
        length = reach * (0.04 + 0.08 * rng.random() if blob else 0.12 + 0.38 * rng.random())
        y, x = y + length * dy, x + length * dx
        points.append((y, x))
        dy, dx = _turn(dy, dx, 2.0 * (rng.random() - 0.5))
    return points


def _turn(dy: float, dx: float, t: float) -> tuple[float, float]:
    """Rotate a direction by the angle whose half-angle tangent is ``t``."""
    cosine, sine = (1 - t * t) / (1 + t * t), 2 * t / (1 + t * t)
    return cosine * dy - sine * dx, sine * dy + cosine * dx


def _brush(rng: np.random.Generator, reach: float) -> float:
    """Draw the radius of the brush in pixels: thin brushes are more frequent, and 0.75 is the smallest."""
    draw = rng.random()
    return max(0.75, reach * (0.02 + 0.12 * draw * draw))


def _arrival(path: list[tuple[float, float]], radius: float, height: int, width: int) -> np.ndarray:
    """Return how far along the path, in pixels, the centre of the brush is when it first covers each pixel.

    Returns:
        float64 (height, width); ``UNREACHED`` where the brush does not cover the pixel.
    """
    arrival = np.full((height, width), UNREACHED)
    travelled = 0.0
    for (y0, x0), (y1, x1) in pairwise(path):
        length = float(np.sqrt((y1 - y0) * (y1 - y0) + (x1 - x0) * (x1 - x0)))
        rows, columns = _span(y0, y1, radius, height), _span(x0, x1, radius, width)
        y = np.arange(rows.start, rows.stop)[:, None] - y0
        x = np.arange(columns.start, columns.stop) - x0
        uy, ux = (y1 - y0) / length, (x1 - x0) / length
        along, across = uy * y + ux * x, ux * y - uy * x
        # The disc covers the pixel while its centre is within half a chord of the pixel's projection on the segment.
        half = np.sqrt(np.maximum(radius * radius - across * across, 0.0))
        enter = np.maximum(along - half, 0.0)
        covered = (half > 0) & (enter <= np.minimum(along + half, length))
        part = arrival[rows, columns]
        np.minimum(part, np.where(covered, travelled + enter, UNREACHED), out=part)
        travelled += length
    return arrival


def _span(a: float, b: float, radius: float, limit: int) -> slice:
    """Return the pixel indices within ``radius`` of the interval between a and b, inside [0, limit)."""
    first, last = max(0, int(min(a, b) - radius)), min(limit, int(max(a, b) + radius) + 1)
    return slice(min(first, limit), max(last, min(first, limit)))
