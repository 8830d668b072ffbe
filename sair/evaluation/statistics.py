"""From per-picture scores to a number with its uncertainty."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

RESAMPLES = 2000


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
