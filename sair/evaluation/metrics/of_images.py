"""List the metrics of image pairs, and their columns in score files (docs/add-a-metric.md).

Score files always have the columns of ``IMAGE_METRICS``; those of ``OPTIONAL_METRICS`` follow where they are named.

Scoring images imports this list and not ``registry``, so that scores stay valid, for example, when FID's code is
edited.
"""

from __future__ import annotations

from collections.abc import Iterable

from sair.common.errors import InputError, near
from sair.evaluation.metrics import clipscore, dists, l1, lpips, outside, psnr, seam, ssim
from sair.evaluation.metrics.metric import Metric

# In the order of the columns of score files.
IMAGE_METRICS = (
    psnr.METRIC,
    ssim.METRIC,
    l1.METRIC,
    lpips.METRIC,
)

OPTIONAL_METRICS = (
    lpips.VGG,
    lpips.SQUEEZE,
    dists.METRIC,
    outside.PSNR,
    outside.CHANGED,
    lpips.OUTSIDE,
    seam.INSIDE,
    seam.OUTSIDE,
    clipscore.IMAGE,
    clipscore.REGION,
)

COMPUTED = [metric for metric in IMAGE_METRICS if metric.network is None]  # these have a value for every image
NETWORKS = {metric.name: metric for metric in IMAGE_METRICS if metric.network is not None}

# Columns of score files: of the composited image, of its hole, and of the prediction before compositing.
WHOLE_COLUMNS = [metric.name for metric in IMAGE_METRICS]
HOLE_COLUMNS = [f"{metric.name}_hole" for metric in COMPUTED if metric.in_hole]
RAW_COLUMNS = [f"{metric.name}_raw" for metric in IMAGE_METRICS]
MEASURES = [*WHOLE_COLUMNS, *HOLE_COLUMNS, *RAW_COLUMNS]
ALWAYS = [name for metric in COMPUTED for name in (metric.name, f"{metric.name}_raw")]  # never nan

OPTIONAL = {metric.name: metric for metric in OPTIONAL_METRICS}
OPTIONAL_COLUMNS = [column for metric in OPTIONAL_METRICS for column in metric.columns]
ALL_MEASURES = [*MEASURES, *OPTIONAL_COLUMNS]  # the columns that a score file may have

SMALLEST_SIDE = max(metric.smallest for metric in COMPUTED)  # pixels; smaller images are not scored at all


def chosen(names: Iterable[str]) -> list[Metric]:
    """Return optional metrics by their names, in the registry's order; names of other metrics are left out.

    Raises:
        InputError: there is no metric of images with this name.
    """
    wanted = set(names)
    known = {*WHOLE_COLUMNS, *OPTIONAL}
    for name in sorted(wanted - known):
        raise InputError(f"there is no metric {name!r} of images. {near(name, known)}")
    return [metric for metric in OPTIONAL_METRICS if metric.name in wanted]


def columns_with(extra: Iterable[Metric]) -> list[str]:
    """Return the measures of a score file with some optional metrics, in the order of its columns."""
    return [*MEASURES, *(column for metric in extra for column in metric.columns)]
