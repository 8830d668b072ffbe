"""Test the lines of a table: several claimants, controls, marks, perfect images, and any label."""

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from helpers.measured import BUCKETS, IMAGES, judge, method, overlaps, scores

from sair.common.errors import InputError
from sair.reporting import tables
from sair.reporting.inputs import TableInputs


@pytest.fixture
def table(tmp_path, config, frozen_split):
    """Return a function that writes Table 1 of some methods and gives its text, its CSV and its LaTeX."""
    manifest = frozen_split(tmp_path / "faces")
    clip = [overlaps(tmp_path / "clip.csv", ["complete", "masked"], [15, 5])]
    output = SimpleNamespace(markdown=tmp_path / "t.md", latex=tmp_path / "t.tex", csv=tmp_path / "t.csv")

    def write(methods, files, figures=(), distances=None, name="table1", clip=clip, **changes):
        settings = config | changes
        inputs = TableInputs(files, manifest, clip, distances or {}, figures)
        tables.write_table(name, inputs, settings, methods, output)
        frame = pd.read_csv(output.csv, keep_default_na=False, na_values=[""])
        return output.markdown.read_text(), frame, output.latex.read_text()

    return write


def line(text, label):
    found = next(row for row in text.splitlines() if row.startswith(f"| {label} "))
    return [cell.strip() for cell in found.strip("|").split("|")]


def test_two_methods_for_one_row_are_both_shown(table, tmp_path):
    methods = {"sair": method("SAIR", "SAIR"), "mine": method("SAIR", "Mine"), "copy": method("SAIR", "SAIR")}
    files = {name: [scores(tmp_path / f"{name}.csv", gain)] for name, gain in (("sair", 0), ("mine", 1), ("copy", 2))}
    text, frame, _ = table(methods, files)
    assert line(text, "SAIR")[1].startswith("30.") and line(text, "Mine")[1].startswith("31.")
    assert "(37.97)" in line(text, "Mine")[1] and "(37.97)" in line(text, "SAIR (copy)")[1]
    assert set(frame.method.dropna()) == set(methods)


def test_a_method_that_sees_the_ground_truth_is_marked_and_does_not_compete(table, tmp_path):
    methods = {"cheat": method("SAIR", "Cheat", sees_truth=True), "liif": method("LIIF"), "lama": method("LaMa")}
    files = {name: [scores(tmp_path / f"{name}.csv", gain)] for name, gain in (("cheat", 9), ("liif", 2), ("lama", 0))}
    text, frame, _ = table(methods, files)
    assert line(text, "*Cheat*")[1].startswith("39.") and "**" not in " ".join(line(text, "*Cheat*"))
    assert line(text, "LIIF")[1].startswith("**32.") and line(text, "SAIR")[1] == "– (37.97)"
    assert "Sees the ground truth, and is therefore listed with the controls: Cheat." in text
    assert set(frame[frame.method == "cheat"].group) == {"control"}


def test_a_control_of_ones_own_does_not_compete(table, config, tmp_path):
    methods = {
        "mine": method("SAIR", "Mine", control=True),
        "mean": method(None, "Mean") | {"class": "baselines.controls:MeanFill"},
        "liif": method("LIIF"),
        "lama": method("LaMa"),
    }
    gains = {"mine": 9, "mean": -9, "liif": 2, "lama": 0}
    files = {name: [scores(tmp_path / f"{name}.csv", gain)] for name, gain in gains.items()}
    text, frame, _ = table(methods, files)
    assert line(text, "*Mine*")[1].startswith("39.") and line(text, "LIIF")[1].startswith("**32.")
    assert line(text, "SAIR")[1] == "– (37.97)" and "Sees the ground truth" not in text
    assert set(frame[frame.method == "mine"].group) == {"control"}
    # The class decides nothing, and without the key, as in what was written before, nothing is a control.
    assert set(frame[frame.method == "mean"].group) == {"variant"}
    claims, _ = judge(config, tmp_path, methods, files)
    assert "mine" not in set(claims.method) and "mine" not in set(claims.against)


def test_bold_needs_more_than_the_seed_spread_and_the_note_states_it(table, tmp_path):
    methods = {"sair": method("SAIR"), "liif": method("LIIF")}
    for gain, mark in ((0.15, "<u>"), (0.3, "**")):
        files = {name: [scores(tmp_path / f"{name}.csv", g)] for name, g in (("sair", gain), ("liif", 0))}
        text, _, _ = table(methods, files)
        assert line(text, "SAIR")[1].startswith(mark) and line(text, "LIIF")[1].startswith(("3", "<u>3"))
        assert ("3 within the seed spread" in text) == (mark == "<u>")
        assert "all 12 comparisons of this table" in text


