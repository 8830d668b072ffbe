"""Tables: aggregate per-picture scores, set the paper's numbers beside them, and say under what terms.

The CSV holds everything (means, intervals, n, hole-only and raw columns, reasons for missing numbers); Markdown and
LaTeX show the headline. Nothing is computed from anything but the scores on disk.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pandas as pd
from tabulate import tabulate

from sair.data.manifest import manifest_hash, read_manifest, write_csv
from sair.evaluation.fid import ENOUGH, FEWEST
from sair.evaluation.metrics import CONVENTION
from sair.evaluation.statistics import LEVEL, Difference, Estimate, holm
from sair.files import InputError, write_text
from sair.reporting.claims import all_claims, claimed
from sair.reporting.measured import (
    ALL,
    DISTANCES,
    MEASURES,
    METRICS,
    NAMES,
    Key,
    distances,
    quality,
    quality_differences,
    read_overlaps,
    read_scores,
    seed_spread,
    segmentation,
    segmentation_differences,
)
from sair.weights.sources import entry

NOT_IMPLEMENTED = "not in this table yet"
NO_INCEPTION = (
    "Inception weights not found: run `sair weights fetch inception`, or put "
    f"{entry('inception').files[0].name} into a folder and name it in SAIR_WEIGHTS"
)
SWITCHED_OFF = "switched off by `fid: false`"
TOO_FEW = f"fewer than {FEWEST} pictures"
BIASED = f"biased upwards: fewer than {ENOUGH:,} pictures"
COLUMNS = [
    *("method", "label", "group", "bucket", "metric"),
    *("mean", "low", "high", "n", "seeds", "spread", "paper", "lead", "reason"),
]
CONTROLS = "baselines.controls:"
BEST, TIED = "best", "tied"

Compare = Callable[[str, str, Key], Difference]  # of two methods in a column, the first minus the second


class Row(NamedTuple):
    """One method's line: what it is called, where it stands, and what was measured by (bucket, metric)."""

    method: str
    label: str
    group: str
    cells: dict[Key, Estimate]
    paper: dict[Key, float]
    seeds: int
    reason: str = ""
    spread: Mapping[Key, float] = MappingProxyType({})  # over seeds


class Shape(NamedTuple):
    """What a printed table shows: its buckets, ``all`` for every mask ratio together, and its metrics."""

    buckets: Sequence[str]
    metrics: Sequence[str]

    @property
    def columns(self) -> list[Key]:
        """(bucket, metric) of every column."""
        return [(bucket, metric) for bucket in self.buckets for metric in self.metrics]


def collect(
    table: str,
    methods: Mapping[str, dict[str, Any]],
    measured: Mapping[str, dict[Key, Estimate]],
    seeds: Mapping[str, int],
    claims: dict[str, Any],
    controls: Collection[str],
) -> list[Row]:
    """All lines of a table: the paper's rows in its order, then variants, then controls.

    Args:
        table: its name in the config.
        methods: specifications of the methods it shows; ``tables[table]`` is the paper's row.
        measured: their cells.
        seeds: how many seeds each was trained with.
        claims: the paper's table.
        controls: methods that show what a number means and do not compete.
    """
    by_row = {spec["tables"][table]: name for name, spec in methods.items() if spec["tables"][table]}
    unknown = by_row.keys() - claims["rows"].keys()
    if unknown:
        raise InputError(f"methods name rows that the paper's table lacks: {', '.join(sorted(unknown))}.")
    rows = []
    for label in claims["rows"]:
        name = by_row.get(label)
        paper = claimed(claims, label)
        if name is None:
            rows.append(Row("", label, "paper", {}, paper, 0, NOT_IMPLEMENTED))
        else:
            # The paper's own name of the row, where the method has a longer one.
            rows.append(Row(name, label, "paper", measured[name], paper, seeds[name]))
    for group in ("variant", "control"):
        for name, spec in methods.items():
            if spec["tables"][table] is None and (name in controls) == (group == "control"):
                rows.append(Row(name, spec["label"], group, measured[name], {}, seeds[name]))
    return rows


