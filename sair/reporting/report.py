"""Write one self-contained HTML page of all that was measured: tables, images to compare, claims, curves, maps.

The page is ``page/page.html`` with its style, one script in four files, and one JSON block of data in it. Nothing is
computed for it: the numbers are those of the tables, of claims.csv, of the scores and of the training logs; the images
are the ones that were scored, without loss. Parts that are not on disk are left out, and the page names the commands
that make them.
"""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
import math
import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from sair.common.errors import InputError
from sair.common.files import write_text
from sair.common.images import pixel_sha256, read_rgb
from sair.data.buckets import by_family
from sair.data.manifest import manifest_hash, read_manifest
from sair.evaluation.metrics.registry import METRICS
from sair.reporting import claims, markup
from sair.reporting.budgets import COUNTED
from sair.reporting.embedding import image_uri, json_number
from sair.reporting.figures import read_log, validations
from sair.reporting.gallery import KEPT, gallery
from sair.reporting.inputs import QUALITY, Files, ReportInputs, bucket_names, layout
from sair.reporting.measured import family_of
from sair.reporting.rows import read_frame
from sair.reporting.standings import CHANCES

SCRIPT = ("script.js", "gallery.js", "curves.js", "start.js")  # parts of one script, in this order
SEPARATOR = " "  # between bucket and metric in a key; no bucket has a space
WEBP = re.compile(r"data:image/webp;base64,([A-Za-z0-9+/=]+)")
FOLDER = re.compile(r'"results": "[^"]*"')

Specs = Mapping[str, Mapping[str, Any]]  # method -> specification


def write_report(inputs: ReportInputs, config: Mapping[str, Any], methods: Specs, output: str | Path) -> None:
    """Write the page.

    Args:
        inputs: the files that the page is made from.
        config: the whole config.
        methods: specifications of all methods.
        output: the HTML file.

    Raises:
        InputError: there is no table, or a file is not as the workflow writes it.
    """
    parts = {
        "tables": [_table(name, path, config, methods) for name, path in inputs.tables.items() if Path(path).is_file()],
        "claims": _claims(inputs.claims) if inputs.claims and Path(inputs.claims).is_file() else None,
        "curves": _curves(config, methods, inputs.logs),
        "maps": [
            {"seed": seed, "image": image_uri(read_rgb(path))}
            for seed, path in inputs.maps.items()
            if Path(path).is_file()
        ],
        "gallery": gallery(inputs, config, methods),
    }
    if not parts["tables"]:
        wanted = next(iter(inputs.tables.values()), config["results"])
        raise InputError(
            f"{wanted}: there is no table of this config, so there is nothing to report. Make one first, such as "
            f"`snakemake --cores all {Path(wanted).with_suffix('.md')}`."
        )
    data = {"about": _about(config, inputs), "missing": _missing(config, inputs, parts), **parts}
    write_text(output, _page(data))


def comparable(page: str) -> str:
    """Return a page's text with a hash in place of each image and without its folder's name.

    It stays the same if another encoder wrote the same pixels, and if the results were moved.
    """

    def digest(match: re.Match[str]) -> str:
        with Image.open(io.BytesIO(base64.b64decode(match[1]))) as image:
            return pixel_sha256(np.array(image))

    return WEBP.sub(digest, FOLDER.sub('"results": ""', page, count=1))


# --------------------------------------------------------------------------------------------------------------------
# The page


def _page(data: dict[str, Any]) -> str:
    script = "".join(map(_part, SCRIPT))
    return Template(_part("page.html")).substitute(
        title=html.escape(f"Image inpainting: {data['about']['dataset']}"),
        style=_part("style.css"),
        script=script,
        # The browser runs this script only, and fetches nothing.
        sha256=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        data=_json(data),
    )


def _part(name: str) -> str:
    return files("sair.reporting").joinpath(f"page/{name}").read_text(encoding="utf-8")


def _json(data: dict[str, Any]) -> str:
    """Return JSON that cannot end the script element around it, with one line per part to compare."""
    lines = (f"{json.dumps(key)}: {json.dumps(value, allow_nan=False)}" for key, value in data.items())
    return ("{\n" + ",\n".join(lines) + "\n}").replace("<", r"\u003c").replace("&", r"\u0026")


def _about(config: Mapping[str, Any], inputs: ReportInputs) -> dict[str, Any]:
    name = config["report"]["dataset"]
    embedded = config["datasets"][name]["source"] != "folder"
    found = Path(inputs.manifest).is_file()
    return {
        "dataset": name,
        "embedded": embedded,
        "as_published": not embedded and config["preset"] == "paper",
        "preset": config["preset"],
        "size": config["image_size"],
        "seeds": config["seeds"],
        "results": config["results"],
        "manifest": manifest_hash(inputs.manifest)[:12] if found else None,
        "masks": _masks(config, name),
        "images": len({row.id for row in read_manifest(inputs.manifest)}) if found else None,
        "metrics": {name: metric.facts() for name, metric in METRICS.items()},
    }


def _masks(config: Mapping[str, Any], dataset: str) -> str:
    """Return which masks each test image has, in a few words."""
    if by_family(config["masks"][config["datasets"][dataset]["masks"]]):
        return "one mask of every family"
    return "one mask of every size" if len(bucket_names(config, dataset)) > 1 else "one mask"


