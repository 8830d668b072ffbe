"""Test the metric conventions of other codes: against values of these codes, scikit-image and formulas."""

import json
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from helpers.parity import uniform
from skimage.color import rgb2gray
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from sair.common.errors import InputError
from sair.data.embedded.faces import draw_face
from sair.data.embedded.strokes import draw_strokes
from sair.evaluation.conventions import CONVENTIONS, OURS, all_measures, score_by_conventions
from sair.evaluation.metrics.of_images import COMPUTED
from sair.methods.origins import merge
from sair.methods.spec import load_spec
from sair.pipeline.project import Project
from sair.reporting.conventions import all_columns, swapped, write_conventions
from sair.reporting.inputs import ConventionsInputs

CASES = json.loads(Path("tests/golden/conventions.json").read_text())["cases"]


def case_images(case):
    """Return truth, prediction and hole of a recorded case, from its seed alone."""
    kind, seed, height, width = (case[key] for key in ("kind", "seed", "height", "width"))
    stream = np.random.PCG64(seed)
    if kind == "noise":  # every pixel is damaged, inside the hole and outside
        truth = uniform(stream, (height, width, 3)) * 256
        prediction = np.clip(truth + 80 * uniform(stream, truth.shape) - 40, 0, 255)
        hole = uniform(stream, (height, width)) < 0.4
        return truth.astype(np.uint8), prediction.astype(np.uint8), hole
    truth = draw_face(seed, height).image
    other = truth if kind == "same" else draw_face(seed + 1, height).image
    hole = draw_strokes(seed, height, width, 20, 40)
    return truth, np.where(hole[..., None], other, truth), hole


def name(case):
    return f"{case['kind']}{case['seed']}"


@pytest.fixture(params=CASES[:4], ids=name)
def case(request):
    images = case_images(request.param)
    return SimpleNamespace(truth=images[0], prediction=images[1], hole=images[2], found=score_by_conventions(*images))


@pytest.mark.parametrize("case", CASES, ids=name)
def test_the_authors_own_answers(case):
    """The tolerance allows for the float32 in which some of them compute."""
    found = score_by_conventions(*case_images(case))
    assert set(found) - set(case["values"]) == {f"{OURS}_psnr", f"{OURS}_ssim", f"{OURS}_l1"}
    for column, expected in case["values"].items():
        decibels_or_percent = column.endswith("psnr") or column == "mmagic_mae"
        tolerance = 5e-6 if decibels_or_percent else 1e-5 if column == "lama_ssim" else 2e-8
        assert found[column] == pytest.approx(float(expected), abs=tolerance), column


def test_ours_are_the_canonical_metrics(case):
    for metric in COMPUTED:
        assert case.found[f"{OURS}_{metric.name}"] == metric.compute(case.truth, case.prediction)
    assert list(CONVENTIONS[OURS].measures) == [metric.name for metric in COMPUTED]


# scikit-image, called with the arguments of the authors' code


def test_edgeconnect_is_scikit_image_on_grey_images(case):
    grey = [rgb2gray(image / 255) for image in (case.truth, case.prediction)]
    assert case.found["edgeconnect_psnr"] == pytest.approx(peak_signal_noise_ratio(*grey, data_range=1), abs=1e-9)
    expected = structural_similarity(*grey, data_range=1, win_size=51)
    assert case.found["edgeconnect_ssim"] == pytest.approx(expected, abs=1e-12)


def test_structureflow_is_scikit_image_with_a_large_window(case):
    images = case.truth / 255, case.prediction / 255
    assert case.found["structureflow_psnr"] == pytest.approx(peak_signal_noise_ratio(*images, data_range=1), abs=1e-9)
    expected = structural_similarity(*images, data_range=1, win_size=51, channel_axis=2)
    assert case.found["structureflow_ssim"] == pytest.approx(expected, abs=1e-12)


def test_misf_and_jpgnet_are_scikit_image_by_default(case):
    expected = structural_similarity(case.truth, case.prediction, data_range=255, channel_axis=2)
    for convention in ("misf", "jpgnet"):
        assert case.found[f"{convention}_ssim"] == pytest.approx(expected, abs=1e-12)
        found = case.found[f"{convention}_psnr"]
        assert found == pytest.approx(peak_signal_noise_ratio(case.truth, case.prediction), abs=1e-9)


# Formulas


