"""Test scoring of manifests: which files are verified and refused, and what is written."""

import csv
import shutil
import unicodedata

import numpy as np
import pandas as pd
import pytest
from helpers.scoring import SIDE, a_hole, fault, image, network_or_skip, write_mask
from PIL import Image

from sair.common.images import pixel_sha256, write_png
from sair.data.manifest import read_manifest
from sair.evaluation.conventions import all_measures, score_by_conventions
from sair.evaluation.fid import predictions_digest
from sair.evaluation.pairs import score_pair
from sair.evaluation.score import SCORE_COLUMNS, score_predictions
from sair.evaluation.score_conventions import score_conventions


@pytest.fixture(scope="module")
def network():
    return network_or_skip()


BUCKETS = {"0-20": 200, "20-40": 480, "40-60": 800}


@pytest.fixture
def benchmark(tmp_path):
    """Write two ground truths in three buckets, in unsorted order, and a method's predictions of them."""
    rows = []
    for bucket, count in BUCKETS.items():
        for name in ("z", "a,b"):
            seed = ord(name[0])
            truth, hole = image(seed), a_hole(count)
            raw = image(seed + count)
            write_png(tmp_path / "set" / "images" / f"{name}.png", truth)
            write_mask(tmp_path / "set" / "masks" / bucket / f"{name}.png", hole)
            write_png(tmp_path / "out" / "raw" / bucket / f"{name}.png", raw)
            composited = np.where(hole[..., None], raw, truth)
            write_png(tmp_path / "out" / "composited" / bucket / f"{name}.png", composited)
            files = [f"images/{name}.png", f"masks/{bucket}/{name}.png"]
            hashes = [pixel_sha256(truth), pixel_sha256(hole)]
            rows.append([name, bucket, "scene", *files, count, SIDE * SIDE, *hashes])
    freeze_manifest(tmp_path, rows)
    return tmp_path


HEADER = ["id", "bucket", "cluster", "image", "mask", "hole_pixels", "pixels", "image_sha256", "mask_sha256"]


def freeze_manifest(folder, rows, header=HEADER):
    with open(folder / "set" / "manifest.csv", "w", newline="") as stream:
        csv.writer(stream).writerows([header, *rows])


def manifest_rows(folder):
    with open(folder / "set" / "manifest.csv", newline="") as stream:
        return list(csv.reader(stream))[1:]


def measure(folder, **options):
    options = {"networks": False, "show": False} | options
    return score_predictions(folder / "set" / "manifest.csv", folder / "out", folder / "scores.csv", **options)


def test_there_is_one_row_per_manifest_row_in_its_order(benchmark, network):
    frame = measure(benchmark, networks={"lpips": network})
    assert tuple(frame.columns) == SCORE_COLUMNS
    assert list(zip(frame.id, frame.bucket, strict=True)) == [(n, b) for b in BUCKETS for n in ("z", "a,b")]
    for row in frame.itertuples():
        hole = a_hole(BUCKETS[row.bucket])
        truth = image(ord(row.id[0]))
        raw = image(ord(row.id[0]) + BUCKETS[row.bucket])
        composited = np.where(hole[..., None], raw, truth)
        assert row.ratio == 100 * BUCKETS[row.bucket] / SIDE**2
        expected = score_pair(truth, composited, hole)
        assert {name: getattr(row, name) for name in expected} == expected
        assert (row.psnr_raw, row.ssim_raw, row.l1_raw) == tuple(score_pair(truth, raw).values())
        np.testing.assert_allclose(
            [row.lpips, row.lpips_raw], network([truth, truth], [composited, raw]), atol=1e-6, rtol=0
        )


def test_the_file_equals_the_returned_scores_and_is_deterministic(benchmark, network):
    frame = measure(benchmark, networks={"lpips": network})
    written = (benchmark / "scores.csv").read_bytes()
    read = pd.read_csv(benchmark / "scores.csv")
    pd.testing.assert_frame_equal(read, frame, rtol=1e-9, check_exact=False)
    measure(benchmark, networks={"lpips": network})
    assert (benchmark / "scores.csv").read_bytes() == written
    assert b"\r" not in written
    assert [path.name for path in benchmark.glob(".*")] == [], "no temporary file is left"


