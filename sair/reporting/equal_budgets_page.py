"""Write the page of equal budgets: a figure of a score against compute, and verdicts at equal steps and compute."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator
from tabulate import tabulate

from sair.common.files import atomic, write_csv, write_text
from sair.data.buckets import title_of
from sair.evaluation.metrics.registry import METRICS
from sair.evaluation.statistics import Decision, Difference
from sair.reporting import notes
from sair.reporting.budgets import TERA
from sair.reporting.equal_budgets import (
    COMPUTE,
    STEPS,
    Comparison,
    Curves,
    Request,
    buckets_of,
    comparisons,
    read_curves,
    size_text,
)
from sair.reporting.markup import MARKDOWN, in_markdown, to_markdown
from sair.reporting.measured import family_of, least_of
from sair.reporting.runs import quality_values
from sair.reporting.standings import NO_STANDING, Standing, standings

COLUMNS = [
    *("method", "minus", "equal", "results", "rival_results", "steps", "operations", "parameters", "seeds"),
    *("bucket", "metric", "value", "low", "high", "p", "n", "clusters", "adjusted_p"),
    *("method_low", "method_high", "method_p", "by_seed", "verdict", "reason"),
]
AHEAD, BEHIND, UNDECIDED, NOT_MEASURED = "ahead", "behind", "undecided", "not measured"
MARKERS = "osD^vPX*"

plt.switch_backend("agg")  # writes files; needs no display


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
        _draw(request, found, output.figure)
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


def _verdict(metric: str, decision: Decision) -> str:
    if decision.sign == 0:
        return UNDECIDED
    return AHEAD if (decision.sign > 0) == METRICS[family_of(metric)].higher_is_better else BEHIND


def _metric(metric: str) -> str:
    return METRICS[metric].label if metric in METRICS else metric


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
            rows.append({**facts, "bucket": bucket, **_numbers(request, difference, one.decisions[bucket])})
    return pd.DataFrame(rows).assign(metric=request.metric).reindex(columns=COLUMNS)


def _interval(place: Standing) -> dict[str, float]:
    return {"method_low": place.low, "method_high": place.high}


def _numbers(request: Request, difference: Difference, decision: Decision) -> dict[str, Any]:
    low, high = _of_methods(request, difference)
    return {
        **dict[str, Any](zip(("value", "low", "high", "p", "n", "clusters"), difference.numbers, strict=True)),
        **{"adjusted_p": decision.adjusted_p, "method_low": low, "method_high": high, "method_p": decision.method_p},
        **{"verdict": _verdict(request.metric, decision), "reason": decision.reason},
    }


def _of_methods(request: Request, difference: Difference) -> tuple[float, float]:
    """Return the 95 % interval of a difference over trainings and images."""
    parts = difference.components
    if parts is None:
        return math.nan, math.nan
    return parts.distribution(least_of(request.metric, request.least)).interval


# --------------------------------------------------------------------------------------------------------------------
# Page


def _page(request: Request, found: Measured, sentences: Sequence[str]) -> str:
    several = any(len(point.seeds) > 1 for curve in found.curves.values() for point in curve)
    decisions = [decision for one in found.compared for decision in one.decisions.values()]
    seeds = {in_markdown(request.label(name)): curve[0].seeds for name, curve in found.curves.items()}
    label = _metric(request.metric)
    body = (
        "".join(f"- {in_markdown(sentence)}\n" for sentence in sentences)
        + f"\n![{label} against operations](budgets.png)\n\n"
        + f"{label} against the operations of one training. A dot is a seed, a line joins the means of the seeds, and "
        "a bar is the mean's 95 % interval over trainings and images. Bars overlap also where a difference is decided: "
        "hard images are hard for all methods, and the verdicts are on differences on the same images.\n\n"
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
    difference, verdict = one.differences[bucket], _verdict(request.metric, one.decisions[bucket])
    text = f"{difference.mean:+.{digits}f}"
    text = text if verdict == UNDECIDED else f"**{text} {verdict}**"
    low, high = _of_methods(request, difference)
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
    headers += [f"{_metric(request.metric)} {title_of(bucket)}" for bucket in buckets]
    align = ["left", "left", *["right"] * (len(headers) - 2)]
    return tabulate(body, headers, tablefmt="pipe", colalign=align, disable_numparse=True)


def _sentence(request: Request, found: Measured, first: str, second: str) -> str:
    """Return how often a method is ahead of another one, at equal steps and at equal compute."""
    parts = []
    for equal in (STEPS, COMPUTE):
        own = [one for one in found.compared if (one.first, one.second, one.equal) == (first, second, equal)]
        counts = Counter(_verdict(request.metric, decision) for one in own for decision in one.decisions.values())
        part = ", ".join(f"{word} in {counts[word]}" for word in (AHEAD, BEHIND, UNDECIDED))
        part = f"at equal {equal} {part} of {counts.total()}"
        without = sum(not one.differences for one in own)
        parts.append(part + (f" ({without} of {len(own)} budgets without a comparison)" if without else ""))
    return f"{request.label(first)} against {request.label(second)}, {_metric(request.metric)}: {'; '.join(parts)}."


# --------------------------------------------------------------------------------------------------------------------
# Figure


def _draw(request: Request, found: Measured, output: str | Path) -> None:
    buckets = buckets_of(found.curves)
    width = min(2, len(buckets))
    height = -(-len(buckets) // width)
    figure, grid = plt.subplots(
        height, width, figsize=(4.6 * width, 3.6 * height + 0.5), layout="constrained", squeeze=False, sharex=True
    )
    for axes, bucket in zip(grid.flat, buckets, strict=False):
        _panel(axes, request, found, bucket)
    for axes in grid.flat[len(buckets) :]:
        axes.set_visible(False)
    handles, labels = grid.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=min(len(labels), 3 * width), frameon=False)
    with atomic(output) as temporary:
        figure.savefig(temporary, dpi=150, format="png", metadata={"Software": None})
    plt.close(figure)


def _panel(axes: Axes, request: Request, found: Measured, bucket: str) -> None:
    for number, (method, curve) in enumerate(found.curves.items()):
        drawn = [
            (point.budget.operations / TERA, place)
            for point in curve
            if (place := found.places.get((method, point.name, bucket), NO_STANDING)).by_seed
        ]
        if not drawn:
            continue
        colour, marker = f"C{number % 10}", MARKERS[number % len(MARKERS)]
        line = [(size, fmean(place.by_seed)) for size, place in drawn]
        axes.plot(*zip(*line, strict=True), color=colour, marker=marker, markersize=4, label=request.label(method))
        for size, place in drawn:
            axes.plot([size] * len(place.by_seed), place.by_seed, ".", color=colour, alpha=0.5)
            axes.vlines(size, place.low, place.high, color=colour, alpha=0.3, linewidth=2)
    # Lines of the grid are at the first method's budgets, where it is compared with others at equal compute.
    first, *_ = found.curves
    ticks = [point.budget.operations / TERA for point in found.curves[first]]
    axes.set(xscale="log", title=title_of(bucket), xlabel=f"operations (10¹²); lines: {request.label(first)}'s budgets")
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter("{x:.3g}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.tick_params(labelbottom=True)
    unit = METRICS[family_of(request.metric)].unit
    axes.set_ylabel(f"{_metric(request.metric)}{f' ({unit})' if unit else ''}")
    axes.grid(alpha=0.3)
