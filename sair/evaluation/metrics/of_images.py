"""List the metrics that image pairs have, and their columns in score files (docs/add-a-metric.md).

Scoring images imports this list and not ``registry``, so that scores stay valid, for example, when FID's code is
edited.
"""

from __future__ import annotations

from sair.evaluation.metrics import l1, lpips, psnr, ssim
from sair.evaluation.metrics.metric import Metric

# In the order of the columns of score files.
IMAGE_METRICS = (
    psnr.METRIC,
    ssim.METRIC,
    l1.METRIC,
    lpips.METRIC,
)

COMPUTED = [metric for metric in IMAGE_METRICS if metric.network is None]  # these have a value for every image
NETWORKS = {metric.name: metric for metric in IMAGE_METRICS if metric.network is not None}

# Columns of score files: of the composited image, of its hole, and of the prediction before compositing.
WHOLE_COLUMNS = [metric.name for metric in IMAGE_METRICS]
HOLE_COLUMNS = [f"{metric.name}_hole" for metric in COMPUTED if metric.in_hole]
RAW_COLUMNS = [f"{metric.name}_raw" for metric in IMAGE_METRICS]
MEASURES = [*WHOLE_COLUMNS, *HOLE_COLUMNS, *RAW_COLUMNS]
ALWAYS = [name for metric in COMPUTED for name in (metric.name, f"{metric.name}_raw")]  # never nan

SMALLEST_SIDE = max(metric.smallest for metric in COMPUTED)  # pixels; smaller images are not scored at all


def columns_of(metric: Metric) -> list[str]:
    """Return the columns of score files that hold values of a metric of image pairs."""
    names = (metric.name, f"{metric.name}_hole", f"{metric.name}_raw")
    return [name for name in names if name in MEASURES]
