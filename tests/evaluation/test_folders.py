"""Test scoring of folders: which files are paired, verified and refused, and what is written."""

import math
import shutil
import unicodedata

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.scoring import SIDE, a_hole, fault, image, network_or_skip, write_mask
from PIL import Image

from sair.commands.cli import main
from sair.common.images import write_png
from sair.evaluation.folders import score_folders
from sair.evaluation.metrics.l1 import l1
from sair.evaluation.metrics.psnr import psnr
from sair.evaluation.metrics.ssim import ssim
from sair.evaluation.pairs import PIXELS_AT_ONCE, NetworkQueue, Target
from sair.evaluation.threads import in_parts


@pytest.fixture(scope="module")
def network():
    return network_or_skip()


@pytest.fixture
def folders(tmp_path):
    """Write three ground truths, predictions and masks: one in a subfolder, one of another size, mixed endings."""
    for index, (name, height, width) in enumerate([("b", SIDE, SIDE), ("a/b", SIDE, SIDE), ("c.d", 32, 48)]):
        truth = image(index, height, width)
        hole = a_hole(height * width // 5 + index - 1, height, width)
        prediction = np.where(hole[..., None], image(index + 10, height, width), truth)
        write_png(tmp_path / "truth" / f"{name}.png", truth)
        write_mask(tmp_path / "masks" / f"{name}.png", hole)
        target = tmp_path / "prediction" / f"{name}.png"
        write_png(target, prediction)
    Image.open(tmp_path / "prediction" / "b.png").save(tmp_path / "prediction" / "b.bmp")
    (tmp_path / "prediction" / "b.png").unlink()
    return tmp_path


def score(folders, masks=True, **options):
    options = {"networks": False, "show": False} | options
    return score_folders(folders / "truth", folders / "prediction", folders / "masks" if masks else None, **options)


def test_a_folder_is_scored_by_id(folders, network):
    frame = score(folders, networks={"lpips": network})
    assert list(frame.id) == ["a/b", "b", "c.d"]
    assert list(frame.bucket) == ["20-40", "0-20", "20-40"]
    for row in frame.itertuples():
        truth = np.array(Image.open(folders / "truth" / f"{row.id}.png"))
        path = next(p for p in (folders / "prediction").glob(f"{row.id}.*"))
        prediction, hole = np.array(Image.open(path)), np.array(Image.open(folders / "masks" / f"{row.id}.png")) > 0
        assert row.psnr == psnr(truth, prediction)
        assert row.ssim == pytest.approx(ssim(truth, prediction), abs=1e-15)
        assert row.l1 == l1(truth, prediction)
        assert row.lpips == pytest.approx(network([truth], [prediction])[0], abs=1e-6)
        assert row.psnr_hole == psnr(truth, prediction, hole)
        assert row.ssim_hole == pytest.approx(ssim(truth, prediction, hole), abs=1e-15)
        assert row.l1_hole == l1(truth, prediction, hole)
        assert row.ratio == 100 * hole.sum() / hole.size


def test_one_mask_for_images_of_other_sizes_is_refused_with_a_remedy(folders):
    mask = next(path for path in sorted((folders / "masks").rglob("*.png")))
    expected = rf"{mask}: \d+x\d+ pixels .*, but {folders}/truth/\S+ has \d+x\d+\. .*one mask for all .*give a folder"
    with pytest.raises(ValueError, match=expected):
        score_folders(folders / "truth", folders / "prediction", mask, networks=False)


def test_without_masks_there_are_no_mask_columns(folders):
    frame = score(folders, masks=False)
    assert list(frame.columns) == ["id", "psnr", "ssim", "l1", "lpips"]
    assert frame.lpips.isna().all(), "not computed is nan, never zero"


def test_black_holes_invert_the_masks(folders):
    white = score(folders)
    for path in (folders / "masks").rglob("*.png"):
        write_png(path, 255 - np.array(Image.open(path)))
    pd.testing.assert_frame_equal(score(folders, hole="black"), white)


@pytest.mark.parametrize("hole", ["white", "black"])
def test_masks_of_the_other_polarity_are_refused(folders, hole):
    other = {"white": "black", "black": "white"}[hole]
    if hole == "white":
        for path in (folders / "masks").rglob("*.png"):
            write_png(path, 255 - np.array(Image.open(path)))
    message = fault(score, folders, hole=hole)
    assert f"with `--hole {hole}` all predictions equal" in message and f"Use `--hole {other}`" in message


def test_masks_that_hardly_have_their_polarity_cause_a_warning(folders, capsys):
    """Predictions saved as JPEG differ a little from the ground truth everywhere."""
    for path in [*(folders / "prediction").rglob("*.png"), folders / "prediction/b.bmp"]:
        Image.open(path).save(path.with_suffix(".jpg"), quality=95)
        path.unlink()
    score(folders)
    assert "warning" not in capsys.readouterr().err
    score(folders, hole="black")
    assert "nearer to the ground truth inside the hole than outside" in capsys.readouterr().err
    for path in (folders / "truth").rglob("*.png"):  # perfect predictions have no polarity
        shutil.copy(path, folders / "prediction" / path.relative_to(folders / "truth"))
        (folders / "prediction" / path.relative_to(folders / "truth")).with_suffix(".jpg").unlink()
    assert (score(folders, hole="black").psnr == math.inf).all()


def test_masks_without_a_hole_cause_a_warning(folders, capsys):
    write_mask(folders / "masks/b.png", np.zeros((SIDE, SIDE), bool))
    frame = score(folders).set_index("id")
    assert math.isnan(frame.psnr_hole["b"]) and not math.isnan(frame.psnr_hole["a/b"])
    assert "1 masks have no hole, so the hole columns of these images are nan" in capsys.readouterr().err
    write_mask(folders / "masks/a/b.png", np.zeros((SIDE, SIDE), bool))
    write_mask(folders / "masks/c.d.png", np.zeros((32, 48), bool))
    assert "no pixel of any mask is a hole with `--hole white`" in fault(score, folders)


def test_names_that_are_not_the_id_are_declared(folders, capsys):
    plain = score(folders)
    for folder, ending in (("masks", "_mask001"), ("prediction", "_fake")):
        for path in [*(folders / folder).rglob("*.*")]:
            path.rename(path.with_stem(path.stem + ending))
    assert "--prediction-name '{id}_prediction'" in fault(score, folders)
    named = {"prediction_name": "{id}_fake", "mask_name": "{id}_mask001.png"}
    pd.testing.assert_frame_equal(score(folders, **named), plain)
    write_png(folders / "prediction/a/b_real.png", image(3))  # as programs for image translation write them
    pd.testing.assert_frame_equal(score(folders, **named), plain)
    assert "1 images are ignored, as they are not named {id}_fake like predictions: a/b_real" in capsys.readouterr().err
    write_png(folders / "prediction/x_fake.png", image(3))
    assert "1 predictions without an image" in fault(score, folders, **named)
    (folders / "prediction/x_fake.png").unlink()
    for path in [*(folders / "masks").rglob("*.png"), *(folders / "prediction").rglob("*.*")]:
        kind = "masks" if "_mask001" in path.name else "prediction"
        shutil.copy(path, folders / "truth" / path.relative_to(folders / kind))
    (folders / "truth/a/b_real.png").unlink()
    one = folders / "truth"  # images, masks and predictions in one folder, as in LaMa's data
    pd.testing.assert_frame_equal(score_folders(one, one, one, networks=False, show=False, **named), plain)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"mask_name": "mask"}, "'mask': expected {id} once"),
        ({"prediction_name": "{id}{id}"}, "expected {id} once"),
        ({"prediction_name": "{name}_fake"}, "expected {id} once"),
    ],
)
def test_a_pattern_without_the_id_is_refused(folders, names, message):
    assert message in fault(score, folders, **names)


