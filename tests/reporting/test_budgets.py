"""Test what a table states about the cost of its trainings."""

import json
import math

import pytest
import torch

from sair.common.errors import InputError
from sair.methods.checkpoint import save
from sair.reporting.budgets import NO_BUDGET, Budget, budget_of, budget_table

FACTS = {"rule": "train", "device": "a CPU", "config": {}, "inputs": {}, "outputs": {}, "versions": {}}


def trained(results, seed, **facts):
    """Write the checkpoint and the record of a training; return the path of its scores."""
    folder = results / f"faces/liif/seed{seed}"
    save(folder / "checkpoint.safetensors", {"w": torch.zeros(1)}, {"parameters": 9, "operations": 5, "steps": 100})
    record = results / f"provenance/faces/liif/seed{seed}/train.json"
    record.parent.mkdir(parents=True)
    record.write_text(json.dumps(FACTS | {"wall_seconds": 40 + 20 * seed, "threads": 2} | facts))
    return folder / "scores.csv"


def test_a_budget_is_the_mean_over_seeds(tmp_path):
    files = [trained(tmp_path, seed) for seed in (0, 1)]
    assert budget_of(files)[:3] == (9, 500, (80 + 120) / 2) and math.isnan(budget_of(files).gpu_seconds)
    on_gpu = budget_of([trained(tmp_path / "gpu", 0, device_type="cuda")])
    assert on_gpu.gpu_seconds == 80 and math.isnan(on_gpu.core_seconds)


def test_what_was_not_recorded_is_not_stated(tmp_path):
    assert not budget_of([tmp_path / "faces/liif/seed0/scores.csv"]).known and not budget_of([]).known
    before = tmp_path / "faces/old/seed0"  # a checkpoint of an earlier version
    save(before / "checkpoint.safetensors", {"w": torch.zeros(1)}, {"steps": 100})
    assert not budget_of([before / "scores.csv"]).known
    assert budget_table({"a": "A"}, {"a": NO_BUDGET}) == ""
    for wrong in (math.inf, -1, 10**400, "9", [9]):
        save(
            before / "checkpoint.safetensors", {"w": torch.zeros(1)}, {"parameters": 9, "operations": 5, "steps": wrong}
        )
        with pytest.raises(InputError, match=r"checkpoint\.safetensors: not a checkpoint of this project"):
            budget_of([before / "scores.csv"])
    (before / "checkpoint.safetensors").write_bytes(b"no checkpoint")
    with pytest.raises(InputError, match=r"checkpoint\.safetensors: not a checkpoint of this project"):
        budget_of([before / "scores.csv"])


def test_the_table_names_the_extremes():
    budgets = {"sair": Budget(250_371, 7.7e13, 130.4), "liif": Budget(192_323, 5.4e13, 80), "fill": NO_BUDGET}
    labels = {"liif": "LIIF", "sair": "SAIR", "fill": "Fill"}
    text = budget_table(labels, budgets, timed=True)
    assert "SAIR took 1.4 times the operations of LIIF" in text and "GPU seconds" not in text
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    assert lines[0] == ["Method", "trainable parameters", "operations (10¹²)", "core seconds"]
    assert lines[2:] == [["LIIF", "192,323", "54", "80"], ["SAIR", "250,371", "77", "130"]]
    # Without seconds the same table comes from every run.
    slower = {method: own._replace(core_seconds=own.core_seconds * 2) for method, own in budgets.items()}
    assert budget_table(labels, budgets) == budget_table(labels, slower)
    assert "seconds" not in budget_table(labels, budgets).lower()
    assert budget_table({"a": "A"}, {"a": Budget(core_seconds=3)}) == ""
