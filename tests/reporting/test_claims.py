"""Verdicts on the paper's claims and lines of tables: direction, families, several claimants, seeds, perfect images."""

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from sair.common.errors import InputError
from sair.evaluation.metrics.miou import SEGMENTATION_COLUMNS
from sair.evaluation.score import SCORE_COLUMNS
from sair.evaluation.statistics import NO_SPREAD, Decision, Difference
from sair.pipeline.pages import conventions_inputs
from sair.pipeline.project import Project
from sair.reporting import tables
from sair.reporting.claims import CONTRADICTED, FAILS, HOLDS, NOT_RUN, UNDECIDED, Claim, verdict, write_claims
from sair.reporting.inputs import ClaimsInputs, TableInputs
from sair.reporting.measured import quality, read_overlaps, read_scores, segmentation
from sair.reporting.reference import stored
from sair.reporting.regression import store_reference

BUCKETS = ["0-20", "20-40", "40-60"]
IMAGES = 40


def scores(path, psnr=0.0, l1=0.0, cluster=None, perfect=(), images=IMAGES, seed=0):
    """Write scores.csv: 30 dB and 0.05 of L1 plus a gain, with noise that all methods share and some of their own."""
    shared, own = np.random.default_rng(1), np.random.default_rng(seed + 2)
    rows = []
    for bucket in BUCKETS:
        hardness, noise = shared.normal(0, 4, images), own.normal(0, 0.1, images)
        for k in range(images):
            row = dict.fromkeys(SCORE_COLUMNS, 0.1) | {"id": f"p{k}", "bucket": bucket, "ratio": 10.0}
            row["cluster"] = f"p{k}" if cluster is None else f"photo{k % cluster}"
            row["psnr"] = math.inf if k in perfect else 30 + psnr + hardness[k] + noise[k]
            rows.append(row | {"l1": 0.05 + l1 + hardness[k] / 1000 + noise[k] / 1e5})
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows)[list(SCORE_COLUMNS)].to_csv(path, index=False)
    return str(path)


def overlaps(path, features, right):
    rows = [
        [name, bucket, f"p{k}", f"p{k}", region, c, share + k % 3, 20]
        for name, share in zip(features, right, strict=True)
        for bucket in BUCKETS
        for k in range(12)
        for region in ("whole", "hole")
        for c in range(3)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows, columns=SEGMENTATION_COLUMNS).to_csv(path, index=False)
    return str(path)


def method(row, label="A label", **more):
    return {"label": label, "class": "a:B", "tables": {"table1": row}, "training": None, **more}


def judge(config, tmp_path, methods, files, table="table1"):
    output = SimpleNamespace(markdown=tmp_path / "c.md", csv=tmp_path / "c.csv")
    write_claims(ClaimsInputs({table: files}, tmp_path / "clip.csv"), config, methods, output)
    return pd.read_csv(tmp_path / "c.csv", keep_default_na=False, na_values=[""]), (tmp_path / "c.md").read_text()


def claim(metric, printed, mean, n=40):
    difference = Difference(mean, mean, mean, 0.0001, n, n)
    return Claim("table1", "faces", "SAIR", "LIIF", "sair", "liif", "all", metric, printed, math.nan, difference)


@pytest.mark.parametrize(
    ("metric", "printed", "sign", "expected"),
    [
        ("psnr", 2.0, 1, HOLDS),
        ("psnr", 2.0, -1, FAILS),
        ("psnr", 2.0, 0, UNDECIDED),
        ("l1", -0.01, -1, HOLDS),  # better is less
        ("l1", -0.01, 1, FAILS),
        ("psnr", 0.0, 1, HOLDS),  # equal numbers contradict nothing: the sentence is judged
        ("psnr", 0.0, -1, FAILS),
        ("l1", 0.0, -1, HOLDS),
        ("psnr", math.nan, -1, FAILS),
        ("psnr", math.nan, 1, HOLDS),
    ],
)
def test_a_claim_is_judged_in_the_direction_of_its_sentence(metric, printed, sign, expected):
    assert verdict(claim(metric, printed, float(sign)), Decision(sign, 0.001, "")) == expected


