"""Compute the kernel Inception distance of two sets of images (Bińkowski et al., 2018), from their features."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import reduce
from typing import NamedTuple

import numpy as np

from sair.evaluation.metrics.metric import Metric
from sair.evaluation.statistics import Estimate

ROWS = 512  # of a kernel matrix at once


class KernelDistance(NamedTuple):
    """KID by pairs with its interval, and the estimate that assumes independent sets.

    paired: unbiased for predictions that share pixels with their ground truths.
    unpaired: the value that torch-fidelity computes with one subset of all images.
    """

    paired: Estimate
    unpaired: float


def kernel_distance(truths: np.ndarray, predictions: np.ndarray) -> KernelDistance:
    """Return the squared maximum mean discrepancy with the kernel (x·y / d + 1)³, from all images, without subsets.

    A prediction shares its known pixels with its ground truth, so the two sets are not independent samples. ``paired``
    is unbiased nevertheless (Gretton et al., "A kernel two-sample test", 2012, eq. 4). It is the mean over all i != j
    of k(x_i, x_j) + k(y_i, y_j) - k(x_i, y_j) - k(y_i, x_j): no image is compared with itself or with its own
    prediction. Its 95 % interval is a jackknife over images: a bootstrap would draw images twice, and an image is
    more similar to itself than to any other. ``unpaired`` also counts the k(x_i, y_i), and is too low by 2/n of their
    excess.

    Args:
        truths: features (n, d) of the ground truths, at least three.
        predictions: (b, n, d), one prediction for every ground truth in each of b buckets; ``paired`` takes their mean
            kernel.
    """
    truths, predictions = truths.astype(np.float64), predictions.astype(np.float64)
    n, buckets = len(truths), len(predictions)
    rows, sums = np.empty(n), np.zeros(3)  # sums of the whole matrices xx, yy and xy, diagonals included
    for start in range(0, n, ROWS):  # rows start to start + ROWS of the n x n kernel matrices
        part = slice(start, start + ROWS)
        xx = _kernel(truths[part], truths)
        yy = _total(_kernel(a[part], b) for a in predictions for b in predictions) / buckets**2
        xy = _total(_kernel(truths[part], b) for b in predictions) / buckets
        yx = _total(_kernel(a[part], truths) for a in predictions) / buckets
        sums += xx.sum(), yy.sum(), xy.sum()
        h = xx + yy - xy - yx  # the statistic of every pair (i, j); the pairs i = j are taken out of the row sums
        rows[part] = h.sum(1) - h.diagonal(start)
    total = rows.sum()
    mean = total / (n * (n - 1))
    # Jackknife: leaving out image i removes its row and, because h is symmetric, its column.
    without = (total - 2 * rows) / ((n - 1) * (n - 2))
    error = math.sqrt((n - 1) * without.var())
    m = buckets * n  # predictions; sums[1] is of mean kernels, so times buckets² it is the sum over all m² pairs
    unpaired = (sums[0] - _self(truths)) / (n * (n - 1)) + (sums[1] * buckets**2 - _self(predictions)) / (m * (m - 1))
    estimate = Estimate(float(mean), float(mean - 1.96 * error), float(mean + 1.96 * error), n, n)
    return KernelDistance(estimate, float(unpaired - 2 * sums[2] / n**2))


def _kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the kernel of every row of ``a`` with every row of ``b``."""
    base = a @ b.T / a.shape[1] + 1
    return base * base * base


def _total(matrices: Iterable[np.ndarray]) -> np.ndarray:
    """Return the sum of matrices of one shape."""
    return reduce(np.add, matrices)


def _self(features: np.ndarray) -> float:
    """Return the sum of every image's kernel with itself."""
    return float((((features**2).sum(-1) / features.shape[-1] + 1) ** 3).sum())


METRIC = Metric(
    name="kid",
    label="KID",
    decimals=5,
    higher_is_better=False,
    convention="pool3,degree=3,gamma=1/2048,coef0=1,all-images,pairs-excluded",
    kind="set",
)
