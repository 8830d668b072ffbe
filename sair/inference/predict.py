"""From a method to images on disk: every row of the manifest, composited and rounded in one place."""

from __future__ import annotations

import inspect
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sair.common import runtime
from sair.common.errors import InputError
from sair.common.images import write_png
from sair.common.progress import progress
from sair.data.manifest import ManifestRow, checked_mask, checked_rgb, read_manifest, shard_of
from sair.data.samples import to_tensor
from sair.methods import loading
from sair.methods.build import Inpainter


def to_pixels(image: Tensor) -> np.ndarray:
    """(3, H, W) in [0, 1] -> uint8 (H, W, 3), rounded to nearest, not truncated."""
    return (image.float().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()


def composite(truth: np.ndarray, prediction: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Known pixels of ``truth`` and hole pixels of ``prediction``, both uint8 (H, W, 3); ``hole`` is bool (H, W).

    In 8 bits, because a float round trip would change known pixels.
    """
    return np.where(hole[..., None], prediction, truth)


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
        spec: the method's specification; its parameters go over those of its checkpoint
            (``sair.methods.loading.load``).
        manifest: manifest.csv of the dataset.
        output: folder for ``composited/<bucket>/<id>.png`` and ``raw/<bucket>/<id>.png``, the full prediction.
        weights: checkpoint of a trained method, or of one whose specification names ``weights``.
        device: ``auto``, ``cpu`` or ``cuda``.
        batch: rows predicted at once; it changes no result beyond the last bits.
        shard: ``2-of-8`` for that part of the manifest alone.

    Raises:
        InputError: an altered image or mask, a method without its weights, or a prediction that is not finite or has
            the wrong size.
    """
    method, spec, _ = loading.load(spec, weights)
    target = runtime.device(device)
    if isinstance(method, torch.nn.Module):
        method.to(target)
    rows = read_manifest(manifest)
    if hasattr(method, "check_manifest"):
        method.check_manifest(rows)
    rows = shard_of(rows, shard)
    batch = getattr(method, "batch", batch)  # a program that takes long to start wants many at once
    folder, output = Path(manifest).parent, Path(output)
    with progress(total=len(rows), desc=f"predict {spec['name']}", unit="image") as bar:
        for start in range(0, len(rows), batch):
            group = rows[start : start + batch]
            truths = [checked_rgb(folder / row.image, row.image_sha256) for row in group]
            holes = [checked_mask(folder / row.mask, row.mask_sha256) for row in group]
            images = torch.stack([to_tensor(truth) for truth in truths]).to(target)
            masks = torch.stack([torch.from_numpy(hole).float()[None] for hole in holes]).to(target)
            predictions = run(method, images, masks, spec, group)
            for row, truth, hole, prediction in zip(group, truths, holes, predictions, strict=True):
                pixels = to_pixels(prediction)
                write_png(output / "raw" / row.prediction, pixels)
                write_png(output / "composited" / row.prediction, composite(truth, pixels, hole))
            bar.update(len(group))


def gather(shards: Sequence[str | Path], output: str | Path) -> None:
    """Put the predictions of all shards into one folder; the files are linked, not copied."""
    for shard in map(Path, shards):
        for path in shard.rglob("*.png"):
            target = Path(output) / path.relative_to(shard)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, target)


@torch.no_grad()
def run(
    method: Inpainter, images: Tensor, masks: Tensor, spec: dict[str, Any], rows: Sequence[ManifestRow] = ()
) -> Tensor:
    """Fill a batch of holes and check what comes back.

    Args:
        method: anything that fills holes. It sees the hole emptied, unless its specification ``sees_truth``.
        images: complete images, (B, 3, H, W) in [0, 1].
        masks: (B, 1, H, W), 1 = hole.
        spec: the method's specification.
        rows: the manifest's rows, named in errors.

    Raises:
        InputError: a prediction of another size, or one that is not finite.
    """
    seen = images if spec["sees_truth"] else images * (1 - masks)
    by_row = {"rows": rows} if "rows" in inspect.signature(method.inpaint).parameters else {}
    predictions = method.inpaint(seen, masks, **by_row)
    name = spec["name"]
    if predictions.shape != images.shape:
        raise InputError(
            f"method {name} returned {tuple(predictions.shape)} for images of {tuple(images.shape)}. A prediction "
            "must have its image's size; see docs/add-a-method.md."
        )
    bad = (~torch.isfinite(predictions)).flatten(1).any(1).nonzero()[:, 0].tolist()
    if bad:
        which = ", ".join(f"{rows[i].bucket}/{rows[i].id}" for i in bad) if rows else f"number {bad}"
        raise InputError(
            f"method {name} predicted values that are not finite for {which}. Its training may have failed."
        )
    return predictions
