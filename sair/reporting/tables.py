"""Write the tables: aggregate per-image scores, add the paper's numbers, and state the terms of both.

The CSV contains everything (means, intervals, n, hole-only and raw columns, reasons for missing numbers); Markdown and
LaTeX show the headline. Every number is computed from the scores on disk.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from sair.common.files import write_csv, write_text
from sair.data.buckets import ALL
from sair.data.manifest import manifest_hash
from sair.evaluation.fid import ENOUGH, FEWEST
from sair.evaluation.metrics.features import metrics_of
from sair.evaluation.metrics.of_images import columns_with
from sair.evaluation.metrics.registry import METRICS, SET_METRICS
from sair.evaluation.statistics import Difference, Estimate
from sair.reporting import beside, conditions, notes
from sair.reporting.budgets import budget_of, budget_table
from sair.reporting.inputs import (
    PRINTED,
    QUALITY,
    SEGMENTATION,
    Layout,
    TableInputs,
    bucket_names,
    layout,
    optional_metrics,
    training_seeds,
)
from sair.reporting.markup import Extra, in_markdown, markdown_table, to_latex, to_markdown
from sair.reporting.measured import (
    Key,
    distances,
    least_of,
    mean_of_overlaps,
    network_distances,
    quality,
    read_overlaps,
    same_images,
    seed_spread,
    segmentation,
    segmentation_spread,
)
from sair.reporting.rows import Leaders, Row, Shape, collect, leaders, to_frame
from sair.reporting.runs import (
    Runs,
    quality_differences,
    quality_shares,
    quality_values,
    read_runs,
    read_segmented,
    segmentation_differences,
    segmentation_values,
)
from sair.reporting.sets import BIASED, sections
from sair.reporting.standings import Values, rank_table, spread_note, standings
from sair.reporting.verdicts import Judged, claims_of, describe, judge
from sair.weights.sources import entry

NO_INCEPTION = (
    "Inception weights not found: run `sair weights fetch inception`, or put "
    f"{entry('inception').files[0].name} into a folder and name it in SAIR_WEIGHTS"
)

SWITCHED_OFF = "switched off by `fid: false`"
TOO_FEW = f"fewer than {FEWEST} images"

Specs = Mapping[str, Mapping[str, Any]]  # method -> specification


@dataclass(frozen=True)
class _Lines:
    """The measured lines of a table, and the scores that they were averaged from.

    Attributes:
        rows: the table's lines.
        runs: method -> scores or overlaps.
        compare: the paired differences of two methods, by column.
        values: method -> column -> one number per seed and cluster.
        stored: all columns of the CSV.
    """

    rows: Sequence[Row]
    runs: Mapping[str, Runs]
    compare: Callable[[Runs, Runs, list[Key]], dict[Key, Difference]]
    values: Values
    stored: Shape

    @property
    def competing(self) -> dict[str, str]:
        """Return the labels of the methods that compete, in the table's order."""
        return {row.method: row.label for row in self.rows if row.method and row.group != "control"}

    @property
    def several(self) -> bool:
        """Return whether a method that competes has several seeds."""
        return any(len(self.runs[method].seeds) > 1 for method in self.competing)

    def leaders(self, columns: Sequence[Key], least: Mapping[str, float]) -> Leaders:
        """Return who leads each column, with the comparisons behind it."""

        def compare(first: str, second: str, key: Key) -> Difference:
            return self.compare(self.runs[first], self.runs[second], [key])[key]

        return leaders(self.rows, columns, compare, least)


@dataclass(frozen=True)
class _Distances:
    """FID and KID of a table: the table under it, the note on them, and by metric the reason that the CSV gives."""

    table: str = ""
    note: str = ""
    reasons: Mapping[str, str] = field(default_factory=dict)


