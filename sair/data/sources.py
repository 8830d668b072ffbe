"""Image sets. Each source yields finished square images, so that nothing downstream sees a folder.

A source is named by ``source:`` in the config: ``faces`` and ``photos`` are embedded and need no download, ``folder``
is any folder of images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from PIL import Image

from sair.common.errors import InputError, refuse
from sair.common.files import LONGEST_NAME
from sair.common.images import read_labels, read_mask, read_rgb
from sair.common.listing import find, images_by_id
from sair.data.clusters import clusters_of
from sair.data.embedded.faces import CLASSES, draw_face
from sair.data.embedded.photos import Crop, cut, regions
from sair.data.lists import read_list
from sair.data.seeds import mix

SPLITS = ("train", "validation", "test")
UNLABELLED = 255  # class id of a pixel that belongs to no class
PARTS_A_FOLDER = 2000  # images whose part masks share a folder of CelebAMask-HQ


@dataclass(frozen=True)
class SourceImage:
    """One finished image: uint8 (S, S, 3), perhaps with class labels, uint8 (S, S), a caption, and its cluster.

    Images of one cluster are not independent of each other; an empty name means that the image is its own.
    """

    id: str
    split: str
    pixels: np.ndarray
    labels: np.ndarray | None = None
    caption: str = ""
    cluster: str = ""


def classes_of(spec: dict[str, Any]) -> tuple[str, ...]:
    """Return the names of a dataset's label classes by class id; empty for one without labels.

    Ids of a folder's label maps that share a name are one class, numbered by its first.
    """
    return CLASSES if spec["source"] == "faces" else tuple(dict.fromkeys(spec.get("classes", ())))


def images(spec: dict[str, Any], size: int) -> Iterator[SourceImage]:
    """Yield all images of an image set, (size, size), in a fixed order; the errors are those of ``makers``."""
    return (make() for make in makers(spec, size))


def makers(spec: dict[str, Any], size: int) -> Iterator[Callable[[], SourceImage]]:
    """Yield a function for each image of an image set, in a fixed order, that makes it, so that several run at once.

    Args:
        spec: a dataset of the config: ``source`` and the keys of that source (config/README.md).
        size: side of the finished images in pixels.

    Raises:
        InputError: a folder is missing or has too few images; from a maker: the image or its labels are unreadable
            or do not fit.
    """
    return {"faces": _faces, "photos": _photos, "folder": _folder}[spec["source"]](spec, size)


def _faces(spec: dict[str, Any], size: int) -> Iterator[Callable[[], SourceImage]]:
    for split in SPLITS:
        for number in range(spec[split]):
            yield partial(_face, mix("faces", spec.get("seed", 0), split, number), split, number, size)


def _face(seed: int, split: str, number: int, size: int) -> SourceImage:
    face = draw_face(seed, size)
    return SourceImage(f"{split}{number:05d}", split, face.image, face.labels, face.caption)


def _photos(spec: dict[str, Any], size: int) -> Iterator[Callable[[], SourceImage]]:
    # All splits are checked before the first image is made.
    named = [(split, regions(split, spec[split], size, spec.get("seed", 0))) for split in SPLITS]
    return (partial(_photo, crop, split, size) for split, crops in named for crop in crops)


def _photo(crop: Crop, split: str, size: int) -> SourceImage:
    return SourceImage(crop.id, split, cut(crop, size), cluster=crop.photo)


def _folder(spec: dict[str, Any], size: int) -> Iterator[Callable[[], SourceImage]]:
    splits = split_folder(spec)
    clusters = clusters_of(spec, splits)
    for split, files in splits.items():
        apart = split == "test" and "test_images" in spec
        root, labels = (spec["test_images"], spec.get("test_labels")) if apart else (spec["images"], spec.get("labels"))
        for identifier, path in files:
            make = partial(_file, identifier, path, split, root, labels, spec, size)
            yield partial(_clustered, make, clusters.get(path, ""))


def _clustered(make: Callable[[], SourceImage], cluster: str) -> SourceImage:
    return replace(make(), cluster=cluster)


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
    """Return the label map of an image as class ids, uint8 ``shape``, ``UNLABELLED`` where no class of the config lies.

    Args:
        path: the image, somewhere below ``root``.
        shape: its height and width. Label maps may be smaller or larger (CelebAMask-HQ's are half as wide as its
            images), but not of other proportions.
        root, labels: folders of images and of equally named label maps, or of part masks.
        spec: the dataset, whose ``classes``, ``first_class`` and ``parts`` say what the ids mean.

    Raises:
        InputError: no such map, one with colours, or one of other proportions than its image.
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
    """Whether one size is the other one scaled and brought to whole pixels: both sides down, up, or to the nearest."""
    for offset in (0, 0.5, 1):
        low = max((a - offset) / b for a, b in zip(first, second, strict=True))
        high = min((a + 1 - offset) / b for a, b in zip(first, second, strict=True))
        if low < high or (offset == 0.5 and low == high):  # a half may be rounded either way
            return True
    return False


