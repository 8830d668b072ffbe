"""Compute means with intervals from per-image scores, and decide by one rule whether a difference is real."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from sair.evaluation.statistics_seeds import LEVEL, Components, change_between, cluster_values, components

RESAMPLES = 2000
SIGN_FLIPS = 10_000
# With k clusters the smallest p of a two-sided sign-flip test is 2 / 2^k, so five cannot reach LEVEL, even uncorrected.
FEWEST_CLUSTERS = 6
BLOCK = 1 << 20  # numbers drawn at once, so that memory does not grow with the number of images


Pair = tuple[Hashable, Hashable]  # names of the two compared trainings


class Estimate(NamedTuple):
    """A mean over images with its 95 % bootstrap interval.

    low, high: ends of the interval.
    n: number of images.
    clusters: number of clusters that they form.
    """

    mean: float
    low: float
    high: float
    n: int
    clusters: int


class Difference(NamedTuple):
    """A mean paired difference with its 95 % interval over images, for the weights that were trained.

    low, high: ends of the interval.
    p: two-sided, of no difference.
    n: number of pairs.
    clusters: number of clusters that they form.
    components: the variance that images and seeds contribute, for statements on other trainings; None with fewer than
        two clusters.
    """

    mean: float
    low: float
    high: float
    p: float
    n: int
    clusters: int
    components: Components | None = None

    @property
    def numbers(self) -> tuple[float, float, float, float, int, int]:
        """Return mean, low, high, p, n and clusters."""
        return self[:6]


NO_ESTIMATE = Estimate(math.nan, math.nan, math.nan, 0, 0)
NO_DIFFERENCE = Difference(math.nan, math.nan, math.nan, math.nan, 0, 0)


def estimate(values: np.ndarray, seed: int = 0, clusters: Sequence[str] | None = None) -> Estimate:
    """Return the mean of per-image scores with a percentile bootstrap interval.

    Args:
        values: one number per image; with several seeds, first averaged over them. An infinite number makes the mean
            infinite and the interval undefined.
        seed: of the resampling, so that a table is the same each time.
        clusters: what each image belongs to (a photograph, a person); images of one cluster are drawn together. None:
            every image is independent of the others. A single cluster has no interval, because it gives no information
            about others.
    """
    values = np.asarray(values, dtype=np.float64)
    mean = float(values.mean()) if len(values) else math.nan
    sums, counts = _by_cluster(values, clusters)
    low, high = _interval(sums, counts, seed) if math.isfinite(mean) and len(sums) > 1 else (math.nan, math.nan)
    return Estimate(mean, low, high, len(values), len(sums))


def paired(a: np.ndarray, b: np.ndarray, seed: int = 0, clusters: Sequence[str] | None = None) -> Difference:
    """Compare two methods on the same images: the mean of ``a - b``.

    Args:
        a, b: float (images,), one number per image, in the same order; or (seeds, images). Equal numbers of seeds are
            paired in their order.
        seed: of the resampling and of the sign flips.
        clusters: same as in ``estimate``; all images of a cluster change sign together.

    Returns:
        Interval and p are those of the means over the given seeds: a percentile bootstrap and a sign-flip permutation
        test over images. ``components`` has the variance for other trainings.
    """
    first, second = (np.atleast_2d(np.asarray(values, dtype=np.float64)) for values in (a, b))
    difference = first.mean(0) - second.mean(0)
    mean, low, high, n, count = estimate(difference, seed, clusters)
    if not math.isfinite(mean) or count < 2:
        return Difference(mean, low, high, math.nan, n, count)
    grouped = (values if clusters is None else cluster_values(values, clusters) for values in (first, second))
    parts = components(*grouped)
    sums, _ = _by_cluster(difference, clusters)
    rng = np.random.Generator(np.random.PCG64(seed + 1))
    flipped = [rng.choice((-1.0, 1.0), (rows, count)) @ sums / n for rows in blocks(SIGN_FLIPS, count)]
    return Difference(mean, low, high, permutation_p(mean, np.concatenate(flipped)), n, count, parts)


def permutation_p(observed: float, permuted: np.ndarray) -> float:
    """Return the two-sided p of an observed difference among those of random permutations."""
    # Count the observed assignment as one of the permutations; the tolerance keeps rounding from breaking ties.
    extreme = np.count_nonzero(np.abs(permuted) >= abs(observed) * (1 - 1e-12))
    return (int(extreme) + 1) / (len(permuted) + 1)


def blocks(rows: int, width: int) -> Iterator[int]:
    """Split a number of random rows so that each part is of bounded size; the numbers drawn are the same."""
    step = max(1, min(1000, BLOCK // max(width, 1)))
    for start in range(0, rows, step):
        yield min(step, rows - start)


def _by_cluster(values: np.ndarray, clusters: Sequence[str] | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the sum and the number of values of each cluster, in order of appearance."""
    if clusters is None:
        return values, np.ones(len(values))
    codes, names = pd.factorize(np.asarray(clusters, dtype=object))
    return np.bincount(codes, values, len(names)), np.bincount(codes, minlength=len(names)).astype(np.float64)


