"""Estimate means and differences over trainings and images together, from scores of several seeds or a known spread.

The scores of k seeds on images of C clusters form a table with crossed random effects: another seed moves all images,
another image moves all seeds. The mean's variance is taken from the mean squares of that table, and its distribution is
a Student t. docs/statistics.md has the formulas, the alternatives that were tried, and the calibration.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import special

LEVEL = 0.05  # of significance; intervals have 1 - LEVEL
BOUND = float(special.ndtri(1 - LEVEL / 2))  # standard deviations in the bound that 95 % of changes are below


def change_between(variance: float) -> float:
    """Return the 95 % bound of the change of a mean between two trainings, given its variance over trainings."""
    return BOUND * math.sqrt(2 * max(0.0, variance))


class Uncertainty(NamedTuple):
    """What is known about a mean over trainings and images: a Student t distribution.

    mean: its centre.
    error: standard error; nan if nothing is known about other trainings.
    df: degrees of freedom.
    """

    mean: float
    error: float
    df: float

    @property
    def interval(self) -> tuple[float, float]:
        """Return the ends of the 95 % interval."""
        half = _quantile(self.df, 1 - LEVEL / 2) * self.error
        return self.mean - half, self.mean + half

    @property
    def p(self) -> float:
        """Return the two-sided p of a mean of zero."""
        if math.isnan(self.error):
            return math.nan
        return min(1.0, 2 * self.above(0.0) if self.mean < 0 else 2 * (1 - self.above(0.0)))

    def above(self, bound: float) -> float:
        """Return the probability that the mean over all trainings and images is above a bound."""
        if math.isnan(self.error) or math.isnan(bound):
            return math.nan
        if self.error == 0:  # all values are equal
            return 0.5 if self.mean == bound else float(self.mean > bound)
        return float(special.stdtr(self.df, (self.mean - bound) / self.error))


class Outlook(NamedTuple):
    """Probabilities that a method is better than another, equivalent to it, or worse; they add up to 1."""

    better: float
    equivalent: float
    worse: float


NO_OUTLOOK = Outlook(math.nan, math.nan, math.nan)


class Components(NamedTuple):
    """A mean over seeds and images with the variance that each of the two contributes.

    mean: over all seeds and images.
    images: variance of the mean due to images, for these trainings.
    image_df: its degrees of freedom, clusters - 1.
    excess: the part of ``images`` that is the same in every seed.
    seeds: variance of the mean due to seeds, together with what a seed does to single images; nan with one seed.
    seed_df: its degrees of freedom.
    counts: number of seeds of each of the compared methods; one number for the mean of one method.
    """

    mean: float
    images: float
    image_df: int
    excess: float
    seeds: float
    seed_df: int
    counts: tuple[int, ...]

    @property
    def weight(self) -> float:
        """Return how many times the variance over trainings of one method is in that of the mean."""
        return sum(1 / count for count in self.counts)

    @property
    def one_training(self) -> float:
        """Return the variance over trainings of one method's mean, without what a seed does to single images.

        An estimate, which may be negative, for methods that vary alike; nan if none has several seeds.
        """
        return (self.seeds - (self.images - self.excess)) / self.weight

    @property
    def one_training_whole(self) -> float:
        """Return ``one_training`` together with what a seed does to single images; never negative."""
        return self.seeds / self.weight

    @property
    def measured(self) -> Uncertainty | None:
        """Return the distribution by the seeds that were trained; None if no method has several."""
        return None if self.seed_df < 1 else self._varying(self.seeds, self.seed_df)

    def varying(self, variance: float, df: float) -> Uncertainty:
        """Return the distribution by a variance over trainings.

        Args:
            variance: of one method's mean, together with what a training does to single images.
            df: degrees of freedom that it is known with.
        """
        return self._varying(variance * self.weight, df)

    def _varying(self, seeds: float, df: float) -> Uncertainty:
        total = seeds + self.excess
        # The mean of 1/df, weighted by variance. Satterthwaite's weights, the squares, give intervals that are too
        # narrow for three seeds (docs/statistics.md).
        inverse = (seeds / df + self.excess / self.image_df) / total if total else 0.0
        return Uncertainty(self.mean, math.sqrt(total), 1 / inverse if inverse else math.inf)

    def assuming(self, least: float, df: float = math.inf) -> Uncertainty:
        """Return the distribution by a known spread of trainings.

        Args:
            least: 95 % bound of the change of one method's mean when it is trained with another seed.
            df: degrees of freedom of the estimate that it is; infinite if it is given.
        """
        # Two trainings of one method differ by sqrt(2) standard deviations of one training.
        known = (least / BOUND) ** 2 / 2 * self.weight
        total = known + self.images
        inverse = (known / df + self.images / self.image_df) / total if total else 0.0
        return Uncertainty(self.mean, math.sqrt(total), 1 / inverse if inverse else math.inf)

    def distribution(self, least: float | None) -> Uncertainty:
        """Return the measured distribution, or with one seed the one that assumes a spread; error nan without both.

        If one method has several seeds and the other has one, nothing measures the spread of the latter: then it is
        the wider of the two.
        """
        found = self.measured
        if least is None:
            return found or Uncertainty(self.mean, math.nan, math.nan)
        if found is not None and min(self.counts) > 1:
            return found
        known = self.assuming(least)
        return known if found is None or known.error > found.error else found

    def outlook(self, least: float | None, higher_is_better: bool) -> Outlook:
        """Return the probabilities of better, equivalent and worse.

        Args:
            least: differences up to this size are equivalent; None if that is not known, and so are the probabilities.
            higher_is_better: the measure's direction.
        """
        if least is None:
            return NO_OUTLOOK
        found = self.distribution(least)
        above, below = found.above(least), 1 - found.above(-least)
        better, worse = (above, below) if higher_is_better else (below, above)
        return Outlook(better, max(0.0, 1 - above - below), worse)


def cluster_values(values: np.ndarray, clusters: Sequence[str]) -> np.ndarray:
    """Return one number per seed and cluster whose mean over clusters is the mean over images.

    Args:
        values: float (seeds, images).
        clusters: what each image belongs to.

    Returns:
        Float (seeds, clusters), clusters in the order of their names. A cluster of many images counts by their number:
        the variance of these numbers over clusters, divided by the number of clusters, is that of the mean over images.
    """
    codes, names = pd.factorize(np.asarray(clusters, dtype=object), sort=True)
    means = values.mean(1, keepdims=True)
    sums = np.stack([np.bincount(codes, line, len(names)) for line in values - means])
    return means + sums * (len(names) / values.shape[1])


def components(a: np.ndarray, b: np.ndarray | None = None) -> Components | None:
    """Return the mean of ``a``, or of ``a - b``, with the variances of both factors.

    Args:
        a: float (seeds, clusters), such as from ``cluster_values``.
        b: of the compared method, on the same clusters. Equal numbers of seeds are paired in their order; otherwise the
            two are independent, and the spread of one training is taken to be the same for both.

    Returns:
        None with fewer than two clusters, which have no variance.
    """
    clusters = a.shape[1]
    if clusters < 2:
        return None
    if b is not None and a.shape == b.shape:
        counts: tuple[int, ...] = (len(a), len(b))
        parts = [a - b]
    else:
        parts = [a] if b is None else [a, b]
        counts = tuple(map(len, parts))
    difference = parts[0].mean(0) - (parts[1].mean(0) if len(parts) > 1 else 0.0)
    images = float(difference.var(ddof=1)) / clusters
    inverse, df = sum(1 / len(part) for part in parts), sum(len(part) - 1 for part in parts)
    seeds = rest = math.nan
    if df:
        seeds = sum(float(((part.mean(1) - part.mean()) ** 2).sum()) for part in parts) / df * inverse
        rest = sum(map(_interaction, parts)) / (df * (clusters - 1)) / clusters * inverse
    excess = images if math.isnan(rest) else max(0.0, images - rest)
    return Components(float(difference.mean()), images, clusters - 1, excess, seeds, df, counts)


def _interaction(part: np.ndarray) -> float:
    """Return the sum of squares that neither seeds nor clusters explain."""
    rest = part - part.mean(0) - part.mean(1, keepdims=True) + part.mean()
    return float((rest**2).sum())


def _quantile(df: float, level: float) -> float:
    return float(special.ndtri(level) if math.isinf(df) else special.stdtrit(df, level))


class Shares(NamedTuple):
    """Shares of the variance of a mean, which add up to 1.

    seeds: other trainings.
    images: other images.
    masks: other masks on the same images; with one seed together with ``rest``.
    rest: what a training does to one image under one mask; nan with one seed.
    """

    seeds: float
    images: float
    masks: float
    rest: float


def shares(values: np.ndarray, least: float | None = None) -> Shares | None:
    """Return how much of the variance of a mean, or a mean difference, is due to seeds, images and masks.

    Args:
        values: float (seeds, images, masks), every image under as many masks, one of each bucket.
        least: with one seed, the 95 % bound of the change that another seed causes; None if it is not known.

    Returns:
        None if there is no variance, or nothing is known about other seeds.
    """
    seeds, images, masks = values.shape
    if images < 2 or (seeds < 2 and least is None):
        return None
    centred = values - values.mean((0, 1))  # buckets are no sample of others
    by_image = masks * float(centred.mean((0, 2)).var(ddof=1))
    within = centred.mean(0) - centred.mean((0, 2))[:, None]
    by_mask = float((within**2).sum()) / max(1, (images - 1) * (masks - 1))
    rest = math.nan
    if seeds > 1:
        own = centred - centred.mean((1, 2), keepdims=True) - (centred.mean(0) - centred.mean())
        rest = float((own**2).sum()) / ((seeds - 1) * (images * masks - 1))
        by_seed = max(0.0, float(centred.mean((1, 2)).var(ddof=1)) - rest / (images * masks)) / seeds
        by_mask, by_image = max(0.0, by_mask - rest / seeds), max(0.0, by_image - rest / seeds)
    else:
        assert least is not None
        by_seed = (least / BOUND) ** 2
    found = [
        by_seed,
        max(0.0, by_image - by_mask) / (images * masks),
        by_mask / (images * masks) if masks > 1 else 0.0,
        rest / (seeds * images * masks),
    ]
    total = float(np.nansum(found))
    return Shares(*(part / total for part in found)) if total > 0 else None
