"""Segmentation quality from label maps (paper, section 5.3 and Table 5)."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from sair.evaluation.statistics import RESAMPLES, SIGN_FLIPS, Difference, Estimate

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
    ids = list(dict.fromkeys(overlaps["id"]))
    pictures = len(ids)
    if pictures == 0:
        return Estimate(math.nan, math.nan, math.nan, 0)
    both, either = _sums(overlaps, ids, list(dict.fromkeys(overlaps["class"])))
    rng = np.random.Generator(np.random.PCG64(seed))
    draws = rng.multinomial(pictures, np.full(pictures, 1 / pictures), RESAMPLES)
    means = _ratio_mean(draws @ both, draws @ either)
    low, high = np.quantile(means, (0.025, 0.975))
    return Estimate(float(_ratio_mean(both.sum(0), either.sum(0))), float(low), float(high), pictures)


def mean_iou_difference(a: pd.DataFrame, b: pd.DataFrame, seed: int = 0) -> Difference:
    """Mean IoU of ``a`` minus that of ``b`` over the same pictures, resampled together.

    Args:
        a, b: as of ``mean_iou``.
        seed: of the resampling and of the swaps.

    Returns:
        p is that of a permutation test that swaps the two for a picture at random.
    """
    names = sorted(set(a["class"]) | set(b["class"]), key=str)
    ids = sorted(set(a["id"]) & set(b["id"]))
    sums = [_sums(frame, ids, names) for frame in (a, b)]
    n = len(ids)
    if n == 0:
        return Difference(math.nan, math.nan, math.nan, math.nan, 0)

    def difference(weights_a: np.ndarray, weights_b: np.ndarray) -> np.ndarray:
        """Weighted sums of a picture's counts; ``weights_b`` of them come from the other frame."""
        first = [weights_a @ sums[0][k] + weights_b @ sums[1][k] for k in (0, 1)]
        second = [weights_a @ sums[1][k] + weights_b @ sums[0][k] for k in (0, 1)]
        return _ratio_mean(*first) - _ratio_mean(*second)

    mean = float(difference(np.ones((1, n)), np.zeros((1, n)))[0])
    rng = np.random.Generator(np.random.PCG64(seed))
    draws = rng.multinomial(n, np.full(n, 1 / n), RESAMPLES).astype(np.float64)
    low, high = np.quantile(difference(draws, np.zeros_like(draws)), (0.025, 0.975))
    kept = rng.integers(0, 2, (SIGN_FLIPS, n)).astype(np.float64)
    extreme = np.count_nonzero(np.abs(difference(kept, 1 - kept)) >= abs(mean) * (1 - 1e-12))
    return Difference(mean, float(low), float(high), (extreme + 1) / (SIGN_FLIPS + 1), n)


def _sums(overlaps: pd.DataFrame, ids: list[str], names: list[object]) -> list[np.ndarray]:
    """Intersections and unions, float64 (pictures, classes) each."""
    sums = overlaps.groupby(["id", "class"], sort=False)[["intersection", "union"]].sum().unstack(fill_value=0)
    return [
        sums[name].reindex(index=ids, columns=names, fill_value=0).to_numpy(dtype=np.float64)
        for name in ("intersection", "union")
    ]


def _ratio_mean(both: np.ndarray, either: np.ndarray) -> np.ndarray:
    return np.nanmean(np.divide(both, either, out=np.full(both.shape, np.nan), where=either > 0), axis=-1)
