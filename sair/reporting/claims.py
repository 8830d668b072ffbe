"""Write the page of claims: orderings that the paper states, with claimed and measured differences, paired by image."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from tabulate import tabulate

from sair.common.files import write_csv, write_text
from sair.common.tabular import ANY, TEXT, read_csv
from sair.data.buckets import title_of
from sair.evaluation.metrics.registry import METRICS
from sair.evaluation.statistics import NO_DIFFERENCE, Decision, Difference, decide
from sair.evaluation.statistics_seeds import NO_OUTLOOK
from sair.reporting import notes
from sair.reporting.budgets import budget_of
from sair.reporting.inputs import SEGMENTATION, ClaimsInputs, Files, Layout, layout, training_seeds
from sair.reporting.measured import (
    Key,
    least_of,
    same_images,
)
from sair.reporting.paper import claimed
from sair.reporting.rows import AGAIN, PARAMETERS, check_metrics, claimants, stand_ins
from sair.reporting.runs import (
    quality_differences,
    read_runs,
    read_segmented,
    segmentation_differences,
)
from sair.reporting.standings import CHANCES

COLUMNS = [
    *("table", "dataset", "better", "worse", "method", "against", "bucket", "metric"),
    *("claimed", "difference", "low", "high", "p", "adjusted_p", "n", "clusters", "verdict", "reason"),
    *("stated", "equal", "method_low", "method_high", "method_p", *CHANCES),
]
NUMBERS = (
    *("claimed", "difference", "low", "high", "p", "adjusted_p", "n", "clusters", "stated"),
    *("method_low", "method_high", "method_p", *CHANCES),
)
HOLDS, FAILS, UNDECIDED, NOT_RUN = "holds", "does not hold", "undecided", "not run"
CONTRADICTED = "contradicted by the paper"
CLIP = "clip"  # the dense CLIP, which is not a method, represents the paper's row without SIR
SIMILAR = 1.25  # largest ratio of budgets that are called equal
SHOWN = ("psnr", "miou")  # metrics of the page; the CSV contains all

# A function of two methods that returns paired differences, the first minus the second, by column.
Differences = Callable[[str, str, Sequence[Key]], dict[Key, Difference]]


class Claim(NamedTuple):
    """One cell of an ordering: the paper's two rows, the methods that represent them, and what was measured."""

    table: str
    dataset: str
    better: str
    worse: str
    method: str
    against: str
    bucket: str
    metric: str
    printed: float  # difference of the paper's two numbers
    stated: float  # difference that its text states
    difference: Difference
    equal: str = ""  # the budget that the second method shares with the first; "" for the row's own method

    @property
    def contradicted(self) -> bool:
        """Whether the paper's own number contradicts its sentence."""
        return self.printed < 0 if METRICS[self.metric].higher_is_better else self.printed > 0

    @property
    def judged(self) -> bool:
        """Whether the claim can be judged: both rows were run, and the paper's number agrees with its sentence."""
        return self.difference.n > 0 and not self.contradicted


def verdict(claim: Claim, decision: Decision | None) -> str:
    """Return the verdict on the sentence "better > worse", in the metric's direction."""
    if claim.difference.n == 0:
        return NOT_RUN
    if decision is None:
        return CONTRADICTED
    if decision.sign == 0:
        return UNDECIDED
    return HOLDS if (decision.sign > 0) == METRICS[claim.metric].higher_is_better else FAILS


def write_claims(
    inputs: ClaimsInputs, config: Mapping[str, Any], methods: Mapping[str, Mapping[str, Any]], output: Any
) -> None:
    """Write every ordering that the paper prints, with the measured differences.

    Args:
        inputs: the files that the page is made from.
        config: the whole config.
        methods: specifications of all methods.
        output: paths to write, with the attributes ``markdown`` and ``csv``; the former shows PSNR and mIoU only.

    Raises:
        InputError: a file is missing or damaged; methods that scored different images.
    """
    claims = [claim for table in inputs.measured for claim in _claims(layout(config, table), inputs, methods)]
    least = config["regression"]["least"]
    judged = [claim for claim in claims if claim.judged]
    family = decide(
        [claim.difference for claim in judged],
        [least_of(claim.metric, least) for claim in judged],
        [f"{claim.metric} of {claim.dataset}" for claim in judged],
        [(claim.method, claim.against) for claim in judged],
    )
    decisions = {id(claim): decision for claim, decision in zip(judged, family, strict=True)}
    frame = pd.DataFrame([_line(claim, decisions.get(id(claim)), least) for claim in claims], columns=COLUMNS)
    write_csv(frame, output.csv)
    opposed = np.array([claim.contradicted for claim in claims], bool)
    used = {methods[name]["label"]: training_seeds(config, name) for name in _judged_methods(inputs, methods)}
    several = any(len(seeds) > 1 for seeds in used.values())
    rule = notes.rule(len(judged), "this page", list(dict.fromkeys(claim.metric for claim in judged)), least, several)
    terms = [
        *(f"The paper against itself, {slip}" for slip in _slips(inputs, config)),
        *_summary(frame, int(opposed.sum()), rule, several),
        *_trained(config, used),
    ]
    write_text(output.markdown, _page(frame, opposed, terms, _ratios(claims, inputs)))


