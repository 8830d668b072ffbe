"""Structural similarity (Wang et al., "Image quality assessment: from error visibility to structural similarity")."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from sair.evaluation.metrics.metric import SMALLEST, Metric, OfHole, check_pair

SSIM_WINDOW = SMALLEST
SSIM_SIGMA = 1.5
SSIM_BORDER = SSIM_WINDOW // 2


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
    from skimage.metrics import structural_similarity  # here, because the workflow reads the registry while it plans

    check_pair(ground_truth, prediction)
    _, full = structural_similarity(
        ground_truth,
        prediction,
        gaussian_weights=True,
        sigma=SSIM_SIGMA,
        use_sample_covariance=False,
        data_range=255,
        channel_axis=2,
        full=True,
    )
    return full[SSIM_BORDER:-SSIM_BORDER, SSIM_BORDER:-SSIM_BORDER].mean(axis=2)


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