def test_a_pattern_of_masks_needs_a_folder_of_them(folders):
    named = {"mask_name": "{id}_mask", "networks": False, "show": False}
    for masks in (None, folders / "masks/b.png"):
        message = fault(score_folders, folders / "truth", folders / "prediction", masks, **named)
        assert "needs a folder of masks" in message


def test_one_mask_serves_all_images(folders):
    shutil.copy(folders / "masks/b.png", folders / "one.png")
    both = (folders / "truth", folders / "prediction", folders / "one.png")
    assert "one.png: 40x40 pixels" in fault(score_folders, *both, networks=False, show=False)
    for folder in ("truth", "prediction"):
        (folders / folder / "c.d.png").unlink()
    frame = score_folders(*both, networks=False, show=False)
    assert list(frame.id) == ["a/b", "b"] and frame.ratio.nunique() == 1


def test_composed_and_decomposed_names_are_one(folders):
    for folder, form in (("truth", "NFC"), ("prediction", "NFD"), ("masks", "NFD")):
        path = next((folders / folder).glob("b.*"))
        path.rename(path.with_stem(unicodedata.normalize(form, "é")))
    assert list(score(folders).id) == ["a/b", "c.d", "é"]


def test_an_output_that_cannot_be_written_is_refused_first(folders, capsys):
    arguments = ["score", str(folders / "truth"), str(folders / "prediction"), "-o"]
    for output, message in (
        (folders / "truth/b.png/x.csv", "is a file"),
        (folders / "masks", "a folder has this name"),
    ):
        assert main([*arguments, str(output)]) == 1
        printed = capsys.readouterr().err
        assert message in printed and "check:" not in printed, "nothing was read"