def to_frame(
    rows: Sequence[Row],
    columns: Sequence[Key],
    marks: Mapping[Key, Mapping[str, str]],
    reasons: Mapping[str, str],
) -> pd.DataFrame:
    """The CSV: one line a (method, bucket, metric); ``lead`` says who leads the columns that are printed.

    Args:
        rows: the table's lines.
        columns: what it holds of each.
        marks: who leads each printed column (``leaders``).
        reasons: by metric, why no method has it, or what is the matter with it.
    """
    nothing = Estimate(math.nan, math.nan, math.nan, 0)
    lines = []
    for row in rows:
        for key in columns:
            claim, lead = row.paper.get(key, math.nan), marks.get(key, {}).get(row.method, "")
            reason = row.reason or reasons.get(key[1], "")
            spread = row.spread.get(key, math.nan)
            lines.append([*row[:3], *key, *row.cells.get(key, nothing), row.seeds, spread, claim, lead, reason])
    return pd.DataFrame(lines, columns=COLUMNS)


def leaders(rows: Sequence[Row], key: Key, compare: Compare) -> dict[str, str]:
    """Who leads a column: one method that is the best, or those that are tied for it; controls do not compete.

    The best is better than each of the others by a paired test over pictures, corrected by Holm for their number. Those
    of which the test does not say so are tied with it.
    """
    competing = [
        row for row in rows if row.group != "control" and key in row.cells and math.isfinite(row.cells[key].mean)
    ]
    if not competing:
        return {}
    sign = 1 if METRICS[key[1]].higher_is_better else -1
    first, *others = sorted(competing, key=lambda row: -sign * row.cells[key].mean)
    adjusted = holm([compare(first.method, row.method, key).p for row in others])
    tied = [row.method for row, p in zip(others, adjusted, strict=True) if not p < LEVEL]
    return {name: TIED for name in (first.method, *tied)} if tied else {first.method: BEST}


def number(value: float, decimals: int, infinity: str) -> str:
    """A measured number as every format prints it."""
    return infinity if math.isinf(value) else f"{value:z.{decimals}f}"  # z: no minus before zero


def paper_number(value: float, metric: str) -> str:
    """A number of the paper with the paper's own decimals, whatever ours are."""
    return f"{value:.{2 if metric in ('psnr', 'miou') else 3}f}"


class Markup(NamedTuple):
    """How a format writes what the cells need."""

    best: str
    tied: str
    paper: str
    infinity: str
    spread: str
    dash: str
    arrows: tuple[str, str]


MARKDOWN = Markup("**{}**", "<u>{}</u>", "{} ({})", "∞", "±", "–", ("↑", "↓"))
LATEX = Markup(
    r"\textbf{{{}}}",
    r"\underline{{{}}}",
    r"{} {{\scriptsize({})}}",
    r"$\infty$",
    r"$\pm$",
    "--",
    (r"$\uparrow$", r"$\downarrow$"),
)


def grid(rows: Sequence[Row], shape: Shape, marks: Mapping[Key, Mapping[str, str]], markup: Markup) -> list[list[str]]:
    """The cells of the printed table, a list a row without its label: measured, with the paper's number beside it.

    Args:
        rows: the table's lines.
        shape: its columns.
        marks: who leads each column (``leaders``).
        markup: of the format.
    """
    lines = []
    for row in rows:
        line = []
        for key in shape.columns:
            decimals = METRICS[key[1]].decimals
            text = markup.dash
            if key in row.cells:
                text = number(row.cells[key].mean, decimals, markup.infinity)
                if math.isfinite(row.spread.get(key, math.nan)):
                    text += f" {markup.spread} {row.spread[key]:.{decimals}f}"
                mark = marks[key].get(row.method)
                text = {BEST: markup.best, TIED: markup.tied}.get(mark, "{}").format(text)
            if key in row.paper:
                text = markup.paper.format(text, paper_number(row.paper[key], key[1]))
            line.append(text)
        lines.append(line)
    return lines


def _header(metric: str, markup: Markup) -> str:
    return f"{NAMES[metric]} {markup.arrows[0 if METRICS[metric].higher_is_better else 1]}"


def _bucket(bucket: str, percent: str) -> str:
    return "all mask ratios" if bucket == ALL else f"{bucket}{percent}"


