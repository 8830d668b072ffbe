"""Test the embedded sets: the same bytes everywhere, splits that share no pixel, holes inside their bucket."""

import csv
import hashlib
import re
from collections import Counter
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import yaml

from sair.common.errors import InputError
from sair.common.files import file_sha256
from sair.common.images import pixel_sha256
from sair.data.embedded import photos
from sair.data.embedded.faces import CLASSES, draw_face, draw_faces
from sair.data.embedded.faces.canvas import Canvas
from sair.data.embedded.faces.head import EYE_V, paint_eyes
from sair.data.embedded.faces.looks import Looks
from sair.data.embedded.faces.traits import Pose, describe, draw_look
from sair.data.embedded.photos import average_down, crops, regions
from sair.data.embedded.strokes import draw_strokes
from sair.data.freeze import freeze_images, freeze_manifest
from sair.data.sources import images

BUCKETS = ((0, 20), (20, 40), (40, 60))

# First 16 digits of pixel_sha256. A change here changes every result on embedded data, so never update them casually.
GOLDEN_FACES = {
    (0, 64): ("1b55e333c2fb91f5", "41bb49c60aa406f3"),
    (0, 128): ("04c192c6faeaf67b", "d49385e8b1f01eed"),
    (5, 64): ("c5c6a65393454ebb", "74e79341cf77f810"),
    (5, 128): ("3d74d78d3bf0726e", "0a30c981d6dbc35f"),
    (26, 64): ("b2ceb746d11954c2", "3700833ec886d448"),
    (26, 128): ("71b06c63c5481b11", "191078a53f93709b"),
    (60, 64): ("e019f76bfa45dc5a", "89fc561ce32dc80e"),
    (60, 128): ("e64908fe01f62e27", "f96399deaf078049"),
    (1234, 64): ("3075456d7ce4b595", "54fef5cc2db2ee11"),
    (1234, 128): ("bc1ed5d5311fdf87", "3df7eb4373c02b58"),
}
GOLDEN_CROPS = {
    ("train", 64): (
        ("train-00000-grass", "1691a28345b5974a"),
        ("train-00001-moon", "8a629ea48e63a70e"),
        ("train-00002-moon", "849ee0d9c35282e0"),
    ),
    ("train", 128): (
        ("train-00000-grass", "cd3a4c46bbf46009"),
        ("train-00001-moon", "b6abdcd62ee3b7b9"),
        ("train-00002-moon", "9fac759c4e4bc3fc"),
    ),
    ("validation", 64): (
        ("validation-00000-astronaut", "5027a97a035fd27b"),
        ("validation-00001-motorcycle_left", "3d8979bba9a0e494"),
        ("validation-00002-grass", "9ed90dca984c39d1"),
    ),
    ("validation", 128): (
        ("validation-00000-astronaut", "c6190c9d8afea384"),
        ("validation-00001-motorcycle_left", "22229d9cf6f11dc4"),
        ("validation-00002-grass", "f075f496279d3c34"),
    ),
    ("test", 64): (
        ("test-00000-brick", "aa0cd887e642855f"),
        ("test-00001-camera", "38367adee24cb99f"),
        ("test-00002-chelsea", "e2d65c9bf3edf56e"),
    ),
    ("test", 128): (
        ("test-00000-brick", "0745b569733c866e"),
        ("test-00001-camera", "7266116afebc25bd"),
        ("test-00002-chelsea", "045011d64b76f40d"),
    ),
}
GOLDEN_MASKS = {
    (0, 64, 64, 0, 20): "9550949780612808",
    (1, 64, 64, 20, 40): "b7ad90f810f4927e",
    (2, 64, 64, 40, 60): "120660b1e675f6ef",
    (3, 128, 128, 40, 60): "08b4b88bcf7d449e",
    (4, 37, 90, 20, 40): "cf3f16456bde3959",
    (5, 256, 256, 0, 20): "db51df209a51addf",
}


@pytest.fixture(scope="module")
def portraits():
    return draw_faces(range(150))


# -------------------------------------------------------------------------------------------------------------- faces


@pytest.mark.parametrize(("seed", "size"), GOLDEN_FACES)
def test_faces_are_the_same_bytes_everywhere(seed, size):
    face = draw_face(seed, size)
    assert (pixel_sha256(face.image)[:16], pixel_sha256(face.labels)[:16]) == GOLDEN_FACES[seed, size]


@pytest.mark.parametrize("size", [1, 5, 40, 64])
def test_faces_drawn_together_are_the_same_as_alone(portraits, size):
    seeds = [3, 149, *range(30, 42), 3]
    for seed, face in zip(seeds, draw_faces(seeds, size), strict=True):
        alone = draw_face(seed, size)
        assert np.array_equal(face.image, alone.image) and np.array_equal(face.labels, alone.labels), seed
        assert face.caption == alone.caption == portraits[seed].caption
    assert draw_faces([], size) == []


