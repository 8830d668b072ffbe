"""Test verdicts on the paper's claims: direction, families, several claimants, seeds, clusters."""

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.measured import BUCKETS, IMAGES, judge, method, overlaps, scores

from sair.evaluation.score import SCORE_COLUMNS
from sair.evaluation.statistics import NO_SPREAD, WITHIN_SPREAD, Decision, Difference
from sair.methods.checkpoint import save
from sair.reporting.claims import CONTRADICTED, FAILS, HOLDS, NOT_RUN, UNDECIDED, Claim, verdict, write_claims
from sair.reporting.inputs import ClaimsInputs


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
    """100 crops of four photographs count as four images."""
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


def test_a_claim_is_judged_at_other_budgets_too(config, tmp_path):
    """SAIR is ahead of LIIF by 1 dB, and behind a LIIF that took as much compute."""
    long = method(None, "LIIF, long", stands_for={"row": "LIIF", "equal": "compute"})
    methods = {"sair": method("SAIR"), "liif": method("LIIF"), "liif_long": long}
    gains = {"sair": 1, "liif": 0, "liif_long": 2}
    files = {name: [scores(tmp_path / f"{name}.csv", gain)] for name, gain in gains.items()}
    frame, page = judge(config, tmp_path, methods, files)
    psnr = frame[(frame.worse == "LIIF") & (frame.metric == "psnr")].fillna({"equal": ""})
    verdicts = psnr.groupby("equal").verdict.unique()
    assert verdicts[""].tolist() == [HOLDS] and verdicts["compute"].tolist() == [FAILS]
    assert set(psnr.against[psnr.equal == "compute"]) == {"liif_long"}
    first = page.split("\n\n")[1]
    assert "of as many steps (`sair`, `liif`): holds at 0-20, 20-40, 40-60" in first
    assert "of equal compute (`sair`, `liif_long`): does not hold at 0-20, 20-40, 40-60." in first
    assert "SAIR > LIIF (sair, liif_long, equal compute)" in page
    judged = frame[frame.equal.isna() & (frame.n > 0) & ~frame.verdict.eq(CONTRADICTED)]
    assert f"{(judged.verdict == HOLDS).sum()} holds" in page, "the summary counts the paper's own cells"


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (120, "of equal compute, 1.20 times the operations, (`sair`, `liif_long`): "),
        (340, "meant to be of equal compute but here of **3.40 times the operations** (`sair`, `liif_long`): "),
    ],
)
def test_the_page_states_how_equal_the_budgets_were(config, tmp_path, steps, expected):
    long = method(None, "LIIF, long", stands_for={"row": "LIIF", "equal": "compute"})
    methods = {"sair": method("SAIR"), "liif": method("LIIF"), "liif_long": long}
    files = {}
    for name in methods:
        (tmp_path / name).mkdir()
        files[name] = [scores(tmp_path / name / "scores.csv", 0)]
        cost = {"parameters": 9, "operations": 5, "steps": steps if name == "liif_long" else 100}
        save(tmp_path / name / "checkpoint.safetensors", {"w": torch.zeros(1)}, cost)
    _, page = judge(config, tmp_path, methods, files)
    assert expected in page.split("\n\n")[1]


def test_a_page_without_another_budget_states_none(config, tmp_path):
    methods = {"sair": method("SAIR"), "liif": method("LIIF")}
    files = {name: [scores(tmp_path / f"{name}.csv", gain)] for name, gain in (("sair", 1), ("liif", 0))}
    frame, page = judge(config, tmp_path, methods, files)
    assert frame.equal.isna().all() and "held equal" not in page


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
    # Without a known spread two seeds that differ decide nothing by themselves, nor about the other's single one.
    assert set(frame.verdict) == {UNDECIDED} and set(frame.reason) == {WITHIN_SPREAD}
    alone, _ = judge(config, tmp_path, methods, files | {"sair": files["sair"][:1]}, "table5")
    assert set(alone.reason) == {NO_SPREAD}
    config = config | {"regression": config["regression"] | {"least": {"miou": 0.05}}}
    frame, _ = judge(config, tmp_path, methods, files, "table5")
    # Seeds that vary more than was assumed count for the single training, too.
    assert set(frame.verdict) == {UNDECIDED} and set(frame.reason) == {WITHIN_SPREAD}
    files["sair"] = [overlaps(tmp_path / f"{s}.csv", ["completed"], [right]) for s, right in enumerate((8, 8))]
    frame, _ = judge(config, tmp_path, methods, files, "table5")
    assert frame.verdict.tolist() == [HOLDS, FAILS]


def test_orderings_are_paired_and_judged(config, tmp_path):
    """SAIR is better by 1 dB in two buckets and undecided in one; the paper's other rows were not run."""
    rng = np.random.default_rng(0)
    hardness = rng.normal(0, 5, (3, 40))  # far larger than the differences: only pairing finds them
    gain = {"sair": [1.0, -1.0, 0.0], "liif": [0.0, 0.0, 0.0]}
    measured = {}
    for name, gains in gain.items():
        rows = []
        for b, bucket in enumerate(BUCKETS):
            noise = rng.normal(0, 0.3, 40)
            noise -= noise.mean()
            rows += [
                dict.fromkeys(SCORE_COLUMNS, 0.1)
                | {
                    "id": f"p{n}",
                    "bucket": bucket,
                    "cluster": f"p{n}",
                    "psnr": 25 + hardness[b, n] + gains[b] + noise[n],
                }
                for n in range(40)
            ]
        pd.DataFrame(rows)[list(SCORE_COLUMNS)].to_csv(tmp_path / f"{name}.csv", index=False)
        measured[name] = [str(tmp_path / f"{name}.csv")]
    methods = {"sair": method("SAIR"), "liif": method("LIIF")}
    output = SimpleNamespace(markdown=tmp_path / "claims.md", csv=tmp_path / "claims.csv")
    write_claims(ClaimsInputs({"table1": measured}), config, methods, output)
    frame = pd.read_csv(tmp_path / "claims.csv")
    liif = frame[(frame.worse == "LIIF") & (frame.metric == "psnr")]
    assert liif.verdict.tolist() == ["holds", "does not hold", "undecided"]
    assert liif.claimed.tolist() == pytest.approx([2.70, 2.69, 1.57])
    assert liif.difference.tolist() == pytest.approx([1, -1, 0], abs=1e-9) and (liif.n == 40).all()
    assert (liif.p.iloc[:2] < 0.001).all() and liif.p.iloc[2] > 0.5
    assert (frame[frame.worse != "LIIF"].verdict == "not run").all()
    page = (tmp_path / "claims.md").read_text()
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines()]
    assert ["table1", "SAIR > LIIF", "0-20 %", "PSNR", "+2.70", "+1.00"] in [line[:6] for line in lines]
    # What the text says in words, beside its own table and what was measured.
    words = ["table1", "SAIR > LIIF", "20-40 %", "PSNR", "+2.69", "+2.69", "yes", "-1.00"]
    slip = ["table1", "SAIR > MISF", "0-20 %", "PSNR", "+1.74", "+1.65", "no", "–"]
    assert words in [line[:8] for line in lines] and slip in [line[:8] for line in lines]
    assert "share one row of figures" in page