def to_markdown(
    title: str,
    rows: Sequence[Row],
    shape: Shape,
    marks: Mapping[Key, Mapping[str, str]],
    more: str,
    notes: Sequence[str],
    images: str,
) -> str:
    """A Markdown page: the table, what stands under it, what is missing and why, the notes, the pictures."""
    table = _markdown_table(rows, shape, marks)
    return f"# {title}\n\n{table}\n\n{more}" + "".join(f"- {note}\n" for note in notes) + images


def _markdown_table(rows: Sequence[Row], shape: Shape, marks: Mapping[Key, Mapping[str, str]]) -> str:
    headers = ["Method"] + [f"{_header(metric, MARKDOWN)} {_bucket(bucket, ' %')}" for bucket, metric in shape.columns]
    labels = [row.label if row.group != "control" else f"*{row.label}*" for row in rows]
    body = [[label, *line] for label, line in zip(labels, grid(rows, shape, marks, MARKDOWN), strict=True)]
    align = ["left", *["right"] * (len(headers) - 1)]
    return tabulate(body, headers, tablefmt="pipe", colalign=align, disable_numparse=True)


def to_latex(
    title: str, rows: Sequence[Row], shape: Shape, marks: Mapping[Key, Mapping[str, str]], notes: Sequence[str]
) -> str:
    """A LaTeX float; it needs the packages booktabs and graphicx."""
    width, wide = len(shape.metrics), len(shape.columns) > 6
    percent = r"\,\%"
    spans = " & ".join(rf"\multicolumn{{{width}}}{{c}}{{{_bucket(b, percent)}}}" for b in shape.buckets)
    rules = " ".join(
        rf"\cmidrule(lr){{{2 + i * width}-{1 + (i + 1) * width}}}" for i in range(len(shape.buckets))
    )  # fmt: skip
    header = " & ".join(["Method"] + [_header(metric, LATEX) for _, metric in shape.columns])
    lines, previous = [], "paper"
    for row, cells in zip(rows, grid(rows, shape, marks, LATEX), strict=True):
        if row.group != previous:
            lines.append(r"\midrule")
        previous = row.group
        lines.append(" & ".join([_escape(row.label), *cells]) + r" \\")
    notes = " ".join(_escape(note.replace("`", "").replace("*", "")) for note in notes)
    return "\n".join(
        [
            "% needs: \\usepackage{booktabs,graphicx}",
            r"\begin{table*}",
            r"\centering",
            rf"\caption{{{_escape(title)}}}",
            *([r"\resizebox{\textwidth}{!}{%"] if wide else []),
            rf"\begin{{tabular}}{{l{'r' * len(shape.columns)}}}",
            r"\toprule",
            rf" & {spans} \\",
            rules,
            rf"{header} \\",
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}" + ("}" if wide else ""),
            rf"\par\smallskip\raggedright\footnotesize {notes}",
            r"\end{table*}",
            "",
        ]
    )


def _escape(text: str) -> str:
    for plain, escaped in {
        "\\": r"\textbackslash ",
        "%": r"\%",
        "&": r"\&",
        "_": r"\_",
        "#": r"\#",
        "±": r"$\pm$",
    }.items():
        text = text.replace(plain, escaped)
    return text.replace("–", "--")


