"""Tables: aggregate per-picture scores, set the paper's numbers beside them, and say under what terms.

The CSV holds everything (means, intervals, n, hole-only and raw columns, reasons for missing numbers); Markdown and
LaTeX show the headline. Nothing is computed from anything but the scores on disk.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import yaml
from tabulate import tabulate

from sair.data.manifest import manifest_hash, read_manifest, write_csv
from sair.evaluation.metrics import CONVENTION, METRICS
from sair.evaluation.score import SCORE_COLUMNS
from sair.evaluation.statistics import Estimate, estimate
from sair.files import InputError, write_text

NOT_IMPLEMENTED = "not implemented yet"
MEASURES = [column for column in SCORE_COLUMNS if column not in ("id", "bucket", "ratio")]
NAMES = {"psnr": "PSNR", "ssim": "SSIM", "l1": "L1", "lpips": "LPIPS"}
COLUMNS = ["method", "label", "group", "bucket", "metric", "mean", "low", "high", "n", "seeds", "paper", "reason"]


class Row(NamedTuple):
    """One method's line: what it is called, where it stands, and what was measured by (bucket, metric)."""

    method: str
    label: str
    group: str
    cells: dict[tuple[str, str], Estimate]
    paper: dict[tuple[str, str], float]
    seeds: int
    reason: str = ""


def load_claims(name: str) -> dict[str, Any]:
    """The numbers that the paper prints in one of its tables (reporting/paper.yaml)."""
    claims = yaml.safe_load(files("sair.reporting").joinpath("paper.yaml").read_text(encoding="utf-8"))
    if name not in claims:
        raise InputError(f"there are no claims {name!r} of the paper; known are {', '.join(claims)}.")
    return claims[name]


def claimed(claims: dict[str, Any], row: str) -> dict[tuple[str, str], float]:
    """The paper's numbers of one row by (bucket, metric); empty where it prints none."""
    cells = {}
    for bucket, values in zip(claims["buckets"], claims["rows"].get(row, []), strict=False):
        for metric, value in zip(claims["metrics"], values, strict=True):
            if value is not None:
                cells[bucket, metric] = value
    return cells


def read_scores(paths: Sequence[str | Path]) -> pd.DataFrame:
    """Scores of one method averaged over its seeds, one row a (bucket, id).

    Raises:
        InputError: seeds that scored different pictures.
    """
    frames = [pd.read_csv(path, dtype={"id": str, "bucket": str}) for path in paths]
    keys = [list(zip(frame.bucket, frame.id, strict=True)) for frame in frames]
    for path, own in zip(paths, keys, strict=True):
        if own != keys[0]:
            raise InputError(f"{path}: scores other pictures than {paths[0]}. Delete the older one and run again.")
    mean = frames[0].copy()
    mean[MEASURES] = sum(frame[MEASURES] for frame in frames) / len(frames)
    return mean


def collect(
    table: str,
    methods: Mapping[str, dict[str, Any]],
    scores: Mapping[str, Sequence[str]],
    claims: dict[str, Any],
) -> list[Row]:
    """All lines of a table: the paper's rows in its order, then variants, then controls."""
    measured = {}
    for name, paths in scores.items():
        frame = read_scores(paths)
        measured[name] = {
            (bucket, metric): estimate(group[metric].dropna().to_numpy())
            for bucket, group in frame.groupby("bucket", sort=False)
            for metric in MEASURES
        }
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
            rows.append(Row(name, methods[name]["label"], "paper", measured[name], paper, len(scores[name])))
    for group in ("variant", "control"):
        for name, spec in methods.items():
            if spec["tables"][table] is None and (spec["training"] is None) == (group == "control"):
                rows.append(Row(name, spec["label"], group, measured[name], {}, len(scores[name])))
    return rows


def to_frame(rows: Sequence[Row], buckets: Sequence[str]) -> pd.DataFrame:
    """The CSV: one line a (method, bucket, metric)."""
    lines = []
    for row in rows:
        for bucket in buckets:
            for metric in MEASURES:
                cell = row.cells.get((bucket, metric), Estimate(math.nan, math.nan, math.nan, 0))
                paper = row.paper.get((bucket, metric), math.nan)
                lines.append([*row[:3], bucket, metric, *cell, row.seeds, paper, row.reason])
    return pd.DataFrame(lines, columns=COLUMNS)


def ranks(rows: Sequence[Row], key: tuple[str, str]) -> dict[str, int]:
    """1 for the best and 2 for the second method of a column, by what is printed; controls do not compete."""
    metric = METRICS[key[1]]
    values = {
        row.method: round(row.cells[key].mean, metric.decimals)
        for row in rows
        if row.group != "control" and key in row.cells and math.isfinite(row.cells[key].mean)
    }
    order = sorted(set(values.values()), reverse=metric.higher_is_better)
    return {name: order.index(value) + 1 for name, value in values.items() if value in order[:2]}


def _number(value: float, decimals: int, infinity: str) -> str:
    return infinity if math.isinf(value) else f"{value:.{decimals}f}"


class Markup(NamedTuple):
    """How a format writes what the cells need."""

    best: str
    second: str
    paper: str
    infinity: str
    dash: str
    arrows: tuple[str, str]


MARKDOWN = Markup("**{}**", "<u>{}</u>", "{} ({})", "∞", "–", ("↑", "↓"))
LATEX = Markup(
    r"\textbf{{{}}}",
    r"\underline{{{}}}",
    r"{} {{\scriptsize({})}}",
    r"$\infty$",
    "--",
    (r"$\uparrow$", r"$\downarrow$"),
)


