"""Tell before a run which differences its tables could show, from the config's seeds, test images and comparisons."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from sair.data.manifest import read_manifest
from sair.evaluation.metrics.registry import METRICS
from sair.evaluation.statistics_design import Design, smallest_difference
from sair.reporting.inputs import QUALITY, Layout, layout, training_seeds
from sair.reporting.reference import score_files, stored
from sair.reporting.rows import competes

REMEDY = (
    "To detect smaller differences, use more seeds, or more test images where images vary more than seeds "
    "(docs/statistics.md)."
)


class Planned(NamedTuple):
    """The smallest differences that a planned table detects in about four of five runs.

    title: of the table.
    design: its seeds, images and comparisons.
    sizes: by metric; None where the spread of seeds is not known.
    bounds: metrics whose spread over images is not known, so that their size is a lower bound.
    """

    title: str
    design: Design
    sizes: Mapping[str, float | None]
    bounds: Sequence[str]

    def __str__(self) -> str:
        """Return them in one line."""
        design = self.design
        seeds = f"{design.seeds} seed{'' if design.seeds == 1 else 's'}"
        return (
            f"{seeds}, {design.images} images per bucket, {design.family} comparisons: detects, in about four of five "
            f"runs, differences from {', '.join(self._texts())}"
        )

    def _texts(self) -> Iterator[str]:
        for name, size in self.sizes.items():
            metric = METRICS[name]
            if size is None:
                yield f"{metric.label} unknown (set `regression.least.{name}`)"
            elif math.isinf(size):
                yield f"{metric.label} none (too few images)"
            else:
                sign = "> " if name in self.bounds else ""
                yield f"{metric.label} {sign}{size:.{metric.decimals + 1}f}{metric.after}"


def planned_tables(
    config: Mapping[str, Any], methods: Mapping[str, Mapping[str, Mapping[str, Any]]]
) -> Iterator[Planned]:
    """Yield what each table of quality could show; tables with fewer than two competing methods are left out.

    Args:
        config: the whole config, checked.
        methods: table -> specifications of its methods.
    """
    spreads: dict[str, float] | None = None
    for name, specs in methods.items():
        shown = layout(config, name)
        count = sum(map(competes, specs.values()))
        if shown.measure != QUALITY or count < 2:
            continue
        spreads = image_spreads(config["regression"]["reference"]) if spreads is None else spreads
        design = Design(
            seeds=min(len(training_seeds(config, method)) for method in specs),
            images=_independent(config, shown.dataset),
            family=(count - 1) * len(shown.buckets) * len(shown.metrics),
        )
        yield _planned(shown, design, config["regression"]["least"], spreads)


def _independent(config: Mapping[str, Any], dataset: str) -> int:
    """Return the number of test images, or of their clusters if the split is frozen and has fewer."""
    manifest = Path(config["results"], dataset, "manifest.csv")
    count = config["datasets"][dataset]["test"]
    return min(count, len({row.cluster for row in read_manifest(manifest)})) if manifest.is_file() else count


def _planned(shown: Layout, design: Design, least: Mapping[str, float], spreads: Mapping[str, float]) -> Planned:
    sizes: dict[str, float | None] = {}
    for name in shown.metrics:
        known = least.get(METRICS[name].family, METRICS[name].least)
        sizes[name] = None if known is None else smallest_difference(design, known, spreads.get(name, 0.0))
    bounds = [name for name, size in sizes.items() if size is not None and name not in spreads]
    return Planned(shown.title, design, sizes, bounds)


def image_spreads(reference: str | Path) -> dict[str, float]:
    """Return by how much the paired difference of two similar methods varies over images, by metric.

    It is the median, over buckets and over the methods of the stored reference, of the standard deviation of a method's
    difference from the one whose mean is nearest; {} without a reference of at least two methods.

    Args:
        reference: folder of the stored scores (``sair reference``).

    Raises:
        InputError: a stored file is not a score file.
    """
    import pandas as pd

    from sair.reporting.measured import capped, measures_of, read_seeds

    frames = {name: capped(read_seeds(score_files(reference, name)[0])[0]) for name in stored(reference)}
    if len(frames) < 2:
        return {}
    found: dict[str, list[float]] = {}
    together = pd.concat(frames, names=["method"]).reset_index("method")
    for metric in measures_of(together.drop(columns="method")):
        for _, part in together.groupby("bucket"):
            wide = part.pivot(index="id", columns="method", values=metric)
            order = wide.mean().sort_values().index
            for first, second in pairwise(order):
                found.setdefault(metric, []).append(float((wide[first] - wide[second]).std()))
    return {metric: float(pd.Series(values).median()) for metric, values in found.items()}