def describe(
    table: str,
    config: dict[str, Any],
    methods: Mapping[str, dict[str, Any]],
    rows: Sequence[Row],
    claims: dict[str, Any],
    manifest: str | Path,
    clip: str | Path,
) -> list[str]:
    """The terms of a table, in plain words, a sentence a note."""
    name = config["tables"][table]["dataset"]
    dataset = config["datasets"][name]
    size = config["image_size"]
    manifest_rows = read_manifest(manifest)
    count = len({row.id for row in manifest_rows})
    embedded = dataset["source"] != "folder"
    notes = [
        f"Dataset `{name}` ({dataset['source']}), {size}x{size} pixels, masks `{dataset['masks']}`; "
        f"n = {count} test pictures a bucket, each under one mask of every bucket. "
        f"Manifest {manifest_hash(manifest)[:12]}.",
        f"In parentheses: {claims['title']}.",
    ]
    if embedded or config["preset"] != "paper":
        notes.append(
            f"These rows are not the paper's experiment: small models (preset `{config['preset']}`) were trained "
            f"for minutes on {'embedded ' if embedded else ''}{size}-pixel pictures. Compare methods within this "
            "table; do not compare its numbers with the paper's."
        )
    budgets = [
        f"{row.label} {_budget(methods[row.method]['training'])}"
        for row in rows
        if row.method in methods and methods[row.method]["training"]
    ]
    notes.append(f"Training (seeds {', '.join(map(str, config['seeds']))}): {'; '.join(budgets)}.")
    if claims["measure"] == "segmentation":
        notes.append(
            "Each pixel gets the class whose prompts are nearest to its embedding; mIoU: intersections and unions "
            "summed over pictures, then the mean over classes."
        )
    else:
        notes.append(
            "Whole picture, composited, 8 bits, mean over pictures: "
            + "; ".join(f"{NAMES[metric]} {CONVENTION[metric]}" for metric in claims["metrics"])
            + "."
        )
    if any(row.spread for row in rows):
        notes[-1] += " ±: standard deviation of the means over seeds."
    notes[-1] += (
        f" Bold: better than every other method, paired by picture (p < {LEVEL} after Holm's correction); underlined: "
        f"tied for the best; controls do not compete. Intervals, every bucket and measure: {table}.csv."
    )
    missing: dict[str, list[str]] = {}
    for row in rows:
        if row.reason:
            missing.setdefault(row.reason, []).append(row.label)
    notes += [f"–: {reason} ({', '.join(labels)})." for reason, labels in missing.items()]
    complete = segmentation(read_overlaps(clip, "complete"))[ALL, "miou"]
    notes.append(
        f"Semantics: the dense CLIP segments {complete.n} complete test pictures of "
        f"`{config['semantics']['dataset']}` by class names with mIoU {complete.mean:.2f}."
    )
    return notes


def _budget(training: dict[str, Any]) -> str:
    scale = training["scale"]
    length = (
        f"{math.ceil(scale * training['steps'])} steps"
        if training.get("steps")
        else f"{scale * training['epochs']:g} epochs"
    )
    return f"{length} of batch {training['batch']}"


def _distances_reason(config: dict[str, Any], measured: Mapping[str, dict[Key, Estimate]]) -> dict[str, str]:
    """By metric, why a table has no FID and KID, or what is the matter with them."""
    estimates = [cell for cells in measured.values() for (_, metric), cell in cells.items() if metric in DISTANCES]
    if not estimates:
        return dict.fromkeys(DISTANCES, NO_INCEPTION if config["fid"] else SWITCHED_OFF)
    fewest = min(cell.n for cell in estimates)
    if fewest < FEWEST:
        return dict.fromkeys(DISTANCES, TOO_FEW)
    return {"fid": BIASED} if fewest < ENOUGH else {}


def _distances(rows: Sequence[Row], buckets: Sequence[str], reasons: Mapping[str, str]) -> tuple[str, str]:
    """FID and KID as a second Markdown table and a note on them; no table where there are no numbers."""
    if "kid" in reasons:
        return "", f"–: FID and KID ({reasons['kid']})."
    shape = Shape(buckets, DISTANCES)
    have = [row for row in rows if shape.columns[0] in row.cells]
    table = _markdown_table(have, shape, {key: {} for key in shape.columns})
    flag = f" FID is {reasons['fid']}; KID is not." if "fid" in reasons else ""
    head = f"Distance of distributions, n = {have[0].cells[shape.columns[0]].n}.{flag}"
    note = (
        f"FID {CONVENTION['fid']}; KID {CONVENTION['kid']}. No method is marked: no picture has a distance of its own "
        "that a test could pair."
    )
    return f"{head}\n\n{table}\n\n", note


