"""Scores of pictures on disk: one row a picture, and nothing is ever skipped, guessed or paired by order.

Both entry points read the files alone, so an in-process model, an old repository and a folder somebody sent by mail
are scored alike. They look at every file before the first number is computed, and refuse all faults in one message.
"""

from __future__ import annotations

import csv
import io
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pandas as pd
import torch

from sair.data.buckets import DEFAULT_BUCKETS, as_buckets, bucket_of
from sair.data.manifest import ManifestRow, read_manifest, shard_of
from sair.evaluation.conventions import score_by_conventions
from sair.evaluation.metrics import LPIPS_SMALLEST, SSIM_WINDOW, Lpips, l1, mean_ssim, psnr, ssim_map
from sair.files import LISTED, InputError, list_images, pixel_sha256, read_mask, read_rgb, refuse, write_text
from sair.progress import progress

KINDS = ("composited", "raw")
COMPOSITE = "Composite in 8 bits, with the mask's 255 as the hole, and save as PNG."

SCORE_COLUMNS = (
    *("id", "bucket", "ratio", "psnr", "ssim", "l1", "lpips"),
    *("psnr_hole", "ssim_hole", "l1_hole"),
    *("psnr_raw", "ssim_raw", "l1_raw", "lpips_raw"),
)

T = TypeVar("T")


# --------------------------------------------------------------------------------------------------------------------
# One pair


def score_pair(truth: np.ndarray, prediction: np.ndarray, hole: np.ndarray | None = None) -> dict[str, float]:
    """PSNR, SSIM and L1 of one pair; LPIPS is measured in batches by the callers.

    Args:
        truth, prediction: uint8 (H, W, 3), sides at least 11.
        hole: bool (H, W), True = hole.

    Returns:
        ``psnr``, ``ssim``, ``l1`` and, with ``hole``, ``psnr_hole``, ``ssim_hole``, ``l1_hole``; see
        :mod:`sair.evaluation.metrics` for units and ``nan``.

    Raises:
        InputError, TypeError: as :func:`sair.evaluation.metrics.psnr`.
    """
    similarity = ssim_map(truth, prediction)  # once, for the whole picture and for the hole
    scores = {"psnr": psnr(truth, prediction), "ssim": mean_ssim(similarity), "l1": l1(truth, prediction)}
    if hole is not None:
        scores["psnr_hole"] = psnr(truth, prediction, hole)
        scores["ssim_hole"] = mean_ssim(similarity, hole)
        scores["l1_hole"] = l1(truth, prediction, hole)
    return scores


class _Target(NamedTuple):
    """A prediction that waits for its LPIPS, and the cell that the number goes into."""

    prediction: np.ndarray
    row: dict[str, Any]
    column: str


class _LpipsQueue:
    """Gathers pictures of one size until a batch is full, so that memory does not grow with the number of pictures.

    A truth comes with all its predictions and its features are computed once for them.
    """

    def __init__(self, lpips: Lpips | None, batch_size: int) -> None:
        self._lpips = lpips
        self._batch_size = batch_size
        self._waiting: dict[tuple[int, ...], list[tuple[np.ndarray, list[_Target]]]] = defaultdict(list)

    def put(self, truth: np.ndarray, targets: list[_Target]) -> None:
        """Take a truth and its predictions; without a network, their cells become ``nan`` at once."""
        if self._lpips is None:
            for target in targets:
                target.row[target.column] = math.nan
            return
        waiting = self._waiting[truth.shape]
        waiting.append((truth, targets))
        if sum(len(group) for _, group in waiting) >= self._batch_size:
            self._measure(self._waiting.pop(truth.shape))

    def finish(self) -> None:
        """Measure what is left."""
        while self._waiting:
            self._measure(self._waiting.popitem()[1])

    def _measure(self, groups: list[tuple[np.ndarray, list[_Target]]]) -> None:
        truths = self._lpips.features([truth for truth, _ in groups])
        pairs = [(index, target) for index, (_, targets) in enumerate(groups) for target in targets]
        # A truth with many predictions may overfill a batch, so it is cut again.
        for start in range(0, len(pairs), self._batch_size):
            part = pairs[start : start + self._batch_size]
            owner = torch.tensor([index for index, _ in part], device=self._lpips.device)
            features = self._lpips.features([target.prediction for _, target in part])
            distances = self._lpips.distance([maps[owner] for maps in truths], features)
            for (_, target), distance in zip(part, distances, strict=True):
                target.row[target.column] = float(distance)


