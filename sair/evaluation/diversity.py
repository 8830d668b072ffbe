"""Measure how far the samples of a stochastic method differ from each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from sair.common.files import write_csv
from sair.common.images import read_rgb
from sair.common.progress import progress
from sair.data.manifest import read_manifest
from sair.evaluation.metrics.lpips import LPIPS_SMALLEST, Lpips

DIVERSITY_COLUMNS = ("id", "bucket", "diversity")


def write_diversity(manifest: str | Path, predictions: Sequence[str | Path], output: str | Path) -> None:
    """Write the mean LPIPS between each two samples of every row of a manifest.

    Args:
        manifest: manifest.csv of the dataset.
        predictions: folders of predictions, one per sample; their composited images are compared.
        output: CSV with the columns of ``DIVERSITY_COLUMNS``; ``nan`` for images that are too small for LPIPS.

    Raises:
        InputError: an image is missing or unreadable.
    """
    network, lines = Lpips(), []
    for row in progress(read_manifest(manifest), desc="diversity", unit="row"):
        images = [read_rgb(Path(folder) / "composited" / row.prediction) for folder in predictions]
        lines.append([row.id, row.bucket, mean_distance(network, images)])
    write_csv(pd.DataFrame(lines, columns=DIVERSITY_COLUMNS), output)


def mean_distance(network: Lpips, images: Sequence[np.ndarray]) -> float:
    """Return the mean LPIPS over all pairs of images, uint8 RGB (H, W, 3) of one size; nan if they are too small."""
    if min(images[0].shape[:2]) < LPIPS_SMALLEST:
        return math.nan
    first, second = zip(*combinations(images, 2), strict=True)
    return float(network(first, second).mean())
