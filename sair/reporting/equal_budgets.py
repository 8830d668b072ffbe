"""Compare methods at equal steps and at equal compute, from finished runs that differ in their training budgets."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from os.path import commonpath
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import numpy as np
import pandas as pd

from sair.common.errors import InputError, near
from sair.data.buckets import ALL
from sair.data.manifest import manifest_hash
from sair.evaluation.metrics.of_images import ALL_MEASURES
from sair.evaluation.metrics.registry import METRICS
from sair.evaluation.statistics import Decision, Difference, decide
from sair.reporting.budgets import CHECKPOINT, TERA, Counted, counted
from sair.reporting.measured import capped, family_of, least_of, mean_of_seeds, same_images
from sair.reporting.runs import Runs, quality_differences, read_runs

STEPS, COMPUTE = "steps", "compute"  # what two methods have in equal amounts
AHEAD, BEHIND, UNDECIDED = "ahead", "behind", "undecided"
_PLURAL = {STEPS: "steps", COMPUTE: "operations"}
FEWEST = 2  # budgets, for a line
RUN_FIRST = "Run the workflow with this results folder first (docs/statistics.md, equal budgets)."
Scores = dict[str, dict[int, Path]]  # method -> seed -> scores.csv


@dataclass(frozen=True)
class Request:
    """What is compared.

    Attributes:
        folders: results folders, one per budget, in any order.
        metric: a column of score files.
        dataset: a dataset of these folders; "" if they have only one.
        methods: the methods; empty for all that were trained there.
        pairs: which of them are compared; empty for the first with each other one.
        labels: printed name by method; a missing one is printed as it is.
        least: by metric, the change that another training seed alone causes (``regression.least``).
    """

    folders: Sequence[str]
    metric: str = "psnr"
    dataset: str = ""
    methods: Sequence[str] = ()
    pairs: Sequence[Sequence[str]] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    least: Mapping[str, float] = field(default_factory=dict)

    @property
    def measure(self) -> str:
        """Return the printed name of the metric."""
        return METRICS[self.metric].label if self.metric in METRICS else self.metric

    def label(self, method: str) -> str:
        """Return the printed name of a method."""
        return self.labels.get(method, method)

    def name(self, folder: str) -> str:
        """Return what a folder's path has beyond that of all folders, for example ``0.5``."""
        path = Path(folder).resolve()
        return str(path.relative_to(commonpath([Path(other).resolve() for other in self.folders])))


class Point(NamedTuple):
    """What a method reached with one budget.

    name: of the results folder.
    budget: the size of one training; of several seeds, the mean.
    seeds: of the trainings.
    runs: the scores, one frame per seed.
    """

    name: str
    budget: Counted
    seeds: tuple[int, ...]
    runs: Runs

    def size(self, equal: str) -> float:
        """Return the steps or the operations of one training."""
        return self.budget.steps if equal == STEPS else self.budget.operations


Curves = Mapping[str, Sequence[Point]]  # by method, in order of operations


# --------------------------------------------------------------------------------------------------------------------
# Reading


def complete(request: Request, order: Sequence[str] = ()) -> Request:
    """Check a request, and fill in its dataset, methods and pairs.

    Args:
        request: what is compared.
        order: methods that come first, in this order, if the request names none.

    Raises:
        InputError: a folder has no scores or another test split, fewer than two folders are named, or the metric, a
            method or the dataset is unknown.
    """
    if request.metric not in ALL_MEASURES:
        raise InputError(f"--metric {request.metric}: no column of scores. {near(request.metric, ALL_MEASURES)}")
    if len({Path(folder).resolve() for folder in request.folders}) < max(FEWEST, len(request.folders)):
        raise InputError(
            f"{', '.join(request.folders)}: expected at least {FEWEST} different results folders, one per budget. "
            "Name each once."
        )
    dataset = _dataset(request)
    _check_manifests(request.folders, dataset)
    found = [_scores(Path(folder, dataset)) for folder in request.folders]
    every = sorted({method for scores in found for method in scores})
    known = [method for method in dict.fromkeys([*order, *every]) if method in every]
    methods = list(dict.fromkeys(request.methods)) or [
        method
        for method in known
        if any(path.with_name(CHECKPOINT).is_file() for scores in found for path in scores.get(method, {}).values())
    ]
    pairs = request.pairs or [(methods[0], other) for other in methods[1:]]
    for pair in pairs:
        if len(pair) != 2 or pair[0] == pair[1] or not all(pair):
            raise InputError(f"--pair {','.join(pair)}: expected two different methods, such as sair,liif.")
    for method in [*methods, *(name for pair in pairs for name in pair)]:
        if method not in known:
            raise InputError(f"{method}: no scores of this method in these folders. {near(method, known)}")
    methods = list(dict.fromkeys([*methods, *(name for pair in pairs for name in pair)]))
    if len(methods) < 2:
        raise InputError(
            f"{', '.join(request.folders)}: expected at least two trained methods of `{dataset}`, found "
            f"{', '.join(methods) or 'none'}. Checkpoints must lie beside the scores."
        )
    return replace(request, dataset=dataset, methods=methods, pairs=list(dict.fromkeys(map(tuple, pairs))))