def test_a_number_against_its_own_sentence_is_no_failure():
    for metric, printed in (("psnr", -0.5), ("l1", 0.01)):
        one = claim(metric, printed, 1.0)
        assert one.contradicted and not one.judged and verdict(one, None) == CONTRADICTED
    assert verdict(claim("psnr", 1.0, math.nan, n=0), None) == NOT_RUN


def test_the_cells_in_which_the_paper_contradicts_itself_are_listed(config, tmp_path):
    """Table 1 prints a larger L1 for SAIR than for LaMa at 0-20 %, so a worse L1 there is no failure of the claim."""
    files = {"sair": [scores(tmp_path / "sair.csv", 1.0, 0.02)], "lama": [scores(tmp_path / "lama.csv", seed=1)]}
    frame, page = judge(config, tmp_path, {"sair": method("SAIR"), "lama": method("LaMa")}, files)
    cells = frame[frame.worse == "LaMa"].set_index(["bucket", "metric"])
    assert cells.verdict["0-20", "l1"] == CONTRADICTED and cells.verdict["20-40", "l1"] == FAILS
    assert cells.difference["0-20", "l1"] == pytest.approx(0.02, abs=0.001)
    assert (frame.verdict == CONTRADICTED).sum() == 1
    listed = page.split("## Cells in which")[1]
    # The paper's own numbers, run or not: L1 at 0-20 % against LaMa, JPGNet, RFRNet and EdgeConnect.
    assert listed.count("| SAIR > ") == 4 and "4 cells, listed above" in listed
    assert f"1 {FAILS}" not in listed and f"2 {FAILS}" in listed


def test_a_sure_difference_within_the_seed_spread_is_undecided(config, tmp_path):
    files = {"sair": [scores(tmp_path / "sair.csv", 0.15)], "liif": [scores(tmp_path / "liif.csv", seed=1)]}
    frame, page = judge(config, tmp_path, {"sair": method("SAIR"), "liif": method("LIIF")}, files)
    psnr = frame[(frame.worse == "LIIF") & (frame.metric == "psnr")]
    assert (psnr.p < 0.001).all() and (psnr.low > 0).all()
    assert set(psnr.verdict) == {UNDECIDED} and set(psnr.reason) == {"within the seed spread"}
    assert "comparisons of this page" in page and "0.2 dB in PSNR" in page
    # 12 cells were run; one family for all of them.
    assert psnr.adjusted_p.iloc[0] >= 3 * psnr.p.iloc[0]


@pytest.mark.parametrize("images", [1, 3])
def test_few_images_decide_no_claim(config, tmp_path, images):
    files = {name: [scores(tmp_path / f"{name}.csv", gain, images=images)] for name, gain in (("sair", 9), ("liif", 0))}
    frame, _ = judge(config, tmp_path, {"sair": method("SAIR"), "liif": method("LIIF")}, files)
    assert set(frame[frame.worse == "LIIF"].verdict) == {UNDECIDED}


def test_clusters_decide_no_more_than_they_can(config, tmp_path):
    """100 crops of four photographs are four, whatever their number."""
    for clusters, expected in ((4, UNDECIDED), (None, HOLDS)):
        files = {
            name: [scores(tmp_path / f"{name}.csv", gain, cluster=clusters)]
            for name, gain in (("sair", 2), ("liif", 0))
        }
        frame, page = judge(config, tmp_path, {"sair": method("SAIR"), "liif": method("LIIF")}, files)
        psnr = frame[(frame.worse == "LIIF") & (frame.metric == "psnr")]
        assert set(psnr.verdict) == {expected} and (psnr.n == IMAGES).all()
        assert (psnr.clusters == (clusters or IMAGES)).all() and ("4 clusters" in page) == bool(clusters)