def test_crops_of_few_photographs_are_not_counted_as_many(table, tmp_path):
    methods = {"sair": method("SAIR"), "liif": method("LIIF")}
    files = {name: [scores(tmp_path / f"{name}.csv", g, cluster=4)] for name, g in (("sair", 3), ("liif", 0))}
    text, frame, _ = table(methods, files)
    assert line(text, "SAIR")[1].startswith("<u>") and "They form 4 clusters" in text and "fewer than 6" in text
    assert set(frame[frame.method == "sair"].query("metric == 'psnr'").clusters) == {4}


@pytest.mark.parametrize("cluster", [None, 4, 1])
def test_a_measure_without_a_seed_spread_marks_no_method(table, tmp_path, config, cluster):
    """This holds for few clusters, too: a tie would be a statement, as a win would be."""
    methods = {"sair": method("SAIR"), "liif": method("LIIF")}
    files = {name: [scores(tmp_path / f"{name}.csv", g, cluster=cluster)] for name, g in (("sair", 3), ("liif", 0))}
    known = {name: size for name, size in config["regression"]["least"].items() if name != "psnr"}
    text, frame, _ = table(methods, files, regression={"least": known})
    marked = frame[frame.lead.notna() & (frame.lead != "")].metric
    assert "psnr" not in set(marked) and "ssim" in set(marked)
    assert line(text, "SAIR")[1].startswith("3") and "set `regression.least.psnr`" in text


@pytest.mark.parametrize("cluster", [None, 8])
def test_kid_has_an_interval_only_where_images_are_independent(table, tmp_path, cluster):
    """Its jackknife leaves out one image at a time."""
    lines = [[bucket, IMAGES, 9.0, 0.5, 0.4, 0.6] for bucket in (*BUCKETS, "all")]
    fid = pd.DataFrame(lines, columns=["bucket", "n", "fid", "kid", "kid_low", "kid_high"])
    fid.to_csv(tmp_path / "fid.csv", index=False)
    files = {"sair": [scores(tmp_path / "sair.csv", cluster=cluster)]}
    _, frame, _ = table({"sair": method("SAIR")}, files, distances={"sair": [tmp_path / "fid.csv"]})
    kid = frame[(frame.method == "sair") & (frame.metric == "kid")]
    assert (kid["mean"] == 0.5).all() and kid.low.isna().all() == (cluster is not None)
    assert (kid.clusters == (cluster or IMAGES)).all()


def test_a_measure_that_no_image_has_is_a_dash(table, tmp_path):
    path = scores(tmp_path / "sair.csv")
    pd.read_csv(path).assign(lpips=math.nan).to_csv(path, index=False)
    text, _, latex = table({"sair": method("SAIR")}, {"sair": [path]})
    assert line(text, "SAIR")[4] == "– (0.016)" and "nan" not in text + latex


def test_one_perfect_image_keeps_its_method_in_the_column(table, tmp_path):
    methods = {"sair": method("SAIR"), "liif": method("LIIF"), "truth": method(None, "Truth", sees_truth=True)}
    files = {
        "sair": [scores(tmp_path / "sair.csv", 9, perfect=(7,))],
        "liif": [scores(tmp_path / "liif.csv", 0)],
        "truth": [scores(tmp_path / "truth.csv", perfect=range(IMAGES))],
    }
    text, frame, _ = table(methods, files)
    assert line(text, "SAIR")[1].startswith("**4") and line(text, "*Truth*")[1] == "∞" and "Truth 120" not in text
    assert f"SAIR 3 of {3 * IMAGES}" in text and "counts as 100 dB" in text
    cell = frame[(frame.method == "sair") & (frame.metric == "psnr") & (frame.bucket == "0-20")].iloc[0]
    read = pd.read_csv(files["sair"][0]).query("bucket == '0-20'").psnr
    assert cell["mean"] == pytest.approx(np.minimum(read, 100).mean()) and cell.low < cell["mean"] < cell.high


def test_a_competing_method_with_only_perfect_images_is_named(table, tmp_path):
    """Its means are infinite; its differences from the others are computed with the cap."""
    methods = {"sair": method("SAIR"), "liif": method("LIIF"), "truth": method(None, "Truth", sees_truth=True)}
    files = {name: [scores(tmp_path / f"{name}.csv", perfect=range(IMAGES))] for name in ("sair", "truth")}
    files["liif"] = [scores(tmp_path / "liif.csv", 0)]
    text, _, _ = table(methods, files)
    assert line(text, "SAIR")[1].startswith("**∞**") and f"(SAIR {3 * IMAGES} of {3 * IMAGES})" in text
    assert "only a mean over such images alone is infinite" in text


