"""Image sets: where pictures come from. Each source yields finished square pictures; nothing downstream sees a folder.

A source is named by ``source:`` in the config: ``faces`` and ``photos`` are embedded and need no download, ``folder``
is any folder of pictures.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sair.data.faces import CLASSES, draw_face
from sair.data.photos import crops
from sair.files import InputError, list_images, read_pixels, read_rgb

SPLITS = ("train", "validation", "test")
UNLABELLED = 255  # class id of a pixel that belongs to no class


@dataclass(frozen=True)
class Picture:
    """One finished picture: uint8 (S, S, 3), perhaps with class labels, uint8 (S, S), and a caption."""

    id: str
    split: str
    pixels: np.ndarray
    labels: np.ndarray | None = None
    caption: str = ""


def mix(*parts: object) -> int:
    """A 63-bit seed that depends on every part: the same on every machine, unrelated for different parts."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def classes_of(spec: dict[str, Any]) -> tuple[str, ...]:
    """Names of a dataset's label classes by class id; empty for one without labels."""
    return CLASSES if spec["source"] == "faces" else tuple(spec.get("classes", ()))


def pictures(spec: dict[str, Any], size: int) -> Iterator[Picture]:
    """All pictures of an image set, (size, size), in a fixed order.

    Args:
        spec: a dataset of the config: ``source`` and the keys of that source (config/README.md).
        size: side of the finished pictures in pixels.

    Raises:
        InputError: a folder is missing or empty, or a picture is unreadable or too small.
    """
    return {"faces": _faces, "photos": _photos, "folder": _folder}[spec["source"]](spec, size)


def _faces(spec: dict[str, Any], size: int) -> Iterator[Picture]:
    for split in SPLITS:
        for number in range(spec[split]):
            face = draw_face(mix("faces", spec.get("seed", 0), split, number), size)
            yield Picture(f"{split}{number:05d}", split, face.image, face.labels, face.caption)


def _photos(spec: dict[str, Any], size: int) -> Iterator[Picture]:
    seed = spec.get("seed", 0)
    for number, (name, pixels) in enumerate(crops("train", spec["train"] + spec["validation"], size, seed)):
        yield Picture(name, "train" if number < spec["train"] else "validation", pixels)
    for name, pixels in crops("test", spec["test"], size, seed):
        yield Picture(name, "test", pixels)


def _folder(spec: dict[str, Any], size: int) -> Iterator[Picture]:
    crop = spec.get("crop")
    for split, files in _split_folder(spec).items():
        apart = split == "test" and "test_images" in spec
        root, labels = (spec["test_images"], spec.get("test_labels")) if apart else (spec["images"], spec.get("labels"))
        for identifier, path in files:
            pixels = square(read_rgb(path), size, path, crop)
            if labels is None:
                yield Picture(identifier, split, pixels)
                continue
            classes = square(labelled(path, root, labels, spec), size, path, crop)
            yield Picture(identifier, split, pixels, classes, _caption(classes, spec["classes"]))


def labelled(path: Path, root: str, labels: str, spec: dict[str, Any]) -> np.ndarray:
    """The label map of a picture as class ids, uint8 (H, W), ``UNLABELLED`` where no class of the config lies.

    Args:
        path: the picture, somewhere below ``root``.
        root, labels: folders of pictures and of equally named label maps.
        spec: the dataset, whose ``classes`` and ``first_class`` say what the ids mean.

    Raises:
        InputError: no such map, one with colours, or one of another size than its picture.
    """
    file = (Path(labels) / path.relative_to(root)).with_suffix(".png")
    ids = read_pixels(file)
    if ids.ndim != 2:
        raise InputError(f"{file}: {ids.ndim} axes; a label map has one channel, whose values are class ids.")
    if ids.shape != read_rgb(path).shape[:2]:
        raise InputError(f"{file}: {ids.shape[::-1]} pixels, but its picture {path} has another size.")
    ids = ids.astype(np.int64) - spec.get("first_class", 0)
    return np.where((ids >= 0) & (ids < len(spec["classes"])), ids, UNLABELLED).astype(np.uint8)


def _caption(labels: np.ndarray, classes: list[str]) -> str:
    """What a labelled picture shows, the largest first."""
    ids, counts = np.unique(labels[labels != UNLABELLED], return_counts=True)
    return "a photo of " + ", ".join(classes[k] for k in ids[np.argsort(-counts, kind="stable")])


def _split_folder(spec: dict[str, Any]) -> dict[str, list[tuple[str, Path]]]:
    """Which file belongs to which split: two folders, or the last ``test`` files of one."""
    if "test_images" in spec:
        learn, test = _identified(spec["images"]), _identified(spec["test_images"])[: spec["test"]]
    else:
        files = _identified(spec["images"])
        learn, test = files[: -spec["test"]], files[-spec["test"] :]
    learn = learn[: spec["train"] + spec["validation"]]
    need = {"train": 1, "test": 1}
    split = {"train": learn[: len(learn) - spec["validation"]], "validation": learn[len(learn) - spec["validation"] :]}
    split["test"] = test
    for name, least in need.items():
        if len(split[name]) < least:
            raise InputError(
                f"{spec['images']}: no picture is left for the {name} split (validation: {spec['validation']}, "
                f"test: {spec['test']}). Lower these counts in the config or add pictures."
            )
    return split


def _identified(folder: str) -> list[tuple[str, Path]]:
    files = [(str(p.relative_to(folder).with_suffix("")).replace("/", "__"), p) for p in list_images(folder)]
    twice = [name for name, count in Counter(name for name, _ in files).items() if count > 1]
    if twice:
        raise InputError(
            f"{folder}: several pictures share the name {twice[0]!r} (only the ending differs). Rename one."
        )
    return files


def square(pixels: np.ndarray, size: int, path: str | Path, crop: int | None = None) -> np.ndarray:
    """Centre-crop to a square of ``crop`` pixels (None: the shorter side) and reduce to ``size``.

    Pictures (H, W, 3) are reduced by antialiased bicubic interpolation, label maps (H, W) by nearest neighbour.

    Raises:
        InputError: the picture is smaller than the crop or the size; it is never enlarged.
    """
    side = crop or min(pixels.shape[:2])
    if min(pixels.shape[:2]) < side or side < size:
        height, width = pixels.shape[:2]
        raise InputError(
            f"{path}: {width}x{height} pixels, but a {side}-pixel crop reduced to {size} is wanted, and pictures are "
            "never enlarged. Lower `crop` or `image_size`, or remove the picture."
        )
    top, left = (pixels.shape[0] - side) // 2, (pixels.shape[1] - side) // 2
    image = Image.fromarray(pixels[top : top + side, left : left + side])
    return np.array(
        image.resize((size, size), Image.Resampling.BICUBIC if pixels.ndim == 3 else Image.Resampling.NEAREST)
    )
