"""Compute structural similarity.

Wang et al., "Image quality assessment: from error visibility to structural similarity", 2004.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from sair.evaluation.metrics.metric import SMALLEST, Metric, OfHole, check_pair

SSIM_WINDOW = SMALLEST
SSIM_SIGMA = 1.5
SSIM_BORDER = SSIM_WINDOW // 2
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
# The map is computed in parts of this size: their arrays stay in the processor's cache, memory does not grow with the
# image, and each matrix product is too small for BLAS to spread it over threads, which would cost more.
ROWS, COLUMNS = 64, 246
LINES = 16  # rows or columns that one matrix product makes


def ssim(ground_truth: np.ndarray, prediction: np.ndarray, hole: np.ndarray | None = None) -> float:
    """Return the mean structural similarity, the mean of ``ssim_map``.

    Args:
        ground_truth, prediction: uint8 (H, W, 3), sides of at least 11 pixels.
        hole: bool (H, W), True = hole. If given, the mean is over hole pixels inside the valid region.

    Returns:
        At most 1; ``nan`` if no hole pixel lies inside the valid region.

    Raises:
        InputError: sizes differ, or a side is shorter than 11 pixels.
        TypeError: an image that is not uint8 RGB, or a mask that is not bool.
    """
    check_pair(ground_truth, prediction, hole)
    return mean_ssim(ssim_map(ground_truth, prediction), hole)


def ssim_of_pair(ground_truth: np.ndarray, prediction: np.ndarray) -> OfHole:
    """Return SSIM as a function of the hole: the map is computed once, for the whole image and for the hole."""
    return partial(mean_ssim, ssim_map(ground_truth, prediction))


def ssim_map(ground_truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Return the structural similarity at every position where the window fits into the image.

    Gaussian window 11x11 with sigma 1.5, weighted (not sample) covariance, K = (0.01, 0.03), range 255, computed for
    each of R, G, B and averaged.

    Args:
        ground_truth, prediction: uint8 (H, W, 3), sides of at least 11 pixels.

    Returns:
        float64 (H - 10, W - 10); entry [y, x] is that of the window centred on pixel [y + 5, x + 5].

    Raises:
        InputError: sizes differ, or a side is shorter than 11 pixels.
        TypeError: an image that is not uint8 RGB.
    """
    check_pair(ground_truth, prediction)
    height, width = (side - 2 * SSIM_BORDER for side in ground_truth.shape[:2])
    similarity = np.empty((height, width))
    tile = _Tile(min(height, ROWS), min(width, COLUMNS))
    for top in range(0, height, ROWS):
        for left in range(0, width, COLUMNS):
            read = slice(top, top + ROWS + 2 * SSIM_BORDER), slice(left, left + COLUMNS + 2 * SSIM_BORDER)
            tile.measure(ground_truth[read], prediction[read], similarity[top : top + ROWS, left : left + COLUMNS])
    return similarity


