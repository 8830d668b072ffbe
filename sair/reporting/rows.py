"""Rows of a table: whose they are, what was measured, and who leads a column."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import pandas as pd

from sair.evaluation.statistics import LEVEL, Difference, Estimate, holm
from sair.files import InputError
from sair.reporting.claims import claimed
from sair.reporting.measured import METRICS, Key

NOT_IMPLEMENTED = "not in this table yet"
COLUMNS = [
    *("method", "label", "group", "bucket", "metric"),
    *("mean", "low", "high", "n", "seeds", "spread", "paper", "lead", "reason"),
]
CONTROLS = "baselines.controls:"
BEST, TIED = "best", "tied"

Compare = Callable[[str, str, Key], Difference]  # of two methods in a column, the first minus the second


class Row(NamedTuple):
    """One method's line: what it is called, where it stands, and what was measured by (bucket, metric)."""

    method: str
    label: str
    group: str
    cells: dict[Key, Estimate]
    paper: dict[Key, float]
    seeds: int
    reason: str = ""
    spread: Mapping[Key, float] = MappingProxyType({})  # over seeds


class Shape(NamedTuple):
    """What a printed table shows: its buckets, ``all`` for every mask ratio together, and its metrics."""

    buckets: Sequence[str]
    metrics: Sequence[str]

    @property
    def columns(self) -> list[Key]:
        """(bucket, metric) of every column."""
        return [(bucket, metric) for bucket in self.buckets for metric in self.metrics]


def collect(
    table: str,
    methods: Mapping[str, dict[str, Any]],
    measured: Mapping[str, dict[Key, Estimate]],
    seeds: Mapping[str, int],
    claims: dict[str, Any],
    controls: Collection[str],
) -> list[Row]:
    """All lines of a table: the paper's rows in its order, then variants, then controls.

    Args:
        table: its name in the config.
        methods: specifications of the methods it shows; ``tables[table]`` is the paper's row.
        measured: their cells.
        seeds: how many seeds each was trained with.
        claims: the paper's table.
        controls: methods that show what a number means and do not compete.
    """
    by_row = {spec["tables"][table]: name for name, spec in methods.items() if spec["tables"][table]}
    unknown = by_row.keys() - claims["rows"].keys()
    if unknown:
        raise InputError(f"methods name rows that the paper's table lacks: {', '.join(sorted(unknown))}.")
    rows = []
    for label in claims["rows"]:
        name = by_row.get(label)
        paper = claimed(claims, label)
        if name is None:
            rows.append(Row("", label, "paper", {}, paper, 0, NOT_IMPLEMENTED))
        else:
            # The paper's own name of the row, where the method has a longer one.
            rows.append(Row(name, label, "paper", measured[name], paper, seeds[name]))
    for group in ("variant", "control"):
        for name, spec in methods.items():
            if spec["tables"][table] is None and (name in controls) == (group == "control"):
                rows.append(Row(name, spec["label"], group, measured[name], {}, seeds[name]))
    return rows


def to_frame(
    rows: Sequence[Row],
    columns: Sequence[Key],
    marks: Mapping[Key, Mapping[str, str]],
    reasons: Mapping[str, str],
) -> pd.DataFrame:
    """The CSV: one line a (method, bucket, metric); ``lead`` says who leads the columns that are printed.

    Args:
        rows: the table's lines.
        columns: what it holds of each.
        marks: who leads each printed column (``leaders``).
        reasons: by metric, why no method has it, or what is the matter with it.
    """
    nothing = Estimate(math.nan, math.nan, math.nan, 0)
    lines = []
    for row in rows:
        for key in columns:
            claim, lead = row.paper.get(key, math.nan), marks.get(key, {}).get(row.method, "")
            reason = row.reason or reasons.get(key[1], "")
            spread = row.spread.get(key, math.nan)
            lines.append([*row[:3], *key, *row.cells.get(key, nothing), row.seeds, spread, claim, lead, reason])
    return pd.DataFrame(lines, columns=COLUMNS)


def leaders(rows: Sequence[Row], key: Key, compare: Compare) -> dict[str, str]:
    """Who leads a column: one method that is the best, or those that are tied for it; controls do not compete.

    The best is better than each of the others by a paired test over pictures, corrected by Holm for their number. Those
    of which the test does not say so are tied with it.
    """
    competing = [
        row for row in rows if row.group != "control" and key in row.cells and math.isfinite(row.cells[key].mean)
    ]
    if not competing:
        return {}
    sign = 1 if METRICS[key[1]].higher_is_better else -1
    first, *others = sorted(competing, key=lambda row: -sign * row.cells[key].mean)
    adjusted = holm([compare(first.method, row.method, key).p for row in others])
    tied = [row.method for row, p in zip(others, adjusted, strict=True) if not p < LEVEL]
    return {name: TIED for name in (first.method, *tied)} if tied else {first.method: BEST}