def test_two_methods_for_one_row_are_both_judged(config, tmp_path):
    methods = {"mine": method("SAIR"), "sair": method("SAIR"), "liif": method("LIIF")}
    files = {
        name: [scores(tmp_path / f"{name}.csv", gain, seed=k)]
        for k, (name, gain) in enumerate({"mine": -2, "sair": 2, "liif": 0}.items())
    }
    frame, page = judge(config, tmp_path, methods, files)
    psnr = frame[(frame.worse == "LIIF") & (frame.metric == "psnr")]
    assert dict(zip(psnr.method, psnr.verdict, strict=True)) == {"mine": FAILS, "sair": HOLDS}
    assert set(psnr.against) == {"liif"} and len(psnr) == 6
    assert "SAIR > LIIF (mine, liif)" in page and "SAIR > LIIF (sair, liif)" in page


def test_a_method_that_sees_the_ground_truth_bears_out_no_claim(config, tmp_path):
    methods = {"sair": method("SAIR", sees_truth=True), "liif": method("LIIF")}
    files = {name: [scores(tmp_path / f"{name}.csv", gain)] for name, gain in (("sair", 9), ("liif", 0))}
    frame, _ = judge(config, tmp_path, methods, files)
    assert set(frame.verdict) == {NOT_RUN}


def test_segmentation_claims_use_every_seed_and_both_claimants(config, tmp_path):
    overlaps(tmp_path / "clip.csv", ["complete", "masked"], [15, 5])
    files = {
        "sair": [overlaps(tmp_path / f"{s}.csv", ["completed"], [right]) for s, right in enumerate((4, 12))],
        "other": [overlaps(tmp_path / "other.csv", ["completed"], [3])],
    }
    methods = {name: {"label": name, "tables": {"table5": "CLIP Encoder + SIR"}} for name in files}
    frame, _ = judge(config, tmp_path, methods, files, "table5")
    assert frame.difference.tolist() == pytest.approx([(4 + 12) / 2 / 20 - 5 / 20, 3 / 20 - 5 / 20])
    assert set(frame.verdict) == {UNDECIDED} and set(frame.reason) == {NO_SPREAD}
    config = config | {"regression": config["regression"] | {"least": {"miou": 0.05}}}
    frame, _ = judge(config, tmp_path, methods, files, "table5")
    assert frame.verdict.tolist() == [HOLDS, FAILS]


def test_overlaps_of_seeds_are_averaged_by_image(tmp_path):
    first, second = (overlaps(tmp_path / f"{k}.csv", ["completed"], [right]) for k, right in enumerate((4, 10)))
    both = read_overlaps([first, second], "completed")
    assert len(both) == len(read_overlaps(first, "completed"))
    assert segmentation(both)["all", "miou"].mean == pytest.approx((4 + 10) / 2 / 20 + 1 / 20)
    pd.read_csv(first, dtype=str).query("id != 'p3'").to_csv(first, index=False)
    with pytest.raises(InputError, match="segments other images than"):
        read_overlaps([first, second], "completed")


def test_every_table_is_made_of_every_seed(config):
    project = Project(config | {"seeds": [0, 1, 2]})
    for files in (project.measured("table1"), project.measured("table5"), conventions_inputs(project).measured):
        assert [path.split("/")[-2] for path in files["sair"]] == ["seed0", "seed1", "seed2"]


# --------------------------------------------------------------------------------------------------------------------
# Lines of a table


@pytest.fixture
def table(tmp_path, config, frozen_split):
    """Return a function that writes Table 1 of some methods and gives its text, its CSV and its LaTeX."""
    manifest = frozen_split(tmp_path / "faces")
    clip = overlaps(tmp_path / "clip.csv", ["complete", "masked"], [15, 5])
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


def test_who_sees_the_ground_truth_is_marked_and_does_not_compete(table, tmp_path):
    methods = {"cheat": method("SAIR", "Cheat", sees_truth=True), "liif": method("LIIF"), "lama": method("LaMa")}
    files = {name: [scores(tmp_path / f"{name}.csv", gain)] for name, gain in (("cheat", 9), ("liif", 2), ("lama", 0))}
    text, frame, _ = table(methods, files)
    assert line(text, "*Cheat*")[1].startswith("39.") and "**" not in " ".join(line(text, "*Cheat*"))
    assert line(text, "LIIF")[1].startswith("**32.") and line(text, "SAIR")[1] == "– (37.97)"
    assert "Sees the ground truth, and so stands among the controls: Cheat." in text
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


