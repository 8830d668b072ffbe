"""The tables: aggregate per-image scores, set the paper's numbers beside them, and say under what terms.

The CSV holds everything (means, intervals, n, hole-only and raw columns, reasons for missing numbers); Markdown and
LaTeX show the headline. Nothing is computed from anything but the scores on disk.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd

from sair.common.files import write_csv, write_text
from sair.data.manifest import manifest_hash
from sair.evaluation.fid import ENOUGH, FEWEST
from sair.evaluation.metrics.registry import MEASURES, METRICS, SET_METRICS
from sair.evaluation.statistics import Difference, Estimate
from sair.reporting import conditions, notes
from sair.reporting.markup import markdown_table, to_latex, to_markdown
from sair.reporting.measured import (
    ALL,
    Key,
    distances,
    quality,
    quality_differences,
    read_overlaps,
    read_scores,
    same_images,
    seed_spread,
    segmentation,
    segmentation_differences,
    segmentation_spread,
)
from sair.reporting.paper import all_claims
from sair.reporting.rows import Leaders, Row, Shape, collect, leaders, to_frame
from sair.weights.sources import entry

NO_INCEPTION = (
    "Inception weights not found: run `sair weights fetch inception`, or put "
    f"{entry('inception').files[0].name} into a folder and name it in SAIR_WEIGHTS"
)
SWITCHED_OFF = "switched off by `fid: false`"
TOO_FEW = f"fewer than {FEWEST} images"
BIASED = f"biased upwards: fewer than {ENOUGH:,} images"


def describe(
    table: str,
    config: dict[str, Any],
    methods: Mapping[str, dict[str, Any]],
    rows: Sequence[Row],
    claims: dict[str, Any],
    manifest: str | Path,
    clip: str | Path,
) -> list[str]:
    """Return the terms of a table in plain words, one string per note."""
    name = config["tables"][table]["dataset"]
    dataset = config["datasets"][name]
    size = config["image_size"]
    n, clusters = _counted(rows, claims["metrics"][0])
    embedded = dataset["source"] != "folder"
    result = [
        f"Dataset `{name}` ({dataset['source']}), {size}x{size} pixels, masks `{dataset['masks']}`; "
        f"n = {n} test images per bucket, each under one mask of every bucket.{notes.clusters(n, clusters)} "
        f"Manifest {manifest_hash(manifest)[:12]}.",
        f"In parentheses: {claims['title']}.",
    ]
    if embedded or config["preset"] != "paper":
        result.append(
            f"These rows are not the paper's experiment: small models (preset `{config['preset']}`) were trained "
            f"for minutes on {'embedded ' if embedded else ''}{size}-pixel images. Compare methods within this "
            "table; do not compare its numbers with the paper's."
        )
    trained = [row for row in rows if row.method in methods and methods[row.method]["training"]]
    budgets = [f"{row.label} {_budget(methods[row.method]['training'])}" for row in trained]
    if budgets:
        result.append(f"Training (seeds {', '.join(map(str, config['seeds']))}): {'; '.join(budgets)}.")
        result.append(notes.seeds(config["seeds"], list(methods.values()), spread=True))
    if departures := notes.departures(methods[row.method] for row in trained):
        result.append(departures)
    if claims["measure"] == "segmentation":
        result.append(
            "Each pixel gets the class whose prompts are nearest to its embedding; mIoU: intersections and unions "
            "summed over images, then the mean over classes."
        )
    else:
        result.append(
            "Whole image, composited, 8 bits, mean over images: "
            + "; ".join(f"{METRICS[metric].label} {METRICS[metric].convention}" for metric in claims["metrics"])
            + "."
        )
    specs = [(row.label, methods.get(row.method, {})) for row in rows]
    if shown := [label for label, spec in specs if spec.get("sees_truth") and not spec.get("control")]:
        result.append(f"Sees the ground truth, and so stands among the controls: {', '.join(shown)}.")
    missing: dict[str, list[str]] = {}
    for row in rows:
        if row.reason:
            missing.setdefault(row.reason, []).append(row.label)
    result += [f"–: {reason} ({', '.join(labels)})." for reason, labels in missing.items()]
    complete = segmentation(read_overlaps(clip, "complete"))[ALL, "miou"]
    result.append(
        f"Semantics: the dense CLIP segments {complete.n} complete test images of "
        f"`{config['semantics']['dataset']}` by class names with mIoU {complete.mean:.2f}."
    )
    return result


def _counted(rows: Sequence[Row], metric: str) -> tuple[int, int]:
    """Return the number of images per bucket and of their clusters, as the first measured row has them."""
    found = [(cell.n, cell.clusters) for row in rows for key, cell in row.cells.items() if key[1] == metric]
    return max(found, default=(0, 0))


def _explain(table: str, marked: Leaders, metrics: Sequence[str], least: Mapping[str, float]) -> str:
    """Say what the marks of a table mean, and why what is tied is tied."""
    decisions = list(marked.decisions.values())
    return (
        f"Bold: better than every other method, that is {notes.rule(len(decisions), 'this table', metrics, least)}. "
        "Underlined: the best and what this rule does not tell from it. Of the comparisons with a column's best, "
        f"{notes.reasons(decisions)}. Controls do not compete. Intervals, every bucket and measure: {table}.csv."
    )


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
    estimates = [cell for cells in measured.values() for (_, metric), cell in cells.items() if metric in SET_METRICS]
    if not estimates:
        return dict.fromkeys(SET_METRICS, NO_INCEPTION if config["fid"] else SWITCHED_OFF)
    fewest = min(cell.n for cell in estimates)
    if fewest < FEWEST:
        return dict.fromkeys(SET_METRICS, TOO_FEW)
    return {"fid": BIASED} if fewest < ENOUGH else {}


def _distances(rows: Sequence[Row], buckets: Sequence[str], reasons: Mapping[str, str]) -> tuple[str, str]:
    """FID and KID as a second Markdown table and a note on them; no table where there are no numbers."""
    if "kid" in reasons:
        return "", f"–: FID and KID ({reasons['kid']})."
    shape = Shape(buckets, SET_METRICS)
    have = [row for row in rows if shape.columns[0] in row.cells]
    table = markdown_table(have, shape, {key: {} for key in shape.columns})
    flag = f" FID is {reasons['fid']}; KID is not." if "fid" in reasons else ""
    head = f"Distance of distributions, n = {have[0].cells[shape.columns[0]].n}.{flag}"
    note = (
        f"FID {METRICS['fid'].convention}; KID {METRICS['kid'].convention}. No method is marked: a single image "
        "has no distance that a test could pair."
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
        scores: their score files, one per seed.
        distance_files: their fid.csv, one per seed; empty where FID and KID were not computed.
        manifest: manifest.csv of the dataset.
        clip: segmentation.csv of the dense CLIP (``sair.inference.segmentation``).
        figures: image grids to show under the table.
        output: paths to write, with the attributes ``markdown``, ``latex`` and ``csv``.
    """
    claims = all_claims()[config["tables"][table]["claims"]]
    least = config["regression"]["least"]
    buckets = [f"{low}-{high}" for low, high in config["buckets"]]
    frames = {name: read_scores(paths, MEASURES) for name, paths in scores.items()}
    same_images({scores[name][0]: frame for name, frame in frames.items()})
    measured = {name: quality(frame) for name, frame in frames.items()}
    for name, paths in distance_files.items():
        measured[name] |= _with_clusters(distances(paths), frames[name])
    seeds = {name: len(paths) for name, paths in scores.items()}
    rows = collect(table, methods, measured, seeds, claims)
    rows = [row._replace(spread=seed_spread(scores.get(row.method, ()))) for row in rows]
    result = describe(table, config, methods, rows, claims, manifest, clip)
    result += conditions.notes({row.label: scores[row.method] for row in rows if row.method in scores})
    shape = Shape([ALL] if claims["buckets"] == [ALL] else buckets, claims["metrics"])
    title = f"Inpainting on {config['tables'][table]['dataset']}"

    def compare(first: str, second: str, key: Key) -> Difference:
        return quality_differences(frames[first], frames[second], [key])[key]

    marked = leaders(rows, shape.columns, compare, least)
    result.append(_explain(table, marked, shape.metrics, least))
    controls = [row.label for row in rows if row.group == "control"]
    if perfect := notes.perfect({row.label: frames[row.method] for row in rows if row.method}, controls):
        result.append(perfect)
    reasons = _distances_reason(config, measured)
    more, note = _distances(rows, shape.buckets, reasons)
    stored = Shape([*buckets, ALL], [*MEASURES, *SET_METRICS])
    _write(table, title, rows, stored, shape, marked.marks, [*result, note], figures, config, output, more, reasons)