def write_table(table: str, inputs: TableInputs, config: Mapping[str, Any], methods: Specs, output: Any) -> None:
    """Write a table of the config as Markdown, LaTeX and CSV.

    A table of quality compares images with their ground truths. A table of segmentation (the paper's Table 5) shows
    how well masked images are segmented, without SIR and with it.

    Args:
        table: its name in the config, such as ``table1``.
        inputs: the files that the table is made from.
        config: the whole config.
        methods: specifications of the methods that the table shows.
        output: paths to write, with the attributes ``markdown``, ``latex`` and ``csv``.

    Raises:
        InputError: a file is missing or damaged; methods that scored different images.
    """
    shown = layout(config, table)
    shape = Shape(shown.buckets, shown.metrics)
    measure = _measure_quality if shown.measure == QUALITY else _measure_segmentation
    lines = measure(shown, inputs, config, methods)
    least = config["regression"]["least"]
    marked = lines.leaders(shape.columns, least)
    terms = list(_terms(shown, inputs, config, methods, lines.rows))
    files = {row.label: inputs.measured[row.method] for row in lines.rows if row.method in inputs.measured}
    budgets = {row.method: budget_of(inputs.measured.get(row.method, ())) for row in lines.rows if row.method}
    places = standings(lines.values, shape.columns, list(lines.competing), least)
    terms += [*conditions.notes(files), _explain(table, marked, shape.metrics, least, lines.several)]
    # Samples of one set of weights do not show how trainings vary.
    trained = [name for name in lines.competing if name not in methods or methods[name]["training"]]
    terms += spread_note(lines.values, shape.columns, trained, least)
    found = _Distances()
    if shown.measure == QUALITY:
        terms += [*_shares(lines, shape, least), *_perfect(lines)]
        found = _distances(lines.rows, shape.buckets, config["fid"])
        terms.append(found.note)
        for section in sections(lines.rows, shape.buckets, config.get("distances", ())):
            terms.append(section.note)
            found = _Distances(found.table + section.table, found.note, {**found.reasons, **section.reasons})
    more: list[Extra] = []
    if shown.measure == QUALITY:
        judged = _judged(shown, config, methods, lines.rows)
        more = beside.columns(shown, inputs, judged)
        labels_of = {row.method: row.label for row in lines.rows}
        terms += beside.notes(shown, inputs, labels_of)
        terms += [describe(labels_of[name], found_of) for name, found_of in judged.items() if found_of]
    title = f"{'Inpainting on' if shown.measure == QUALITY else 'Segmentation of masked images of'} {shown.dataset}"
    frame = to_frame(lines.rows, lines.stored.columns, marked.marks, found.reasons, places, budgets)
    write_csv(beside.joined(frame, more), output.csv)
    write_text(output.latex, to_latex(title, lines.rows, shape, marked.marks, terms, more))
    seed = config["seeds"][0] if any(methods[name]["training"] for name in inputs.measured) else None
    images = _images(inputs.figures, Path(output.markdown).parent, seed)
    page = markdown_table(lines.rows, shape, marked.marks, more)
    labels = {method: in_markdown(label) for method, label in lines.competing.items()}
    costs = budget_table(labels, budgets, "seconds" in shown.columns)
    ranks = rank_table(places, labels, shape.columns, shape.metrics[0])
    body = f"{page}\n\n{found.table}{ranks}{costs}"
    write_text(output.markdown, to_markdown(f"{shown.title}: {title}", body, terms, images))


def _judged(shown: Layout, config: Mapping[str, Any], methods: Specs, rows: Sequence[Row]) -> dict[str, list[Judged]]:
    """Return the published numbers of each method with their verdicts, if the table shows them."""
    if "published" not in shown.columns:
        return {}
    cells = {row.method: row.cells for row in rows if row.method}
    return {
        name: [judge(claim, cells[name], shown, config) for claim in claims_of(name, methods[name].get("card"))]
        for name in cells
    }


# --------------------------------------------------------------------------------------------------------------------
# What was measured


def _measure_quality(shown: Layout, inputs: TableInputs, config: Mapping[str, Any], methods: Specs) -> _Lines:
    """Return the lines of a table of quality, from scores and, if they were computed, from FID and KID."""
    measures = columns_with(optional_metrics(config))
    runs = {name: read_runs(paths, measures) for name, paths in inputs.measured.items()}
    same_images({inputs.measured[name][0]: found.mean for name, found in runs.items()})
    measured = {name: quality(found.mean) for name, found in runs.items()}
    for name, paths in inputs.distances.items():
        measured[name] |= _with_clusters(distances(paths), runs[name].mean)
    for network, files in inputs.networks.items():
        for name, paths in files.items():
            measured[name] |= _with_clusters(network_distances(paths, network), runs[name].mean)
    seeds = {name: len(paths) for name, paths in inputs.measured.items()}
    rows = collect(shown, methods, measured, seeds)
    rows = [row._replace(spread=seed_spread(runs[row.method].seeds)) if row.method else row for row in rows]
    of_sets = [*SET_METRICS, *(metric for network in config.get("distances", ()) for metric in metrics_of(network))]
    stored = Shape([*bucket_names(config, shown.dataset), ALL], [*measures, *of_sets])
    scored = Shape(stored.buckets, measures).columns
    values = {name: quality_values(found, scored) for name, found in runs.items()}
    return _Lines(rows, runs, quality_differences, values, stored)


def _with_clusters(found: dict[Key, Estimate], scores: pd.DataFrame) -> dict[Key, Estimate]:
    """Remove KID's interval if images are not independent: the jackknife leaves out one image, not a cluster."""
    count = scores.cluster.nunique()
    if count == scores.id.nunique():
        return found
    return {key: cell._replace(low=math.nan, high=math.nan, clusters=count) for key, cell in found.items()}