def test_bold_needs_more_than_a_seed_moves_and_the_note_says_so(table, tmp_path):
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
def test_a_measure_without_a_seed_spread_marks_nobody(table, tmp_path, config, cluster):
    """However few the clusters are: a tie would be as much a claim as a win."""
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
        "sair": [scores(tmp_path / "sair.csv", 1, perfect=(7,))],
        "liif": [scores(tmp_path / "liif.csv", 0)],
        "truth": [scores(tmp_path / "truth.csv", perfect=range(IMAGES))],
    }
    text, frame, _ = table(methods, files)
    assert line(text, "SAIR")[1].startswith("**3") and line(text, "*Truth*")[1] == "∞" and "Truth 120" not in text
    assert f"SAIR 3 of {3 * IMAGES}" in text and "counts as 100 dB" in text
    cell = frame[(frame.method == "sair") & (frame.metric == "psnr") & (frame.bucket == "0-20")].iloc[0]
    read = pd.read_csv(files["sair"][0]).query("bucket == '0-20'").psnr
    assert cell["mean"] == pytest.approx(np.minimum(read, 100).mean()) and cell.low < cell["mean"] < cell.high


def test_what_competes_is_named_although_all_of_its_images_are_perfect(table, tmp_path):
    """Its means are infinite, and its differences from the others are of the cap."""
    methods = {"sair": method("SAIR"), "liif": method("LIIF"), "truth": method(None, "Truth", sees_truth=True)}
    files = {name: [scores(tmp_path / f"{name}.csv", perfect=range(IMAGES))] for name in ("sair", "truth")}
    files["liif"] = [scores(tmp_path / "liif.csv", 0)]
    text, _, _ = table(methods, files)
    assert line(text, "SAIR")[1].startswith("**∞**") and f"(SAIR {3 * IMAGES} of {3 * IMAGES})" in text
    assert "every mean but one over such images alone, which is infinite" in text


def test_a_method_whose_images_are_all_perfect_stays_infinite(tmp_path):
    path = scores(tmp_path / "a.csv", perfect=range(IMAGES))
    assert {found.mean for (_, metric), found in quality(read_scores(path)).items() if metric == "psnr"} == {math.inf}


def test_seeds_are_averaged_below_the_cap(tmp_path):
    paths = [scores(tmp_path / "0.csv", perfect=(0, 1)), scores(tmp_path / "1.csv", perfect=(1,))]
    both = read_scores(paths).set_index(["bucket", "id"])
    second = pd.read_csv(paths[1]).set_index(["bucket", "id"]).psnr
    assert both.psnr["0-20", "p0"] == pytest.approx((100 + second["0-20", "p0"]) / 2)
    assert both.psnr["0-20", "p1"] == math.inf and both.perfect["0-20", "p1"] == 2
    assert math.isfinite(quality(read_scores(paths))["0-20", "psnr"].mean)


def test_methods_of_different_images_are_not_put_into_one_table(table, tmp_path):
    methods = {"sair": method("SAIR"), "liif": method("LIIF")}
    files = {"sair": [scores(tmp_path / "s.csv")], "liif": [scores(tmp_path / "l.csv", images=IMAGES - 1)]}
    with pytest.raises(InputError, match=r"l\.csv and .*s\.csv scored different images"):
        table(methods, files)


