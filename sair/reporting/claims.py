"""Which of the paper's orderings appear here: claimed beside measured difference, paired by image."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from tabulate import tabulate

from sair.common.files import write_csv, write_text
from sair.common.tabular import ANY, TEXT, read_csv
from sair.evaluation.metrics.registry import METRICS
from sair.evaluation.statistics import NO_DIFFERENCE, Decision, Difference, decide
from sair.reporting import notes
from sair.reporting.measured import (
    ALL,
    Key,
    least_of,
    quality_differences,
    read_overlaps,
    read_scores,
    same_images,
    segmentation_differences,
)
from sair.reporting.paper import all_claims, claimed
from sair.reporting.rows import claimants

COLUMNS = [
    *("table", "dataset", "better", "worse", "method", "against", "bucket", "metric"),
    *("claimed", "difference", "low", "high", "p", "adjusted_p", "n", "clusters", "verdict", "reason"),
    "stated",
]
NUMBERS = ("claimed", "difference", "low", "high", "p", "adjusted_p", "n", "clusters", "stated")
HOLDS, FAILS, UNDECIDED, NOT_RUN = "holds", "does not hold", "undecided", "not run"
CONTRADICTED = "contradicted by the paper"
CLIP = "clip"  # the dense CLIP, which is no method and stands in the paper's row without SIR


class Claim(NamedTuple):
    """One cell of an ordering: what the paper says, who stands in for its two rows, and what was measured."""

    table: str
    dataset: str
    better: str
    worse: str
    method: str
    against: str
    bucket: str
    metric: str
    printed: float  # difference of the paper's two numbers
    stated: float  # difference that its text gives in words
    difference: Difference

    @property
    def contradicted(self) -> bool:
        """Whether the paper's own number says the opposite of its sentence."""
        return self.printed < 0 if METRICS[self.metric].higher_is_better else self.printed > 0

    @property
    def judged(self) -> bool:
        """Whether there is something to judge: two rows that were run, and a sentence that its number bears out."""
        return self.difference.n > 0 and not self.contradicted


def verdict(claim: Claim, decision: Decision | None) -> str:
    """Say whether a claim holds: in the direction of its sentence "better > worse", by the metric's direction."""
    if claim.difference.n == 0:
        return NOT_RUN
    if decision is None:
        return CONTRADICTED
    if decision.sign == 0:
        return UNDECIDED
    return HOLDS if (decision.sign > 0) == METRICS[claim.metric].higher_is_better else FAILS


def write_orderings(
    config: dict[str, Any],
    methods: Mapping[str, dict[str, Any]],
    measured: Mapping[str, Mapping[str, Sequence[str]]],
    clip: str | Path,
    markdown: str | Path,
    csv: str | Path,
) -> None:
    """Write every ordering that the paper prints beside what was measured.

    Args:
        config: the whole config.
        methods: specifications of all methods.
        measured: table -> method -> its score files, or its segmentation.csv, one per seed.
        clip: segmentation.csv of the dense CLIP.
        markdown, csv: files to write; the former shows PSNR and mIoU only.
    """
    claims, slips = [], []
    for table, files in measured.items():
        own = {name: methods[name] for name in files}
        claims += _claims(table, config["tables"][table], own, files, clip)
        slips += [f"`{table}`: {slip}" for slip in all_claims()[config["tables"][table]["claims"]].get("slips", [])]
    least = config["regression"]["least"]
    judged = [claim for claim in claims if claim.judged]
    family = decide([claim.difference for claim in judged], [least_of(claim.metric, least) for claim in judged])
    decisions = {id(claim): decision for claim, decision in zip(judged, family, strict=True)}
    lines = []
    for claim in claims:
        decision = decisions.get(id(claim))
        mean, low, high, p, n, clusters = claim.difference
        adjusted, reason = (decision.adjusted_p, decision.reason) if decision else (math.nan, "")
        numbers = mean, low, high, p, adjusted, n, clusters, verdict(claim, decision), reason
        lines.append([*claim[:8], claim.printed, *numbers, claim.stated])
    frame = pd.DataFrame(lines, columns=COLUMNS)
    write_csv(frame, csv)
    rule = notes.rule(len(judged), "this page", list(dict.fromkeys(claim.metric for claim in judged)), least)
    write_text(
        markdown, _page(frame, slips, config, methods, rule, np.array([claim.contradicted for claim in claims], bool))
    )


def read_orderings(path: str | Path) -> pd.DataFrame:
    """Read a claims.csv (``write_orderings``)."""
    types = {column: ANY if column in NUMBERS else TEXT for column in COLUMNS}
    return read_csv(path, types, remedy="Delete it and run again.")


