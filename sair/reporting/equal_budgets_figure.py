"""Draw the figure of equal budgets: a score against compute, and differences at equal steps and at equal compute."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, median

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator

from sair.common.files import atomic
from sair.data.buckets import title_of
from sair.evaluation.metrics.registry import METRICS
from sair.reporting.budgets import TERA
from sair.reporting.equal_budgets import COMPUTE, STEPS, UNDECIDED, Comparison, Curves, Request, buckets_of
from sair.reporting.measured import family_of
from sair.reporting.standings import NO_STANDING, Standing

MARKERS = "osD^vPX*"
APART = 0.03  # between the logarithms (base 10) of the places of two methods, whose intervals would cover each other
FIRSTS = ("-", "--", ":")  # lines of differences, if several methods are compared with others
STEPS_OF_TICKS = (1, 2, 5)

plt.switch_backend("agg")  # writes files; needs no display


def draw(
    request: Request,
    curves: Curves,
    places: Mapping[tuple[str, str, str], Standing],
    compared: Sequence[Comparison],
    output: str | Path,
) -> None:
    """Draw one row of panels per bucket: the scores, and the differences at equal steps and at equal compute.

    Args:
        request: what is compared, complete.
        curves: what was measured.
        places: by method, results folder and bucket, the mean of each seed and the interval of the mean.
        compared: the comparisons, decided together.
        output: PNG to write.
    """
    buckets = buckets_of(curves)
    figure, grid = plt.subplots(
        len(buckets), 3, figsize=(13, 3.1 * len(buckets) + 0.5), layout="constrained", squeeze=False
    )
    styles = {name: (f"C{k % 10}", MARKERS[k % len(MARKERS)]) for k, name in enumerate(curves)}
    names = {name: request.label(name) for name in curves}
    unit = f" ({unit})" if (unit := METRICS[family_of(request.metric)].unit) else ""
    for (scores, *differences), bucket in zip(grid, buckets, strict=True):
        _draw_scores(scores, curves, places, bucket, styles, names)
        scores.set_ylabel(f"{request.measure}{unit}")
        for axes, equal in zip(differences, (STEPS, COMPUTE), strict=True):
            _draw_differences(axes, [one for one in compared if one.equal == equal], bucket, styles, names)
            axes.set_title(f"{title_of(bucket)}, difference at equal {equal}", fontsize="medium")
        differences[0].set_ylabel(f"difference in {request.measure}{unit}")
    _scale([axes for _, *differences in grid for axes in differences], compared)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=min(len(labels), 8), frameon=False)
    with atomic(output) as temporary:
        figure.savefig(temporary, dpi=110, format="png", metadata={"Software": None})
    plt.close(figure)


def _draw_scores(
    axes: Axes,
    curves: Curves,
    places: Mapping[tuple[str, str, str], Standing],
    bucket: str,
    styles: Mapping[str, tuple[str, str]],
    names: Mapping[str, str],
) -> None:
    for method, curve in curves.items():
        drawn = [
            (point.budget.operations / TERA, place)
            for point in curve
            if (place := places.get((method, point.name, bucket), NO_STANDING)).by_seed
        ]
        if not drawn:
            continue
        colour, marker = styles[method]
        line = [(size, fmean(place.by_seed)) for size, place in drawn]
        axes.plot(*zip(*line, strict=True), color=colour, marker=marker, markersize=4, label=names[method])
        for size, place in drawn:
            axes.plot([size] * len(place.by_seed), place.by_seed, ".", color=colour, alpha=0.5)
            axes.vlines(size, place.low, place.high, color=colour, alpha=0.3, linewidth=2)
    # Lines of the grid are at the first method's budgets, where it is compared with others at equal compute.
    first = next(iter(curves))
    _mark(axes, [point.budget.operations / TERA for point in curves[first]])
    axes.set_title(title_of(bucket), fontsize="medium")
    axes.set_xlabel(f"operations (10¹²); lines: {names[first]}'s budgets")


def _draw_differences(
    axes: Axes,
    compared: Sequence[Comparison],
    bucket: str,
    styles: Mapping[str, tuple[str, str]],
    names: Mapping[str, str],
) -> None:
    """Draw the differences of one bucket at equal steps, or at equal compute: a line for each pair."""
    pairs = list(dict.fromkeys((one.first, one.second) for one in compared))
    firsts = list(dict.fromkeys(first for first, _ in pairs))
    axes.axhline(0, color="black", linewidth=0.8)
    sizes = set()
    for number, (first, second) in enumerate(pairs):
        colour, marker = styles[second]
        own = [one for one in compared if (one.first, one.second) == (first, second) and bucket in one.differences]
        unit = 1.0 if own and own[0].equal == STEPS else TERA
        aside = 10 ** (APART * (number - (len(pairs) - 1) / 2))
        line = sorted((one.size / unit * aside, one.differences[bucket].mean, one) for one in own)
        axes.plot(
            [x for x, _, _ in line],
            [y for _, y, _ in line],
            FIRSTS[firsts.index(first) % len(FIRSTS)],
            color=colour,
            alpha=0.6,
        )
        for x, mean, one in line:
            sizes.add(one.size / unit)
            axes.vlines(x, *one.intervals[bucket], color=colour, alpha=0.3, linewidth=2)
            filled = colour if one.verdicts[bucket] != UNDECIDED else "white"
            axes.plot(x, mean, marker, color=colour, markersize=5, markerfacecolor=filled)
    _mark(axes, sorted(sizes))
    equal = "operations (10¹²)" if any(one.equal == COMPUTE for one in compared) else "steps"
    several = " and ".join(f"{names[first]} ({FIRSTS[k % len(FIRSTS)]})" for k, first in enumerate(firsts))
    axes.set_xlabel(f"{equal}; {names[firsts[0]] if len(firsts) == 1 else several} minus the other")


def _mark(axes: Axes, sizes: Sequence[float]) -> None:
    """Use a logarithmic axis of sizes, with a line of the grid at each."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(sizes))
    axes.xaxis.set_major_formatter("{x:.3g}" if max(sizes, default=0) < 1000 else "{x:,.0f}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(alpha=0.3)


def _scale(panels: Sequence[Axes], compared: Sequence[Comparison]) -> None:
    """Give all panels of differences one scale: linear around 0, and logarithmic where few methods are."""
    means = [difference.mean for one in compared for difference in one.differences.values()]
    ends = [end for one in compared for interval in one.intervals.values() for end in interval]
    shown = [abs(value) for value in [*means, *ends] if math.isfinite(value)]
    linear, largest = (2 * median(shown), max(shown)) if shown else (0.0, 0.0)
    if not 0 < linear < largest:
        return
    decades = range(math.floor(math.log10(linear / 4)), math.ceil(math.log10(largest)) + 1)
    steps = [step * 10.0**decade for decade in decades for step in STEPS_OF_TICKS]
    outside = {2 * 10.0**decade for decade in decades if 2 * 10.0**decade > linear}  # too near to their neighbours
    ticks = [step for step in steps if linear / 4 <= step <= largest and step not in outside]
    for axes in panels:
        axes.set_yscale("symlog", linthresh=linear, linscale=2)
        axes.set_ylim(-1.1 * largest, 1.1 * largest)
        axes.yaxis.set_major_locator(FixedLocator([*(-tick for tick in ticks), 0.0, *ticks]))
        axes.yaxis.set_major_formatter(lambda x, _: f"{x:+g}" if x else "0")
        axes.yaxis.set_minor_locator(NullLocator())
