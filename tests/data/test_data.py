"""Test sources, masks, the frozen split and samples; faults of real folders are errors that name the file."""

import os
import subprocess
import sys
from functools import partial

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from sair.common.errors import InputError
from sair.common.images import pixel_sha256, read_mask, read_rgb, write_png
from sair.common.processes import in_processes
from sair.data.buckets import as_buckets
from sair.data.clusters import clusters_of
from sair.data.embedded.strokes import draw_strokes
from sair.data.freeze import freeze_images, freeze_manifest
from sair.data.manifest import read_manifest
from sair.data.masks import MaskSet
from sair.data.samples import Samples
from sair.data.seeds import mix
from sair.data.sources import images, split_folder, square

BUCKETS = as_buckets([[0, 20], [20, 40], [40, 60]])
SIZE = 32


@pytest.fixture
def folder(tmp_path):
    """Write twelve images of 40x36 pixels and 24 masks of 64x64, eight per bucket."""
    rng = np.random.default_rng(0)
    for number in range(12):
        write_png(tmp_path / f"images/{number:02d}.png", rng.integers(0, 256, (36, 40, 3), dtype=np.uint8))
    for number in range(24):
        low = 20 * (number % 3)
        mask = draw_strokes(number, 64, 64, low + 3, low + 17)  # away from the edges, which resizing moves
        write_png(tmp_path / f"masks/{number:02d}.png", mask.astype(np.uint8) * 255)
    return tmp_path


def dataset(folder, **changes):
    spec = {"source": "folder", "images": str(folder / "images"), "train": 6, "validation": 2, "test": 4}
    return spec | changes


def mask_set(folder, hole="white", count=4, **changes):
    return MaskSet(
        {"source": "folder", "path": str(folder / "masks"), "hole": hole, "train": 100} | changes, SIZE, BUCKETS, count
    )


def freeze(folder, out):
    freeze_images(dataset(folder), SIZE, out / "images.csv")
    masks = {"source": "folder", "path": str(folder / "masks"), "hole": "white", "train": 100}
    freeze_manifest(out / "images.csv", masks, BUCKETS, out / "manifest.csv", out / "training_masks.csv")
    return out


def test_the_last_files_are_the_test(folder):
    found = list(images(dataset(folder), SIZE))
    splits = {split: [p.id for p in found if p.split == split] for split in ("train", "validation", "test")}
    assert splits["test"] == ["08", "09", "10", "11"]
    assert splits["validation"] == ["06", "07"]
    assert splits["train"] == [f"{n:02d}" for n in range(6)]
    assert all(p.pixels.shape == (SIZE, SIZE, 3) for p in found)


def test_test_images_may_come_from_a_separate_folder(folder):
    other = folder / "other"
    write_png(other / "a.png", np.zeros((40, 40, 3), np.uint8))
    found = [p for p in images(dataset(folder, test_images=str(other), test=1, train=10), SIZE)]
    assert [p.id for p in found if p.split == "test"] == ["a"]
    assert len([p for p in found if p.split == "train"]) == 10


def test_centre_crop_and_reduction():
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:, 10:50] = 200  # exactly the centre square
    assert (square(pixels, 20, "x") == 200).all()
    with pytest.raises(InputError, match=r"x: 60x40 pixels.*enlarge"):
        square(pixels, 50, "x")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": "/nowhere"}, "no such folder"),
        ({"test": 12}, "0 images for the train split, 6 expected"),
        ({"train": 5000}, r"6 images for the train split, 5000 expected \(train: 5000, validation: 2, test: 4\)"),
        ({"validation": 7}, "1 images for the train split, 6 expected"),
        ({"test": 13}, "0 images for the train split"),
        ({"crop": 39}, "39-pixel crop"),
        ({"crop": 39, "enlarge": True}, "39-pixel crop"),
    ],
)
def test_wrong_image_folders(folder, change, message):
    with pytest.raises(InputError, match=message):
        list(images(dataset(folder, **change), SIZE))


def test_an_empty_folder(tmp_path):
    (tmp_path / "images").mkdir()
    with pytest.raises(InputError, match="no images in it"):
        list(images(dataset(tmp_path), SIZE))


def test_a_truncated_jpeg_is_an_error_and_leaves_no_files(folder, tmp_path):
    path = folder / "images/03.jpg"
    (folder / "images/03.png").unlink()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(InputError, match=r"03\.jpg: not a readable image"):
        freeze_images(dataset(folder), SIZE, tmp_path / "out/images.csv")
    assert not (tmp_path / "out/images.csv").exists()
    assert not list(tmp_path.glob("out/**/*.tmp*"))


