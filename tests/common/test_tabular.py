"""Test reading score files: names stay text, a wrong cell is an error with its line, and no file causes a traceback."""

import math

import numpy as np
import pandas as pd
import pytest

from sair.commands.cli import main
from sair.common.errors import InputError
from sair.common.files import write_csv
from sair.common.tabular import FINITE, TEXT, Number, read_csv
from sair.evaluation.conventions import all_measures
from sair.evaluation.score import SCORE_COLUMNS
from sair.reporting.comparison import compare
from sair.reporting.figures import read_log
from sair.reporting.measured import quality, read_scores

NAMES = ["NA", "null", "nan", "None", "1e5", "007", "7", "True", "", "a,b", '"q"', "<NA>", "-inf", "0-20", "ü"]


def frame(names=None, shift=0.0, buckets=("0-20", "20-40"), n=30):
    names = [f"p{k}" for k in range(n)] if names is None else names
    rng = np.random.default_rng(0)
    rows = []
    for bucket in buckets:
        for name in names:
            row = dict.fromkeys(SCORE_COLUMNS, 0.1) | {"id": name, "bucket": bucket, "cluster": name, "ratio": 5.0}
            rows.append(row | {"psnr": rng.normal(30, 4) + shift})
    return pd.DataFrame(rows)[list(SCORE_COLUMNS)]


def stored(tmp_path, table, name="scores.csv"):
    write_csv(table, tmp_path / name)
    return str(tmp_path / name)


# --------------------------------------------------------------------------------------------------------------------
# The reader


def test_names_are_never_read_as_values(tmp_path):
    path = stored(tmp_path, pd.DataFrame({"id": NAMES, "x": np.arange(len(NAMES)) / 7}))
    found = read_csv(path, {"id": TEXT, "x": FINITE})
    assert found.id.tolist() == NAMES and found.x.tolist() == [k / 7 for k in range(len(NAMES))]


@pytest.mark.parametrize("text", ["inf", "nan", "", "-inf", "abc", "1,5", "0x1", "1_0"])
def test_a_bad_cell_is_named_with_its_line(tmp_path, text):
    (tmp_path / "a.csv").write_text(f'id,x\na,1\n"b\nb",2\nc,"{text}"\n')
    with pytest.raises(InputError, match=r"a\.csv, line 5, x: "):
        read_csv(tmp_path / "a.csv", {"id": TEXT, "x": FINITE})


def test_what_a_column_allows(tmp_path):
    (tmp_path / "a.csv").write_text("x,y,z\ninf,,5\n1,nan,6\n")
    found = read_csv(tmp_path / "a.csv", {"x": Number(infinite=True), "y": Number(missing=True)})
    assert found.x.tolist() == [math.inf, 1] and found.y.isna().all() and list(found) == ["x", "y"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "an empty file"),
        (b"\n\n", "an empty file"),
        (b"\x89PNG\r\n\x1a\n\x00\xff\xfe", "not a readable CSV file"),
        ("id,x\n\u00e9,1\n".encode("latin-1"), "not a readable CSV file"),
        ("id,x\na,1\n".encode("utf-16"), "not a readable CSV file"),
        (b"preset: mini\nseeds: [0]\n", "lacks the columns id, x; expected id, x"),
        (b"id;x\na;1\n", "lacks the columns"),
        (b"id,x\na\n", "line 2: 1 cells, expected 2"),
        (b"id,x\na,1,2\n", "line 2: 3 cells, expected 2"),
        (b"id,x,x\na,1,2\n", "'x' occurs twice"),
        (b'id,x\n"a,1\n', "not a readable CSV file"),
    ],
)
def test_a_file_that_is_not_a_table_is_refused(tmp_path, content, message):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_csv(tmp_path / "a.csv", {"id": TEXT, "x": FINITE})


def test_missing_files_and_folders_are_refused(tmp_path):
    for path, message in ((tmp_path / "no.csv", "no such file"), (tmp_path, "cannot be read")):
        with pytest.raises(InputError, match=message):
            read_csv(path, {"id": TEXT})


def test_a_byte_order_mark_and_other_line_ends_do_not_matter(tmp_path):
    (tmp_path / "a.csv").write_bytes("\ufeffid,x\r\na,1\r\n\r\n".encode())
    assert read_csv(tmp_path / "a.csv", {"id": TEXT, "x": FINITE}).to_dict("list") == {"id": ["a"], "x": [1.0]}