def test_a_face_has_the_promised_form(portraits):
    for face in (draw_face(5, 48), portraits[5]):
        size = len(face.labels)
        assert face.image.shape == (size, size, 3)
        assert face.labels.shape == (size, size)
        assert face.image.dtype == face.labels.dtype == np.uint8
        assert face.labels.max() < len(CLASSES)


def test_a_seed_names_one_face(portraits):
    again = draw_face(7)
    assert np.array_equal(again.image, portraits[7].image)
    assert np.array_equal(again.labels, portraits[7].labels)
    assert again.caption == portraits[7].caption
    assert len({pixel_sha256(face.image) for face in portraits}) == len(portraits)


@pytest.mark.parametrize("seed", range(0, 40, 3))
def test_resolution_does_not_change_the_face(portraits, seed):
    small, large = portraits[seed], draw_face(seed, 128)
    reduced = large.image.reshape(64, 2, 64, 2, 3).mean(axis=(1, 3))
    assert np.abs(reduced - small.image).mean() < 2.0
    # A pixel's centre is a corner of four pixels of the larger image: any of them may be across an outline.
    for row, column in product((0, 1), repeat=2):
        assert (large.labels[row::2, column::2] == small.labels).mean() > 0.95
    assert large.caption == small.caption
    # A class decided by anything but the majority of a pixel grows or shrinks with the resolution.
    assert abs((large.labels == 0).mean() - (small.labels == 0).mean()) < 0.004


def test_every_class_occurs_often_and_visibly(portraits):
    counts = np.array([np.bincount(face.labels.ravel(), minlength=len(CLASSES)) for face in portraits])
    shares = dict(zip(CLASSES, (counts >= 8).mean(axis=0), strict=True))
    rare = {"glasses", "hat", "beard"}
    assert all(share > 0.2 for share in shares.values()), shares
    assert all(shares[name] < 0.5 for name in rare), shares
    assert all(shares[name] > 0.6 for name in set(CLASSES) - rare), shares


def test_a_portrait_with_nothing_to_mention_has_a_caption():
    bare = replace(draw_look(0), mentions=(False,) * 6, mouth="smiling", hair="bald", hat="knitted", beard=False)
    caption = describe(bare)
    assert caption.startswith(f"a portrait of a smiling {bare.kind} wearing ") and " with " not in caption


@pytest.mark.parametrize("name", ["glasses", "hat", "beard", "hair"])
def test_captions_describe_what_the_labels_show(portraits, name):
    for seed, face in enumerate(portraits):
        words = face.caption.replace("no hair", "").replace(",", "").split()
        assert (name in words) == (CLASSES.index(name) in face.labels), (seed, face.caption)


def test_both_eyes_are_alike():
    """Seen from the front, both irises have the same pixels: gaze, colour and light are shared."""
    straight = Pose(x=0.5, y=0.5, scale=1.0, tilt=0.0, yaw=0.0, light=1.0)
    for seed in range(20):
        look = replace(draw_look(seed), pose=straight, eye_gap=24 / 256, eye_open=1.1)
        canvas = Canvas(256)
        (looks,) = Looks.of([look]).groups(["kind"])
        paint_eyes(canvas, looks)
        height = round((0.5 + EYE_V) * 256)
        left, right = (canvas.image[:, 0, height - 3 : height + 3, x - 6 : x + 6] for x in (128 - 24, 128 + 24))
        # The lids slant in opposite ways, so they may cut the edge of an iris differently.
        assert np.abs(left - right).mean() < 0.03, seed


@pytest.mark.slow
def test_the_stored_reference_is_of_the_default_manifest(tmp_path, config):
    """Each row has the image, mask and hole that the stored scores were measured on; only `cluster` was added."""
    # The test split does not depend on the number of training images and masks.
    faces = config["datasets"]["faces"] | {"train": 1, "validation": 0}
    freeze_images(faces, config["image_size"], tmp_path / "images.csv")
    strokes = config["masks"]["strokes"] | {"train": 1}
    manifest = tmp_path / "manifest.csv"
    freeze_manifest(tmp_path / "images.csv", strokes, config["buckets"], manifest, tmp_path / "training_masks.csv")
    facts = yaml.safe_load(Path("results/reference/reference.yaml").read_text(encoding="utf-8"))
    assert file_sha256(manifest) == facts["manifest"]
    with open(manifest, newline="") as stream:
        rows = [row[:2] + row[3:] for row in csv.reader(stream)]
    before = "".join(",".join(row) + "\n" for row in rows)
    assert hashlib.sha256(before.encode()).hexdigest().startswith("5b9053b0d19eaf3c")