def _interval(sums: np.ndarray, counts: np.ndarray, seed: int) -> tuple[float, float]:
    rng = np.random.Generator(np.random.PCG64(seed))
    means = []
    for rows in blocks(RESAMPLES, len(sums)):
        drawn = rng.integers(0, len(sums), (rows, len(sums)))
        means.append(sums[drawn].sum(1) / counts[drawn].sum(1))
    low, high = np.quantile(np.concatenate(means), (0.025, 0.975))
    return float(low), float(high)


def holm(p: Sequence[float]) -> list[float]:
    """Return p-values adjusted by Holm's step-down method for their number; nan stays nan and does not count."""
    order = sorted((k for k in range(len(p)) if not math.isnan(p[k])), key=lambda k: p[k])
    adjusted, largest = [math.nan] * len(p), 0.0
    for place, k in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - place) * p[k]))
        adjusted[k] = largest
    return adjusted


# --------------------------------------------------------------------------------------------------------------------
# The rule

UNTESTED = "too few independent images for so many comparisons"
NO_SPREAD = "no seed spread known"
CHANCE = f"p >= {LEVEL}"
TOO_MANY = f"too many comparisons for {SIGN_FLIPS:,} permutations"
WITHIN_SPREAD = "within the seed spread"
SEEDS_DISAGREE = "the seeds disagree"


class Decision(NamedTuple):
    """What the rule decides for one difference.

    sign: 1 if it is really positive, -1 if it is really negative, 0 if neither is shown.
    adjusted_p: of the test over images, corrected for the whole family: an answer about these weights.
    reason: why nothing is decided; empty otherwise.
    method_p: of the test over trainings and images, corrected for the whole family: an answer about these methods. nan
        if nothing is known about other trainings.
    """

    sign: int
    adjusted_p: float
    reason: str
    method_p: float = math.nan


def decide(
    differences: Sequence[Difference],
    least: Sequence[float | None],
    measures: Sequence[str] | None = None,
    pairs: Sequence[Pair] | None = None,
) -> list[Decision]:
    """Decide which differences of a family are real, for bold print, verdicts on claims and regression checks.

    A difference is real if two tests have p below ``LEVEL`` after Holm's correction for the whole family: the paired
    test over images, and a t-test whose variance also has the spread of trainings: the known one, or that of the
    family's seeds if they vary more. With several seeds also the 95 % interval that is measured over seeds and images
    must exclude zero.

    Args:
        differences: all comparisons that are printed together.
        least: for each, the change that another training seed alone causes (``regression.least``), which 95 % of such
            changes are below. None if it was never measured: then the second test uses the spread that the seeds show,
            and with single seeds nothing is decided.
        measures: for each, what was measured, in which unit and on which images. Seeds are taken together for
            comparisons of one measure. None: all are of the same.
        pairs: for each, what names the two compared trainings, such as their methods. Comparisons of the same trainings
            vary together, so they show less than others. None: all are of the same two.
    """
    names = ["" for _ in differences] if measures is None else list(measures)
    shown = _shown_spreads(differences, names, [(0, 1)] * len(names) if pairs is None else pairs)
    adjusted = holm([difference.p for difference in differences])
    over_seeds = holm([_method_p(*one, shown) for one in zip(differences, least, names, strict=True)])
    tested = [difference.clusters for difference in differences if not math.isnan(difference.p)]
    return [
        _decision(difference, p, method_p, tested)
        for difference, p, method_p in zip(differences, adjusted, over_seeds, strict=True)
    ]


