"""Score a method's predictions of a manifest: one row per image, and nothing is ever skipped or paired by order.

Scores are made from the files alone, so an in-process model, an old repository and a folder of results from elsewhere
are scored alike. Every file is checked before the first number is computed; all faults are refused in one message.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from sair.common.errors import InputError, refuse
from sair.common.files import write_text
from sair.common.images import pixel_sha256, read_mask, read_rgb
from sair.common.listing import find, list_images, normal, some_of
from sair.common.progress import progress
from sair.data.manifest import ManifestRow, read_manifest, shard_of
from sair.evaluation.checks import check_all, read_truth, same_size
from sair.evaluation.conventions import score_by_conventions
from sair.evaluation.metrics import LPIPS_SMALLEST, SSIM_WINDOW, Lpips
from sair.evaluation.pairs import LpipsQueue, Target, network_of, score_pair

KINDS = ("composited", "raw")
COMPOSITE = "Composite in 8 bits, with the mask's 255 as the hole, and save as PNG."

SCORE_COLUMNS = (
    *("id", "bucket", "cluster", "ratio"),
    *("psnr", "ssim", "l1", "lpips"),
    *("psnr_hole", "ssim_hole", "l1_hole"),
    *("psnr_raw", "ssim_raw", "l1_raw", "lpips_raw"),
)


class _Case(NamedTuple):
    """The verified images of one manifest row: uint8 (H, W, 3), and the bool hole (H, W)."""

    truth: np.ndarray
    hole: np.ndarray
    composited: np.ndarray
    raw: np.ndarray


def score_predictions(
    manifest_csv: str | Path,
    predictions_dir: str | Path,
    out_csv: str | Path,
    *,
    lpips: Lpips | bool = True,
    batch_size: int = 16,
    show: bool = True,
    shard: str | None = None,
) -> pd.DataFrame:
    """Score a method's predictions of a manifest and write one line a manifest row, in the manifest's order.

    Args:
        manifest_csv: the columns of ``sair.data.manifest.MANIFEST_COLUMNS``; image and mask are paths
            relative to the manifest's folder, masks PNG with 255 = hole, hashes those of
            :func:`sair.common.images.pixel_sha256`.
        predictions_dir: holds ``composited/<bucket>/<id>.png`` and ``raw/<bucket>/<id>.png``, 8-bit RGB.
        out_csv: written whole or not at all; the same inputs give the same bytes on one machine. Numbers
            have ten significant digits, ``inf`` is the PSNR of equal images, ``nan`` a number that does not exist.
        lpips: a network to use again, True to build one, False to leave the columns ``nan``.
        batch_size: predictions that LPIPS sees at once.
        show: progress bars on stderr.
        shard: ``2-of-8`` for that part of the manifest alone (``sair.data.manifest.shard_of``).

    Returns:
        What was written: id, bucket, cluster, ratio (percent), psnr (dB), ssim, l1, lpips of the composited image over
        all of it; psnr_hole, ssim_hole, l1_hole over its hole; psnr_raw, ssim_raw, l1_raw, lpips_raw of the raw one.

    Raises:
        InputError: a truth or mask that is not the manifest's, a missing, extra or unreadable prediction, one of
            another size, a composited image whose known pixels are not the truth's bytes or whose hole pixels are
            not the raw one's. The message names the files, up to ten.
    """
    network = network_of(lpips)
    rows, load = _open(manifest_csv, predictions_dir, LPIPS_SMALLEST if network else SSIM_WINDOW, show, shard)
    # Rows of one truth together, because its features serve all its masks; the order is restored by `scores`.
    groups: dict[str, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        groups[row.image].append(index)
    scores: list[dict[str, Any]] = [{} for _ in rows]
    queue = LpipsQueue(network, batch_size)
    with progress(total=len(rows), desc="score", unit="row", disable=not show) as bar:
        for indices in groups.values():
            targets = []
            for index in indices:
                case = load(rows[index])
                scores[index] |= _score_case(rows[index], case)
                targets.append(Target(case.composited, scores[index], "lpips"))
                targets.append(Target(case.raw, scores[index], "lpips_raw"))
                bar.update()
            queue.put(case.truth, targets)
        queue.finish()
    frame = pd.DataFrame(scores, columns=list(SCORE_COLUMNS))
    write_text(out_csv, _csv_text(frame))
    return frame


def gather_scores(manifest_csv: str | Path, shards: Sequence[str | Path], out_csv: str | Path) -> None:
    """Put the scores of all shards into one table, in the manifest's order; the numbers stay as they are written."""
    lines = {}
    for path in shards:
        with open(path, encoding="utf-8", newline="") as stream:
            header, *rows = csv.reader(stream)
        lines |= {(row[0], row[1]): row for row in rows}
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(lines[row.id, row.bucket] for row in read_manifest(manifest_csv))
    write_text(out_csv, stream.getvalue())