def test_methods_of_different_images_are_not_put_into_one_table(table, tmp_path):
    methods = {"sair": method("SAIR"), "liif": method("LIIF")}
    files = {"sair": [scores(tmp_path / "s.csv")], "liif": [scores(tmp_path / "l.csv", images=IMAGES - 1)]}
    with pytest.raises(InputError, match=r"l\.csv and .*s\.csv scored different images"):
        table(methods, files)


@pytest.mark.parametrize("named", ["SAIR", None])
def test_a_table_without_a_counterpart_shows_nothing_of_the_paper(table, config, tmp_path, named):
    """It has no dashes, claimed numbers or note on the paper, but its own metrics, buckets and order of rows."""
    methods = {"sair": method(named), "liif": method(None, "LIIF"), "truth": method(None, "Truth", control=True)}
    methods = {name: methods[name] | {"tables": {"mine": methods[name]["tables"]["table1"]}} for name in methods}
    methods["sair"]["label"] = "Mine"
    files = {name: [scores(tmp_path / f"{name}.csv", gain)] for name, gain in (("sair", 2), ("liif", 0), ("truth", 9))}
    mine = {"dataset": "faces", "metrics": ["lpips", "psnr"], "buckets": ["20-40", "all"]}
    text, frame, latex = table(methods, files, name="mine", clip=(), tables=config["tables"] | {"mine": mine})
    assert text.startswith("# Table mine: Inpainting on faces\n")
    headers = ["Method", "LPIPS ↓ 20-40 %", "PSNR ↑ 20-40 %", "LPIPS ↓ all mask ratios", "PSNR ↑ all mask ratios"]
    assert line(text, "Method") == headers
    assert [row.split("|")[1].strip() for row in text.partition("Rank by")[0].splitlines() if row.startswith("| ")] == [
        *("Method", "Mine", "LIIF", "*Truth*")
    ]
    assert line(text, "Mine")[2].startswith("**31.") and "(" not in "".join(line(text, "Mine"))
    assert "–" not in text.partition("Rank by")[0].split("\n- ")[0] and "paper" not in text and "dense CLIP" not in text
    assert frame.paper.isna().all() and set(frame.bucket) == {*BUCKETS, "all"}, "the CSV holds all"
    assert latex.count("{") == latex.count("}") and r"\midrule" + "\n" + r"\midrule" not in latex


def test_latex_and_markdown_take_any_label(table, tmp_path):
    label = r"A_b $x^2$ {c} ~ 50% \d #1 & <e> | f"
    methods = {"sair": method("SAIR"), "liif": method(None, label)}
    text, _, latex = table(methods, {name: [scores(tmp_path / f"{name}.csv")] for name in methods})
    assert r"A\_b \$x\textasciicircum{}2\$ \{c\} \textasciitilde{} 50\% \textbackslash{}d \#1 \& $<$e$>$ | f" in latex
    assert r"| A\_b \$x^2\$ {c} \~ 50% \\d #1 \& \<e\> \| f |" in text


def test_notes_state_what_several_seeds_change(table, tmp_path, config):
    methods = {"sair": method("SAIR", semantics="clip"), "liif": method("LIIF")}
    files = {
        name: [scores(tmp_path / f"{name}{seed}.csv", seed / 10, seed=seed) for seed in (0, 1)] for name in methods
    }
    trained = {name: spec | {"training": {"scale": 1, "steps": 5, "batch": 2}} for name, spec in methods.items()}
    text, frame, _ = table(trained, files, figures=[tmp_path / "a.png"], seeds=[0, 1])
    assert "Mean over the training seeds 0, 1" in text and "±: standard deviation" in text
    assert "Figures: seed 0." in text and frame[frame.method == "sair"].seeds.eq(2).all()
    assert "One training seed" not in text
    text, _, _ = table(trained, {name: paths[:1] for name, paths in files.items()})
    assert "One training seed (0)" in text and "±" not in text
    _, claims = judge(config | {"seeds": [0, 1]}, tmp_path, trained, files)
    assert "training seeds 0, 1" in claims and "±" not in claims, "no spread stands on that page"
    named = {name: spec | {"label": name.upper()} for name, spec in trained.items()}
    seeds = {"fewest_seeds": {"sair": 2}}
    text, frame, _ = table(named, files | {"liif": files["liif"][:1]}, **seeds)
    _, mixed = judge(config | seeds, tmp_path, named, files | {"liif": files["liif"][:1]})
    for page in (text, mixed):
        assert "Training seeds: 0, 1 of SAIR. Mean over them" in page and "One training (seed 0) of the others" in page
    assert frame.dropna(subset="method").set_index("method").seeds.to_dict() == {"sair": 2, "liif": 1}
