"""Scores of a folder of pictures against a folder of truths, whoever made them (``sair score``)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sair.data.buckets import DEFAULT_BUCKETS, as_buckets, bucket_of
from sair.evaluation.checks import check_all, read_truth, same_size, some_of
from sair.evaluation.metrics import LPIPS_SMALLEST, SSIM_WINDOW, Lpips
from sair.evaluation.pairs import LpipsQueue, Target, network_of, score_pair
from sair.files import InputError, refuse
from sair.images import list_images, read_mask, read_rgb
from sair.progress import progress


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
    network = network_of(lpips)
    smallest = LPIPS_SMALLEST if network else SSIM_WINDOW

    def load(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        truth = read_truth(truths[name], smallest)
        prediction = read_rgb(predictions[name])
        same_size(predictions[name], prediction, truths[name], truth, "write predictions at the truth's size")
        if masks is None:
            return truth, prediction, None
        mask = read_mask(masks[name], hole)
        same_size(masks[name], mask, truths[name], truth, "resize masks with nearest neighbour")
        return truth, prediction, mask

    names = sorted(truths)
    check_all(names, load, show)
    queue = LpipsQueue(network, batch_size)
    rows = []
    for name in progress(names, desc="score", unit="picture", disable=not show):
        truth, prediction, mask = load(name)
        row: dict[str, Any] = {"id": name, **score_pair(truth, prediction, mask)}
        if mask is not None:
            count = int(mask.sum())
            row |= {"ratio": 100 * count / mask.size, "bucket": bucket_of(count, mask.size, buckets)}
        queue.put(truth, [Target(prediction, row, "lpips")])
        rows.append(row)
    queue.finish()
    columns = ["id", "psnr", "ssim", "l1", "lpips"]
    if masks is not None:
        columns += ["ratio", "bucket", "psnr_hole", "ssim_hole", "l1_hole"]
    return pd.DataFrame(rows, columns=columns)


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


def _same_ids(truths: dict[str, Path], truth_dir: Path, others: dict[str, Path], folder: Path, what: str) -> None:
    faults = []
    if missing := truths.keys() - others.keys():
        faults.append(
            f"{folder}: no {what} for {len(missing)} of {len(truths)} pictures of {truth_dir}: {some_of(missing)}. "
            f"Expected one {what} a picture, with the same path but for the suffix; make the missing ones."
        )
    if extra := others.keys() - truths.keys():
        faults.append(
            f"{folder}: {len(extra)} {what}s without a picture in {truth_dir}: {some_of(extra)}. "
            "Remove them or name the right folder."
        )
    refuse(faults)
