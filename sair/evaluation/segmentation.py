"""Segmentation quality from label maps (paper, section 5.3 and Table 5)."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from sair.evaluation.statistics import RESAMPLES, Estimate

REGIONS = ("whole", "hole")
SEGMENTATION_COLUMNS = ["features", "bucket", "id", "region", "class", "intersection", "union"]


def overlap(truth: np.ndarray, predicted: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels in the intersection and in the union of the true and the predicted region of each class.

    Args:
        truth, predicted: integer label maps of one shape; where the truth is outside [0, classes) nothing counts.
        classes: number of classes.

    Returns:
        Two int64 arrays (classes,).
    """
    truth, predicted = truth.astype(np.int64).ravel(), predicted.astype(np.int64).ravel()
    counted = (truth >= 0) & (truth < classes)
    truth, predicted = truth[counted], predicted[counted]
    both = np.bincount(truth[truth == predicted], minlength=classes)
    return both, np.bincount(truth, minlength=classes) + np.bincount(predicted, minlength=classes) - both


def mean_iou(overlaps: pd.DataFrame, seed: int = 0) -> Estimate:
    """Mean over the classes of intersection over union, with a 95 % bootstrap interval over pictures.

    As is usual for mIoU, intersections and unions are summed over all pictures before they are divided. A class that
    occurs nowhere does not count.

    Args:
        overlaps: the columns id, class, intersection, union; a picture's rows stay together in the resampling.
        seed: of the resampling.
    """
    sums = overlaps.groupby(["id", "class"], sort=False)[["intersection", "union"]].sum().unstack(fill_value=0)
    both, either = (sums[name].to_numpy(dtype=np.float64) for name in ("intersection", "union"))
    pictures = len(sums)
    if pictures == 0:
        return Estimate(math.nan, math.nan, math.nan, 0)
    rng = np.random.Generator(np.random.PCG64(seed))
    draws = rng.multinomial(pictures, np.full(pictures, 1 / pictures), RESAMPLES)
    means = _ratio_mean(draws @ both, draws @ either)
    low, high = np.quantile(means, (0.025, 0.975))
    return Estimate(float(_ratio_mean(both.sum(0), either.sum(0))), float(low), float(high), pictures)


def _ratio_mean(both: np.ndarray, either: np.ndarray) -> np.ndarray:
    return np.nanmean(np.divide(both, either, out=np.full(both.shape, np.nan), where=either > 0), axis=-1)
