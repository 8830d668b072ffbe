"""Report how much the metric convention alone changes scores, gains and the ranking, on the same images.

The CSV contains every convention's means, places and gains. On the page, equal measures share a column.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import pandas as pd
from tabulate import tabulate

from sair.common.errors import InputError
from sair.common.files import write_csv, write_text
from sair.data.buckets import ALL, holes
from sair.data.manifest import manifest_hash
from sair.evaluation.conventions import CONVENTIONS, OURS, Compute, Measure, column_name, kind
from sair.evaluation.metrics.registry import METRICS
from sair.evaluation.statistics import Decision, Difference, decide
from sair.reporting import notes
from sair.reporting.inputs import ConventionsInputs, bucket_names, layout, training_seeds
from sair.reporting.markup import MARKDOWN, in_markdown
from sair.reporting.measured import (
    Key,
    least_in_unit,
    quality,
    same_images,
)
from sair.reporting.rows import Row, collect
from sair.reporting.runs import Runs, quality_differences, read_runs

FAMILIES = tuple(CONVENTIONS[OURS].measures)
COLUMNS = [
    *("method", "minus", "bucket", "convention", "measure"),
    *("mean", "low", "high", "p", "n", "clusters", "place"),
]

Pair = tuple[str, str]


class Column(NamedTuple):
    """One distinct measure.

    kind: the metric that it is a variant of.
    name: its column in conventions.csv.
    measure: its definition.
    asked: the conventions that use it, each with its own name for it.
    """

    kind: str
    name: str
    measure: Measure
    asked: tuple[tuple[str, str], ...]

    @property
    def who(self) -> str:
        """Return the labels of the conventions."""
        return ", ".join(CONVENTIONS[name].label for name, _ in self.asked)

    @property
    def header(self) -> str:
        """Return the metric, its direction, and the conventions."""
        arrow = MARKDOWN.arrows[0 if METRICS[self.kind].higher_is_better else 1]
        return f"{METRICS[self.kind].label} {arrow} {self.who}"

    def text(self, value: float, sign: str = "") -> str:
        """Return a value with the measure's decimals; with one more for a difference, which has a ``sign``."""
        if not math.isfinite(value):
            return MARKDOWN.infinity if math.isinf(value) else MARKDOWN.dash
        return f"{value:{sign}.{self.measure.decimals + bool(sign)}f}"


class Gain(NamedTuple):
    """A method's mean minus another's, that difference relative to the other's mean, and the decision of the rule."""

    difference: Difference
    relative: float
    decision: Decision

    def text(self, of: Column) -> str:
        """Return the gain in the column's unit, or for L1, whose unit differs, in percent of the other's mean."""
        if of.kind == "l1" and math.isfinite(self.relative):
            return f"{100 * self.relative:+.1f} %"
        return of.text(self.difference.mean, "+")


Gains = Mapping[tuple[Pair, Key], Gain]


def all_columns() -> list[Column]:
    """Return the columns by family, ours first; measures that are the same function share one."""
    found: dict[Compute, Column] = {}
    for name, convention in CONVENTIONS.items():
        for called, measure in convention.measures.items():
            first = found.get(measure.compute, Column(kind(called), column_name(name, called), measure, ()))
            found[measure.compute] = first._replace(asked=(*first.asked, (name, called)))
    return sorted(found.values(), key=lambda column: FAMILIES.index(column.kind))


def places(rows: Sequence[Row], key: Key, family: str) -> dict[str, int]:
    """Return each method's place in a column, 1 for the best; none for controls and columns without numbers."""
    sign = 1 if METRICS[family].higher_is_better else -1
    means = {row.method: sign * row.cells[key].mean for row in rows if row.group != "control"}
    if any(math.isnan(mean) for mean in means.values()):
        return {}
    return {name: 1 + sum(other > mean for other in means.values()) for name, mean in means.items()}


def swapped(first: Mapping[str, int], second: Mapping[str, int]) -> list[Pair]:
    """Return the pairs of methods that two rankings order differently."""
    both = [name for name in first if name in second]
    return [(a, b) for a, b in combinations(both, 2) if (first[a] - first[b]) * (second[a] - second[b]) < 0]


