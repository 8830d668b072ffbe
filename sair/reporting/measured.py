"""Read scores from disk and turn them into estimates by (bucket, metric)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from sair.common.errors import InputError
from sair.common.tabular import ANY, FINITE, TEXT, Number, read_csv
from sair.data.buckets import ALL
from sair.evaluation.conventions import CONVENTIONS, OURS, all_measures, column_name, kind
from sair.evaluation.metrics.features import KINDS
from sair.evaluation.metrics.miou import REGIONS, SEGMENTATION_COLUMNS, mean_iou
from sair.evaluation.metrics.of_images import ALL_MEASURES, ALWAYS, MEASURES
from sair.evaluation.metrics.registry import METRICS
from sair.evaluation.statistics import Estimate, estimate

REGION = dict(zip(("miou", "miou_hole"), REGIONS, strict=True))
Key = tuple[str, str]  # bucket, metric

# By column of conventions.csv, the metric that it is a variant of.
BY_CONVENTION = {
    column_name(name, measure): kind(measure)
    for name, convention in CONVENTIONS.items()
    for measure in convention.measures
}
SCORE_AGAIN = "Expected a file of scores; score the images again."
RATIO_DIGITS = 1e-6  # percent; score files have ten digits


def family_of(column: str) -> str:
    """Return the metric that a column is a variant of: ``psnr`` for ``psnr_hole`` and for ``ours_psnr``."""
    return BY_CONVENTION.get(column) or METRICS[column.partition("_")[0]].name


def least_of(column: str, least: Mapping[str, float]) -> float | None:
    """Return the change of a column's mean that another training seed alone causes, or None if it was not measured.

    Args:
        column: of scores.
        least: by metric (``regression.least``); for a missing one the registry's value is used.
    """
    family = family_of(column)
    return least.get(family, METRICS[family].least)


def least_in_unit(key: Key, least: Mapping[str, float], known: Mapping[Key, float]) -> float | None:
    """Return ``least_of`` a column in the column's own unit.

    Args:
        key: bucket and column. For an L1 in another unit, the value is the same share of the mean as in ours.
        least: by metric, in the unit of our convention.
        known: means of the method that is compared with, by key.
    """
    bucket, column = key
    size = least_of(column, least)
    if size is None or family_of(column) != "l1" or column in MEASURES:
        return size
    ours = known.get((bucket, column_name(OURS, "l1")), 0.0)
    return size * known[key] / ours if ours else None


# --------------------------------------------------------------------------------------------------------------------
# Scores


def read_scores(paths: str | Path | Sequence[str | Path], required: Sequence[str] = ()) -> pd.DataFrame:
    """Read the scores of one method, averaged over its seeds: one row per (bucket, id).

    The files are those of ``sair score``, of the workflow's scoring, or of its scoring by other conventions. Without a
    column ``bucket`` the bucket of all images is ``""``; without ``cluster`` every image is its own cluster.

    Args:
        paths: files, one per seed.
        required: measures that must exist.

    Returns:
        id, bucket, cluster, ratio if it is known, the measures, and ``perfect``, the number of seeds that filled the
        image without an error. A value is infinite if it is infinite in every seed; otherwise an infinite value counts
        as the metric's cap in the mean over seeds.

    Raises:
        InputError: a file is missing or not a score file; seeds that scored different images.
    """
    return mean_of_seeds(read_seeds(paths, required))


def read_seeds(paths: str | Path | Sequence[str | Path], required: Sequence[str] = ()) -> list[pd.DataFrame]:
    """Read the scores of one method, one frame per seed; arguments and errors same as in ``read_scores``.

    Returns:
        id, bucket, cluster, ratio if it is known, and the measures; the same images in the same order in each frame.
    """
    paths = [paths] if isinstance(paths, str | Path) else list(paths)
    frames = [_read_seed(path, required) for path in paths]
    first = frames[0]
    for path, frame in zip(paths, frames, strict=True):
        if not frame[["bucket", "id"]].equals(first[["bucket", "id"]]):
            raise InputError(f"{path}: scores other images than {paths[0]}. Delete the older one and run again.")
        if not frame.cluster.equals(first.cluster):
            raise InputError(f"{path}: names other clusters than {paths[0]}. Delete the older one and run again.")
    return frames


def mean_of_seeds(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return the scores of one method averaged over its seeds, same as ``read_scores`` returns them.

    Args:
        frames: one per seed (``read_seeds``).
    """
    first = frames[0]
    measures = measures_of(first)
    infinite = [np.isinf(frame[measures]) for frame in frames]
    values = sum(capped(frame)[measures] for frame in frames) / len(frames)
    values = values.mask(np.logical_and.reduce(infinite), math.inf)
    perfect = sum(part.any(axis=1).astype(int) for part in infinite)
    kept = [name for name in ("id", "bucket", "cluster", "ratio") if name in first]
    return pd.concat([first[kept], values, perfect.rename("perfect")], axis=1)


