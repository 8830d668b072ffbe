"""Test the rule behind bold, verdicts and regression checks: a corrected paired test over clusters, and a size."""

import math

import numpy as np
import pytest

from sair.evaluation import statistics
from sair.evaluation.statistics import (
    CHANCE,
    LEVEL,
    NO_SPREAD,
    TOO_MANY,
    UNTESTED,
    WITHIN_SPREAD,
    Difference,
    decide,
    estimate,
    paired,
)
from sair.evaluation.statistics_seeds import Components


def difference(mean=0.5, error=0.05, p=0.0001, clusters=100):
    """Return a difference of two methods that were trained once."""
    parts = Components(mean, error**2, clusters - 1, error**2, math.nan, 0, (1, 1))
    return Difference(mean, mean - 2 * error, mean + 2 * error, p, 100, clusters, parts)


SURE = difference()


def signs(*differences, least=0.2):
    return [decision.sign for decision in decide(differences, [least] * len(differences))]


def test_both_conditions_are_needed():
    found = decide([SURE, difference(-0.5), difference(0.1, 0.02), difference(p=0.2)], [0.2] * 4)
    assert [decision.sign for decision in found] == [1, -1, 0, 0]
    assert [decision.reason for decision in found] == ["", "", WITHIN_SPREAD, CHANCE]
    assert signs(difference(0.2, 0.001)) == [0], "the size that another seed moves is not above it"
    assert signs(difference(0.21, 0.001)) == [1], "a larger one is"


def test_a_measure_without_a_seed_spread_is_not_decided():
    (found,) = decide([SURE], [None])
    assert (found.sign, found.reason) == (0, NO_SPREAD)
    assert decide([SURE], [math.nan])[0].sign == 0


def test_the_family_is_all_that_is_judged_together():
    close = SURE._replace(p=0.01)
    assert signs(*[close] * 4) == [1] * 4
    assert signs(*[close] * 6) == [0] * 6, "0.01 times six comparisons"


def test_a_family_that_no_p_can_survive_is_reported_as_too_large():
    floor = SURE._replace(p=1 / (statistics.SIGN_FLIPS + 1))
    found = decide([floor] * 600, [0.0] * 600)
    assert {decision.reason for decision in found} == {TOO_MANY}


@pytest.mark.parametrize("n", [0, 1])
def test_none_and_one_image_decide_nothing(n):
    found = paired(np.full(n, 30.0), np.full(n, 20.0))
    assert found.n == found.clusters == n and math.isnan(found.p) and math.isnan(found.low)
    (decision,) = decide([found], [0.2])
    assert (decision.sign, decision.reason) == (0, UNTESTED)


def test_one_cluster_is_like_one_image():
    values = np.random.default_rng(0).normal(1, 0.1, 50)
    found = paired(values, np.zeros(50), clusters=["a"] * 50)
    assert found.mean == pytest.approx(values.mean()) and (found.n, found.clusters) == (50, 1)
    assert math.isnan(found.low) and math.isnan(found.p)


def test_few_clusters_decide_nothing_however_many_images():
    """Five clusters have 2^5 assignments of signs: their smallest p is 0.0625."""
    values = np.random.default_rng(0).normal(1, 0.01, 500)
    for count, decided in ((5, False), (6, True)):
        found = paired(values, np.zeros(500), clusters=[f"c{k % count}" for k in range(500)])
        assert found.p == pytest.approx(2 / 2**count, abs=0.01)
        (decision,) = decide([found], [0.2])
        assert (decision.sign == 1) == decided and (decision.reason == UNTESTED) == (not decided)


def test_more_comparisons_need_more_clusters():
    """Seven photographs have a smallest p of 2 / 2^7: a family of four decides nothing, however large a gain."""
    seven = difference(p=2 / 2**7, clusters=7)
    assert {decision.reason for decision in decide([seven] * 3, [0.2] * 3)} == {""}
    assert {decision.reason for decision in decide([seven] * 4, [0.2] * 4)} == {UNTESTED}
    # Comparisons of another data set, which are decided before, do not count against it; its own chance is a chance.
    mixed = decide([SURE._replace(p=1e-4)] * 50 + [seven] * 3, [0.2] * 53)
    assert [decision.sign for decision in mixed] == [1] * 53
    assert decide([seven._replace(p=0.5)], [0.2])[0].reason == CHANCE