class Scored(NamedTuple):
    """The content of the page and the CSV: the methods' rows, the gains of pairs, and the columns."""

    rows: Sequence[Row]
    gains: Gains
    columns: Sequence[Column]

    def labels(self, names: Sequence[str]) -> list[str]:
        """Return the methods' labels as Markdown shows them."""
        by_name = {row.method: in_markdown(row.label) for row in self.rows}
        return [by_name[name] for name in names]

    def of(self, family: str) -> list[Column]:
        """Return the columns of a family, ours first."""
        return [column for column in self.columns if column.kind == family]

    def place(self, bucket: str, column: Column) -> dict[str, int]:
        """Return the places of the methods in a column."""
        return places(self.rows, (bucket, column.name), column.kind)

    def moved(self, bucket: str, column: Column) -> list[Pair]:
        """Return the pairs of methods that a column orders differently than our column of the same family."""
        return swapped(self.place(bucket, self.of(column.kind)[0]), self.place(bucket, column))


def measure_gains(
    pairs: Sequence[Pair], runs: Mapping[str, Runs], rows: Sequence[Row], least: Mapping[str, float]
) -> Gains:
    """Return the paired differences of the pairs in every cell, judged as one family.

    Choosing the most favourable convention is a multiple comparison, so p is corrected for all of them.

    Args:
        pairs: methods, the first minus the second.
        runs: scores of every method.
        rows: lines of the table.
        least: by metric, the change that another training seed alone causes, in our convention.
    """
    cells = {row.method: row.cells for row in rows}
    found = {
        (pair, key): difference
        for pair in pairs
        for key, difference in quality_differences(runs[pair[0]], runs[pair[1]], cells[pair[0]]).items()
    }
    known = {name: {key: cell.mean for key, cell in own.items()} for name, own in cells.items()}
    sizes = [least_in_unit(key, least, known[pair[1]]) for pair, key in found]
    columns = [column for _, (_, column) in found]
    decisions = decide(list(found.values()), sizes, columns, [pair for pair, _ in found])
    return {
        (pair, key): Gain(difference, _share(difference.mean, cells[pair[1]][key].mean), decision)
        for ((pair, key), difference), decision in zip(found.items(), decisions, strict=True)
    }


