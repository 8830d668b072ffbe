"""Test the regression check: better and worse scores are reported, an identical rerun is no difference."""

import math
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sair.commands.cli import main
from sair.common.errors import InputError
from sair.common.progress import warn
from sair.evaluation.score import SCORE_COLUMNS
from sair.evaluation.statistics import holm
from sair.reporting.comparison import compare, parse_least


def write(path, shift=0.0, images=40):
    rng = np.random.default_rng(3)
    rows = [
        dict.fromkeys(SCORE_COLUMNS, 0.1)
        | {
            "id": f"p{n}",
            "bucket": bucket,
            "cluster": f"p{n}",
            "psnr": rng.normal(30, 4) + shift,
            "lpips": 0.1 - shift,
        }
        for bucket in ("0-20", "20-40")
        for n in range(images)
    ]
    pd.DataFrame(rows)[list(SCORE_COLUMNS)].to_csv(path, index=False)
    return str(path)


def outcomes(verdicts, metric):
    return {v.bucket: v.outcome for v in verdicts if v.metric == metric}


def test_better_worse_and_the_same(tmp_path):
    reference = write(tmp_path / "reference.csv")
    better, worse = write(tmp_path / "better.csv", 0.05), write(tmp_path / "worse.csv", -0.05)
    same = write(tmp_path / "same.csv")
    buckets = ("0-20", "20-40", "all")
    # A twentieth of a decibel among images that differ by four: pairing sees it.
    assert outcomes(compare([reference], [better]), "psnr") == dict.fromkeys(buckets, "improved")
    assert outcomes(compare([reference], [better]), "lpips") == dict.fromkeys(buckets, "improved")
    assert outcomes(compare([reference], [worse]), "psnr") == dict.fromkeys(buckets, "worse")
    assert set(outcomes(compare([reference], [same]), "psnr").values()) == {"no difference"}
    assert all(v.adjusted_p == 1 for v in compare([reference], [same]))


def test_the_exit_status_of_the_command(tmp_path, capsys):
    reference, worse = write(tmp_path / "reference.csv"), write(tmp_path / "worse.csv", -0.05)
    assert main(["compare", reference, worse]) == 2 and "worse" in capsys.readouterr().out
    assert main(["compare", worse, reference]) == 0 and "improved" in capsys.readouterr().out
    assert main(["compare", reference, write(tmp_path / "few.csv", images=39)]) == 1
    assert "scored different images (2 are in one only)" in capsys.readouterr().err


@pytest.mark.parametrize(("header", "hint"), [("PSNR", "Did you mean psnr"), ("comment", "Known are: ")])
def test_an_unknown_header_is_named(tmp_path, capsys, header, hint):
    reference, other = write(tmp_path / "reference.csv"), tmp_path / "other.csv"
    pd.read_csv(reference).rename(columns={"psnr": header}).to_csv(other, index=False)
    assert main(["compare", reference, str(other)]) == 1
    said = capsys.readouterr().err
    assert f"other.csv: there is no measure '{header}'. {hint}" in said and said.count("\n") == 1


def test_holm_against_the_textbook():
    """Holm (1979): the smallest p times 4, the next times 3 and so on, and each at least the one before."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    found = holm([0.5, math.nan, 0.9])
    assert found[0] == 1 and math.isnan(found[1]) and found[2] == 1


@pytest.mark.parametrize(("measure", "value"), [("ssim", 97.3), ("l1", 5.2), ("psnr", -3), ("psnr", 1e308)])
def test_scores_that_the_measure_cannot_have_are_refused(tmp_path, measure, value):
    row = {"id": "a", "psnr": 30, "ssim": 0.9, "l1": 0.02, "lpips": 0.1}
    pd.DataFrame([row, row | {"id": "b", measure: value}]).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(InputError, match=f"line 3, {measure}: .*, expected .* to "):
        compare(tmp_path / "a.csv", tmp_path / "a.csv")


def test_a_measure_is_given_one_least_difference():
    assert parse_least(["psnr=0.1", "ssim=0.01"]) == {"psnr": 0.1, "ssim": 0.01}
    with pytest.raises(InputError, match=r"--least psnr=0.2: psnr is given twice"):
        parse_least(["psnr=0.1", "psnr=0.2"])


@pytest.mark.parametrize("kind", ["path", "detour", "link", "hard link", "copy"])
def test_that_both_sides_are_the_same_is_stated(tmp_path, capsys, kind):
    first, second = write(tmp_path / "a.csv"), str(tmp_path / "b.csv")
    if kind == "detour":
        second = f"{tmp_path}/../{tmp_path.name}/a.csv"
    elif kind == "link":
        Path(second).symlink_to(first)
    elif kind == "hard link":
        Path(second).hardlink_to(first)
    elif kind == "copy":
        shutil.copy(first, second)
    else:
        second = first
    warn.cache_clear()  # a process prints each warning once, and other tests are in this one
    assert main(["compare", first, second]) == 0
    expected = "have the same scores for every image" if kind == "copy" else "are the same file"
    names = [first, second] if kind not in ("path", "copy") else []
    warning = capsys.readouterr().err
    assert expected in warning and all(name in warning for name in names)
