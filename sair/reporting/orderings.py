"""Which of the paper's orderings appear here: claimed beside measured difference, paired picture by picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from tabulate import tabulate

from sair.evaluation.statistics import Difference
from sair.files import write_csv, write_text
from sair.reporting.claims import all_claims, claimed
from sair.reporting.measured import (
    ALL,
    METRICS,
    NAMES,
    quality_differences,
    read_overlaps,
    read_scores,
    segmentation_differences,
)

COLUMNS = [
    *("table", "dataset", "better", "worse", "bucket", "metric"),
    *("claimed", "difference", "low", "high", "p", "n", "verdict"),
    "stated",
]
HOLDS, FAILS, UNDECIDED, NOT_RUN = "holds", "does not hold", "undecided", "not run"
NOTHING = Difference(math.nan, math.nan, math.nan, math.nan, 0)


def verdict(difference: Difference, claim: float) -> str:
    """Whether a measured difference bears a claimed one out, by sign, with its 95 % interval clear of zero."""
    if difference.n == 0 or not math.isfinite(difference.mean):
        return NOT_RUN
    if difference.low <= 0 <= difference.high:
        return UNDECIDED
    return HOLDS if (difference.mean > 0) == (claim > 0) else FAILS


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
        measured: table -> method -> its score files, or its segmentation.csv in a list.
        clip: segmentation.csv of the dense CLIP.
        markdown, csv: files to write; the former shows PSNR and mIoU only.
    """
    lines, slips = [], []
    for table, files in measured.items():
        settings = config["tables"][table]
        claims = all_claims()[settings["claims"]]
        stated = {tuple(key): value for *key, value in claims.get("stated", [])}
        slips += [f"`{table}`: {slip}" for slip in claims.get("slips", [])]
        by_row = {methods[name]["tables"][table]: name for name in files if methods[name]["tables"][table]}
        for better, worse in claims["orderings"]:
            first, second = (claimed(claims, row) for row in (better, worse))
            claim = {key: first[key] - second[key] for key in first.keys() & second.keys()}
            columns = [(bucket, metric) for bucket in claims["buckets"] for metric in claims["metrics"]]
            found: dict[tuple[str, str], Difference] = {}
            if claims["measure"] == "segmentation" and better in by_row:
                overlaps = read_overlaps(files[by_row[better]][0], "completed"), read_overlaps(clip, "masked")
                found = segmentation_differences(*overlaps, columns)
            elif better in by_row and worse in by_row:
                scores = [read_scores(files[by_row[row]]) for row in (better, worse)]
                found = quality_differences(*scores, columns)
            for key in columns:
                difference = found.get(key, NOTHING)
                printed = claim.get(key, math.nan)
                in_words = stated.get((better, worse, *key), math.nan)
                where = table, settings["dataset"], better, worse, *key
                lines.append([*where, printed, *difference, verdict(difference, printed), in_words])
    frame = pd.DataFrame(lines, columns=COLUMNS)
    write_csv(frame, csv)
    write_text(markdown, _page(frame, slips, config))


def _page(frame: pd.DataFrame, slips: Sequence[str], config: dict[str, Any]) -> str:
    shown = frame[frame.metric.isin(["psnr", "miou"])]
    headers = ["table", "claim", "holes", "measure", "claimed", "measured", "95 % interval", "p", "n", "verdict"]
    rows = [[*_claim(line), f"{line.claimed:+.2f}", *_measured(line)] for line in shown.itertuples()]
    in_words = []
    for line in frame[frame.stated.notna()].itertuples():
        decimals = {"psnr": 2, "miou": 2}.get(line.metric, 3)
        said, printed = f"{line.stated:+.{decimals}f}", f"{line.claimed:+.{decimals}f}"
        agree = "yes" if said == printed else "no"
        in_words.append([*_claim(line), said, printed, agree, *_measured(line)])
    words_headers = [*headers[:4], "in words", "its table", "agree", *headers[5:]]
    counts = frame.verdict.value_counts()
    summary = ", ".join(f"{counts.get(name, 0)} {name}" for name in (HOLDS, FAILS, UNDECIDED, NOT_RUN))
    budget = f"{config['training']['steps']} steps" if config["training"].get("steps") else "the config's epochs"
    return (
        "# The paper's orderings, claimed and measured\n\n"
        + tabulate(rows, headers, tablefmt="pipe", disable_numparse=True)
        + "\n\n## Figures that the text states\n\n"
        + tabulate(in_words, words_headers, tablefmt="pipe", disable_numparse=True)
        + "\n\n"
        + "".join(f"- The paper against itself, {slip}\n" for slip in slips)
        + f"- Over all measures of the tables: {summary}. SSIM, L1 and LPIPS: claims.csv.\n"
        "- Differences are the first minus the second, paired by picture (a picture counts once where all mask ratios "
        "are together): 95 % bootstrap interval, p of a sign-flip permutation test, not corrected for the number of "
        "claims. A claim holds, or does not, only where the interval is clear of zero.\n"
        f"- Trained for {budget} unless a method's file says otherwise, preset `{config['preset']}`, seeds "
        f"{', '.join(map(str, config['seeds']))}. The paper's figures are from CelebA-HQ and ADE20K.\n"
    )


def _claim(line: Any) -> list[str]:
    where = "all mask ratios" if line.bucket == ALL else f"{line.bucket} %"
    return [line.table, f"{line.better} > {line.worse}", where, NAMES[line.metric]]


def _measured(line: Any) -> list[str]:
    """Difference, interval, p, n and verdict of a line."""
    if line.verdict == NOT_RUN:
        return ["–", "–", "–", "–", line.verdict]
    decimals = METRICS[line.metric].decimals
    interval = f"[{line.low:+.{decimals}f}, {line.high:+.{decimals}f}]"
    return [f"{line.difference:+.{decimals}f}", interval, f"{line.p:.4f}", str(line.n), line.verdict]
