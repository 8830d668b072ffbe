"""Test tables: aggregation against plain arithmetic, marks, the paper's numbers, and LaTeX that compiles."""

import math
import shutil
import subprocess
from types import SimpleNamespace

import pandas as pd
import pytest

from sair.evaluation.metrics.miou import SEGMENTATION_COLUMNS
from sair.evaluation.score import SCORE_COLUMNS
from sair.reporting import tables
from sair.reporting.inputs import TableInputs, bucket_names
from sair.reporting.rows import NOT_IMPLEMENTED

BUCKETS = ["0-20", "20-40", "40-60"]
LEAST = {"psnr": 0.2, "ssim": 0.003, "l1": 0.0003, "lpips": 0.003}
METHODS = {
    "sair": {"label": "SAIR", "class": "a:B", "tables": {"table1": "SAIR"}},
    "liif": {"label": "LIIF", "class": "a:B", "tables": {"table1": "LIIF"}},
    "mine": {"label": "My_variant", "class": "baselines.command:Command", "tables": {"table1": None}},
    "truth": {"label": "Ground truth", "class": "a:B", "control": True, "tables": {"table1": None}},
}
BASE = {"sair": 30.0, "liif": 29.0, "mine": 29.5, "truth": math.inf}
IMAGES = 10


@pytest.fixture
def made(tmp_path, config, frozen_split):
    """Return a finished table1 over invented scores."""
    data = tmp_path / "faces"
    frozen_split(data, test=IMAGES)
    overlaps = [["complete", "0-20", f"p{n}", f"p{n}", "whole", "skin", 5, 10] for n in range(4)]
    pd.DataFrame(overlaps, columns=SEGMENTATION_COLUMNS).to_csv(tmp_path / "seg.csv", index=False)
    scores = {}
    for name, base in BASE.items():
        for seed in (0, 1) if name == "sair" else (0,):
            rows = []
            for b, bucket in enumerate(BUCKETS):
                for n in range(IMAGES):
                    row = dict.fromkeys(SCORE_COLUMNS, 0.1) | {
                        "id": f"p{n}",
                        "bucket": bucket,
                        "cluster": f"p{n}",
                        "ratio": 10.0,
                    }
                    rows.append(row | {"psnr": base - 5 * b + n % 4 + seed / 50})
            path = tmp_path / f"{name}{seed}.csv"
            pd.DataFrame(rows)[list(SCORE_COLUMNS)].to_csv(path, index=False)
            scores.setdefault(name, []).append(str(path))
    methods = {
        name: spec | {"training": None if name in ("truth", "mine") else config["training"]}
        for name, spec in METHODS.items()
    }
    output = SimpleNamespace(
        markdown=tmp_path / "table1.md", latex=tmp_path / "table1.tex", csv=tmp_path / "table1.csv"
    )

    def write(distances, methods=methods):
        figures = [tmp_path / "figures/a.png"]
        inputs = TableInputs(scores, data / "manifest.csv", tmp_path / "seg.csv", distances, figures)
        tables.write_table("table1", inputs, config, methods, output)

    write({})
    output.write = write
    return output


def rows_of(markdown):
    """Return the cells of the first table by its first column."""
    start = markdown[markdown.index("|") :].partition("\n\n")[0]
    lines = [line for line in start.splitlines() if line.startswith("|")]
    return {cells[0]: cells[1:] for cells in ([c.strip() for c in line.strip("|").split("|")] for line in lines)}


def test_the_csv_is_the_mean_over_images_and_seeds(made):
    frame = pd.read_csv(made.csv)
    sair = frame[(frame.method == "sair") & (frame.metric == "psnr")].set_index("bucket")
    # Images add 0, 1, 2, 3, ... 0, 1: 1.3 on average; seeds 0 and 1 add 0.01.
    assert sair["mean"].tolist() == pytest.approx([31.31, 26.31, 21.31, 26.31])
    assert sair.index.tolist() == [*BUCKETS, "all"]
    assert sair.n.tolist() == [IMAGES] * 4 and sair.seeds.tolist() == [2] * 4
    assert sair.spread.tolist() == pytest.approx([0.02 / 2**0.5] * 4)  # of the seeds' means, which differ by 0.02
    assert frame[frame.method == "liif"].spread.isna().all()
    assert (sair.low < sair["mean"]).all() and (sair["mean"] < sair.high).all()
    assert sair.paper.tolist()[:3] == [37.97, 31.49, 24.87] and math.isnan(sair.paper.iloc[3])
    assert set(frame.metric) == set(SCORE_COLUMNS) - {"id", "bucket", "cluster", "ratio"} | {"fid", "kid"}


