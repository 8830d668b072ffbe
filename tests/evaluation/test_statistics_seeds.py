"""Test statements on methods, not only on weights: intervals over seeds and images, ranks, shares, planned designs."""

import math

import numpy as np
import pandas as pd
import pytest

from sair.evaluation import statistics
from sair.evaluation.statistics import SEEDS_DISAGREE, WITHIN_SPREAD, Difference, decide, paired
from sair.evaluation.statistics_design import Design, smallest_difference
from sair.evaluation.statistics_ranks import rank_intervals
from sair.evaluation.statistics_seeds import BOUND, Uncertainty, cluster_values, components, shares

LEAST = 0.2
ONE_TRAINING = LEAST / BOUND / 2**0.5  # standard deviation of a mean over trainings, if LEAST is right


def simulated(rng, seeds, images, spread=ONE_TRAINING, image=0.5, rest=0.4, truth=0.0):
    """Return scores of two methods, float (seeds, images) each, whose true difference is known."""
    shared = rng.normal(0, 4, images)
    first, second = (
        shared + rng.normal(0, spread, (seeds, 1)) + rng.normal(0, rest, (seeds, images)) for _ in range(2)
    )
    return first + truth + rng.normal(0, image, images), second


def covered(seeds, images, rounds, **how):
    rng = np.random.default_rng(seeds * images)
    ends = (components(*simulated(rng, seeds, images, **how)).distribution(LEAST).interval for _ in range(rounds))
    return np.mean([low <= 0 <= high for low, high in ends])


@pytest.mark.parametrize(("seeds", "images"), [(1, 20), (1, 100), (3, 20), (3, 100), (5, 100)])
def test_intervals_of_methods_cover_the_truth(seeds, images):
    """With 1,000 simulated tables the share has a standard error of 0.007. docs/statistics.md has the whole table."""
    assert 0.93 <= covered(seeds, images, 1000) <= 0.98


def test_intervals_of_weights_do_not_cover_what_other_trainings_give():
    rng = np.random.default_rng(0)
    found = [paired(*simulated(rng, 1, 100, rest=0.1, image=0.2)) for _ in range(40)]
    assert np.mean([one.low <= 0 <= one.high for one in found]) < 0.6


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [1, 3, 5])
@pytest.mark.parametrize(("spread", "image"), [(ONE_TRAINING, 0.5), (ONE_TRAINING, 0.1), (0.03, 0.5)])
def test_the_rule_is_seldom_wrong_about_methods(seeds, spread, image, monkeypatch):
    """Of tables with four columns and no difference, at most 6 % have a decision; 5 % is the aim."""
    monkeypatch.setattr(statistics, "SIGN_FLIPS", 1000)
    monkeypatch.setattr(statistics, "RESAMPLES", 10)
    rng, wrong, rounds = np.random.default_rng(seeds), 0, 600
    for number in range(rounds):
        family = [paired(*simulated(rng, seeds, 40, spread, image), number) for _ in range(4)]
        wrong += any(decision.sign for decision in decide(family, [LEAST] * 4))
    assert wrong / rounds <= 0.06


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [3, 5])
def test_seeds_that_vary_more_than_was_assumed_do_not_decide_too_much(seeds, monkeypatch):
    """Without the spread that the seeds of a table show, a quarter of these tables would have a decision."""
    monkeypatch.setattr(statistics, "SIGN_FLIPS", 1000)
    monkeypatch.setattr(statistics, "RESAMPLES", 10)
    rng, wrong, rounds = np.random.default_rng(seeds), 0, 600
    for number in range(rounds):
        family = [paired(*simulated(rng, seeds, 100, 2 * ONE_TRAINING), number) for _ in range(12)]
        wrong += any(decision.sign for decision in decide(family, [LEAST] * 12))
    assert wrong / rounds <= 0.06


def test_a_family_shows_the_spread_of_its_seeds_by_measure():
    """Three seeds that happen to agree decide nothing where the other comparisons show that seeds vary."""
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.1, 50)
    steady = paired(np.array([[0.5], [0.52], [0.48]]) + noise, np.zeros((3, 50)))
    wild = [paired(np.array([[-1.0], [0.0], [1.0]]) + noise, np.zeros((3, 50)))] * 2
    assert steady.components.one_training == pytest.approx(0.02**2 / 2)
    assert wild[0].components.one_training == pytest.approx(1 / 2)
    family = [steady, *wild]
    assert decide(family, [LEAST] * 3)[0].reason == WITHIN_SPREAD
    assert decide(family, [LEAST] * 3, ["psnr", "lpips", "lpips"])[0].sign == 1, "of another measure"
    assert decide(family, [0.0] * 3)[0].reason == WITHIN_SPREAD, "also where no spread is assumed"
    assert decide(family, [5.0] * 3)[0].reason == WITHIN_SPREAD, "what is assumed counts if it is more"


