"""Cut the embedded set ``photos``: crops of the photographs inside the scikit-image package.

The installed package contains eleven natural images, so no download is needed. They are opened as files, never through
``skimage.data``, which may download. These images of the package are not used: drawings, microscopy, the star field and
the pulsar (no scene), the scanned page, the right view of the motorcycle (it shows the same things as the left view),
and the rocket and the retina (JPEGs, whose pixels depend on the decoder).

Each photograph is in one split only, except that validation crops come from the right end of the training photographs,
behind a gap. Neither test crops nor validation crops overlap, so no pixel is counted twice; training crops are drawn
at random and may overlap. Crops of one photograph are similar, so the photograph is their cluster.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import chain, zip_longest
from typing import Literal

import numpy as np

from sair.common.errors import InputError
from sair.common.images import pixel_sha256, read_rgb

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
GAP = 8  # columns between training and validation, because demosaicing and denoising correlate close pixels
LARGEST_ZOOM = 3.5  # longest side of a training crop, as a multiple of the size it is reduced to
LARGEST_TILE = 2  # the same for validation and test crops, which must not overlap


@dataclass(frozen=True)
class Photo:
    """A photograph of the package: size, SHA-256 of its pixels, and the number of columns kept for validation.

    A photograph without validation columns is a test photograph.
    """

    name: str
    height: int
    width: int
    sha256: str
    validation: int = 0

    def columns(self, split: Split) -> tuple[int, int]:
        """Return the half-open range of columns of a split; empty if the photograph is not part of it."""
        border = self.width - self.validation
        ranges = {"train": (0, border - GAP), "validation": (border, self.width)}
        if not self.validation:
            ranges = {"test": (0, self.width)}
        return ranges.get(split, (0, 0))


PHOTOS = (
    Photo("astronaut", 512, 512, "a33af1c7e27259a97bc8f165d0af6b600f8aa0590f6d68d898ba044c651749cd", 160),
    Photo("motorcycle_left", 500, 741, "038425a2d4cd5f5eaa08b7709c2cf6237c89204761d1367030896bd5e1bbd4ec", 256),
    Photo("grass", 512, 512, "81fa70b6a19c7250aa2a7f263067bdb8d28475081d497a0fbbef0102c92b229f", 160),
    Photo("moon", 512, 512, "381f0bdc5bd5e8cd35995ab72c7248d57cb5ccd58f43f75aff5a7021c568bde8", 160),
    Photo("brick", 512, 512, "b408ac8c3ad62110683af8733013214fb4bb0a32662e1a210ca8d69b623e3396"),
    Photo("camera", 512, 512, "695e0446eb9bb820026ad36165585f2dc1121f68022e24d26e3c1412bb814742"),
    Photo("chelsea", 300, 451, "a357476d8a13aff653cbb168f63fc086ec510282f03582fc92fe714a2ad2c3b9"),
    Photo("coffee", 400, 600, "5978e369c42658f7aaffddf1b0dc489102d3aef74002315f8f17a18b72cd03cb"),
    Photo("coins", 303, 384, "b7d25346c348ca6b9ecee0df53fd4c41534d271a85f6db4752871c119925fa76"),
    Photo("gravel", 512, 512, "067ad701afc269fa2eb910989e2afc940bc49471b379965a3427a5a17fd4d659"),
    Photo("text", 172, 448, "1dcbdf1c273c855872b6b5d8eee51e2a566b73ea12c0ea253ead218eed9cdc3d"),
)


@dataclass(frozen=True)
class Crop:
    """The source of a crop: the square of ``side`` pixels at (top, left) of ``photo``, mirrored if ``flip``."""

    id: str
    photo: str
    top: int
    left: int
    side: int
    flip: bool


def regions(split: Split, count: int, size: int, seed: int = 0) -> Iterator[Crop]:
    """Return the source squares of ``crops`` with the same arguments, in the same order, without opening a photograph.

    A longer request begins with the crops of a shorter one.

    Args:
        split: ``train``, ``validation`` or ``test``. Only training crops are mirrored, and only they may overlap.
        count: number of crops.
        size: side of the resulting crops in pixels; photographs whose part is smaller are not used.
        seed: non-negative; all splits may use the same.

    Raises:
        ValueError: the split is unknown, the count negative or the size below 1.
        InputError: fewer crops fit, or the size is larger than every photograph of this split.
    """
    if split not in SPLITS:
        raise ValueError(f"split {split!r}: expected one of {', '.join(SPLITS)}")
    if count < 0 or size < 1:
        raise ValueError(f"count must be >= 0 and size >= 1, got count {count} and size {size}")
    rng = np.random.Generator(np.random.PCG64([seed, SPLITS.index(split)]))
    fitting = [photo for photo in PHOTOS if _longest_side(photo, split) >= size]
    if count and not fitting:
        largest = max(_longest_side(photo, split) for photo in PHOTOS)
        raise InputError(
            f"photos: `image_size: {size}`, but {split} crops of the embedded photographs have {largest} pixels at "
            "most. Lower `image_size`, or use another dataset."
        )
    # Check outside the generators, so that wrong arguments fail at the call and not at the first crop.
    if split == "train":
        return (_draw_region(rng, fitting, index, size) for index in range(count))
    tiles = _spread([_tiles(rng, photo, split, size) for photo in fitting])
    if count > len(tiles):
        raise InputError(
            f"photos: `{split}: {count}`, but only {len(tiles)} {split} crops of {size} pixels fit without overlap. "
            f"Lower `{split}` to {len(tiles)} or less, or lower `image_size`."
        )
    return (
        Crop(f"{split}-{index:05d}-{name}", name, top, left, side, False)
        for index, (name, top, left, side) in enumerate(tiles[:count])
    )


def crops(split: Split, count: int, size: int, seed: int = 0) -> Iterator[tuple[str, np.ndarray]]:
    """Return square crops of the embedded photographs, reduced to one size.

    Args:
        split, count, size, seed: same as in ``regions``, which returns where each crop comes from.

    Returns:
        Iterator of (id, uint8 (size, size, 3) RGB).

    Raises:
        ValueError: same as in ``regions``.
        InputError: the installed scikit-image lacks a photograph or ships different pixels.
    """
    return ((crop.id, cut(crop, size)) for crop in regions(split, count, size, seed))


def cut(crop: Crop, size: int) -> np.ndarray:
    """Return the pixels of one crop, averaged down to uint8 (size, size, 3).

    Raises:
        InputError: the installed scikit-image lacks the photograph or ships different pixels.
    """
    square = _pixels(crop.photo)[crop.top : crop.top + crop.side, crop.left : crop.left + crop.side]
    return average_down(square[:, ::-1] if crop.flip else square, size)


def average_down(square: np.ndarray, size: int) -> np.ndarray:
    """Reduce uint8 (side, side, 3) to (size, size, 3) by the exact mean over each target pixel's area, half rounded up.

    Only integers are used, so the result does not depend on the order of summation, and no threads are started.

    Raises:
        ValueError: ``size`` is larger than the side, or the input is not square.
    """
    side = square.shape[0]
    if square.shape != (side, side, 3) or not 1 <= size <= side:
        raise ValueError(f"cannot average {square.shape} down to {size} x {size}")
    sums = _integrate(square.astype(np.int64), size)
    sums = _integrate(sums.transpose(1, 0, 2), size).transpose(1, 0, 2)
    area = side * side
    return ((2 * sums + area) // (2 * area)).astype(np.uint8)


def _integrate(values: np.ndarray, size: int) -> np.ndarray:
    """Sum (side, ...) over each of ``size`` equal intervals of the first axis, in units of 1 / (side * size)."""
    # In these units a source value is ``size`` long and an interval ``side``.
    whole, rest = np.divmod(np.arange(size + 1) * len(values), size)
    nothing = np.zeros_like(values[:1])
    before = np.concatenate([nothing, values.cumsum(axis=0)])
    rest = rest.reshape(-1, *[1] * (values.ndim - 1))
    return np.diff(size * before[whole] + rest * np.concatenate([values, nothing])[whole], axis=0)


def _longest_side(photo: Photo, split: Split) -> int:
    first, last = photo.columns(split)
    return min(photo.height, last - first)


def _draw_region(rng: np.random.Generator, fitting: list[Photo], index: int, size: int) -> Crop:
    """Draw a random training crop; it may overlap with others."""
    photo = fitting[int(rng.random() * len(fitting))]
    first, last = photo.columns("train")
    side = size + int(rng.random() * (_largest(photo, "train", size, LARGEST_ZOOM) - size + 1))
    top = int(rng.random() * (photo.height - side + 1))
    left = first + int(rng.random() * (last - first - side + 1))
    return Crop(f"train-{index:05d}-{photo.name}", photo.name, top, left, side, rng.random() < 0.5)


def _largest(photo: Photo, split: Split, size: int, zoom: float) -> int:
    return min(_longest_side(photo, split), int(zoom * size))


def _tiles(rng: np.random.Generator, photo: Photo, split: Split, size: int) -> list[tuple[str, int, int, int]]:
    """Return the crops (name, top, left, side) that a part of a photograph is cut into, in random order.

    Rows of random height are cut into squares; unused rows and columns become gaps between them.
    """
    first, last = photo.columns(split)
    sides, free = [], photo.height
    while free >= size:
        sides.append(size + int(rng.random() * (min(free, _largest(photo, split, size, LARGEST_TILE)) - size + 1)))
        free -= sides[-1]
    tiles, below = [], 0
    for row, side in enumerate(sides):
        top = below + free * (row + 1) // len(sides) - free * row // len(sides)
        below = top + side
        columns = (last - first) // side
        spare = (last - first) - columns * side
        lefts = (first + column * side + spare * (2 * column + 1) // (2 * columns) for column in range(columns))
        tiles += [(photo.name, top, left, side) for left in lefts]
    order = np.argsort([rng.random() for _ in tiles], kind="stable")
    return [tiles[place] for place in order]


def _spread(parts: list[list[tuple[str, int, int, int]]]) -> list[tuple[str, int, int, int]]:
    """Return the tiles of all photographs in turn, so that the first ones come from all photographs."""
    return [tile for tile in chain.from_iterable(zip_longest(*parts)) if tile is not None]


@cache
def _pixels(name: str) -> np.ndarray:
    photo = next(photo for photo in PHOTOS if photo.name == name)
    path = str(files("skimage").joinpath("data", f"{name}.png"))
    pixels = read_rgb(path)
    if pixels.shape != (photo.height, photo.width, 3) or pixel_sha256(pixels) != photo.sha256:
        raise InputError(
            f"{path}: not the pixels that the embedded set is defined by. Install scikit-image 0.25 or 0.26."
        )
    pixels.flags.writeable = False
    return pixels