def grid(rows: Sequence[Row], buckets: Sequence[str], markup: Markup) -> list[list[str]]:
    """The cells of the printed table, a list a row without its label: measured, with the paper's number beside it."""
    columns = [(bucket, metric) for bucket in buckets for metric in METRICS]
    rank = {key: ranks(rows, key) for key in columns}
    lines = []
    for row in rows:
        line = []
        for key in columns:
            decimals = METRICS[key[1]].decimals
            text = markup.dash
            if key in row.cells:
                text = _number(row.cells[key].mean, decimals, markup.infinity)
                place = rank[key].get(row.method)
                text = {1: markup.best, 2: markup.second}.get(place, "{}").format(text)
            if key in row.paper:
                # The paper's own decimals, whatever ours are.
                text = markup.paper.format(text, f"{row.paper[key]:.{2 if key[1] == 'psnr' else 3}f}")
            line.append(text)
        lines.append(line)
    return lines


def _header(metric: str, markup: Markup) -> str:
    return f"{NAMES[metric]} {markup.arrows[0 if METRICS[metric].higher_is_better else 1]}"


def to_markdown(title: str, rows: Sequence[Row], buckets: Sequence[str], notes: Sequence[str], images: str) -> str:
    """A Markdown page: the table, what is missing and why, the notes, the pictures."""
    headers = ["Method"] + [f"{_header(m, MARKDOWN)} {b} %" for b in buckets for m in METRICS]
    labels = [row.label if row.group != "control" else f"*{row.label}*" for row in rows]
    body = [[label, *line] for label, line in zip(labels, grid(rows, buckets, MARKDOWN), strict=True)]
    align = ["left", *["right"] * (len(headers) - 1)]
    table = tabulate(body, headers, tablefmt="pipe", colalign=align, disable_numparse=True)
    return f"# {title}\n\n{table}\n\n" + "".join(f"- {note}\n" for note in notes) + images


def to_latex(title: str, rows: Sequence[Row], buckets: Sequence[str], notes: Sequence[str]) -> str:
    """A LaTeX float; it needs the packages booktabs and graphicx."""
    width = len(METRICS)
    spans = " & ".join(rf"\multicolumn{{{width}}}{{c}}{{{b}\,\%}}" for b in buckets)
    rules = " ".join(
        rf"\cmidrule(lr){{{2 + i * width}-{1 + (i + 1) * width}}}" for i in range(len(buckets))
    )  # fmt: skip
    header = " & ".join(["Method"] + [_header(metric, LATEX) for _ in buckets for metric in METRICS])
    lines, previous = [], "paper"
    for row, cells in zip(rows, grid(rows, buckets, LATEX), strict=True):
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
            r"\resizebox{\textwidth}{!}{%",
            rf"\begin{{tabular}}{{l{'r' * (width * len(buckets))}}}",
            r"\toprule",
            rf" & {spans} \\",
            rules,
            rf"{header} \\",
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}}",
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
    segmentation: str | Path,
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
        if row.method and methods[row.method]["training"]
    ]
    notes.append(f"Training (seeds {', '.join(map(str, config['seeds']))}): {'; '.join(budgets)}.")
    notes.append(
        "Whole picture, composited, 8 bits, mean over pictures: "
        + "; ".join(f"{NAMES[metric]} {CONVENTION[metric]}" for metric in METRICS)
        + f". Best bold, second underlined; controls do not compete. Intervals, hole-only and raw scores: {table}.csv."
    )
    missing: dict[str, list[str]] = {}
    for row in rows:
        if row.reason:
            missing.setdefault(row.reason, []).append(row.label)
    notes += [f"–: {reason} ({', '.join(labels)})." for reason, labels in missing.items()]
    scores = pd.read_csv(segmentation).set_index("class")
    notes.append(
        f"Semantics: the dense CLIP segments {scores.pictures.iloc[0]} complete test pictures of "
        f"`{config['semantics']['dataset']}` by class names with mIoU {scores.iou['mean']:.2f}."
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


def write_table(
    table: str,
    config: dict[str, Any],
    methods: Mapping[str, dict[str, Any]],
    scores: Mapping[str, Sequence[str]],
    manifest: str | Path,
    segmentation: str | Path,
    figures: Sequence[str],
    output: Any,
) -> None:
    """Write one of the paper's comparison tables.

    Args:
        table: its name in the config, such as ``table1``.
        config: the whole config.
        methods: specifications of the methods that the table shows.
        scores: their score files, one a seed.
        manifest: manifest.csv of the dataset.
        segmentation: IoU of the dense CLIP (``sair.segmentation``).
        figures: picture grids to show under the table.
        output: paths to write, with the attributes ``markdown``, ``latex`` and ``csv``.
    """
    claims = load_claims(config["tables"][table]["claims"])
    buckets = [f"{low}-{high}" for low, high in config["buckets"]]
    rows = collect(table, methods, scores, claims)
    notes = describe(table, config, methods, rows, claims, manifest, segmentation)
    title = f"Inpainting on {config['tables'][table]['dataset']}"
    folder = Path(output.markdown).parent
    images = "".join(f"\n![{Path(path).stem}]({Path(path).relative_to(folder)})\n" for path in figures)
    write_csv(to_frame(rows, buckets), output.csv)
    write_text(output.latex, to_latex(title, rows, buckets, notes))
    write_text(
        output.markdown, to_markdown(f"{table.replace('table', 'Table ')}: {title}", rows, buckets, notes, images)
    )
