"""The embedded set ``photos``: crops of the real colour photographs inside the scikit-image package.

A fresh machine that reaches nothing but a package index still has four natural pictures on disk. They are opened as
files, never through ``skimage.data``, which may download. Left out: the grey pictures, drawings, microscopy, the star
field (no scene), the right view of the motorcycle (its left view shows the same things) and the rocket (a JPEG, whose
pixels depend on the decoder).

Every photograph is cut by a vertical line into a training and a test part with a gap between them, so that no pixel of
a test crop, nor the interpolated neighbour of one, is ever seen in training.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

import numpy as np

from sair.files import InputError
from sair.images import pixel_sha256, read_rgb

Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = ("train", "test")
GAP = 8  # columns between the parts: demosaicing and denoising correlate close neighbours
LARGEST_ZOOM = 3.5  # longest side of a crop, in multiples of the size it is reduced to


@dataclass(frozen=True)
class Photo:
    """A photograph of the package: decoded size, the columns [first, last) of its test part, checksum of its pixels."""

    name: str
    height: int
    width: int
    test_columns: tuple[int, int]
    sha256: str

    def columns(self, split: Split) -> tuple[int, int]:
        """Half-open column range of a split; the test part touches the left or the right edge of the picture."""
        first, last = self.test_columns
        if split == "test":
            return first, last
        return (last + GAP, self.width) if first == 0 else (0, first - GAP)


PHOTOS = (
    Photo("astronaut", 512, 512, (0, 192), "a33af1c7e27259a97bc8f165d0af6b600f8aa0590f6d68d898ba044c651749cd"),
    Photo("chelsea", 300, 451, (264, 451), "a357476d8a13aff653cbb168f63fc086ec510282f03582fc92fe714a2ad2c3b9"),
    Photo("coffee", 400, 600, (400, 600), "5978e369c42658f7aaffddf1b0dc489102d3aef74002315f8f17a18b72cd03cb"),
    Photo("motorcycle_left", 500, 741, (485, 741), "038425a2d4cd5f5eaa08b7709c2cf6237c89204761d1367030896bd5e1bbd4ec"),
)


@dataclass(frozen=True)
class Crop:
    """Where a crop comes from: the square at (top, left) of ``photo``, ``side`` pixels long, mirrored if ``flip``."""

    id: str
    photo: str
    top: int
    left: int
    side: int
    flip: bool


def regions(split: Split, count: int, size: int, seed: int = 0) -> Iterator[Crop]:
    """The source squares of ``crops`` with the same arguments, in the same order, without opening a picture.

    The first n of a longer request are those of a shorter one.

    Args:
        split: ``train`` or ``test``; only training crops are mirrored.
        count: number of crops.
        size: side of the finished crops in pixels; photographs whose part is smaller are left out.
        seed: non-negative; both splits may share one.

    Raises:
        ValueError: an unknown split, a negative count, or a size that no part of this split can hold.
    """
    if split not in SPLITS:
        raise ValueError(f"split {split!r}: expected one of {', '.join(SPLITS)}")
    if count < 0 or size < 1:
        raise ValueError(f"count must be >= 0 and size >= 1, got count {count} and size {size}")
    fitting = [photo for photo in PHOTOS if _longest_side(photo, split) >= size]
    if not fitting:
        largest = max(_longest_side(photo, split) for photo in PHOTOS)
        raise ValueError(f"size {size}: the embedded photographs hold {split} crops of at most {largest} pixels")
    rng = np.random.Generator(np.random.PCG64([seed, SPLITS.index(split)]))
    # A checked function outside the generator, so that bad arguments fail at the call and not at the first crop.
    return (_draw_region(rng, fitting, split, index, size) for index in range(count))


def crops(split: Split, count: int, size: int, seed: int = 0) -> Iterator[tuple[str, np.ndarray]]:
    """Random square crops of the embedded photographs, reduced to one size.

    Args: as of ``regions``, which also tells where each crop comes from.

    Returns:
        Iterator of (id, uint8 (size, size, 3) RGB).

    Raises:
        ValueError: as of ``regions``.
        InputError: the installed scikit-image lacks a photograph or ships different pixels.
    """
    return ((crop.id, cut(crop, size)) for crop in regions(split, count, size, seed))


def cut(crop: Crop, size: int) -> np.ndarray:
    """The pixels of one crop, averaged down to uint8 (size, size, 3).

    Raises:
        InputError: the installed scikit-image lacks the photograph or ships different pixels.
    """
    square = _pixels(crop.photo)[crop.top : crop.top + crop.side, crop.left : crop.left + crop.side]
    return average_down(square[:, ::-1] if crop.flip else square, size)


def average_down(square: np.ndarray, size: int) -> np.ndarray:
    """Reduce uint8 (side, side, 3) to (size, size, 3) by the exact mean over each target pixel's area, half rounded up.

    All sums are whole numbers below 2**53, so float64 holds them exactly and no library's order of summation matters.

    Raises:
        ValueError: ``size`` is larger than the side, or the input is not square.
    """
    side = square.shape[0]
    if square.shape != (side, side, 3) or not 1 <= size <= side:
        raise ValueError(f"cannot average {square.shape} down to {size} x {size}")
    # In steps of 1 / (side * size), a source pixel is ``size`` steps long and a target pixel ``side`` steps.
    source, target = np.arange(side) * size, np.arange(size)[:, None] * side
    overlap = np.minimum(source + size, target + side) - np.maximum(source, target)
    weights = np.maximum(overlap, 0).astype(np.float64)
    sums = weights @ (weights @ square.transpose(2, 0, 1).astype(np.float64)).transpose(0, 2, 1)
    area = side * side
    rounded = (2 * sums.astype(np.int64) + area) // (2 * area)
    return np.ascontiguousarray(rounded.astype(np.uint8).transpose(2, 1, 0))


def _longest_side(photo: Photo, split: Split) -> int:
    first, last = photo.columns(split)
    return min(photo.height, last - first)


def _draw_region(rng: np.random.Generator, fitting: list[Photo], split: Split, index: int, size: int) -> Crop:
    photo = fitting[int(rng.random() * len(fitting))]
    first, last = photo.columns(split)
    longest = min(_longest_side(photo, split), int(LARGEST_ZOOM * size))
    side = size + int(rng.random() * (longest - size + 1))
    top = int(rng.random() * (photo.height - side + 1))
    left = first + int(rng.random() * (last - first - side + 1))
    flip = rng.random() < 0.5 and split == "train"
    return Crop(f"{split}-{index:05d}-{photo.name}", photo.name, top, left, side, flip)


@cache
def _pixels(name: str) -> np.ndarray:
    photo = next(photo for photo in PHOTOS if photo.name == name)
    path = str(files("skimage").joinpath("data", f"{name}.png"))
    pixels = read_rgb(path)
    if pixels.shape != (photo.height, photo.width, 3) or pixel_sha256(pixels) != photo.sha256:
        raise InputError(
            f"{path}: not the pixels that the embedded set was defined on. Install scikit-image 0.25 or 0.26."
        )
    pixels.flags.writeable = False
    return pixels