def _measure_segmentation(shown: Layout, inputs: TableInputs, config: Mapping[str, Any], methods: Specs) -> _Lines:
    """Return the lines of a table of segmentation; the dense CLIP is among them."""
    assert inputs.clip, "a table of segmentation needs the dense CLIP"
    # Plain CLIP is not a method: its read-out of masked images is the paper's first row, that of complete images a
    # control.
    plain: dict[str, Mapping[str, Any]] = {
        "clip": {"label": "CLIP Encoder", "tables": {shown.name: "CLIP Encoder"}},
        "clip_complete": {"label": "CLIP Encoder, complete images", "tables": {shown.name: None}, "control": True},
    }
    runs = {"clip": read_segmented(inputs.clip, "masked"), "clip_complete": read_segmented(inputs.clip, "complete")}
    runs |= {name: read_segmented(paths, "completed") for name, paths in inputs.measured.items()}
    measured = {name: segmentation(found.mean) for name, found in runs.items()}
    seeds = dict.fromkeys(plain, len(inputs.clip)) | {name: len(paths) for name, paths in inputs.measured.items()}
    rows = collect(shown, plain | dict(methods), measured, seeds)
    rows = [row._replace(spread=segmentation_spread(runs[row.method].seeds)) if row.method else row for row in rows]
    values = {name: segmentation_values(found, measured[name]) for name, found in runs.items()}
    stored = Shape([ALL, *bucket_names(config, shown.dataset)], PRINTED[SEGMENTATION])
    return _Lines(rows, runs, segmentation_differences, values, stored)


# --------------------------------------------------------------------------------------------------------------------
# The terms under a table


def _terms(
    shown: Layout, inputs: TableInputs, config: Mapping[str, Any], methods: Specs, rows: Sequence[Row]
) -> Iterator[str]:
    """Yield the terms of a table in plain words, one string per note."""
    yield from _on_what(shown, inputs.manifest, config, rows)
    yield from _trained(config, methods, rows)
    if shown.measure == QUALITY:
        yield (
            "Whole image, composited, 8 bits, mean over images: "
            + "; ".join(f"{METRICS[metric].label} {METRICS[metric].convention}" for metric in shown.metrics)
            + "."
        )
    else:
        yield (
            "Each pixel gets the class whose prompts are nearest to its embedding; mIoU: intersections and unions "
            "summed over images, then the mean over classes."
        )
    specs = [(row.label, methods.get(row.method, {})) for row in rows]
    if seeing := [label for label, spec in specs if spec.get("sees_truth") and not spec.get("control")]:
        yield f"Sees the ground truth, and is therefore listed with the controls: {', '.join(seeing)}."
    missing: dict[str, list[str]] = {}
    for row in rows:
        if row.reason:
            missing.setdefault(row.reason, []).append(row.label)
    yield from (f"–: {reason} ({', '.join(labels)})." for reason, labels in missing.items())
    if inputs.clip:
        complete = segmentation(mean_of_overlaps(read_overlaps(inputs.clip, "complete")))[ALL, "miou"]
        yield (
            f"Semantics: the dense CLIP segments {complete.n} complete test images of "
            f"`{config['semantics']['dataset']}` by class names with mIoU {complete.mean:.2f}."
        )


def _on_what(shown: Layout, manifest: str, config: Mapping[str, Any], rows: Sequence[Row]) -> Iterator[str]:
    """Yield notes on the images of a table, and on its differences from the paper's experiment."""
    dataset = config["datasets"][shown.dataset]
    size = config["image_size"]
    n, clusters = _counted(rows, shown.metrics[0])
    yield (
        f"Dataset `{shown.dataset}` ({dataset['source']}), {size}x{size} pixels, masks `{dataset['masks']}`; "
        f"n = {n} test images per bucket, each under one mask of every bucket.{notes.clusters(n, clusters)} "
        f"Manifest {manifest_hash(manifest)[:12]}."
    )
    if not shown.has_claims:
        return
    yield f"In parentheses: {shown.claims['title']}."
    embedded = dataset["source"] != "folder"
    if embedded or config["preset"] != "paper":
        yield (
            f"These rows are not the paper's experiment: small models (preset `{config['preset']}`) were trained "
            f"for minutes on {'embedded ' if embedded else ''}{size}-pixel images. Compare methods within this "
            "table; do not compare its numbers with the paper's."
        )


def _counted(rows: Sequence[Row], metric: str) -> tuple[int, int]:
    """Return the largest number of images per bucket in any row, and the number of their clusters."""
    found = [(cell.n, cell.clusters) for row in rows for key, cell in row.cells.items() if key[1] == metric]
    return max(found, default=(0, 0))