def test_without_an_assumed_spread_comparisons_of_the_same_trainings_show_it_once():
    """Four columns of two methods with three seeds have three seeds; four pairs of methods have twelve."""
    rng = np.random.default_rng(0)
    first, second = simulated(rng, 3, 100, truth=0.3)
    found = paired(first, second)
    alone = decide([found], [None])[0].method_p
    assert alone == pytest.approx(found.components.measured.p)
    assert decide([found] * 4, [None] * 4)[0].method_p == pytest.approx(4 * alone)
    others = [("sair", name) for name in "abcd"]
    half, pairs = (
        decide([found] * 4, [None] * 4, None, names)[0].method_p for names in (others, ["ab", "cd", "ef", "gh"])
    )
    assert 4 * alone > half > pairs
    # The seeds of a method alone are the same seeds in each of its comparisons with single trainings.
    single = paired(first, second[:1])
    family = decide([single] * 4, [None] * 4, None, others)
    assert family[0].method_p == pytest.approx(min(1, 4 * single.components.measured.p))


def test_seeds_that_agree_by_chance_are_no_proof_that_single_trainings_do():
    """Their means may vary less than what a training does to single images explains; the variance is not zero then."""
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 0.4, (3, 50))
    several = paired(noise - noise.mean(1, keepdims=True) + [[0.03], [0.0], [-0.03]], np.zeros((3, 50)))
    single = paired(0.25 + rng.normal(0, 0.4, (1, 50)), np.zeros((1, 50)))
    assert several.components.one_training < 0 < several.components.one_training_whole
    found = decide([several, single], [None] * 2, None, [("a", "b"), ("a", "c")])[1]
    assert found.method_p > single.components.assuming(0.0).p


@pytest.mark.slow
def test_one_method_with_several_seeds_does_not_decide_about_single_ones():
    """Counted once for each comparison, its three trainings would decide something in a fifth of these tables."""
    rng, wrong, rounds = np.random.default_rng(0), 0, 500
    pairs = [("own", str(rival)) for rival in range(8)]
    for _ in range(rounds):
        own, *rivals = (
            rng.normal(0, ONE_TRAINING, (k, 1)) + rng.normal(0, 0.4, (k, 200)) + rng.normal(0, 0.3, 200)
            for k in (3, *[1] * 8)
        )
        family = []
        for rival in rivals:
            parts = components(own, rival)
            p = Uncertainty(parts.mean, parts.images**0.5, parts.image_df).p
            family.append(Difference(parts.mean, np.nan, np.nan, p, 200, 200, parts))
        wrong += any(decision.sign for decision in decide(family, [None] * 8, None, pairs))
    assert wrong / rounds <= 0.1


def test_components_are_those_of_the_analysis_of_variance():
    """Compare with mean squares that are written out, for paired seeds."""
    rng = np.random.default_rng(0)
    a, b = simulated(rng, 3, 7)
    found, difference = components(a, b), a - b
    rows, columns = difference.mean(1), difference.mean(0)
    seeds = 7 * sum((row - difference.mean()) ** 2 for row in rows) / 2
    images = 3 * sum((column - difference.mean()) ** 2 for column in columns) / 6
    rest = sum(
        (difference[s, i] - rows[s] - columns[i] + difference.mean()) ** 2 for s in range(3) for i in range(7)
    ) / (2 * 6)
    assert found.mean == pytest.approx(difference.mean()) and found.counts == (3, 3)
    assert found.seeds == pytest.approx(seeds / 21) and found.images == pytest.approx(images / 21)
    assert found.excess == pytest.approx(max(0, images - rest) / 21)
    assert (found.seed_df, found.image_df) == (2, 6)


def test_seeds_are_paired_between_methods():
    """What a seed does to both methods alike, such as the order of samples, is no spread of their difference."""
    rng = np.random.default_rng(0)
    a, b = simulated(rng, 3, 50, spread=0.0)
    both = rng.normal(0, 1, (3, 1))
    assert components(a + both, b + both).measured.error == pytest.approx(components(a, b).measured.error)
    alone = components(a + both, (b + both)[:2])  # unequal numbers of seeds cannot be paired
    assert alone.measured.error > 3 * components(a, b).measured.error and alone.seed_df == 3