def write_quality_table(
    table: str,
    config: dict[str, Any],
    methods: Mapping[str, dict[str, Any]],
    scores: Mapping[str, Sequence[str]],
    distance_files: Mapping[str, Sequence[str]],
    manifest: str | Path,
    clip: str | Path,
    figures: Sequence[str],
    output: Any,
) -> None:
    """Write one of the paper's comparison tables.

    Args:
        table: its name in the config, such as ``table1``.
        config: the whole config.
        methods: specifications of the methods that the table shows.
        scores: their score files, one a seed.
        distance_files: their fid.csv, one a seed; empty where FID and KID were not computed.
        manifest: manifest.csv of the dataset.
        clip: segmentation.csv of the dense CLIP (``sair.segmentation``).
        figures: picture grids to show under the table.
        output: paths to write, with the attributes ``markdown``, ``latex`` and ``csv``.
    """
    claims = all_claims()[config["tables"][table]["claims"]]
    buckets = [f"{low}-{high}" for low, high in config["buckets"]]
    frames = {name: read_scores(paths) for name, paths in scores.items()}
    measured = {name: quality(frame) for name, frame in frames.items()}
    for name, paths in distance_files.items():
        measured[name] |= distances(paths)
    seeds = {name: len(paths) for name, paths in scores.items()}
    controls = {name for name, spec in methods.items() if spec["class"].startswith(CONTROLS)}
    rows = collect(table, methods, measured, seeds, claims, controls)
    rows = [row._replace(spread=seed_spread(scores.get(row.method, ()))) for row in rows]
    notes = describe(table, config, methods, rows, claims, manifest, clip)
    shape = Shape([ALL] if claims["buckets"] == [ALL] else buckets, claims["metrics"])
    title = f"Inpainting on {config['tables'][table]['dataset']}"

    def compare(first: str, second: str, key: Key) -> Difference:
        return quality_differences(frames[first], frames[second], [key])[key]

    marks = {key: leaders(rows, key, compare) for key in shape.columns}
    reasons = _distances_reason(config, measured)
    more, note = _distances(rows, shape.buckets, reasons)
    stored = Shape([*buckets, ALL], [*MEASURES, *DISTANCES])
    _write(table, title, rows, stored, shape, marks, [*notes, note], figures, output, more, reasons)


def write_segmentation_table(
    table: str,
    config: dict[str, Any],
    methods: Mapping[str, dict[str, Any]],
    completed: Mapping[str, Sequence[str]],
    manifest: str | Path,
    clip: str | Path,
    figures: Sequence[str],
    output: Any,
) -> None:
    """Write the paper's Table 5: how well masked pictures are segmented, without SIR and with it.

    Args:
        completed: segmentation.csv of every method's first seed, in a list.
        table, config, methods, manifest, clip, figures, output: as of ``write_quality_table``.
    """
    claims = all_claims()[config["tables"][table]["claims"]]
    buckets = [f"{low}-{high}" for low, high in config["buckets"]]
    # CLIP without SIR is nobody's method: its two read-outs stand in as the paper's first row and as a control.
    plain = {
        "clip": {"label": "CLIP Encoder", "tables": {table: "CLIP Encoder"}},
        "clip_complete": {"label": "CLIP Encoder, complete pictures", "tables": {table: None}},
    }
    frames = {"clip": read_overlaps(clip, "masked"), "clip_complete": read_overlaps(clip, "complete")}
    frames |= {name: read_overlaps(path, "completed") for name, (path,) in completed.items()}
    measured = {name: segmentation(frame) for name, frame in frames.items()}
    rows = collect(table, plain | dict(methods), measured, dict.fromkeys(measured, 1), claims, {"clip_complete"})
    notes = describe(table, config, methods, rows, claims, manifest, clip)
    metrics = ["miou", "miou_hole"]
    shape = Shape([ALL, *buckets], metrics)
    title = f"Segmentation of masked pictures of {config['tables'][table]['dataset']}"

    def compare(first: str, second: str, key: Key) -> Difference:
        return segmentation_differences(frames[first], frames[second], [key])[key]

    marks = {key: leaders(rows, key, compare) for key in shape.columns}
    _write(table, title, rows, shape, shape, marks, notes, figures, output)


def _write(
    table: str,
    title: str,
    rows: Sequence[Row],
    stored: Shape,
    shown: Shape,
    marks: Mapping[Key, Mapping[str, str]],
    notes: Sequence[str],
    figures: Sequence[str],
    output: Any,
    more: str = "",
    reasons: Mapping[str, str] = MappingProxyType({}),
) -> None:
    folder = Path(output.markdown).parent
    images = "".join(f"\n![{Path(path).stem}]({Path(path).relative_to(folder)})\n" for path in figures)
    write_csv(to_frame(rows, stored.columns, marks, reasons), output.csv)
    write_text(output.latex, to_latex(title, rows, shown, marks, notes))
    heading = f"{table.replace('table', 'Table ')}: {title}"
    write_text(output.markdown, to_markdown(heading, rows, shown, marks, more, notes, images))
