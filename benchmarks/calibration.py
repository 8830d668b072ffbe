"""Check the statistics of methods on simulated tables of known differences, and print docs/statistics.md's tables.

    python benchmarks/calibration.py                 # all designs: about half an hour on one core
    python benchmarks/calibration.py --rounds 200    # a quick look

A table has two methods, several seeds and images. Seeds, images and their combination move its scores by amounts that
are drawn from known distributions, and the methods do not differ unless a line says so. Units are those of PSNR in dB.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import special
from tabulate import tabulate

from sair.common.progress import progress
from sair.evaluation import statistics
from sair.evaluation.statistics import Difference, decide, estimate, paired
from sair.evaluation.statistics_design import Design, smallest_difference
from sair.evaluation.statistics_ranks import rank_intervals
from sair.evaluation.statistics_seeds import BOUND, Components, cluster_values, components

LEAST = 0.2  # `regression.least` of PSNR
ONE_TRAINING = LEAST / BOUND / 2**0.5  # standard deviation of a mean over trainings that belongs to it
COLUMNS = 12  # comparisons of a simulated table
SEEDS, IMAGES = (1, 3, 5), (20, 100, 1000)


@dataclass(frozen=True)
class Case:
    """What moves the scores of a simulated table.

    Attributes:
        name: printed.
        spread: standard deviation over trainings of one method's mean, as a multiple of the known one.
        image: standard deviation of the methods' difference over images, the same in every seed.
        rest: standard deviation of what a training does to a single image.
        per_cluster: images of one cluster, whose differences are alike.
        heavy: whether differences over images have the tails of a t distribution with four degrees of freedom.
    """

    name: str
    spread: float = 1.0
    image: float = 0.5
    rest: float = 0.4
    per_cluster: int = 1
    heavy: bool = False

    def draw(
        self, rng: np.random.Generator, seeds: int, images: int, gain: float = 0.0
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the scores of two methods, float (seeds, images) each, the first better by a gain."""
        clusters = images // self.per_cluster
        effects = rng.standard_t(4, clusters) / 2**0.5 if self.heavy else rng.normal(0, 1, clusters)
        shared = gain + (self.image * effects).repeat(self.per_cluster)
        return self._trained(rng, seeds, images) + shared, self._trained(rng, seeds, images)

    def _trained(self, rng: np.random.Generator, seeds: int, images: int) -> np.ndarray:
        moved = rng.normal(0, self.spread * ONE_TRAINING, (seeds, 1))
        return moved + rng.normal(0, self.rest, (seeds, images))

    def names(self, images: int) -> list[str]:
        """Return the cluster of each image."""
        return [f"c{k // self.per_cluster:04}" for k in range(images)]


USUAL = (
    Case("spread of seeds as known"),
    Case("seeds outweigh images", image=0.1, rest=0.1),
    Case("clusters of two images", per_cluster=2),
    Case("heavy tails over images", heavy=True),
)
OTHER = (Case("no effect of seeds", spread=0.0), Case("spread of seeds twice the known", spread=2.0))


# --------------------------------------------------------------------------------------------------------------------
# Intervals


class Scores(NamedTuple):
    """A simulated table: scores of both methods, their clusters, and the components of their difference."""

    first: np.ndarray
    second: np.ndarray
    clusters: Sequence[str]
    parts: Components


def over_images(scores: Scores, rng: np.random.Generator) -> tuple[float, float]:
    """Return the interval of these weights: a bootstrap over images."""
    found = estimate((scores.first - scores.second).mean(0), int(rng.integers(1 << 30)), scores.clusters)
    return found.low, found.high


def bootstrap(scores: Scores, rng: np.random.Generator) -> tuple[float, float]:
    """Return a percentile interval of resamples that draw seeds and clusters together."""
    values = cluster_values(scores.first - scores.second, scores.clusters)
    seeds, clusters = values.shape
    drawn = rng.multinomial(seeds, [1 / seeds] * seeds, 200) @ values / seeds
    means = (drawn * rng.multinomial(clusters, [1 / clusters] * clusters, 200)).sum(1) / clusters
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def satterthwaite(scores: Scores, rng: np.random.Generator) -> tuple[float, float]:
    """Return a t interval with Satterthwaite's degrees of freedom, by the same variance as ours."""
    parts = scores.parts
    total = parts.seeds + parts.excess
    df = total**2 / (parts.seeds**2 / parts.seed_df + parts.excess**2 / parts.image_df)
    half = float(special.stdtrit(df, 0.975)) * total**0.5
    return parts.mean - half, parts.mean + half


def ours(scores: Scores, rng: np.random.Generator) -> tuple[float, float]:
    """Return the interval of these methods that tables and pages show."""
    return scores.parts.distribution(LEAST).interval


Interval = Callable[[Scores, np.random.Generator], tuple[float, float]]
INTERVALS: dict[str, Interval] = {
    "images only": over_images,
    "two-way bootstrap": bootstrap,
    "Satterthwaite": satterthwaite,
    "ours": ours,
}
RESAMPLED = ("images only", "two-way bootstrap")
SEVERAL = ("two-way bootstrap", "Satterthwaite")  # need several seeds