def read_stored(path: str | Path, required: Sequence[str] = ()) -> pd.DataFrame:
    """Read one score file as it is stored; arguments same as in ``read_scores``.

    Raises:
        InputError: the file is missing or not a score file; its rows are not compared with each other.
    """
    numbers = {"ratio": FINITE} | {column: _allowed(column) for column in (*ALL_MEASURES, *all_measures())}
    texts = dict.fromkeys(("id", "bucket", "cluster"), TEXT)
    optional = [name for name in (*texts, *numbers) if name not in ("id", *required)]
    frame = read_csv(path, texts | numbers, optional, SCORE_AGAIN)
    if frame.empty or not measures_of(frame):
        raise InputError(f"{path}: no {'rows' if frame.empty else 'known measure'}. {SCORE_AGAIN}")
    return frame


def _read_seed(path: str | Path, required: Sequence[str]) -> pd.DataFrame:
    frame = read_stored(path, required)
    if "bucket" not in frame:
        frame["bucket"] = ""
    if "cluster" not in frame:
        frame["cluster"] = frame.id
    for fault, rows in {
        "two rows for": frame.duplicated(["bucket", "id"]),
        "no name of": frame.id == "",
        f"the bucket `{ALL}`, a name reserved for all of them together, for": frame.bucket == ALL,
        "several clusters for": frame.groupby("id").cluster.transform("nunique") > 1,
    }.items():
        if rows.any():
            raise InputError(f"{path}: {fault} the image {frame.id[rows.idxmax()]!r}. {SCORE_AGAIN}")
    return frame


def _allowed(measure: str) -> Number:
    metric = METRICS[family_of(measure)]
    # Measures of other codes have their own units, such as percent, so they have no range.
    low, high = metric.valid if measure in ALL_MEASURES else (-math.inf, math.inf)
    return Number(measure not in ALWAYS, metric.cap is not None, low, high)


def measures_of(scores: pd.DataFrame) -> list[str]:
    """Return the columns of scores that are measures."""
    return [column for column in scores if column not in ("id", "bucket", "cluster", "ratio", "perfect")]


def capped(scores: pd.DataFrame) -> pd.DataFrame:
    """Return scores limited to their metric's cap, because one infinite value would make any mean infinite."""
    caps = {column: METRICS[family_of(column)].cap for column in measures_of(scores)}
    return scores.assign(**{column: scores[column].clip(upper=cap) for column, cap in caps.items() if cap is not None})