def test_relative_errors_are_shares_of_both_images(case):
    a, b = case.truth.astype(float), case.prediction.astype(float)
    assert case.found["structureflow_mae"] == pytest.approx(np.abs(a - b).sum() / (a + b).sum(), abs=1e-12)
    a, b = ((0.2125 * p[..., 0] + 0.7154 * p[..., 1] + 0.0721 * p[..., 2]) / 255 for p in (a, b))
    assert case.found["edgeconnect_mae"] == pytest.approx(np.abs(a - b).sum() / (a + b).sum(), abs=1e-12)


def test_mmagics_error_is_that_of_the_hole_only(case):
    expected = 100 * np.abs(case.truth / 255 - case.prediction / 255)[case.hole].mean()
    assert case.found["mmagic_mae"] == pytest.approx(expected, abs=1e-9)
    assert case.found["mmagic_ssim"] == case.found[f"{OURS}_ssim"]


def test_lamas_windows_see_zeros_beyond_the_border(case):
    offsets = np.arange(11) - 5
    row = np.exp(-(offsets**2) / (2 * 1.5**2))
    window = np.outer(row, row) / row.sum() ** 2
    x, y = (np.pad(image / 255, ((5, 5), (5, 5), (0, 0))) for image in (case.truth, case.prediction))

    def mean(values):
        return np.einsum("hwcij,ij->hwc", np.lib.stride_tricks.sliding_window_view(values, (11, 11), (0, 1)), window)

    mu_x, mu_y = mean(x), mean(y)
    variances, covariance = mean(x * x) - mu_x**2 + mean(y * y) - mu_y**2, mean(x * y) - mu_x * mu_y
    index = (2 * mu_x * mu_y + 1e-4) * (2 * covariance + 9e-4) / ((mu_x**2 + mu_y**2 + 1e-4) * (variances + 9e-4))
    assert index.shape == case.truth.shape
    assert case.found["lama_ssim"] == pytest.approx(index.mean(), abs=1e-9)


def test_odd_images():
    """Small images have no large window, equal ones a PSNR by convention, black ones no relative error."""
    truth, prediction, hole = case_images({"kind": "noise", "seed": 1, "height": 50, "width": 60})
    found = score_by_conventions(truth, prediction, hole)
    assert {column for column, value in found.items() if math.isnan(value)} == {
        "edgeconnect_ssim",
        "structureflow_ssim",
    }
    equal = score_by_conventions(truth, truth, hole)
    assert equal["misf_psnr"] == 100
    assert all(equal[f"{c}_psnr"] == math.inf for c in ("ours", "edgeconnect", "structureflow", "jpgnet", "mmagic"))
    black = np.zeros_like(truth)
    found = score_by_conventions(black, black, hole & False)
    assert math.isnan(found["edgeconnect_mae"]) and math.isnan(found["structureflow_mae"])
    assert found["mmagic_mae"] == 0
    with pytest.raises(InputError, match="expected one size"):
        score_by_conventions(truth, truth[1:], hole)


def test_columns_contain_every_measure_once():
    columns = all_columns()
    assert [c.kind for c in columns] == sorted((c.kind for c in columns), key=["psnr", "ssim", "l1"].index)
    asked = [f"{convention}_{called}" for column in columns for convention, called in column.asked]
    assert sorted(asked) == sorted(all_measures())
    assert [c.name for c in columns if c.name.startswith(OURS)] == ["ours_psnr", "ours_ssim", "ours_l1"]
    assert {c.who for c in columns if c.kind == "ssim"} == {
        "ours, mmagic", "EdgeConnect", "StructureFlow", "MISF, JPGNet", "LaMa",
    }  # fmt: skip


# The table


def scores(path, offset, grey_offset, images=30):
    """Write a conventions.csv: every measure 0.5, or 30 dB, plus noise that all methods share, plus an offset."""
    rng = np.random.default_rng(5)
    rows = []
    for bucket in ("0-20", "20-40", "40-60"):
        for number in range(images):
            noise = rng.normal(0, 0.01)
            row = {"id": f"p{number}", "bucket": bucket}
            for column in all_measures():
                own = grey_offset if column.startswith("edgeconnect") else offset
                better = own if column.endswith(("psnr", "ssim")) else -own
                row[column] = (30 if column.endswith("psnr") else 0.5) + noise + better
            rows.append(row)
    pd.DataFrame(rows).to_csv(path, index=False)
    return str(path)


OFFSETS = {"sair": (0.2, 0.2), "liif": (0.1, 0.1), "misf": (0.05, 0.0), "lama": (0.0, 0.05), "biharmonic": (0.3, 0.3)}


