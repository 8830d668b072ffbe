"""Write tables as Markdown and LaTeX."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tabulate import tabulate

from sair.data.buckets import title_of
from sair.evaluation.metrics.registry import METRICS
from sair.reporting.measured import Key
from sair.reporting.rows import BEST, TIED, Row, Shape


def number(value: float, decimals: int, infinity: str) -> str:
    """Return a measured number as every format prints it."""
    return infinity if math.isinf(value) else f"{value:z.{decimals}f}"  # z: no minus before zero


def paper_number(value: float, metric: str) -> str:
    """Return a number of the paper as the paper prints it."""
    return f"{value:.{METRICS[metric].paper_decimals}f}"


class Markup(NamedTuple):
    """The marks of a format: templates for the best, tied and published values, and symbols."""

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


MARKDOWN_ESCAPES = str.maketrans({character: "\\" + character for character in "\\`*_<>|[]&~$"})
# Applied in one pass; otherwise the escapes of one character would be escaped again.
ESCAPES = str.maketrans(
    {character: "\\" + character for character in "%&_#${}"}
    | {"\\": r"\textbackslash{}", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}"}
    | {"<": r"$<$", ">": r"$>$", "±": r"$\pm$", "–": "--", "−": "$-$"}
)


def grid(rows: Sequence[Row], shape: Shape, marks: Mapping[Key, Mapping[str, str]], markup: Markup) -> list[list[str]]:
    """Return the cells of the printed table, one list per row without its label: measured values and the paper's.

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
            if key in row.cells and not math.isnan(row.cells[key].mean):  # very small images have no LPIPS
                text = number(row.cells[key].mean, decimals, markup.infinity)
                if math.isfinite(row.spread.get(key, math.nan)):
                    text += f" {markup.spread} {row.spread[key]:.{decimals}f}"
                mark = marks[key].get(row.method, "")
                text = {BEST: markup.best, TIED: markup.tied}.get(mark, "{}").format(text)
            if key in row.paper:
                text = markup.paper.format(text, paper_number(row.paper[key], key[1]))
            line.append(text)
        lines.append(line)
    return lines


class Extra(NamedTuple):
    """A column beside the metrics, which is neither tested nor marked.

    name: of the column in the CSV.
    title: printed header.
    values: number or text by method; a method without one gets a dash.
    decimals: digits after the point.
    """

    name: str
    title: str
    values: Mapping[str, float | str]
    decimals: int = 2

    def cells(self, rows: Sequence[Row], markup: Markup) -> list[str]:
        """Return the printed cells, one per row; texts are not escaped."""
        return [self._cell(self.values.get(row.method, math.nan), markup) for row in rows]

    def _cell(self, value: float | str, markup: Markup) -> str:
        if isinstance(value, str):
            return value
        return markup.dash if math.isnan(value) else number(value, self.decimals, markup.infinity)


def in_markdown(text: str) -> str:
    """Return a text with Markdown's characters escaped, also for cells of tables, so that it is shown unchanged."""
    return text.translate(MARKDOWN_ESCAPES)


def _header(metric: str, markup: Markup) -> str:
    return f"{METRICS[metric].label} {markup.arrows[0 if METRICS[metric].higher_is_better else 1]}"


def to_markdown(title: str, body: str, notes: Sequence[str], images: str) -> str:
    """Return a Markdown page: the heading, the tables, the notes as a list, the images."""
    return f"# {title}\n\n{body}" + "".join(f"- {note}\n" for note in notes) + images


def markdown_table(
    rows: Sequence[Row], shape: Shape, marks: Mapping[Key, Mapping[str, str]], more: Sequence[Extra] = ()
) -> str:
    """Return the table alone; arguments same as in ``grid``, and columns that follow those of the metrics."""
    headers = ["Method"] + [f"{_header(metric, MARKDOWN)} {title_of(bucket)}" for bucket, metric in shape.columns]
    labels = [in_markdown(row.label) for row in rows]
    labels = [label if row.group != "control" else f"*{label}*" for row, label in zip(rows, labels, strict=True)]
    beside = list(zip(*(extra.cells(rows, MARKDOWN) for extra in more), strict=True)) or [()] * len(rows)
    headers += [extra.title for extra in more]
    cells = grid(rows, shape, marks, MARKDOWN)
    body = [[label, *line, *last] for label, line, last in zip(labels, cells, beside, strict=True)]
    align = ["left", *["right"] * (len(headers) - 1)]
    return tabulate(body, headers, tablefmt="pipe", colalign=align, disable_numparse=True)


def to_latex(
    title: str,
    rows: Sequence[Row],
    shape: Shape,
    marks: Mapping[Key, Mapping[str, str]],
    notes: Sequence[str],
    more: Sequence[Extra] = (),
) -> str:
    """Return a LaTeX float; it requires the packages booktabs and graphicx."""
    width, count = len(shape.metrics), len(shape.columns) + len(more)
    wide = count > 6
    percent = r"\,\%"
    spans = " & ".join(
        rf"\multicolumn{{{width}}}{{c}}{{{title_of(b.translate(ESCAPES), percent)}}}" for b in shape.buckets
    )
    rules = " ".join(
        rf"\cmidrule(lr){{{2 + i * width}-{1 + (i + 1) * width}}}" for i in range(len(shape.buckets))
    )  # fmt: skip
    titles = [_escape(extra.title).replace("↑", LATEX.arrows[0]).replace("↓", LATEX.arrows[1]) for extra in more]
    header = " & ".join(["Method", *(_header(metric, LATEX) for _, metric in shape.columns), *titles])
    beside = list(zip(*(extra.cells(rows, LATEX) for extra in more), strict=True)) or [()] * len(rows)
    lines, previous = [], rows[0].group if rows else ""
    for row, cells, last in zip(rows, grid(rows, shape, marks, LATEX), beside, strict=True):
        if row.group != previous:
            lines.append(r"\midrule")
        previous = row.group
        label = _escape(row.label)
        label = label if row.group != "control" else rf"\textit{{{label}}}"
        lines.append(" & ".join([label, *cells, *last]) + r" \\")
    notes = " ".join(_escape(note.replace("`", "").replace("*", "")) for note in notes)
    return "\n".join(
        [
            "% needs: \\usepackage{booktabs,graphicx}",
            r"\begin{table*}",
            r"\centering",
            rf"\caption{{{_escape(title)}}}",
            *([r"\resizebox{\textwidth}{!}{%"] if wide else []),
            rf"\begin{{tabular}}{{l{'r' * count}}}",
            r"\toprule",
            rf" & {spans}{' &' * len(more)} \\",
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
    return text.translate(ESCAPES)
