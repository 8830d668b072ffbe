"""Write the page of equal budgets: a figure of a score against compute, and verdicts at equal steps and compute."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from statistics import fmean
from typing import Any, NamedTuple

import pandas as pd
from tabulate import tabulate

from sair.common.files import write_csv, write_text
from sair.data.buckets import title_of
from sair.evaluation.metrics.registry import METRICS
from sair.evaluation.statistics import Difference
from sair.reporting import notes
from sair.reporting.budgets import TERA
from sair.reporting.equal_budgets import (
    AHEAD,
    BEHIND,
    COMPUTE,
    STEPS,
    UNDECIDED,
    Comparison,
    Curves,
    Request,
    buckets_of,
    comparisons,
    read_curves,
    size_text,
)
from sair.reporting.equal_budgets_figure import draw
from sair.reporting.markup import MARKDOWN, in_markdown, to_markdown
from sair.reporting.measured import family_of
from sair.reporting.runs import quality_values
from sair.reporting.standings import NO_STANDING, Standing, standings

COLUMNS = [
    *("method", "minus", "equal", "results", "rival_results", "steps", "operations", "parameters", "seeds"),
    *("bucket", "metric", "value", "low", "high", "p", "n", "clusters", "adjusted_p"),
    *("method_low", "method_high", "method_p", "by_seed", "verdict", "reason"),
]
NOT_MEASURED = "not measured"


class Measured(NamedTuple):
    """The content of the page.

    curves: what was measured.
    places: by method, results folder and bucket, the mean of each seed and the interval of the mean.
    compared: the comparisons, decided together.
    """

    curves: Curves
    places: dict[tuple[str, str, str], Standing]
    compared: Sequence[Comparison]


def write_budgets(request: Request, output: Any) -> list[str]:
    """Compare methods at equal budgets, and write what was found.

    Args:
        request: what is compared, complete.
        output: paths to write, with the attributes ``markdown`` and ``csv``, and ``figure`` for the PNG unless it is
            left as it is.

    Returns:
        The verdicts on each pair, one sentence each.

    Raises:
        InputError: the folders cannot be compared (``read_curves``).
    """
    curves = read_curves(request)
    found = Measured(curves, _places(request, curves), comparisons(request, curves))
    if hasattr(output, "figure"):
        draw(request, *found, output.figure)
    write_csv(_frame(request, found), output.csv)
    sentences = [_sentence(request, found, *pair) for pair in request.pairs]
    write_text(output.markdown, _page(request, found, sentences))
    return sentences


def _places(request: Request, curves: Curves) -> dict[tuple[str, str, str], Standing]:
    keys = [(bucket, request.metric) for bucket in buckets_of(curves)]
    found = {}
    for method, curve in curves.items():
        for point in curve:
            alone = standings({method: quality_values(point.runs, keys)}, (), (), request.least)
            found.update({(method, point.name, bucket): place for (_, (bucket, _)), place in alone.items()})
    return found


# --------------------------------------------------------------------------------------------------------------------
# CSV


def _frame(request: Request, found: Measured) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for (method, name, bucket), place in found.places.items():
        point = next(point for point in found.curves[method] if point.name == name)
        size = {"method": method, "results": name, **point.budget._asdict(), "seeds": len(point.seeds)}
        value = fmean(place.by_seed)
        rows.append({**size, "bucket": bucket, "value": value, "by_seed": place.cells[-1]} | _interval(place))
    for one in found.compared:
        facts: dict[str, Any] = {"method": one.first, "minus": one.second, "equal": one.equal, "results": one.name}
        facts |= {"rival_results": " ".join(one.names), "steps" if one.equal == STEPS else "operations": one.size}
        if not one.differences:
            rows.append({**facts, "verdict": NOT_MEASURED, "reason": one.reason})
        for bucket, difference in one.differences.items():
            rows.append({**facts, "bucket": bucket, **_numbers(one, bucket, difference)})
    return pd.DataFrame(rows).assign(metric=request.metric).reindex(columns=COLUMNS)


def _interval(place: Standing) -> dict[str, float]:
    return {"method_low": place.low, "method_high": place.high}


def _numbers(one: Comparison, bucket: str, difference: Difference) -> dict[str, Any]:
    low, high = one.intervals[bucket]
    decision = one.decisions[bucket]
    return {
        **dict[str, Any](zip(("value", "low", "high", "p", "n", "clusters"), difference.numbers, strict=True)),
        **{"adjusted_p": decision.adjusted_p, "method_low": low, "method_high": high, "method_p": decision.method_p},
        **{"verdict": one.verdicts[bucket], "reason": decision.reason},
    }


# --------------------------------------------------------------------------------------------------------------------
# Page


def _page(request: Request, found: Measured, sentences: Sequence[str]) -> str:
    several = any(len(point.seeds) > 1 for curve in found.curves.values() for point in curve)
    decisions = [decision for one in found.compared for decision in one.decisions.values()]
    seeds = {in_markdown(request.label(name)): curve[0].seeds for name, curve in found.curves.items()}
    label = request.measure
    body = (
        "".join(f"- {in_markdown(sentence)}\n" for sentence in sentences)
        + f"\n![{label} against operations](budgets.png)\n\n"
        + f"Left: {label} against the operations of one training. A dot is a seed, a line joins the means of the "
        "seeds, and a bar is the mean's 95 % interval over trainings and images. Bars overlap also where a difference "
        "is decided: hard images are hard for all methods. Centre and right: differences on the same images, at equal "
        "steps and at equal compute, with their 95 % intervals over trainings and images; a filled marker is decided. "
        "The scale of differences is logarithmic but around 0.\n\n"
        f"## Verdicts\n\nFirst minus second, {label}{METRICS[family_of(request.metric)].after}, with the 95 % interval "
        f"over trainings and images. Bold: decided.\n\n{_verdicts(request, found)}\n\n"
        f"## Measured\n\n{_points(request, found)}\n\n"
    )
    lines = [
        "Equal steps: the second method after as many steps. Equal compute: after as many operations. "
        "Where it was not measured with exactly that budget, every image of every seed is interpolated linearly over "
        "the logarithm of the budget between the two nearest ones. Nothing is extrapolated.",
        "Operations are those of matrix products and convolutions, forward and backward, without the training of a "
        "semantic encoder.",
        f"Decided: {notes.rule(len(decisions), 'this page', [request.metric], request.least, several)}. Of these "
        f"comparisons {notes.reasons(decisions)}.",
        notes.seeds(seeds),
        *([text] if (text := _clusters(found)) else []),
        f"Dataset `{request.dataset}`. The CSV has all numbers; `provenance/budgets.json` beside it has the SHA-256 of "
        "every file of scores, checkpoint and manifest, and `sair verify` recomputes this page from them.",
    ]
    return to_markdown(f"{label} at equal budgets", body, lines, "")


def _clusters(found: Measured) -> str:
    sizes = [(d.n, d.clusters) for one in found.compared for d in one.differences.values()]
    return notes.clusters(*max(sizes)).strip() if sizes else ""


def _verdicts(request: Request, found: Measured) -> str:
    buckets, body = buckets_of(found.curves), []
    for one in found.compared:
        pair = f"{request.label(one.first)} − {request.label(one.second)}"
        cells = [_cell(request, one, bucket) for bucket in buckets]
        budget = MARKDOWN.dash if math.isnan(one.size) else size_text(one.equal, one.size)
        how = one.reason or ("" if one.names == (one.name,) else " to ".join(one.names))
        body.append([in_markdown(pair), in_markdown(one.name), budget, *cells, in_markdown(how)])
    headers = ["Methods", "Results", "Equal", *map(title_of, buckets), "Second method"]
    align = ["left", "left", "right", *["right"] * len(buckets), "left"]
    return tabulate(body, headers, tablefmt="pipe", colalign=align, disable_numparse=True)


def _cell(request: Request, one: Comparison, bucket: str) -> str:
    if bucket not in one.differences:
        return MARKDOWN.dash
    digits = METRICS[family_of(request.metric)].decimals + 1
    verdict, (low, high) = one.verdicts[bucket], one.intervals[bucket]
    text = f"{one.differences[bucket].mean:+.{digits}f}"
    text = text if verdict == UNDECIDED else f"**{text} {verdict}**"
    return text if math.isnan(low) else f"{text} ({low:+.{digits}f} to {high:+.{digits}f})"


def _points(request: Request, found: Measured) -> str:
    buckets, body = buckets_of(found.curves), []
    digits = METRICS[family_of(request.metric)].decimals
    for method, curve in found.curves.items():
        for point in curve:
            places = [found.places.get((method, point.name, bucket), NO_STANDING) for bucket in buckets]
            means = [f"{fmean(place.by_seed):.{digits}f}" if place.by_seed else MARKDOWN.dash for place in places]
            sizes = [f"{point.budget.steps:,.0f}", f"{point.budget.operations / TERA:.3g}"]
            numbers = [*sizes, f"{point.budget.parameters:,.0f}", str(len(point.seeds)), *means]
            body.append([in_markdown(request.label(method)), in_markdown(point.name), *numbers])
    headers = ["Method", "Results", "Steps", "Operations (10¹²)", "Trainable parameters", "Seeds"]
    headers += [f"{request.measure} {title_of(bucket)}" for bucket in buckets]
    align = ["left", "left", *["right"] * (len(headers) - 2)]
    return tabulate(body, headers, tablefmt="pipe", colalign=align, disable_numparse=True)


def _sentence(request: Request, found: Measured, first: str, second: str) -> str:
    """Return how often a method is ahead of another one, at equal steps and at equal compute."""
    parts = []
    for equal in (STEPS, COMPUTE):
        own = [one for one in found.compared if (one.first, one.second, one.equal) == (first, second, equal)]
        counts = Counter(verdict for one in own for verdict in one.verdicts.values())
        part = ", ".join(f"{word} in {counts[word]}" for word in (AHEAD, BEHIND, UNDECIDED))
        part = f"at equal {equal} {part} of {counts.total()}"
        without = sum(not one.differences for one in own)
        parts.append(part + (f" ({without} of {len(own)} budgets without a comparison)" if without else ""))
    return f"{request.label(first)} against {request.label(second)}, {request.measure}: {'; '.join(parts)}."
