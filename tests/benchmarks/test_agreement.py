"""Test the command that compares every measure with the library that defines it."""

import importlib
import json
import sys

import numpy as np
import pytest
from helpers.pairs import a_hole, pair

import sair
import sair.evaluation.conventions  # imports scikit-image before a test pretends that it is missing
from sair.common.errors import InputError
from sair.common.images import read_rgb, write_png
from sair.evaluation.metrics.registry import METRICS

CHEAP = ["psnr", "psnr_hole", "ssim", "ssim_hole", "l1", "l1_hole", "psnroutside", "changed"]


@pytest.fixture
def agreement(monkeypatch):
    monkeypatch.syspath_prepend("benchmarks")
    return importlib.import_module("agreement")


@pytest.fixture
def run(agreement, tmp_path, capsys):
    """Return a function that writes pairs, compares some measures, and returns exit status, text and rows."""

    def compare(*measures, kinds=("noise", "shift"), masks=True, side=64):
        for number, kind in enumerate(kinds):
            truth, prediction = (np.roll(image, 9 * number, axis=0) for image in pair(kind, side, side + 16))
            hole = a_hole(side, side + 16)
            images = {"truth": truth, "prediction": prediction, "mask": hole.astype(np.uint8) * 255}
            for name, pixels in images.items():
                write_png(tmp_path / name / f"{number}.png", pixels)
        masked = ["--masks", str(tmp_path / "mask")] if masks else []
        files = [str(tmp_path / name) for name in ("truth", "prediction")]
        status = agreement.main([*files, *masked, "--output", str(tmp_path / "o.json"), "--measures", *measures])
        rows = json.loads((tmp_path / "o.json").read_text())["rows"]
        return status, capsys.readouterr().out, {(row["measure"], row["library"]): row for row in rows}

    return compare


def missing(monkeypatch, *modules):
    """Make modules look as if they were not installed."""
    for module in modules:
        monkeypatch.setitem(sys.modules, module, None)


def test_every_measure_of_the_registry_has_a_row_or_a_reason(agreement):
    assert set(METRICS) <= {*agreement.MEASURES, *agreement.ALIASES, *agreement.NOT_HERE}
    assert set(agreement.of_pairs("")) <= set(agreement.OF_IMAGES)
    assert {f"{kind}_{name}" for name in agreement.FEATURES for kind in ("features", *agreement.DISTANCES)} == {
        *agreement.OF_SETS
    }


def test_the_measures_agree_and_both_numbers_are_printed(run):
    status, text, rows = run(*CHEAP)
    assert status == 0 and {measure for measure, _ in rows} == set(CHEAP) and len(rows) == len(CHEAP)
    for row in rows.values():
        assert row["difference"] < 1e-9 and row["here"] == pytest.approx(row["there"]) and row["here"] > 0
    assert "| `psnr`" in text and "scikit-image" in text and "miou: compares label maps" in text


def test_a_wrong_number_of_one_image_is_marked_and_fails(run, monkeypatch):
    score = sair.score

    def wrong(*arguments, **options):
        frame = score(*arguments, **options)
        frame.loc[1, "l1"] += 2e-4
        return frame

    monkeypatch.setattr(sair, "score", wrong)
    status, text, rows = run("l1", "psnr")
    assert status == 1 and rows["l1", "numpy"]["difference"] == pytest.approx(2e-4)
    assert "**0.0002**" in text and text.count("**") == 2


def test_a_value_that_only_one_side_has_fails(agreement):
    row = agreement.Row("psnr", "numpy", "")
    assert row._replace(difference=float("nan")).fails(1e-4) and row._replace(difference=float("inf")).fails(1e-4)
    assert not row.fails(1e-4) and not row._replace(difference=1.0, excused=True).fails(1e-4)