def parts(scores: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the scores of every bucket, and of ``all`` of them together, where an image counts once."""
    yield from ((bucket, part) for bucket, part in scores.groupby("bucket", sort=False) if bucket)
    images = scores.groupby("id", sort=False)
    yield ALL, images[measures_of(scores)].mean().assign(cluster=images.cluster.first())


def quality(scores: pd.DataFrame, measures: Sequence[str] | None = None) -> dict[Key, Estimate]:
    """Return one method's means by (bucket, metric); infinite where every image was filled without an error."""
    infinite, found = _infinite(scores), {}
    for bucket, part in parts(capped(scores)):
        for metric in measures or measures_of(scores):
            values = part[metric].dropna()
            mean = estimate(values.to_numpy(), clusters=part.cluster[values.index])
            if (bucket, metric) in infinite:
                mean = mean._replace(mean=math.inf, low=math.nan, high=math.nan)
            found[bucket, metric] = mean
    return found


def means(scores: pd.DataFrame) -> dict[Key, float]:
    """Return the means of ``quality`` without their intervals."""
    infinite = _infinite(scores)
    return {
        (bucket, metric): math.inf if (bucket, metric) in infinite else float(part[metric].mean())
        for bucket, part in parts(capped(scores))
        for metric in measures_of(scores)
    }


def _infinite(scores: pd.DataFrame) -> set[Key]:
    """Return the (bucket, metric) in which every image is without an error, whose mean stays infinite."""
    return {
        (bucket, metric)
        for bucket, part in parts(scores)
        for metric in measures_of(part)
        if np.isinf(part[metric]).all()
    }


def seed_spread(seeds: Sequence[pd.DataFrame]) -> dict[Key, float]:
    """Return the standard deviation over seeds of one method's means, by (bucket, metric); {} for a single seed.

    Args:
        seeds: scores, one frame per seed (``read_seeds``).
    """
    return _spread([means(frame) for frame in seeds]) if len(seeds) > 1 else {}


def _spread(seeds: Sequence[Mapping[Key, float]]) -> dict[Key, float]:
    with np.errstate(invalid="ignore"):  # infinite means, of images without an error, have no spread
        return {key: float(np.std([found[key] for found in seeds], ddof=1)) for key in seeds[0]}


def same_images(scores: Mapping[str, pd.DataFrame]) -> None:
    """Refuse methods that scored different images, or under different masks.

    Args:
        scores: scores by the name that messages use.

    Raises:
        InputError: two of them have different (bucket, id), or different hole ratios for one of these.
    """
    first = next(iter(scores), "")
    for name, frame in scores.items():
        reference = scores[first]
        pairs = [set(zip(part.bucket, part.id, strict=True)) for part in (reference, frame)]
        if different := pairs[0] ^ pairs[1]:
            raise InputError(
                f"{name} and {first} scored different images ({len(different)} are in one only). "
                "Compare runs of one manifest."
            )
        if "ratio" not in frame or "ratio" not in reference:
            continue
        both = reference.merge(frame, on=["bucket", "id"])
        moved = (both.ratio_x - both.ratio_y).abs() > RATIO_DIGITS
        if moved.any():
            raise InputError(
                f"{name} and {first} scored {both.id[moved.idxmax()]!r} under different masks. "
                "Compare runs of one manifest."
            )


# --------------------------------------------------------------------------------------------------------------------
# FID, KID and segmentation


def read_distances(path: str | Path) -> pd.DataFrame:
    """Read a fid.csv (``sair.evaluation.fid``); a number is ``nan`` where there are too few images."""
    numbers = dict.fromkeys(("fid", "kid", "kid_low", "kid_high", "kid_unpaired"), ANY)
    columns = {"bucket": TEXT, "n": FINITE, "weights_sha256": TEXT} | numbers
    return read_csv(path, columns, ["kid_unpaired", "weights_sha256"], "Delete it and run again.")


def distances(paths: Sequence[str | Path]) -> dict[Key, Estimate]:
    """Return one method's FID and KID by (bucket, metric), averaged over its seeds; so is KID's interval."""
    frames = [read_distances(path).set_index("bucket") for path in paths]
    mean = sum(frame[["n", "fid", "kid", "kid_low", "kid_high"]] for frame in frames) / len(frames)
    found = {}
    for row in mean.itertuples():
        n = int(row.n)
        found[row.Index, "fid"] = Estimate(row.fid, math.nan, math.nan, n, n)
        found[row.Index, "kid"] = Estimate(row.kid, row.kid_low, row.kid_high, n, n)
    return found


def read_network_distances(path: str | Path) -> pd.DataFrame:
    """Read a distances.<network>.csv (``sair.evaluation.fid.all_distances``)."""
    numbers = dict.fromkeys((*KINDS, "kid_low", "kid_high", "kid_unpaired"), ANY)
    columns = {"bucket": TEXT, "n": FINITE, "weights_sha256": TEXT} | numbers
    return read_csv(path, columns, [], "Delete it and run again.")


def network_distances(paths: Sequence[str | Path], network: str) -> dict[Key, Estimate]:
    """Return one method's distances by a network's features, by (bucket, metric), averaged over its seeds.

    Args:
        paths: its distances.<network>.csv, one per seed.
        network: the network; it is the ending of the metrics' names.
    """
    frames = [read_network_distances(path).set_index("bucket") for path in paths]
    mean = sum(frame[["n", *KINDS, "kid_low", "kid_high"]] for frame in frames) / len(frames)
    found = {}
    for row in mean.itertuples():
        n = int(row.n)
        for name in KINDS:
            found[row.Index, f"{name}_{network}"] = Estimate(getattr(row, name), math.nan, math.nan, n, n)
        found[row.Index, f"kid_{network}"] = Estimate(row.kid, row.kid_low, row.kid_high, n, n)
    return found


def read_overlaps(paths: str | Path | Sequence[str | Path], features: str) -> list[pd.DataFrame]:
    """Read one read-out's overlaps with the true regions (``sair.inference.segmentation``), one frame per seed.

    Args:
        paths: segmentation.csv of a semantic encoder or of a method, one per seed.
        features: which of its dense maps: ``complete``, ``masked`` or ``completed``.

    Raises:
        InputError: a file is missing or not such a table; seeds that segmented different images.
    """
    paths = [paths] if isinstance(paths, str | Path) else list(paths)
    numbers = ("intersection", "union")
    columns = {name: FINITE if name in numbers else TEXT for name in SEGMENTATION_COLUMNS}
    frames = []
    for path in paths:
        frame = read_csv(path, columns, ["cluster"], "Delete it and run again.")
        if "cluster" not in frame:
            frame["cluster"] = frame.id
        frames.append(frame[frame.features == features])
    images = [set(zip(frame.bucket, frame.id, strict=True)) for frame in frames]
    for path, own in zip(paths, images, strict=True):
        if own != images[0]:
            raise InputError(f"{path}: segments other images than {paths[0]}. Delete the older one and run again.")
    return frames


def mean_of_overlaps(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return overlaps averaged over seeds.

    Args:
        frames: one per seed (``read_overlaps``).
    """
    if len(frames) == 1:
        return frames[0]
    numbers = ["intersection", "union"]
    keys = [name for name in SEGMENTATION_COLUMNS if name not in numbers]
    total = pd.concat(frames).groupby(keys, sort=False, as_index=False)[numbers].sum()
    return total.assign(**{name: total[name] / len(frames) for name in numbers})


def segmentation(overlaps: pd.DataFrame) -> dict[Key, Estimate]:
    """Return one read-out's mIoU by (bucket, metric), and over ``all`` buckets; complete images only over all."""
    complete = (overlaps.features == "complete").all()
    buckets = [(ALL, overlaps), *([] if complete else overlaps.groupby("bucket", sort=False))]
    return {
        (bucket, metric): mean_iou(part[part.region == region])
        for bucket, part in buckets
        for metric, region in REGION.items()
        if (part.region == region).any()
    }


def segmentation_spread(seeds: Sequence[pd.DataFrame]) -> dict[Key, float]:
    """Return the standard deviation over seeds of one read-out's mIoU, by (bucket, metric); {} for a single seed.

    Args:
        seeds: overlaps, one frame per seed (``read_overlaps``).
    """
    if len(seeds) < 2:
        return {}
    return _spread([{key: found.mean for key, found in segmentation(seed).items()} for seed in seeds])
