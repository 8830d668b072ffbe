"""Test which row leads a column."""

import numpy as np
import pytest

from sair.evaluation.statistics import estimate, paired
from sair.reporting.rows import Row, leaders

LEAST = {"psnr": 0.2, "ssim": 0.003, "l1": 0.0003, "lpips": 0.003}


@pytest.mark.parametrize(("gap", "best"), [(1.0, {"a": "best"}), (0.02, {"a": "tied", "b": "tied"})])
def test_a_method_is_best_only_if_a_paired_test_decides_it(gap, best):
    """Of three methods, b is below a by the gap and c far below; the noise is 0.3 per image."""
    rng = np.random.default_rng(0)
    samples = {"a": rng.normal(30, 0.3, 40), "b": rng.normal(30 - gap, 0.3, 40), "c": rng.normal(20, 0.3, 40)}
    samples["a"] += 0.001 + max(0, samples["b"].mean() - samples["a"].mean())
    key = ("all", "psnr")
    rows = [Row(name, name, "paper", {key: estimate(values)}, {}, 1) for name, values in samples.items()]
    rows.append(Row("truth", "truth", "control", {key: estimate(np.full(40, 50.0))}, {}, 1))
    found = leaders(rows, [key], lambda a, b, key: paired(samples[a], samples[b]), LEAST)
    assert found.marks == {key: best}


@pytest.mark.parametrize("seeds", [1, 3])
def test_without_a_known_spread_only_several_seeds_mark_the_best(seeds):
    rng = np.random.default_rng(0)
    samples = {name: rng.normal(mean, 0.01, (seeds, 40)) for name, mean in (("a", 0.5), ("b", 0.4))}
    key = ("all", "miou")
    rows = [Row(name, name, "paper", {key: estimate(values.mean(0))}, {}, seeds) for name, values in samples.items()]
    found = leaders(rows, [key], lambda a, b, key: paired(samples[a], samples[b]), LEAST)
    assert found.marks == {key: {"a": "best"} if seeds > 1 else {}}


def test_lower_is_better_for_errors():
    key = ("all", "lpips")
    rows = [Row(name, name, "paper", {key: estimate(np.full(20, v))}, {}, 1) for name, v in (("a", 0.2), ("b", 0.1))]
    found = leaders(rows, [key], lambda a, b, key: paired(np.full(20, 0.1), np.full(20, 0.2)), LEAST)
    assert found.marks == {key: {"b": "best"}}
