"""Test docs/add-a-metric.md as written: after one new file and one entry, the metric appears everywhere."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sair.evaluation.metrics.of_images import IMAGE_METRICS
from sair.inference.predict import predict
from sair.methods.spec import load_spec

pytestmark = pytest.mark.slow

PAGE = Path("docs/add-a-metric.md")
USE = Path("tests/helpers/use_a_metric.py")


def blocks(kind):
    return re.findall(rf"```{kind}\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)


def patched(text, diff):
    """Return a text after a diff without context numbers, which must fit in one place."""
    lines = diff.splitlines(keepends=True)
    before, after = ("".join(line[1:] for line in lines if line[0] in kept) for kept in (" -", " +"))
    assert text.count(before) == 1, f"{PAGE}: this is not in of_images.py once:\n{before}"
    return text.replace(before, after)


@pytest.fixture(scope="module")
def used(tmp_path_factory, frozen_split):
    """Return the output of a copy of the package to which only the page's metric was added."""
    folder = tmp_path_factory.mktemp("grey")
    metrics = folder / "copy/sair/evaluation/metrics"
    shutil.copytree("sair", folder / "copy/sair", ignore=shutil.ignore_patterns("__pycache__"))
    (code,) = blocks("python")
    (metrics / "grey.py").write_text(code, encoding="utf-8")
    registry = (metrics / "of_images.py").read_text(encoding="utf-8")
    for diff in blocks("diff"):
        registry = patched(registry, diff)
    (metrics / "of_images.py").write_text(registry, encoding="utf-8")
    frozen_split(folder, test=14, train=2, validation=1, masks=2, buckets=[(0, 20), (20, 40)])
    for name in ("mean_fill", "biharmonic"):
        predict(load_spec(name, "config/methods", "mini"), folder / "manifest.csv", folder / name / "seed0/predictions")
    path = os.pathsep.join([str(folder / "copy"), str(Path.cwd())])
    command = [sys.executable, str(USE.resolve()), str(folder)]
    result = subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return folder, json.loads(result.stdout.splitlines()[-1])


def test_score_files_have_its_columns_and_those_of_before_are_unchanged(used):
    folder, _ = used
    frame = pd.read_csv(folder / "mean_fill/seed0/scores.csv")
    whole = [metric.name for metric in IMAGE_METRICS]
    assert [name for name in frame if "grey" in name] == ["grey", "grey_hole", "grey_raw"]
    assert list(frame)[4 : 5 + len(whole)] == [*whole, "grey"]
    assert frame.grey.between(0, 255).all() and (frame.grey < frame.grey_hole).all()
    # Known pixels have no error, so the whole image's error is that of the hole times the hole's share.
    np.testing.assert_allclose(frame.grey, frame.grey_hole * frame.ratio / 100, rtol=1e-8)


def test_it_is_a_score_of_an_image_and_of_folders(used):
    _, printed = used
    assert printed["score"]["grey"] == pytest.approx(5) and "grey_hole" not in printed["score"]
    assert printed["folders"] == ["id", *(metric.name for metric in IMAGE_METRICS), "grey"]


def test_a_table_whose_config_lists_it_shows_it(used):
    folder, _ = used
    header, _, *rows = [line for line in (folder / "mine.markdown").read_text().splitlines() if line.startswith("|")]
    assert "Grey error ↓ 0-20 %" in header and "SSIM" not in header and len(rows) == 2
    frame = pd.read_csv(folder / "mine.csv").set_index(["method", "bucket", "metric"])
    scores = pd.read_csv(folder / "mean_fill/seed0/scores.csv")
    expected = scores.grey[scores.bucket == "0-20"].mean()
    assert frame.loc[("mean_fill", "0-20", "grey"), "mean"] == pytest.approx(expected)
    assert f"{expected:.2f}" in (folder / "mine.markdown").read_text()


def test_the_regression_check_judges_it(used):
    folder, printed = used
    frame = pd.read_csv(folder / "check.csv")
    assert set(frame.outcome[frame.metric == "grey"]) == {"worse"}
    assert "Grey error" in (folder / "check.md").read_text() and "0.05 levels in Grey error" in printed["terms"]


def test_the_config_may_give_its_least_difference_and_a_wrong_name_is_refused(used):
    _, printed = used
    assert "there is no 'gray'. Did you mean grey?" in printed["refused"]