class _Spread(NamedTuple):
    """The variance over trainings of one method's mean, as the seeds of a measure's comparisons show it.

    change: 95 % bound of the change that another seed causes, without what a seed does to single images.
    change_df: its degrees of freedom, with all comparisons taken as independent.
    whole: variance, with what a seed does to single images.
    whole_df: its degrees of freedom. Comparisons that share trainings count for less.
    """

    change: float
    change_df: int
    whole: float
    whole_df: float


def _shown_spreads(
    differences: Sequence[Difference], measures: Sequence[str], pairs: Sequence[Pair]
) -> dict[str, _Spread]:
    """Return the spread of trainings by measure, as the seeds of all its comparisons show it.

    A single comparison of three seeds knows its spread badly; a family of several knows it better.
    """
    found: dict[str, list[tuple[Components, set[Hashable]]]] = {}
    for difference, measure, pair in zip(differences, measures, pairs, strict=True):
        parts = difference.components
        if parts is not None and parts.seed_df > 0:
            several = {side for side, count in zip(pair, parts.counts, strict=True) if count > 1}
            found.setdefault(measure, []).append((parts, several))
    return {measure: _pooled(own) for measure, own in found.items()}


def _pooled(found: Sequence[tuple[Components, set[Hashable]]]) -> _Spread:
    """Return the spread that comparisons show together, each given with its trainings of several seeds."""
    df = sum(parts.seed_df for parts, _ in found)
    alone, whole = (
        sum(value * parts.seed_df for value, (parts, _) in zip(values, found, strict=True)) / df
        for values in zip(*((parts.one_training, parts.one_training_whole) for parts, _ in found), strict=True)
    )
    # Differences of the same two methods are correlated by 1, those that share one by 1/2; variances by the square.
    shared = sum(
        min(first.seed_df, second.seed_df) * len(a & b) ** 2 / (len(a) * len(b))
        for first, a in found
        for second, b in found
    )
    return _Spread(change_between(alone), df, whole, df**2 / shared)


def _method_p(difference: Difference, least: float | None, measure: str, shown: Mapping[str, _Spread]) -> float:
    parts, spread = difference.components, shown.get(measure)
    if parts is None:
        return math.nan
    if least is None:
        # Only seeds tell of others then. So the test is that of ``measured``, by the seeds of all comparisons.
        return parts.varying(spread.whole, spread.whole_df).p if spread else math.nan
    if spread is not None and spread.change > least:
        return parts.assuming(spread.change, spread.change_df).p
    return parts.assuming(least).p


def _decision(difference: Difference, p: float, method_p: float, tested: Sequence[int]) -> Decision:
    # p has a floor, however large the difference is. Holm multiplies it at least by the number of tests whose floor is
    # not lower.
    rivals = sum(clusters <= difference.clusters for clusters in tested)
    if math.isnan(p) or (p >= LEVEL and rivals * 2.0 ** (1 - difference.clusters) >= LEVEL):
        reason = UNTESTED
    elif math.isnan(method_p):
        reason = NO_SPREAD
    elif p >= LEVEL:
        reason = TOO_MANY if rivals / (SIGN_FLIPS + 1) >= LEVEL else CHANCE
    elif method_p >= LEVEL:
        reason = WITHIN_SPREAD
    elif _disagree(difference):
        reason = SEEDS_DISAGREE
    else:
        return Decision(1 if difference.mean > 0 else -1, p, "", method_p)
    return Decision(0, p, reason, method_p)


def _disagree(difference: Difference) -> bool:
    """Return whether the 95 % interval that several seeds give contains zero; False for a single seed."""
    measured = difference.components and difference.components.measured
    return measured is not None and measured.p >= LEVEL