# --------------------------------------------------------------------------------------------------------------------
# Scores


def test_images_called_na_count_in_every_mean(tmp_path):
    names = ["NA", "null", "nan", "None", "1e5", "007", "7", "True"]
    found = quality(read_scores(stored(tmp_path, frame(names))))
    assert {key[0]: cell.n for key, cell in found.items() if key[1] == "psnr"} == {"0-20": 8, "20-40": 8, "all": 8}
    verdicts = compare(stored(tmp_path, frame(names)), stored(tmp_path, frame(names, 1.0), "b.csv"))
    assert {v.difference.n for v in verdicts} == {8}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"psnr": math.nan}, "line 2, psnr: ''"),
        ({"ssim": math.inf}, "line 2, ssim: 'inf'"),
        ({"psnr": -math.inf}, "line 2, psnr: '-inf'"),
        ({"l1": "many"}, "line 2, l1: 'many'"),
        ({"id": "p1"}, "two rows for the image 'p1'"),
        ({"id": ""}, "no name of the image ''"),
        ({"bucket": "all"}, "the bucket `all`"),
        ({"cluster": "other"}, "several clusters for the image 'p0'"),
    ],
)
def test_bad_scores_are_refused(tmp_path, change, message):
    table = frame().astype(object)
    for column, value in change.items():
        table.loc[0, column] = value
    with pytest.raises(InputError, match=message):
        read_scores(stored(tmp_path, table))


def test_numbers_that_may_not_exist_are_left_out(tmp_path):
    table = frame()
    table.loc[:4, ["psnr_hole", "ssim_hole"]] = math.nan
    table["lpips"] = math.nan
    found = quality(read_scores(stored(tmp_path, table)))
    assert found["0-20", "psnr_hole"].n == 25 and found["0-20", "lpips"].n == 0


def test_a_training_log_may_lack_a_validation(tmp_path):
    (tmp_path / "train.csv").write_text("step,lr,psnr,loss,edge\n1,0.1,,0.5,\n2,0.1,20.5,0.25,3\n")
    log = read_log(tmp_path / "train.csv")
    assert (
        log.step.tolist() == [1, 2] and log.psnr.isna().tolist() == [True, False] and log.loss.tolist() == [0.5, 0.25]
    )


# --------------------------------------------------------------------------------------------------------------------
# `sair compare` of any two files


def outcomes(reference, variant, metric, **least):
    verdicts = compare(reference, variant, least or {"psnr": 0.2})
    return {v.bucket: v.outcome for v in verdicts if v.metric == metric}


def test_the_order_of_rows_does_not_matter(tmp_path):
    other = stored(tmp_path, frame(shift=1.0).iloc[::-1], "b.csv")
    found = outcomes(stored(tmp_path, frame()), other, "psnr")
    assert found == dict.fromkeys(("0-20", "20-40", "all"), "improved")


def test_scores_without_masks(tmp_path):
    """`sair score` without masks writes no bucket, no hole-only and no raw columns."""
    columns = ["id", "psnr", "ssim", "l1", "lpips"]
    one, two = (stored(tmp_path, frame(shift=shift, buckets=("",))[columns], f"{shift}.csv") for shift in (0.0, 1.0))
    assert outcomes(one, two, "psnr") == {"all": "improved"}
    assert main(["compare", two, one]) == 2 and main(["compare", one, two]) == 0
    # One of them with masks: what both have is the whole image.
    masked = stored(tmp_path, frame(buckets=("20-40",)).drop(columns=["psnr_raw", "l1_raw"]), "masked.csv")
    assert outcomes(masked, two, "psnr") == {"all": "improved"}
    with pytest.raises(InputError, match=r"scores images under several masks each"):
        compare(stored(tmp_path, frame()), two)