def test_one_seed_against_several_is_as_uncertain_as_one_training():
    rng = np.random.default_rng(0)
    a, b = simulated(rng, 4, 50)
    found = components(a, b[:1])
    assert found.seed_df == 3 and found.counts == (4, 1)
    assert found.seeds == pytest.approx(float(a.mean(1).var(ddof=1)) * (1 / 4 + 1))
    assert found.assuming(LEAST).error ** 2 == pytest.approx(ONE_TRAINING**2 * 1.25 + found.images)


def test_a_single_training_is_not_as_certain_as_a_steady_rival():
    """Three equal trainings of one method say nothing about how much the other's would vary."""
    rng = np.random.default_rng(0)
    image = rng.normal(30, 0.5, 100)
    parts = components(np.tile(image + 1, (3, 1)), (image + rng.normal(0, 0.1, 100))[None])
    assert parts.counts == (3, 1) and parts.measured.error < parts.assuming(0.2).error
    assert parts.distribution(0.2) == parts.assuming(0.2) and parts.distribution(None) == parts.measured
    wild = components(image + np.array([[-2.0], [0.0], [2.0]]), image[None])
    assert wild.distribution(0.2) == wild.measured, "a spread that was measured to be larger counts"
    steady = components(np.tile(image + 1, (3, 1)), np.tile(image, (3, 1)))
    assert steady.distribution(0.2) == steady.measured, "both were trained several times"


def test_several_seeds_can_show_a_smaller_difference_and_contradict_a_larger_one():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.1, 100)
    level = np.array([[0.0], [0.01], [-0.01]])
    one, several = (paired(level[:k] + 0.15 + noise, np.zeros((k, 100))) for k in (1, 3))
    assert [decide([found], [LEAST])[0].reason for found in (one, several)] == [WITHIN_SPREAD, ""]
    torn = paired(np.array([[0.9], [0.1], [-0.4]]) + noise + 0.3, np.zeros((3, 100)))
    assert decide([torn], [LEAST])[0].reason == WITHIN_SPREAD, "its seeds vary more than was assumed"
    assert decide([torn, *[several] * 8], [LEAST] * 9)[0].reason == SEEDS_DISAGREE, "those of the family do not"
    # Without a known spread the seeds decide alone.
    assert [decide([found], [None])[0].sign for found in (one, several)] == [0, 1]


@pytest.mark.parametrize("sign", [1, -1])
def test_probabilities_add_up_and_follow_the_direction(sign):
    rng = np.random.default_rng(0)
    parts = components(sign * 0.5 + rng.normal(0, 0.5, (1, 100)))
    better = parts.outlook(LEAST, higher_is_better=sign > 0)
    assert sum(better) == pytest.approx(1) and better.better > 0.95 and better.worse < 0.01
    assert parts.outlook(LEAST, higher_is_better=sign < 0).worse == pytest.approx(better.better)
    equal = components(rng.normal(0, 0.1, (1, 400)) * 0).outlook(LEAST, higher_is_better=True)
    assert equal.equivalent > 0.9 and equal.better == pytest.approx(equal.worse)
    assert all(math.isnan(value) for value in parts.outlook(None, higher_is_better=True))


def test_equal_values_have_no_spread():
    still = Uncertainty(0.0, 0.0, math.inf)
    assert still.p == 1 and still.interval == (0, 0) and still._replace(mean=1.0).p == 0
    assert components(np.full((3, 5), 2.0)).measured == (2.0, 0.0, math.inf)
    assert components(np.ones((3, 1))) is None, "a single image or photograph has no variance"


def test_clusters_count_by_their_images():
    values = np.array([[1.0, 2, 3, 10], [2, 3, 4, 11]])
    found = cluster_values(values, ["b", "b", "b", "a"])
    assert found.shape == (2, 2) and found.mean(1) == pytest.approx(values.mean(1))
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 30, 200)
    scores = rng.normal(0, 1, 30)[codes] + rng.normal(0, 0.1, 200)
    names = [f"c{code:02}" for code in codes]
    ours = components(cluster_values(scores[None], names)).images ** 0.5
    low, high = statistics.estimate(scores, clusters=names)[1:3]
    assert ours == pytest.approx((high - low) / 2 / BOUND, rel=0.1)