@pytest.mark.parametrize("arguments", [(0, 0), (0, -4), (-1, 64)])
def test_impossible_faces_are_refused(arguments):
    with pytest.raises(ValueError):
        draw_face(*arguments)


# ------------------------------------------------------------------------------------------------------------- photos


@pytest.mark.parametrize(("split", "size"), GOLDEN_CROPS)
def test_crops_are_the_same_bytes_everywhere(split, size):
    found = tuple((name, pixel_sha256(pixels)[:16]) for name, pixels in crops(split, 3, size))
    assert found == GOLDEN_CROPS[split, size]


@pytest.mark.parametrize("split", photos.SPLITS)
def test_crops_have_the_promised_form(split):
    named = list(crops(split, 12, 48, seed=3))
    assert len({name for name, _ in named}) == 12
    assert all(pixels.shape == (48, 48, 3) and pixels.dtype == np.uint8 for _, pixels in named)
    assert [name for name, _ in named] == [region.id for region in regions(split, 12, 48, seed=3)]
    assert list(regions(split, 5, 48, seed=3)) == list(regions(split, 12, 48, seed=3))[:5]
    assert list(regions(split, 12, 48, seed=3)) != list(regions(split, 12, 48, seed=4))
    sides = [region.side for region in regions(split, 40, 48, seed=3)]
    assert min(sides) >= 48 and max(sides) > 1.5 * 48


def used(split, size, seed):
    """Count by photograph how often each pixel is in a crop: in all crops that fit, or in 800 training crops."""
    counts = {photo.name: np.zeros((photo.height, photo.width), int) for photo in photos.PHOTOS}
    for region in regions(split, 800 if split == "train" else capacity(split, size, seed), size, seed):
        photo = counts[region.photo]
        assert region.top >= 0 and region.left >= 0, region
        assert region.top + region.side <= photo.shape[0] and region.left + region.side <= photo.shape[1], region
        photo[region.top : region.top + region.side, region.left : region.left + region.side] += 1
    return counts


def capacity(split, size, seed):
    """Return the number of crops that the error about too many crops names."""
    with pytest.raises(InputError, match=f"only [0-9]+ {split} crops of {size} pixels fit without overlap") as error:
        regions(split, 10**6, size, seed)
    return int(re.search("only ([0-9]+)", str(error.value))[1])


@pytest.mark.parametrize("size", [32, 64, 128])
@pytest.mark.parametrize("seed", [0, 1, 5])
def test_no_pixel_is_used_twice(size, seed):
    """Every source pixel is counted, so that a pixel in two splits is found."""
    counts = {split: used(split, size, seed) for split in photos.SPLITS}
    for photo in photos.PHOTOS:
        test, validation, train = (counts[split][photo.name] for split in ("test", "validation", "train"))
        assert test.max() <= 1 and validation.max() <= 1
        assert not (test.any() and (validation.any() or train.any())), "a test photograph is in no other split"
        assert test.any() or (validation.any() and train.any()), "every photograph is used"
        if train.any():
            apart = np.flatnonzero(validation.any(axis=0))[0] - np.flatnonzero(train.any(axis=0))[-1] - 1
            assert apart >= photos.GAP
            assert train.any(axis=0).mean() > 0.5


@pytest.mark.slow
def test_the_default_fits_and_spreads_over_the_photographs(config):
    spec, size = config["datasets"]["photos"], config["image_size"]
    found = list(images(spec, size))
    for split in photos.SPLITS:
        assert sum(image.split == split for image in found) == spec[split]
    clusters = Counter(image.cluster for image in found if image.split == "test")
    assert len(clusters) == 7 and max(clusters.values()) <= 20
    assert len({pixel_sha256(image.pixels) for image in found if image.split != "train"}) == 124


@pytest.mark.parametrize(
    ("split", "count", "size", "message"),
    [
        ("test", 5000, 64, "`test: 5000`, but only 177 test crops of 64 pixels fit"),
        ("validation", 5000, 64, "`validation: 5000`, but only [0-9]+ validation crops"),
        ("test", 3, 600, "`image_size: 600`, but test crops of the embedded photographs have 512 pixels at most"),
        ("train", 3, 500, "train crops of the embedded photographs have 477 pixels at most"),
        ("validation", 1, 300, "validation crops of the embedded photographs have 256 pixels at most"),
    ],
)
def test_more_than_fits_is_refused_with_the_number_that_fits(split, count, size, message):
    with pytest.raises(InputError, match=message):
        regions(split, count, size)


def test_only_training_crops_are_mirrored():
    assert not any(region.flip for region in regions("test", 100, 64))
    assert {region.flip for region in regions("train", 200, 64)} == {False, True}