def test_the_composited_image_is_scored_by_every_convention(benchmark):
    files = benchmark / "set" / "manifest.csv", benchmark / "out", benchmark / "conventions.csv"
    frame = score_conventions(*files, show=False)
    assert list(frame.columns) == ["id", "bucket", "cluster", *all_measures()]
    assert list(zip(frame.id, frame.bucket, strict=True)) == [(n, b) for b in BUCKETS for n in ("z", "a,b")]
    for row in frame.itertuples(index=False):
        hole = a_hole(BUCKETS[row.bucket])
        truth, raw = image(ord(row.id[0])), image(ord(row.id[0]) + BUCKETS[row.bucket])
        expected = score_by_conventions(truth, np.where(hole[..., None], raw, truth), hole)
        np.testing.assert_array_equal(row[3:], list(expected.values()))
    written = files[2].read_bytes()
    pd.testing.assert_frame_equal(pd.read_csv(files[2]), frame, rtol=1e-9, check_exact=False)
    score_conventions(*files, show=False)
    assert files[2].read_bytes() == written
    (benchmark / "out" / "composited" / "0-20" / "z.png").unlink()
    assert "0-20/z.png" in fault(score_conventions, *files, show=False)


def test_features_are_computed_once_per_ground_truth(benchmark, network):
    seen = []

    class Counting:
        device = network.device
        distance = staticmethod(network.distance)

        def features(self, images):
            seen.extend(pixel_sha256(p) for p in images)
            return network.features(images)

    measure(benchmark, networks={"lpips": Counting()}, batch_size=4)
    truths = [row[7] for row in manifest_rows(benchmark)]
    assert [seen.count(truth) for truth in sorted(set(truths))] == [1, 1]
    assert len(seen) == 2 + 2 * len(truths)


def test_identical_images_are_written_as_inf(benchmark):
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
    assert "images/z.png: its pixels have changed since the split was frozen" in message
    assert "Restore the file" in message
    assert message.count("z.png") == 1, "one fault, although the ground truth is in three buckets"


def test_an_altered_mask_is_named(benchmark):
    alter(benchmark / "set" / "masks" / "20-40" / "a,b.png")
    assert "masks/20-40/a,b.png: its pixels have changed since the split was frozen" in fault(measure, benchmark)


def test_wrong_counts_are_refused(benchmark):
    rows = manifest_rows(benchmark)
    rows[0][5] = "201"
    freeze_manifest(benchmark, rows)
    assert "200 of 1600 pixels are holes, but the manifest has 201 of 1600" in fault(measure, benchmark)


@pytest.mark.parametrize("kind", ["composited", "raw"])
def test_missing_and_extra_predictions_of_a_manifest_are_named(benchmark, kind):
    folder = benchmark / "out" / kind
    (folder / "0-20" / "z.png").rename(folder / "0-20" / "y.png")
    message = fault(measure, benchmark)
    assert f"{folder}: 1 of 6 predictions are missing: 0-20/z.png" in message and "run the method" in message
    assert f"{folder}: 1 images that the manifest does not name: 0-20/y.png" in message


def test_a_prediction_in_another_format_is_no_prediction(benchmark):
    path = benchmark / "out" / "raw" / "0-20" / "z.png"
    Image.open(path).save(path.with_suffix(".jpg"))
    assert "does not name: 0-20/z.jpg" in fault(measure, benchmark)


@pytest.mark.parametrize("kind", ["composited", "raw"])
def test_a_prediction_of_another_size_is_refused(benchmark, kind):
    write_png(benchmark / "out" / kind / "0-20" / "z.png", image(1, SIDE, SIDE + 2))
    message = fault(measure, benchmark)
    assert f"{kind}/0-20/z.png: 42x40 pixels" in message and "has 40x40" in message


def test_a_truncated_prediction_is_refused(benchmark):
    path = benchmark / "out" / "raw" / "0-20" / "z.png"
    path.write_bytes(path.read_bytes()[:-60])
    assert f"{path}: not a readable image" in fault(measure, benchmark)