def test_one_name_twice(folder):
    Image.new("RGB", (40, 40)).save(folder / "images/03.jpg")
    with pytest.raises(InputError, match=r"03\.jpg and 03\.png have the same id, '03'"):
        list(images(dataset(folder), SIZE))


def test_a_test_image_in_the_training_set_is_refused(folder, tmp_path):
    write_png(folder / "images/11.png", read_rgb(folder / "images/00.png"))
    with pytest.raises(InputError, match=r"1 test images are also train images.*11 = 00"):
        freeze_images(dataset(folder), SIZE, tmp_path / "images.csv")


@pytest.mark.parametrize("place, said", [("10", None), ("06", "1 validation images are also train images")])
def test_equal_images_in_two_splits(folder, tmp_path, capsys, place, said):
    """A validation image that is also a test image is refused; one that is also a training image causes a warning."""
    write_png(folder / f"images/{place}.png", read_rgb(folder / f"images/{'07' if said is None else '00'}.png"))
    if said is None:
        with pytest.raises(InputError, match=r"1 test images are also validation images \(test = validation: 10 = 07"):
            freeze_images(dataset(folder), SIZE, tmp_path / "images.csv")
        return
    freeze_images(dataset(folder), SIZE, tmp_path / "images.csv")
    assert said in capsys.readouterr().err


def test_copies_within_the_test_split_cause_a_warning(folder, tmp_path, capsys):
    write_png(folder / "images/11.png", read_rgb(folder / "images/10.png"))
    freeze_images(dataset(folder), SIZE, tmp_path / "apart/images.csv")
    assert "1 test images are copies of others (11 = 10)" in capsys.readouterr().err
    (tmp_path / "clusters").write_text("08 c\n09 a\n10 b\n11 b\n")
    spec = dataset(folder, clusters=str(tmp_path / "clusters"))
    freeze_images(spec, SIZE, tmp_path / "together/images.csv")
    assert "copies" not in capsys.readouterr().err


def test_transparent_images_are_refused(tmp_path):
    Image.new("RGBA", (40, 40), (1, 2, 3, 100)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="transparent"):
        read_rgb(tmp_path / "a.png")


def test_rotation_flags_are_applied(tmp_path):
    image = Image.new("RGB", (20, 10))
    exif = image.getexif()
    exif[274] = 6
    image.save(tmp_path / "a.jpg", exif=exif)
    assert read_rgb(tmp_path / "a.jpg").shape == (20, 10, 3)


def test_mask_folders_are_split_into_test_and_training(folder):
    masks = mask_set(folder)
    test = {pixel_sha256(mask) for bucket in BUCKETS for mask in masks.test(bucket.label)}
    learn = {pixel_sha256(mask) for mask in masks.training()}
    assert len(test) == 12 and len(learn) == 12 and not test & learn
    for bucket in BUCKETS:
        assert all(bucket.holds(int(mask.sum()), mask.size) for mask in masks.test(bucket.label))


def test_declared_polarity_that_cannot_be_right(folder):
    with pytest.raises(InputError, match=r"with `hole: black` the masks hide 69%.*change `hole`"):
        mask_set(folder, hole="black")


def test_black_holes_are_read_as_declared(folder):
    white = [mask.sum() for bucket in BUCKETS for mask in mask_set(folder).test(bucket.label)]
    for path in (folder / "masks").iterdir():
        write_png(path, 255 - np.array(Image.open(path)))
    assert [mask.sum() for bucket in BUCKETS for mask in mask_set(folder, hole="black").test(bucket.label)] == white


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.full((64, 64), 100, np.uint8), "100.0% of its pixels are grey .for example 100"),
        (np.zeros((64, 48), np.uint8), "mask of 48x64 pixels; expected a square mask"),
        (np.zeros((16, 16), np.uint8), "mask of 16x16 pixels"),
    ],
)
def test_wrong_masks_are_named(folder, pixels, message):
    write_png(folder / "masks/07.png", pixels)
    with pytest.raises(InputError, match=rf"07\.png: .*{message}"):
        mask_set(folder)


def test_an_empty_bucket(folder):
    for path in (folder / "masks").iterdir():
        if 100 * read_mask(path).mean() >= 40:
            path.unlink()
    with pytest.raises(
        InputError, match=r"no mask has a hole ratio of 40-60 % \(masks per bucket: 0-20: 8, 20-40: 8, 40-60: 0"
    ):
        mask_set(folder)


def test_masks_must_be_left_for_training(folder):
    with pytest.raises(InputError, match="all 24 masks are needed for the test"):
        mask_set(folder, count=8)


@pytest.fixture
def frozen(folder, tmp_path):
    return freeze(folder, tmp_path / "results")