def test_a_crop_is_the_region_it_names():
    region = next(region for region in regions("train", 50, 64) if region.flip)
    source = photos._pixels(region.photo)
    square = source[region.top : region.top + region.side, region.left : region.left + region.side, :]
    assert np.array_equal(photos.cut(region, region.side), square[:, ::-1])


def test_averaging_is_the_exact_mean():
    rng = np.random.default_rng(0)
    square = rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)
    assert np.array_equal(average_down(square, 12), square)
    boxes = square.reshape(4, 3, 4, 3, 3).astype(int).sum(axis=(1, 3))
    assert np.array_equal(average_down(square, 4), (2 * boxes + 9) // 18)
    # A side that the size does not divide: repeat every pixel until it does.
    blown = square.repeat(5, axis=0).repeat(5, axis=1).reshape(5, 12, 5, 12, 3).astype(int).sum(axis=(1, 3))
    assert np.array_equal(average_down(square, 5), (2 * blown + 144) // 288)
    with pytest.raises(ValueError, match="cannot average"):
        average_down(square, 13)


@pytest.mark.parametrize("arguments", [("valid", 3, 64), ("train", -1, 64), ("train", 3, 0)])
def test_impossible_crops_are_refused_at_the_call(arguments):
    with pytest.raises(ValueError):
        crops(*arguments)


def test_foreign_pixels_are_refused(monkeypatch):
    photos._pixels.cache_clear()
    monkeypatch.setattr(photos, "read_rgb", lambda path: np.zeros((512, 512, 3), np.uint8))
    with pytest.raises(photos.InputError, match="scikit-image"):
        photos._pixels("astronaut")


# ------------------------------------------------------------------------------------------------------------ strokes


@pytest.mark.parametrize(("seed", "height", "width", "low", "high"), GOLDEN_MASKS)
def test_masks_are_the_same_bytes_everywhere(seed, height, width, low, high):
    mask = draw_strokes(seed, height, width, low, high)
    assert pixel_sha256(mask)[:16] == GOLDEN_MASKS[seed, height, width, low, high]


@pytest.mark.slow
@pytest.mark.parametrize(("low", "high"), [*BUCKETS, (0, 1), (19, 20), (99, 100)])
@pytest.mark.parametrize(("height", "width"), [(16, 16), (64, 64), (37, 90), (128, 20)])
def test_every_mask_is_in_its_bucket(height, width, low, high):
    for seed in range(40):
        mask = draw_strokes(seed, height, width, low, high)
        hole = int(np.count_nonzero(mask))
        assert mask.shape == (height, width) and mask.dtype == bool
        assert hole >= 1
        assert low * mask.size <= 100 * hole < high * mask.size


def test_large_masks_are_in_their_bucket():
    for seed, (low, high) in product(range(3), BUCKETS):
        hole = np.count_nonzero(draw_strokes(seed, 512, 384, low, high))
        assert low * 512 * 384 <= 100 * hole < high * 512 * 384


@pytest.mark.parametrize(("low", "high"), BUCKETS)
def test_hole_ratios_are_spread_over_the_bucket(low, high):
    ratios = np.array([100 * draw_strokes(seed, 64, 64, low, high).mean() for seed in range(200)])
    quarters = np.histogram(ratios, bins=4, range=(low, high))[0]
    assert quarters.min() >= 25, quarters


def test_a_seed_names_one_mask():
    assert np.array_equal(draw_strokes(3, 64, 64, 20, 40), draw_strokes(3, 64, 64, 20, 40))
    assert len({pixel_sha256(draw_strokes(seed, 64, 64, 20, 40)) for seed in range(50)}) == 50


def test_holes_are_strokes_and_not_noise():
    """Most hole pixels have only hole pixels around them, and every part of the image is hit by some mask."""
    masks = np.stack([draw_strokes(seed, 64, 64, 20, 40) for seed in range(100)])
    inner = masks[:, 1:-1, 1:-1] & masks[:, :-2, 1:-1] & masks[:, 2:, 1:-1] & masks[:, 1:-1, :-2] & masks[:, 1:-1, 2:]
    assert inner.sum() > 0.6 * masks[:, 1:-1, 1:-1].sum()
    frequency = masks.mean(axis=0).reshape(4, 16, 4, 16).mean(axis=(1, 3))
    assert frequency.min() > 0.15 and frequency.max() < 0.5


@pytest.mark.parametrize(
    "arguments", [(0, 64, 64, 20, 20), (0, 64, 64, -1, 20), (0, 64, 64, 50, 101), (0, 3, 3, 12, 13), (0, 0, 9, 0, 20)]
)
def test_impossible_masks_are_refused(arguments):
    with pytest.raises(ValueError):
        draw_strokes(*arguments)
