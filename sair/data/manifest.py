"""The frozen split: finished pictures and masks on disk, and the tables that name each of them with its SHA-256.

    pictures.csv         id, split, image, sha256, labels, labels_sha256, caption
    manifest.csv         id, bucket, image, mask, hole_pixels, pixels, image_sha256, mask_sha256     (the test)
    training_masks.csv   mask, sha256

Everything downstream reads these tables and checks what it opens against them. Paths are relative to the table's
folder; hashes are of the decoded pixels (``sair.files.pixel_sha256``), so they are the same on every machine.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from sair.data.buckets import as_buckets
from sair.data.masks import MaskSet
from sair.data.sources import pictures
from sair.files import (
    InputError,
    atomic,
    file_sha256,
    pixel_sha256,
    read_pixels,
    read_rgb,
    refuse,
    write_png,
)
from sair.progress import progress

PICTURE_COLUMNS = ["id", "split", "image", "sha256", "labels", "labels_sha256", "caption"]
MANIFEST_COLUMNS = ("id", "bucket", "image", "mask", "hole_pixels", "pixels", "image_sha256", "mask_sha256")
MASK_COLUMNS = ["mask", "sha256"]


def write_pictures(dataset: dict[str, Any], size: int, table: str | Path) -> None:
    """Finish every picture of an image set as PNG beside ``table``, and write ``table``.

    Raises:
        InputError: an unreadable or too small picture; a test picture that is also a training picture.
    """
    folder = Path(table).parent
    rows = []
    total = dataset["train"] + dataset["validation"] + dataset["test"]
    for picture in progress(pictures(dataset, size), total=total, desc="pictures", unit="picture"):
        image = f"images/{picture.split}/{picture.id}.png"
        write_png(folder / image, picture.pixels)
        row = [picture.id, picture.split, image, pixel_sha256(picture.pixels), "", "", picture.caption]
        if picture.labels is not None:
            row[4:6] = f"labels/{picture.split}/{picture.id}.png", pixel_sha256(picture.labels)
            write_png(folder / row[4], picture.labels)
        rows.append(row)
    frame = pd.DataFrame(rows, columns=PICTURE_COLUMNS)
    _refuse_leaks(frame)
    write_csv(frame, table)


def _refuse_leaks(frame: pd.DataFrame) -> None:
    seen = frame[frame.split == "train"].drop_duplicates("sha256").set_index("sha256")["id"]
    test = frame[(frame.split == "test") & frame.sha256.isin(seen.index)]
    if len(test):
        pairs = ", ".join(f"{row.id} = {seen[row.sha256]}" for row in test.head(5).itertuples())
        raise InputError(f"{len(test)} test pictures are also training pictures (test = train: {pairs}). Remove them.")


def write_manifest(
    pictures_table: str | Path,
    masks: dict[str, Any],
    buckets: Sequence[tuple[int, int]],
    manifest: str | Path,
    training_masks: str | Path,
) -> None:
    """Pair every test picture with one mask of every bucket, and freeze the pairs and the training masks.

    Args:
        pictures_table: what ``write_pictures`` wrote; the other tables go beside it.
        masks: a mask set of the config.
        buckets: half-open intervals of hole ratio in percent.
        manifest, training_masks: the tables to write.
    """
    folder = Path(manifest).parent
    test = read_table(pictures_table, PICTURE_COLUMNS).query("split == 'test'")
    size = read_rgb(folder / test.image.iloc[0]).shape[0]
    mask_set = MaskSet(masks, size, as_buckets(buckets), len(test))
    rows = []
    for bucket in as_buckets(buckets):
        for picture, mask in zip(test.itertuples(), mask_set.test(bucket), strict=True):
            name = f"masks/test/{bucket.label}/{picture.id}.png"
            write_png(folder / name, mask.astype(np.uint8) * 255)
            row = [picture.id, bucket.label, picture.image, name, int(mask.sum()), mask.size, picture.sha256]
            rows.append([*row, pixel_sha256(mask)])
    learn = []
    for number, mask in enumerate(progress(mask_set.training(), desc="training masks", unit="mask")):
        name = f"masks/train/{number:05d}.png"
        write_png(folder / name, mask.astype(np.uint8) * 255)
        learn.append([name, pixel_sha256(mask)])
    write_csv(pd.DataFrame(learn, columns=MASK_COLUMNS), training_masks)
    write_csv(pd.DataFrame(rows, columns=MANIFEST_COLUMNS), manifest)


class ManifestRow(NamedTuple):
    """One line of the frozen list of (image, mask, bucket); ``image`` and ``mask`` are paths inside its folder."""

    id: str
    bucket: str
    image: str
    mask: str
    hole_pixels: int
    pixels: int
    image_sha256: str
    mask_sha256: str

    @property
    def prediction(self) -> str:
        """Where a method's picture lies inside ``composited/`` and ``raw/``."""
        return f"{self.bucket}/{self.id}.png"