def test_changed_known_pixels_are_refused(benchmark):
    alter(benchmark / "out" / "composited" / "0-20" / "z.png")
    message = fault(measure, benchmark)
    assert "composited/0-20/z.png: 1 of 1400 known pixels differ from the ground truth images/z.png" in message
    assert "Composite in 8 bits" in message


def test_predictions_made_with_the_other_polarity_are_reported(benchmark):
    raw, truth = image(122 + 200), image(122)
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
    """Archives of macOS contain such names; scores and FID find them."""
    rows = manifest_rows(benchmark)
    for row in rows:
        row[0] = row[0].replace("z", "é")
    freeze_manifest(benchmark, rows)
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


def test_up_to_ten_faults_are_listed(tmp_path):
    rows = []
    for index in range(12):
        write_png(tmp_path / "set" / "i" / f"{index}.png", image(index))
        write_mask(tmp_path / "set" / "m" / f"{index}.png", a_hole(200))
        for kind in ("raw", "composited"):
            write_png(tmp_path / "out" / kind / "0-20" / f"{index}.png", image(index))
        rows.append([index, "0-20", index, f"i/{index}.png", f"m/{index}.png", 200, SIDE * SIDE, "0" * 64, "0" * 64])
    freeze_manifest(tmp_path, rows)
    message = fault(measure, tmp_path)
    assert (
        message.startswith("12 faults:")
        and message.endswith("... and 2 more")
        and message.count("its pixels have changed") == 10
    )


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda rows: rows.clear(), "a manifest without rows"),
        (lambda rows: rows.append(rows[0]), "two rows for 0-20/z.png; expected one per id and bucket"),
        (lambda rows: rows[1].__setitem__(0, "../../z"), "line 3: '0-20/../../z.png' is not a path inside the folder"),
        (lambda rows: rows[0].__setitem__(3, "/etc/z.png"), "line 2: '/etc/z.png' is not a path inside"),
        (lambda rows: rows[0].__setitem__(5, "12.5"), "line 2: hole_pixels and pixels must be whole numbers"),
        (lambda rows: rows[0].__setitem__(2, ""), "line 2: no cluster"),
        (lambda rows: rows[0].__setitem__(2, "other"), "the image z is in two clusters"),
        (lambda rows: rows[0].__setitem__(5, "0"), "line 2: 0 hole pixels of 1600; expected at least one"),
        (lambda rows: rows[0].__setitem__(5, "1601"), "line 2: 1601 hole pixels of 1600; expected"),
        (lambda rows: rows[0].pop(), "line 2: fewer cells than columns"),
    ],
)
def test_a_wrong_manifest_is_refused(benchmark, change, expected):
    rows = manifest_rows(benchmark)
    change(rows)
    freeze_manifest(benchmark, rows)
    message = fault(measure, benchmark)
    assert expected in message and "manifest.csv" in message


def test_a_manifest_without_a_column_is_refused(benchmark):
    freeze_manifest(benchmark, manifest_rows(benchmark), [*HEADER[:-1], "sha"])
    assert "lacks the columns mask_sha256" in fault(measure, benchmark)


def test_in_a_manifest_without_clusters_each_image_is_its_own(benchmark):
    assert {row.cluster for row in read_manifest(benchmark / "set" / "manifest.csv")} == {"scene"}
    rows = [row[:2] + row[3:] for row in manifest_rows(benchmark)]
    freeze_manifest(benchmark, rows, HEADER[:2] + HEADER[3:])
    assert all(row.cluster == row.id for row in read_manifest(benchmark / "set" / "manifest.csv"))


def test_a_missing_or_unreadable_manifest_is_refused(benchmark):
    (benchmark / "set" / "binary.csv").write_bytes(b"\xff\xfe\x00")
    assert "not a readable CSV" in fault(read_manifest, benchmark / "set" / "binary.csv")
    assert "no such manifest" in fault(read_manifest, benchmark / "set" / "none.csv")
    assert "not a readable CSV" in fault(read_manifest, benchmark / "set")