def score_conventions(
    manifest_csv: str | Path, predictions_dir: str | Path, out_csv: str | Path, *, show: bool = True
) -> pd.DataFrame:
    """Score a method's composited predictions of a manifest as published evaluation codes do.

    Args:
        manifest_csv, predictions_dir, out_csv, show: as of :func:`score_predictions`.

    Returns:
        What was written, one line per manifest row: id, bucket, cluster, and a column for every measure of every
        convention (:func:`sair.evaluation.conventions.all_measures`).

    Raises:
        InputError: as :func:`score_predictions`.
    """
    rows, load = _open(manifest_csv, predictions_dir, SSIM_WINDOW, show)
    scores = []
    for row in progress(rows, desc="conventions", unit="row", disable=not show):
        case = load(row)
        measured = score_by_conventions(case.truth, case.composited, case.hole)
        scores.append({"id": row.id, "bucket": row.bucket, "cluster": row.cluster, **measured})
    frame = pd.DataFrame(scores)
    write_text(out_csv, _csv_text(frame))
    return frame


def _open(
    manifest_csv: str | Path, predictions_dir: str | Path, smallest: int, show: bool, shard: str | None = None
) -> tuple[list[ManifestRow], Callable[[ManifestRow], _Case]]:
    """A manifest's rows and how one's images are loaded, after all of them were checked."""
    manifest_csv, predictions_dir = Path(manifest_csv), Path(predictions_dir)
    rows = read_manifest(manifest_csv)
    for kind in KINDS:
        _same_files(predictions_dir / kind, {row.prediction for row in rows})
    rows = shard_of(rows, shard)

    def load(row: ManifestRow) -> _Case:
        return _load_case(row, manifest_csv.parent, predictions_dir, smallest)

    check_all(rows, load, show)
    return rows, load


def _load_case(row: ManifestRow, root: Path, predictions_dir: Path, smallest: int) -> _Case:
    """Read one row's four images and verify all that the manifest and the compositing promise."""
    truth_path, mask_path = root / row.image, root / row.mask
    truth = read_truth(truth_path, smallest)
    _same_hash(truth_path, truth, row.image_sha256)
    hole = read_mask(mask_path)
    _same_hash(mask_path, hole, row.mask_sha256)
    if (int(hole.sum()), hole.size) != (row.hole_pixels, row.pixels):
        raise InputError(
            f"{mask_path}: {int(hole.sum())} of {hole.size} pixels are holes, but the manifest says {row.hole_pixels} "
            f"of {row.pixels}. Make the manifest again."
        )
    same_size(mask_path, hole, truth_path, truth, "resize masks with nearest neighbour")
    composited_path, raw_path = (find(predictions_dir / kind / row.prediction) for kind in KINDS)
    composited, raw = read_rgb(composited_path), read_rgb(raw_path)
    same_size(composited_path, composited, truth_path, truth, "write predictions at the truth's size")
    same_size(raw_path, raw, truth_path, truth, "write predictions at the truth's size")
    inverted = hole.any() and (composited == truth)[hole].all()
    hint = " and all hole pixels equal it, so the mask was used with the other polarity" if inverted else ""
    _same_pixels(composited_path, composited, truth, ~hole, f"known pixels differ from the truth {row.image}{hint}")
    _same_pixels(composited_path, composited, raw, hole, f"hole pixels differ from {raw_path}")
    return _Case(truth, hole, composited, raw)


def _score_case(row: ManifestRow, case: _Case) -> dict[str, Any]:
    raw = score_pair(case.truth, case.raw)
    return {
        "id": row.id,
        "bucket": row.bucket,
        "cluster": row.cluster,
        "ratio": 100 * row.hole_pixels / row.pixels,
        **score_pair(case.truth, case.composited, case.hole),
        **{f"{metric}_raw": value for metric, value in raw.items()},
    }


def _csv_text(frame: pd.DataFrame) -> str:
    # Ten digits: far below what any table prints, and above the last bits in which two machines' libraries differ.
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(frame.columns)
    for values in frame.itertuples(index=False):
        writer.writerow(f"{value:.10g}" if isinstance(value, float) else value for value in values)
    return stream.getvalue()


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
            "They are left from another run or carry the wrong name; remove them or predict again."
        )
    refuse(faults)


def _same_hash(path: Path, pixels: np.ndarray, expected: str) -> None:
    found = pixel_sha256(pixels)
    if found != expected:
        raise InputError(
            f"{path}: altered since the manifest was made: its pixels' sha256 is {found}, expected {expected}. "
            "Restore the file, or make the manifest again and predict again."
        )


def _same_pixels(path: Path, pixels: np.ndarray, wanted: np.ndarray, where: np.ndarray, fault: str) -> None:
    different = (pixels != wanted).any(axis=2) & where
    if different.any():
        raise InputError(f"{path}: {int(different.sum())} of {int(where.sum())} {fault}. {COMPOSITE}")