def test_scores_of_other_conventions(tmp_path):
    def table(shift):
        rows = frame(shift=shift)[["id", "bucket", "cluster"]]
        values = {c: np.linspace(0.2, 0.8, len(rows)) + shift / 10 for c in all_measures()}
        values |= {"edgeconnect_ssim": math.nan, "mmagic_mae": 100 * values["ours_l1"]}
        return rows.assign(**values)

    one, two = stored(tmp_path, table(0), "0.csv"), stored(tmp_path, table(1), "1.csv")
    assert outcomes(one, two, "lama_ssim", ssim=0.003) == dict.fromkeys(("0-20", "20-40", "all"), "improved")
    # An L1 in another unit: 0.1 more of about 0.5 is more than 0.003 of the same share, and less than 0.2.
    assert set(outcomes(one, two, "mmagic_mae", l1=0.003).values()) == {"worse"}
    assert set(outcomes(one, two, "mmagic_mae", l1=0.2).values()) == {"no difference"}
    assert outcomes(one, two, "edgeconnect_ssim", ssim=0.003) == {}
    with pytest.raises(InputError, match="have no measure in common"):
        compare(one, stored(tmp_path, frame(), "scores.csv"))


def test_files_without_a_common_number_are_refused(tmp_path):
    one = stored(tmp_path, frame()[["id", "lpips"]].iloc[:30].assign(lpips=math.nan))
    with pytest.raises(InputError, match="no image has a number in both"):
        compare(one, one)


def test_seeds_of_other_clusters_are_refused(tmp_path):
    clustered = stored(tmp_path, frame().assign(cluster=[f"c{k % 10}" for k in range(60)]), "b.csv")
    with pytest.raises(InputError, match=r"b\.csv: names other clusters than .*scores\.csv"):
        read_scores([stored(tmp_path, frame()), clustered])


def test_an_infinite_score_is_compared(tmp_path):
    perfect = frame().assign(psnr=math.inf)
    one, two = stored(tmp_path, frame()), stored(tmp_path, perfect, "b.csv")
    assert set(outcomes(one, two, "psnr").values()) == {"improved"}
    assert set(outcomes(two, two, "psnr").values()) == {"no difference"}


def test_other_images_or_masks_are_refused(tmp_path):
    one = stored(tmp_path, frame())
    with pytest.raises(InputError, match="scored different images"):
        compare(one, stored(tmp_path, frame(n=29), "b.csv"))
    with pytest.raises(InputError, match="'p0' under different masks"):
        compare(one, stored(tmp_path, frame().assign(ratio=7.0), "b.csv"))
    clustered = frame().assign(cluster=[f"c{k % 10}" for k in range(60)])
    found = compare(one, stored(tmp_path, clustered, "b.csv"), {})
    assert {v.difference.clusters for v in found} == {10}, "one file names clusters, the other none"
    other = stored(tmp_path, clustered.assign(cluster=[f"c{k % 5}" for k in range(60)]), "c.csv")
    with pytest.raises(InputError, match="different clusters"):
        compare(tmp_path / "b.csv", other)


@pytest.mark.parametrize(
    "content", [b"", b"\x89PNG\r\n\x1a\n\x00\xff", b"preset: mini\n", b"id,bucket\np0,0-20\n", None]
)
def test_the_command_refuses_files_that_are_not_scores(tmp_path, capsys, content):
    path = tmp_path / "b.csv"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    assert main(["compare", stored(tmp_path, frame()), str(path)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and "b.csv" in error and error.count("\n") == 1


def test_the_command_prints_its_criteria(tmp_path, capsys, monkeypatch):
    one, two = stored(tmp_path, frame()), stored(tmp_path, frame(shift=-0.1), "b.csv")
    assert main(["compare", one, two]) == 0  # the config's 0.2 dB
    assert "within the seed spread" in capsys.readouterr().out
    assert main(["compare", one, two, "--least", "psnr=0.05"]) == 2
    said = capsys.readouterr().out
    assert "0.05 dB in PSNR" in said and "n = 30 images" in said and "Seeds: 1 of the variant" in said
    assert main(["compare", one, two, "--least", "fid=1"]) == 1
    capsys.readouterr()
    main(["compare", one, stored(tmp_path, frame().assign(psnr=math.inf), "c.csv")])
    assert "(variant 60 of 60)" in capsys.readouterr().out, "a gain of so many dB is one over the cap"
    monkeypatch.chdir(tmp_path)  # no project here
    assert main(["compare", one, two]) == 0
    assert "no seed spread measured for PSNR" in capsys.readouterr().out