def test_where_every_image_is_its_own_cluster_nothing_changes():
    rng = np.random.default_rng(0)
    a, b = rng.normal(30, 4, (2, 40))
    names = [f"p{k}" for k in range(40)]
    assert estimate(a, clusters=names) == estimate(a)
    first, second = paired(a, b, clusters=names), paired(a, b)
    assert first.numbers == second.numbers and first.components.images == pytest.approx(second.components.images)


def test_the_mean_is_over_images_and_the_interval_over_clusters():
    """Compare ten clusters of one to nineteen images with a resampling written out in loops."""
    rng = np.random.default_rng(0)
    clusters = [f"c{k}" for k in range(10) for _ in range(2 * k + 1)]
    values = np.array([{f"c{k}": 3.0 * k for k in range(10)}[name] for name in clusters]) + rng.normal(0, 1, 100)
    found = estimate(values, clusters=clusters)
    assert found.mean == values.mean() and (found.n, found.clusters) == (100, 10)
    parts = [values[[name == f"c{k}" for name in clusters]] for k in range(10)]
    drawn = [np.concatenate([parts[k] for k in rng.integers(0, 10, 10)]).mean() for _ in range(4000)]
    assert [found.low, found.high] == pytest.approx(np.quantile(drawn, (0.025, 0.975)), abs=0.5)
    assert found.high - found.low > 2 * (estimate(values).high - estimate(values).low)


def false_positives(clustered, rounds=1000, columns=3):
    """Return the share of simulated tables without any difference in which the rule decides something."""
    rng = np.random.default_rng(3)
    names = [f"c{k}" for k in range(12) for _ in range(5)]
    found = 0
    for seed in range(rounds):
        shared = rng.normal(0, 1, (columns, 12)).repeat(5, axis=1)  # images of one photograph differ alike
        values = shared + rng.normal(0, 0.5, shared.shape)
        family = [paired(v, np.zeros(60), seed, names if clustered else None) for v in values]
        found += any(decision.sign for decision in decide(family, [0.0] * columns))
    return found / rounds


def test_the_rule_is_calibrated_on_clustered_images(monkeypatch):
    """A family of three is wrong in at most about 5 % of tables; counting images as independent, in most of them."""
    monkeypatch.setattr(statistics, "SIGN_FLIPS", 1000)
    monkeypatch.setattr(statistics, "RESAMPLES", 10)
    assert false_positives(clustered=True) <= 0.06
    assert false_positives(clustered=False, rounds=60) > 0.4
    assert LEVEL == 0.05


def test_a_paired_test_is_calibrated():
    """Without a difference, p is below 0.05 about one time in twenty."""
    rng = np.random.default_rng(1)
    low = sum(paired(rng.normal(0, 1, 25), rng.normal(0, 1, 25), seed).p < 0.05 for seed in range(200))
    assert 2 <= low <= 20


def test_many_images_need_little_memory():
    """Random numbers are drawn in blocks: 30,000 images would otherwise take gigabytes."""
    import tracemalloc

    tracemalloc.start()
    estimate(np.random.default_rng(0).normal(size=20_000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64e6


def test_the_interval_covers_the_truth():
    """In 300 simulated tables of 40 images the 95 % interval contains the true mean about 95 % of the time."""
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(300):
        found = estimate(rng.normal(25, 4, 40))
        hits += found.low <= 25 <= found.high
    assert 0.90 <= hits / 300 <= 0.98


def test_estimates_of_odd_inputs():
    assert estimate(np.array([1.0, math.inf])).mean == math.inf
    assert math.isnan(estimate(np.array([])).mean)
    assert estimate(np.full(5, 3.0)) == (3.0, 3.0, 3.0, 5, 5)