def write(config, methods, paths, folder):
    """Write the page and its CSV, whose paths are returned."""
    output = SimpleNamespace(markdown=folder / "c.md", csv=folder / "c.csv")
    measured = {name: [path] if isinstance(path, str) else path for name, path in paths.items()}
    write_conventions(ConventionsInputs(measured, folder / "manifest.csv"), config, methods, output)
    return output.markdown, output.csv


@pytest.fixture(scope="module")
def made(tmp_path_factory, config):
    """Write a table of four methods and a control; in grey LaMa is ahead of MISF, otherwise behind it."""
    tmp_path = tmp_path_factory.mktemp("made")
    methods = {name: load_spec(name, "config/methods", "mini", config["training"]) for name in OFFSETS}
    paths = {name: scores(tmp_path / f"{name}.csv", *offsets) for name, offsets in OFFSETS.items()}
    (tmp_path / "manifest.csv").write_text(
        "id,bucket,image,mask,hole_pixels,pixels,image_sha256,mask_sha256\np0,0-20,a.png,b.png,9,99,x,y\n"
    )
    config = merge(config, {"conventions": {"pairs": [["sair", "liif"], ["misf", "lama"]]}})
    page, csv = write(config, methods, paths, tmp_path)
    frame = pd.read_csv(csv, keep_default_na=False, na_values=[""], dtype={"minus": str})
    return SimpleNamespace(markdown=page.read_text(), frame=frame, paths=paths)


def test_the_csv_has_means_and_gains_of_every_convention(made):
    frame = made.frame
    means = frame[frame.minus.isna()]
    assert len(means) == len(OFFSETS) * 4 * len(all_measures())
    for method, path in made.paths.items():
        expected = pd.read_csv(path, dtype={"bucket": str}).groupby("bucket").mean(numeric_only=True)
        for row in means[(means.method == method) & (means.bucket != "all")].itertuples():
            assert row.mean == pytest.approx(expected.loc[row.bucket, f"{row.convention}_{row.measure}"], abs=1e-12)
            assert row.low <= row.mean <= row.high and row.n == 30
    gains = frame[frame.minus.notna()].set_index(["method", "minus", "bucket", "convention", "measure"]).sort_index()
    assert len(gains) == 2 * 4 * len(all_measures())
    assert gains.loc[("sair", "liif", "20-40", "lama", "ssim"), "mean"] == pytest.approx(0.1, abs=1e-3)
    assert gains.loc[("sair", "liif", "20-40", "mmagic", "mae"), "mean"] == pytest.approx(-0.1, abs=1e-3)
    swap = gains.xs(("misf", "lama", "40-60"))["mean"]
    assert swap["ours", "ssim"] == pytest.approx(0.05, abs=1e-3)
    assert swap["edgeconnect", "ssim"] == pytest.approx(-0.05, abs=1e-3)


def test_places_are_of_the_methods_and_change_where_the_order_does(made):
    means = made.frame[made.frame.minus.isna()].set_index(["method", "bucket", "convention", "measure"]).place
    assert means.xs("biharmonic").isna().all(), "a control has no place"
    for measure in ("ssim", "l1"):
        assert [means[m, "0-20", "ours", measure] for m in ("sair", "liif", "misf", "lama")] == [1, 2, 3, 4]
    for measure in ("ssim", "mae"):
        assert [means[m, "0-20", "edgeconnect", measure] for m in ("sair", "liif", "misf", "lama")] == [1, 2, 4, 3]
    assert swapped({"a": 1, "b": 2, "c": 3}, {"a": 1, "b": 3, "c": 2}) == [("b", "c")]
    assert swapped({"a": 1, "b": 2}, {"a": 1, "b": 1}) == [], "a tie is no other order"


def line(markdown, heading, start):
    part = markdown.split(heading, 1)[1]
    found = next(row for row in part.splitlines() if row.startswith(f"| {start}"))
    return [cell.strip() for cell in found.strip("|").split("|")]