def _dataset(request: Request) -> str:
    found = []
    for folder in request.folders:
        if not Path(folder).is_dir():
            raise InputError(f"{folder}: no such folder. {RUN_FIRST}")
        names = [path.parent.name for path in Path(folder).glob("*/manifest.csv") if _scores(path.parent)]
        if not names or request.dataset not in ("", *names):
            of = f" of `{request.dataset}`" if request.dataset else ""
            raise InputError(
                f"{folder}: contains no scores{of} (DATASET/manifest.csv, DATASET/METHOD/seed0/scores.csv). {RUN_FIRST}"
            )
        found.append(set(names))
    shared = [request.dataset] if request.dataset else sorted(set.intersection(*found))
    if len(shared) != 1:
        raise InputError(
            f"{', '.join(request.folders)}: have scores of {', '.join(shared) or 'no dataset in common'}. Name one of "
            "their datasets by --dataset."
        )
    return shared[0]


def _scores(folder: Path) -> Scores:
    """Return the score files in the folder of a dataset."""
    found: Scores = {}
    for path in sorted(folder.glob("*/seed*/scores.csv")):
        if number := re.fullmatch("seed([0-9]+)", path.parent.name):
            found.setdefault(path.parent.parent.name, {})[int(number[1])] = path
    return {method: dict(sorted(files.items())) for method, files in found.items()}


def _check_manifests(folders: Sequence[str], dataset: str) -> None:
    paths = [Path(folder, dataset, "manifest.csv") for folder in folders]
    for path in paths:
        if manifest_hash(path) != manifest_hash(paths[0]):
            raise InputError(
                f"{path}: lists other images or masks than {paths[0]}. Budgets are compared on one test split: use "
                "configs that differ only in `results` and `training`."
            )


def inputs_of(request: Request) -> list[str]:
    """Return the files that a complete request is answered from."""
    found = []
    for folder in request.folders:
        home = Path(folder, request.dataset)
        scores = _scores(home)
        paths = [path for method in request.methods for path in scores.get(method, {}).values()]
        found += [home / "manifest.csv", *paths, *(path.with_name(CHECKPOINT) for path in paths)]
    return [str(path) for path in found]


def read_curves(request: Request) -> Curves:
    """Read what every method of a complete request reached with each budget.

    Raises:
        InputError: a checkpoint is missing or states no operations; trainings of one method have different networks or
            seeds, one folder has different budgets of it, or two folders the same; or scores are of other images.
    """
    curves: dict[str, list[Point]] = {method: [] for method in request.methods}
    for folder in request.folders:
        scores = _scores(Path(folder, request.dataset))
        for method, curve in curves.items():
            if files := scores.get(method):
                runs = read_runs(list(files.values()), [request.metric])
                curve.append(Point(request.name(folder), _budget(files), tuple(files), runs))
    for method, curve in curves.items():
        curve.sort(key=lambda point: point.budget.operations)
        _check_curve(method, curve)
    for first, second in request.pairs:
        seeds = [curves[name][0].seeds for name in (first, second)]
        if len(seeds[0]) == len(seeds[1]) and seeds[0] != seeds[1]:
            raise InputError(
                f"{first} was trained with the seeds {_listed(seeds[0])}, and {second} with {_listed(seeds[1])}. As "
                "many seeds are compared in pairs: train both with the same ones."
            )
    same_images({f"{method} in {point.name}": point.runs.mean for method, curve in curves.items() for point in curve})
    return curves


