"""Compute the peak signal-to-noise ratio."""

from __future__ import annotations

import math

import numpy as np

from sair.evaluation.metrics.metric import Metric, absolute_difference

PSNR_CAP = 100.0  # dB; what an infinite PSNR counts as wherever images are averaged or compared


def psnr(ground_truth: np.ndarray, prediction: np.ndarray, hole: np.ndarray | None = None) -> float:
    """Return the peak signal-to-noise ratio in dB over RGB, range 255; ``inf`` if the images are equal.

        >>> grey = np.full((16, 16, 3), 100, np.uint8)
        >>> round(psnr(grey, grey + np.uint8(1)), 4)
        48.1308

    Args:
        ground_truth, prediction: uint8 (H, W, 3), sides of at least 11 pixels.
        hole: bool (H, W), True = hole. If given, only hole pixels count.

    Returns:
        dB; ``nan`` if ``hole`` is empty.

    Raises:
        InputError: sizes differ, or a side is shorter than 11 pixels.
        TypeError: an image that is not uint8 RGB, or a mask that is not bool.
    """
    error = absolute_difference(ground_truth, prediction, hole)
    if error.size == 0:
        return math.nan
    # Summed in integers, so the result does not depend on the order of summation.
    squares = int(np.square(error, dtype=np.uint16).sum(dtype=np.int64))
    return 10 * math.log10(255**2 * error.size / squares) if squares else math.inf


METRIC = Metric(
    name="psnr",
    label="PSNR",
    unit="dB",
    decimals=2,
    paper_decimals=2,
    higher_is_better=True,
    convention=f"rgb,8bit,range=255,identical=inf,at-most-{PSNR_CAP:g}-in-means",
    compute=psnr,
    valid=(0, 200),
    cap=PSNR_CAP,
)
