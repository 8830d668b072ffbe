"""Judge the published numbers in a method's card beside those that were measured."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sair.common.errors import InputError
from sair.data.buckets import ALL, families_of, folders_of
from sair.evaluation.metrics.registry import METRICS
from sair.evaluation.statistics import Estimate
from sair.reporting.inputs import Layout
from sair.weights.cards import read_card

REPRODUCED, CLOSE, NOT_REPRODUCED, NOT_COMPARABLE = "reproduced", "close", "not reproduced", "not comparable"
SAME, NEAR = 0.01, 0.05  # relative differences up to which a number is reproduced, and close
KEYS = ("method", "metric", "value", "dataset", "size", "masks", "n", "source")


class Claim(NamedTuple):
    """A published number, as an entry of ``published`` in a card states it.

    method: the method of ``config/methods`` whose weights it is of.
    metric: a metric of the registry.
    value: the number, in that metric's unit.
    dataset: name of the dataset, as in a dataset's ``known`` where there is one.
    size: side of the images in pixels.
    masks: ``nvidia`` or a family of masks, with its bucket if it is not of all of them: ``nvidia 20-40``.
    n: number of images.
    source: where it is printed.
    """

    method: str
    metric: str
    value: float
    dataset: str
    size: int
    masks: str
    n: int
    source: str


class Judged(NamedTuple):
    """A published number with its verdict, the measured number (nan if there is none), and the reason."""

    claim: Claim
    verdict: str
    measured: float
    reason: str


def claims_of(method: str, card: str | None) -> list[Claim]:
    """Return the published numbers of a method that its card states.

    Raises:
        InputError: there is no such card, or an entry lacks a key or names an unknown metric.
    """
    entries = read_card(card).get("published", []) if card else []
    found = []
    for entry in entries:
        if set(entry) != set(KEYS) or entry["metric"] not in METRICS:
            raise InputError(
                f"card {card}, published: {entry!r:.80}; expected the keys {', '.join(KEYS)}, and a metric of the "
                "registry."
            )
        if entry["method"] == method:
            found.append(Claim(**entry))
    return found


def judge(claim: Claim, cells: Mapping[tuple[str, str], Estimate], shown: Layout, config: Mapping[str, Any]) -> Judged:
    """Judge a published number.

    It is comparable if dataset, size and masks are the same. It is reproduced if it lies in the 95 % interval of the
    measured mean or differs by at most 1 %, and close if it differs by at most 5 %.

    Args:
        claim: the published number.
        cells: the method's measured values by (bucket, metric).
        shown: the table.
        config: the whole config.
    """
    masks, _, bucket = claim.masks.partition(" ")
    cell = cells.get((bucket or masks, claim.metric), cells.get((bucket or ALL, claim.metric)))
    measured = math.nan if cell is None else cell.mean
    if reasons := list(_differences(claim, masks, shown, config)):
        return Judged(claim, NOT_COMPARABLE, measured, "; ".join(reasons))
    if cell is None or math.isnan(measured):
        return Judged(claim, NOT_COMPARABLE, measured, "not measured here")
    difference = abs(measured - claim.value) / abs(claim.value) if claim.value else math.inf
    if cell.low <= claim.value <= cell.high or difference <= SAME:
        return Judged(claim, REPRODUCED, measured, f"{difference:.1%} apart")
    return Judged(claim, CLOSE if difference <= NEAR else NOT_REPRODUCED, measured, f"{difference:.1%} apart")


def _differences(claim: Claim, masks: str, shown: Layout, config: Mapping[str, Any]) -> Iterator[str]:
    """Yield why a published number was not measured under the conditions of this table."""
    dataset = config["datasets"][shown.dataset]
    own = dataset.get("known") or (
        dataset["source"] if dataset["source"] != "folder" else f"the folder `{shown.dataset}`"
    )
    if own != claim.dataset:
        yield f"on {claim.dataset}, here {own}"
    if config["image_size"] != claim.size:
        yield f"at {claim.size} pixels, here {config['image_size']}"
    given = config["masks"][dataset["masks"]]
    kind, folders = given.get("known") or given["source"], [name for name, _ in folders_of(given)]
    families = families_of(given)
    if masks not in [kind, *(name for name in families if name not in folders)]:  # a folder's name proves nothing
        here = ", ".join(f"{name} (a folder)" if name in folders else name for name in families)
        yield f"masks {claim.masks}, here {f'those of the families {here}' if here else kind}"


def summary(found: Sequence[Judged]) -> str:
    """Return the verdicts on a method in a few words: ``2 reproduced, 1 not comparable``."""
    counts = Counter(one.verdict for one in found)
    order = (REPRODUCED, CLOSE, NOT_REPRODUCED, NOT_COMPARABLE)
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in order if counts[verdict])


def describe(label: str, found: Sequence[Judged]) -> str:
    """Return a note with every published number of a method beside the measured one, and its verdict."""
    lines = []
    for claim, verdict, measured, reason in found:
        facts = METRICS[claim.metric]
        own = "" if math.isnan(measured) else f", measured {measured:.{facts.decimals}f}"
        lines.append(f"{facts.label} {claim.value:g} ({claim.source}){own}: {verdict} ({reason})")
    return f"Published numbers of {label}: {'; '.join(lines)}."