def _budget(files: Mapping[int, Path]) -> Counted:
    """Return the size of one training, the mean of the seeds."""
    paths = [path.with_name(CHECKPOINT) for path in files.values()]
    found = [counted(path) for path in paths]
    for path, own in zip(paths, found, strict=True):
        if not path.is_file():
            raise InputError(
                f"{path}: no such checkpoint, which states the operations of the training. Copy it there, or leave out "
                "the method (--methods)."
            )
        if not (own.operations > 0 and own.steps > 0):
            raise InputError(f"{path}: states no operations; an earlier version wrote it. Delete it and train again.")
        if own.steps != found[0].steps:
            raise InputError(
                f"{path}: a training of {own.steps:.0f} steps, and {paths[0]} one of {found[0].steps:.0f}. A results "
                "folder has one budget: finish its run."
            )
    return Counted(*map(fmean, zip(*found, strict=True)))


def _check_curve(method: str, curve: Sequence[Point]) -> None:
    for low, high in pairwise(curve):
        if low.seeds != high.seeds:
            raise InputError(
                f"{high.name}: {method} has the seeds {_listed(high.seeds)}, and {_listed(low.seeds)} in {low.name}. "
                "A line needs the same seeds at each budget: finish the run of the folder that lacks some."
            )
        if low.budget.parameters != high.budget.parameters:
            raise InputError(
                f"{high.name}: {method} has {high.budget.parameters:.0f} trainable parameters, and "
                f"{low.budget.parameters:.0f} in {low.name}. Use configs that differ only in `results` and `training`."
            )
        for equal in (STEPS, COMPUTE):
            if math.isclose(low.size(equal), high.size(equal)):
                raise InputError(
                    f"{low.name} and {high.name}: {method} was trained with as many {_PLURAL[equal]} in both. Name one "
                    "of the two folders."
                )


def size_text(equal: str, *sizes: float) -> str:
    """Return sizes of trainings as pages print them, joined by ``to``: ``2,000 steps``, ``76 · 10¹² operations``."""
    numbers = " to ".join(f"{size:,.0f}" if equal == STEPS else f"{size / TERA:.3g}" for size in sizes)
    return f"{numbers} steps" if equal == STEPS else f"{numbers} · 10¹² operations"


def _listed(seeds: Iterable[int]) -> str:
    return ", ".join(map(str, seeds))


# --------------------------------------------------------------------------------------------------------------------
# Comparing


class Reached(NamedTuple):
    """The scores of a method at a given size of the training.

    names: the results folder that they were measured in, or the two that they lie between.
    runs: the scores, one frame per seed.
    """

    names: tuple[str, ...]
    runs: Runs


def reached_at(curve: Sequence[Point], equal: str, size: float, metric: str) -> Reached | None:
    """Return what a method reached, or would have reached, with a given number of steps or operations.

    Between two budgets every image of every seed is interpolated linearly over the logarithm of the size.

    Args:
        curve: what was measured, in any order.
        equal: ``steps`` or ``compute``, the unit of ``size``.
        size: of one training.
        metric: the column that is interpolated.

    Returns:
        None if the size lies outside the measured ones: nothing is extrapolated.
    """
    ordered = sorted(curve, key=lambda point: point.size(equal))
    for point in ordered:
        if math.isclose(point.size(equal), size):
            return Reached((point.name,), point.runs)
    for low, high in pairwise(ordered):
        start, end = low.size(equal), high.size(equal)
        if start < size < end:
            share = math.log(size / start) / math.log(end / start)
            frames = [_blend(*pair, share, metric) for pair in zip(low.runs.seeds, high.runs.seeds, strict=True)]
            return Reached((low.name, high.name), Runs(frames, mean_of_seeds(frames)))
    return None


def _blend(low: pd.DataFrame, high: pd.DataFrame, share: float, metric: str) -> pd.DataFrame:
    keys = ["bucket", "id"]
    kept = capped(low)[[*keys, "cluster", metric]]
    other = kept[keys].merge(capped(high)[[*keys, metric]], on=keys, how="left", validate="one_to_one")
    values = (1 - share) * kept[metric].to_numpy(np.float64) + share * other[metric].to_numpy(np.float64)
    return kept.assign(**{metric: values})


