"""Collect the rows of a table, with their methods and measured values, and find the leading methods of each column."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pandas as pd

from sair.common.errors import InputError, near
from sair.common.tabular import ANY, FINITE, TEXT, read_csv
from sair.evaluation.metrics.of_images import ALL_MEASURES
from sair.evaluation.metrics.registry import METRICS
from sair.evaluation.statistics import NO_ESTIMATE, Decision, Difference, Estimate, decide
from sair.reporting.budgets import COUNTED, NO_BUDGET, Budget
from sair.reporting.inputs import Layout
from sair.reporting.measured import Key, least_of
from sair.reporting.paper import claimed
from sair.reporting.standings import CHANCES, NO_STANDING, Standing

NOT_IMPLEMENTED = "not in this table yet"
COLUMNS = [
    *("method", "label", "group", "bucket", "metric"),
    *("mean", "low", "high", "n", "clusters", "seeds", "spread", "paper", "lead", "reason"),
    *("method_low", "method_high", "rank_low", "rank_high", *CHANCES, "by_seed"),
    *COUNTED,
]
NUMBERS = (
    *("mean", "low", "high", "n", "clusters", "seeds", "spread", "paper"),
    *("method_low", "method_high", "rank_low", "rank_high", *CHANCES, *COUNTED),
)
BEST, TIED = "best", "tied"
AGAIN = "Delete it and run again."

Compare = Callable[[str, str, Key], Difference]  # difference of two methods in a column, the first minus the second


class Row(NamedTuple):
    """One method's row: its label, its group, and its measured values by (bucket, metric)."""

    method: str
    label: str
    group: str
    cells: dict[Key, Estimate]
    paper: dict[Key, float]
    seeds: int
    reason: str = ""
    spread: Mapping[Key, float] = MappingProxyType({})  # over seeds


class Shape(NamedTuple):
    """The columns of a printed table: its buckets, ``all`` for all mask ratios together, and its metrics."""

    buckets: Sequence[str]
    metrics: Sequence[str]

    @property
    def columns(self) -> list[Key]:
        """Return (bucket, metric) of every column."""
        return [(bucket, metric) for bucket in self.buckets for metric in self.metrics]


EQUAL = PARAMETERS, COMPUTE = "parameters", "compute"  # budgets of ``stands_for``


def competes(spec: Mapping[str, Any]) -> bool:
    """Return whether a method may lead a column and support a claim: it is no control and sees no ground truth.

    A specification without the key ``control``, such as an old one, is not a control.
    """
    return not (spec.get("control", False) or spec.get("sees_truth", False))