def _with_clusters(found: dict[Key, Estimate], scores: pd.DataFrame) -> dict[Key, Estimate]:
    """Take KID's interval away where images are not independent: the jackknife leaves out one image, not a cluster."""
    count = scores.cluster.nunique()
    if count == scores.id.nunique():
        return found
    return {key: cell._replace(low=math.nan, high=math.nan, clusters=count) for key, cell in found.items()}


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
    """Write the paper's Table 5: how well masked images are segmented, without SIR and with it.

    Args:
        completed: segmentation.csv of every method, one per seed.
        table, config, methods, manifest, clip, figures, output: same as in ``write_quality_table``.
    """
    claims = all_claims()[config["tables"][table]["claims"]]
    least = config["regression"]["least"]
    buckets = [f"{low}-{high}" for low, high in config["buckets"]]
    # CLIP without SIR is nobody's method: its two read-outs stand in as the paper's first row and as a control.
    plain = {
        "clip": {"label": "CLIP Encoder", "tables": {table: "CLIP Encoder"}},
        "clip_complete": {"label": "CLIP Encoder, complete images", "tables": {table: None}, "control": True},
    }
    frames = {"clip": read_overlaps(clip, "masked"), "clip_complete": read_overlaps(clip, "complete")}
    frames |= {name: read_overlaps(paths, "completed") for name, paths in completed.items()}
    measured = {name: segmentation(frame) for name, frame in frames.items()}
    seeds = dict.fromkeys(plain, 1) | {name: len(paths) for name, paths in completed.items()}
    rows = collect(table, plain | dict(methods), measured, seeds, claims)
    spread = {name: segmentation_spread(paths, "completed") for name, paths in completed.items()}
    rows = [row._replace(spread=spread.get(row.method, {})) for row in rows]
    result = describe(table, config, methods, rows, claims, manifest, clip)
    result += conditions.notes({row.label: completed[row.method] for row in rows if row.method in completed})
    metrics = ["miou", "miou_hole"]
    shape = Shape([ALL, *buckets], metrics)
    title = f"Segmentation of masked images of {config['tables'][table]['dataset']}"

    def compare(first: str, second: str, key: Key) -> Difference:
        return segmentation_differences(frames[first], frames[second], [key])[key]

    marked = leaders(rows, shape.columns, compare, least)
    result.append(_explain(table, marked, metrics, least))
    _write(table, title, rows, shape, shape, marked.marks, result, figures, config, output)


def _write(
    table: str,
    title: str,
    rows: Sequence[Row],
    stored: Shape,
    shown: Shape,
    marks: Mapping[Key, Mapping[str, str]],
    terms: Sequence[str],
    figures: Sequence[str],
    config: dict[str, Any],
    output: Any,
    more: str = "",
    reasons: Mapping[str, str] = MappingProxyType({}),
) -> None:
    folder = Path(output.markdown).parent
    images = "".join(f"\n![{Path(path).stem}]({Path(path).relative_to(folder)})\n" for path in figures)
    if images:
        images = f"\nFigures: seed {config['seeds'][0]}.\n{images}"
    write_csv(to_frame(rows, stored.columns, marks, reasons), output.csv)
    write_text(output.latex, to_latex(title, rows, shown, marks, terms))
    heading = f"{table.replace('table', 'Table ')}: {title}"
    write_text(output.markdown, to_markdown(heading, rows, shown, marks, more, terms, images))