class Comparison(NamedTuple):
    """A method at one of its budgets against another one with as many steps or operations.

    first, second: the methods.
    name: the results folder of the first.
    equal: ``steps`` or ``compute``.
    size: the steps or operations of both; nan if the first was not trained in this folder.
    names: the results folders of the second: one, or the two that it is interpolated between.
    differences: by bucket, the first minus the second; buckets without a number are missing.
    intervals: by bucket, the 95 % interval of the difference over trainings and images; nan with one seed.
    decisions: by bucket, of the rule, for all comparisons of the page.
    verdicts: by bucket, what they say of the first: ``ahead``, ``behind`` or ``undecided``.
    reason: why there are no differences; empty otherwise.
    """

    first: str
    second: str
    name: str
    equal: str
    size: float = math.nan
    names: tuple[str, ...] = ()
    differences: Mapping[str, Difference] = {}
    intervals: Mapping[str, tuple[float, float]] = {}
    decisions: Mapping[str, Decision] = {}
    verdicts: Mapping[str, str] = {}
    reason: str = ""


def buckets_of(curves: Curves) -> list[str]:
    """Return the buckets of a page, and ``all`` of them together if there are several."""
    first = next(point for curve in curves.values() for point in curve)
    buckets = list(dict.fromkeys(first.runs.mean.bucket))
    return [*buckets, ALL] if len(buckets) > 1 else buckets


def comparisons(request: Request, curves: Curves) -> list[Comparison]:
    """Compare the pairs of a complete request at each budget, by the rule ``decide`` for all of them together."""
    found = [one for pair in request.pairs for one in _compared(request, curves, *pair)]
    differences = [difference for one in found for difference in one.differences.values()]
    pairs = [((one.first, (one.name,)), (one.second, one.names)) for one in found for _ in one.differences]
    least = [least_of(request.metric, request.least)] * len(differences)
    decisions = iter(decide(differences, least, pairs=pairs))
    return [_judged(request, one, {bucket: next(decisions) for bucket in one.differences}) for one in found]


def _judged(request: Request, one: Comparison, decisions: Mapping[str, Decision]) -> Comparison:
    return one._replace(
        intervals={bucket: _interval(request, difference) for bucket, difference in one.differences.items()},
        decisions=decisions,
        verdicts={bucket: _verdict(request.metric, decision) for bucket, decision in decisions.items()},
    )


def _interval(request: Request, difference: Difference) -> tuple[float, float]:
    parts = difference.components
    if parts is None:
        return math.nan, math.nan
    return parts.distribution(least_of(request.metric, request.least)).interval


def _verdict(metric: str, decision: Decision) -> str:
    if decision.sign == 0:
        return UNDECIDED
    return AHEAD if (decision.sign > 0) == METRICS[family_of(metric)].higher_is_better else BEHIND


def _compared(request: Request, curves: Curves, first: str, second: str) -> Iterator[Comparison]:
    points = {point.name: point for point in curves[first]}
    missing = [request.name(folder) for folder in request.folders if request.name(folder) not in points]
    for name in [*points, *sorted(missing)]:
        for equal in (STEPS, COMPUTE):
            bare = Comparison(first, second, name, equal)
            if name in points:
                yield _at(request, bare, points[name], curves[second], buckets_of(curves))
            else:
                yield bare._replace(reason=f"no scores of {request.label(first)} there")


def _at(request: Request, bare: Comparison, point: Point, rival: Sequence[Point], buckets: Sequence[str]) -> Comparison:
    size = point.size(bare.equal)
    at = reached_at(rival, bare.equal, size, request.metric)
    if at is None:
        ends = [end(other.size(bare.equal) for other in rival) for end in (min, max)]
        reason = f"{request.label(bare.second)} was measured from {size_text(bare.equal, *ends)}"
        return bare._replace(size=size, reason=reason)
    keys = [(bucket, request.metric) for bucket in buckets]
    found = quality_differences(point.runs, at.runs, keys)
    differences = {bucket: difference for (bucket, _), difference in found.items() if difference.n}
    reason = "" if differences else f"no image has a number in {request.metric}"
    return bare._replace(size=size, names=at.names, differences=differences, reason=reason)