def test_the_page_agrees_with_the_csv(made):
    page = made.markdown
    # LaMa by our SSIM, by EdgeConnect's, and by the others'.
    cells = line(page, "## Holes of 20-40 %", "LaMa")
    assert cells[5].endswith(" (3)") and sum("(" in cell for cell in cells) == 3, "EdgeConnect's PSNR, SSIM and L1"
    assert line(page, "## Holes of 20-40 %", "*Biharmonic*")[5].count("(") == 0
    gains = line(page, "## Gains", "SAIR − LIIF")
    # 0.1 dB is certain, and less than another seed moves; 0.1 of SSIM is more.
    assert gains[2] == gains[3] == "+0.100" and gains[5] == "**+0.1000**"
    assert gains[-1].startswith("**-25.") and gains[-1].endswith(" %**"), "of 0.4, in percent"
    gains = line(page, "## Gains", "MISF − LaMa")
    assert gains[2] == "+0.050" and gains[3] == "-0.050" and gains[5] == "**+0.0500**"
    assert "0.2 dB in PSNR" in page and "within the seed spread" in page
    glance = line(page, "all:", "SSIM")
    assert glance[1] == "0-20 %" and glance[-1] == "1 of 6", "MISF and LaMa, by EdgeConnect's"
    for convention in CONVENTIONS.values():
        assert f"**{convention.label}** (`{convention.source}`)" in page


def test_every_seed_counts_and_a_method_that_sees_the_ground_truth_does_not_compete(tmp_path, config):
    methods = {name: load_spec(name, "config/methods", "mini", config["training"]) for name in ("sair", "liif")}
    methods["liif"] |= {"sees_truth": True, "label": "LI|IF", "tables": {"table1": None}}
    paths = {
        "sair": [scores(tmp_path / f"s{k}.csv", k / 10, 0) for k in (1, 3)],
        "liif": [scores(tmp_path / "l.csv", 0, 0)],
    }
    (tmp_path / "manifest.csv").write_text("any\n")
    config = merge(config, {"conventions": {"pairs": [["sair", "liif"]]}, "seeds": [0, 1]})
    page, csv = write(config, methods, paths, tmp_path)
    page, frame = page.read_text(), pd.read_csv(csv)
    gain = frame[frame.minus.notna() & (frame.convention == "ours") & (frame.measure == "ssim")]
    assert gain["mean"].tolist() == pytest.approx([0.2] * 4) and (gain.clusters == 30).all()
    assert "training seeds 0, 1" in page and "±" not in page and "**+" not in page, (
        "a gain over what sees the ground truth is not marked"
    )
    assert frame[frame.method == "liif"].place.isna().all() and r"| *LI\|IF* " in page
    assert r"| SAIR − LI\|IF | 0-20 %" in page, "a bar in a label is no border of a cell"


def test_the_page_notes_a_convention_that_rates_the_last_above_our_first(tmp_path, config):
    methods = {name: load_spec(name, "config/methods", "mini", config["training"]) for name in ("sair", "liif")}
    paths = {"sair": scores(tmp_path / "s.csv", 0.1, 0.3), "liif": scores(tmp_path / "l.csv", 0.0, 0.2)}
    (tmp_path / "manifest.csv").write_text(
        "id,bucket,image,mask,hole_pixels,pixels,image_sha256,mask_sha256\np0,0-20,a.png,b.png,9,99,x,y\n"
    )
    config = merge(config, {"conventions": {"pairs": [["sair", "liif"]]}})
    page, _ = write(config, methods, paths, tmp_path)
    assert "EdgeConnect's SSIM gives the last method (LIIF)" in page.read_text()
    paths["liif"] = scores(tmp_path / "l.csv", 0.0, 0.05)
    write(config, methods, paths, tmp_path)
    assert "gives the last method" not in page.read_text()


def test_scores_of_other_buckets_are_refused(tmp_path, config):
    methods = {name: load_spec(name, "config/methods", "mini", config["training"]) for name in ("sair", "liif")}
    paths = {name: scores(tmp_path / f"{name}.csv", 0, 0) for name in methods}
    config = merge(config, {"conventions": {"pairs": [["sair", "liif"]]}, "buckets": [[0, 30], [30, 60]]})
    with pytest.raises(InputError, match="sair: scored no image in the bucket 0-30, which is in the config"):
        write(config, methods, paths, tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"table": "table9"}, "conventions.table: there is no 'table9'"),
        ({"table": "table5"}, "conventions.table: there is no 'table5'"),
        ({"pairs": [["sair", "lif"]]}, "conventions.pairs: there is no 'lif'. Did you mean liif"),
        ({"pairs": [["sair", "lte"]]}, "conventions.pairs: 'lte' is no row of `table1`"),
        ({"pairs": [["sair"]]}, "conventions.pairs.0"),
        ({"pairs": []}, "conventions.pairs"),
        ({"tables": ["table1"]}, "conventions: unknown key 'tables'. Did you mean table"),
    ],
)
def test_wrong_settings_are_refused(config, settings, message):
    with pytest.raises(InputError, match=message):
        Project(merge(config, {"conventions": settings}), "workflow/schemas/config.schema.yaml")
