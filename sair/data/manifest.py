"""The frozen split: finished images and masks on disk, and the tables that name each of them with its SHA-256.

    images.csv         id, split, cluster, image, sha256, labels, labels_sha256, caption
    manifest.csv         id, bucket, cluster, image, mask, hole_pixels, pixels, image_sha256, mask_sha256     (the test)
    training_masks.csv   mask, sha256

Images of one ``cluster`` (crops of a photograph, images of a person) are not independent of each other; by default each
image is its own cluster, named by its id.

Everything downstream reads these tables and checks what it opens against them. Paths are relative to the table's
folder; hashes are of the decoded pixels (``sair.common.images.pixel_sha256``), so they are the same on every machine.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from sair.common.errors import InputError, refuse
from sair.common.files import file_sha256
from sair.common.images import pixel_sha256, read_pixels
from sair.common.tabular import TEXT, read_csv

IMAGE_COLUMNS = ["id", "split", "cluster", "image", "sha256", "labels", "labels_sha256", "caption"]
MANIFEST_COLUMNS = (
    "id", "bucket", "cluster", "image", "mask", "hole_pixels", "pixels", "image_sha256", "mask_sha256",
)  # fmt: skip
MASK_COLUMNS = ["mask", "sha256"]


class ManifestRow(NamedTuple):
    """One line of the frozen list of (image, mask, bucket); ``image`` and ``mask`` are paths inside its folder."""

    id: str
    bucket: str
    cluster: str
    image: str
    mask: str
    hole_pixels: int
    pixels: int
    image_sha256: str
    mask_sha256: str

    @property
    def prediction(self) -> str:
        """Where a method's image lies inside ``composited/`` and ``raw/``."""
        return f"{self.bucket}/{self.id}.png"


def read_manifest(path: str | Path) -> list[ManifestRow]:
    """Read a manifest's rows in order; in one without the column ``cluster`` each image is its own.

    Raises:
        InputError: it is missing, empty or no such table; a row is double, holds no counts, or names a path outside.
    """
    path = Path(path)
    try:
        with open(path, encoding="utf-8-sig", newline="") as stream:
            table = list(csv.DictReader(stream, strict=True))
    except FileNotFoundError:
        raise InputError(f"{path}: no such manifest. Make it first, or correct the path.") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a readable CSV file ({error}). Make the manifest again.") from None
    if not table:
        raise InputError(f"{path}: a manifest without rows. Make it again.")
    for record in table:
        record.setdefault("cluster", record.get("id"))
    missing = [column for column in MANIFEST_COLUMNS if column not in table[0]]
    if missing:
        raise InputError(f"{path}: lacks the columns {', '.join(missing)}; expected {', '.join(MANIFEST_COLUMNS)}.")
    rows = [_manifest_row(path, line, record) for line, record in enumerate(table, 2)]
    names = [row.prediction for row in rows]
    double = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    refuse([f"{path}: two rows for {name}; expected one per id and bucket. Make it again." for name in double])
    cluster_of = {row.id: row.cluster for row in rows}
    torn = sorted({row.id for row in rows if row.cluster != cluster_of[row.id]})
    refuse([f"{path}: the image {name} is in two clusters. Make the manifest again." for name in torn])
    return rows


