"""Read the images of a dataset as square images of one size.

``source`` in the config selects where they come from: ``faces`` and ``photos`` are embedded and need no download,
``folder`` is any folder of images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sair.common.errors import InputError, refuse
from sair.common.files import LONGEST_NAME
from sair.common.images import read_labels, read_mask, read_rgb
from sair.common.listing import find, images_by_id
from sair.data.clusters import clusters_of
from sair.data.cropping import square
from sair.data.embedded.faces import CLASSES, draw_faces
from sair.data.embedded.photos import SPLITS, Crop, cut, regions
from sair.data.lists import read_list
from sair.data.seeds import mix

UNLABELLED = 255  # class id of a pixel that belongs to no class
PIXELS_TOGETHER = 2**19  # of portraits that are drawn together: 128 of 64x64, four times as fast as one by one
PARTS_PER_FOLDER = 2000  # number of images whose part masks share a folder in CelebAMask-HQ


@dataclass(frozen=True)
class SourceImage:
    """One image of a dataset, cropped and resized.

    Attributes:
        id: unique within the dataset.
        split: ``train``, ``validation`` or ``test``.
        pixels: uint8 RGB (S, S, 3).
        labels: class ids, uint8 (S, S), or None.
        caption: one sentence, or empty.
        cluster: images of one cluster are not independent; empty if the image is its own cluster.
    """

    id: str
    split: str
    pixels: np.ndarray
    labels: np.ndarray | None = None
    caption: str = ""
    cluster: str = ""


def classes_of(spec: dict[str, Any]) -> tuple[str, ...]:
    """Return the class names of a dataset, in the order of the class ids; empty without labels.

    Ids in the label maps of a folder that have the same name are one class.
    """
    return CLASSES if spec["source"] == "faces" else tuple(dict.fromkeys(spec.get("classes", ())))


def images(spec: dict[str, Any], size: int) -> Iterator[SourceImage]:
    """Yield all images of a dataset in a fixed order; arguments and errors are the same as in ``makers``."""
    return (image for make in makers(spec, size) for image in make())


def together(spec: dict[str, Any], size: int) -> int:
    """Return how many images a function of ``makers`` makes; arguments are the same as there."""
    return max(1, PIXELS_TOGETHER // (size * size)) if spec["source"] == "faces" else 1


def makers(spec: dict[str, Any], size: int) -> Iterator[Callable[[], list[SourceImage]]]:
    """Yield functions, each of which reads or draws the next images of a dataset; they can run in parallel.

    Args:
        spec: a dataset of the config: ``source`` and the keys of that source (config/README.md).
        size: side of the images in pixels.

    Raises:
        InputError: a folder is missing or has too few images; when a function is called: the image or its labels are
            unreadable, too small or do not match.
    """
    return {"faces": _faces, "photos": _photos, "folder": _folder}[spec["source"]](spec, size)


def _faces(spec: dict[str, Any], size: int) -> Iterator[Callable[[], list[SourceImage]]]:
    count = together(spec, size)
    for split in SPLITS:
        for first in range(0, spec[split], count):
            yield partial(_drawn, spec.get("seed", 0), split, range(first, min(first + count, spec[split])), size)


def _drawn(seed: int, split: str, numbers: range, size: int) -> list[SourceImage]:
    faces = draw_faces([mix("faces", seed, split, number) for number in numbers], size)
    return [
        SourceImage(f"{split}{number:05d}", split, face.image, face.labels, face.caption)
        for number, face in zip(numbers, faces, strict=True)
    ]


def _photos(spec: dict[str, Any], size: int) -> Iterator[Callable[[], list[SourceImage]]]:
    # Check all splits before the first image is made.
    named = [(split, regions(split, spec[split], size, spec.get("seed", 0))) for split in SPLITS]
    return (partial(_photo, crop, split, size) for split, crops in named for crop in crops)


def _photo(crop: Crop, split: str, size: int) -> list[SourceImage]:
    return [SourceImage(crop.id, split, cut(crop, size), cluster=crop.photo)]


def _folder(spec: dict[str, Any], size: int) -> Iterator[Callable[[], list[SourceImage]]]:
    splits = split_folder(spec)
    clusters = clusters_of(spec, splits)
    for split, files in splits.items():
        separate = split == "test" and "test_images" in spec
        root, labels = (
            (spec["test_images"], spec.get("test_labels")) if separate else (spec["images"], spec.get("labels"))
        )
        for identifier, path in files:
            make = partial(_file, identifier, path, split, root, labels, spec, size)
            yield partial(_clustered, make, clusters.get(path, ""))


def _clustered(make: Callable[[], SourceImage], cluster: str) -> list[SourceImage]:
    return [replace(make(), cluster=cluster)]


def _file(
    identifier: str, path: Path, split: str, root: str, labels: str | None, spec: dict[str, Any], size: int
) -> SourceImage:
    pixels = read_rgb(path)
    finished = square(pixels, size, path, spec)
    if labels is None:
        return SourceImage(identifier, split, finished)
    classes = square(labelled(path, pixels.shape[:2], root, labels, spec), size, path, spec)
    return SourceImage(identifier, split, finished, classes, _caption(classes, classes_of(spec)))


def labelled(path: Path, shape: tuple[int, int], root: str, labels: str, spec: dict[str, Any]) -> np.ndarray:
    """Return the label map of an image as class ids, uint8, ``UNLABELLED`` where a pixel has no class of the config.

    Args:
        path: the image, below ``root``.
        shape: height and width of the image and of the result. The label map may be smaller or larger (in
            CelebAMask-HQ it is half as wide), with the same proportions; it is resized with nearest neighbour.
        root, labels: folder of images, and folder of label maps with the same names or of part masks.
        spec: the dataset; ``classes``, ``first_class`` and ``parts`` define the ids.

    Raises:
        InputError: the label map is missing, has colours, or has other proportions than its image.
    """
    if "parts" in spec:
        file, ids = _parts(path, Path(labels).expanduser(), spec["parts"])
    else:
        file = label_file(path, root, labels)
        ids = read_labels(file)
    if not _same_proportions(ids.shape, shape):
        raise InputError(
            f"{file}: {ids.shape[1]}x{ids.shape[0]} pixels, but its image {path} has {shape[1]}x{shape[0]}. A label "
            "map may be larger or smaller than its image, with the same proportions."
        )
    names, first = classes_of(spec), spec.get("first_class", 0)
    class_of = np.array([names.index(name) for name in spec["classes"]])
    ids = ids.astype(np.int64) - first
    inside = (ids >= 0) & (ids < len(class_of))
    classes = np.where(inside, class_of[np.where(inside, ids, 0)], UNLABELLED).astype(np.uint8)
    return np.array(Image.fromarray(classes).resize((shape[1], shape[0]), Image.Resampling.NEAREST))


def _same_proportions(first: tuple[int, int], second: tuple[int, int]) -> bool:
    """Return whether one size is the other one scaled and rounded: both sides down, up or to the nearest."""
    for offset in (0, 0.5, 1):
        low = max((a - offset) / b for a, b in zip(first, second, strict=True))
        high = min((a + 1 - offset) / b for a, b in zip(first, second, strict=True))
        if low < high or (offset == 0.5 and low == high):  # a half may be rounded up or down
            return True
    return False


def label_file(path: Path, root: str, labels: str) -> Path:
    """Return the path of an image's label map: below ``labels``, with the same relative name and the ending .png."""
    relative = path.relative_to(Path(root).expanduser())
    return find((Path(labels).expanduser() / relative).with_suffix(".png"))


