"""Read a frozen split: images and masks on disk, and the tables that list each of them with its SHA-256.

    images.csv         id, split, cluster, image, sha256, labels, labels_sha256, caption
    manifest.csv         id, bucket, cluster, image, mask, hole_pixels, pixels, image_sha256, mask_sha256     (the test)
    training_masks.csv   mask, sha256

Images of one ``cluster`` (crops of a photograph, images of a person) are not independent of each other; by default each
image is its own cluster, named by its id.

Later steps read these tables and check every file that they open against them. Paths are relative to the folder of the
table. Hashes are of the decoded pixels (``sair.common.images.pixel_sha256``), so they are equal on every machine.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

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
    """One row of manifest.csv: a test image, one of its masks and the bucket.

    ``image`` and ``mask`` are paths relative to the folder of the manifest; the hashes are of decoded pixels.
    """

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
        """Return the path of a method's image inside ``composited/`` and ``raw/``."""
        return f"{self.bucket}/{self.id}.png"


def read_manifest(path: str | Path) -> list[ManifestRow]:
    """Read the rows of a manifest in order. Without the column ``cluster``, each image is its own cluster.

    Raises:
        InputError: the manifest is missing, empty or another table; two rows have the same id and bucket; an image
            is in two clusters; or a row has impossible counts or a path outside the folder.
    """
    path = Path(path)
    try:
        with open(path, encoding="utf-8-sig", newline="") as stream:
            table = list(csv.DictReader(stream, strict=True))
    except FileNotFoundError:
        raise InputError(f"{path}: no such manifest. Run the workflow to create it, or correct the path.") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a readable CSV file ({error}). Make the manifest again.") from None
    if not table:
        raise InputError(f"{path}: a manifest without rows. Make it again.")
    for record in table:
        record.setdefault("cluster", record.get("id"))
    missing = [column for column in MANIFEST_COLUMNS if column not in table[0]]
    if missing:
        raise InputError(
            f"{path}: lacks the columns {', '.join(missing)}; expected {', '.join(MANIFEST_COLUMNS)}. Make it again."
        )
    rows = [_manifest_row(path, line, record) for line, record in enumerate(table, 2)]
    names = [row.prediction for row in rows]
    double = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    refuse([f"{path}: two rows for {name}; expected one per id and bucket. Make it again." for name in double])
    cluster_of = {row.id: row.cluster for row in rows}
    torn = sorted({row.id for row in rows if row.cluster != cluster_of[row.id]})
    refuse([f"{path}: the image {name} is in two clusters. Make the manifest again." for name in torn])
    return rows


