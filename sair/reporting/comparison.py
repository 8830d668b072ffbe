"""Compare two methods' scores on the same images: improved, worse, or no difference."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from tabulate import tabulate

from sair.common.errors import InputError, near
from sair.data.buckets import ALL, holes
from sair.evaluation.conventions import all_measures
from sair.evaluation.metrics.of_images import ALL_MEASURES
from sair.evaluation.metrics.registry import JUDGED, METRICS
from sair.evaluation.score import KEYS
from sair.evaluation.statistics import Decision, Difference, decide
from sair.evaluation.statistics_seeds import NO_OUTLOOK, Outlook
from sair.reporting import notes
from sair.reporting.measured import (
    Key,
    family_of,
    least_in_unit,
    least_of,
    mean_of_seeds,
    means,
    measures_of,
    same_images,
)
from sair.reporting.runs import Runs, quality_differences, quality_shares, read_runs
from sair.reporting.standings import CHANCES

IMPROVED, WORSE, SAME = "improved", "worse", "no difference"


class Verdict(NamedTuple):
    """The outcome for one measure in one bucket.

    difference: ``variant`` minus ``reference``, with interval and p over images.
    adjusted_p: that p, corrected for all comparisons of the check.
    outcome: ``improved``, ``worse`` or ``no difference``.
    reason: why there is no difference; empty otherwise.
    method_low, method_high: ends of the 95 % interval over trainings and images; nan if no spread of seeds is known.
    method_p: p over trainings and images, corrected like ``adjusted_p``.
    outlook: probabilities that the variant is better, equivalent or worse.
    """

    bucket: str
    metric: str
    difference: Difference
    adjusted_p: float
    outcome: str
    reason: str
    method_low: float
    method_high: float
    method_p: float
    outlook: Outlook


NUMBERS = [
    *("difference", "low", "high", "p", "n", "clusters", "adjusted_p"),
    *("method_low", "method_high", "method_p", *CHANCES),
]
COLUMNS = ["bucket", "metric", *NUMBERS, "outcome", "reason"]


def compare(
    reference: str | Path | Sequence[str | Path],
    variant: str | Path | Sequence[str | Path],
    least: Mapping[str, float] | None = None,
) -> list[Verdict]:
    """Compare two methods by (bucket, metric), paired by image, by the rule of ``sair.evaluation.statistics.decide``.

    Args:
        reference, variant: score files, one per seed: of the workflow, of ``sair score``, or by other conventions.
        least: by metric, the change that another training seed alone causes; nothing is decided for a metric without
            a value. None: every size counts, for methods that are not trained.

    Raises:
        InputError: a file is not a score file or has an unknown column; the two scored different images or measures.
    """
    names = {"reference": _name(reference), "variant": _name(variant)}
    first, second = read_runs(reference), read_runs(variant)
    for paths in (reference, variant):
        _check_headers(paths)
    if (first.mean.bucket == "").all() != (second.mean.bucket == "").all():
        # One was scored without masks, so only whole images can be compared.
        first, second = (
            _without_buckets(runs, name) for runs, name in zip((first, second), names.values(), strict=True)
        )
    if names["reference"] == names["variant"]:
        names["variant"] += " (variant)"
    same_images({names["variant"]: second.mean, names["reference"]: first.mean})
    shared = [metric for metric in measures_of(first.mean) if metric in measures_of(second.mean)]
    # Of the workflow's scores, use those that tables print; hole-only and raw ones would only reduce the power.
    printed = [metric for metric in shared if metric in METRICS] or shared
    if not printed:
        raise InputError(f"{names['variant']} and {names['reference']} have no measure in common.")
    buckets = [bucket for bucket in dict.fromkeys(first.mean.bucket) if bucket]
    columns = [(bucket, metric) for bucket in [*buckets, ALL] for metric in printed]
    differences = quality_differences(second, first, columns)
    columns = [key for key in columns if differences[key].n]  # LPIPS does not exist for small images
    if not columns:
        raise InputError(f"{names['variant']} and {names['reference']}: no image has a number in both.")
    known = means(first.mean)
    sizes = [0.0 if least is None else least_in_unit(key, least, known) for key in columns]
    decisions = decide([differences[key] for key in columns], sizes, [metric for _, metric in columns])
    return [
        _verdict(key, differences[key], decision, size)
        for key, decision, size in zip(columns, decisions, sizes, strict=True)
    ]


def same_scores(
    reference: str | Path | Sequence[str | Path],
    variant: str | Path | Sequence[str | Path],
    verdicts: Sequence[Verdict],
) -> str:
    """Return a warning if both sides are the same; "" otherwise.

    Args:
        reference, variant: same as in ``compare``.
        verdicts: the result of ``compare``.
    """
    sides = [[paths] if isinstance(paths, str | Path) else list(paths) for paths in (reference, variant)]
    for first, second in product(*sides):
        if os.path.samefile(first, second):
            names = " and ".join(dict.fromkeys(map(str, (first, second))))
            return f"{names}: reference and variant are the same file. Name the scores of two methods."
    if all(v.difference.mean == v.difference.low == v.difference.high == 0 for v in verdicts):
        return (
            "reference and variant have the same scores for every image, so they are copies, or of the same "
            "predictions. Check the paths."
        )
    return ""


def _verdict(key: Key, difference: Difference, decision: Decision, least: float | None) -> Verdict:
    parts = difference.components
    low, high = parts.distribution(least).interval if parts else (math.nan, math.nan)
    outlook = parts.outlook(least, METRICS[family_of(key[1])].higher_is_better) if parts else NO_OUTLOOK
    found = _outcome(key[1], decision.sign)
    return Verdict(*key, difference, decision.adjusted_p, found, decision.reason, low, high, decision.method_p, outlook)


def to_frame(verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """Return the verdicts as a table with the columns ``COLUMNS``, one row each."""
    rows = [
        [*v[:2], *v.difference.numbers, v.adjusted_p, v.method_low, v.method_high, v.method_p, *v.outlook, *v[4:6]]
        for v in verdicts
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def parse_least(words: Sequence[str]) -> dict[str, float]:
    """Return the least differences that a command line gives as ``psnr=0.2``.

    Raises:
        InputError: a word is not such a pair, or a measure is given twice.
    """
    least = {}
    for word in words:
        name, _, text = word.partition("=")
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if name not in JUDGED or not 0 <= value < math.inf:
            raise InputError(
                f"--least {word}: expected MEASURE=VALUE, such as psnr=0.2. Measures: {', '.join(JUDGED)}."
            )
        if name in least:
            raise InputError(f"--least {word}: {name} is given twice. Give each measure once.")
        least[name] = value
    return least


def _check_headers(paths: str | Path | Sequence[str | Path]) -> None:
    """Refuse score files with a column of an unknown name, which would silently not be compared."""
    known = [*KEYS, *ALL_MEASURES, *all_measures()]
    for path in [paths] if isinstance(paths, str | Path) else paths:
        for name in pd.read_csv(path, nrows=0).columns:
            if name not in known:
                raise InputError(
                    f"{path}: there is no measure {name!r}. {near(name.lower(), known)} Rename or remove the column."
                )


def _name(paths: str | Path | Sequence[str | Path]) -> str:
    return str(paths if isinstance(paths, str | Path) else paths[0])


def _without_buckets(runs: Runs, name: str) -> Runs:
    if runs.mean.id.duplicated().any():
        raise InputError(
            f"{name}: scores images under several masks each, and the other file was scored without masks. "
            "Score that file with the same masks."
        )
    seeds = [frame.assign(bucket="").drop(columns="ratio", errors="ignore") for frame in runs.seeds]
    return Runs(seeds, mean_of_seeds(seeds))


def _outcome(metric: str, sign: int) -> str:
    if sign == 0:
        return SAME
    return IMPROVED if (sign > 0) == METRICS[family_of(metric)].higher_is_better else WORSE


def to_text(verdicts: Sequence[Verdict]) -> str:
    """Return a plain table of the outcomes."""
    rows = []
    for v in verdicts:
        digits = METRICS[family_of(v.metric)].decimals + 1
        rows.append(
            [
                "all" if v.bucket == ALL else holes(v.bucket),
                METRICS[v.metric].label if v.metric in METRICS else v.metric,
                f"{v.difference.mean:+.{digits}f}",
                _interval(v.difference.low, v.difference.high, digits),
                "-" if math.isnan(v.adjusted_p) else f"{v.adjusted_p:.4f}",
                _interval(v.method_low, v.method_high, digits),
                "-" if math.isnan(v.method_p) else f"{v.method_p:.4f}",
                "-" if math.isnan(v.outlook.better) else " / ".join(f"{value:.2f}" for value in v.outlook),
                v.difference.n,
                v.outcome + (f" ({v.reason})" if v.reason else ""),
            ]
        )
    headers = [
        *("holes", "measure", "difference", "these weights", "p (Holm)", "these methods", "p (Holm)"),
        *("better / equivalent / worse", "n", "outcome"),
    ]
    align = ("left", "left", *["right"] * 7, "left")
    return tabulate(rows, headers, disable_numparse=True, colalign=align)


def _interval(low: float, high: float, digits: int) -> str:
    return "-" if math.isnan(low) else f"[{low:+.{digits}f}, {high:+.{digits}f}]"


def terms(
    reference: str | Path | Sequence[str | Path],
    variant: str | Path | Sequence[str | Path],
    verdicts: Sequence[Verdict],
    least: Mapping[str, float],
) -> list[str]:
    """Return sentences on the data and the rule by which two methods were compared.

    Args:
        reference, variant, least: same as in ``compare``.
        verdicts: the result of ``compare``.
    """
    runs = {"reference": read_runs(reference), "variant": read_runs(variant)}
    seeds = {who: len(found.seeds) for who, found in runs.items()}
    perfect = notes.perfect({who: found.mean for who, found in runs.items()})
    n, clusters = max((v.difference.n, v.difference.clusters) for v in verdicts)
    metrics = list(dict.fromkeys(family_of(v.metric) for v in verdicts))
    size = least_of(verdicts[0].metric, least)
    found = quality_shares(runs["variant"], runs["reference"], verdicts[0].metric, size)
    label = METRICS[family_of(verdicts[0].metric)].label
    return [
        f"Difference: variant minus reference, paired by image. At most n = {n} images together."
        f"{notes.clusters(n, clusters)} Seeds: {seeds['variant']} of the variant, {seeds['reference']} of the "
        "reference.",
        notes.intervals(max(seeds.values()) > 1),
        f"Improved or worse: {notes.rule(len(verdicts), 'this check', metrics, least, max(seeds.values()) > 1)}.",
        *([notes.shares(found, f"the difference in {label} over all holes", max(seeds.values()) > 1)] if found else []),
        *([perfect] if perfect else []),
    ]