def _claims(
    table: str,
    settings: Mapping[str, str],
    methods: Mapping[str, dict[str, Any]],
    files: Mapping[str, Sequence[str]],
    clip: str | Path,
) -> list[Claim]:
    """Return every cell of a table's orderings, once for each pair of methods that stand in for its rows."""
    claims = all_claims()[settings["claims"]]
    segmented = claims["measure"] == "segmentation"
    stated = {tuple(key): value for *key, value in claims.get("stated", [])}
    columns = [(bucket, metric) for bucket in claims["buckets"] for metric in claims["metrics"]]
    by_row = claimants(table, methods)
    read = cache(lambda name: read_scores(files[name], claims["metrics"]))  # most orderings have the same first row
    found = []
    for better, worse in claims["orderings"]:
        first, second = (claimed(claims, row) for row in (better, worse))
        rivals = [CLIP, *by_row.get(worse, [])] if segmented else by_row.get(worse, [""])
        for method, against in product(by_row.get(better, [""]), rivals):
            differences: dict[Key, Difference] = {}
            if method and against and segmented:
                differences = segmentation_differences(*_overlaps(method, against, files, clip), columns)
            elif method and against:
                same_images({files[name][0]: read(name) for name in (method, against)})
                differences = quality_differences(read(method), read(against), columns)
            for key in columns:
                printed = first.get(key, math.nan) - second.get(key, math.nan)
                words = stated.get((better, worse, *key), math.nan)
                where = table, settings["dataset"], better, worse, method, against
                found.append(Claim(*where, *key, printed, words, differences.get(key, NO_DIFFERENCE)))
    return found


def _overlaps(
    method: str, against: str, files: Mapping[str, Sequence[str]], clip: str | Path
) -> tuple[pd.DataFrame, pd.DataFrame]:
    rival = read_overlaps(clip, "masked") if against == CLIP else read_overlaps(files[against], "completed")
    return read_overlaps(files[method], "completed"), rival


def _page(
    frame: pd.DataFrame,
    slips: Sequence[str],
    config: dict[str, Any],
    methods: Mapping[str, dict[str, Any]],
    rule: str,
    opposed: np.ndarray,
) -> str:
    shown = frame[frame.metric.isin(("psnr", "miou")) & ~opposed]
    headers = ["table", "claim", "holes", "measure", "claimed", "measured", "95 % interval", "p (Holm)", "n", "verdict"]
    several = _several(frame)
    rows = [
        [*_claim(line, several), _printed(line.claimed, line.metric), *_measured(line)] for line in shown.itertuples()
    ]
    stated = frame[frame.stated.notna()]
    in_words = []
    for line in stated.itertuples():
        said, printed = (_printed(value, line.metric) for value in (line.stated, line.claimed))
        in_words.append([*_claim(line, several), said, printed, "yes" if said == printed else "no", *_measured(line)])
    words_headers = [*headers[:4], "in words", "its table", "agree", *headers[5:]]
    against_itself = frame[opposed]
    contradicted = [
        [*_claim(line, several), _printed(line.claimed, line.metric), *_measured(line)[:-1]]
        for line in against_itself.itertuples()
    ]
    counts = frame.verdict.value_counts()
    reasons = frame.reason[frame.verdict == UNDECIDED].value_counts()
    why = f" ({'; '.join(f'{count} {reason}' for reason, count in reasons.items())})" if len(reasons) else ""
    words = {HOLDS: HOLDS, FAILS: FAILS, UNDECIDED: f"{UNDECIDED}{why}", NOT_RUN: NOT_RUN}
    summary = ", ".join(f"{counts.get(name, 0)} {said}" for name, said in words.items())
    budget = f"{config['training']['steps']} steps" if config["training"].get("steps") else "the config's epochs"
    datasets = [
        f"`{name}`, n = {part.n.max()} per bucket.{notes.clusters(part.n.max(), part.clusters.max())}"
        for name, part in frame[frame.n > 0].groupby("dataset", sort=False)
    ]
    return (
        "# The paper's orderings, claimed and measured\n\n"
        + tabulate(rows, headers, tablefmt="pipe", disable_numparse=True)
        + "\n\n## Figures that the text states\n\n"
        + tabulate(in_words, words_headers, tablefmt="pipe", disable_numparse=True)
        + "\n\n## Cells in which the paper's own number contradicts its sentence\n\n"
        + (tabulate(contradicted, headers[:-1], tablefmt="pipe", disable_numparse=True) if contradicted else "None.")
        + "\n\n"
        + "".join(f"- The paper against itself, {slip}\n" for slip in slips)
        + f"- Over all measures of the tables: {summary}; {len(against_itself)} cells, listed above, in which the "
        "paper's number contradicts its sentence: these are not judged. SSIM, L1 and LPIPS: claims.csv.\n"
        '- A claim is the sentence "better > worse" in the measure\'s own direction, whatever the size printed. It '
        f"holds, or does not, if {rule}.\n"
        "- Differences are the first minus the second (an image counts once where all mask ratios are together), with "
        "a 95 % bootstrap interval.\n"
        + "".join(f"- Test images: {line}\n" for line in datasets)
        + f"- Trained for {budget} unless a method's file says otherwise, preset `{config['preset']}`, seeds "
        f"{', '.join(map(str, config['seeds']))}. The paper's figures are from CelebA-HQ and ADE20K.\n"
        f"- {notes.seeds(config['seeds'], list(methods.values()))}\n"
    )


def _several(frame: pd.DataFrame) -> set[tuple[str, str, str]]:
    """Return the orderings (table, better, worse) for which several pairs of methods stand in."""
    pairs = frame[["table", "better", "worse", "method", "against"]].drop_duplicates()
    counts = pairs.groupby(["table", "better", "worse"]).size()
    return set(counts.index[counts > 1])


def _claim(line: Any, several: set[tuple[str, str, str]]) -> list[str]:
    where = "all mask ratios" if line.bucket == ALL else f"{line.bucket} %"
    names = (
        f" ({line.method or '–'}, {line.against or '–'})" if (line.table, line.better, line.worse) in several else ""
    )
    return [line.table, f"{line.better} > {line.worse}{names}", where, METRICS[line.metric].label]


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
