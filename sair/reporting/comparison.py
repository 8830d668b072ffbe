"""Two methods' scores on the same pictures: better, worse, or no difference (a regression check)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tabulate import tabulate

from sair.evaluation.statistics import LEVEL, Difference, holm
from sair.files import InputError
from sair.reporting.measured import ALL, METRICS, NAMES, quality_differences, read_scores

IMPROVED, WORSE, SAME = "improved", "worse", "no difference"


class Verdict(NamedTuple):
    """One measure's outcome, ``variant`` minus ``reference``."""

    bucket: str
    metric: str
    difference: Difference
    adjusted_p: float
    outcome: str


def compare(
    reference: Sequence[str | Path], variant: Sequence[str | Path], least: Mapping[str, float] | None = None
) -> list[Verdict]:
    """Compare two methods by (bucket, metric), paired by picture and corrected for the number of comparisons.

    Args:
        reference, variant: score files, one a seed.
        least: by metric, the mean difference below which nothing is called better or worse.

    Raises:
        InputError: they scored different pictures.
    """
    first, second = read_scores(reference), read_scores(variant)
    keys = [set(zip(frame.bucket, frame.id, strict=True)) for frame in (first, second)]
    if keys[0] != keys[1]:
        raise InputError(
            f"{variant[0]} and {reference[0]} scored different pictures ({len(keys[0] ^ keys[1])} are in one only). "
            "Compare runs of one manifest."
        )
    columns = [(bucket, m) for bucket in [*dict.fromkeys(first.bucket), ALL] for m in NAMES if m in first.columns]
    differences = quality_differences(second, first, columns)
    adjusted = holm([differences[key].p for key in columns])
    return [
        Verdict(*key, differences[key], p, _outcome(key[1], differences[key], p, (least or {}).get(key[1], 0)))
        for key, p in zip(columns, adjusted, strict=True)
    ]


def _outcome(metric: str, difference: Difference, p: float, least: float) -> str:
    if not p < LEVEL or abs(difference.mean) < least:
        return SAME
    return IMPROVED if (difference.mean > 0) == METRICS[metric].higher_is_better else WORSE


def to_text(verdicts: Sequence[Verdict]) -> str:
    """A plain table of the outcomes."""
    rows = []
    for v in verdicts:
        digits = METRICS[v.metric].decimals + 1
        interval = f"[{v.difference.low:+.{digits}f}, {v.difference.high:+.{digits}f}]"
        bucket = "all" if v.bucket == ALL else f"{v.bucket} %"
        numbers = f"{v.difference.mean:+.{digits}f}", interval, f"{v.adjusted_p:.4f}", v.difference.n
        rows.append([bucket, NAMES[v.metric], *numbers, v.outcome])
    return tabulate(rows, ["holes", "measure", "difference", "95 % interval", "p (Holm)", "n", "outcome"])