def test_missing_rows_are_dashes_with_a_reason(made):
    rows = rows_of(made.markdown.read_text())
    for name in ("EdgeConnect", "RFRNet", "JPGNet", "LaMa", "MISF"):
        assert all(cell.startswith("– (") for cell in rows[name])
    assert all(cell == "–" for cell in rows["StructureFlow"])
    frame = pd.read_csv(made.csv)
    assert (frame[frame.label == "MISF"].reason == NOT_IMPLEMENTED).all()
    assert frame[frame.label == "MISF"]["mean"].isna().all()


def test_without_inception_fid_and_kid_are_missing_with_a_reason(made):
    """The page has one line about them, and the CSV has the reason instead of a number."""
    text = made.markdown.read_text()
    assert text.count("FID") == 1 and "- No FID and KID: Inception weights not found: run" in text
    frame = pd.read_csv(made.csv).query("metric in ('fid', 'kid')")
    assert frame["mean"].isna().all() and frame[frame.method == "sair"].reason.str.contains("not found").all()


@pytest.mark.slow
def test_fid_and_kid_are_printed_under_the_table(made, tmp_path):
    def files(method, seeds, n):
        paths = [tmp_path / f"{method}{seed}fid.csv" for seed in range(seeds)]
        for seed, path in enumerate(paths):
            lines = [[b, n, 10 * k + seed, k / 8, k / 8 - 1, k / 8 + 1] for k, b in enumerate([*BUCKETS, "all"])]
            pd.DataFrame(lines, columns=["bucket", "n", "fid", "kid", "kid_low", "kid_high"]).to_csv(path)
        return paths

    first = rows_of(made.markdown.read_text())
    for n in (IMAGES, 5000, 2):
        made.write({"sair": files("sair", 2, n), "liif": files("liif", 1, n)})
        above, _, below = made.markdown.read_text().partition("Distance of distributions")
        assert rows_of(above) == first
        frame = pd.read_csv(made.csv).set_index(["method", "bucket", "metric"])
        reason = frame.loc[("sair", "20-40", "fid"), "reason"]
        if n == 2:
            assert below == "" and "- No FID and KID: fewer than 3 images." in above
            assert reason == "fewer than 3 images"
            continue
        rows = rows_of(below)
        assert rows["Method"][:2] == ["FID ↓ 0-20 %", "KID ↓ 0-20 %"] and "MISF" not in rows
        assert rows["SAIR"] == ["0.50", "0.00000", "10.50", "0.12500", "20.50", "0.25000"]
        assert rows["LIIF"][2] == "10.00"
        assert f"n = {n}." in below and ("biased upwards: fewer than 2,048 images" in below) == (n < 2048)
        assert (reason == "biased upwards: fewer than 2,048 images") if n < 2048 else pd.isna(reason)
        assert frame.loc[("sair", "20-40", "fid"), ["mean", "n", "seeds"]].tolist() == [10.5, n, 2]
        assert frame.loc[("liif", "all", "kid"), ["mean", "low", "high"]].tolist() == [0.375, -0.625, 1.375]


def test_order_marks_and_the_papers_numbers(made):
    text = made.markdown.read_text()
    rows = rows_of(text)
    assert [name for name in rows if name not in ("Method", ":-----------------") and "-" not in name[:2]] == [
        *("StructureFlow", "EdgeConnect", "RFRNet", "JPGNet", "LaMa", "MISF", "LIIF", "SAIR"),
        *(r"My\_variant", "*Ground truth*"),
    ]
    assert rows["SAIR"][0] == "**31.31 ± 0.01** (37.97)"
    assert rows[r"My\_variant"][0] == "30.80"  # a program competes, although nothing was trained
    assert rows["LIIF"][0] == "30.30 (35.27)"
    assert rows["*Ground truth*"][0] == "∞"  # perfect, and not marked as best
    assert rows["Method"][0] == "PSNR ↑ 0-20 %" and rows["Method"][2] == "L1 ↓ 0-20 %"


def test_equal_methods_are_tied_and_none_is_best(made):
    rows = rows_of(made.markdown.read_text())
    cells = {name: rows[name][2].partition(" (")[0] for name in ("SAIR", "LIIF", r"My\_variant")}
    assert cells == {"SAIR": "<u>0.100 ± 0.000</u>", "LIIF": "<u>0.100</u>", r"My\_variant": "<u>0.100</u>"}