def shard_of(rows: Sequence[ManifestRow], shard: str | None) -> list[ManifestRow]:
    """The rows of one shard, ``2-of-8``; an image's rows stay together. None is the whole manifest."""
    if shard is None:
        return list(rows)
    number, count = map(int, shard.split("-of-"))
    names = list(dict.fromkeys(row.id for row in rows))
    mine = set(names[(number - 1) * len(names) // count : number * len(names) // count])
    return [row for row in rows if row.id in mine]


def _manifest_row(path: Path, line: int, record: dict[str, str | None]) -> ManifestRow:
    values = [record[column] for column in MANIFEST_COLUMNS]
    if None in values:
        raise InputError(f"{path}, line {line}: fewer cells than columns. Make the manifest again.")
    row = ManifestRow(*values)
    if not row.cluster:
        raise InputError(f"{path}, line {line}: no cluster. Make the manifest again, or write the image's id there.")
    for part in (row.prediction, row.image, row.mask):
        if not part or Path(part).is_absolute() or ".." in Path(part).parts:
            raise InputError(f"{path}, line {line}: {part!r} is no path inside the folder. Make the manifest again.")
    try:
        row = row._replace(hole_pixels=int(row.hole_pixels), pixels=int(row.pixels))
    except ValueError:
        raise InputError(f"{path}, line {line}: hole_pixels and pixels must be whole numbers.") from None
    if not 0 < row.hole_pixels <= row.pixels:
        raise InputError(
            f"{path}, line {line}: {row.hole_pixels} hole pixels of {row.pixels}; expected at least one and at most "
            "all. Make the manifest again."
        )
    return row


def read_table(path: str | Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read one of the tables above.

    Raises:
        InputError: the table is missing or has other columns.
    """
    return read_csv(path, dict.fromkeys(columns, TEXT), remedy="Delete it, if it is there, and run snakemake again.")


def manifest_hash(path: str | Path) -> str:
    """The manifest's identity: the SHA-256 of the table, which itself holds the hash of every image and mask."""
    return file_sha256(path)


class FrozenPair(NamedTuple):
    """A test image and one of its masks, as they were frozen.

    ground_truth: uint8 RGB (H, W, 3).
    hole: bool (H, W), True = hole; at least one pixel.
    """

    ground_truth: np.ndarray
    hole: np.ndarray

    @property
    def masked(self) -> np.ndarray:
        """Return the ground truth with hole pixels set to zero, uint8 (H, W, 3): all that a method may see."""
        return np.where(self.hole[..., None], np.uint8(0), self.ground_truth)


def read_pair(row: ManifestRow, folder: str | Path) -> FrozenPair:
    """Read the ground truth and the hole of a manifest's row, checked against the row.

    Args:
        row: one line of the manifest.
        folder: the manifest's folder.

    Raises:
        InputError: a file is missing or is not what was frozen, or the two have different sizes.
    """
    image_path, mask_path = Path(folder) / row.image, Path(folder) / row.mask
    ground_truth = checked_rgb(image_path, row.image_sha256)
    hole = checked_mask(mask_path, row.mask_sha256)
    if hole.shape != ground_truth.shape[:2]:
        sizes = " and ".join(f"{width}x{height}" for height, width in (hole.shape, ground_truth.shape[:2]))
        raise InputError(f"{mask_path} and {image_path}: {sizes} pixels; expected one size. Make the manifest again.")
    if (int(hole.sum()), hole.size) != (row.hole_pixels, row.pixels):
        raise InputError(
            f"{mask_path}: {int(hole.sum())} of {hole.size} pixels are holes, but the manifest says {row.hole_pixels} "
            f"of {row.pixels}. Make the manifest again."
        )
    return FrozenPair(ground_truth, hole)


def checked_rgb(path: Path, sha256: str) -> np.ndarray:
    """Read an image, uint8 (H, W, 3), that a table names.

    Raises:
        InputError: it is not the image that was frozen.
    """
    return _checked(read_pixels(path), path, sha256)


def checked_mask(path: Path, sha256: str) -> np.ndarray:
    """Read a mask, bool (H, W), that a table names; errors as of ``checked_rgb``."""
    return _checked(read_pixels(path) > 0, path, sha256)


def checked_labels(path: Path, sha256: str) -> np.ndarray:
    """Read a label map, uint8 (H, W), that a table names; errors as of ``checked_rgb``."""
    return _checked(read_pixels(path), path, sha256)


def _checked(pixels: np.ndarray, path: Path, sha256: str) -> np.ndarray:
    if pixel_sha256(pixels) != sha256:
        raise InputError(
            f"{path}: its pixels changed since the split was frozen (expected SHA-256 {sha256[:12]}...). Restore the "
            "file, or delete the dataset's results folder to freeze a new split."
        )
    return pixels
