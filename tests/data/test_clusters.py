"""Test clusters: images of one person, scene or photograph, from a list or from folders; never in training and test."""

import numpy as np
import pytest

from sair.common.errors import InputError
from sair.common.images import write_png
from sair.data.freeze import freeze_images, freeze_manifest
from sair.data.manifest import read_manifest
from sair.data.sources import images


@pytest.fixture
def spec(tmp_path):
    """Write a folder of four training and four test images, each of different noise; return its specification."""
    for number in range(8):
        noise = np.random.default_rng(number).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        write_png(tmp_path / f"images/s{number // 2}/{number} x.png", noise)
    return {"source": "folder", "images": str(tmp_path / "images"), "train": 4, "validation": 0, "test": 4}


def listed(spec, tmp_path, text, name="identity.txt", encoding="utf-8"):
    (tmp_path / name).write_text(text, encoding=encoding)
    return spec | {"clusters": str(tmp_path / name)}


def clusters(spec):
    return [(image.id, image.cluster) for image in images(spec, 32) if image.split == "test"]


EXPECTED = [("s2__4 x", "007"), ("s2__5 x", "007"), ("s3__6 x", "1e5"), ("s3__7 x", "NA")]
NAMES = ["s2/4 x.png", "s2/5 x.png", "s3/6 x.png", "s3/7 x.png"]


def lines(form):
    return "".join(
        form.format(name, name.removesuffix(".png"), c) for name, (_, c) in zip(NAMES, EXPECTED, strict=True)
    )


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (lines("{0} {2}\n"), "utf-8"),
        ("image_id,identity\r\n" + lines('"{0}",{2}\r\n'), "utf-8"),
        (lines("./{1}\t{2}\n\n# no image\n"), "utf-8-sig"),
        (lines("images/{0} {2}\n") + "elsewhere.png 9\n", "utf-8"),
    ],
    ids=["spaces", "csv", "tabs", "with the folder"],
)
def test_a_list_names_the_cluster_of_each_image(spec, tmp_path, text, encoding):
    assert clusters(listed(spec, tmp_path, text, encoding=encoding)) == EXPECTED


def test_the_manifest_carries_the_clusters(spec, tmp_path):
    tables = [tmp_path / f"out/{name}.csv" for name in ("images", "manifest", "training_masks")]
    freeze_images(listed(spec, tmp_path, lines("{0} {2}\n")), 32, tables[0])
    freeze_manifest(tables[0], {"source": "strokes", "train": 1}, [(0, 20), (20, 40)], *tables[1:])
    assert [(row.id, row.cluster) for row in read_manifest(tables[1])] == EXPECTED * 2


def test_a_folder_is_a_cluster(spec):
    assert [cluster for _, cluster in clusters(spec | {"clusters": "folder"})] == ["images/s2"] * 2 + ["images/s3"] * 2
    assert [cluster for _, cluster in clusters(spec)] == [""] * 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("s2/4 x.png 1\ns2/5 x.png 1\ns3/6 x.png 2\n", "no cluster for the test image .*7 x.png"),
        ("".join(f"s{n // 2}/{n} x.png {n % 4}\n" for n in range(8)), "cluster '0': .*0 x.png is a training image"),
        ("s2/4 x.png 1\ns2/4 x.png 2\n", "line 2: s2/4 x.png is in clusters 1 and 2"),
        ("s2/4.png\n", "line 1: 's2/4.png'; expected the name of an image and its cluster"),
        ("a,b,c\n", "line 1: 'a,b,c'; expected"),
        (None, "not a readable list of clusters"),
    ],
)  # fmt: skip
def test_a_wrong_list_is_refused(spec, tmp_path, text, message):
    spec = spec | {"clusters": str(tmp_path)} if text is None else listed(spec, tmp_path, text)
    with pytest.raises(InputError, match=message):
        clusters(spec)


def test_folders_of_training_and_test_are_different_clusters(spec, tmp_path):
    spec = spec | {
        "images": str(tmp_path / "images/s0"),
        "test_images": str(tmp_path / "images/s1"),
        "clusters": "folder",
    }
    spec |= {"train": 2, "test": 2}
    assert clusters(spec) == [("2 x", "s1"), ("3 x", "s1")]


def test_a_folder_that_is_split_is_refused(spec, tmp_path):
    one = spec | {"images": str(tmp_path / "images/s1"), "clusters": "folder", "train": 1, "test": 1}
    with pytest.raises(InputError, match=r"cluster 's1': .*2 x.png is a training image and .*3 x.png a test image"):
        clusters(one)