def read_claims(path: str | Path) -> pd.DataFrame:
    """Read a claims.csv (``write_claims``).

    Raises:
        InputError: the file is missing or is not such a table.
    """
    types = {column: ANY if column in NUMBERS else TEXT for column in COLUMNS}
    frame = read_csv(path, types, remedy=AGAIN)
    check_metrics(path, frame)
    return frame


def _claims(shown: Layout, inputs: ClaimsInputs, methods: Mapping[str, Mapping[str, Any]]) -> Iterator[Claim]:
    """Yield every cell of a table's orderings, once for each pair of methods that represent its rows."""
    claims, files = shown.claims, inputs.measured[shown.name]
    stated = {tuple(key): value for *key, value in claims.get("stated", [])}
    columns = [(bucket, metric) for bucket in claims["buckets"] for metric in claims["metrics"]]
    specs = {name: methods[name] for name in files}
    by_row, at_budget = claimants(shown, specs), stand_ins(shown, specs)
    differences = _segmented(files, inputs.clip) if shown.measure == SEGMENTATION else _scored(files, claims["metrics"])
    plain = [CLIP] if shown.measure == SEGMENTATION else []
    for better, worse in claims["orderings"]:
        first, second = (claimed(claims, row) for row in (better, worse))
        rivals = plain + by_row.get(worse, [] if plain else [""])
        equal = at_budget.get(worse, {})
        for method, against in product(by_row.get(better, [""]), [*rivals, *equal]):
            found = differences(method, against, columns) if method and against else {}
            for key in columns:
                printed = first.get(key, math.nan) - second.get(key, math.nan)
                words = math.nan if against in equal else stated.get((better, worse, *key), math.nan)
                where = shown.name, shown.dataset, better, worse, method, against
                difference = found.get(key, NO_DIFFERENCE)
                yield Claim(*where, *key, printed, words, difference, equal.get(against, ""))


def _scored(files: Files, metrics: Sequence[str]) -> Differences:
    """Return the function that compares the scores of two methods."""
    read = cache(lambda name: read_runs(files[name], metrics))  # most orderings have the same first row

    def differences(method: str, against: str, columns: Sequence[Key]) -> dict[Key, Difference]:
        same_images({files[name][0]: read(name).mean for name in (method, against)})
        return quality_differences(read(method), read(against), columns)

    return differences


def _segmented(files: Files, clip: Sequence[str]) -> Differences:
    """Return the function that compares the segmentations of two methods, or of one and the dense CLIP."""
    assert clip, "claims about segmentation need the dense CLIP"

    def differences(method: str, against: str, columns: Sequence[Key]) -> dict[Key, Difference]:
        rival = read_segmented(clip, "masked") if against == CLIP else read_segmented(files[against], "completed")
        return segmentation_differences(read_segmented(files[method], "completed"), rival, columns)

    return differences


def _line(claim: Claim, decision: Decision | None, least: Mapping[str, float]) -> list[Any]:
    """Return a claim's line of the CSV."""
    mean, low, high, p, n, clusters = claim.difference.numbers
    adjusted, reason = (decision.adjusted_p, decision.reason) if decision else (math.nan, "")
    numbers = mean, low, high, p, adjusted, n, clusters, verdict(claim, decision), reason
    parts, size = claim.difference.components, least_of(claim.metric, least)
    interval = parts.distribution(size).interval if parts else (math.nan, math.nan)
    outlook = parts.outlook(size, METRICS[claim.metric].higher_is_better) if parts else NO_OUTLOOK
    over_seeds = *interval, decision.method_p if decision else math.nan, *outlook
    return [*claim[:8], claim.printed, *numbers, claim.stated, claim.equal, *over_seeds]