def test_the_manifest_names_every_pair(frozen):
    rows = read_manifest(frozen / "manifest.csv")
    assert len(rows) == 12 and {row.bucket for row in rows} == {"0-20", "20-40", "40-60"}
    for row in rows:
        image, mask = read_rgb(frozen / row.image), read_mask(frozen / row.mask)
        assert pixel_sha256(image) == row.image_sha256 and pixel_sha256(mask) == row.mask_sha256
        assert mask.sum() == row.hole_pixels and mask.size == row.pixels
        low, high = map(int, row.bucket.split("-"))
        assert low * row.pixels <= 100 * row.hole_pixels < high * row.pixels


def test_freezing_twice_gives_the_same_bytes(folder, tmp_path, frozen):
    again = freeze(folder, tmp_path / "again")
    for name in ("images.csv", "manifest.csv", "training_masks.csv"):
        assert (again / name).read_bytes() == (frozen / name).read_bytes()


def test_an_altered_image_or_mask_is_named(frozen):
    samples = Samples(frozen / "images.csv", frozen / "training_masks.csv", "validation", 0)
    path = frozen / samples.images[1].image
    pixels = read_rgb(path)
    pixels[0, 0, 0] ^= 1
    write_png(path, pixels)
    assert samples[0]["images"].shape == (3, SIZE, SIZE)
    with pytest.raises(InputError, match=rf"{path.name}: its pixels have changed"):
        samples[1]


def test_samples_are_a_pure_function_of_their_number(frozen):
    first, second = (Samples(frozen / "images.csv", frozen / "training_masks.csv", "train", 3) for _ in range(2))
    forwards = [first[k] for k in range(14)]
    backwards = [second[k] for k in reversed(range(14))][::-1]
    for a, b in zip(forwards, backwards, strict=True):
        assert a["id"] == b["id"] and (a["images"] == b["images"]).all() and (a["masks"] == b["masks"]).all()
    # Each image occurs once per epoch, in another order each time.
    assert sorted(s["id"] for s in forwards[:6]) == sorted(s["id"] for s in forwards[6:12])
    other = Samples(frozen / "images.csv", frozen / "training_masks.csv", "train", 4)
    assert any((other[k]["images"] != forwards[k]["images"]).any() for k in range(6))


def test_a_table_with_other_columns_is_refused(frozen):
    pd.DataFrame({"id": ["a"]}).to_csv(frozen / "images.csv", index=False)
    with pytest.raises(InputError, match="expected"):
        Samples(frozen / "images.csv", frozen / "training_masks.csv", "train", 0)


def test_seeds_are_unrelated():
    seeds = {mix("a", n) for n in range(1000)} | {mix("b", n) for n in range(1000)}
    assert len(seeds) == 2000 and all(0 <= seed < 2**63 for seed in seeds)


def test_numbers_in_names_are_sorted_by_value(tmp_path):
    for number in (0, 1, 2, 9, 10, 11, 99, 100):
        write_png(tmp_path / f"images/{number}.png", np.full((40, 40, 3), number, np.uint8))
    spec = {"source": "folder", "images": str(tmp_path / "images"), "train": 5, "validation": 1, "test": 2}
    assert [p.id for p in images(spec, 20)] == ["0", "1", "2", "9", "10", "11", "99", "100"]


def test_lists_name_a_published_split(folder):
    test, train = folder / "test.txt", folder / "train.txt"
    test.write_text("07.png\n02\n\n05\n")

    def split(**changes):
        found = list(images(dataset(folder, test_list=str(test), **changes), SIZE))
        return {name: [p.id for p in found if p.split == name] for name in ("train", "validation", "test")}

    # All other images are for training; a listed test image that is not used is not.
    assert split(test=2, validation=1, train=8) == {
        "train": ["00", "01", "03", "04", "06", "08", "09", "10"], "validation": ["11"], "test": ["07", "02"],
    }  # fmt: skip
    train.write_text("03\n01\n04\n")
    lists = {"test": 3, "validation": 1, "train": 2, "train_list": str(train)}
    assert split(**lists) == {"train": ["03", "01"], "validation": ["04"], "test": ["07", "02", "05"]}
    with pytest.raises(InputError, match="3 images for the test split, 4 expected"):
        split(**lists | {"test": 4})
    for text, message in (
        ("03\n02\n", "02 is a test image"),
        ("3\n", "3 is not below"),
        ("03\n03.png\n", r"03\.png twice"),
    ):
        train.write_text(text)
        with pytest.raises(InputError, match=message):
            split(**lists)
    train.unlink()
    with pytest.raises(InputError, match=r"train\.txt: not a readable list"):
        split(**lists)


