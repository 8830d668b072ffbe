"""Test that tables state the conditions under which rows were computed, and how their rows differ."""

import json
import math

import pytest

from sair.common.errors import InputError
from sair.reporting.conditions import differences, facts_of, notes

VERSIONS = {"torch": "2.11.0", "numpy": "2.0.0", "python": "3.11.7"}


@pytest.fixture
def row(tmp_path):
    """Write the records of a method. Returns a function that gives its score files back."""

    def write(method, steps, seed=0, **versions):
        for rule, facts in steps.items():
            name = f"{rule.removesuffix('_shard')}{'.1-of-2' if rule.endswith('_shard') else ''}.json"
            path = tmp_path / f"provenance/faces/{method}/seed{seed}/{name}"
            path.parent.mkdir(parents=True, exist_ok=True)
            record = {
                "rule": rule,
                "config": {"results": "results"},
                "inputs": {},
                "outputs": {},
                "versions": VERSIONS | versions,
                **facts,
            }
            path.write_text(json.dumps(record))
        return [tmp_path / f"faces/{method}/seed{seed}/scores.csv"]

    return write


CPU = {"device": "a CPU", "precision": "fp32"}
GPU = {"device": "a GPU", "precision": "bf16", "tf32": {"convolutions": True, "matrices": False}}


def test_conditions_of_all_rows_are_stated_once(row):
    rows = {
        "A": row("a", {"train": CPU, "predict": CPU, "score": CPU}),
        "B": row("b", {"predict_shard": CPU, "score_shard": CPU}),
    }
    assert notes(rows) == ["All rows: training, prediction, scores on a CPU, fp32; torch 2.11.0, numpy 2.0.0."]
    assert differences(rows) == ""


@pytest.mark.parametrize(
    ("steps", "versions", "said"),
    [
        ({"train": GPU}, {}, "Training: a CPU, fp32 (A), a GPU, bf16, TF32 in convolutions (B)."),
        ({"predict": GPU}, {}, "Prediction: a CPU, fp32 (A), a GPU, bf16, TF32 in convolutions (B)."),
        ({"score": GPU}, {}, "Scores: a CPU, fp32 (A), a GPU, bf16, TF32 in convolutions (B)."),
        ({"train": CPU | {"precision": "bf16"}}, {}, "Training: a CPU, fp32 (A), a CPU, bf16 (B)."),
        ({}, {"torch": "2.13.0"}, "torch: 2.11.0 (A), 2.13.0 (B)."),
        ({}, {"python": "3.12.1"}, ""),
    ],
)
def test_rows_that_differ_are_named(row, steps, versions, said):
    same = {"train": CPU, "predict": CPU, "score": CPU}
    rows = {"A": row("a", same), "B": row("b", same | steps, **versions)}
    assert differences(rows) == said
    start = "Rows were computed under different conditions"
    assert any(start in note and said in note for note in notes(rows)) == bool(said)


def test_seeds_of_one_row_that_differ_are_a_difference(row):
    rows = {"A": row("a", {"train": CPU, "predict": CPU}) + row("a", {"train": GPU, "predict": CPU}, seed=1)}
    assert differences(rows) == "Training: a CPU, fp32 and a GPU, bf16, TF32 in convolutions (A)."


def test_a_row_of_results_from_elsewhere_is_named(row, tmp_path):
    recorded = row("a", {"predict": CPU, "score": CPU})
    rows = {"A": recorded, "B": [tmp_path / "faces/b/seed0/scores.csv"], "C": ["scores.csv"]}
    assert notes(rows)[-1] == "Device, precision and versions are not recorded: B, C."
    assert differences(rows) == ""


def test_a_step_without_a_record_is_named(row):
    """A step without a record is not stated for all rows; a training is expected where there is a checkpoint."""
    whole = {"train": CPU, "predict": CPU, "score": CPU}
    rows = {"A": row("a", whole), "B": row("b", {"score": CPU}), "C": row("c", {"predict": CPU, "score": CPU})}
    assert notes(rows)[1:] == ["Not recorded: prediction of B."]
    checkpoint = rows["C"][0].with_name("checkpoint.safetensors")
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    assert sorted(notes(rows)[1:]) == ["Not recorded: prediction of B.", "Not recorded: training of C."]


def test_only_the_steps_of_a_file_count(row):
    (scores,) = row("a", {"predict": CPU, "segmentation": GPU})
    assert "segmentation" not in facts_of([scores])
    assert "prediction" not in facts_of([scores.with_name("segmentation.csv")])


def test_files_that_are_not_records_are_refused(row, tmp_path):
    (scores,) = row("a", {"predict": CPU})
    path = tmp_path / "provenance/faces/a/seed0/predict.json"
    facts = json.loads(path.read_text())
    torn = [{"rule": 5}, {"inputs": None}, {"outputs": {"a": 1}}, {"versions": []}, {"tf32": "on"}]
    torn.append({"config": {"results": 5}})
    wrong = (math.inf, math.nan, -1, 10**400, "4", True, [1])
    torn += [{key: value} for key in ("wall_seconds", "threads", "peak_memory_mib") for value in wrong]
    torn += [{"prediction": {key: value}} for key in ("seconds_per_image", "parameters") for value in wrong]
    for text in ("", "[]", "{}", "\x00", "[" * 10**5, *(json.dumps(facts | part) for part in torn)):
        (tmp_path / "provenance/faces/a/seed0/predict.json").write_text(text)
        with pytest.raises(InputError, match=r"predict\.json: not the record of a job"):
            facts_of([scores])