def label_file(path: Path, root: str, labels: str) -> Path:
    """Return where the label map of an image below ``root`` is: below ``labels``, under the same name."""
    relative = path.relative_to(Path(root).expanduser())
    return find((Path(labels).expanduser() / relative).with_suffix(".png"))


def _parts(path: Path, labels: Path, parts: list[str]) -> tuple[Path, np.ndarray]:
    """Return the ids of CelebAMask-HQ's part masks, each painted over those before it, and the last of their files.

    A part that a face does not have has no file. Folders and names as in the authors' g_mask.py.
    """
    if not path.stem.isdecimal():
        raise InputError(f"{path}: its part masks are found by its number, as in 12.jpg. Rename it, or remove `parts`.")
    number = int(path.stem)
    folder = labels / str(number // PARTS_A_FOLDER)
    files = [folder / f"{number:05d}_{part}.png" for part in parts]
    ids = file = None
    for k, candidate in enumerate(files, 1):
        if candidate.exists():
            file, drawn = candidate, read_mask(candidate)
            ids = np.zeros(drawn.shape, np.uint8) if ids is None else ids
            if drawn.shape != ids.shape:
                raise InputError(f"{file}: another size than the other parts of this face. Fetch it again.")
            ids[drawn] = k
    if ids is None:
        raise InputError(f"{files[0]}: no such file, nor of any other part. Check `labels` and `parts` in the config.")
    return file, ids


def _caption(labels: np.ndarray, classes: tuple[str, ...]) -> str:
    """Return a caption of the classes that a labelled image shows, the largest first."""
    ids, counts = np.unique(labels[labels != UNLABELLED], return_counts=True)
    return "a photo of " + ", ".join(classes[k] for k in ids[np.argsort(-counts, kind="stable")])


def split_folder(spec: dict[str, Any]) -> dict[str, list[tuple[str, Path]]]:
    """Return the images of each split as (id, file): by lists, by a second folder, or the last ``test`` files.

    Raises:
        InputError: a folder or a list is missing, a list names what is not there or what is in the other, or too few
            images are left.
    """
    root = Path(spec["images"]).expanduser()
    files = _identified(root)
    held = []  # for the test, though it may be smaller
    if "test_images" in spec:
        test = _identified(spec["test_images"])
    elif "test_list" in spec:
        test = held = _listed(spec["test_list"], files, root)
    else:
        test = held = files[-spec["test"] :]
    apart = set(held)
    if "train_list" in spec:
        learn = _listed(spec["train_list"], files, root)
        refuse(
            [
                f"{spec['train_list']}: {name} is a test image. Remove it."
                for name, path in learn
                if (name, path) in apart
            ]
        )
    else:
        learn = [file for file in files if file not in apart]
    learn, test = learn[: spec["train"] + spec["validation"]], test[: spec["test"]]
    border = max(len(learn) - spec["validation"], 0)
    split = {"train": learn[:border], "validation": learn[border:], "test": test}
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
    """Return (id, file) of every image below a folder; ids name files themselves, so folders become ``__``."""
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
                f"{path}: its id, {identifier!r}, names files, which would have {length} bytes; {LONGEST_NAME} are the "
                "most. Shorten the names of the image or its folders."
            )
        found[identifier] = path
    refuse(faults)
    return list(found.items())


def square(
    pixels: np.ndarray, size: int, path: str | Path, spec: Mapping[str, Any] = MappingProxyType({})
) -> np.ndarray:
    """Centre-crop to a square and resize it to ``size``.

    Images (H, W, 3) are resized by antialiased bicubic interpolation, label maps (H, W) by nearest neighbour.

    Args:
        pixels: image or label map.
        size: side of the result in pixels.
        path: for messages.
        spec: the dataset: ``crop`` is the side of the square (default: the shorter side), ``stretch`` makes the whole
            image square instead, ``enlarge`` allows that it is smaller than ``size``.

    Raises:
        InputError: the image is smaller than the crop, or than the size and may not be enlarged.
    """
    height, width = pixels.shape[:2]
    side = crop_side(height, width, size, path, spec)
    if not spec.get("stretch"):
        top, left = (height - side) // 2, (width - side) // 2
        pixels = pixels[top : top + side, left : left + side]
    method = Image.Resampling.BICUBIC if pixels.ndim == 3 else Image.Resampling.NEAREST
    return np.array(Image.fromarray(pixels).resize((size, size), method))


def crop_side(height: int, width: int, size: int, path: str | Path, spec: Mapping[str, Any]) -> int:
    """Return the side of the square that ``square`` cuts out of an image of this size; its arguments and errors."""
    side = spec.get("crop") or min(height, width)
    if min(height, width) < side or (side < size and not spec.get("enlarge")):
        raise InputError(
            f"{path}: {width}x{height} pixels, but a {side}-pixel crop resized to {size} is wanted. Lower `crop` or "
            "`image_size`, remove the image, or set `enlarge: true`, where the crop itself fits."
        )
    return side
