"""List all metrics: those of images (``of_images``), of sets of images and of segmentations."""

from __future__ import annotations

from sair.evaluation.metrics import fid, kid, miou
from sair.evaluation.metrics.features import FEATURE_METRICS
from sair.evaluation.metrics.metric import Metric
from sair.evaluation.metrics.of_images import IMAGE_METRICS, OPTIONAL_METRICS

ENTRIES = (
    *IMAGE_METRICS,
    fid.METRIC,
    kid.METRIC,
    miou.METRIC,
    miou.IN_HOLE,
    *OPTIONAL_METRICS,
    *FEATURE_METRICS,
)

METRICS: dict[str, Metric] = {metric.name: metric for metric in ENTRIES}
SET_METRICS = [fid.METRIC.name, kid.METRIC.name]  # measured unless `fid: false`; the others where a config names them
JUDGED = [metric.name for metric in ENTRIES if metric.kind != "set" and metric.name == metric.family]  # have a test