def shard_of(rows: Sequence[ManifestRow], shard: str | None) -> list[ManifestRow]:
    """Return the rows of one shard; all rows of an image are in the same shard.

    Args:
        rows: the rows of a manifest.
        shard: for example ``2-of-8``; None for all rows.
    """
    if shard is None:
        return list(rows)
    number, count = map(int, shard.split("-of-"))
    names = list(dict.fromkeys(row.id for row in rows))
    mine = set(names[(number - 1) * len(names) // count : number * len(names) // count])
    return [row for row in rows if row.id in mine]


def _manifest_row(path: Path, line: int, record: dict[str, str | None]) -> ManifestRow:
    values: dict[str, Any] = {column: record[column] for column in MANIFEST_COLUMNS}
    if None in values.values():
        raise InputError(f"{path}, line {line}: fewer cells than columns. Make the manifest again.")
    if not values["cluster"]:
        raise InputError(f"{path}, line {line}: no cluster. Make the manifest again, or write the image's id there.")
    try:
        row = ManifestRow(**values | {column: int(values[column]) for column in ("hole_pixels", "pixels")})
    except ValueError:
        raise InputError(
            f"{path}, line {line}: hole_pixels and pixels must be whole numbers. Make the manifest again."
        ) from None
    for part in (row.prediction, row.image, row.mask):
        if not part or Path(part).is_absolute() or ".." in Path(part).parts:
            raise InputError(f"{path}, line {line}: {part!r} is not a path inside the folder. Make the manifest again.")
    if not 0 < row.hole_pixels <= row.pixels:
        raise InputError(
            f"{path}, line {line}: {row.hole_pixels} hole pixels of {row.pixels}; expected at least one and at most "
            "all. Make the manifest again."
        )
    return row


def read_table(path: str | Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read a table with exactly these columns, all as text, for example ``IMAGE_COLUMNS``.

    Raises:
        InputError: the table is missing or lacks a column.
    """
    return read_csv(path, dict.fromkeys(columns, TEXT), remedy="Delete it, if it exists, and run snakemake again.")


def read_captions(path: str | Path) -> dict[str, str]:
    """Return the caption of every image of an images.csv by the image's path; "" where it has none.

    Raises:
        InputError: the file is missing or is no such table.
    """
    table = read_table(path, IMAGE_COLUMNS)
    return dict(zip(table.image, table.caption, strict=True))


def manifest_hash(path: str | Path) -> str:
    """Return the SHA-256 of a manifest; it covers all images and masks, as the table contains their hashes."""
    return file_sha256(path)


class FrozenPair(NamedTuple):
    """A test image and one of its masks, as they were frozen.

    Attributes:
        ground_truth: uint8 RGB (H, W, 3).
        hole: bool (H, W), True = hole; at least one pixel.
    """

    ground_truth: np.ndarray
    hole: np.ndarray

    @property
    def masked(self) -> np.ndarray:
        """Return the ground truth with hole pixels set to zero, uint8 (H, W, 3): the input of a method."""
        return np.where(self.hole[..., None], np.uint8(0), self.ground_truth)


def read_pair(row: ManifestRow, folder: str | Path) -> FrozenPair:
    """Read the ground truth and the hole of a manifest's row, checked against the row.

    Args:
        row: one line of the manifest.
        folder: the manifest's folder.

    Raises:
        InputError: a file is missing or has changed since it was frozen, or the two have different sizes.
    """
    image_path, mask_path = Path(folder) / row.image, Path(folder) / row.mask
    ground_truth = checked_rgb(image_path, row.image_sha256)
    hole = checked_mask(mask_path, row.mask_sha256)
    if hole.shape != ground_truth.shape[:2]:
        sizes = " and ".join(f"{width}x{height}" for height, width in (hole.shape, ground_truth.shape[:2]))
        raise InputError(f"{mask_path} and {image_path}: {sizes} pixels; expected one size. Make the manifest again.")
    if (int(hole.sum()), hole.size) != (row.hole_pixels, row.pixels):
        raise InputError(
            f"{mask_path}: {int(hole.sum())} of {hole.size} pixels are holes, but the manifest has {row.hole_pixels} "
            f"of {row.pixels}. Make the manifest again."
        )
    return FrozenPair(ground_truth, hole)


def checked_rgb(path: Path, sha256: str) -> np.ndarray:
    """Read an image of a table, uint8 (H, W, 3).

    Args:
        path: the image.
        sha256: the hash in the table.

    Raises:
        InputError: the image is missing or has changed since it was frozen.
    """
    return _checked(read_pixels(path), path, sha256)


def checked_mask(path: Path, sha256: str) -> np.ndarray:
    """Read a mask of a table, bool (H, W); arguments and errors: same as in ``checked_rgb``."""
    return _checked(read_pixels(path) > 0, path, sha256)


def checked_labels(path: Path, sha256: str) -> np.ndarray:
    """Read a label map of a table, uint8 (H, W); arguments and errors: same as in ``checked_rgb``."""
    return _checked(read_pixels(path), path, sha256)


def _checked(pixels: np.ndarray, path: Path, sha256: str) -> np.ndarray:
    if pixel_sha256(pixels) != sha256:
        raise InputError(
            f"{path}: its pixels have changed since the split was frozen (expected SHA-256 {sha256[:12]}...). Restore "
            "the file, or delete the dataset's results folder to freeze a new split."
        )
    return pixels