def test_own_buckets(folders):
    assert list(score(folders, buckets=[(20, 100)]).bucket) == ["20-100", "", "20-100"]


def test_the_batch_size_changes_nothing(folders, network):
    one, many = (
        score(folders, networks={"lpips": network}, batch_size=1),
        score(folders, networks={"lpips": network}, batch_size=64),
    )
    np.testing.assert_allclose(one.lpips, many.lpips, atol=1e-6, rtol=0)
    pd.testing.assert_frame_equal(one.drop(columns="lpips"), many.drop(columns="lpips"))


def test_the_progress_bar_is_on_stderr(folders, capsys):
    score(folders, show=True)
    printed = capsys.readouterr()
    assert printed.out == "" and "score" in printed.err


def test_missing_and_extra_predictions_are_named_together(folders):
    (folders / "prediction" / "a" / "b.png").rename(folders / "prediction" / "x.png")
    message = fault(score, folders)
    assert "no prediction for 1 of 3 images" in message and ": a/b. Expected one prediction per image" in message
    assert "1 predictions without an image" in message and ": x. Remove them" in message
    assert str(folders / "prediction") in message


def test_a_missing_mask_is_named(folders):
    (folders / "masks" / "b.png").unlink()
    assert "no mask for 1 of 3 images" in fault(score, folders)


def test_up_to_ten_names_are_listed(tmp_path):
    for index in range(13):
        write_png(tmp_path / "truth" / f"{index:02}.png", image(index))
    write_png(tmp_path / "prediction" / "00.png", image(0))
    message = fault(score, tmp_path, masks=False)
    assert "12 of 13" in message and "01, 02, 03, 04, 05, 06, 07, 08, 09, 10 and 2 more" in message


def test_two_files_of_one_id_are_refused(folders):
    shutil.copy(folders / "truth" / "b.png", folders / "prediction" / "b.png")
    message = fault(score, folders)
    assert "b.bmp and b.png have the same id, 'b'" in message and "remove or rename" in message


def test_another_size_is_refused(folders):
    write_png(folders / "prediction" / "a" / "b.png", image(0, SIDE, SIDE + 1))
    message = fault(score, folders)
    assert "b.png: 41x40 pixels" in message and "has 40x40" in message and "Nothing is resized silently" in message


def test_a_mask_of_another_size_is_refused(folders):
    write_mask(folders / "masks" / "b.png", a_hole(9, 20, 20))
    assert "resize masks with nearest neighbour" in fault(score, folders)


def test_every_truncated_or_unreadable_file_is_named(folders):
    truncated = folders / "prediction" / "a" / "b.png"
    truncated.write_bytes(truncated.read_bytes()[:-100])
    (folders / "prediction" / "c.d.png").write_text("no image")
    message = fault(score, folders)
    assert message.startswith("2 faults:")
    assert f"{truncated}: not a readable image" in message
    assert "c.d.png: not a readable image" in message and "fetch or export it again" in message


def test_a_grey_mask_is_refused(folders):
    grey = np.zeros((SIDE, SIDE), np.uint8)
    grey[:5] = 90
    write_png(folders / "masks" / "b.png", grey)
    message = fault(score, folders)
    assert "b.png: a mask may contain 0 and 255 only" in message and "threshold it at 127" in message


def test_images_too_small_for_lpips_have_none(folders, network, capsys):
    for folder in ("truth", "prediction"):
        write_png(folders / folder / "small.png", image(20 if folder == "truth" else 21, 11, 40))
    frame = score(folders, masks=False, networks={"lpips": network}).set_index("id")
    assert math.isnan(frame.lpips["small"]) and frame.lpips.drop("small").notna().all()
    assert frame.ssim.notna().all() and frame.psnr.notna().all()
    warning = capsys.readouterr().err
    assert "1 of 4 images have a side of less than 31 pixels, which LPIPS needs" in warning and "small" in warning
    for folder in ("truth", "prediction"):
        write_png(folders / folder / "small.png", image(0, 10, 40))
    assert "small.png: 40x10 pixels, but the metrics need at least 11" in fault(score, folders, masks=False)