def coverage(case: Case, seeds: int, images: int, rounds: int) -> list[str]:
    """Return the share of tables in which each interval contains the true difference, as printed.

    The bootstraps, which are slow, are tried on a twentieth of the tables.
    """
    rng = np.random.default_rng([seeds, images, rounds, *case.name.encode()])
    names, few = case.names(images), max(1, rounds // 20)
    shown = {name: few if name in RESAMPLED else rounds for name in INTERVALS if seeds > 1 or name not in SEVERAL}
    hits = dict.fromkeys(shown, 0)
    for number in range(rounds):
        first, second = case.draw(rng, seeds, images)
        grouped = (first, second) if case.per_cluster == 1 else (cluster_values(own, names) for own in (first, second))
        parts = components(*grouped)
        assert parts is not None
        scores = Scores(first, second, names, parts)
        for name in (name for name, tables in shown.items() if number < tables):
            low, high = INTERVALS[name](scores, rng)
            hits[name] += low <= 0 <= high
    return [f"{100 * hits[name] / shown[name]:.1f}" if name in shown else "–" for name in INTERVALS]


# --------------------------------------------------------------------------------------------------------------------
# The rule


def decisions(case: Case, seeds: int, images: int, rounds: int) -> list[str]:
    """Return how often the rule decides a table without differences, one comparison of it, and a real difference."""
    rng = np.random.default_rng([seeds, images, rounds, 1])
    spread = (case.image**2 + 2 * case.rest**2 / seeds) ** 0.5
    clusters = images // case.per_cluster
    gain = smallest_difference(Design(seeds, clusters, COLUMNS), LEAST, _of_clusters(case, spread))
    wrong = single = found = 0
    for number in range(rounds):
        family = [_difference(case, rng, seeds, images, number) for _ in range(COLUMNS)]
        decided = [decision.sign != 0 for decision in decide(family, [LEAST] * COLUMNS)]
        wrong, single = wrong + any(decided), single + sum(decided)
        family[0] = _difference(case, rng, seeds, images, number, gain)
        found += decide(family, [LEAST] * COLUMNS)[0].sign > 0
    shares = (wrong / rounds, single / rounds / COLUMNS, found / rounds)
    return [*(f"{100 * share:.1f}" for share in shares), f"{gain:.2f}"]


def _difference(
    case: Case, rng: np.random.Generator, seeds: int, images: int, number: int, gain: float = 0.0
) -> Difference:
    first, second = case.draw(rng, seeds, images, gain)
    return paired(first, second, number, case.names(images))


def _of_clusters(case: Case, spread: float) -> float:
    """Return the standard deviation of the means of clusters."""
    return (case.image**2 + (spread**2 - case.image**2) / case.per_cluster) ** 0.5


def ranked(seeds: int, images: int, rounds: int) -> str:
    """Return the share of rank intervals of five methods, 0.3 dB apart, that contain the true rank."""
    rng = np.random.default_rng([seeds, images, rounds, 2])
    case, hits = USUAL[0], 0
    for _ in range(rounds):
        values = {}
        for place in range(5):
            values[str(place + 1)], _ = case.draw(rng, seeds, images, -0.3 * place)
        found = rank_intervals(values, LEAST, higher_is_better=True)
        hits += sum(low <= int(name) <= high for name, (low, high) in found.items())
    return f"{100 * hits / rounds / 5:.1f}"


# --------------------------------------------------------------------------------------------------------------------
# Output


def _designs(cases: Sequence[Case]) -> Iterator[tuple[Case, int, int]]:
    yield from ((case, seeds, images) for case in cases for seeds in SEEDS for images in IMAGES)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=4000, help="simulated tables per line (default: 4000)")
    rounds = parser.parse_args().rounds
    statistics.SIGN_FLIPS, statistics.RESAMPLES = 2000, 200  # enough for 5 %, and quicker
    lines = [
        [case.name, seeds, images, *coverage(case, seeds, images, rounds)]
        for case, seeds, images in progress(list(_designs((*USUAL, *OTHER))), desc="intervals", unit="line")
    ]
    print(f"Coverage of 95 % intervals, in percent; {rounds} tables each, {rounds // 20} for the bootstraps\n")
    _print(lines, ["case", "seeds", "images", *INTERVALS])
    few = max(rounds // 4, 1)
    tables = {images: few if images < 1000 else max(few // 4, 1) for images in IMAGES}  # those of 1,000 are slow
    lines = [
        [case.name, seeds, images, *decisions(case, seeds, images, tables[images])]
        for case, seeds, images in progress(list(_designs((*USUAL, OTHER[1]))), desc="the rule", unit="line")
    ]
    print(f"\nThe rule in tables of {COLUMNS} comparisons, in percent; number of tables by images: {tables}\n")
    headers = ["wrong tables", "wrong comparisons", "detected", "smallest difference (dB)"]
    _print(lines, ["case", "seeds", "images", *headers])
    print(f"\nRank intervals that contain the true rank, in percent, {few} tables each\n")
    lines = [[seeds, images, ranked(seeds, images, few)] for seeds in SEEDS for images in (20, 100)]
    _print(lines, ["seeds", "images", "contain it"])


def _print(lines: Sequence[Sequence[object]], headers: Sequence[str]) -> None:
    print(tabulate(lines, headers, tablefmt="pipe", disable_numparse=True))


if __name__ == "__main__":
    main()