@pytest.mark.parametrize("named", ["SAIR", None])
def test_a_table_without_a_counterpart_shows_nothing_of_the_paper(table, config, tmp_path, named):
    """No dashes, no small numbers, no note on the paper; metrics, buckets and the order of rows are its own."""
    methods = {"sair": method(named), "liif": method(None, "LIIF"), "truth": method(None, "Truth", control=True)}
    methods = {name: methods[name] | {"tables": {"mine": methods[name]["tables"]["table1"]}} for name in methods}
    methods["sair"]["label"] = "Mine"
    files = {name: [scores(tmp_path / f"{name}.csv", gain)] for name, gain in (("sair", 2), ("liif", 0), ("truth", 9))}
    mine = {"dataset": "faces", "metrics": ["lpips", "psnr"], "buckets": ["20-40", "all"]}
    text, frame, latex = table(methods, files, name="mine", clip=None, tables=config["tables"] | {"mine": mine})
    assert text.startswith("# Table mine: Inpainting on faces\n")
    headers = ["Method", "LPIPS ↓ 20-40 %", "PSNR ↑ 20-40 %", "LPIPS ↓ all mask ratios", "PSNR ↑ all mask ratios"]
    assert line(text, "Method") == headers
    assert [row.split("|")[1].strip() for row in text.splitlines() if row.startswith("| ")] == [
        *("Method", "Mine", "LIIF", "*Truth*")
    ]
    assert line(text, "Mine")[2].startswith("**31.") and "(" not in "".join(line(text, "Mine"))
    assert "–" not in text.split("\n- ")[0] and "paper" not in text and "dense CLIP" not in text
    assert frame.paper.isna().all() and set(frame.bucket) == {*BUCKETS, "all"}, "the CSV holds all"
    assert latex.count("{") == latex.count("}") and r"\midrule" + "\n" + r"\midrule" not in latex


def test_latex_and_markdown_take_any_label(table, tmp_path):
    label = r"A_b $x^2$ {c} ~ 50% \d #1 & <e> | f"
    methods = {"sair": method("SAIR"), "liif": method(None, label)}
    text, _, latex = table(methods, {name: [scores(tmp_path / f"{name}.csv")] for name in methods})
    assert r"A\_b \$x\textasciicircum{}2\$ \{c\} \textasciitilde{} 50\% \textbackslash{}d \#1 \& $<$e$>$ | f" in latex
    assert r"| A\_b \$x^2\$ {c} \~ 50% \\d #1 \& \<e\> \| f |" in text


def test_notes_say_what_several_seeds_carry(table, tmp_path, config):
    methods = {"sair": method("SAIR", semantics="clip"), "liif": method("LIIF")}
    files = {
        name: [scores(tmp_path / f"{name}{seed}.csv", seed / 10, seed=seed) for seed in (0, 1)] for name in methods
    }
    trained = {name: spec | {"training": {"scale": 1, "steps": 5, "batch": 2}} for name, spec in methods.items()}
    text, frame, _ = table(trained, files, figures=[tmp_path / "a.png"], seeds=[0, 1])
    assert "Mean over the training seeds 0, 1" in text and "Semantic encoders were trained once (seed 0)" in text
    assert "Figures: seed 0." in text and frame[frame.method == "sair"].seeds.eq(2).all()
    assert "One training seed" not in text
    text, _, _ = table(trained, {name: paths[:1] for name, paths in files.items()})
    assert "One training seed (0)" in text and "±" not in text
    _, claims = judge(config | {"seeds": [0, 1]}, tmp_path, trained, files)
    assert "training seeds 0, 1" in claims and "±" not in claims, "no spread stands on that page"


# --------------------------------------------------------------------------------------------------------------------
# The reference


def test_a_new_reference_replaces_the_old_one_as_a_whole(config, tmp_path):
    (tmp_path / "manifest.csv").write_text("id\n")
    run, kept = tmp_path / "run", tmp_path / "reference"
    old = {"sair": [scores(run / f"sair/seed{seed}/scores.csv") for seed in (0, 1)]}
    store_reference(config, "faces", tmp_path / "manifest.csv", old, kept)
    with pytest.raises(InputError, match="Finish the run first"):
        store_reference(
            config, "faces", tmp_path / "manifest.csv", {"liif": [str(run / "liif/seed0/scores.csv")]}, kept
        )
    assert stored(kept) == ["sair"] and len(list(kept.glob("sair/seed*/scores.csv"))) == 2
    store_reference(config, "faces", tmp_path / "manifest.csv", {"sair": old["sair"][:1]}, kept)
    assert [path.parent.name for path in kept.glob("sair/seed*/scores.csv")] == ["seed0"]
    with pytest.raises(InputError, match="no table of this config shows scores"):
        store_reference(config, "faces", tmp_path / "manifest.csv", {}, kept)
