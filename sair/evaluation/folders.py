"""Score a folder of predictions against a folder of ground truths, from any source (``sair score``)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from sair.common.errors import InputError, refuse
from sair.common.images import HOLES, read_mask, read_rgb
from sair.common.listing import IMAGES, images_by_id, some_of
from sair.common.progress import progress, warn
from sair.data.buckets import DEFAULT_BUCKETS, as_buckets, bucket_of
from sair.evaluation.checks import checked, read_truth, refuse_all, same_size
from sair.evaluation.metrics.metric import Metric, PairNetwork, absolute_difference
from sair.evaluation.metrics.of_images import HOLE_COLUMNS, SMALLEST_SIDE, WHOLE_COLUMNS, chosen
from sair.evaluation.pairs import NetworkQueue, Networks, Target, networks_of, score_case, score_pair
from sair.evaluation.threads import in_parts, threads

ID = "{id}"
RESIZE = "resize masks with nearest neighbour"
ONE_MASK = "one mask for all images needs images of its size: give a folder with a mask of each image's name and size"


def score_folders(
    truth_dir: str | Path,
    prediction_dir: str | Path,
    masks: str | Path | None = None,
    hole: str = "white",
    buckets: Iterable[tuple[float, float]] = DEFAULT_BUCKETS,
    *,
    prediction_name: str = ID,
    mask_name: str = ID,
    metrics: Sequence[str] = (),
    networks: Networks = True,
    device: str = "cpu",
    batch_size: int = 16,
    jobs: int | None = None,
    show: bool = True,
) -> pd.DataFrame:
    """Score a folder of predictions against a folder of ground truths.

    Files belong together if their paths inside the folders are equal without the ending; that path is the id.

    Args:
        truth_dir, prediction_dir: folders of images, searched recursively.
        masks: folder of black-and-white masks, one per image, or one mask file for all images; for the hole-only
            columns and the buckets.
        hole: what marks the hole in the masks (``sair.common.images.read_mask``).
        buckets: half-open hole-ratio intervals in percent.
        prediction_name, mask_name: names of predictions and masks whose names are not the id: ``{id}_mask001`` for the
            mask ``cat_mask001.png`` of ``cat.png``. Only files with such names count as predictions or masks.
        metrics: names of optional metrics to measure, too. Those of known pixels and of the seam need masks, and take
            the prediction as it is.
        networks: networks to use again, by metric (``{"lpips": Lpips()}``), True to build them, False to leave their
            columns ``nan``.
        device: device of the networks that are built here: ``cpu``, ``cuda``, or ``auto`` for a GPU where there is one.
        batch_size: most predictions that a network gets at once.
        jobs: threads; None takes all cores. Their number changes no result.
        show: progress bars on stderr.

    Returns:
        One row per image, sorted by id: id, psnr (dB), ssim, l1, lpips (``nan`` for images below 31 pixels); with masks
        also ratio (percent), bucket (label or ``""``), psnr_hole, ssim_hole, l1_hole. A new metric of the registry has
        its columns after those of its kind; optional metrics are at the end.

    Raises:
        InputError: an unknown metric, or one that needs masks without any; a missing or extra file, two files of one
            id, different sizes, a file that is unreadable or too small, a mask with grey values, masks without any hole
            or of the other polarity, or both folders being one. The message names the files, up to ten.
    """
    buckets, extra = as_buckets(buckets), optional(metrics, masks is not None)
    files = _Files(Path(truth_dir), Path(prediction_dir), None if masks is None else Path(masks))
    files.pair(prediction_name, mask_name)
    found = networks_of(networks, device, extra)
    scorer = _Scorer(files, hole, buckets, found, batch_size, extra)
    parts = in_parts(sorted(files.truths), batch_size)
    polarity, rows = _Polarity(hole), list[dict[str, Any]]()
    with threads(jobs) as pool, progress(total=len(files.truths), desc="score", unit="image", disable=not show) as bar:
        for part in pool.map(scorer.score, parts):
            for scored in part:
                rows.append(scored.row)
                polarity.add(scored)
            bar.update(len(part))
    refuse_all(scorer.faults)
    polarity.check(masks)
    for metric in NetworkQueue.metrics(extra):
        if metric.name in found:
            _warn_of_small(truth_dir, metric, rows)
    columns = ["id", *WHOLE_COLUMNS]
    if masks is not None:
        columns += ["ratio", "bucket", *HOLE_COLUMNS]
    return pd.DataFrame(rows, columns=[*columns, *(metric.name for metric in extra)])


def optional(names: Sequence[str], masked: bool) -> list[Metric]:
    """Return the optional metrics of these names.

    Args:
        names: names of metrics of images.
        masked: whether there are masks.

    Raises:
        InputError: an unknown name, or a metric that needs a mask where there is none.
    """
    extra = chosen(names)
    if captioned := [metric.name for metric in extra if metric.captioned is not None]:
        raise InputError(
            f"{', '.join(captioned)}: these metrics need captions, which only datasets of a config have. Name them in "
            "the config's `metrics`, and run snakemake."
        )
    needing = [metric.name for metric in extra if metric.of_case is not None or metric.known_only]
    if needing and not masked:
        raise InputError(f"{', '.join(needing)}: these metrics need the hole. Give the masks, too.")
    return extra


class _Scored(NamedTuple):
    """The scores of an image, and sums that reveal the polarity of its mask.

    row: by column.
    errors: sums of |ground truth - prediction| outside and inside the hole; None without masks.
    pixels: outside and inside the hole.
    """

    row: dict[str, Any]
    errors: tuple[int, int] | None = None
    pixels: tuple[int, int] = (0, 0)


class _Scorer:
    """Reads and scores images of two folders; several threads may use it at once.

    Attributes:
        faults: messages of what was wrong with images.
    """

    def __init__(
        self,
        files: _Files,
        hole: str,
        buckets: Sequence[tuple[float, float]],
        networks: Mapping[str, PairNetwork],
        batch_size: int,
        extra: Sequence[Metric],
    ) -> None:
        self._files, self._hole, self._buckets = files, hole, buckets
        self._networks, self._batch_size, self._extra = networks, batch_size, extra
        self.faults: list[str] = []

    def score(self, names: Sequence[str]) -> list[_Scored]:
        """Return the scores of some images; after a fault, of those before it."""
        queue = NetworkQueue(self._networks, self._batch_size, self._extra)
        found = []
        for name, (truth, prediction, mask) in checked(names, self._load, self.faults):
            scored = self._score(name, truth, prediction, mask)
            queue.put(truth, [Target(prediction, scored.row)])
            if mask is not None:
                queue.put_known(truth, prediction, mask, scored.row)
            found.append(scored)
        if not self.faults:
            queue.finish()
        return found

    def _load(self, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        files = self._files
        truth = read_truth(files.truths[name], SMALLEST_SIDE)
        path = files.predictions[name]
        prediction = read_rgb(path)
        same_size(path, prediction, files.truths[name], truth, "write predictions at the size of their ground truth")
        if files.masks is None:
            return truth, prediction, None
        mask = read_mask(files.masks[name], self._hole)
        same_size(files.masks[name], mask, files.truths[name], truth, ONE_MASK if files.one_mask else RESIZE)
        return truth, prediction, mask

    def _score(self, name: str, truth: np.ndarray, prediction: np.ndarray, mask: np.ndarray | None) -> _Scored:
        row: dict[str, Any] = {"id": name, **score_pair(truth, prediction, mask)}
        if mask is None:
            return _Scored(row)
        count = int(mask.sum())
        row |= score_case(truth, prediction, mask, self._extra)
        row |= {"ratio": 100 * count / mask.size, "bucket": bucket_of(count, mask.size, self._buckets)}
        error = absolute_difference(truth, prediction)
        inside, total = (int(part.sum(dtype=np.int64)) for part in (error[mask], error))
        return _Scored(row, (total - inside, inside), (mask.size - count, count))


def _warn_of_small(truth_dir: str | Path, metric: Metric, rows: list[dict[str, Any]]) -> None:
    if small := [row["id"] for row in rows if math.isnan(row[metric.name])]:
        warn(
            f"{truth_dir}: {len(small)} of {len(rows)} images have a side of less than {metric.smallest} pixels, which "
            f"{metric.label} needs. Their {metric.label} is nan, and its mean leaves them out: {some_of(small)}."
        )


class _Files:
    """The files of each id, found by ``pair``.

    Attributes:
        truths, predictions, masks: their paths by id; ``masks`` is None without masks.
        one_mask: whether all images have the same mask.
    """

    def __init__(self, truth_dir: Path, prediction_dir: Path, mask_path: Path | None) -> None:
        self._truth_dir, self._prediction_dir = truth_dir.expanduser(), prediction_dir.expanduser()
        self._mask_path = mask_path and mask_path.expanduser()
        self.truths: dict[str, Path] = {}
        self.predictions: dict[str, Path] = {}
        self.masks: dict[str, Path] | None = None
        self.one_mask = False

    def pair(self, prediction_name: str, mask_name: str) -> None:
        """Find the files of each id and refuse missing and extra ones."""
        one_folder = self._truth_dir.resolve() == self._prediction_dir.resolve()
        if one_folder and prediction_name == ID:
            raise InputError(
                f"{self._truth_dir}: ground truth and predictions are one folder; every score would be perfect. Name "
                "two, or the names of the predictions (`--prediction-name`)."
            )
        self.truths = images_by_id(self._truth_dir)
        self.predictions = self._named(self._prediction_dir, prediction_name, "prediction")
        masks = self._mask_path
        for_all = masks if masks is not None and masks.is_file() else None
        if mask_name != ID and (masks is None or for_all):
            raise InputError(f"the name of masks, {mask_name!r}, needs a folder of masks (`--masks`).")
        if masks is not None and not for_all:
            self.masks = self._named(masks, mask_name, "mask")
        _same_ids(self.truths, self._truth_dir, self.predictions, self._prediction_dir, "prediction")
        if for_all:
            self.masks, self.one_mask = dict.fromkeys(self.truths, for_all), True
        elif masks is not None and self.masks is not None:
            _same_ids(self.truths, self._truth_dir, self.masks, masks, "mask")

    def _named(self, folder: Path, pattern: str, what: str) -> dict[str, Path]:
        """Return the images of a folder that a pattern names, by id; none of them is a ground truth."""
        found = images_by_id(folder)
        if pattern == ID:
            return found
        matches = {name: _match(pattern, name, what) for name in found}
        if folder.resolve() == self._truth_dir.resolve():
            self.truths = {name: path for name, path in self.truths.items() if not matches[name]}
        elif others := [name for name, match in matches.items() if not match]:
            warn(
                f"{folder}: {len(others)} images are ignored, as they are not named {pattern} like {what}s: "
                f"{some_of(others)}."
            )
        return {match: found[name] for name, match in matches.items() if match}


def _match(pattern: str, name: str, what: str) -> str | None:
    """Return the id of an image that is named by a pattern, or None."""
    stem, ending = pattern, re.search(r"\.\w+$", pattern)
    if ending and IMAGES.fullmatch(ending[0]):
        stem = pattern[: ending.start()]
    before, placeholder, after = stem.partition(ID)
    if not placeholder or ID in after:
        raise InputError(f"the name of {what}s, {pattern!r}: expected {ID} once, as in '{ID}_{what}'.")
    found = re.fullmatch(rf"((?:.*/)?){re.escape(before)}([^/]+){re.escape(after)}", name)
    return found[1] + found[2] if found else None


def _same_ids(truths: dict[str, Path], truth_dir: Path, others: dict[str, Path], folder: Path, what: str) -> None:
    faults = []
    if missing := truths.keys() - others.keys():
        faults.append(
            f"{folder}: no {what} for {len(missing)} of {len(truths)} images of {truth_dir}: {some_of(missing)}. "
            f"Expected one {what} per image, with the same path except for the ending; make the missing ones, or "
            f"declare how they are named (`--{what}-name '{ID}_{what}'`)."
        )
    if extra := others.keys() - truths.keys():
        faults.append(
            f"{folder}: {len(extra)} {what}s without an image in {truth_dir}: {some_of(extra)}. "
            "Remove them or name the right folder."
        )
    refuse(faults)


class _Polarity:
    """Detector of masks without a hole, and of masks of the other polarity by where predictions have errors."""

    def __init__(self, hole: str) -> None:
        self._hole = hole
        self._errors, self._pixels = np.zeros(2), np.zeros(2)  # outside and inside the hole
        self._whole: list[str] = []  # images without a hole

    def add(self, scored: _Scored) -> None:
        """Take one image into account."""
        if scored.errors is None:
            return
        if not scored.pixels[1]:
            self._whole.append(scored.row["id"])
            return
        self._errors += scored.errors
        self._pixels += scored.pixels

    def check(self, masks: str | Path | None) -> None:
        """Refuse masks that cannot have the declared polarity; warn of improbable ones and of masks without a hole."""
        (outside, inside), other = self._errors, HOLES[self._hole]
        if self._whole and not self._pixels.any():
            raise InputError(
                f"{masks}: no pixel of any mask is a hole with `--hole {self._hole}`. Check the polarity, or score "
                "without `--masks`."
            )
        if self._whole:
            warn(
                f"{masks}: {len(self._whole)} masks have no hole, so the hole columns of these images are nan, and "
                f"their means leave them out: {some_of(self._whole)}."
            )
        if inside == 0 and outside > 0:
            raise InputError(
                f"{masks}: with `--hole {self._hole}` all predictions equal the ground truth inside the hole and "
                f"differ from it outside, so the polarity of the masks is wrong. Use `--hole {other}`."
            )
        if inside * self._pixels[0] < outside * self._pixels[1]:
            warn(
                f"{masks}: with `--hole {self._hole}` the predictions are nearer to the ground truth inside the hole "
                f"than outside. If they are composited, the polarity of the masks is wrong: use `--hole {other}`."
            )
