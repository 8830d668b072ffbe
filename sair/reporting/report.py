"""One self-contained HTML page of everything that was measured: tables, images to compare, claims, curves, maps.

The page is ``page/page.html`` with its style, its script and one JSON block of data in it. Nothing is computed for it:
the numbers are those of the tables, of claims.csv, of the scores and of the training logs; the images are the ones
that were scored, without loss. What is not on disk is left out, and the page says which command makes it.
"""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

from sair.common.errors import InputError
from sair.common.files import write_text
from sair.common.images import pixel_sha256, read_rgb
from sair.data.manifest import (
    IMAGE_COLUMNS,
    ManifestRow,
    checked_mask,
    checked_rgb,
    manifest_hash,
    read_manifest,
    read_table,
)
from sair.evaluation.checks import same_size
from sair.evaluation.metrics.psnr import PSNR_CAP
from sair.evaluation.metrics.registry import METRICS, WHOLE_COLUMNS
from sair.reporting import claims, markup
from sair.reporting.figures import read_log, validations
from sair.reporting.measured import ALL, family_of, read_scores
from sair.reporting.paper import all_claims
from sair.reporting.rows import competes, read_frame

INFINITY = "Infinity"  # JSON has no number for it
KEPT = 5  # decimals of a single image's score
SEPARATOR = " "  # between bucket and metric in a key; no bucket has a space
WEBP = re.compile(r"data:image/webp;base64,([A-Za-z0-9+/=]+)")
FOLDER = re.compile(r'"results": "[^"]*"')


class Sources(NamedTuple):
    """What a page can be made from: files by what they are of. Any of them may be missing, but not every table."""

    tables: Mapping[str, str]  # table -> its CSV; its Markdown lies beside it
    claims: str  # claims.csv; its Markdown lies beside it
    logs: Mapping[str, str]  # method -> train.csv
    maps: Sequence[str]  # figures of semantic maps
    images: str  # images.csv of the gallery's dataset
    manifest: str
    scores: Mapping[str, str]  # method -> scores.csv
    predictions: Mapping[str, str]  # method -> predictions folder


def write_report(
    config: Mapping[str, Any], methods: Mapping[str, dict[str, Any]], sources: Sources, output: str | Path
) -> None:
    """Write the page.

    Args:
        config: the whole config.
        methods: specifications of all methods.
        sources: what to make it from.
        output: the HTML file.

    Raises:
        InputError: no table is there; a file is not what the workflow writes.
    """
    parts = {
        "tables": [_table(name, path, config) for name, path in sources.tables.items() if Path(path).is_file()],
        "claims": _claims(sources.claims) if Path(sources.claims).is_file() else None,
        "curves": _curves(config, methods, sources.logs),
        "maps": [_image(read_rgb(path)) for path in sources.maps if Path(path).is_file()],
        "gallery": _gallery(config, methods, sources),
    }
    if not parts["tables"]:
        wanted = next(iter(sources.tables.values()), config["results"])
        raise InputError(
            f"{wanted}: no table of this config is there, so there is nothing to report. Make one first, such as "
            f"`snakemake --cores all {Path(wanted).with_suffix('.md')}`."
        )
    data = {"about": _about(config, sources), "missing": _missing(config, sources, parts), **parts}
    write_text(output, _page(data))


def comparable(page: str) -> str:
    """A page's text with a hash in the place of each image and without its folder's name.

    So it is the same where another encoder wrote the same pixels, and after the results were moved.
    """

    def digest(match: re.Match[str]) -> str:
        with Image.open(io.BytesIO(base64.b64decode(match[1]))) as image:
            return pixel_sha256(np.array(image))

    return WEBP.sub(digest, FOLDER.sub('"results": ""', page, count=1))


# --------------------------------------------------------------------------------------------------------------------
# The page


def _page(data: dict[str, Any]) -> str:
    page, style, script = (
        files("sair.reporting").joinpath(f"page/{name}").read_text(encoding="utf-8")
        for name in ("page.html", "style.css", "script.js")
    )
    return Template(page).substitute(
        title=html.escape(f"Image inpainting: {data['about']['dataset']}"),
        style=style,
        script=script,
        # The browser runs this script only, and fetches nothing.
        sha256=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        data=_json(data),
    )


def _json(data: dict[str, Any]) -> str:
    """JSON that cannot end the script element that it stands in, one line a part so that two pages can be compared."""
    lines = (f"{json.dumps(key)}: {json.dumps(value, allow_nan=False)}" for key, value in data.items())
    return ("{\n" + ",\n".join(lines) + "\n}").replace("<", r"\u003c").replace("&", r"\u0026")


def _number(value: float, decimals: int | None = None) -> float | str | None:
    if math.isnan(value):
        return None
    if math.isinf(value):
        return INFINITY
    return float(value) if decimals is None else round(float(value), decimals)


