"""Scoring folders and manifests: what is paired, what is verified, what is refused, and what is written."""

import csv
import math
import shutil
import unicodedata

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from sair.cli import main
from sair.data.buckets import Bucket, as_buckets, bucket_of
from sair.data.manifest import read_manifest
from sair.evaluation import metrics
from sair.evaluation.conventions import all_measures, score_by_conventions
from sair.evaluation.fid import predictions_digest
from sair.evaluation.folders import score_folders
from sair.evaluation.metrics import Lpips
from sair.evaluation.pairs import score_pair
from sair.evaluation.score import SCORE_COLUMNS, score_conventions, score_predictions
from sair.files import InputError
from sair.images import pixel_sha256, write_png

torch.set_num_threads(1)
SIDE = 40


@pytest.fixture(scope="module")
def network():
    try:
        return Lpips()
    except InputError as error:
        pytest.skip(f"weights unavailable: {error}")


def picture(seed, height=SIDE, width=SIDE):
    coarse = np.random.default_rng(seed).integers(0, 256, (height // 4 + 1, width // 4 + 1, 3))
    return np.kron(coarse, np.ones((4, 4, 1)))[:height, :width].astype(np.uint8)


def a_hole(count, height=SIDE, width=SIDE):
    """Exactly ``count`` hole pixels, beginning at the middle row."""
    hole = np.zeros(height * width, dtype=bool)
    start = min(height // 4 * width, height * width - count)
    hole[start : start + count] = True
    return hole.reshape(height, width)


def write_mask(path, hole):
    write_png(path, np.where(hole, 255, 0).astype(np.uint8))


# Buckets


@pytest.mark.parametrize(
    ("holes", "pixels", "label"),
    [
        (0, 100, ""),
        (1, 65536, "0-20"),
        (1999, 10000, "0-20"),
        (20, 100, "20-40"),
        (13107, 65535, "20-40"),
        (13107, 65536, "0-20"),
        (13108, 65536, "20-40"),
        (40, 100, "40-60"),
        (59, 100, "40-60"),
        (60, 100, ""),
        (100, 100, ""),
    ],
)
def test_buckets_are_half_open_and_exact(holes, pixels, label):
    assert bucket_of(holes, pixels) == label


def test_bucket_limits_are_read_as_written():
    # As a float, 0.1 is a little more than 1/10, so a mask of exactly 0.1 % would fall out of the bucket.
    assert bucket_of(1, 1000, [(0.1, 12.5)]) == "0.1-12.5"
    assert bucket_of(125, 1000, [(0.1, 12.5)]) == ""
    assert Bucket(20, 40).label == "20-40"


@pytest.mark.parametrize(
    ("limits", "message"),
    [([(20, 20)], "20-20 is no interval"), ([(50, 101)], "50-101"), ([(0, 30), (20, 40)], "overlap")],
)
def test_wrong_buckets_are_refused(limits, message):
    with pytest.raises(InputError, match=message):
        as_buckets(limits)


def test_impossible_counts_are_refused():
    with pytest.raises(ValueError, match="11 hole pixels of 10"):
        bucket_of(11, 10)


# Folders


@pytest.fixture
def folders(tmp_path):
    """Three truths, predictions and masks; one in a subfolder, one of another size, suffixes mixed."""
    for index, (name, height, width) in enumerate([("b", SIDE, SIDE), ("a/b", SIDE, SIDE), ("c.d", 32, 48)]):
        truth = picture(index, height, width)
        hole = a_hole(height * width // 5 + index - 1, height, width)
        prediction = np.where(hole[..., None], picture(index + 10, height, width), truth)
        write_png(tmp_path / "truth" / f"{name}.png", truth)
        write_mask(tmp_path / "masks" / f"{name}.png", hole)
        target = tmp_path / "prediction" / f"{name}.png"
        write_png(target, prediction)
    Image.open(tmp_path / "prediction" / "b.png").save(tmp_path / "prediction" / "b.bmp")
    (tmp_path / "prediction" / "b.png").unlink()
    return tmp_path


def score(folders, masks=True, **options):
    options = {"lpips": False, "show": False} | options
    return score_folders(folders / "truth", folders / "prediction", folders / "masks" if masks else None, **options)


def fault(call, *args, **options):
    with pytest.raises(InputError) as caught:
        call(*args, **options)
    return str(caught.value)


def test_a_folder_is_scored_by_id(folders, network):
    frame = score(folders, lpips=network)
    assert list(frame.id) == ["a/b", "b", "c.d"]
    assert list(frame.bucket) == ["20-40", "0-20", "20-40"]
    for row in frame.itertuples():
        truth = np.array(Image.open(folders / "truth" / f"{row.id}.png"))
        path = next(p for p in (folders / "prediction").glob(f"{row.id}.*"))
        prediction, hole = np.array(Image.open(path)), np.array(Image.open(folders / "masks" / f"{row.id}.png")) > 0
        assert row.psnr == metrics.psnr(truth, prediction)
        assert row.ssim == pytest.approx(metrics.ssim(truth, prediction), abs=1e-15)
        assert row.l1 == metrics.l1(truth, prediction)
        assert row.lpips == pytest.approx(network([truth], [prediction])[0], abs=1e-6)
        assert row.psnr_hole == metrics.psnr(truth, prediction, hole)
        assert row.ssim_hole == pytest.approx(metrics.ssim(truth, prediction, hole), abs=1e-15)
        assert row.l1_hole == metrics.l1(truth, prediction, hole)
        assert row.ratio == 100 * hole.sum() / hole.size


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


def test_masks_that_hardly_have_their_polarity_are_said(folders, capsys):
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


def test_names_that_are_not_the_id_are_declared(folders, capsys):
    plain = score(folders)
    for folder, ending in (("masks", "_mask001"), ("prediction", "_fake")):
        for path in [*(folders / folder).rglob("*.*")]:
            path.rename(path.with_stem(path.stem + ending))
    assert "--prediction-name '{id}_prediction'" in fault(score, folders)
    named = {"prediction_name": "{id}_fake", "mask_name": "{id}_mask001.png"}
    pd.testing.assert_frame_equal(score(folders, **named), plain)
    write_png(folders / "prediction/a/b_real.png", picture(3))  # as image translation leaves them
    pd.testing.assert_frame_equal(score(folders, **named), plain)
    assert "1 images are no predictions, as their names are not {id}_fake: a/b_real" in capsys.readouterr().err
    write_png(folders / "prediction/x_fake.png", picture(3))
    assert "1 predictions without an image" in fault(score, folders, **named)
    (folders / "prediction/x_fake.png").unlink()
    for path in [*(folders / "masks").rglob("*.png"), *(folders / "prediction").rglob("*.*")]:
        kind = "masks" if "_mask001" in path.name else "prediction"
        shutil.copy(path, folders / "truth" / path.relative_to(folders / kind))
    (folders / "truth/a/b_real.png").unlink()
    one = folders / "truth"  # images, masks and predictions in one folder, as LaMa's data are
    pd.testing.assert_frame_equal(score_folders(one, one, one, lpips=False, show=False, **named), plain)


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
    named = {"mask_name": "{id}_mask", "lpips": False, "show": False}
    for masks in (None, folders / "masks/b.png"):
        message = fault(score_folders, folders / "truth", folders / "prediction", masks, **named)
        assert "needs a folder of masks" in message


def test_one_mask_serves_all_images(folders):
    shutil.copy(folders / "masks/b.png", folders / "one.png")
    both = (folders / "truth", folders / "prediction", folders / "one.png")
    assert "one.png: 40x40 pixels" in fault(score_folders, *both, lpips=False, show=False)
    for folder in ("truth", "prediction"):
        (folders / folder / "c.d.png").unlink()
    frame = score_folders(*both, lpips=False, show=False)
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
    one, many = score(folders, lpips=network, batch_size=1), score(folders, lpips=network, batch_size=64)
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
        write_png(tmp_path / "truth" / f"{index:02}.png", picture(index))
    write_png(tmp_path / "prediction" / "00.png", picture(0))
    message = fault(score, tmp_path, masks=False)
    assert "12 of 13" in message and "01, 02, 03, 04, 05, 06, 07, 08, 09, 10 and 2 more" in message


def test_two_files_of_one_id_are_refused(folders):
    shutil.copy(folders / "truth" / "b.png", folders / "prediction" / "b.png")
    message = fault(score, folders)
    assert "b.bmp and b.png have one id, 'b'" in message and "remove or rename" in message


def test_another_size_is_refused(folders):
    write_png(folders / "prediction" / "a" / "b.png", picture(0, SIDE, SIDE + 1))
    message = fault(score, folders)
    assert "b.png: 41x40 pixels" in message and "has 40x40" in message and "Nothing is resized silently" in message


def test_a_mask_of_another_size_is_refused(folders):
    write_mask(folders / "masks" / "b.png", a_hole(9, 20, 20))
    assert "resize masks with nearest neighbour" in fault(score, folders)


def test_every_truncated_or_unreadable_file_is_named(folders):
    truncated = folders / "prediction" / "a" / "b.png"
    truncated.write_bytes(truncated.read_bytes()[:-100])
    (folders / "prediction" / "c.d.png").write_text("no picture")
    message = fault(score, folders)
    assert message.startswith("2 faults:")
    assert f"{truncated}: not a readable image" in message
    assert "c.d.png: not a readable image" in message and "fetch or export it again" in message


def test_a_grey_mask_is_refused(folders):
    grey = np.zeros((SIDE, SIDE), np.uint8)
    grey[:5] = 90
    write_png(folders / "masks" / "b.png", grey)
    message = fault(score, folders)
    assert "b.png: a mask holds 0 and 255 only" in message and "threshold it at 127" in message


def test_images_too_small_for_lpips_have_none(folders, network, capsys):
    for folder in ("truth", "prediction"):
        write_png(folders / folder / "small.png", picture(20 if folder == "truth" else 21, 11, 40))
    frame = score(folders, masks=False, lpips=network).set_index("id")
    assert math.isnan(frame.lpips["small"]) and frame.lpips.drop("small").notna().all()
    assert frame.ssim.notna().all() and frame.psnr.notna().all()
    warning = capsys.readouterr().err
    assert "1 of 4 images have a side of less than 31 pixels, which LPIPS needs" in warning and "small" in warning
    for folder in ("truth", "prediction"):
        write_png(folders / folder / "small.png", picture(0, 10, 40))
    assert "small.png: 40x10 pixels, but the metrics need at least 11" in fault(score, folders, masks=False)


def test_one_folder_for_both_is_refused(folders):
    message = fault(score_folders, folders / "truth", folders / "truth", lpips=False, show=False)
    assert "ground truth and predictions are one folder" in message


def test_a_missing_folder_is_refused(folders):
    assert "no such folder" in fault(score_folders, folders / "truth", folders / "nowhere", lpips=False, show=False)


def test_an_unknown_polarity_is_refused(folders):
    assert "mask polarity" in fault(score, folders, hole="grey")


# Manifests

BUCKETS = {"0-20": 200, "20-40": 480, "40-60": 800}


@pytest.fixture
def benchmark(tmp_path):
    """Two truths in three buckets, in an order that is not sorted, and a method's predictions of them."""
    rows = []
    for bucket, count in BUCKETS.items():
        for name in ("z", "a,b"):
            seed = ord(name[0])
            truth, hole = picture(seed), a_hole(count)
            raw = picture(seed + count)
            write_png(tmp_path / "set" / "images" / f"{name}.png", truth)
            write_mask(tmp_path / "set" / "masks" / bucket / f"{name}.png", hole)
            write_png(tmp_path / "out" / "raw" / bucket / f"{name}.png", raw)
            composited = np.where(hole[..., None], raw, truth)
            write_png(tmp_path / "out" / "composited" / bucket / f"{name}.png", composited)
            files = [f"images/{name}.png", f"masks/{bucket}/{name}.png"]
            hashes = [pixel_sha256(truth), pixel_sha256(hole)]
            rows.append([name, bucket, "scene", *files, count, SIDE * SIDE, *hashes])
    write_manifest(tmp_path, rows)
    return tmp_path


HEADER = ["id", "bucket", "cluster", "image", "mask", "hole_pixels", "pixels", "image_sha256", "mask_sha256"]


def write_manifest(folder, rows, header=HEADER):
    with open(folder / "set" / "manifest.csv", "w", newline="") as stream:
        csv.writer(stream).writerows([header, *rows])


def manifest_rows(folder):
    with open(folder / "set" / "manifest.csv", newline="") as stream:
        return list(csv.reader(stream))[1:]


def measure(folder, **options):
    options = {"lpips": False, "show": False} | options
    return score_predictions(folder / "set" / "manifest.csv", folder / "out", folder / "scores.csv", **options)


def test_one_row_a_manifest_row_in_its_order(benchmark, network):
    frame = measure(benchmark, lpips=network)
    assert tuple(frame.columns) == SCORE_COLUMNS
    assert list(zip(frame.id, frame.bucket, strict=True)) == [(n, b) for b in BUCKETS for n in ("z", "a,b")]
    for row in frame.itertuples():
        hole = a_hole(BUCKETS[row.bucket])
        truth = picture(ord(row.id[0]))
        raw = picture(ord(row.id[0]) + BUCKETS[row.bucket])
        composited = np.where(hole[..., None], raw, truth)
        assert row.ratio == 100 * BUCKETS[row.bucket] / SIDE**2
        expected = score_pair(truth, composited, hole)
        assert {name: getattr(row, name) for name in expected} == expected
        assert (row.psnr_raw, row.ssim_raw, row.l1_raw) == tuple(score_pair(truth, raw).values())
        np.testing.assert_allclose(
            [row.lpips, row.lpips_raw], network([truth, truth], [composited, raw]), atol=1e-6, rtol=0
        )


def test_the_file_holds_what_was_returned_and_is_deterministic(benchmark, network):
    frame = measure(benchmark, lpips=network)
    written = (benchmark / "scores.csv").read_bytes()
    read = pd.read_csv(benchmark / "scores.csv")
    pd.testing.assert_frame_equal(read, frame, rtol=1e-9, check_exact=False)
    measure(benchmark, lpips=network)
    assert (benchmark / "scores.csv").read_bytes() == written
    assert b"\r" not in written
    assert [path.name for path in benchmark.glob(".*")] == [], "no temporary file is left"


def test_the_composited_picture_is_scored_by_every_convention(benchmark):
    files = benchmark / "set" / "manifest.csv", benchmark / "out", benchmark / "conventions.csv"
    frame = score_conventions(*files, show=False)
    assert list(frame.columns) == ["id", "bucket", "cluster", *all_measures()]
    assert list(zip(frame.id, frame.bucket, strict=True)) == [(n, b) for b in BUCKETS for n in ("z", "a,b")]
    for row in frame.itertuples(index=False):
        hole = a_hole(BUCKETS[row.bucket])
        truth, raw = picture(ord(row.id[0])), picture(ord(row.id[0]) + BUCKETS[row.bucket])
        expected = score_by_conventions(truth, np.where(hole[..., None], raw, truth), hole)
        np.testing.assert_array_equal(row[3:], list(expected.values()))
    written = files[2].read_bytes()
    pd.testing.assert_frame_equal(pd.read_csv(files[2]), frame, rtol=1e-9, check_exact=False)
    score_conventions(*files, show=False)
    assert files[2].read_bytes() == written
    (benchmark / "out" / "composited" / "0-20" / "z.png").unlink()
    assert "0-20/z.png" in fault(score_conventions, *files, show=False)


def test_truth_features_are_computed_once_a_truth(benchmark, network):
    seen = []

    class Counting:
        device = network.device
        distance = staticmethod(network.distance)

        def features(self, pictures):
            seen.extend(pixel_sha256(p) for p in pictures)
            return network.features(pictures)

    measure(benchmark, lpips=Counting(), batch_size=4)
    truths = [row[7] for row in manifest_rows(benchmark)]
    assert [seen.count(truth) for truth in sorted(set(truths))] == [1, 1]
    assert len(seen) == 2 + 2 * len(truths)


def test_identical_pictures_are_written_as_inf(benchmark):
    for row in manifest_rows(benchmark):
        for kind in ("raw", "composited"):
            shutil.copy(benchmark / "set" / row[3], benchmark / "out" / kind / row[1] / f"{row[0]}.png")
    measure(benchmark)
    with open(benchmark / "scores.csv", newline="") as stream:
        record = next(csv.DictReader(stream))
    assert (record["psnr"], record["psnr_hole"], record["psnr_raw"]) == ("inf", "inf", "inf")
    assert (record["ssim"], record["l1"], record["lpips"], record["ratio"]) == ("1", "0", "nan", "12.5")


def test_a_failed_run_leaves_the_old_table(benchmark):
    measure(benchmark)
    before = (benchmark / "scores.csv").read_bytes()
    (benchmark / "out" / "raw" / "0-20" / "z.png").unlink()
    fault(measure, benchmark)
    assert (benchmark / "scores.csv").read_bytes() == before


def alter(path, count=1):
    pixels = np.array(Image.open(path))
    pixels.reshape(-1)[:count] ^= 255
    write_png(path, pixels)


def test_an_altered_truth_is_named_once(benchmark):
    alter(benchmark / "set" / "images" / "z.png")
    message = fault(measure, benchmark)
    assert "images/z.png: altered since the manifest was made" in message and "Restore the file" in message
    assert message.count("z.png") == 1, "one fault, although the truth is in three buckets"


def test_an_altered_mask_is_named(benchmark):
    alter(benchmark / "set" / "masks" / "20-40" / "a,b.png")
    assert "masks/20-40/a,b.png: altered since the manifest was made" in fault(measure, benchmark)


def test_wrong_counts_are_refused(benchmark):
    rows = manifest_rows(benchmark)
    rows[0][5] = "201"
    write_manifest(benchmark, rows)
    assert "200 of 1600 pixels are holes, but the manifest says 201 of 1600" in fault(measure, benchmark)


@pytest.mark.parametrize("kind", ["composited", "raw"])
def test_missing_and_extra_predictions_of_a_manifest_are_named(benchmark, kind):
    folder = benchmark / "out" / kind
    (folder / "0-20" / "z.png").rename(folder / "0-20" / "y.png")
    message = fault(measure, benchmark)
    assert f"{folder}: 1 of 6 predictions are missing: 0-20/z.png" in message and "run the method" in message
    assert f"{folder}: 1 pictures that the manifest does not name: 0-20/y.png" in message


def test_a_prediction_in_another_format_is_no_prediction(benchmark):
    path = benchmark / "out" / "raw" / "0-20" / "z.png"
    Image.open(path).save(path.with_suffix(".jpg"))
    assert "does not name: 0-20/z.jpg" in fault(measure, benchmark)


@pytest.mark.parametrize("kind", ["composited", "raw"])
def test_a_prediction_of_another_size_is_refused(benchmark, kind):
    write_png(benchmark / "out" / kind / "0-20" / "z.png", picture(1, SIDE, SIDE + 2))
    message = fault(measure, benchmark)
    assert f"{kind}/0-20/z.png: 42x40 pixels" in message and "has 40x40" in message


def test_a_truncated_prediction_is_refused(benchmark):
    path = benchmark / "out" / "raw" / "0-20" / "z.png"
    path.write_bytes(path.read_bytes()[:-60])
    assert f"{path}: not a readable image" in fault(measure, benchmark)


def test_changed_known_pixels_are_refused(benchmark):
    alter(benchmark / "out" / "composited" / "0-20" / "z.png")
    message = fault(measure, benchmark)
    assert "composited/0-20/z.png: 1 of 1400 known pixels differ from the truth images/z.png" in message
    assert "Composite in 8 bits" in message


def test_predictions_made_with_the_other_polarity_are_said(benchmark):
    raw, truth = picture(122 + 200), picture(122)
    hole = a_hole(200)
    write_png(benchmark / "out/composited/0-20/z.png", np.where(hole[..., None], truth, raw))
    assert "all hole pixels equal it, so the mask was used with the other polarity" in fault(measure, benchmark)
    alter(benchmark / "out/composited/0-20/a,b.png")
    assert fault(measure, benchmark).count("other polarity") == 1


def test_hole_pixels_that_are_not_the_raw_ones_are_refused(benchmark):
    path = benchmark / "out" / "raw" / "0-20" / "z.png"
    pixels = np.array(Image.open(path))
    pixels[a_hole(200)] ^= 1
    write_png(path, pixels)
    assert "composited/0-20/z.png: 200 of 200 hole pixels differ from" in fault(measure, benchmark)


def test_decomposed_predictions_of_a_manifest_are_found(benchmark):
    """As macOS' archives unpack them; scores and FID find them."""
    rows = manifest_rows(benchmark)
    for row in rows:
        row[0] = row[0].replace("z", "é")
    write_manifest(benchmark, rows)
    found = []
    for form in ("NFC", "NFD"):
        for path in [*(benchmark / "out").rglob("z.png"), *(benchmark / "out").rglob("é.png")]:
            path.rename(path.with_stem(unicodedata.normalize(form, "é")))
        digest = predictions_digest(benchmark / "set/manifest.csv", benchmark / "out")
        found.append((digest, measure(benchmark).psnr.tolist()))
    assert found[0] == found[1]


def test_swapped_predictions_are_refused(benchmark):
    folder = benchmark / "out" / "composited" / "0-20"
    (folder / "z.png").rename(folder / "t")
    (folder / "a,b.png").rename(folder / "z.png")
    (folder / "t").rename(folder / "a,b.png")
    message = fault(measure, benchmark)
    assert message.startswith("2 faults:") and message.count("known pixels differ") == 2


def test_up_to_ten_faults_are_told_in_full(tmp_path):
    rows = []
    for index in range(12):
        write_png(tmp_path / "set" / "i" / f"{index}.png", picture(index))
        write_mask(tmp_path / "set" / "m" / f"{index}.png", a_hole(200))
        for kind in ("raw", "composited"):
            write_png(tmp_path / "out" / kind / "0-20" / f"{index}.png", picture(index))
        rows.append([index, "0-20", index, f"i/{index}.png", f"m/{index}.png", 200, SIDE * SIDE, "0" * 64, "0" * 64])
    write_manifest(tmp_path, rows)
    message = fault(measure, tmp_path)
    assert message.startswith("12 faults:") and message.endswith("... and 2 more") and message.count("altered") == 10


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda rows: rows.clear(), "a manifest without rows"),
        (lambda rows: rows.append(rows[0]), "two rows for 0-20/z.png; expected one per id and bucket"),
        (lambda rows: rows[1].__setitem__(0, "../../z"), "line 3: '0-20/../../z.png' is no path inside the folder"),
        (lambda rows: rows[0].__setitem__(3, "/etc/z.png"), "line 2: '/etc/z.png' is no path inside"),
        (lambda rows: rows[0].__setitem__(5, "12.5"), "line 2: hole_pixels and pixels must be whole numbers"),
        (lambda rows: rows[0].__setitem__(2, ""), "line 2: no cluster"),
        (lambda rows: rows[0].pop(), "line 2: fewer cells than columns"),
    ],
)
def test_a_wrong_manifest_is_refused(benchmark, change, expected):
    rows = manifest_rows(benchmark)
    change(rows)
    write_manifest(benchmark, rows)
    message = fault(measure, benchmark)
    assert expected in message and "manifest.csv" in message


def test_a_manifest_without_a_column_is_refused(benchmark):
    write_manifest(benchmark, manifest_rows(benchmark), [*HEADER[:-1], "sha"])
    assert "lacks the columns mask_sha256" in fault(measure, benchmark)


def test_in_a_manifest_without_clusters_each_image_is_its_own(benchmark):
    assert {row.cluster for row in read_manifest(benchmark / "set" / "manifest.csv")} == {"scene"}
    rows = [row[:2] + row[3:] for row in manifest_rows(benchmark)]
    write_manifest(benchmark, rows, HEADER[:2] + HEADER[3:])
    assert all(row.cluster == row.id for row in read_manifest(benchmark / "set" / "manifest.csv"))


def test_a_missing_or_unreadable_manifest_is_refused(benchmark):
    (benchmark / "set" / "binary.csv").write_bytes(b"\xff\xfe\x00")
    assert "not a readable CSV" in fault(read_manifest, benchmark / "set" / "binary.csv")
    assert "no such manifest" in fault(read_manifest, benchmark / "set" / "none.csv")


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
