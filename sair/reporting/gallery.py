"""Make the report's gallery: scores of every test image, and some images with each method's prediction in the hole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from sair.common.errors import InputError
from sair.common.images import read_rgb
from sair.data.manifest import FrozenPair, ManifestRow, read_captions, read_manifest, read_pair
from sair.evaluation.checks import same_size
from sair.evaluation.metrics.of_images import WHOLE_COLUMNS
from sair.evaluation.metrics.psnr import PSNR_CAP
from sair.reporting.embedding import image_uri, json_number
from sair.reporting.inputs import ReportInputs
from sair.reporting.measured import read_scores
from sair.reporting.rows import competes

KEPT = 5  # decimals of a single image's score


def gallery(
    inputs: ReportInputs, config: Mapping[str, Any], methods: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any] | None:
    """Return the scores of every test image, and some of the images; None if no method has both.

    Args:
        inputs: the files of the report.
        config: the whole config.
        methods: specifications of all methods.

    Raises:
        InputError: a file is damaged; scores or predictions are not those of the manifest.
    """
    found = {entry.name: entry for entry in _entries(inputs, methods)} if Path(inputs.manifest).is_file() else {}
    if not found:
        return None
    rows = read_manifest(inputs.manifest)
    names = list(found)
    scores = {name: _scores(entry.scores, rows) for name, entry in found.items()}
    competing = [name for name in names if competes(methods[found[name].method])]
    firsts = {found[name].method: name for name in reversed(competing or names)}.values()  # one training of each method
    order = list(dict.fromkeys(row.id for row in rows))
    buckets = list(dict.fromkeys(row.bucket for row in rows))
    chosen = choose(rows, [scores[name].psnr.to_numpy() for name in firsts], _room(config, rows, names))
    return {
        "methods": [
            {
                "name": name,
                "label": entry.label,
                "method": entry.method,
                "group": methods[entry.method]["label"],
                "control": name not in competing,
            }
            for name, entry in found.items()
        ],
        "seed": config["seeds"][0] if any(methods[entry.method]["training"] for entry in found.values()) else None,
        "buckets": buckets,
        "ids": order,
        "ratios": {bucket: [_ratio(row) for row in rows if row.bucket == bucket] for bucket in buckets},
        "scores": {
            name: {
                bucket: {
                    metric: [json_number(value, KEPT) for value in frame.loc[frame.bucket == bucket, metric]]
                    for metric in WHOLE_COLUMNS
                }
                for bucket in buckets
            }
            for name, frame in scores.items()
        },
        "images": list(_images(sorted(chosen, key=order.index), rows, inputs, found)),
    }


class _Entry(NamedTuple):
    """The images of one training of a method, or of one of its samples.

    name: unique; of the first seed it is the method's.
    method: its name.
    label: printed; names the seed if there are several.
    scores, predictions: file and folder.
    """

    name: str
    method: str
    label: str
    scores: str
    predictions: str


def _entries(inputs: ReportInputs, methods: Mapping[str, Mapping[str, Any]]) -> Iterator[_Entry]:
    """Yield what has both scores and images, by method and seed."""
    for method, folders in inputs.predictions.items():
        label, kind = methods[method]["label"], "seed" if methods[method]["training"] else "sample"
        for number, (scores, folder) in enumerate(zip(inputs.scores[method], folders, strict=True)):
            seed = Path(folder).parent.name.removeprefix("seed")
            if Path(folder).is_dir() and Path(scores).is_file():
                yield _Entry(
                    f"{method}/{kind}{seed}" if number else method,
                    method,
                    f"{label}, {kind} {seed}" if len(folders) > 1 else label,
                    scores,
                    folder,
                )


def _images(
    chosen: Sequence[str], rows: Sequence[ManifestRow], inputs: ReportInputs, entries: Mapping[str, _Entry]
) -> Iterator[dict[str, Any]]:
    """Yield the chosen images: caption, ground truth, and each method's predictions in the holes."""
    captions = read_captions(inputs.images)
    folder = Path(inputs.manifest).parent
    predictions = {name: entry.predictions for name, entry in entries.items()}
    for name in chosen:
        own = {row.bucket: (row, read_pair(row, folder)) for row in rows if row.id == name}
        first, pair = next(iter(own.values()))
        yield {
            "id": name,
            "caption": captions[first.image],
            "truth": image_uri(pair.ground_truth),
            "holes": {bucket: _holes(row, frozen, folder, predictions) for bucket, (row, frozen) in own.items()},
        }


def _ratio(row: ManifestRow) -> float:
    """Return the share of hole pixels in percent."""
    return round(100 * row.hole_pixels / row.pixels, 1)


def _scores(path: str, rows: Sequence[ManifestRow]) -> pd.DataFrame:
    """Read a method's scores, which must be of the manifest's rows, in order."""
    frame = read_scores(path, WHOLE_COLUMNS)
    if list(zip(frame.bucket, frame.id, strict=True)) != [(row.bucket, row.id) for row in rows]:
        raise InputError(f"{path}: its rows are not the manifest's. Delete it and run again.")
    return frame


def _room(config: Mapping[str, Any], rows: Sequence[ManifestRow], names: Sequence[str]) -> int:
    """Return how many images the page shows: as many as the config asks for, or fewer if they would be too large."""
    count = len({row.id for row in rows})
    holes = 3 * sum(row.hole_pixels for row in rows) * len(names)
    wholes = 3 * sum(row.pixels for row in rows) * count // len(rows)
    fitting = int(config["report"]["megabytes"] * 1e6 * count / (holes + wholes))
    return max(1, min(config["report"]["images"], count, fitting))


def choose(rows: Sequence[ManifestRow], scores: Sequence[np.ndarray], count: int) -> list[str]:
    """Return the images to show: half are those on which methods differ most, the others are spread over the rest.

    Args:
        rows: the manifest.
        scores: one array of scores per method, in the manifest's order.
        count: number of images, at most as many as there are.
    """
    capped = np.minimum(np.stack(scores), PSNR_CAP)  # a hole of few pixels may be filled without an error
    spread = pd.Series(capped.std(0), [row.id for row in rows]).groupby(level=0, sort=False).mean()
    most = list(spread.sort_values(ascending=False, kind="stable").index[: -(-count // 2)])
    rest = [name for name in spread.index if name not in most]
    others = count - len(most)
    return most + [rest[(2 * k + 1) * len(rest) // (2 * others)] for k in range(others)]


def _holes(row: ManifestRow, pair: FrozenPair, folder: Path, predictions: Mapping[str, str]) -> dict[str, Any]:
    """Return the hole and each method's prediction in it; other pixels are transparent and show the ground truth."""
    alpha = pair.hole.astype(np.uint8)[..., None] * np.uint8(255)

    def cut(pixels: np.ndarray) -> str:
        return image_uri(np.concatenate([np.where(pair.hole[..., None], pixels, np.uint8(0)), alpha], 2))

    images = {}
    for name, path in predictions.items():
        file = Path(path) / "composited" / row.prediction
        images[name] = read_rgb(file)
        same_size(file, images[name], folder / row.image, pair.hole, "delete the folder of predictions and run again")
    return {"hole": cut(np.repeat(alpha, 3, 2)), "of": {name: cut(pixels) for name, pixels in images.items()}}
