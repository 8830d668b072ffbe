"""The list of all metrics. A new metric is one file beside this one and one entry here (docs/add-a-metric.md)."""

from __future__ import annotations

from sair.evaluation.metrics import fid, kid, l1, lpips, miou, psnr, ssim
from sair.evaluation.metrics.metric import Metric

# In the order of the columns of score files.
ENTRIES = (
    psnr.METRIC,
    ssim.METRIC,
    l1.METRIC,
    lpips.METRIC,
    fid.METRIC,
    kid.METRIC,
    miou.METRIC,
    miou.IN_HOLE,
)

METRICS: dict[str, Metric] = {metric.name: metric for metric in ENTRIES}
IMAGE_METRICS = [metric for metric in ENTRIES if metric.kind == "image"]
COMPUTED = [metric for metric in IMAGE_METRICS if metric.network is None]  # these have a value for every image
NETWORKS = [metric for metric in IMAGE_METRICS if metric.network is not None]
SET_METRICS = [metric.name for metric in ENTRIES if metric.kind == "set"]
JUDGED = [metric.name for metric in ENTRIES if metric.kind != "set" and metric.name == metric.family]  # have a test

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
