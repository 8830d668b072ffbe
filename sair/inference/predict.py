"""Run a method on every row of the manifest, composite and round its predictions, and write them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from sair.common.images import write_png
from sair.common.progress import progress
from sair.data.manifest import IMAGE_COLUMNS, read_manifest, read_pair, read_table, shard_of
from sair.data.samples import to_pixels, to_tensor
from sair.inference.kinds import composite
from sair.inference.method import load


def predict(
    spec: dict[str, Any],
    manifest: str | Path,
    output: str | Path,
    *,
    weights: str | Path | None = None,
    device: str = "auto",
    batch: int = 8,
    shard: str | None = None,
) -> None:
    """Run a method on every row of a manifest.

    Args:
        spec: the method's specification; its parameters override those of its checkpoint
            (``sair.methods.loading.load``).
        manifest: manifest.csv of the dataset.
        output: folder for ``composited/<bucket>/<id>.png`` and ``raw/<bucket>/<id>.png``, the whole prediction.
        weights: checkpoint of a trained method, or of one whose specification names ``weights``.
        device: ``auto``, ``cpu`` or ``cuda``.
        batch: number of rows predicted at once; it affects only the last bits of a prediction.
        shard: a part of the manifest, such as ``2-of-8``; None: all of it.

    Raises:
        InputError: an altered image or mask, a method without its weights, or a prediction that is not finite or has
            the wrong size.
    """
    method = load(spec, weights, device=device)
    rows = read_manifest(manifest)
    if hasattr(method.network, "check_manifest"):
        method.network.check_manifest(rows)
    rows = shard_of(rows, shard)
    batch = getattr(method.network, "batch", batch)  # external programs are slow to start: they ask for larger batches
    folder, output = Path(manifest).parent, Path(output)
    captions = _captions(folder) if getattr(method.network, "uses_captions", False) else {}
    with progress(total=len(rows), desc=f"predict {method.spec['name']}", unit="image") as bar:
        for start in range(0, len(rows), batch):
            group = rows[start : start + batch]
            pairs = [read_pair(row, folder) for row in group]
            images = torch.stack([to_tensor(pair.ground_truth) for pair in pairs]).to(method.device)
            masks = torch.stack([torch.from_numpy(pair.hole).float()[None] for pair in pairs]).to(method.device)
            known = [captions[row.image] for row in group] if captions else []
            predictions = method.predict(images, masks, group, known)
            for row, pair, prediction in zip(group, pairs, predictions, strict=True):
                pixels = to_pixels(prediction)
                write_png(output / "raw" / row.prediction, pixels)
                write_png(output / "composited" / row.prediction, composite(pair.ground_truth, pixels, pair.hole))
            bar.update(len(group))


def _captions(folder: Path) -> dict[str, str]:
    """Return the caption of every image of a frozen dataset by its path; "" where the dataset has none."""
    table = read_table(folder / "images.csv", IMAGE_COLUMNS)
    return dict(zip(table.image, table.caption, strict=True))


def gather_predictions(shards: Sequence[str | Path], output: str | Path) -> None:
    """Put the predictions of all shards into one folder; the files are linked, not copied."""
    for shard in map(Path, shards):
        for path in shard.rglob("*.png"):
            target = Path(output) / path.relative_to(shard)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, target)