def _image(pixels: np.ndarray) -> str:
    """A data URI of uint8 (H, W, 3 or 4), without loss."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "WEBP", lossless=True, method=1, quality=60)  # others: slower, no smaller
    return f"data:image/webp;base64,{base64.b64encode(stream.getvalue()).decode()}"


def _about(config: Mapping[str, Any], sources: Sources) -> dict[str, Any]:
    name = config["report"]["dataset"]
    embedded = config["datasets"][name]["source"] != "folder"
    found = Path(sources.manifest).is_file()
    return {
        "dataset": name,
        "embedded": embedded,
        "as_published": not embedded and config["preset"] == "paper",
        "preset": config["preset"],
        "size": config["image_size"],
        "seeds": config["seeds"],
        "results": config["results"],
        "manifest": manifest_hash(sources.manifest)[:12] if found else None,
        "images": len({row.id for row in read_manifest(sources.manifest)}) if found else None,
        "metrics": {name: metric.facts() for name, metric in METRICS.items()},
    }


def _missing(config: Mapping[str, Any], sources: Sources, parts: Mapping[str, Any]) -> list[dict[str, str]]:
    """What a complete page has and this one has not, and the target in the results that makes it."""
    wanted = [(f"Table {name.removeprefix('table')}", path, ".md") for name, path in sources.tables.items()]
    wanted += [("Claims", sources.claims, ".md"), *(("Semantic maps", path, ".png") for path in sources.maps)]
    missing = [
        {"part": part, "target": str(Path(path).with_suffix(ending).relative_to(config["results"]))}
        for part, path, ending in wanted
        if not Path(path).is_file()
    ]
    shown = {method["name"] for method in (parts["gallery"] or {"methods": []})["methods"]}
    if left := len(sources.predictions.keys() - shown):
        part = f"{left} of {len(sources.predictions)} methods of the gallery"
        missing.append({"part": part, "target": "report.html"})
    return missing


# --------------------------------------------------------------------------------------------------------------------
# Tables, claims, curves


def _markdown(csv: str | Path) -> tuple[str, list[str]]:
    """Title and notes of the Markdown page that lies beside a CSV."""
    path = Path(csv).with_suffix(".md")
    if not path.is_file():
        raise InputError(f"{path}: is not there, though {csv} is. Delete that and run again.")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        lines = []
    if not lines:
        raise InputError(f"{path}: is empty or no text. Delete it and run again.")
    return lines[0].removeprefix("# "), [line.removeprefix("- ") for line in lines if line.startswith("- ")]


def _decimals(metric: str) -> int:
    return METRICS[metric if metric in METRICS else family_of(metric)].decimals


def _table(name: str, path: str, config: Mapping[str, Any]) -> dict[str, Any]:
    frame = read_frame(path)
    claims = all_claims()[config["tables"][name]["claims"]]
    title, notes = _markdown(path)
    segmentation = claims["measure"] == "segmentation"
    buckets = list(dict.fromkeys(frame.bucket))
    rows = []
    for _, group in frame.groupby(["group", "label", "method"], sort=False):
        first = group.iloc[0]
        row = {key: str(first[key]) for key in ("method", "label", "group", "reason")}
        rows.append(row | {"seeds": int(first.seeds), "cells": dict(map(_cell, group.itertuples()))})
    return {
        "name": name,
        "title": title,
        "notes": notes,
        "claim": claims["title"],
        "buckets": [ALL, *(b for b in buckets if b != ALL)] if segmentation else claims["buckets"],
        "metrics": list(dict.fromkeys(frame.metric)) if segmentation else claims["metrics"],
        "regions": [] if segmentation else ["", "_hole", "_raw"],
        "rows": rows,
    }


def _cell(line: Any) -> tuple[str, dict[str, Any]]:
    """A cell by its key; texts are the ones that the other formats print."""
    cell: dict[str, Any] = {}
    if not math.isnan(line.mean):
        text = markup.number(line.mean, _decimals(line.metric), markup.MARKDOWN.infinity)
        cell |= {"value": _number(line.mean), "text": text, "n": int(line.n), "clusters": int(line.clusters)}
    if not math.isnan(line.low):
        cell |= {"low": _number(line.low), "high": _number(line.high)}
    if not math.isnan(line.paper):
        cell |= {"paper": _number(line.paper), "claim": markup.paper_number(line.paper, line.metric)}
    if line.lead:
        cell["lead"] = line.lead
    return f"{line.bucket}{SEPARATOR}{line.metric}", cell


def _claims(path: str) -> dict[str, Any]:
    frame = claims.read_orderings(path)
    _, notes = _markdown(path)
    rows = [
        {key: (_number(value) if key in claims.NUMBERS else value) for key, value in line.items()}
        for line in frame.astype(object).to_dict("records")
    ]
    return {"notes": notes, "rows": rows}


def _curves(
    config: Mapping[str, Any], methods: Mapping[str, dict[str, Any]], logs: Mapping[str, str]
) -> list[dict[str, Any]]:
    shown = config["figures"].get("training_curves", {}).get("methods", [])
    curves = []
    for method, path in logs.items():
        if not Path(path).is_file():
            continue
        log = read_log(path)
        checked = validations(log)
        curves.append(
            {
                "label": methods[method]["label"],
                "shown": method in shown,
                "loss": [[int(step), _number(loss, KEPT)] for step, loss in zip(log.step, log.loss, strict=True)],
                "psnr": [[int(step), _number(p, KEPT)] for step, p in zip(checked.step, checked.psnr, strict=True)],
            }
        )
    return curves


# --------------------------------------------------------------------------------------------------------------------
# The gallery


def _gallery(
    config: Mapping[str, Any], methods: Mapping[str, dict[str, Any]], sources: Sources
) -> dict[str, Any] | None:
    """Scores of every test image, and some of the images; None where no method has both."""
    names = [
        name
        for name, path in sources.predictions.items()
        if Path(path).is_dir() and Path(sources.scores[name]).is_file() and Path(sources.manifest).is_file()
    ]
    if not names:
        return None
    rows = read_manifest(sources.manifest)
    scores = {name: _scores(sources.scores[name], rows) for name in names}
    competing = [name for name in names if competes(methods[name])]
    order = list(dict.fromkeys(row.id for row in rows))
    buckets = list(dict.fromkeys(row.bucket for row in rows))
    ratios = {bucket: [_ratio(row) for row in rows if row.bucket == bucket] for bucket in buckets}
    chosen = choose(rows, [scores[name].psnr.to_numpy() for name in competing or names], _room(config, rows, names))
    captions = read_table(sources.images, IMAGE_COLUMNS).set_index("image").caption
    images = []
    for name in sorted(chosen, key=order.index):
        own = [row for row in rows if row.id == name]
        folder = Path(sources.manifest).parent
        truth = checked_rgb(folder / own[0].image, own[0].image_sha256)
        holes = {row.bucket: _holes(row, folder, {m: sources.predictions[m] for m in names}) for row in own}
        images.append({"id": name, "caption": str(captions[own[0].image]), "truth": _image(truth), "holes": holes})
    return {
        "methods": [
            {"name": name, "label": methods[name]["label"], "control": name not in competing} for name in names
        ],
        "seed": config["seeds"][0],
        "buckets": buckets,
        "ids": order,
        "ratios": ratios,
        "scores": {
            name: {
                bucket: {
                    metric: [_number(value, KEPT) for value in frame.loc[frame.bucket == bucket, metric]]
                    for metric in WHOLE_COLUMNS
                }
                for bucket in buckets
            }
            for name, frame in scores.items()
        },
        "images": images,
    }


def _ratio(row: ManifestRow) -> float:
    return round(100 * row.hole_pixels / row.pixels, 1)


def _scores(path: str, rows: Sequence[ManifestRow]) -> pd.DataFrame:
    frame = read_scores(path, WHOLE_COLUMNS)
    if list(zip(frame.bucket, frame.id, strict=True)) != [(row.bucket, row.id) for row in rows]:
        raise InputError(f"{path}: its rows are not the manifest's. Delete it and run again.")
    return frame


def _room(config: Mapping[str, Any], rows: Sequence[ManifestRow], names: Sequence[str]) -> int:
    """How many images the page shows: as many as the config says, or as have room."""
    count = len({row.id for row in rows})
    holes = 3 * sum(row.hole_pixels for row in rows) * len(names)
    wholes = 3 * sum(row.pixels for row in rows) * count // len(rows)
    fitting = int(config["report"]["megabytes"] * 1e6 * count / (holes + wholes))
    return max(1, min(config["report"]["images"], count, fitting))


def choose(rows: Sequence[ManifestRow], scores: Sequence[np.ndarray], count: int) -> list[str]:
    """Images to show: half are those on which methods differ most, the others are spread evenly over the rest.

    Args:
        rows: the manifest.
        scores: one array of scores a method, in the manifest's order.
        count: images wanted, at most as many as there are.
    """
    capped = np.minimum(np.stack(scores), PSNR_CAP)  # a hole of few pixels may be filled without an error
    spread = pd.Series(capped.std(0), [row.id for row in rows]).groupby(level=0, sort=False).mean()
    most = list(spread.sort_values(ascending=False, kind="stable").index[: -(-count // 2)])
    rest = [name for name in spread.index if name not in most]
    others = count - len(most)
    return most + [rest[(2 * k + 1) * len(rest) // (2 * others)] for k in range(others)]


def _holes(row: ManifestRow, folder: Path, predictions: Mapping[str, str]) -> dict[str, Any]:
    """The hole and what each method put there; all else is transparent, and the truth shows through."""
    hole = checked_mask(folder / row.mask, row.mask_sha256)
    alpha = hole.astype(np.uint8)[..., None] * np.uint8(255)

    def cut(pixels: np.ndarray) -> str:
        return _image(np.concatenate([np.where(hole[..., None], pixels, np.uint8(0)), alpha], 2))

    images = {}
    for name, path in predictions.items():
        file = Path(path) / "composited" / row.prediction
        images[name] = read_rgb(file)
        same_size(file, images[name], folder / row.image, hole, "delete the folder of predictions and run again")
    return {"hole": cut(np.repeat(alpha, 3, 2)), "of": {name: cut(pixels) for name, pixels in images.items()}}