def claimants(layout: Layout, methods: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return the competing methods of each row of the paper's table: usually one, none without such a table."""
    found: dict[str, list[str]] = {}
    for name, spec in methods.items():
        row = spec["tables"].get(layout.name)
        if row and competes(spec) and layout.has_claims:
            found.setdefault(row, []).append(name)
    return found


def stand_ins(layout: Layout, methods: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """Return the methods that stand for a row of the paper at another budget: row -> method -> what is equal.

    Args:
        layout: the table's layout.
        methods: specifications of its methods.
    """
    found: dict[str, dict[str, str]] = {}
    for name, spec in methods.items():
        place = spec.get("stands_for")
        if place and competes(spec) and layout.has_claims and place["row"] in layout.claims["rows"]:
            found.setdefault(place["row"], {})[name] = place["equal"]
    return found


def collect(
    layout: Layout,
    methods: Mapping[str, Mapping[str, Any]],
    measured: Mapping[str, dict[Key, Estimate]],
    seeds: Mapping[str, int],
) -> list[Row]:
    """Return all lines of a table: the paper's rows in its order, then variants, then the methods that do not compete.

    If several methods name one row of the paper, the first has the paper's label, and the others follow under their
    own labels. Controls and methods that see the ground truth are at the end, whatever row they name. In a table
    without a counterpart in the paper every method that competes is a variant.

    Args:
        layout: the table's layout.
        methods: specifications of its methods, in order; their ``tables[layout.name]`` is the paper's row.
        measured: their cells.
        seeds: number of training seeds of each.
    """
    claims, by_row = layout.claims, claimants(layout, methods)
    rows = []
    for label in claims["rows"]:
        paper = claimed(claims, label)
        if label not in by_row:
            rows.append(Row("", label, "paper", {}, paper, 0, NOT_IMPLEMENTED))
        for place, name in enumerate(by_row.get(label, [])):
            # Use the paper's name of the row, even if the method's label is longer.
            own = label if place == 0 else methods[name]["label"]
            rows.append(Row(name, own, "paper", measured[name], paper, seeds[name]))
    shown = {row.method for row in rows}
    for group in ("variant", "control"):
        for name, spec in methods.items():
            if name not in shown and competes(spec) == (group == "variant"):
                rows.append(Row(name, spec["label"], group, measured[name], {}, seeds[name]))
    double = {label for label, count in Counter(row.label for row in rows).items() if count > 1}
    first = {label: next(row.method for row in rows if row.label == label) for label in double}
    return [
        row._replace(label=f"{row.label} ({row.method})") if first.get(row.label, row.method) != row.method else row
        for row in rows
    ]


def to_frame(
    rows: Sequence[Row],
    columns: Sequence[Key],
    marks: Mapping[Key, Mapping[str, str]],
    reasons: Mapping[str, str],
    places: Mapping[tuple[str, Key], Standing],
    budgets: Mapping[str, Budget],
) -> pd.DataFrame:
    """Return the CSV: one line per (method, bucket, metric); ``lead`` marks the best in printed columns.

    Args:
        rows: the table's lines.
        columns: the columns to store.
        marks: who leads each printed column (``Leaders.marks``).
        reasons: by metric, why it is missing, or a caveat.
        places: of each method in each column (``standings``).
        budgets: cost of a training, by method.
    """
    lines = []
    for row in rows:
        budget = budgets.get(row.method, NO_BUDGET)
        for key in columns:
            claim, lead = row.paper.get(key, math.nan), marks.get(key, {}).get(row.method, "")
            reason = row.reason or reasons.get(key[1], "")
            spread = row.spread.get(key, math.nan)
            place = places.get((row.method, key), NO_STANDING)
            cell = row.cells.get(key, NO_ESTIMATE)
            lines.append([*row[:3], *key, *cell, row.seeds, spread, claim, lead, reason, *place.cells, *budget.counted])
    return pd.DataFrame(lines, columns=COLUMNS)


def read_frame(path: str | Path) -> pd.DataFrame:
    """Read a table's CSV (``to_frame``), in which a method may be called "NA".

    Raises:
        InputError: the file is missing or is not such a table.
    """
    types = {column: ANY if column in NUMBERS else TEXT for column in COLUMNS}
    types |= dict.fromkeys(("n", "clusters", "seeds"), FINITE)
    frame = read_csv(path, types, remedy=AGAIN)
    check_metrics(path, frame)
    return frame


def check_metrics(path: str | Path, frame: pd.DataFrame) -> None:
    """Refuse a file whose column ``metric`` names an unknown metric."""
    known = {*METRICS, *ALL_MEASURES}
    for metric in dict.fromkeys(frame.metric):
        if metric not in known:
            raise InputError(f"{path}: there is no metric {metric!r}. {near(metric, known)} {AGAIN}")


class Leaders(NamedTuple):
    """The leading methods of each column of a table, and the comparisons that decide this."""

    marks: dict[Key, dict[str, str]]  # column -> method -> BEST or TIED
    decisions: dict[tuple[Key, str], Decision]  # of (column, rival), the leader against it


def leaders(rows: Sequence[Row], columns: Sequence[Key], compare: Compare, least: Mapping[str, float]) -> Leaders:
    """Return who leads each column: one method that is the best, or those that are tied for it.

    The best is better than each of the others by the rule (``sair.evaluation.statistics.decide``), whose family is all
    comparisons of the table. A method that the best does not beat by this rule is tied with it. If nothing can be
    decided, because the metric's seed spread is neither known nor measured by several seeds, no method is marked.
    Controls, and methods that see the ground truth, do not compete.

    Args:
        rows: the table's lines.
        columns: all columns that are printed.
        compare: returns the difference of two methods in a column.
        least: by metric, the change that another training seed alone causes (``regression.least``).
    """
    first: dict[Key, str] = {}
    found: dict[tuple[Key, str], Difference] = {}
    for key in columns:
        sign = 1 if METRICS[key[1]].higher_is_better else -1
        means = {row.method: sign * row.cells[key].mean for row in rows if row.group != "control" and key in row.cells}
        ordered = sorted((m for m in means if not math.isnan(means[m])), key=lambda m: -means[m])
        if ordered:
            first[key] = ordered[0]
            found |= {(key, rival): compare(ordered[0], rival, key) for rival in ordered[1:]}
    sizes = [least_of(metric, least) for (_, metric), _ in found]
    pairs = [(first[key], rival) for key, rival in found]
    decided = decide(list(found.values()), sizes, [metric for (_, metric), _ in found], pairs)
    decisions = dict(zip(found, decided, strict=True))
    marks: dict[Key, dict[str, str]] = {key: {} for key in columns}
    for key, leader in first.items():
        sign = 1 if METRICS[key[1]].higher_is_better else -1
        rivals = {rival: decision for (at, rival), decision in decisions.items() if at == key}
        tied = [rival for rival, decision in rivals.items() if decision.sign != sign]
        spread = least_of(key[1], least) is not None or not any(math.isnan(d.method_p) for d in rivals.values())
        # A single method does not lead. Without a seed spread, known or measured, a tie would be as much a claim as a
        # win.
        if rivals and spread:
            marks[key] = dict.fromkeys((leader, *tied), TIED) if tied else {leader: BEST}
    return Leaders(marks, decisions)
