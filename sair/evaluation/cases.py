"""Verify a method's predictions of a manifest before anything is computed from them.

Every file is read once. All faults are refused in one message, and nothing is computed after the first one.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from sair.common.errors import InputError, refuse
from sair.common.images import read_rgb
from sair.common.listing import find, list_images, normal, some_of
from sair.data.manifest import ManifestRow, read_manifest, read_pair, shard_of
from sair.evaluation.checks import large_enough, same_size

KINDS = ("composited", "raw")
COMPOSITE = "Composite in 8 bits, with the mask's 255 as the hole, and save as PNG."
SAME_SIZE = "write predictions at the size of their ground truth"


class Case(NamedTuple):
    """The verified images of one manifest row: uint8 (H, W, 3), and the hole, bool (H, W)."""

    ground_truth: np.ndarray
    hole: np.ndarray
    composited: np.ndarray
    raw: np.ndarray


def open_cases(
    manifest_csv: str | Path, predictions_dir: str | Path, smallest: int, shard: str | None = None
) -> tuple[list[ManifestRow], Callable[[ManifestRow], Case]]:
    """Read a manifest, and check that the predictions are those of its rows.

    Args:
        manifest_csv: the manifest; the paths of images and masks are relative to its folder.
        predictions_dir: contains ``composited/<bucket>/<id>.png`` and ``raw/<bucket>/<id>.png``, 8-bit RGB.
        smallest: shortest side in pixels that the metrics need.
        shard: ``2-of-8`` for that part of the manifest only.

    Returns:
        The rows, and the function that loads the images of one of them. It raises ``InputError`` for a ground truth or
        mask that is not the manifest's, an unreadable prediction, one of another size, a composited image whose known
        pixels are not the ground truth's bytes or whose hole pixels are not the raw one's (``checks.checked`` collects
        these).

    Raises:
        InputError: a fault of the manifest, or missing or extra predictions. The message names the files, up to ten.
    """
    manifest_csv, predictions_dir = Path(manifest_csv), Path(predictions_dir)
    rows = read_manifest(manifest_csv)
    for kind in KINDS:
        _same_files(predictions_dir / kind, {row.prediction for row in rows})
    rows = shard_of(rows, shard)

    def load(row: ManifestRow) -> Case:
        return _load(row, manifest_csv.parent, predictions_dir, smallest)

    return rows, load


def score_text(frame: pd.DataFrame) -> str:
    """Return scores as CSV text: numbers with ten significant digits, ``inf`` and ``nan`` written out."""
    # Ten digits: far more than any table prints, and too few to show the last bits, which differ between machines.
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(frame.columns)
    for values in frame.itertuples(index=False):
        writer.writerow(f"{value:.10g}" if isinstance(value, float) else value for value in values)
    return stream.getvalue()


def _load(row: ManifestRow, root: Path, predictions_dir: Path, smallest: int) -> Case:
    """Read the four images of one row and compare them with the manifest and with each other."""
    truth, hole = read_pair(row, root)
    truth_path = root / row.image
    large_enough(truth_path, truth, smallest)
    composited_path, raw_path = (find(predictions_dir / kind / row.prediction) for kind in KINDS)
    composited, raw = read_rgb(composited_path), read_rgb(raw_path)
    same_size(composited_path, composited, truth_path, truth, SAME_SIZE)
    same_size(raw_path, raw, truth_path, truth, SAME_SIZE)
    inverted = (composited == truth)[hole].all()
    hint = " and all hole pixels equal it, so the mask was used with the other polarity" if inverted else ""
    _same_pixels(
        composited_path, composited, truth, ~hole, f"known pixels differ from the ground truth {row.image}{hint}"
    )
    _same_pixels(composited_path, composited, raw, hole, f"hole pixels differ from {raw_path}")
    return Case(truth, hole, composited, raw)


def _same_files(folder: Path, expected: set[str]) -> None:
    found = {normal(path.relative_to(folder).as_posix()) for path in list_images(folder)}
    expected = {normal(name) for name in expected}
    faults = []
    if missing := expected - found:
        faults.append(
            f"{folder}: {len(missing)} of {len(expected)} predictions are missing: {some_of(missing)}. "
            "Expected <bucket>/<id>.png for every row of the manifest; run the method for them."
        )
    if extra := found - expected:
        faults.append(
            f"{folder}: {len(extra)} images that the manifest does not name: {some_of(extra)}. "
            "They are left from another run or have the wrong name; remove them or predict again."
        )
    refuse(faults)


def _same_pixels(path: Path, pixels: np.ndarray, expected: np.ndarray, where: np.ndarray, fault: str) -> None:
    different = (pixels != expected).any(axis=2) & where
    if different.any():
        raise InputError(f"{path}: {int(different.sum())} of {int(where.sum())} {fault}. {COMPOSITE}")
