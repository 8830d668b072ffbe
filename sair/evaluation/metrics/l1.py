"""Compute the mean absolute error."""

from __future__ import annotations

import math

import numpy as np

from sair.evaluation.metrics.metric import Metric, absolute_difference


def l1(ground_truth: np.ndarray, prediction: np.ndarray, hole: np.ndarray | None = None) -> float:
    """Return the mean absolute error over RGB divided by 255.

        >>> grey = np.full((16, 16, 3), 100, np.uint8)
        >>> l1(grey, grey + np.uint8(51))
        0.2

    Args:
        ground_truth, prediction: uint8 (H, W, 3), sides of at least 11 pixels.
        hole: bool (H, W), True = hole. If given, only hole pixels count.

    Returns:
        In [0, 1]; ``nan`` if ``hole`` is empty.

    Raises:
        InputError: sizes differ, or a side is shorter than 11 pixels.
        TypeError: an image that is not uint8 RGB, or a mask that is not bool.
    """
    error = absolute_difference(ground_truth, prediction, hole)
    return int(error.sum(dtype=np.int64)) / (255 * error.size) if error.size else math.nan


METRIC = Metric(
    name="l1",
    label="L1",
    decimals=3,
    higher_is_better=False,
    convention="rgb,mean-absolute-error/255",
    compute=l1,
    valid=(0, 1 + 1e-6),  # rounding may pass 1 in the last digits
)