def _share(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


# --------------------------------------------------------------------------------------------------------------------
# The CSV


def to_frame(scored: Scored, buckets: Sequence[str]) -> pd.DataFrame:
    """Return the CSV: one row per (method, bucket, convention, measure), and one per gain.

    The row of a gain has the other method in ``minus``, and its p is not corrected.
    """
    lines = [
        [*names, bucket, *asked, *numbers]
        for bucket in buckets
        for column in scored.columns
        for asked in column.asked
        for names, numbers in _lines(scored, bucket, column)
    ]
    return pd.DataFrame(lines, columns=COLUMNS).astype({"place": "Int64"})


def _lines(scored: Scored, bucket: str, column: Column) -> Iterator[tuple[Pair, tuple]]:
    key, place = (bucket, column.name), scored.place(bucket, column)
    for row in scored.rows:
        mean, low, high, n, clusters = row.cells[key]
        yield (row.method, ""), (mean, low, high, math.nan, n, clusters, place.get(row.method))
    for (pair, at), gain in scored.gains.items():
        if at == key:
            yield pair, (*gain.difference.numbers, None)


# --------------------------------------------------------------------------------------------------------------------
# The page


def _table(body: Sequence[Sequence[str]], headers: Sequence[str], words: int) -> str:
    align = ["left"] * words + ["right"] * (len(headers) - words)
    return tabulate(body, headers, tablefmt="pipe", colalign=align, disable_numparse=True) + "\n"


def _extremes(numbers: Sequence[tuple[float, str]]) -> tuple[str, float]:
    """Return the smallest and the largest of some numbers as they are printed, and their distance."""
    finite = sorted((pair for pair in numbers if math.isfinite(pair[0])), key=lambda pair: pair[0])
    if not finite:
        return MARKDOWN.dash, math.nan
    return f"{finite[0][1]} … {finite[-1][1]}", finite[-1][0] - finite[0][0]


def glance(scored: Scored, pair: Pair, buckets: Sequence[str]) -> str:
    """Return a table of how much conventions change one method's mean, its gain over another, and the ranking."""
    first, second = scored.labels(pair)
    cells = next(row.cells for row in scored.rows if row.method == pair[0])
    body = []
    for family in FAMILIES:
        columns = scored.of(family)
        for bucket in buckets:
            means = [(cells[bucket, c.name].mean, c) for c in columns]
            gains = [(scored.gains[pair, (bucket, c.name)], c) for c in columns]
            texts, apart = _extremes([(mean, f"{c.text(mean)} ({c.who.split(', ')[0]})") for mean, c in means])
            sizes, _ = _extremes([(g.relative if family == "l1" else g.difference.mean, g.text(c)) for g, c in gains])
            ours = abs(gains[0][0].difference.mean)
            # For L1 the ratio would only reflect a difference in units, so it is omitted.
            times = f"{apart / ours:.1f}" if ours and math.isfinite(apart) and family != "l1" else MARKDOWN.dash
            others = {moved for c in columns for moved in scored.moved(bucket, c)}
            pairs = math.comb(len(scored.place(bucket, columns[0])), 2)
            body.append([METRICS[family].label, holes(bucket), texts, sizes, times, f"{len(others)} of {pairs}"])
    gain = f"{first} − {second}"
    headers = ["", "holes", first, gain, f"span of {first} / {gain} by ours", "pairs of methods in another order"]
    return _table(body, headers, 2)


def means_table(scored: Scored, bucket: str) -> str:
    """Return the table of every method by every column; its place in parentheses, if it differs from that by ours."""
    body = []
    for row in scored.rows:
        label = in_markdown(row.label)
        line = [label if row.group != "control" else f"*{label}*"]
        for column in scored.columns:
            place, ours = (scored.place(bucket, c).get(row.method) for c in (column, scored.of(column.kind)[0]))
            text = column.text(row.cells[bucket, column.name].mean)
            line.append(text if place is None or place == ours else f"{text} ({place})")
        body.append(line)
    return _table(body, ["Method", *(column.header for column in scored.columns)], 1)


def gains_table(scored: Scored, pairs: Sequence[Pair], buckets: Sequence[str]) -> str:
    """Return the differences of pairs of methods by every column; bold if the rule decides them."""
    compete = {row.method for row in scored.rows if row.group != "control"}
    body = []
    for pair in pairs:
        for bucket in buckets:
            line = [" − ".join(scored.labels(pair)), holes(bucket)]
            for column in scored.columns:
                gain = scored.gains[pair, (bucket, column.name)]
                text = gain.text(column)
                line.append(MARKDOWN.best.format(text) if gain.decision.sign and compete >= {*pair} else text)
            body.append(line)
    return _table(body, ["", "holes", *(column.header for column in scored.columns)], 2)


def upside_down(scored: Scored, buckets: Sequence[str]) -> Iterator[str]:
    """Yield a sentence per bucket in which the last method's SSIM by another convention exceeds the first's by ours."""
    ours, *others = scored.of("ssim")
    competing = [row for row in scored.rows if row.group != "control"]
    for bucket in buckets if len(competing) > 1 else ():
        first, *_, last = sorted(competing, key=lambda row: -row.cells[bucket, ours.name].mean)
        labels = in_markdown(last.label), in_markdown(first.label)
        top = first.cells[bucket, ours.name].mean
        bottoms = [(last.cells[bucket, other.name].mean, other) for other in others]
        bottom, kindest = max((pair for pair in bottoms if math.isfinite(pair[0])), key=lambda pair: pair[0])
        if bottom > top:
            yield (
                f"On holes of {holes(bucket)}, {kindest.who}'s SSIM gives the last method ({labels[0]}) "
                f"{kindest.text(bottom)}, more than ours gives the first ({labels[1]}), {ours.text(top)}."
            )


def _explained() -> str:
    lines = []
    for convention in CONVENTIONS.values():
        measures = "; ".join(f"{name.upper()} {measure.definition}" for name, measure in convention.measures.items())
        lines.append(f"- **{convention.label}** (`{convention.source}`): {measures}. Images: {convention.cast}.\n")
    return "".join(lines)


def to_markdown(scored: Scored, pairs: Sequence[Pair], buckets: Sequence[str], terms: Sequence[str], rule: str) -> str:
    """Return the page: overview, gains of the pairs, every method, and the definition of each convention."""
    return "\n".join(
        [
            f"# The same images under {len(CONVENTIONS)} metric conventions\n",
            *(f"{term}\n" for term in terms),
            "Only the formula differs between the columns.\n",
            "How much they change a score, a gain, and the order of methods; lowest and highest of all:\n",
            glance(scored, pairs[0], buckets),
            *(f"{line}\n" for line in upside_down(scored, buckets)),
            f"## Gains\n\n{gains_table(scored, pairs, buckets)}",
            f"Means of paired differences; L1 in percent of the second method's. Bold: {rule}; for an L1 in "
            f"another unit, that size is relative to the mean. {_decided(scored)} Intervals, and all mask ratios "
            "together: conventions.csv.\n",
            *(f"## Holes of {holes(bucket)}\n\n{means_table(scored, bucket)}" for bucket in buckets),
            "In parentheses: the place among the methods, if it differs from that by ours. In italics, without a "
            "place: controls and methods that see the ground truth. "
            f"{MARKDOWN.dash}: the window does not fit into the images.\n",
            f"## What each computes\n\n{_explained()}",
        ]
    )


def write_conventions(
    inputs: ConventionsInputs, config: Mapping[str, Any], methods: Mapping[str, Mapping[str, Any]], output: Any
) -> None:
    """Write the table of conventions.

    Args:
        inputs: the files that the table is made from (``sair.evaluation.score_conventions``).
        config: the whole config; its ``conventions`` name a table, whose methods are shown, and pairs of them.
        methods: specifications of that table's methods.
        output: paths to write, with the attributes ``markdown`` and ``csv``.

    Raises:
        InputError: methods that scored different images, or none in one of the config's buckets.
    """
    shown = layout(config, config["conventions"]["table"])
    pairs = [(first, second) for first, second in config["conventions"]["pairs"]]
    buckets = bucket_names(config, shown.dataset)
    columns = all_columns()
    runs = {name: read_runs(paths, [column.name for column in columns]) for name, paths in inputs.measured.items()}
    frames = {name: found.mean for name, found in runs.items()}
    same_images(frames)
    scored_in = set(next(iter(frames.values())).bucket)
    if missing := [bucket for bucket in buckets if bucket not in scored_in]:
        raise InputError(
            f"{next(iter(frames))}: scored no image in the bucket {missing[0]}, which is in the config. Run "
            "snakemake, which scores the images again."
        )
    measured = {name: quality(frame, [column.name for column in columns]) for name, frame in frames.items()}
    seeds = {name: len(paths) for name, paths in inputs.measured.items()}
    rows = [row for row in collect(shown, methods, measured, seeds) if row.method]
    least = config["regression"]["least"]
    scored = Scored(rows, measure_gains(pairs, runs, rows, least), columns)
    sample = next(iter(frames.values()))
    n, clusters = sample.groupby("bucket").id.count().max(), sample.cluster.nunique()
    terms = [
        f"Composited 8-bit predictions of `{shown.dataset}` by the methods of {shown.name}, "
        f"{config['image_size']} pixels, n = {n} images per bucket.{notes.clusters(n, clusters)} "
        f"Manifest {manifest_hash(inputs.manifest)[:12]}. How they were trained: {shown.name}.md.",
        notes.seeds({row.label: training_seeds(config, row.method) for row in rows if methods[row.method]["training"]}),
    ]
    apart = [row.label for row in rows if row.group == "control" and not any(row.method in pair for pair in pairs)]
    if perfect := notes.perfect({row.label: frames[row.method] for row in rows}, apart):
        terms.append(perfect)
    write_csv(to_frame(scored, [*buckets, ALL]), output.csv)
    several = any(len(found.seeds) > 1 for found in runs.values())
    rule = notes.rule(len(scored.gains), "this page", FAMILIES, least, several)
    write_text(output.markdown, to_markdown(scored, pairs, buckets, terms, rule))


def _decided(scored: Scored) -> str:
    return f"Of these, {notes.reasons(gain.decision for gain in scored.gains.values())}."
