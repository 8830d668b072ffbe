"""Compare methods over trainings and images: their scores by seed, paired differences, and what their variance is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from sair.common.errors import InputError
from sair.data.buckets import ALL
from sair.evaluation.metrics.miou import mean_iou_difference, mean_iou_values
from sair.evaluation.statistics import Difference, paired
from sair.evaluation.statistics_seeds import Shares, cluster_values, components, shares
from sair.reporting.measured import (
    REGION,
    Key,
    capped,
    mean_of_overlaps,
    mean_of_seeds,
    read_overlaps,
    read_seeds,
)


@dataclass(frozen=True)
class Runs:
    """The scores, or the overlaps, of one method by seed.

    Attributes:
        seeds: one frame per seed.
        mean: their average over seeds.
    """

    seeds: Sequence[pd.DataFrame]
    mean: pd.DataFrame

    @cached_property
    def capped(self) -> list[pd.DataFrame]:
        """The scores of each seed, limited to their metric's cap."""
        return [capped(frame) for frame in self.seeds]

    def values(self, metric: str, rows: np.ndarray) -> np.ndarray:
        """Return a measure at some rows of the frames, float (seeds, rows)."""
        return np.stack([frame[metric].to_numpy(dtype=np.float64)[rows] for frame in self.capped])


def read_runs(paths: str | Path | Sequence[str | Path], required: Sequence[str] = ()) -> Runs:
    """Read score files, one per seed; arguments and errors same as in ``read_scores``."""
    seeds = read_seeds(paths, required)
    return Runs(seeds, mean_of_seeds(seeds))


def read_segmented(paths: str | Path | Sequence[str | Path], features: str) -> Runs:
    """Read overlaps, one file per seed; arguments and errors same as in ``read_overlaps``."""
    seeds = read_overlaps(paths, features)
    return Runs(seeds, mean_of_overlaps(seeds))


# --------------------------------------------------------------------------------------------------------------------
# Scores


def quality_differences(a: Runs, b: Runs, keys: Iterable[Key]) -> dict[Key, Difference]:
    """Return paired differences of two methods' scores, ``a`` minus ``b``, on the images that both scored."""
    both = _both(a.mean, b.mean)
    found = {}
    for bucket, metric in keys:
        part = both if bucket == ALL else both[both.bucket == bucket]
        first, second = (runs.values(metric, part[rows]) for runs, rows in ((a, "row_a"), (b, "row_b")))
        known = ~np.isnan(first.mean(0) - second.mean(0))
        first, second, part = first[:, known], second[:, known], part[known]
        clusters = part.cluster
        if bucket == ALL:  # an image counts once
            codes, names = pd.factorize(part.id, sort=True)
            first, second = (_by_image(values, codes, len(names)) for values in (first, second))
            clusters = part.groupby("id").cluster.first()
        found[bucket, metric] = paired(first, second, clusters=clusters.to_numpy())
    return found


def quality_values(runs: Runs, keys: Iterable[Key]) -> dict[Key, np.ndarray]:
    """Return one number per seed and cluster whose mean is the mean over images, float (seeds, clusters).

    A column is missing where an image has no number, and where every image was filled without an error.
    """
    frame, found = runs.mean, {}
    codes, names = pd.factorize(frame.id, sort=True)
    of_images = frame.groupby("id").cluster.first().to_numpy()
    for bucket, metric in keys:
        part = np.arange(len(frame)) if bucket == ALL else np.flatnonzero(frame.bucket == bucket)
        values = runs.values(metric, part)
        if not len(part) or np.isnan(values).any() or np.isinf(frame[metric].to_numpy()[part]).all():
            continue
        if bucket == ALL:
            found[bucket, metric] = cluster_values(_by_image(values, codes, len(names)), of_images)
        else:
            found[bucket, metric] = cluster_values(values, frame.cluster.to_numpy()[part])
    return found


