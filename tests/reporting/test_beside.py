"""Test the columns of a table beside its metrics: best of samples, diversity, costs and published numbers."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from helpers.measured import scores

from sair.common.errors import InputError
from sair.data.buckets import ALL
from sair.evaluation.statistics import Estimate
from sair.reporting import verdicts
from sair.reporting.beside import best_of, costs_of
from sair.reporting.inputs import TableInputs, layout
from sair.reporting.measured import means, read_scores
from sair.reporting.tables import write_table
from sair.reporting.verdicts import Claim, claims_of, describe, judge, summary
from sair.weights.cards import card_files, read_card

CLAIM = Claim("lama", "psnr", 30.0, "celebahq", 256, "nvidia", 2000, "Table 1")


def record(folder, method, seed, **facts):
    """Write the record of a prediction beside the scores of a method."""
    path = folder / f"provenance/faces/{method}/seed{seed}/predict.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    base = {"rule": "predict", "device": "a CPU", "config": {}, "inputs": {}, "outputs": {}, "versions": {}}
    path.write_text(json.dumps(base | facts))


def files(folder, method, seeds):
    path = folder / "faces" / method
    return [scores(path / f"seed{seed}/scores.csv", psnr=seed / 10, seed=seed) for seed in range(seeds)]


def lines_of(page):
    """Return the two rows of the table, without those of tables below it."""
    return [line for line in page.splitlines() if line.startswith(("| One", "| Two"))][:2]


@pytest.fixture
def table(config, tmp_path):
    """Return a function that writes a table with two methods, one of them with two samples."""

    def write(**settings):
        measured = {"one": files(tmp_path, "one", 1), "two": files(tmp_path, "two", 2)}
        frame = pd.DataFrame([["p0", "0-20", 0.1], ["p0", "20-40", 0.3], ["p1", "0-20", 0.4]])
        frame.to_csv(tmp_path / "diversity.csv", index=False, header=["id", "bucket", "diversity"])
        (tmp_path / "manifest.csv").write_text("x")
        spec = {"class": "a:B", "tables": {"mine": None}, "training": None, "card": None}
        methods = {name: {**spec, "label": name.title()} for name in measured}
        config_ = {**config, "tables": {"mine": {"dataset": "faces", "metrics": ["psnr", "lpips"], **settings}}}
        inputs = TableInputs(
            measured,
            str(tmp_path / "manifest.csv"),
            figures=[str(tmp_path / "a.png")],
            diversity={"two": str(tmp_path / "diversity.csv")},
        )
        output = SimpleNamespace(**{kind: tmp_path / f"mine.{kind}" for kind in ("markdown", "latex", "csv")})
        write_table("mine", inputs, config_, methods, output)
        return output.markdown.read_text(), pd.read_csv(output.csv), output.latex.read_text()

    return write


def test_the_best_sample_of_each_image_is_chosen_for_each_metric_separately(tmp_path):
    paths = files(tmp_path, "m", 3)
    frames = [read_scores(path) for path in paths]
    best = best_of(paths)
    expected = np.maximum.reduce([frame.psnr.to_numpy() for frame in frames])
    assert best[ALL, "psnr"] == pytest.approx(pd.Series(expected).groupby(frames[0].id).mean().mean())
    assert best[ALL, "psnr"] > max(means(frame)[ALL, "psnr"] for frame in frames)
    assert best[ALL, "l1"] <= min(means(frame)[ALL, "l1"] for frame in frames)


def test_samples_add_best_and_diversity_to_the_table_and_its_csv(table):
    page, frame, latex = table()
    header = page.splitlines()[2]
    assert "PSNR ↑ best of samples" in header and "LPIPS ↓ best of samples" in header and "Diversity" in header
    assert "Samples per image: Two 2." in page and "best of samples" in latex
    one, two = lines_of(page)
    assert one.split("|")[-2].strip() == "–" and two.split("|")[-2].strip() == "0.300"  # the mean over images
    values = frame.groupby("method").diversity.unique()
    assert np.isnan(values["one"]).all() and values["two"] == pytest.approx([0.3])
    assert "another seed causes, 95 %" not in page, "samples do not show how trainings vary"
    assert "![a](a.png)" in page and "Figures: seed" not in page, "nothing was trained"


def test_costs_come_from_the_records_of_all_samples(table, tmp_path):
    prediction = {"images": 4, "seconds_per_image": 0.25, "parameters": 3_000_000}
    record(tmp_path, "one", 0, peak_memory_mib=512, prediction=prediction)
    record(tmp_path, "two", 0, peak_memory_mib=1024, peak_gpu_memory_mib=2048, prediction=prediction)
    record(tmp_path, "two", 1, peak_memory_mib=2048, prediction={**prediction, "seconds_per_image": 0.75})
    page, frame, _ = table(columns=["parameters", "seconds", "memory", "gpu_memory"])
    one, two = (line.split("|")[-5:-1] for line in lines_of(page))
    assert [cell.strip() for cell in one] == ["3.00", "0.250", "0.50", "–"]
    assert [cell.strip() for cell in two] == ["3.00", "0.500", "2.00", "2.00"]
    assert frame[frame.method == "two"].seconds_per_image.unique() == [0.5] and "Costs: weights that fill holes" in page


def test_results_without_records_have_no_costs(tmp_path):
    assert all(math.isnan(value) for value in costs_of(files(tmp_path, "m", 1)).values())


def test_a_table_without_columns_is_as_before(table, config, tmp_path):
    page, _, _ = table()
    assert "Costs" not in page and "Published" not in page


@pytest.mark.parametrize(
    ("mean", "low", "high", "verdict"),
    [
        (29.0, 28.0, 30.5, "reproduced"),
        (30.2, 30.1, 30.3, "reproduced"),
        (31.0, 30.9, 31.1, "close"),
        (25.0, 24.0, 26.0, "not reproduced"),
    ],
)
def test_verdicts_compare_with_the_interval_and_the_relative_difference(config, mean, low, high, verdict):
    comparable = {**config, "image_size": 256}
    comparable["datasets"] = {"faces": {"source": "folder", "known": "celebahq", "masks": "strokes"}}
    comparable["masks"] = {"strokes": {"source": "folder", "known": "nvidia"}}
    shown = layout({**comparable, "tables": {"mine": {"dataset": "faces"}}}, "mine")
    found = judge(CLAIM, {(ALL, "psnr"): Estimate(mean, low, high, 10, 10)}, shown, comparable)
    assert found.verdict == verdict and found.measured == mean
    assert judge(CLAIM, {}, shown, comparable).verdict == "not comparable"


def test_other_conditions_are_not_comparable_and_the_reasons_are_given(config):
    shown = layout({**config, "tables": {"mine": {"dataset": "faces"}}}, "mine")
    found = judge(CLAIM, {(ALL, "psnr"): Estimate(30, 29, 31, 10, 10)}, shown, config)
    assert found.verdict == "not comparable"
    assert found.reason == "on celebahq, here faces; at 256 pixels, here 64; masks nvidia, here strokes"
    text = describe("LaMa", [found])
    assert "PSNR 30 (Table 1), measured 30.00: not comparable" in text and summary([found]) == "1 not comparable"


def test_a_folder_s_name_does_not_make_its_masks_the_published_ones(config):
    folder = {"path": "masks", "hole": "white", "name": "nvidia"}
    mixed = {**config, "masks": {"strokes": {"source": "family", "family": ["box", folder], "train": 0}}}
    shown = layout({**mixed, "tables": {"mine": {"dataset": "faces"}}}, "mine")
    found = judge(CLAIM, {(ALL, "psnr"): Estimate(30, 29, 31, 10, 10)}, shown, mixed)
    assert found.reason.endswith("masks nvidia, here those of the families box, nvidia (a folder)")


def test_every_card_states_published_numbers_of_methods_and_metrics_that_exist():
    found = [claim for name in card_files() for one in read_card(name).get("published", []) for claim in
             claims_of(one["method"], name)]  # fmt: skip
    assert any(claim.method == "lama_big" for claim in found)


def test_a_faulty_entry_of_a_card_is_refused(monkeypatch):
    monkeypatch.setattr(verdicts, "read_card", lambda name: {"published": [{"method": "lama", "metrik": "fid"}]})
    with pytest.raises(InputError, match=r"card lama, published: .*expected the keys method, metric, value"):
        claims_of("lama", "lama")