# --------------------------------------------------------------------------------------------------------------------
# The page


def _slips(inputs: ClaimsInputs, config: Mapping[str, Any]) -> Iterator[str]:
    """Yield the contradictions within the paper, by table."""
    for table in inputs.measured:
        yield from (f"`{table}`: {slip}" for slip in layout(config, table).claims.get("slips", []))


def _summary(frame: pd.DataFrame, opposed: int, rule: str, several: bool) -> Iterator[str]:
    """Yield how many claims hold, what that means, and on which images they were judged."""
    own = frame[frame.equal == ""]
    counts = own.verdict.value_counts()
    reasons = own.reason[own.verdict == UNDECIDED].value_counts()
    why = f" ({'; '.join(f'{count} {reason}' for reason, count in reasons.items())})" if len(reasons) else ""
    words = {HOLDS: HOLDS, FAILS: FAILS, UNDECIDED: f"{UNDECIDED}{why}", NOT_RUN: NOT_RUN}
    summary = ", ".join(f"{counts.get(name, 0)} {text}" for name, text in words.items())
    yield (
        f"Over all measures of the tables: {summary}; {opposed} cells, listed above, in which the "
        "paper's number contradicts its sentence: these are not judged. SSIM, L1 and LPIPS: claims.csv."
    )
    yield (
        'A claim is the sentence "better > worse" in the measure\'s own direction, regardless of the printed size. It '
        f"holds, or does not hold, if {rule}."
    )
    yield (
        "Differences are the first minus the second (an image counts once where all mask ratios are together). "
        f"{notes.intervals(several)}"
    )
    for name, part in frame[frame.n > 0].groupby("dataset", sort=False):
        n, clusters = part.n.max(), part.clusters.max()
        yield f"Test images: `{name}`, n = {n} per bucket.{notes.clusters(n, clusters)}"


