"""Test comparisons at equal steps and at equal compute, on scores whose law is known."""

import math
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from helpers.budgets import LAW, budgets, salt, trained, two_measures
from helpers.measured import scores

from sair.common.errors import InputError
from sair.reporting.equal_budgets import COMPUTE, STEPS, Request, complete, reached_at, read_curves
from sair.reporting.equal_budgets_page import write_budgets
from sair.reporting.measured import read_stored

IMAGES = 12
TEXTS = {"results": str, "rival_results": str}
NEEDED = {"least": {"psnr": 0.2, "l1": 0.0004}, "labels": {"sair": "SAIR", "liif": "LIIF"}}


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Return results folders of four budgets of SAIR and LIIF with three seeds."""
    return budgets(tmp_path_factory.mktemp("budgets"), images=IMAGES)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Return the folder of two results folders, of two budgets of SAIR and LIIF with two seeds."""
    home = tmp_path_factory.mktemp("two")
    budgets(home, factors=(1, 2), seeds=(0, 1), images=IMAGES)
    return home


@pytest.fixture
def few(two, tmp_path):
    """Return the two results folders as a copy that a test may damage."""
    return [str(shutil.copytree(two / name, tmp_path / name)) for name in ("1", "2")]


def written(folders, output, **more):
    """Write the page and the CSV; return the CSV as a frame, the page, and the sentences."""
    paths = SimpleNamespace(markdown=output / "b.md", csv=output / "b.csv")
    request = complete(Request(folders, **(NEEDED | more)), ["sair"])
    sentences = write_budgets(request, paths)
    return (
        pd.read_csv(paths.csv, keep_default_na=False, na_values=[""], dtype=TEXTS),
        paths.markdown.read_text(),
        sentences,
    )


@pytest.fixture(scope="module")
def whole(measured, tmp_path_factory):
    """Return what is written for these four: the CSV as a frame, the page, and the sentences."""
    return written(measured, tmp_path_factory.mktemp("whole"))


def test_interpolation_gives_what_a_training_of_that_budget_scores(measured, tmp_path):
    curve = read_curves(complete(Request(measured)))["liif"]
    for size in (501, 1300, 3999):
        found = reached_at(curve[::-1], COMPUTE, size, "psnr")
        for seed, frame in enumerate(found.runs.seeds):
            path = scores(tmp_path / "s.csv", *two_measures("liif", size), images=IMAGES, seed=salt("liif") + seed)
            expected = read_stored(path)
            assert frame[["id", "bucket"]].equals(expected[["id", "bucket"]])
            np.testing.assert_allclose(frame.psnr, expected.psnr, rtol=1e-12)
    assert found.names == ("2", "4")
    exact = reached_at(curve, STEPS, 2000, "psnr")
    assert exact.names == ("2",) and exact.runs is curve[2].runs
    for outside in (499, 4001):
        assert reached_at(curve, COMPUTE, outside, "psnr") is None


def test_the_verdict_turns_between_equal_steps_and_equal_compute(whole):
    frame, page, (sentence,) = whole
    pairs = frame[frame.minus == "liif"]
    steps, compute = (pairs[pairs.equal == equal] for equal in (STEPS, COMPUTE))
    assert set(steps.verdict) == {"ahead"} and len(steps) == 4 * 4
    assert list(compute.verdict) == ["behind"] * 12 + ["not measured"]
    # Both have the same noise at each budget, so the law alone separates the two differences.
    apart = math.log2(LAW["sair"][0])
    for bucket in ("0-20", "all"):
        at = [part[(part.results == "1") & (part.bucket == bucket)].value.item() for part in (steps, compute)]
        assert at[0] - at[1] == pytest.approx(apart, abs=1e-9)
        assert at[1] == pytest.approx(LAW["sair"][1], abs=0.1)
    assert compute.rival_results.dropna().unique().tolist() == ["0.5 1", "1 2", "2 4"]
    assert "LIIF was measured from 5e-10 to 4e-09" in compute.reason.iloc[-1]
    assert sentence == (
        "SAIR against LIIF, PSNR: at equal steps ahead in 16, behind in 0, undecided in 0 of 16; at equal compute "
        "ahead in 0, behind in 12, undecided in 0 of 12 (1 of 4 budgets without a comparison)."
    )
    assert sentence in page and "all 28 comparisons" in page and "| 2,000 steps |" in page.replace("  ", "")
    means = frame[frame.minus.isna()]
    assert (
        len(means) == 2 * 4 * 4 and (means.method_low < means.value).all() and (means.value < means.method_high).all()
    )
    assert means.by_seed.str.split().str.len().eq(3).all() and set(means.seeds) == {3}


def test_the_order_of_the_folders_does_not_matter(measured, whole, tmp_path):
    frame, page, _ = written([measured[2], measured[0], measured[3], measured[1]], tmp_path)
    assert frame.equals(whole[0]) and page == whole[1]


def test_a_measure_that_is_better_when_lower_has_the_same_verdicts(measured, whole, tmp_path):
    by = [whole[0], written(measured, tmp_path, metric="l1")[0]]
    assert by[0].verdict.equals(by[1].verdict)
    assert (np.sign(by[0].value) == -np.sign(by[1].value))[by[0].minus.notna() & by[0].value.notna()].all()


def test_a_pair_may_be_named_the_other_way_round(measured, tmp_path):
    frame, page, _ = written(measured, tmp_path, pairs=[("liif", "sair")] * 2)
    assert "all 28 comparisons" in page  # a pair counts once
    compute = frame[frame.equal == COMPUTE]
    assert compute[compute.verdict == "not measured"].results.tolist() == ["0.5"]
    assert set(compute[compute.results != "0.5"].verdict) == {"ahead"} and "LIIF − SAIR" in page