class _Tile:
    """Memory for one part of the map, used again for each part, because new memory costs as much time as computing.

    Args:
        height, width: of the largest part.
    """

    def __init__(self, height: int, width: int) -> None:
        self._planes = np.empty((4, height + 2 * SSIM_BORDER, width + 2 * SSIM_BORDER))
        self._rows = np.empty((4, height, width + 2 * SSIM_BORDER))
        self._smoothed = np.empty((4, height, width))
        self._above = np.empty((2, height, width))

    def measure(self, ground_truth: np.ndarray, prediction: np.ndarray, out: np.ndarray) -> None:
        """Write one part of the map.

        Args:
            ground_truth, prediction: uint8 (H, W, 3), at most of the tile's size and a border of 5 pixels.
            out: float64 (H - 10, W - 10).
        """
        out[:] = 0
        height, width = out.shape
        planes = self._planes[:, : height + 2 * SSIM_BORDER, : width + 2 * SSIM_BORDER]
        x, y = (np.ascontiguousarray(image.transpose(2, 0, 1)) for image in (ground_truth, prediction))
        for channel in range(3):  # one by one, so that their arrays stay in the processor's cache
            # With s = x + y and d = x - y, SSIM needs four smoothed images, not five (E is the weighted mean):
            #     2 E[x] E[y]     = (E[s]² - E[d]²) / 2     2 cov(x, y)     = (var(s) - var(d)) / 2
            #     E[x]² + E[y]²   = (E[s]² + E[d]²) / 2     var(x) + var(y) = (var(s) + var(d)) / 2
            np.add(x[channel], y[channel], out=planes[0], dtype=np.float64)
            np.subtract(x[channel], y[channel], out=planes[1], dtype=np.float64)
            np.square(planes[:2], out=planes[2:])
            out += self._compare(self._smooth(planes))
        out /= 3

    def _smooth(self, planes: np.ndarray) -> np.ndarray:
        """Return the Gaussian-weighted means of planes (4, H, W), where the window fits: (4, H - 10, W - 10)."""
        height, width = (side - 2 * SSIM_BORDER for side in planes.shape[1:])
        rows, smoothed = self._rows[:, :height, : planes.shape[2]], self._smoothed[:, :height, :width]
        # Matrix products are the fastest filter in NumPy. Zeros of the band cost time, so one product makes few lines.
        for start in range(0, height, LINES):
            lines = min(LINES, height - start)
            read, band = slice(start, start + lines + 2 * SSIM_BORDER), BAND[:lines, : lines + 2 * SSIM_BORDER]
            np.matmul(band, planes[:, read], out=rows[:, start : start + lines])
        for start in range(0, width, LINES):
            lines = min(LINES, width - start)
            read, band = slice(start, start + lines + 2 * SSIM_BORDER), BAND[:lines, : lines + 2 * SSIM_BORDER]
            np.matmul(rows[:, :, read], band.T, out=smoothed[:, :, start : start + lines])
        return smoothed

    def _compare(self, smoothed: np.ndarray) -> np.ndarray:
        """Return the similarity (H, W) of a channel from the means of s, d, s² and d² (4, H, W), which are changed."""
        height, width = smoothed.shape[1:]
        means, variances = smoothed[:2], smoothed[2:]
        np.square(means, out=means)
        variances -= means
        above, factor = self._above[:, :height, :width]
        np.subtract(means[0], means[1], out=above)
        np.subtract(variances[0], variances[1], out=factor)
        above += 2 * C1
        factor += 2 * C2
        above *= factor
        below, factor = np.add(means[0], means[1], out=means[0]), np.add(variances[0], variances[1], out=variances[0])
        below += 2 * C1
        factor += 2 * C2
        below *= factor
        above /= below
        return above


def _band() -> np.ndarray:
    """Return the matrix (LINES, LINES + 10) that weights the lines of a window: row i has the window at i to i + 10."""
    weights = np.exp(-0.5 * (np.arange(-SSIM_BORDER, SSIM_BORDER + 1) / SSIM_SIGMA) ** 2)
    weights /= weights.sum()
    return np.stack([np.pad(weights, (line, LINES - 1 - line)) for line in range(LINES)])


BAND = _band()


def mean_ssim(similarity: np.ndarray, hole: np.ndarray | None = None) -> float:
    """Return the mean of a map from ``ssim_map``, over all of it or where the window's centre is a hole pixel.

    Args:
        similarity: (H - 10, W - 10).
        hole: bool (H, W) of the whole image.

    Returns:
        At most 1; ``nan`` if no hole pixel lies inside the valid region.
    """
    if hole is not None:
        similarity = similarity[hole[SSIM_BORDER:-SSIM_BORDER, SSIM_BORDER:-SSIM_BORDER]]
    return float(similarity.mean()) if similarity.size else math.nan


METRIC = Metric(
    name="ssim",
    label="SSIM",
    decimals=3,
    higher_is_better=True,
    convention=f"rgb-mean,gaussian={SSIM_WINDOW}x{SSIM_WINDOW},sigma={SSIM_SIGMA},sample_covariance=no,k=0.01/0.03,"
    "range=255,region=valid",
    compute=ssim,
    of_pair=ssim_of_pair,
    valid=(-1 - 1e-6, 1 + 1e-6),  # rounding may pass 1 in the last digits
)
