"""Compute the columns of a table beside its metrics: best of several samples, diversity, costs, published numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from sair.common.tabular import ANY, TEXT, read_csv
from sair.data.buckets import ALL
from sair.evaluation.metrics.registry import METRICS
from sair.reporting.conditions import records
from sair.reporting.inputs import COSTS, Layout, TableInputs
from sair.reporting.markup import MARKDOWN, Extra
from sair.reporting.measured import family_of, means, measures_of, read_scores
from sair.reporting.verdicts import Judged, summary

GIB = 1024  # MiB
TITLES = {  # by the name in a config: column of the CSV, printed header, decimals
    "parameters": ("parameters_millions", "Parameters (M)", 2),
    "seconds": ("seconds_per_image", "s/image", 3),
    "memory": ("memory_gib", "Memory (GiB)", 2),
    "gpu_memory": ("gpu_memory_gib", "GPU memory (GiB)", 2),
}


def columns(shown: Layout, inputs: TableInputs, judged: Mapping[str, Sequence[Judged]]) -> list[Extra]:
    """Return the further columns of a table of quality.

    Args:
        shown: the table; its ``columns`` name costs and ``published``.
        inputs: its files. If it has methods with several samples, best of all samples and diversity are added.
        judged: method -> its published numbers, judged.
    """
    return [*_of_samples(shown, inputs), *_costs(shown, inputs.measured), *_published(shown, judged)]


def joined(frame: pd.DataFrame, more: Sequence[Extra]) -> pd.DataFrame:
    """Return the CSV of a table with the further columns, which have one value for each method."""
    return frame.assign(**{extra.name: frame.method.map(dict(extra.values)) for extra in more})


def notes(shown: Layout, inputs: TableInputs, labels: Mapping[str, str]) -> list[str]:
    """Return the notes that explain the further columns.

    Args:
        shown, inputs: same as in ``columns``.
        labels: printed names by method.
    """
    found = []
    if inputs.diversity:
        counts = ", ".join(f"{labels[name]} {len(inputs.measured[name])}" for name in inputs.diversity)
        found.append(
            f"Samples per image: {counts}. Scores are means over them, and ± is between their means. Best of samples: "
            "the best one of each image, chosen with the ground truth, over all holes. Diversity: mean LPIPS between "
            "two samples; 0 means that all are equal."
        )
    if set(shown.columns) & set(COSTS):
        found.append(
            "Costs: weights that fill holes; mean time of a prediction, without the first batch; peak memory of the "
            "job, libraries included, and of torch on the GPU. They are of the machine that is named above."
        )
    return found


def _of_samples(shown: Layout, inputs: TableInputs) -> list[Extra]:
    if not inputs.diversity:
        return []
    best = {name: best_of(inputs.measured[name]) for name in inputs.diversity}
    found = []
    for metric in shown.metrics:
        facts = METRICS[metric]
        arrow = MARKDOWN.arrows[0 if facts.higher_is_better else 1]
        values = {name: scores.get((ALL, metric), math.nan) for name, scores in best.items()}
        found.append(Extra(f"best_{metric}", f"{facts.label} {arrow} best of samples", values, facts.decimals))
    values = {name: _diversity(path) for name, path in inputs.diversity.items()}
    return [*found, Extra("diversity", "Diversity", values, METRICS["lpips"].decimals)]


def best_of(files: Sequence[str | Path]) -> dict[tuple[str, str], float]:
    """Return the means by (bucket, measure) if the best sample of each image counts, for each measure separately.

    Args:
        files: scores.csv of each sample.
    """
    frames = [read_scores(path) for path in files]
    best = frames[0].copy()
    for measure in measures_of(best):
        together = pd.concat([frame[measure] for frame in frames], axis=1)
        higher = METRICS[family_of(measure)].higher_is_better
        best[measure] = together.max(axis=1) if higher else together.min(axis=1)
    return means(best)


def _diversity(path: str | Path) -> float:
    frame = read_csv(path, {"id": TEXT, "bucket": TEXT, "diversity": ANY}, remedy="Delete it and run again.")
    return float(frame.groupby("id").diversity.mean().mean())


def _costs(shown: Layout, measured: Mapping[str, Sequence[str]]) -> list[Extra]:
    found = {name: costs_of(files) for name, files in measured.items()}
    chosen = [name for name in shown.columns if name in TITLES]
    return [
        Extra(column, title, {method: costs[name] for method, costs in found.items()}, decimals)
        for name in chosen
        for column, title, decimals in [TITLES[name]]
    ]


def costs_of(files: Sequence[str | Path]) -> dict[str, float]:
    """Return what the predictions of one row cost, from the records of its jobs; nan where nothing is recorded.

    Args:
        files: its scores.csv, one per seed; several jobs of a row count together.

    Returns:
        ``parameters`` in millions, ``seconds`` per image, ``memory`` and ``gpu_memory`` in GiB.
    """
    jobs = [record for step, record in records(files) if step == "prediction"]
    timed = [job["prediction"] for job in jobs if isinstance(job.get("prediction"), dict)]
    return {
        "parameters": _largest(timed, "parameters") / 1e6,
        "seconds": _mean([one.get("seconds_per_image") for one in timed]),
        "memory": _largest(jobs, "peak_memory_mib") / GIB,
        "gpu_memory": _largest(jobs, "peak_gpu_memory_mib") / GIB,
    }


def _largest(facts: Sequence[Mapping[str, Any]], key: str) -> float:
    return max((float(one[key]) for one in facts if one.get(key) is not None), default=math.nan)


def _mean(values: Sequence[Any]) -> float:
    known = [float(value) for value in values if value is not None]
    return sum(known) / len(known) if known else math.nan


def _published(shown: Layout, judged: Mapping[str, Sequence[Judged]]) -> list[Extra]:
    if "published" not in shown.columns:
        return []
    return [Extra("published", "Published numbers", {name: summary(found) for name, found in judged.items() if found})]