def test_a_method_that_a_folder_lacks_has_a_dash(few, tmp_path):
    shutil.rmtree(Path(few[1], "faces/sair"))
    frame, page, _ = written(few, tmp_path)
    there = frame[(frame.results == "2") & (frame.method == "sair")]
    assert set(there.reason) == {"no scores of SAIR there"} and there.value.isna().all()
    assert frame[(frame.results == "1") & (frame.equal == STEPS)].verdict.eq("ahead").any()
    _, page, _ = written(few, tmp_path, pairs=[("liif", "sair")])
    assert "SAIR was measured from 1,000 to 1,000 steps" in page


def test_unequal_numbers_of_seeds_are_compared_and_other_seeds_are_not(few, tmp_path):
    for folder in few:
        shutil.rmtree(Path(folder, "faces/liif/seed1"))
    frame, page, _ = written(few, tmp_path)
    assert "0, 1 of SAIR" in page and frame[frame.equal == STEPS].value.notna().all()
    for folder in few:
        Path(folder, "faces/liif/seed0").rename(Path(folder, "faces/liif/seed5"))
        shutil.copytree(Path(folder, "faces/liif/seed5"), Path(folder, "faces/liif/seed6"))
    with pytest.raises(InputError, match=r"sair was trained with the seeds 0, 1, and liif with 5, 6.*same ones"):
        written(few, tmp_path)


def test_a_method_that_is_not_trained_is_left_out_unless_it_is_named(few, tmp_path):
    for folder in few:
        scores(Path(folder, "faces/mean_fill/seed0/scores.csv"), images=IMAGES)
    assert "mean_fill" not in set(written(few, tmp_path)[0].method)
    with pytest.raises(InputError, match=r"mean_fill.seed0.checkpoint\.safetensors: no such checkpoint.*--methods"):
        written(few, tmp_path, methods=["sair", "mean_fill"])


DAMAGES = {
    r"2: contains no scores \(DATASET/manifest": lambda folder: shutil.rmtree(folder / "faces"),
    r"2: no such folder": shutil.rmtree,
    r"manifest\.csv: lists other images or masks": lambda folder: (folder / "faces/manifest.csv").write_text("others"),
    r"liif.seed1.checkpoint\.safetensors: no such checkpoint": lambda folder: (
        folder / "faces/liif/seed1/checkpoint.safetensors"
    ).unlink(),
    r"safetensors: not a checkpoint of this project": lambda folder: (
        folder / "faces/liif/seed1/checkpoint.safetensors"
    ).write_bytes(b"?"),
    r"safetensors: states no operations": lambda folder: trained(folder, "liif", 2000, 0, IMAGES, operations=math.nan),
    r"a training of 2000 steps, and .* one of 1500": lambda folder: trained(folder, "liif", 1500, 0, IMAGES),
    r"1 and 2: liif was trained with as many steps": lambda folder: [
        trained(folder, "liif", 1000, seed, IMAGES) for seed in (0, 1)
    ],
    r"2: liif has 8 trainable parameters, and 9 in 1": lambda folder: [
        trained(folder, "liif", 2000, seed, IMAGES, parameters=8) for seed in (0, 1)
    ],
    r"2: liif has the seeds 0, and 0, 1 in 1": lambda folder: shutil.rmtree(folder / "faces/liif/seed1"),
    r"scored different images": lambda folder: [trained(folder, "liif", 2000, seed, 11) for seed in (0, 1)],
    r"scores\.csv: an empty file": lambda folder: (folder / "faces/liif/seed0/scores.csv").write_text(""),
}


@pytest.mark.parametrize("message", DAMAGES)
def test_folders_that_cannot_be_compared_are_refused(few, tmp_path, message):
    DAMAGES[message](Path(few[1]))
    with pytest.raises(InputError, match=message) as caught:
        written(few, tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"folders": 1}, "expected at least 2 different results folders"),
        ({"folders": 1.5}, "expected at least 2 different results folders"),
        ({"metric": "psnt"}, r"--metric psnt: no column of scores. Did you mean psnr"),
        ({"metric": "dists"}, r"scores\.csv: lacks the columns dists"),
        ({"dataset": "photos"}, "contains no scores of `photos`"),
        ({"methods": ["sair", "lif"]}, "lif: no scores of this method in these folders. Did you mean liif"),
        ({"methods": ["sair"]}, "expected at least two trained methods of `faces`, found sair"),
        ({"pairs": [["sair"]]}, "--pair sair: expected two different methods"),
        ({"methods": ["sair", "sair"]}, "expected at least two trained methods of `faces`, found sair"),
        ({"pairs": [["sair", "liif", "sair"]]}, "--pair sair,liif,sair: expected two different methods"),
        ({"pairs": [["sair", ""]]}, "--pair sair,: expected two different methods"),
        ({"pairs": [["sair", "sair"]]}, "--pair sair,sair: expected two different methods"),
        ({"pairs": [["sair", "lama"]]}, "lama: no scores of this method"),
    ],
)
def test_requests_that_cannot_be_answered_are_refused(few, tmp_path, change, message):
    count = change.pop("folders", 2)
    folders = few if count == 2 else [few[0]] * (1 if count == 1 else 2)
    with pytest.raises(InputError, match=message):
        written(folders, tmp_path, **change)


def test_of_several_datasets_one_is_named(few, tmp_path):
    for folder in few:
        shutil.copytree(Path(folder, "faces"), Path(folder, "photos"))
    with pytest.raises(InputError, match=r"have scores of faces, photos\. Name one of their datasets by --dataset"):
        written(few, tmp_path)
    assert "Dataset `photos`" in written(few, tmp_path, dataset="photos")[1]