def _parts(path: Path, labels: Path, parts: list[str]) -> tuple[Path, np.ndarray]:
    """Combine the part masks of an image of CelebAMask-HQ into ids; later parts are painted over earlier ones.

    A missing part has no file. Folders and names are the same as in the authors' g_mask.py.

    Returns:
        The last file that was read, and the ids: 0 for no part, k for part k, uint8 (H, W).
    """
    if not path.stem.isdecimal():
        raise InputError(
            f"{path}: its part masks are found by its number, as in 12.jpg. Rename the image, or remove `parts`."
        )
    number = int(path.stem)
    folder = labels / str(number // PARTS_PER_FOLDER)
    files = [folder / f"{number:05d}_{part}.png" for part in parts]
    ids: np.ndarray | None = None
    file: Path | None = None
    for k, candidate in enumerate(files, 1):
        if candidate.exists():
            file, drawn = candidate, read_mask(candidate)
            ids = np.zeros(drawn.shape, np.uint8) if ids is None else ids
            if drawn.shape != ids.shape:
                raise InputError(f"{file}: has another size than the other parts of this face. Download it again.")
            ids[drawn] = k
    if ids is None or file is None:
        raise InputError(
            f"{files[0]}: no such file, and no other part of this image. Check `labels` and `parts` in the config."
        )
    return file, ids


def _caption(labels: np.ndarray, classes: tuple[str, ...]) -> str:
    """Return a caption that lists the classes of a label map, the largest first."""
    ids, counts = np.unique(labels[labels != UNLABELLED], return_counts=True)
    return "a photo of " + ", ".join(classes[k] for k in ids[np.argsort(-counts, kind="stable")])


def split_folder(spec: dict[str, Any]) -> dict[str, list[tuple[str, Path]]]:
    """Return the images of each split as (id, file).

    Test images come from ``test_images`` (a second folder) or ``test_list``, or are the last ``test`` files.

    Args:
        spec: a ``folder`` dataset of the config.

    Raises:
        InputError: a folder or a list is missing, a list names a missing image or an image of the other list, or there
            are too few images.
    """
    root = Path(spec["images"]).expanduser()
    files = _identified(root)
    held: list[tuple[str, Path]] = []  # kept out of training, even those that a smaller test does not use
    if "test_images" in spec:
        test = _identified(spec["test_images"])
    elif "test_list" in spec:
        test = held = _listed(spec["test_list"], files, root)
    else:
        test = held = files[-spec["test"] :]
    excluded = set(held)
    if "train_list" in spec:
        training = _listed(spec["train_list"], files, root)
        refuse(
            [
                f"{spec['train_list']}: {name} is a test image. Remove it."
                for name, path in training
                if (name, path) in excluded
            ]
        )
    else:
        training = [file for file in files if file not in excluded]
    training, test = training[: spec["train"] + spec["validation"]], test[: spec["test"]]
    border = max(len(training) - spec["validation"], 0)
    split = {"train": training[:border], "validation": training[border:], "test": test}
    for name in ("train", "test"):
        if len(split[name]) < spec[name]:
            raise InputError(
                f"{spec['images']}: {len(split[name])} images for the {name} split, {spec[name]} expected (train: "
                f"{spec['train']}, validation: {spec['validation']}, test: {spec['test']}). Lower these counts in the "
                "config or add images."
            )
    return split


def _listed(path: str, files: list[tuple[str, Path]], root: Path) -> list[tuple[str, Path]]:
    by_file = {file: (identifier, file) for identifier, file in files}
    return [by_file[file] for file in read_list(path, list(by_file), root)]


def _identified(folder: str | Path) -> list[tuple[str, Path]]:
    """Return (id, file) of every image below a folder; ids are used as file names, so ``/`` becomes ``__``."""
    found: dict[str, Path] = {}
    faults = []
    for name, path in images_by_id(folder).items():
        identifier = name.replace("/", "__")
        if identifier in found:
            faults.append(
                f"{path} and {found[identifier]}: both have the id {identifier!r}, in which `/` is written as `__`. "
                "Rename one."
            )
        length = len(f"{identifier}.png".encode())
        if length > LONGEST_NAME:
            faults.append(
                f"{path}: its id, {identifier!r}, is used as a file name, which would have {length} bytes; at most "
                f"{LONGEST_NAME} are possible. Shorten the name of the image or of its folders."
            )
        found[identifier] = path
    refuse(faults)
    return list(found.items())