def quality_shares(a: Runs, b: Runs, metric: str, least: float | None) -> Shares | None:
    """Return what the variance of a mean difference over all buckets consists of.

    Args:
        a, b: two methods.
        metric: a measure.
        least: with one seed, the 95 % bound of the change that another seed causes; None if it is not known.

    Returns:
        None if images have different numbers of masks, if the methods have different numbers of seeds, or if nothing is
        known about other seeds.
    """
    both = _both(a.mean, b.mean).sort_values(["id", "bucket"], kind="stable")
    masks = both.bucket.nunique()
    if len(a.seeds) != len(b.seeds) or len(both) != masks * both.id.nunique():
        return None
    values = a.values(metric, both.row_a) - b.values(metric, both.row_b)
    return None if np.isnan(values).any() else shares(values.reshape(len(values), -1, masks), least)


def _both(a: pd.DataFrame, b: pd.DataFrame) -> pd.DataFrame:
    """Return bucket, id and cluster of the images that two frames share, with their rows in both."""
    first, second = (
        frame[["bucket", "id", "cluster"]].assign(**{name: np.arange(len(frame))})
        for frame, name in ((a, "row_a"), (b, "row_b"))
    )
    both = first.merge(second, on=["bucket", "id"], suffixes=("_a", "_b"))
    return both.assign(cluster=_common_clusters(both))


def _common_clusters(both: pd.DataFrame) -> pd.Series:
    """Return the clusters of two files' common images; a file without clusters takes those of the other."""
    declared = [column for column in (both.cluster_a, both.cluster_b) if (column != both.id).any()]
    if len(declared) == 2 and not declared[0].equals(declared[1]):
        raise InputError("the two files put images into different clusters. Compare runs of one manifest.")
    return declared[0] if declared else both.id


def _by_image(values: np.ndarray, codes: np.ndarray, images: int) -> np.ndarray:
    """Return means over the rows of each image, float (seeds, images)."""
    counts = np.bincount(codes, minlength=images)
    return np.stack([np.bincount(codes, line, images) / counts for line in values])


# --------------------------------------------------------------------------------------------------------------------
# Segmentation


def segmentation_differences(a: Runs, b: Runs, keys: Iterable[Key]) -> dict[Key, Difference]:
    """Return paired differences of two read-outs' mIoU, ``a`` minus ``b``."""
    found = {}
    for bucket, metric in keys:
        first, second = (_region(runs.mean, bucket, metric) for runs in (a, b))
        ids = set(first["id"]) & set(second["id"])
        difference = mean_iou_difference(first, second)
        values = [_iou_values(runs, bucket, metric, ids) for runs in (a, b)]
        parts = components(*values) if difference.clusters > 1 else None
        # The mIoU of overlaps that are averaged over seeds is not exactly the mean of the seeds' mIoU.
        centred = parts and parts._replace(mean=difference.mean)
        found[bucket, metric] = difference._replace(components=centred)
    return found


def segmentation_values(runs: Runs, keys: Iterable[Key]) -> dict[Key, np.ndarray]:
    """Return pseudo-values of one read-out's mIoU, float (seeds, clusters), where there are images."""
    found = {}
    for bucket, metric in keys:
        if ids := set(_region(runs.mean, bucket, metric)["id"]):
            found[bucket, metric] = _iou_values(runs, bucket, metric, ids)
    return found


def _region(overlaps: pd.DataFrame, bucket: str, metric: str) -> pd.DataFrame:
    part = overlaps[overlaps.region == REGION[metric]]
    return part if bucket == ALL else part[part.bucket == bucket]


def _iou_values(runs: Runs, bucket: str, metric: str, ids: set[str]) -> np.ndarray:
    """Return pseudo-values of mIoU, float (seeds, clusters)."""
    frames = [_region(frame, bucket, metric) for frame in runs.seeds]
    frames = [frame[frame["id"].isin(ids)] for frame in frames]
    clusters = sorted(set(frames[0]["cluster"]))
    names = sorted(set(frames[0]["class"]), key=str)
    return np.stack([mean_iou_values(frame, clusters, names) for frame in frames])