def _trained(config: Mapping[str, Any], methods: Specs, rows: Sequence[Row]) -> Iterator[str]:
    """Yield how the methods of a table were trained."""
    trained = [(row.label, methods[row.method]) for row in rows if _is_trained(methods, row)]
    if trained:
        budgets = [f"{label} {_budget(spec['training'])}" for label, spec in trained]
        yield f"Training: {'; '.join(budgets)}."
        used = {row.label: training_seeds(config, row.method) for row in rows if _is_trained(methods, row)}
        yield notes.seeds(used, spread=True)
    if departures := notes.departures(spec for _, spec in trained):
        yield departures


def _is_trained(methods: Specs, row: Row) -> bool:
    return bool(methods.get(row.method, {}).get("training"))


def _budget(training: Mapping[str, Any]) -> str:
    times = training["scale"] * training.get("times", 1)
    steps = training.get("steps")
    length = f"{math.ceil(times * steps)} steps" if steps else f"{times * training['epochs']:g} epochs"
    return f"{length} of batch {training['batch']}"


def _explain(table: str, marked: Leaders, metrics: Sequence[str], least: Mapping[str, float], several: bool) -> str:
    """Explain the marks of a table, and why tied methods are tied."""
    decisions = list(marked.decisions.values())
    stored = f"Intervals, every bucket and measure: {table}.csv. {notes.intervals(several)}"
    if not decisions:
        return f"No two methods compete (controls do not), so nothing is marked. {stored}"
    rule = notes.rule(len(decisions), "this table", metrics, least, several)
    return (
        f"Bold: better than every other method, that is {rule}. "
        "Underlined: the best and the methods that this rule does not distinguish from it. Of the comparisons with a "
        f"column's best, {notes.reasons(decisions)}. Controls do not compete. {stored}"
    )


def _shares(lines: _Lines, shape: Shape, least: Mapping[str, float]) -> Iterator[str]:
    """Yield what the variance of the difference between the best two methods is due to, by the first metric."""
    metric = shape.metrics[0]
    sign = 1 if METRICS[metric].higher_is_better else -1
    means = {row.method: sign * row.cells[ALL, metric].mean for row in lines.rows if row.method in lines.competing}
    best = sorted((name for name in means if math.isfinite(means[name])), key=lambda name: -means[name])[:2]
    if len(best) < 2:
        return
    found = quality_shares(lines.runs[best[0]], lines.runs[best[1]], metric, least_of(metric, least))
    if found:
        labels = " and ".join(lines.competing[name] for name in best)
        of = f"the difference between {labels}, {METRICS[metric].label} over all holes"
        yield notes.shares(found, of, lines.several)


def _perfect(lines: _Lines) -> list[str]:
    """Return the note on images that were filled without an error, if there are any."""
    controls = [row.label for row in lines.rows if row.group == "control"]
    note = notes.perfect({row.label: lines.runs[row.method].mean for row in lines.rows if row.method}, controls)
    return [note] if note else []


def _distances(rows: Sequence[Row], buckets: Sequence[str], wanted: bool) -> _Distances:
    """Return FID and KID as a second Markdown table and a note on them; no table if there are no numbers.

    Args:
        rows: the table's lines.
        buckets: the printed buckets.
        wanted: the config's ``fid``.
    """
    counts = [cell.n for row in rows for (_, metric), cell in row.cells.items() if metric in SET_METRICS]
    fewest = min(counts, default=0)
    if fewest < FEWEST:
        reason = TOO_FEW if counts else NO_INCEPTION if wanted else SWITCHED_OFF
        return _Distances("", f"No FID and KID: {reason}.", dict.fromkeys(SET_METRICS, reason))
    shape = Shape(buckets, SET_METRICS)
    have = [row for row in rows if shape.columns[0] in row.cells]
    table = markdown_table(have, shape, {key: {} for key in shape.columns})
    flag = f" FID is {BIASED}; KID is not." if fewest < ENOUGH else ""
    head = f"Distance of distributions, n = {have[0].cells[shape.columns[0]].n}.{flag}"
    note = (
        f"FID {METRICS['fid'].convention}; KID {METRICS['kid'].convention}. No method is marked, because a "
        "single image has no such distance that a test could pair."
    )
    return _Distances(f"{head}\n\n{table}\n\n", note, {"fid": BIASED} if flag else {})


def _images(figures: Sequence[str], folder: Path, seed: int | None) -> str:
    """Return the figures of a Markdown page as links from its folder, below the training seed that they are of."""
    images = "".join(f"\n![{Path(path).stem}]({Path(path).relative_to(folder)})\n" for path in figures)
    return f"\nFigures: seed {seed}.\n{images}" if images and seed is not None else images