def test_one_folder_for_both_is_refused(folders):
    message = fault(score_folders, folders / "truth", folders / "truth", networks=False, show=False)
    assert "ground truth and predictions are one folder" in message


def test_a_missing_folder_is_refused(folders):
    assert "no such folder" in fault(score_folders, folders / "truth", folders / "nowhere", networks=False, show=False)


def test_an_unknown_polarity_is_refused(folders):
    assert "mask polarity" in fault(score, folders, hole="grey")


def test_the_command_scores_two_folders(folders, capsys):
    arguments = ["score", str(folders / "truth"), str(folders / "prediction"), "-o", str(folders / "scores.csv")]
    assert main([*arguments, "--masks", str(folders / "masks")]) == 0
    frame = pd.read_csv(folders / "scores.csv", dtype={"id": str}, keep_default_na=False)
    assert list(frame.columns[:7]) == ["id", "psnr", "ssim", "l1", "lpips", "ratio", "bucket"]
    assert list(frame.id) == ["a/b", "b", "c.d"] and (frame.lpips > 0).all()
    assert main(arguments) == 0
    assert list(pd.read_csv(folders / "scores.csv").columns) == ["id", "psnr", "ssim", "l1", "lpips"]
    (folders / "scores.csv").unlink()
    (folders / "prediction/a/b.png").unlink()
    assert main(arguments) == 1
    assert "a/b" in capsys.readouterr().err and not (folders / "scores.csv").exists()


@pytest.mark.parametrize("networks", [False, True], ids=["functions", "lpips"])
def test_the_number_of_threads_changes_no_bit(tmp_path, networks):
    if networks:
        network_or_skip()
    for index in range(34):  # more than one image per part
        write_png(tmp_path / f"truth/{index}.png", image(index, 32, 36 if index % 9 else 48))
        write_png(tmp_path / f"prediction/{index}.png", image(index + 1, 32, 36 if index % 9 else 48))
    folders = tmp_path / "truth", tmp_path / "prediction"
    one, three = (score_folders(*folders, networks=networks, show=False, jobs=jobs) for jobs in (1, 3))
    pd.testing.assert_frame_equal(one, three, check_exact=True)
    assert one.id.tolist() == sorted(one.id) and len(one) == 34


def test_threads_report_all_faults_in_one_order_and_leave_torch_as_it_was(tmp_path):
    before = torch.get_num_threads()
    for index in range(20):
        write_png(tmp_path / f"truth/{index:02}.png", image(index))
        write_png(tmp_path / f"prediction/{index:02}.png", image(index, *((SIDE, 44) if index in (3, 17) else ())))
    message = fault(score_folders, tmp_path / "truth", tmp_path / "prediction", networks=False, show=False, jobs=3)
    assert message.startswith("2 faults:") and message.index("03.png") < message.index("17.png")
    assert torch.get_num_threads() == before


def test_parts_depend_only_on_the_number_of_items():
    assert [len(part) for part in in_parts(range(5), 16)] == [1] * 5
    assert [len(part) for part in in_parts(range(34), 16)] == [2] * 17
    parts = in_parts(range(5000), 16)
    assert [item for part in parts for item in part] == list(range(5000)) and max(map(len, parts)) == 16


class Recorder:
    """A network whose distance is 0, and which records the sizes of its batches."""

    device = torch.device("cpu")

    def __init__(self):
        self.batches = []

    def features(self, images):
        self.batches.append(len(images))
        return [torch.zeros(len(images), 1)]

    def distance(self, features_a, features_b):
        return np.zeros(len(features_a[0]))


@pytest.mark.parametrize(("side", "expected"), [(40, 16), (PIXELS_AT_ONCE // 40, 1)])
def test_a_batch_has_fewer_of_large_images(side, expected):
    network = Recorder()
    queue, pixels = NetworkQueue({"lpips": network}, 16), np.zeros((40, side, 3), np.uint8)
    for _ in range(16):
        queue.put(pixels, [Target(pixels, {})])
    assert set(network.batches) == {expected} and len(network.batches) == 2 * 16 // expected


def test_a_number_of_threads_below_one_is_refused(folders, tmp_path, capsys):
    command = ["score", str(folders / "truth"), str(folders / "prediction"), "-o", str(tmp_path / "o.csv")]
    assert main([*command, "--jobs", "0"]) == 1
    assert "--jobs 0: expected at least 1 thread" in capsys.readouterr().err
