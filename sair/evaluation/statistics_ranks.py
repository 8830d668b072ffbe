"""Give each method of a column a rank with an interval, from the comparisons with all other methods."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import combinations

import numpy as np

from sair.evaluation.statistics import holm
from sair.evaluation.statistics_seeds import LEVEL, Components, components

Ranks = tuple[int, int]  # best and worst rank that the data allow


def rank_intervals(values: Mapping[str, np.ndarray], least: float | None, higher_is_better: bool) -> dict[str, Ranks]:
    """Return the ranks that each method may have over other trainings and images, 1 for the best.

    A method's best rank is one more than the number of methods that are really better; its worst rank leaves out those
    that are really worse. Each method's comparisons are corrected by Holm for their number, so its true rank is within
    its interval with 95 % confidence.

    Args:
        values: float (seeds, clusters) of each method, on the same clusters (``cluster_values``).
        least: same as in ``decide``.
        higher_is_better: the measure's direction.

    Returns:
        Best and worst rank by method; {} if nothing is known about other trainings.
    """
    found: dict[tuple[str, str], tuple[float, float]] = {}  # p, and its sign: positive if the first is better
    for first, second in combinations(values, 2):
        parts = components(values[first], values[second])
        p = _p(parts, least)
        if parts is None or math.isnan(p):
            return {}
        sign = 1.0 if (parts.mean > 0) == higher_is_better else -1.0
        found |= {(first, second): (p, sign), (second, first): (p, -sign)}
    ranks = {}
    for name in values:
        own = [found[name, other] for other in values if other != name]
        real = [p < LEVEL for p in holm([p for p, _ in own])]
        better = sum(yes and sign < 0 for yes, (_, sign) in zip(real, own, strict=True))
        worse = sum(yes and sign > 0 for yes, (_, sign) in zip(real, own, strict=True))
        ranks[name] = (1 + better, len(values) - worse)
    return ranks


def _p(parts: Components | None, least: float | None) -> float:
    """Return p over trainings and images: the larger one of the known and the measured spread of trainings."""
    if parts is None:
        return math.nan
    found = [parts.measured.p] if parts.measured is not None else []
    found += [parts.assuming(least).p] if least is not None else []
    return max(found, default=math.nan)
