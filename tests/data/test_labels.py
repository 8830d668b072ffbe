"""Test label maps of image sets: ids, names, sizes and bit depths."""

import unicodedata

import numpy as np
import pytest
from PIL import Image

from sair.common.errors import InputError
from sair.common.images import write_png
from sair.data.sources import classes_of, images, labelled


def test_label_maps_come_along_with_names(tmp_path):
    """Ids start at 1, one is beyond the classes, reduction is by nearest neighbour, and captions are sorted by area."""
    labels = np.zeros((40, 60), np.uint8)
    labels[:, 10:30], labels[:, 30:50], labels[:4] = 1, 2, 9
    for k in range(5):
        write_png(tmp_path / f"images/{k}.png", np.full((40, 60, 3), 10 * k, np.uint8))
        write_png(tmp_path / f"labels/{k}.png", labels)
    spec = {"source": "folder", "images": str(tmp_path / "images"), "labels": str(tmp_path / "labels")}
    spec |= {"classes": ["sky", "road"], "first_class": 1, "train": 3, "validation": 1, "test": 1}
    found = list(images(spec, 20))
    assert [p.split for p in found] == ["train", "train", "train", "validation", "test"]
    expected = np.zeros((20, 20), np.uint8)
    expected[:, 10:], expected[:2] = 1, 255
    assert all((p.labels == expected).all() and p.labels.dtype == np.uint8 for p in found)
    assert found[0].caption == "a photo of sky, road"
    write_png(tmp_path / "labels/2.png", labels[:30])
    with pytest.raises(InputError, match=r"labels/2\.png: 60x30 pixels.*same proportions"):
        list(images(spec, 20))
    (tmp_path / "labels/2.png").unlink()
    with pytest.raises(InputError, match=r"labels/2\.png: no such file"):
        list(images(spec, 20))


def test_classes_of_one_name_are_one_and_maps_may_be_smaller(tmp_path):
    labels = np.zeros((20, 20), np.uint8)
    labels[:10, :10], labels[:10, 10:], labels[10:] = 0, 1, 2
    for k in range(2):
        write_png(tmp_path / f"images/{k}.png", np.full((40, 40, 3), 10 * k, np.uint8))
        write_png(tmp_path / f"labels/{k}.png", labels)
    spec = {"source": "folder", "images": str(tmp_path / "images"), "labels": str(tmp_path / "labels")}
    spec |= {"classes": ["eye", "nose", "eye"], "train": 1, "validation": 0, "test": 1}
    found = list(images(spec, 40))
    assert (found[0].labels == np.kron(labels == 1, np.ones((2, 2)))).all()
    assert classes_of(spec) == ("eye", "nose") and found[0].caption == "a photo of eye, nose"


@pytest.mark.parametrize(("shape", "accepted"), [
    ((20, 24), True), ((20, 26), False), ((21, 25), True), ((82, 98), True), ((40, 49), False), ((41, 47), False),
    ((41, 49), True), ((24, 20), False), ((123, 147), True), ((10, 12), True), ((30, 49), False), ((1, 1), True),
])  # fmt: skip
def test_label_maps_rounded_to_whole_pixels_are_accepted(tmp_path, shape, accepted):
    """For an image of 49x41 pixels, both sides may be rounded down, up, or to the nearest."""
    write_png(tmp_path / "labels/0.png", np.zeros(shape, np.uint8))
    spec = {"source": "folder", "classes": ["a"]}
    call = labelled, (tmp_path / "images/0.png", (41, 49), str(tmp_path / "images"), str(tmp_path / "labels"), spec)
    if accepted:
        assert call[0](*call[1]).shape == (41, 49)
    else:
        with pytest.raises(InputError, match=r"labels/0\.png: .* with the same proportions"):
            call[0](*call[1])


def test_deep_label_maps_and_decomposed_names(tmp_path):
    """A 16-bit panoptic map whose name macOS wrote keeps its ids beyond 255."""
    composed, decomposed = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))
    ids = np.full((8, 8), 300, np.uint16)
    ids[:4] = 301
    (tmp_path / "labels").mkdir()
    Image.fromarray(ids).save(tmp_path / f"labels/{decomposed}.png")
    spec = {"source": "folder", "classes": ["a", "b"], "first_class": 300}
    path = tmp_path / f"images/{composed}.jpg"
    found = labelled(path, (8, 8), str(tmp_path / "images"), str(tmp_path / "labels"), spec)
    assert (found[:4] == 1).all() and (found[4:] == 0).all()