def _missing(config: Mapping[str, Any], inputs: ReportInputs, parts: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the parts that a complete page has and this one lacks, with the target in the results that makes each."""
    wanted = [(layout(config, name).title, path, ".md") for name, path in inputs.tables.items()]
    wanted += [("Claims", inputs.claims, ".md")] if inputs.claims else []
    wanted += [(f"Semantic maps of seed {seed}", path, ".png") for seed, path in inputs.maps.items()]
    missing = [
        {"part": part, "target": str(Path(path).with_suffix(ending).relative_to(config["results"]))}
        for part, path, ending in wanted
        if not Path(path).is_file()
    ]
    wished = sum(map(len, inputs.predictions.values()))
    if left := wished - len((parts["gallery"] or {"methods": []})["methods"]):
        part = f"{left} of {wished} methods, with their seeds, of the gallery"
        missing.append({"part": part, "target": "report.html"})
    return missing


# --------------------------------------------------------------------------------------------------------------------
# Tables, claims, curves


def _markdown(csv: str | Path) -> tuple[str, list[str]]:
    """Return title and notes of the Markdown page beside a CSV."""
    path = Path(csv).with_suffix(".md")
    if not path.is_file():
        raise InputError(f"{path}: no such file, but {csv} exists. Delete that and run again.")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        lines = []
    if not lines:
        raise InputError(f"{path}: is empty or no text. Delete it and run again.")
    return lines[0].removeprefix("# "), [line.removeprefix("- ") for line in lines if line.startswith("- ")]


def _decimals(metric: str) -> int:
    return METRICS[metric if metric in METRICS else family_of(metric)].decimals


def _table(name: str, path: str, config: Mapping[str, Any], methods: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return a table's title, notes, rows and cells from its CSV and its Markdown page."""
    frame = read_frame(path)
    shown = layout(config, name)
    title, notes = _markdown(path)
    rows = []
    for _, group in frame.groupby(["group", "label", "method"], sort=False):
        first = group.iloc[0]
        row = {key: str(first[key]) for key in ("method", "label", "group", "reason")}
        cost = {name: json_number(first[name]) for name in COUNTED if not math.isnan(first[name])}
        # A method that is not trained has samples of one set of weights in their place.
        trained = first.method not in methods or methods[first.method]["training"]
        row["unit"] = "seed" if trained else "sample"
        rows.append(row | cost | {"seeds": int(first.seeds), "cells": dict(map(_cell, group.itertuples()))})
    return {
        "name": name,
        "title": title,
        "notes": notes,
        "claim": shown.claims["title"] if shown.has_claims else None,
        "buckets": shown.buckets,
        "metrics": shown.metrics,
        "regions": ["", "_hole", "_raw"] if shown.measure == QUALITY else [],
        "rows": rows,
    }


def _cell(line: Any) -> tuple[str, dict[str, Any]]:
    """Return a cell with its key; its texts are the same as in the other formats."""
    cell: dict[str, Any] = {}
    if not math.isnan(line.mean):
        text = markup.number(line.mean, _decimals(line.metric), markup.MARKDOWN.infinity)
        cell |= {"value": json_number(line.mean), "text": text, "n": int(line.n), "clusters": int(line.clusters)}
    if not math.isnan(line.low):
        cell |= {"low": json_number(line.low), "high": json_number(line.high)}
    if not math.isnan(line.method_low):
        cell["method"] = [json_number(line.method_low), json_number(line.method_high)]
    if len(means := line.by_seed.split()) > 1:
        cell["seeds"] = [json_number(float(mean)) for mean in means]
    if not math.isnan(line.rank_low):
        cell["rank"] = [int(line.rank_low), int(line.rank_high)]
    if not math.isnan(line.chance_better):
        cell["chances"] = [json_number(getattr(line, name)) for name in CHANCES]
    if not math.isnan(line.paper):
        cell |= {"paper": json_number(line.paper), "claim": markup.paper_number(line.paper, line.metric)}
    if line.lead:
        cell["lead"] = line.lead
    return f"{line.bucket}{SEPARATOR}{line.metric}", cell


def _claims(path: str) -> dict[str, Any]:
    frame = claims.read_claims(path)
    _, notes = _markdown(path)
    rows = [
        {key: (json_number(value) if key in claims.NUMBERS else value) for key, value in line.items()}
        for line in frame.astype(object).to_dict("records")
    ]
    return {"notes": notes, "rows": rows}


def _curves(config: Mapping[str, Any], methods: Specs, logs: Files) -> list[dict[str, Any]]:
    """Return the curves of each method, a list of points per seed."""
    shown = config["figures"].get("training_curves", {}).get("methods", [])
    curves = []
    for method, paths in logs.items():
        read = [read_log(path) for path in paths if Path(path).is_file()]
        if read:
            loss = [_points(log.step, log.loss) for log in read]
            psnr = [_points(checked.step, checked.psnr) for checked in map(validations, read)]
            label = methods[method]["label"]
            curves.append({"label": label, "shown": method in shown, "loss": loss, "psnr": psnr})
    return curves


def _points(steps: pd.Series, values: pd.Series) -> list[list[Any]]:
    return [[int(step), json_number(value, KEPT)] for step, value in zip(steps, values, strict=True)]
