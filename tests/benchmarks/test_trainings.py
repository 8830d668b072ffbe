"""Test the benchmark of trainings: its report on two revisions, and the split in the form of an older revision."""

import argparse
import csv
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def training(monkeypatch):
    monkeypatch.syspath_prepend("benchmarks")
    return importlib.import_module("training")


@pytest.fixture
def data(frozen_split, tmp_path):
    """Return a frozen split under the names that the workflow gives."""
    folder = frozen_split(tmp_path / "split", train=16, validation=1, masks=4).parent
    (folder / "masks.csv").rename(folder / "training_masks.csv")
    return folder


def options(**changed):
    found = {"revision": "old", "full": True, "tolerance": 0.05, "repeats": 1}
    return argparse.Namespace(**found | changed)


def test_the_old_last_psnr_is_the_target_of_both(training, monkeypatch):
    runs = {
        "old": {"per_step": 0.4, "points": [(10, 26.0), (20, 27.0)]},
        "new": {"per_step": 0.1, "points": [(4, 26.0), (8, 26.96), (12, 26.9)]},
    }
    monkeypatch.setattr(training, "measured", lambda tree, name, options: runs[tree.name])
    trees = {"old": Path("old"), "now": Path("new")}
    row = training.compare(trees, "liif", options())
    assert row["to_target"] == {"old": 20, "now": 8}
    assert row["psnr"] == {"old": 27.0, "now": 26.9}
    text = training.table([row], "old")
    assert "4.00x" in text and "2.50x" in text
    row = training.compare(trees, "liif", options(tolerance=0.01))
    assert row["to_target"]["now"] is None
    assert "not reached" in training.table([row], "old")


def test_seconds_per_step_are_medians_over_runs_that_take_turns(training, monkeypatch):
    order, seconds = [], iter([1.0, 0.5, 3.0, 0.7, 2.0, 0.6])

    def measured(tree, name, options):
        order.append(tree.name)
        return {"per_step": next(seconds), "points": []}

    monkeypatch.setattr(training, "measured", measured)
    row = training.compare({"old": Path("old"), "now": Path("new")}, "sair", options(full=False, repeats=3))
    assert order == ["old", "new"] * 3
    assert row["per_step"] == {"old": 2.0, "now": 0.6}
    assert "psnr" not in row


def test_the_former_table_has_no_clusters(training, data, tmp_path):
    (tmp_path / "former").mkdir()
    table = training.former_tables(data, tmp_path / "former")
    with open(table, encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == ["id", "split", "image", "sha256", "labels", "labels_sha256", "caption"]
    assert len(rows) == 19 and all((table.parent / row["image"]).is_file() for row in rows)


@pytest.mark.slow
def test_one_revision_is_measured(data):
    arguments = ["--measure", os.getcwd(), "--methods", "liif", "--steps", "2", "--data", str(data)]
    done = subprocess.run(
        [sys.executable, "benchmarks/training.py", *arguments],
        env=os.environ | {"PYTHONPATH": os.getcwd()}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout.splitlines()[-1])
    assert 0 < found["per_step"] < found["seconds"]
    assert len(found["points"]) == 1 and 5 < found["points"][0][1] < 60
