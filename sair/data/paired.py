"""Read masks that belong to certain images: a mask with the name of each test image, or one mask for all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sair.common.errors import InputError, refuse
from sair.common.images import read_mask, read_rgb
from sair.common.listing import images_by_id
from sair.data.buckets import Bucket, bucket_of
from sair.data.cropping import square
from sair.data.shrinking import NEAREST, shrink
from sair.data.sources import split_folder


class PairedMasks:
    """The masks of the test images, each cropped and resized as its image is. There are no training masks.

    Args:
        spec: a mask set of the config with ``source: paired``.
        size: side of the finished square masks in pixels.
        buckets: hole-ratio intervals; every mask must be in the only one.
        ids: ids of the test images, in the manifest's order.

    Raises:
        InputError: more than one bucket, or an image without a mask.
    """

    def __init__(self, spec: Mapping[str, Any], size: int, buckets: Sequence[Bucket], ids: Sequence[str]) -> None:
        self.size, self.hole, self.buckets = size, spec["hole"], buckets
        self.rule = spec.get("shrink", NEAREST)
        self.files = mask_files(spec["path"], ids)

    @property
    def labels(self) -> list[str]:
        """Return the label of the only bucket."""
        return [bucket.label for bucket in self.buckets]

    def test(self, label: str) -> Iterator[np.ndarray]:
        """Yield the masks of the test images, bool (size, size), True = hole.

        Raises:
            InputError: a mask cannot be read, has no hole, or hides more than the bucket allows.
        """
        for path in self.files:
            mask = read_mask(path, self.hole)
            cropped = square(mask.astype(np.uint8), min(mask.shape), path) > 0
            small = shrink(cropped, self.size, self.rule)
            hole = int(small.sum())
            if hole == 0 or bucket_of(hole, small.size, self.buckets) != label:
                raise InputError(
                    f"{path}: {hole} of {small.size} pixels are a hole after it was cropped and resized like its "
                    f"image; expected at least one, and {label} % of the image. Check `hole`, or leave the "
                    "image out."
                )
            yield small

    def training(self) -> Iterator[np.ndarray]:
        """Yield nothing: a method is not trained on these masks."""
        return iter(())


def mask_files(path: str | Path, ids: Sequence[str]) -> list[Path]:
    """Return the mask of each image.

    Args:
        path: a folder with masks of the images' names, searched recursively, or a file that is the mask of all images.
        ids: ids of the images; ``/`` may be written as ``__``.

    Raises:
        InputError: there is no such file or folder, or an image has no mask in it.
    """
    path = Path(path).expanduser()
    if path.is_file():
        return [path] * len(ids)
    found = {name.replace("/", "__"): file for name, file in images_by_id(path).items()}
    refuse([f"{path}: no mask for the image {name}. Give it the image's name." for name in ids if name not in found])
    return [found[name] for name in ids]


def size_fault(mask: Path, hole: tuple[int, ...], image: Path, shape: tuple[int, ...], is_only: bool) -> str:
    """Return the message on a mask that has another size than its image.

    Args:
        mask, hole: the mask, and its height and width.
        image, shape: the image, and its height and width.
        is_only: whether it is the mask of all images.
    """
    remedy = (
        "One mask for all images needs images of its size: give a folder with a mask of each image's name and size, or "
        "a folder of square masks that are drawn for images of any size (`source: folder`; `sair evaluate --draw`)."
        if is_only
        else "Resize the mask to its image with nearest neighbour."
    )
    return f"{mask}: {hole[1]}x{hole[0]} pixels, but {image} has {shape[1]}x{shape[0]}. {remedy}"


def check_pairs(dataset: Mapping[str, Any], masks: Mapping[str, Any]) -> str:
    """Check that each test image has a mask of its size, and describe what was found.

    Args:
        dataset: a dataset of the config with ``source: folder``.
        masks: its mask set, with ``source: paired``.

    Raises:
        InputError: an image has no mask, or one of another size.
    """
    images = split_folder(dict(dataset))["test"]
    files = mask_files(masks["path"], [name for name, _ in images])
    ratios, faults = [], []
    for (_, image), file in zip(images, files, strict=True):
        hole, shape = read_mask(file, masks["hole"]), read_rgb(image).shape[:2]
        if hole.shape != shape:
            faults.append(size_fault(file, hole.shape, image, shape, Path(masks["path"]).expanduser().is_file()))
        ratios.append(float(hole.mean()))
    refuse(faults)
    return (
        f"each of the {len(images)} test images has a mask of its size; the holes cover {np.mean(ratios):.0%} of them"
    )
