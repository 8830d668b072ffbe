"""Measure what a method does to known pixels: PSNR outside the hole, and the share of pixels that it changes.

A composited image has the ground truth's known pixels, so both compare the raw prediction. Methods that pass an image
through an encoder change every pixel, and their users see that.
"""

from __future__ import annotations

import math

import numpy as np

from sair.evaluation.metrics import psnr
from sair.evaluation.metrics.metric import Metric, absolute_difference


def psnr_outside(ground_truth: np.ndarray, raw: np.ndarray, hole: np.ndarray) -> float:
    """Return the PSNR of a raw prediction over known pixels, in dB; ``inf`` if none is changed.

    Args:
        ground_truth, raw: uint8 (H, W, 3), sides of at least 11 pixels.
        hole: bool (H, W), True = hole.

    Returns:
        ``nan`` if every pixel is a hole.
    """
    return psnr.psnr(ground_truth, raw, ~hole)


def changed(ground_truth: np.ndarray, raw: np.ndarray, hole: np.ndarray) -> float:
    """Return the share of known pixels of which a raw prediction changes any channel by at least one of 255 levels.

    Args:
        ground_truth, raw, hole: same as in ``psnr_outside``.

    Returns:
        Percent, in [0, 100]; ``nan`` if every pixel is a hole.
    """
    different = absolute_difference(ground_truth, raw, ~hole).any(axis=1)
    return 100 * float(different.mean()) if different.size else math.nan


PSNR = Metric(
    name="psnroutside",
    label="PSNR outside",
    unit="dB",
    decimals=2,
    higher_is_better=True,
    convention="rgb,range=255,raw-prediction,known-pixels-only",
    of_case=psnr_outside,
    optional=True,
    valid=psnr.METRIC.valid,
    cap=psnr.PSNR_CAP,
)

CHANGED = Metric(
    name="changed",
    label="Changed known pixels",
    unit="%",
    decimals=1,
    higher_is_better=False,
    convention="raw-prediction,known-pixels-with-any-channel-changed",
    of_case=changed,
    optional=True,
    valid=(0, 100),
)