# --------------------------------------------------------------------------------------------------------------------
# Two folders


def score_folders(
    truth_dir: str | Path,
    prediction_dir: str | Path,
    masks_dir: str | Path | None = None,
    hole: str = "white",
    buckets: Iterable[tuple[float, float]] = DEFAULT_BUCKETS,
    *,
    lpips: Lpips | bool = True,
    batch_size: int = 16,
    show: bool = True,
) -> pd.DataFrame:
    """Score a folder of predictions against a folder of truths.

    Files belong together when their path inside the folder is the same but for the suffix; that path is the id.

    Args:
        truth_dir, prediction_dir: folders of 8-bit pictures, searched recursively.
        masks_dir: folder of black-and-white masks, one a picture, for the hole-only columns and the buckets.
        hole: colour of the hole in the masks, ``white`` or ``black``.
        buckets: half-open hole-ratio intervals in percent.
        lpips: a network to use again, True to build one, False to leave the column ``nan``.
        batch_size: predictions that LPIPS sees at once.
        show: progress bars on stderr.

    Returns:
        One row a picture, sorted by id: id, psnr (dB), ssim, l1, lpips; with masks also ratio (percent), bucket (label
        or ``""``), psnr_hole, ssim_hole, l1_hole.

    Raises:
        InputError: a missing or extra file, two files of one id, different sizes, a file that is unreadable or too
            small, a mask with grey values, or both folders being one. The message names the files, up to ten.
    """
    truth_dir, prediction_dir = Path(truth_dir), Path(prediction_dir)
    buckets = as_buckets(buckets)
    truths, predictions = _by_id(truth_dir), _by_id(prediction_dir)
    if truth_dir.resolve() == prediction_dir.resolve():
        raise InputError(f"{truth_dir}: truth and prediction are one folder; every score would be perfect. Name two.")
    _same_ids(truths, truth_dir, predictions, prediction_dir, "prediction")
    masks = None
    if masks_dir is not None:
        masks = _by_id(Path(masks_dir))
        _same_ids(truths, truth_dir, masks, Path(masks_dir), "mask")
    network = _network(lpips)
    smallest = LPIPS_SMALLEST if network else SSIM_WINDOW

    def load(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        truth = _read_truth(truths[name], smallest)
        prediction = read_rgb(predictions[name])
        _same_size(predictions[name], prediction, truths[name], truth, "write predictions at the truth's size")
        if masks is None:
            return truth, prediction, None
        mask = read_mask(masks[name], hole)
        _same_size(masks[name], mask, truths[name], truth, "resize masks with nearest neighbour")
        return truth, prediction, mask

    names = sorted(truths)
    _check_all(names, load, show)
    queue = _LpipsQueue(network, batch_size)
    rows = []
    for name in progress(names, desc="score", unit="picture", disable=not show):
        truth, prediction, mask = load(name)
        row: dict[str, Any] = {"id": name, **score_pair(truth, prediction, mask)}
        if mask is not None:
            count = int(mask.sum())
            row |= {"ratio": 100 * count / mask.size, "bucket": bucket_of(count, mask.size, buckets)}
        queue.put(truth, [_Target(prediction, row, "lpips")])
        rows.append(row)
    queue.finish()
    columns = ["id", "psnr", "ssim", "l1", "lpips"]
    if masks is not None:
        columns += ["ratio", "bucket", "psnr_hole", "ssim_hole", "l1_hole"]
    return pd.DataFrame(rows, columns=columns)


# --------------------------------------------------------------------------------------------------------------------
# A manifest


class _Case(NamedTuple):
    """The verified pictures of one manifest row: uint8 (H, W, 3), and the bool hole (H, W)."""

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
        manifest_csv: columns id, bucket, image, mask, hole_pixels, pixels, image_sha256, mask_sha256; image and mask
            are paths relative to the manifest's folder, masks PNG with 255 = hole, hashes those of
            :func:`sair.files.pixel_sha256`.
        predictions_dir: holds ``composited/<bucket>/<id>.png`` and ``raw/<bucket>/<id>.png``, 8-bit RGB.
        out_csv: written whole or not at all; the same inputs give the same bytes on one machine. Numbers
            have ten significant digits, ``inf`` is the PSNR of equal pictures, ``nan`` a number that does not exist.
        lpips, batch_size, show: as :func:`score_folders`.
        shard: ``2-of-8`` for that part of the manifest alone (``sair.data.manifest.shard_of``).

    Returns:
        What was written: id, bucket, ratio (percent), psnr (dB), ssim, l1, lpips of the composited picture over all of
        it; psnr_hole, ssim_hole, l1_hole over its hole; psnr_raw, ssim_raw, l1_raw, lpips_raw of the raw one.

    Raises:
        InputError: a truth or mask that is not the manifest's, a missing, extra or unreadable prediction, one of
            another size, a composited picture whose known pixels are not the truth's bytes or whose hole pixels are
            not the raw one's. The message names the files, up to ten.
    """
    network = _network(lpips)
    rows, load = _open(manifest_csv, predictions_dir, LPIPS_SMALLEST if network else SSIM_WINDOW, show, shard)
    # Rows of one truth together, because its features serve all its masks; the order is restored by `scores`.
    groups: dict[str, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        groups[row.image].append(index)
    scores: list[dict[str, Any]] = [{} for _ in rows]
    queue = _LpipsQueue(network, batch_size)
    with progress(total=len(rows), desc="score", unit="row", disable=not show) as bar:
        for indices in groups.values():
            targets = []
            for index in indices:
                case = load(rows[index])
                scores[index] |= _score_case(rows[index], case)
                targets.append(_Target(case.composited, scores[index], "lpips"))
                targets.append(_Target(case.raw, scores[index], "lpips_raw"))
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
        What was written, a line a manifest row: id, bucket, and a column for every measure of every convention
        (:func:`sair.evaluation.conventions.all_measures`).

    Raises:
        InputError: as :func:`score_predictions`.
    """
    rows, load = _open(manifest_csv, predictions_dir, SSIM_WINDOW, show)
    scores = []
    for row in progress(rows, desc="conventions", unit="row", disable=not show):
        case = load(row)
        measured = score_by_conventions(case.truth, case.composited, case.hole)
        scores.append({"id": row.id, "bucket": row.bucket, **measured})
    frame = pd.DataFrame(scores)
    write_text(out_csv, _csv_text(frame))
    return frame


def _open(
    manifest_csv: str | Path, predictions_dir: str | Path, smallest: int, show: bool, shard: str | None = None
) -> tuple[list[ManifestRow], Callable[[ManifestRow], _Case]]:
    """A manifest's rows and how one's pictures are loaded, after all of them were checked."""
    manifest_csv, predictions_dir = Path(manifest_csv), Path(predictions_dir)
    rows = read_manifest(manifest_csv)
    for kind in KINDS:
        _same_files(predictions_dir / kind, {row.prediction for row in rows})
    rows = shard_of(rows, shard)

    def load(row: ManifestRow) -> _Case:
        return _load_case(row, manifest_csv.parent, predictions_dir, smallest)

    _check_all(rows, load, show)
    return rows, load


def _load_case(row: ManifestRow, root: Path, predictions_dir: Path, smallest: int) -> _Case:
    """Read one row's four pictures and verify all that the manifest and the compositing promise."""
    truth_path, mask_path = root / row.image, root / row.mask
    truth = _read_truth(truth_path, smallest)
    _same_hash(truth_path, truth, row.image_sha256)
    hole = read_mask(mask_path)
    _same_hash(mask_path, hole, row.mask_sha256)
    if (int(hole.sum()), hole.size) != (row.hole_pixels, row.pixels):
        raise InputError(
            f"{mask_path}: {int(hole.sum())} of {hole.size} pixels are holes, but the manifest says {row.hole_pixels} "
            f"of {row.pixels}. Make the manifest again."
        )
    _same_size(mask_path, hole, truth_path, truth, "resize masks with nearest neighbour")
    composited_path, raw_path = (predictions_dir / kind / row.prediction for kind in KINDS)
    composited, raw = read_rgb(composited_path), read_rgb(raw_path)
    _same_size(composited_path, composited, truth_path, truth, "write predictions at the truth's size")
    _same_size(raw_path, raw, truth_path, truth, "write predictions at the truth's size")
    _same_pixels(composited_path, composited, truth, ~hole, f"known pixels differ from the truth {row.image}")
    _same_pixels(composited_path, composited, raw, hole, f"hole pixels differ from {raw_path}")
    return _Case(truth, hole, composited, raw)


def _score_case(row: ManifestRow, case: _Case) -> dict[str, Any]:
    raw = score_pair(case.truth, case.raw)
    return {
        "id": row.id,
        "bucket": row.bucket,
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


# --------------------------------------------------------------------------------------------------------------------
# Checks


def _network(lpips: Lpips | bool) -> Lpips | None:
    if isinstance(lpips, bool):
        return Lpips() if lpips else None
    return lpips


def _check_all(items: Sequence[T], load: Callable[[T], object], show: bool) -> None:
    """Load every item once and refuse all faults together, before hours are spent on the good ones."""
    faults = []
    for item in progress(items, desc="check", unit="picture", disable=not show):
        try:
            load(item)
        except InputError as error:
            faults.append(str(error))
    refuse(list(dict.fromkeys(faults)))  # a truth of three rows is one fault


def _by_id(folder: Path) -> dict[str, Path]:
    """Pictures of a folder by their relative path without suffix."""
    found: dict[str, list[Path]] = defaultdict(list)
    for path in list_images(folder):
        found[path.relative_to(folder).with_suffix("").as_posix()].append(path)
    refuse(
        [
            f"{folder}: {' and '.join(p.name for p in paths)} have one id, {name!r}. Expected one picture an id; "
            "remove or rename the others."
            for name, paths in found.items()
            if len(paths) > 1
        ]
    )
    return {name: paths[0] for name, paths in found.items()}


def _names(names: Iterable[str]) -> str:
    names = sorted(names)
    return ", ".join(names[:LISTED]) + (f" and {len(names) - LISTED} more" if len(names) > LISTED else "")


def _same_ids(truths: dict[str, Path], truth_dir: Path, others: dict[str, Path], folder: Path, what: str) -> None:
    faults = []
    if missing := truths.keys() - others.keys():
        faults.append(
            f"{folder}: no {what} for {len(missing)} of {len(truths)} pictures of {truth_dir}: {_names(missing)}. "
            f"Expected one {what} a picture, with the same path but for the suffix; make the missing ones."
        )
    if extra := others.keys() - truths.keys():
        faults.append(
            f"{folder}: {len(extra)} {what}s without a picture in {truth_dir}: {_names(extra)}. "
            "Remove them or name the right folder."
        )
    refuse(faults)


def _same_files(folder: Path, expected: set[str]) -> None:
    found = {path.relative_to(folder).as_posix() for path in list_images(folder)}
    faults = []
    if missing := expected - found:
        faults.append(
            f"{folder}: {len(missing)} of {len(expected)} predictions are missing: {_names(missing)}. "
            "Expected <bucket>/<id>.png for every row of the manifest; run the method for them."
        )
    if extra := found - expected:
        faults.append(
            f"{folder}: {len(extra)} pictures that the manifest does not name: {_names(extra)}. "
            "They are left from another run or carry the wrong name; remove them or predict again."
        )
    refuse(faults)


def _read_truth(path: Path, smallest: int) -> np.ndarray:
    truth = read_rgb(path)
    if min(truth.shape[:2]) < smallest:
        raise InputError(
            f"{path}: {_size(truth)} pixels, but the metrics need at least {smallest} on each side. Use larger ones."
        )
    return truth


def _size(pixels: np.ndarray) -> str:
    return f"{pixels.shape[1]}x{pixels.shape[0]}"


def _same_size(path: Path, pixels: np.ndarray, truth_path: Path, truth: np.ndarray, remedy: str) -> None:
    if pixels.shape[:2] != truth.shape[:2]:
        raise InputError(
            f"{path}: {_size(pixels)} pixels (width x height), but {truth_path} has {_size(truth)}. "
            f"Nothing is resized silently; {remedy}."
        )


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
