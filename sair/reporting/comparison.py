"""Compare two methods' scores on the same images: improved, worse, or no difference."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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
from sair.evaluation.statistics import Difference, decide
from sair.reporting import notes
from sair.reporting.measured import (
    family_of,
    least_in_unit,
    means,
    measures_of,
    quality_differences,
    read_scores,
    same_images,
)

IMPROVED, WORSE, SAME = "improved", "worse", "no difference"


class Verdict(NamedTuple):
    """The outcome for one measure in one bucket.

    difference: ``variant`` minus ``reference``.
    adjusted_p: corrected for all comparisons of the check.
    outcome: ``improved``, ``worse`` or ``no difference``.
    reason: why there is no difference; empty otherwise.
    """

    bucket: str
    metric: str
    difference: Difference
    adjusted_p: float
    outcome: str
    reason: str


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
    first, second = read_scores(reference), read_scores(variant)
    for paths in (reference, variant):
        _check_headers(paths)
    if (first.bucket == "").all() != (second.bucket == "").all():
        # One was scored without masks, so only whole images can be compared.
        first, second = (
            _without_buckets(frame, name) for frame, name in zip((first, second), names.values(), strict=True)
        )
    if names["reference"] == names["variant"]:
        names["variant"] += " (variant)"
    same_images({names["variant"]: second, names["reference"]: first})
    shared = [metric for metric in measures_of(first) if metric in measures_of(second)]
    # Of the workflow's scores, use those that tables print; hole-only and raw ones would only reduce the power.
    printed = [metric for metric in shared if metric in METRICS] or shared
    if not printed:
        raise InputError(f"{names['variant']} and {names['reference']} have no measure in common.")
    buckets = [bucket for bucket in dict.fromkeys(first.bucket) if bucket]
    columns = [(bucket, metric) for bucket in [*buckets, ALL] for metric in printed]
    differences = quality_differences(second, first, columns)
    columns = [key for key in columns if differences[key].n]  # LPIPS does not exist for small images
    if not columns:
        raise InputError(f"{names['variant']} and {names['reference']}: no image has a number in both.")
    known = means(first)
    decisions = decide(
        [differences[key] for key in columns],
        [0.0 if least is None else least_in_unit(key, least, known) for key in columns],
    )
    return [
        Verdict(*key, differences[key], decision.adjusted_p, _outcome(key[1], decision.sign), decision.reason)
        for key, decision in zip(columns, decisions, strict=True)
    ]


def parse_least(words: Sequence[str]) -> dict[str, float]:
    """Return the least differences that a command line gives as ``psnr=0.2``.

    Raises:
        InputError: a word is not such a pair.
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


def _without_buckets(scores: pd.DataFrame, name: str) -> pd.DataFrame:
    if scores.id.duplicated().any():
        raise InputError(
            f"{name}: scores images under several masks each, and the other file was scored without masks. "
            "Score that file with the same masks."
        )
    return scores.assign(bucket="").drop(columns="ratio", errors="ignore")


def _outcome(metric: str, sign: int) -> str:
    if sign == 0:
        return SAME
    return IMPROVED if (sign > 0) == METRICS[family_of(metric)].higher_is_better else WORSE


def to_text(verdicts: Sequence[Verdict]) -> str:
    """Return a plain table of the outcomes."""
    rows = []
    for v in verdicts:
        digits = METRICS[family_of(v.metric)].decimals + 1
        interval = f"[{v.difference.low:+.{digits}f}, {v.difference.high:+.{digits}f}]"
        bucket = "all" if v.bucket == ALL else holes(v.bucket)
        rows.append(
            [
                bucket,
                METRICS[v.metric].label if v.metric in METRICS else v.metric,
                f"{v.difference.mean:+.{digits}f}",
                "-" if math.isnan(v.difference.low) else interval,
                "-" if math.isnan(v.adjusted_p) else f"{v.adjusted_p:.4f}",
                v.difference.n,
                v.outcome + (f" ({v.reason})" if v.reason else ""),
            ]
        )
    return tabulate(
        rows,
        ["holes", "measure", "difference", "95 % interval", "p (Holm)", "n", "outcome"],
        disable_numparse=True,
        colalign=("left", "left", "right", "right", "right", "right", "left"),
    )


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
    named = {"reference": reference, "variant": variant}
    seeds = {who: 1 if isinstance(paths, str | Path) else len(paths) for who, paths in named.items()}
    perfect = notes.perfect({who: read_scores(paths) for who, paths in named.items()})
    n, clusters = max((v.difference.n, v.difference.clusters) for v in verdicts)
    metrics = list(dict.fromkeys(family_of(v.metric) for v in verdicts))
    return [
        f"Difference: variant minus reference, paired by image, 95 % bootstrap interval. At most n = {n} images "
        f"together.{notes.clusters(n, clusters)} Seeds: {seeds['variant']} of the variant, "
        f"{seeds['reference']} of the reference.",
        f"Improved or worse: {notes.rule(len(verdicts), 'this check', metrics, least)}.",
        *([perfect] if perfect else []),
    ]
