"""Structural similarity (Wang et al., "Image quality assessment: from error visibility to structural similarity")."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from sair.evaluation.metrics.metric import SMALLEST, Metric, OfHole, check_pair

SSIM_WINDOW = SMALLEST
SSIM_SIGMA = 1.5
SSIM_BORDER = SSIM_WINDOW // 2
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
# Values of the map that are computed at once: arrays of a tile stay in the processor's cache, memory does not grow with
# the image, and each matrix product is too small for BLAS to spread it over threads, which would cost more.
TILE = 246
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
    for top in range(0, height, TILE):
        for left in range(0, width, TILE):
            read = slice(top, top + TILE + 2 * SSIM_BORDER), slice(left, left + TILE + 2 * SSIM_BORDER)
            similarity[top : top + TILE, left : left + TILE] = _similarity(ground_truth[read], prediction[read])
    return similarity


def _similarity(ground_truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Return the map of ``ssim_map`` for one tile."""
    height, width = ground_truth.shape[:2]
    planes = np.empty((4, height, width))
    total = np.zeros((height - 2 * SSIM_BORDER, width - 2 * SSIM_BORDER))
    # Channel by channel: contiguous values are converted faster, and the arrays of one channel stay in the cache.
    for x, y in zip(
        *(np.ascontiguousarray(image.transpose(2, 0, 1)) for image in (ground_truth, prediction)), strict=True
    ):
        # With s = x + y and d = x - y, SSIM needs four smoothed images, not five (E is the weighted mean):
        #     2 E[x] E[y]     = (E[s]² - E[d]²) / 2     2 cov(x, y)     = (var(s) - var(d)) / 2
        #     E[x]² + E[y]²   = (E[s]² + E[d]²) / 2     var(x) + var(y) = (var(s) + var(d)) / 2
        np.add(x, y, out=planes[0], dtype=np.float64)
        np.subtract(x, y, out=planes[1], dtype=np.float64)
        np.square(planes[:2], out=planes[2:])
        mean_s, mean_d, var_s, var_d = _smooth(planes)
        mean_s *= mean_s
        mean_d *= mean_d
        var_s -= mean_s
        var_d -= mean_d
        above = (mean_s - mean_d + 2 * C1) * (var_s - var_d + 2 * C2)
        mean_s += mean_d
        mean_s += 2 * C1
        var_s += var_d
        var_s += 2 * C2
        mean_s *= var_s
        above /= mean_s
        total += above
    total /= 3
    return total


def _smooth(planes: np.ndarray) -> np.ndarray:
    """Return the Gaussian-weighted means of planes (N, H, W), where the window fits: (N, H - 10, W - 10)."""
    # A matrix product is the fastest filter in NumPy. Zeros outside the band cost time, so a product makes few lines.
    count, height, width = planes.shape
    height, width = height - 2 * SSIM_BORDER, width - 2 * SSIM_BORDER
    rows = np.empty((count, height, planes.shape[2]))
    for start in range(0, height, LINES):
        lines = min(LINES, height - start)
        read, band = slice(start, start + lines + 2 * SSIM_BORDER), BAND[:lines, : lines + 2 * SSIM_BORDER]
        np.matmul(band, planes[:, read], out=rows[:, start : start + lines])
    smoothed = np.empty((count, height, width))
    for start in range(0, width, LINES):
        lines = min(LINES, width - start)
        read, band = slice(start, start + lines + 2 * SSIM_BORDER), BAND[:lines, : lines + 2 * SSIM_BORDER]
        np.matmul(rows[:, :, read], band.T, out=smoothed[:, :, start : start + lines])
    return smoothed


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