def test_without_a_library_or_masks_a_dash_has_its_reason(run, monkeypatch):
    missing(monkeypatch, "skimage.metrics", "cv2")
    status, text, rows = run("psnr", "l1", "seaminside")
    row = rows["psnr", "scikit-image"]
    assert status == 0 and row["there"] is row["difference"] is None and row["here"] > 10
    assert row["note"].startswith("scikit-image is not installed (") and rows["l1", "numpy"]["difference"] < 1e-9
    assert "pip install opencv-python-headless scikit-image" in text
    status, _, rows = run("l1", "changed", "l1_hole", masks=False)
    assert status == 0 and rows["changed", "numpy"]["note"] == "needs the hole; give --masks"
    assert rows["l1_hole", "numpy"]["here"] is None and rows["l1", "numpy"]["difference"] < 1e-9


def test_a_measure_without_a_library_has_its_number_and_the_reason(run, agreement, monkeypatch):
    monkeypatch.setattr(agreement, "of_pairs", lambda caption: {})
    status, text, rows = run("l1")
    assert status == 0 and rows["l1", ""]["here"] > 0 and rows["l1", ""]["there"] is None
    assert "no library has it" in text and "pip install" not in text


def test_one_mask_may_be_for_all_images(run, agreement, tmp_path):
    _, _, rows = run("l1_hole")
    files = [str(tmp_path / name) for name in ("truth", "prediction", "mask/0.png", "one.json")]
    assert agreement.main([*files[:2], "--masks", files[2], "--output", files[3], "--measures", "l1_hole"]) == 0
    (row,) = json.loads((tmp_path / "one.json").read_text())["rows"]
    assert row["here"] == pytest.approx(rows["l1_hole", "numpy"]["here"])


def test_predictions_that_keep_known_pixels_are_blurred_there(run, agreement, tmp_path):
    _, prediction = pair("noise", 64, 80)
    hole = a_hole(64, 80)[..., None]
    run("l1")
    for number in range(2):
        composited = np.where(hole, prediction, read_rgb(tmp_path / f"truth/{number}.png"))
        write_png(tmp_path / f"prediction/{number}.png", composited)
    files = [str(tmp_path / name) for name in ("truth", "prediction", "mask")]
    arguments = [*files[:2], "--masks", files[2], "--measures", "psnroutside", "changed"]
    assert agreement.main([*arguments, "--output", str(tmp_path / "o.json")]) == 0
    for row in json.loads((tmp_path / "o.json").read_text())["rows"]:
        assert row["note"] == "predictions blurred outside the hole" and 0 < row["here"] < 100
        assert row["difference"] == 0


def test_folders_that_do_not_belong_together_are_refused(run, tmp_path):
    write_png(tmp_path / "prediction/more.png", pair("noise")[1])
    with pytest.raises(InputError, match=r"1 predictions without an image in .*truth: more"):
        run("l1")


def test_the_command_that_installs_libraries_adds_what_they_do_not_declare(agreement):
    assert agreement.to_install(["clip-mmd", "dinov2", "piq"]) == (
        "pip install clip-mmd transformers piq && pip install --no-deps dinov2"
    )


@pytest.mark.slow
def test_networks_agree_on_published_and_on_random_weights(run):
    status, _, rows = run("lpips", "lpipssqueeze", "lpipsoutside", "dists")
    assert status == 0
    assert rows["lpips", "lpips"]["weights"] == "published" and rows["lpips", "lpips"]["difference"] < 1e-6
    for row in rows.values():
        assert row["difference"] is None or (row["difference"] < 1e-5 and row["here"] > 1e-3), row


@pytest.mark.slow
def test_features_and_distances_agree(run, nowhere):
    distances = ["fid", "kid", "kid_unpaired", "cmmd", "pids", "uids", "pidsheldout", "uidsheldout"]
    status, text, rows = run(
        "features_torchvision", *(f"{kind}_clip" for kind in distances), kinds=["noise", "shift", "inverted"]
    )
    assert status == 0, text
    row = rows["features_torchvision", "torchvision"]
    assert row["weights"] == "random" and row["difference"] < 1e-5 and row["here"] > 0.01
    row = rows["fid_clip", "pytorch-fid"]
    assert row["here"] > 0 and row["difference"] < 1e-4 and row["note"] == "of the features computed here"