def _judged_methods(inputs: ClaimsInputs, methods: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the trained methods of all tables with claims."""
    names = dict.fromkeys(name for files in inputs.measured.values() for name in files)
    return [name for name in names if methods[name].get("training")]


def _trained(config: Mapping[str, Any], used: Mapping[str, Sequence[int]]) -> Iterator[str]:
    """Yield how the methods were trained."""
    budget = f"{config['training']['steps']} steps" if config["training"].get("steps") else "the config's epochs"
    yield (
        f"Trained for {budget} unless a method's file sets another budget, preset `{config['preset']}`. "
        f"The paper's figures are from CelebA-HQ and ADE20K."
    )
    yield notes.seeds(used)


def _ratios(claims: Sequence[Claim], inputs: ClaimsInputs) -> dict[tuple[str, str], float]:
    """Return how many times the budget of the first method the second one had, for pairs of an equal budget.

    The checkpoints state it; nan where they are missing.
    """
    found = {}
    for claim in claims:
        if claim.equal and claim.difference.n > 0:
            files = inputs.measured[claim.table]
            own, other = (budget_of(files[name]) for name in (claim.method, claim.against))
            first, second = ((b.parameters if claim.equal == PARAMETERS else b.operations) for b in (own, other))
            found[claim.method, claim.against] = second / first if first else math.nan
    return found


def _page(
    frame: pd.DataFrame, opposed: np.ndarray, terms: Sequence[str], ratios: Mapping[tuple[str, str], float]
) -> str:
    """Return the Markdown page: orderings, figures that the text states, contradictions, and terms."""
    headers = ["table", "claim", "holes", "measure", "claimed", "measured", "95 % interval", "p (Holm)", "n", "verdict"]
    several = _several(frame)
    shown = [
        [*_claim(line, several), _printed(line.claimed, line.metric), *_measured(line)]
        for line in frame[frame.metric.isin(SHOWN) & ~opposed].itertuples()
    ]
    in_words = []
    for line in frame[frame.stated.notna()].itertuples():
        stated, printed = (_printed(value, line.metric) for value in (line.stated, line.claimed))
        agree = "yes" if stated == printed else "no"
        in_words.append([*_claim(line, several), stated, printed, agree, *_measured(line)])
    contradicted = [
        [*_claim(line, several), _printed(line.claimed, line.metric), *_measured(line)[:-1]]
        for line in frame[opposed].itertuples()
    ]
    return (
        "# The paper's orderings, claimed and measured\n\n"
        + "".join(f"{text}\n\n" for text in _by_budget(frame, ratios))
        + _pipe(shown, headers)
        + "\n\n## Figures that the text states\n\n"
        + _pipe(in_words, [*headers[:4], "in words", "its table", "agree", *headers[5:]])
        + "\n\n## Cells in which the paper's own number contradicts its sentence\n\n"
        + (_pipe(contradicted, headers[:-1]) if contradicted else "None.")
        + "\n\n"
        + "".join(f"- {term}\n" for term in terms)
    )


def _by_budget(frame: pd.DataFrame, ratios: Mapping[tuple[str, str], float]) -> Iterator[str]:
    """Yield, for each ordering that is also judged at another budget, its verdicts at each of them."""
    shown = frame[frame.metric.isin(SHOWN)]
    for (_, better, worse), part in shown.groupby(["table", "better", "worse"], sort=False):
        if not part.equal.any():
            continue
        found = [
            f"{_held(equal, ratios.get((method, against), math.nan))} (`{method}`, `{against}`): {_verdicts(lines)}"
            for (equal, method, against), lines in part.groupby(["equal", "method", "against"], sort=False)
        ]
        yield f"**{better} > {worse}, by what is held equal.** Against a {worse} " + "; ".join(found) + "."


def _held(equal: str, ratio: float) -> str:
    """Return what is held equal, with how equal it is; ``ratio`` is nan if it was not counted."""
    if not equal:
        return "of as many steps"
    unit = PARAMETERS if equal == PARAMETERS else "operations"
    if math.isnan(ratio):
        return f"of equal {equal}"
    if 1 / SIMILAR <= ratio <= SIMILAR:
        return f"of equal {equal}, {ratio:.2f} times the {unit},"
    return f"meant to be of equal {equal} but here of **{ratio:.2f} times the {unit}**"


def _verdicts(lines: pd.DataFrame) -> str:
    """Return the verdicts of one comparison in words, with the buckets of each: "holds at 0-20, 20-40 %"."""
    buckets = lines.groupby("verdict", sort=False).bucket.agg(list)
    return ", ".join(f"{verdict} at {', '.join(own)}" for verdict, own in buckets.items())


def _pipe(rows: Sequence[Sequence[str]], headers: Sequence[str]) -> str:
    return tabulate(rows, headers, tablefmt="pipe", disable_numparse=True)


def _several(frame: pd.DataFrame) -> set[tuple[str, str, str]]:
    """Return the orderings (table, better, worse) that several pairs of methods represent."""
    pairs = frame[["table", "better", "worse", "method", "against"]].drop_duplicates()
    counts = pairs.groupby(["table", "better", "worse"]).size()
    return set(counts.index[counts > 1])


def _claim(line: Any, several: set[tuple[str, str, str]]) -> list[str]:
    where = title_of(line.bucket)
    names = f" ({_pair(line)})" if (line.table, line.better, line.worse) in several else ""
    return [line.table, f"{line.better} > {line.worse}{names}", where, METRICS[line.metric].label]


def _pair(line: Any) -> str:
    """Return the two methods that a line compares, and the budget that is equal."""
    budget = f", equal {line.equal}" if line.equal else ""
    return f"{line.method or '–'}, {line.against or '–'}{budget}"


def _printed(value: float, metric: str) -> str:
    """Return a difference of the paper's numbers with the paper's decimals."""
    return "–" if math.isnan(value) else f"{value:+.{METRICS[metric].paper_decimals}f}"


def _signed(value: float, metric: str) -> str:
    return "–" if math.isnan(value) else f"{value:+.{METRICS[metric].decimals}f}"


def _measured(line: Any) -> list[str]:
    """Return difference, interval, corrected p, n and verdict of a line."""
    if line.n == 0:
        return ["–", "–", "–", "–", line.verdict]
    interval = "–" if math.isnan(line.low) else f"[{_signed(line.low, line.metric)}, {_signed(line.high, line.metric)}]"
    p = "–" if math.isnan(line.adjusted_p) else f"{line.adjusted_p:.4f}"
    reason = f" ({line.reason})" if line.reason else ""
    return [_signed(line.difference, line.metric), interval, p, str(line.n), f"{line.verdict}{reason}"]