@pytest.mark.parametrize("seeds", [1, 3])
def test_shares_find_where_the_variance_is(seeds):
    """One source at a time: seeds, images, masks."""
    rng = np.random.default_rng(0)
    shape = {"seeds": (seeds, 1, 1), "images": (1, 80, 1), "masks": (1, 80, 3)}
    for name, size in shape.items():
        values = np.broadcast_to(rng.normal(0, 1, size), (seeds, 80, 3)) + rng.normal(0, 1e-3, (seeds, 80, 3))
        found = shares(values, 1e-9)
        assert np.nansum(found) == pytest.approx(1)
        if seeds > 1 or name != "seeds":
            assert getattr(found, name) > 0.65
    known = shares(rng.normal(0, 1e-3, (1, 80, 3)), LEAST)
    assert known.seeds > 0.99 and shares(np.zeros((1, 80, 3))) is None


def test_ranks_are_wide_where_methods_are_close():
    rng = np.random.default_rng(0)
    shared = rng.normal(0, 4, 100)
    levels = {"a": 30.0, "b": 30.05, "c": 25.0, "d": 20.0}
    values = {name: (level + shared + rng.normal(0, 0.3, 100))[None] for name, level in levels.items()}
    assert rank_intervals(values, LEAST, True) == {"a": (1, 2), "b": (1, 2), "c": (3, 3), "d": (4, 4)}
    assert rank_intervals(values, LEAST, False) == {"a": (3, 4), "b": (3, 4), "c": (2, 2), "d": (1, 1)}
    assert rank_intervals(values, None, True) == {}, "nothing is known about other trainings"


def test_a_design_detects_less_the_smaller_it_is():
    found = [smallest_difference(Design(*design), LEAST, 0.5) for design in ((1, 100, 12), (3, 100, 12), (5, 100, 12))]
    assert found == sorted(found, reverse=True) and found[0] > LEAST
    assert smallest_difference(Design(3, 20, 12), LEAST, 0.5) > found[1]
    assert smallest_difference(Design(3, 100, 84), LEAST, 0.5) >= found[1]
    assert smallest_difference(Design(1, 1, 1), LEAST, 0.5) == math.inf
    assert smallest_difference(Design(3, 7, 12), LEAST, 0.5) == math.inf, "seven photographs decide nothing"
    assert smallest_difference(Design(1, 100, 1), 0.0, 0.0) == 0


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [1, 3, 5])
def test_a_design_detects_its_smallest_difference_in_about_four_of_five_runs(seeds, monkeypatch):
    monkeypatch.setattr(statistics, "SIGN_FLIPS", 1000)
    monkeypatch.setattr(statistics, "RESAMPLES", 10)
    rng = np.random.default_rng(seeds)
    size = smallest_difference(Design(seeds, 60, 4), LEAST, (0.5**2 + 2 * 0.2**2 / seeds) ** 0.5)
    found = 0
    for number in range(300):
        family = [paired(*simulated(rng, seeds, 60, rest=0.2, truth=size * (k == 0)), number) for k in range(4)]
        found += decide(family, [LEAST] * 4)[0].sign > 0
    assert 0.68 <= found / 300 <= 0.92


@pytest.mark.slow
def test_a_crossed_mixed_model_finds_the_same_variance():
    """statsmodels is optional: it is not needed to compute anything here."""
    formulas = pytest.importorskip("statsmodels.formula.api")
    rng = np.random.default_rng(0)
    a, b = simulated(rng, 4, 25, spread=0.5)
    frame = pd.DataFrame([[s, i, (a - b)[s, i]] for s in range(4) for i in range(25)], columns=["seed", "image", "d"])
    factors = {"seed": "0 + C(seed)", "image": "0 + C(image)"}
    fit = formulas.mixedlm("d ~ 1", frame.assign(all=1), groups="all", vc_formula=factors).fit()
    found = dict(zip(fit.model.exog_vc.names, fit.vcomp, strict=True))
    ours = components(a, b)
    rest = (ours.images - ours.excess) * 25 * 4
    assert found["seed"] == pytest.approx(ours.seeds * 4 - rest / 25, rel=0.02)
    assert found["image"] == pytest.approx(ours.excess * 25, rel=0.02) and fit.scale == pytest.approx(rest, rel=0.02)
    assert fit.bse["Intercept"] == pytest.approx(ours.measured.error, rel=0.02)
