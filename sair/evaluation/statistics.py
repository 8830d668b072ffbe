"""From per-picture scores to a number with its uncertainty."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

RESAMPLES = 2000
SIGN_FLIPS = 10_000
LEVEL = 0.05  # of significance, after correction


class Estimate(NamedTuple):
    """A mean over pictures, its 95 % bootstrap interval, and the number of pictures."""

    mean: float
    low: float
    high: float
    n: int


def estimate(values: np.ndarray, seed: int = 0) -> Estimate:
    """Mean with a percentile bootstrap interval over pictures.

    Args:
        values: one number a picture; with several seeds, first averaged over them. An infinite number (the PSNR of
            equal pictures) makes the mean infinite and the interval undefined.
        seed: of the resampling, so that a table is the same each time.
    """
    values = np.asarray(values, dtype=np.float64)
    mean = float(values.mean()) if len(values) else math.nan
    if not math.isfinite(mean):
        return Estimate(mean, math.nan, math.nan, len(values))
    rng = np.random.Generator(np.random.PCG64(seed))
    means = values[rng.integers(0, len(values), (RESAMPLES, len(values)))].mean(1)
    low, high = np.quantile(means, (0.025, 0.975))
    return Estimate(mean, float(low), float(high), len(values))


class Difference(NamedTuple):
    """A mean paired difference, its 95 % bootstrap interval, the two-sided p of no difference, and the pairs."""

    mean: float
    low: float
    high: float
    p: float
    n: int


def paired(a: np.ndarray, b: np.ndarray, seed: int = 0) -> Difference:
    """Compare two methods on the same pictures: the mean of ``a - b``.

    Args:
        a, b: one number a picture, in the same order.
        seed: of the resampling and of the sign flips.

    Returns:
        The interval is a percentile bootstrap over pictures; p is that of a sign-flip permutation test.
    """
    difference = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    mean, low, high, n = estimate(difference, seed)
    if not math.isfinite(mean):
        return Difference(mean, low, high, math.nan, n)
    rng = np.random.Generator(np.random.PCG64(seed + 1))
    flipped = np.concatenate([rng.choice((-1.0, 1.0), (1000, n)) @ difference / n for _ in range(SIGN_FLIPS // 1000)])
    # The observed signs are one of the possible ones; a rounding step decides no tie.
    extreme = np.count_nonzero(np.abs(flipped) >= abs(mean) * (1 - 1e-12))
    return Difference(mean, low, high, (extreme + 1) / (SIGN_FLIPS + 1), n)


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment of p-values for how many they are; nan stays nan and does not count."""
    order = sorted((k for k in range(len(p)) if not math.isnan(p[k])), key=lambda k: p[k])
    adjusted, largest = [math.nan] * len(p), 0.0
    for place, k in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - place) * p[k]))
        adjusted[k] = largest
    return adjusted
