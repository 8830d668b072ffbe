"""Write the sentences that several pages print under their numbers: on the data, the rule of decision, their limits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from sair.evaluation.metrics.psnr import PSNR_CAP
from sair.evaluation.metrics.registry import METRICS
from sair.evaluation.statistics import FEWEST_CLUSTERS, Decision
from sair.evaluation.statistics_seeds import LEVEL, Shares
from sair.reporting.measured import family_of, least_of


def rule(count: int, of: str, metrics: Sequence[str], least: Mapping[str, float], several: bool) -> str:
    """State when a difference counts: the conditions of ``decide``, with their numbers.

    Args:
        count: number of comparisons in Holm's correction.
        of: the place of these comparisons, such as ``this table``.
        metrics: the measures that are judged.
        least: by metric, the change that another training seed alone causes.
        several: whether a compared method has several seeds.
    """
    known = [name for name in dict.fromkeys(metrics) if least_of(name, least) is not None]
    sizes = ", ".join(f"{least_of(name, least):g}{METRICS[name].after} in {METRICS[name].label}" for name in known)
    tests = {"swaps for mIoU" if family_of(name) == "miou" else "sign flips" for name in metrics}
    text = (
        f"p < {LEVEL} in a test paired by image (random {' or '.join(sorted(tests))}) and in a t-test that adds the "
        "change which another training seed alone causes, both after Holm's correction for all "
        f"{count} comparisons of {of} (that change, `regression.least`: {sizes or 'not given'}"
        f"{', or more where the seeds of these comparisons vary more' if several and known else ''}"
    )
    if unknown := dict.fromkeys(family_of(name) for name in metrics if name not in known):
        names = ", ".join(METRICS[name].label for name in unknown)
        keys = ", ".join(f"`regression.least.{name}`" for name in unknown)
        else_ = "the spread of the seeds is used" if several else "nothing is decided there"
        text += f"; no seed spread measured for {names}, so {else_}: set {keys}"
    text += ")"
    if several:
        text += ", if the 95 % interval that is measured over seeds and images excludes zero"
    return text


def reasons(decisions: Iterable[Decision]) -> str:
    """Return how many comparisons the rule decides, and for which reasons it does not decide the others."""
    counts = Counter(decision.reason for decision in decisions)
    decided = counts.pop("", 0)
    ties = "; ".join(f"{count} {reason}" for reason, count in counts.most_common())
    return f"{decided} decided" + (f", {sum(counts.values())} not ({ties})" if ties else "")


def clusters(n: int, count: int) -> str:
    """Return how many independent clusters images form; "" if each is its own cluster and there are enough of them."""
    text = ""
    if n == 0:
        return text
    if count < n:
        text = (
            f" They form {count} cluster{'' if count == 1 else 's'} (photographs, scenes, persons); images of one "
            "cluster are not independent, so intervals and tests draw whole clusters."
        )
    if count < 2:
        return f"{text} A single one has neither interval nor test."
    if count < FEWEST_CLUSTERS:
        units = "clusters" if count < n else "images"
        text += (
            f" With fewer than {FEWEST_CLUSTERS} {units} no test can reach p < {LEVEL}: nothing is decided, and the "
            "intervals are too narrow."
        )
    return text


def seeds(used: Mapping[str, Sequence[int]], spread: bool = False) -> str:
    """State what the numbers of a page include and leave out, given its training seeds.

    Args:
        used: label of each trained method that is shown -> its training seeds.
        spread: whether the page shows the spread over seeds, as ±.
    """
    by_seeds: dict[tuple[int, ...], list[str]] = {}
    for label, numbers in used.items():
        by_seeds.setdefault(tuple(numbers), []).append(label)
    single = [numbers[0] for numbers in by_seeds if len(numbers) == 1]
    only = ", ".join(map(str, single))
    several = [(", ".join(map(str, numbers)), labels) for numbers, labels in by_seeds.items() if len(numbers) > 1]
    plus_minus = "; ±: standard deviation of the means over seeds." if spread else "."
    if not several:
        return (
            f"One training seed ({only}): the numbers are of these weights. They do not show how another training "
            "of the same methods would come out. Statements on methods take the spread of trainings from "
            "`regression.least`, which was measured elsewhere: if it is larger here, too much is decided. To detect a "
            "smaller gain, and to measure the spread, use several `seeds`."
        )
    if not single and len(several) == 1:
        return f"Mean over the training seeds {several[0][0]}, first averaged per image{plus_minus}"
    parts = "; ".join(f"{numbers} of {', '.join(labels)}" for numbers, labels in several)
    text = f"Training seeds: {parts}. Mean over them, first averaged per image{plus_minus}"
    if single:
        text += (
            f" One training (seed {only}) of the others: their numbers are of these weights. Compared with several "
            "trainings of another method, one training is taken to vary as much as that method does, or by "
            "`regression.least` if that is more; between two of them it is `regression.least`."
        )
    return text


def intervals(several: bool) -> str:
    """State what the two kinds of 95 % intervals and tests are about.

    Args:
        several: whether a compared method has several seeds.
    """
    source = (
        "a t interval over seeds and images, seeds paired between methods"
        if several
        else "a t interval over images and the known spread of seeds"
    )
    return (
        "Intervals (95 %) of these weights: bootstrap over images. Of these methods, that is of other trainings, too: "
        f"{source}. Better, equivalent, worse: the probabilities by the latter; equivalent is a difference up to "
        "`regression.least`."
    )


def shares(found: Shares, of: str, several: bool) -> str:
    """State what the variance of a mean difference is due to.

    Args:
        found: the shares.
        of: the difference, such as ``the difference in PSNR``.
        several: whether the spread of seeds was measured here, and not taken from ``regression.least``.
    """
    parts = [f"seeds {found.seeds:.0%}", f"images {found.images:.0%}", f"masks {found.masks:.0%}"]
    if several:
        parts.append(f"what a training does to single images {found.rest:.0%}")
    source = "" if several else " (the seeds' by `regression.least`)"
    return f"The variance of {of} is due to: {', '.join(parts)}{source}."


def departures(methods: Iterable[Mapping[str, Any]]) -> str:
    """Return the parameters in which trained methods differ from their authors' training; "" if none does.

    Args:
        methods: specifications; their ``published`` contains the authors' values.
    """
    found = []
    for spec in methods:
        own = spec.get("parameters", {}) if spec.get("training") else {}
        changed = {key: value for key, value in spec.get("published", {}).items() if key in own and own[key] != value}
        found += [f"{spec['label']} {key} `{own[key]}` (published: `{value}`)" for key, value in changed.items()]
    return f"Trained with other settings than published: {'; '.join(found)}." if found else ""


def perfect(frames: Mapping[str, pd.DataFrame], apart: Collection[str] = ()) -> str:
    """Return the methods that filled some images without an error, and how these count; "" if there are none.

    Args:
        frames: scores by label.
        apart: labels that are not compared with others, such as the ground truth's. They are left out if all of their
            images are perfect, which needs no note.
    """
    found = {label: int((frame.perfect > 0).sum()) for label, frame in frames.items()}
    some = [
        f"{label} {n} of {len(frames[label])}"
        for label, n in found.items()
        if n and not (label in apart and n == len(frames[label]))
    ]
    if not some:
        return ""
    return (
        f"Images filled without an error ({', '.join(some)}) have an infinite PSNR, which counts as {PSNR_CAP:g} "
        "dB in differences, tests and means; only a mean over such images alone is infinite."
    )
