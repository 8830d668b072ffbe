"""Compute the mean intersection over union of label maps (paper, section 5.3 and Table 5)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd

from sair.evaluation.metrics.metric import Metric
from sair.evaluation.statistics import (
    NO_DIFFERENCE,
    NO_ESTIMATE,
    RESAMPLES,
    SIGN_FLIPS,
    Difference,
    Estimate,
    blocks,
    permutation_p,
)

REGIONS = ("whole", "hole")
SEGMENTATION_COLUMNS = ["features", "bucket", "cluster", "id", "region", "class", "intersection", "union"]


def overlap(truth: np.ndarray, predicted: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixels in the intersection and in the union of the true and the predicted region of each class.

    Args:
        truth, predicted: integer label maps of one shape; pixels with a true label outside [0, classes) do not count.
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
    """Return the mean over the classes of intersection over union, with a 95 % bootstrap interval.

    As is usual for mIoU, intersections and unions are summed over all images before they are divided. A class that
    occurs nowhere does not count.

    Args:
        overlaps: the columns cluster, id, class, intersection, union; all rows of a cluster are drawn together.
        seed: of the resampling.
    """
    clusters, names = _distinct(overlaps["cluster"]), _distinct(overlaps["class"])
    images, count = overlaps["id"].nunique(), len(clusters)
    if images == 0:
        return NO_ESTIMATE
    both, either = _sums(overlaps, clusters, names)
    mean = float(_ratio_mean(both.sum(0), either.sum(0)))
    if count < 2:
        return Estimate(mean, math.nan, math.nan, images, count)
    rng = np.random.Generator(np.random.PCG64(seed))
    means = [_ratio_mean(draws @ both, draws @ either) for draws in _resamples(rng, count)]
    low, high = np.quantile(np.concatenate(means), (0.025, 0.975))
    return Estimate(mean, float(low), float(high), images, count)


def mean_iou_difference(a: pd.DataFrame, b: pd.DataFrame, seed: int = 0) -> Difference:
    """Return the mean IoU of ``a`` minus that of ``b`` over the same images, resampled together.

    Args:
        a, b: same as in ``mean_iou``; images that only one of them has are left out.
        seed: of the resampling and of the swaps.

    Returns:
        p is that of a permutation test that swaps the two for all images of a cluster at random.
    """
    names = sorted(set(a["class"]) | set(b["class"]), key=str)
    ids = set(a["id"]) & set(b["id"])
    if not ids:
        return NO_DIFFERENCE
    a, b = (frame[frame["id"].isin(ids)] for frame in (a, b))
    clusters = sorted(set(a["cluster"]))
    n, count = len(ids), len(clusters)
    sums = [_sums(frame, clusters, names) for frame in (a, b)]

    def difference(weights_a: np.ndarray, weights_b: np.ndarray) -> np.ndarray:
        """Return differences for weights (draws, clusters); clusters in ``weights_b`` have their frames swapped."""
        first = [weights_a @ sums[0][k] + weights_b @ sums[1][k] for k in (0, 1)]
        second = [weights_a @ sums[1][k] + weights_b @ sums[0][k] for k in (0, 1)]
        return _ratio_mean(*first) - _ratio_mean(*second)

    mean = float(difference(np.ones((1, count)), np.zeros((1, count)))[0])
    if count < 2:
        return Difference(mean, math.nan, math.nan, math.nan, n, count)
    rng = np.random.Generator(np.random.PCG64(seed))
    means = [difference(draws, np.zeros_like(draws)) for draws in _resamples(rng, count)]
    low, high = np.quantile(np.concatenate(means), (0.025, 0.975))
    kept = (rng.integers(0, 2, (rows, count)).astype(np.float64) for rows in blocks(SIGN_FLIPS, count))
    p = permutation_p(mean, np.concatenate([difference(own, 1 - own) for own in kept]))
    return Difference(mean, float(low), float(high), p, n, count)


def mean_iou_values(overlaps: pd.DataFrame, clusters: list[object], names: list[object]) -> np.ndarray:
    """Return one number per cluster whose mean is close to the mean IoU, and whose variance gives its variance.

    These are the pseudo-values of the jackknife: the mean IoU times their number, minus what the others give without
    the cluster. They let a ratio of sums be analysed like a mean.

    Args:
        overlaps: same as in ``mean_iou``.
        clusters: at least two clusters, in the order to return.
        names: all classes.

    Returns:
        Float (clusters,).
    """
    both, either = _sums(overlaps, clusters, names)
    whole = _ratio_mean(both.sum(0), either.sum(0))
    without = _ratio_mean(both.sum(0) - both, either.sum(0) - either)
    return len(clusters) * whole - (len(clusters) - 1) * without


def _distinct(column: pd.Series) -> list[object]:
    return list(dict.fromkeys(column))


def _resamples(rng: np.random.Generator, count: int) -> Iterator[np.ndarray]:
    """Yield how often each cluster is drawn in the bootstrap's resamples, float64 (rows, clusters)."""
    for rows in blocks(RESAMPLES, count):
        yield rng.multinomial(count, np.full(count, 1 / count), rows).astype(np.float64)


def _sums(overlaps: pd.DataFrame, clusters: list[object], names: list[object]) -> list[np.ndarray]:
    """Return intersections and unions, float64 (clusters, classes) each."""
    sums = overlaps.groupby(["cluster", "class"], sort=False)[["intersection", "union"]].sum().unstack(fill_value=0)
    return [
        sums[name].reindex(index=clusters, columns=names, fill_value=0).to_numpy(dtype=np.float64)
        for name in ("intersection", "union")
    ]


def _ratio_mean(both: np.ndarray, either: np.ndarray) -> np.ndarray:
    return np.nanmean(np.divide(both, either, out=np.full(both.shape, np.nan), where=either > 0), axis=-1)


METRIC = Metric(
    name="miou",
    label="mIoU",
    decimals=3,
    paper_decimals=2,
    higher_is_better=True,
    convention="intersections and unions summed over images, then the mean over classes",
    kind="segmentation",
)
IN_HOLE = replace(METRIC, name="miou_hole", label="mIoU in the hole")
