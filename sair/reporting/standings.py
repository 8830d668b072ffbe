"""Place each method of a table among the others, over trainings and images: intervals, ranks and probabilities."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from tabulate import tabulate

from sair.data.buckets import title_of
from sair.evaluation.metrics.registry import METRICS
from sair.evaluation.statistics_ranks import rank_intervals
from sair.evaluation.statistics_seeds import NO_OUTLOOK, Outlook, change_between, components
from sair.reporting.measured import Key, family_of, least_of

CHANCES = tuple(f"chance_{name}" for name in Outlook._fields)  # columns of the CSV files
Values = Mapping[str, Mapping[Key, np.ndarray]]  # method -> column -> one number per seed and cluster


class Standing(NamedTuple):
    """One method's place in one column.

    low, high: 95 % interval of its mean over trainings and images; nan if no spread of seeds is known.
    rank_low, rank_high: best and worst rank among the competing methods, 95 %; nan where there are no ranks.
    outlook: against the column's best method; for the best itself, against the second.
    by_seed: the mean of each seed.
    """

    low: float = math.nan
    high: float = math.nan
    rank_low: float = math.nan
    rank_high: float = math.nan
    outlook: Outlook = NO_OUTLOOK
    by_seed: tuple[float, ...] = ()

    @property
    def cells(self) -> tuple[float | str, ...]:
        """Return what the CSV contains; the means of the seeds are separated by spaces."""
        seeds = " ".join(f"{mean:.10g}" for mean in self.by_seed)
        return (self.low, self.high, self.rank_low, self.rank_high, *self.outlook, seeds)


NO_STANDING = Standing()


def standings(
    values: Values, printed: Iterable[Key], competing: Sequence[str], least: Mapping[str, float]
) -> dict[tuple[str, Key], Standing]:
    """Return the place of each method in each column that it has numbers in.

    Args:
        values: of every method, in every stored column (``sair.reporting.runs``).
        printed: the columns in which the competing methods get ranks.
        competing: methods that are ranked; controls are not.
        least: by metric, the change that another training seed alone causes (``regression.least``).
    """
    found = {
        (method, key): _alone(own, least_of(key[1], least))
        for method, columns in values.items()
        for key, own in columns.items()
    }
    for key in printed:
        own = {method: values[method][key] for method in competing if key in values.get(method, {})}
        if len(own) < 2 or len({column.shape[1] for column in own.values()}) > 1:
            continue
        size, higher = least_of(key[1], least), METRICS[key[1]].higher_is_better
        ranks = rank_intervals(own, size, higher)
        ordered = sorted(own, key=lambda method: -own[method].mean() if higher else own[method].mean())
        for method in ordered:
            rival = ordered[0] if method != ordered[0] else ordered[1]
            parts = components(own[method], own[rival])
            low, high = ranks.get(method, (math.nan, math.nan))
            found[method, key] = found[method, key]._replace(
                rank_low=low, rank_high=high, outlook=parts.outlook(size, higher) if parts else NO_OUTLOOK
            )
    return found


def _alone(values: np.ndarray, least: float | None) -> Standing:
    parts = components(values)
    low, high = parts.distribution(least).interval if parts else (math.nan, math.nan)
    return Standing(low, high, by_seed=tuple(values.mean(1)))


def rank_table(
    found: Mapping[tuple[str, Key], Standing], labels: Mapping[str, str], columns: Sequence[Key], metric: str
) -> str:
    """Return the rank intervals by one metric as a Markdown table with its heading; "" if there are none.

    Args:
        found: the places (``standings``).
        labels: label of each competing method as Markdown, in the table's order.
        columns: the printed columns.
        metric: the metric whose ranks are shown.
    """
    keys = [key for key in columns if key[1] == metric]
    body = [
        [label, *(_range(found.get((method, key), NO_STANDING)) for key in keys)] for method, label in labels.items()
    ]
    if all(cell == "–" for _, *cells in body for cell in cells):
        return ""
    headers = ["Method", *(title_of(bucket) for bucket, _ in keys)]
    align = ["left", *["right"] * len(keys)]
    table = tabulate(body, headers, tablefmt="pipe", colalign=align, disable_numparse=True)
    return (
        f"Rank by {METRICS[metric].label} among the {len(labels)} methods that compete, with what other trainings and "
        "images allow (95 %, each interval by itself). Other measures, and the probabilities of better, equivalent and "
        f"worse than a column's best, are in the CSV.\n\n{table}\n\n"
    )


def _range(place: Standing) -> str:
    if math.isnan(place.rank_low):
        return "–"
    low, high = int(place.rank_low), int(place.rank_high)
    return str(low) if low == high else f"{low}–{high}"


def spread_note(
    values: Values, columns: Sequence[Key], competing: Sequence[str], least: Mapping[str, float]
) -> Iterator[str]:
    """Yield the spread of seeds that a table's own seeds show, if there are several, beside the one that is assumed."""
    texts, larger = [], []
    for metric in dict.fromkeys(key[1] for key in columns):
        variances = [
            float(own[key].mean(1).var(ddof=1))
            for own in (values.get(method, {}) for method in competing)
            for key in columns
            if key[1] == metric and key in own and len(own[key]) > 1
        ]
        if not variances:
            continue
        bound = change_between(float(np.mean(variances)))
        digits = METRICS[metric].decimals + 1
        texts.append(f"{METRICS[metric].label} {bound:.{digits}f}{METRICS[metric].after}")
        assumed = least_of(metric, least)
        if assumed is not None and bound > assumed:
            larger.append(f"`regression.least.{family_of(metric)}` ({assumed:g})")
    if texts:
        note = f"Change that another seed causes, 95 % bound by the seeds of this table: {', '.join(texts)}."
        if larger:
            note += (
                f" It is larger than {', '.join(larger)}: set the measured value, else intervals and probabilities of "
                "single trainings are too certain. Bold already allows for what the seeds show."
            )
        yield note
