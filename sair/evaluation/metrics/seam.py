"""Measure the seam: how far gradients along the edge of the hole are from the ground truth's, on both of its sides.

The value of a pixel is the length of the difference of two Sobel gradients (dx, dy), that of the composited image less
that of the ground truth, as in the "gradient@edge" of ASUKA (Yikai-Wang/asuka-misato at 35c65705). ASUKA takes the
pixels that Canny's detector finds on the mask; here they are the hole pixels with a known neighbour (inside), and the
known pixels with a hole neighbour (outside), of four neighbours each.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage

from sair.evaluation.metrics.metric import Metric, check_pair


def inside(ground_truth: np.ndarray, raw: np.ndarray, hole: np.ndarray) -> float:
    """Return the mean gradient difference over the hole pixels that touch known pixels, in grey levels.

    Args:
        ground_truth, raw: uint8 (H, W, 3), sides of at least 11 pixels.
        hole: bool (H, W), True = hole.

    Returns:
        The mean over edge pixels and channels, in levels of 255 times the weights of the 3x3 Sobel filter (a step of
        one level between two halves counts 4); ``nan`` if no hole pixel touches a known one.
    """
    return _difference(ground_truth, raw, hole, hole & _touching(~hole))


def outside(ground_truth: np.ndarray, raw: np.ndarray, hole: np.ndarray) -> float:
    """Return the mean gradient difference over the known pixels that touch the hole; same as in ``inside`` else."""
    return _difference(ground_truth, raw, hole, ~hole & _touching(hole))


def _touching(region: np.ndarray) -> np.ndarray:
    """Return the pixels with one of four neighbours in a region, and the region itself."""
    return ndimage.binary_dilation(region)


def _difference(ground_truth: np.ndarray, raw: np.ndarray, hole: np.ndarray, edge: np.ndarray) -> float:
    check_pair(ground_truth, raw, hole)
    if not edge.any():
        return math.nan
    # The Sobel filter is linear, so one filtering of the error replaces two of the images.
    error = np.where(hole[..., None], raw.astype(np.float64) - ground_truth, 0.0)
    lengths = []
    for channel in np.moveaxis(error, -1, 0):
        # `mirror` continues c b | a b c without repeating the border, as OpenCV's default does.
        dy, dx = (ndimage.sobel(channel, axis=axis, mode="mirror") for axis in (0, 1))
        lengths.append(np.hypot(dx, dy)[edge].mean())
    return float(np.mean(lengths))


_LARGEST = 4 * 255 * 2 * math.sqrt(2)
_CONVENTION = "sobel-3x3,mean-over-rgb,composited"

INSIDE = Metric(
    name="seaminside",
    label="Seam inside",
    unit="levels",
    decimals=1,
    higher_is_better=False,
    convention=f"{_CONVENTION},hole-pixels-at-the-edge",
    of_case=inside,
    optional=True,
    valid=(0, _LARGEST),
)

OUTSIDE = Metric(
    name="seamoutside",
    label="Seam outside",
    unit="levels",
    decimals=1,
    higher_is_better=False,
    convention=f"{_CONVENTION},known-pixels-at-the-edge",
    of_case=outside,
    optional=True,
    valid=(0, _LARGEST),
)
