"""What was measured: from the scores on disk to estimates by (bucket, metric), and to paired differences of methods."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from sair.evaluation import metrics as convention
from sair.evaluation.metrics import MIOU
from sair.evaluation.score import SCORE_COLUMNS
from sair.evaluation.segmentation import REGIONS, mean_iou, mean_iou_difference
from sair.evaluation.statistics import Difference, Estimate, estimate, paired
from sair.files import InputError

MEASURES = [column for column in SCORE_COLUMNS if column not in ("id", "bucket", "ratio")]
DISTANCES = ["fid", "kid"]  # of distributions: no picture has one
METRICS = convention.METRICS | convention.DISTANCES | {"miou": MIOU, "miou_hole": MIOU}
NAMES = {
    "psnr": "PSNR",
    "ssim": "SSIM",
    "l1": "L1",
    "lpips": "LPIPS",
    "fid": "FID",
    "kid": "KID",
    "miou": "mIoU",
    "miou_hole": "mIoU in the hole",
}
REGION = dict(zip(("miou", "miou_hole"), REGIONS, strict=True))
ALL = "all"  # the bucket of every mask ratio together

Key = tuple[str, str]  # bucket, metric


def read_scores(paths: Sequence[str | Path]) -> pd.DataFrame:
    """Scores of one method averaged over its seeds, one row a (bucket, id).

    Raises:
        InputError: seeds that scored different pictures.
    """
    frames = [pd.read_csv(path, dtype={"id": str, "bucket": str}) for path in paths]
    keys = [list(zip(frame.bucket, frame.id, strict=True)) for frame in frames]
    for path, own in zip(paths, keys, strict=True):
        if own != keys[0]:
            raise InputError(f"{path}: scores other pictures than {paths[0]}. Delete the older one and run again.")
    mean = frames[0].copy()
    mean[MEASURES] = sum(frame[MEASURES] for frame in frames) / len(frames)
    return mean


def quality(scores: pd.DataFrame, measures: Sequence[str] = MEASURES) -> dict[Key, Estimate]:
    """One method's means by (bucket, metric), and over ``all`` buckets, where a picture counts once."""
    together = scores.groupby("id", sort=False, as_index=False)[[*measures]].mean().assign(bucket=ALL)
    return {
        (bucket, metric): estimate(group[metric].dropna().to_numpy())
        for part in (scores, together)
        for bucket, group in part.groupby("bucket", sort=False)
        for metric in measures
    }


def seed_spread(paths: Sequence[str | Path]) -> dict[Key, float]:
    """Standard deviation over seeds of one method's means, by (bucket, metric); nothing for a single seed."""
    if len(paths) < 2:
        return {}
    means = []
    for path in paths:
        scores = read_scores([path])
        means.append(scores.groupby("bucket")[MEASURES].mean())
        means[-1].loc[ALL] = scores.groupby("id")[MEASURES].mean().mean()
    deviation = pd.concat(means).groupby(level=0).std()
    return {(bucket, metric): float(deviation.loc[bucket, metric]) for bucket in deviation.index for metric in MEASURES}


def quality_differences(a: pd.DataFrame, b: pd.DataFrame, keys: Iterable[Key]) -> dict[Key, Difference]:
    """Paired differences of two methods' scores, ``a`` minus ``b``."""
    a, b = (scores.set_index(["bucket", "id"]) for scores in (a, b))
    found = {}
    for bucket, metric in keys:
        both = pd.concat([a[metric], b[metric]], axis=1, join="inner", keys=("a", "b")).dropna()
        # With every mask ratio together a picture counts once.
        both = both.groupby(level="id").mean() if bucket == ALL else both[both.index.get_level_values(0) == bucket]
        found[bucket, metric] = paired(both.a.to_numpy(), both.b.to_numpy())
    return found


def distances(paths: Sequence[str | Path]) -> dict[Key, Estimate]:
    """One method's FID and KID by (bucket, metric), averaged over its seeds, the ends of KID's interval too.

    Where pictures are too few, the number is ``nan``.
    """
    frames = [pd.read_csv(path, dtype={"bucket": str}).set_index("bucket") for path in paths]
    mean = sum(frame[["n", "fid", "kid", "kid_low", "kid_high"]] for frame in frames) / len(frames)
    found = {}
    for row in mean.itertuples():
        found[row.Index, "fid"] = Estimate(row.fid, math.nan, math.nan, int(row.n))
        found[row.Index, "kid"] = Estimate(row.kid, row.kid_low, row.kid_high, int(row.n))
    return found


def read_overlaps(path: str | Path, features: str) -> pd.DataFrame:
    """One read-out's overlaps with the true regions (``sair.segmentation``).

    Args:
        path: segmentation.csv of a semantic encoder or a method.
        features: which of its dense maps: ``complete``, ``masked`` or ``completed``.
    """
    frame = pd.read_csv(path, dtype={"id": str, "bucket": str})
    return frame[frame.features == features]


def segmentation(overlaps: pd.DataFrame) -> dict[Key, Estimate]:
    """One read-out's mIoU by (bucket, metric), and over ``all`` buckets; a complete picture is in no other."""
    complete = (overlaps.features == "complete").all()
    parts = [(ALL, overlaps), *([] if complete else overlaps.groupby("bucket", sort=False))]
    return {
        (bucket, metric): mean_iou(part[part.region == region])
        for bucket, part in parts
        for metric, region in REGION.items()
        if (part.region == region).any()
    }


def segmentation_differences(a: pd.DataFrame, b: pd.DataFrame, keys: Iterable[Key]) -> dict[Key, Difference]:
    """Paired differences of two read-outs' mIoU, ``a`` minus ``b``."""
    found = {}
    for bucket, metric in keys:
        parts = (part[part.region == REGION[metric]] for part in (a, b))
        found[bucket, metric] = mean_iou_difference(
            *(part if bucket == ALL else part[part.bucket == bucket] for part in parts)
        )
    return found
