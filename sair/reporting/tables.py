"""The tables: aggregate per-picture scores, set the paper's numbers beside them, and say under what terms.

The CSV holds everything (means, intervals, n, hole-only and raw columns, reasons for missing numbers); Markdown and
LaTeX show the headline. Nothing is computed from anything but the scores on disk.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sair.data.manifest import manifest_hash, read_manifest
from sair.evaluation.fid import ENOUGH, FEWEST
from sair.evaluation.metrics import CONVENTION
from sair.evaluation.statistics import LEVEL, Difference, Estimate
from sair.files import write_csv, write_text
from sair.reporting.claims import all_claims
from sair.reporting.markup import markdown_table, to_latex, to_markdown
from sair.reporting.measured import (
    ALL,
    DISTANCES,
    MEASURES,
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
from sair.reporting.rows import CONTROLS, Row, Shape, collect, leaders, to_frame
from sair.weights.sources import entry

NO_INCEPTION = (
    "Inception weights not found: run `sair weights fetch inception`, or put "
    f"{entry('inception').files[0].name} into a folder and name it in SAIR_WEIGHTS"
)
SWITCHED_OFF = "switched off by `fid: false`"
TOO_FEW = f"fewer than {FEWEST} pictures"
BIASED = f"biased upwards: fewer than {ENOUGH:,} pictures"


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
    table = markdown_table(have, shape, {key: {} for key in shape.columns})
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