def read_manifest(path: str | Path) -> list[ManifestRow]:
    """Read a manifest's rows in order.

    Raises:
        InputError: it is missing, empty or no such table; a row is double, holds no counts, or names a path outside.
    """
    path = Path(path)
    try:
        with open(path, encoding="utf-8", newline="") as stream:
            table = list(csv.DictReader(stream, strict=True))
    except FileNotFoundError:
        raise InputError(f"{path}: no such manifest. Make it first, or correct the path.") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a readable CSV file ({error}). Make the manifest again.") from None
    if not table:
        raise InputError(f"{path}: a manifest without rows. Make it again.")
    missing = [column for column in MANIFEST_COLUMNS if column not in table[0]]
    if missing:
        raise InputError(f"{path}: lacks the columns {', '.join(missing)}; expected {', '.join(MANIFEST_COLUMNS)}.")
    rows = [_manifest_row(path, line, record) for line, record in enumerate(table, 2)]
    names = [row.prediction for row in rows]
    double = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    refuse([f"{path}: two rows for {name}; expected one per id and bucket. Make it again." for name in double])
    return rows


def shard_of(rows: Sequence[ManifestRow], shard: str | None) -> list[ManifestRow]:
    """The rows of one shard, ``2-of-8``; a picture's rows stay together. None is the whole manifest."""
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
    for part in (row.prediction, row.image, row.mask):
        if not part or Path(part).is_absolute() or ".." in Path(part).parts:
            raise InputError(f"{path}, line {line}: {part!r} is no path inside the folder. Make the manifest again.")
    try:
        return row._replace(hole_pixels=int(row.hole_pixels), pixels=int(row.pixels))
    except ValueError:
        raise InputError(f"{path}, line {line}: hole_pixels and pixels must be whole numbers.") from None


def write_csv(frame: pd.DataFrame, path: str | Path) -> None:
    """Write a table atomically; floats keep every digit, so equal numbers are equal bytes."""
    with atomic(path) as temporary:
        frame.to_csv(temporary, index=False, lineterminator="\n")


def read_table(path: str | Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read one of the tables above.

    Raises:
        InputError: the table is missing or has other columns.
    """
    try:
        frame = pd.read_csv(path, keep_default_na=False, dtype={"id": str})
    except FileNotFoundError:
        raise InputError(f"{path}: no such table. It is made by the workflow: run snakemake first.") from None
    if list(frame.columns) != list(columns):
        raise InputError(f"{path}: columns {list(frame.columns)}, expected {list(columns)}. Delete it and run again.")
    return frame


def manifest_hash(path: str | Path) -> str:
    """The manifest's identity: the SHA-256 of the table, which itself holds the hash of every picture and mask."""
    return file_sha256(path)


def checked_rgb(path: Path, sha256: str) -> np.ndarray:
    """Read a picture, uint8 (H, W, 3), that a table names.

    Raises:
        InputError: it is not the picture that was frozen.
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