def test_the_terms_are_stated(made):
    text = made.markdown.read_text()
    for part in (
        "Dataset `faces`",
        f"n = {IMAGES} test images",
        "Manifest ",
        "Training: ",
        "SAIR 2000 steps of batch 8",
        "not the paper's experiment",
        "gaussian=11x11",
        "v0.1,alexnet",
        "not in this table yet (StructureFlow, EdgeConnect",
        "mIoU 0.50",
        "![a](figures/a.png)",
    ):
        assert part in text, part


def test_controls_are_in_italics_and_a_table_of_controls_explains_no_marks(made):
    assert r"\textit{Ground truth} &" in made.latex.read_text() and r"\textit{SAIR}" not in made.latex.read_text()
    assert "Holm's correction" in made.markdown.read_text()
    made.write({}, {name: spec | {"control": True, "training": None} for name, spec in METHODS.items()})
    text = made.markdown.read_text()
    assert "No two methods compete" in text and "Holm's correction" not in text and "**" not in text


def test_latex_is_balanced_and_escaped(made):
    text = made.latex.read_text()
    assert r"My\_variant" in text and r"\textbf{31.31 $\pm$ 0.01}" in text and r"\underline{0.100}" in text
    body = text.split(r"\midrule", 1)[1].split(r"\bottomrule")[0]
    lines = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert len(lines) == 10 and all(line.count("&") == 12 for line in lines)
    assert text.count("{") == text.count("}")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles(made, tmp_path):
    (tmp_path / "paper.tex").write_text(
        "\\documentclass{article}\\usepackage{booktabs,graphicx}\\begin{document}\\input{table1.tex}\\end{document}"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-2000:]


def test_all_mask_ratios_count_a_image_once(made):
    frame = pd.read_csv(made.csv)
    every = frame[(frame.method == "liif") & (frame.metric == "psnr") & (frame.bucket == "all")].iloc[0]
    assert every["mean"] == pytest.approx(29 + 1.3 - 5) and every.n == IMAGES
    # Images differ by 0..3 dB, buckets by the same 5 dB in each: only the former is uncertain.
    assert every.high - every.low < 3


@pytest.mark.slow
def test_the_segmentation_table_shows_clip_without_and_with_sir(config, made, tmp_path):
    def write(name, features):
        rows = [
            [feature, bucket, f"p{n}", f"p{n}", region, k, right, 10]
            for feature, right in features.items()
            for bucket in BUCKETS
            for n in range(IMAGES)
            for region in ("whole", "hole")
            for k in range(2)
        ]
        pd.DataFrame(rows, columns=SEGMENTATION_COLUMNS).to_csv(tmp_path / name, index=False)
        return str(tmp_path / name)

    clip = [write("clip.csv", {"complete": 8, "masked": 2})]
    methods = {
        "sair": {"label": "SAIR", "tables": {"table5": "CLIP Encoder + SIR"}, "training": config["training"]},
        "aligned": {"label": "SAIR, aligned", "tables": {"table5": None}, "training": config["training"]},
    }
    completed = {"sair": [write("sair.csv", {"completed": 4})], "aligned": [write("aligned.csv", {"completed": 5})]}
    output = SimpleNamespace(**{k: tmp_path / f"table5.{k}" for k in ("markdown", "latex", "csv")})
    manifest = tmp_path / "faces/manifest.csv"
    for least, best in ((LEAST, "0.500"), (LEAST | {"miou": 0.05}, "**0.500**")):
        settings = config | {"regression": config["regression"] | {"least": least}}
        tables.write_table("table5", TableInputs(completed, manifest, clip), settings, methods, output)
        text = output.markdown.read_text()
        rows = rows_of(text)
        assert rows["CLIP Encoder"][0] == "0.200 (0.17)" and rows["CLIP Encoder + SIR"][0] == "0.400 (0.45)"
        assert rows["SAIR, aligned"][0] == best and rows["*CLIP Encoder, complete images*"][0] == "0.800"
        assert ("no seed spread measured for mIoU" in text) == ("miou" not in least)
    frame = pd.read_csv(output.csv).set_index(["method", "bucket", "metric"])
    assert frame.loc[("sair", "20-40", "miou_hole"), "mean"] == pytest.approx(0.4)


def test_a_bucket_has_one_name_whether_its_limits_are_written_as_integers_or_not():
    config = {
        "buckets": [[0, 20.0], [20.0, 40]],
        "datasets": {"a": {"masks": "m"}},
        "masks": {"m": {"source": "folder"}},
    }
    assert bucket_names(config, "a") == ["0-20", "20-40"]