def test_ids_that_folders_make_equal_or_too_long_are_explained(folder):
    for name in ("a/b", "a__b"):
        write_png(folder / f"images/{name}.png", np.zeros((40, 40, 3), np.uint8))
    with pytest.raises(InputError, match=r"a__b\.png and .*a/b\.png: both have the id 'a__b', in which `/` is written"):
        split_folder(dataset(folder))
    (folder / "images/a__b.png").unlink()
    (folder / "images" / ("x" * 130)).mkdir()
    (folder / "images/a/b.png").rename(folder / "images" / ("x" * 130) / f"{'y' * 130}.png")
    with pytest.raises(InputError, match=r"would have 266 bytes; at most 255 are possible"):
        split_folder(dataset(folder))


def test_ids_may_be_as_long_as_a_file_name(folder, tmp_path):
    """An id may be a prompt: 251 characters and the ending."""
    (folder / "images/11.png").rename(folder / "images" / f"{'z' * 251}.png")
    out = freeze(folder, tmp_path / "results")
    assert "z" * 251 in {row.id for row in read_manifest(out / "manifest.csv")}


def test_paths_may_begin_with_a_tilde(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder))
    rng = np.random.default_rng(0)
    for path in (folder / "images").iterdir():
        write_png(folder / "labels" / path.name, rng.integers(0, 2, (36, 40), dtype=np.uint8))
    (folder / "test.txt").write_text("~/images/03.png\n")
    spec = dataset(folder, images="~/images", test_list="~/test.txt", test=1, labels="~/labels", classes=["a", "b"])
    found = list(images(spec, SIZE))
    assert [p.id for p in found if p.split == "test"] == ["03"] and all(p.labels is not None for p in found)
    (folder / "clusters.txt").write_text("03.png one\n")
    assert clusters_of(spec | {"clusters": "~/clusters.txt"}, split_folder(spec))
    spec = {"source": "folder", "path": "~/masks", "hole": "white", "train": 3}
    assert len(list(MaskSet(spec, SIZE, BUCKETS, 4).training())) == 3


def test_masks_whose_hole_is_transparent(folder):
    white = [mask.sum() for bucket in BUCKETS for mask in mask_set(folder).test(bucket.label)]
    for path in (folder / "masks").iterdir():
        hole = read_mask(path)
        Image.fromarray(np.dstack([np.where(hole, 0, 255)] * 4).astype(np.uint8)).save(path)
    with pytest.raises(InputError, match=r"hole: transparent.*hole: opaque"):
        mask_set(folder)
    found = mask_set(folder, hole="transparent")
    assert [mask.sum() for bucket in BUCKETS for mask in found.test(bucket.label)] == white
    with pytest.raises(InputError, match=r"with `hole: opaque` .*with `hole: transparent` 100% would"):
        mask_set(folder, hole="opaque")


def test_small_and_stretched_images():
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:, 10:50] = 200
    large = square(pixels, 80, "x", {"enlarge": True})
    assert large.shape == (80, 80, 3) and (large == 200).all()
    whole = square(pixels, 60, "x", {"stretch": True, "enlarge": True})
    assert (whole[:, 12:48] == 200).all() and (whole[:, :8] == 0).all()
    labels = square(pixels[..., 0], 80, "x", {"enlarge": True})
    assert (labels == 200).all()
    with pytest.raises(InputError, match="60x40 pixels, but a 41-pixel crop"):
        square(pixels, 80, "x", {"crop": 41, "enlarge": True})


def test_a_capped_test_leaves_masks_for_training(folder):
    masks = mask_set(folder, count=8, test=3)
    for bucket in BUCKETS:
        test = [pixel_sha256(mask) for mask in masks.test(bucket.label)]
        assert len(test) == 8 and len(set(test)) == 3 and test[:3] == test[3:6]
    assert len(list(masks.training())) == 24 - 9


def test_processes_make_the_same_table(folder, tmp_path, monkeypatch):
    # Without this, so little work would start no worker.
    monkeypatch.setattr("sair.data.freeze.in_processes", partial(in_processes, alone=0))
    tables = [tmp_path / f"{processes}/images.csv" for processes in (1, 4)]
    for table, processes in zip(tables, (1, 4), strict=True):
        freeze_images(dataset(folder), SIZE, table, processes)
    assert tables[0].read_bytes() == tables[1].read_bytes()
    assert all((tables[1].parent / image).is_file() for image in pd.read_csv(tables[1]).image)


def test_files_of_a_killed_writer_are_removed(tmp_path):
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    left, writing = (tmp_path / f".a.png.{pid}.tmp.png" for pid in (dead.stdout.strip(), os.getppid()))
    for path in (left, writing):
        path.write_bytes(b"half")
    write_png(tmp_path / "a.png", np.zeros((4, 4), np.uint8))
    assert {path.name for path in tmp_path.iterdir()} == {"a.png", writing.name}
