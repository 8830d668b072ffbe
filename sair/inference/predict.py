"""Run a method on every row of the manifest, composite and round its predictions, and write them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from sair.common import runtime
from sair.common.images import write_png
from sair.common.progress import progress
from sair.data.manifest import read_captions, read_manifest, read_pair, shard_of
from sair.data.samples import to_pixels, to_tensor
from sair.inference.kinds import composite
from sair.inference.method import load
from sair.methods.checkpoint import weights_of


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
    captions = read_captions(folder / "images.csv") if getattr(method.network, "uses_captions", False) else {}
    clock = _Clock(method.device)
    with progress(total=len(rows), desc=f"predict {method.spec['name']}", unit="image") as bar:
        for start in range(0, len(rows), batch):
            group = rows[start : start + batch]
            pairs = [read_pair(row, folder) for row in group]
            images = torch.stack([to_tensor(pair.ground_truth) for pair in pairs]).to(method.device)
            masks = torch.stack([torch.from_numpy(pair.hole).float()[None] for pair in pairs]).to(method.device)
            known = [captions[row.image] for row in group] if captions else []
            with clock.batch(len(group)):
                predictions = method.predict(images, masks, group, known)
            for row, pair, prediction in zip(group, pairs, predictions, strict=True):
                pixels = to_pixels(prediction)
                write_png(output / "raw" / row.prediction, pixels)
                write_png(output / "composited" / row.prediction, composite(pair.ground_truth, pixels, pair.hole))
            bar.update(len(group))
    runtime.adopt({"prediction": {**clock.costs(), "parameters": parameter_count(method.network)}})


def parameter_count(network: Any) -> int | None:
    """Return the number of weights that a method needs to fill holes; 0 without a network, None if it is unknown.

    A class whose weights are not those of a torch module has a method ``parameter_count``.
    """
    if hasattr(network, "parameter_count"):
        return network.parameter_count()
    return sum(weight.numel() for weight in weights_of(network).values())


class _Clock:
    """Measures the time per image of batches, with the work of a GPU."""

    def __init__(self, device: torch.device) -> None:
        self._gpu, self._batches = device.type == "cuda", list[tuple[int, float]]()

    @contextmanager
    def batch(self, count: int) -> Iterator[None]:
        """Measure the body, which fills ``count`` images."""
        start = self._now()
        yield
        self._batches.append((count, self._now() - start))

    def costs(self) -> dict[str, Any]:
        """Return the number of images, and the mean seconds per image without the first batch if there are others."""
        counted = self._batches[1:] or self._batches  # the first batch also allocates memory and chooses kernels
        images = sum(count for count, _ in counted)
        seconds = sum(taken for _, taken in counted) / images if images else None
        return {"images": sum(count for count, _ in self._batches), "seconds_per_image": seconds}

    def _now(self) -> float:
        if self._gpu:
            torch.cuda.synchronize()
        return time.perf_counter()


def gather_predictions(shards: Sequence[str | Path], output: str | Path) -> None:
    """Put the predictions of all shards into one folder; the files are linked, not copied."""
    for shard in map(Path, shards):
        for path in shard.rglob("*.png"):
            target = Path(output) / path.relative_to(shard)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, target)
