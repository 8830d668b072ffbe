"""Draw semantic maps of masked images before and after SIR, in colour (the paper's Fig. 5, left)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sair.common.errors import InputError
from sair.common.images import write_png
from sair.data.buckets import holes
from sair.data.manifest import IMAGE_COLUMNS, checked_labels, read_manifest, read_pair, read_table
from sair.data.samples import to_pixels, to_tensor
from sair.inference.segmentation import classify, completed_map, load_clip, load_semantic_method
from sair.reporting.figures import HOLE_COLOUR, draw_grid


@torch.no_grad()
def semantic_maps(
    clip: str | Path,
    methods: Mapping[str, str | Path],
    images: str | Path,
    manifest: str | Path,
    output: str | Path,
    *,
    count: int,
) -> None:
    """Draw dense maps twice per image: as PCA colours, and as the classes whose texts are nearest.

    Args:
        clip: checkpoint of a ``CLIP`` with class names.
        methods: column title -> checkpoint of a method with SIR.
        images, manifest: images.csv and manifest.csv of a dataset with labels.
        output: PNG to write.
        count: number of images to draw, spread evenly over the test, each under its mask of the last bucket.

    The three PCA directions are those of the complete images' maps and are shared by all columns, so that equal
    colours are equal embeddings.
    """
    model = load_clip(clip)
    text = model.class_embeddings()
    sirs = {title: load_semantic_method(path, model, clip) for title, path in methods.items()}
    rows = read_manifest(manifest)
    rows = [row for row in rows if row.bucket == rows[-1].bucket]
    rows = [rows[(2 * n + 1) * len(rows) // (2 * count)] for n in range(count)]
    table = read_table(images, IMAGE_COLUMNS).set_index("image")
    folder = Path(manifest).parent
    drawn = []
    for row in rows:
        truth, hole = read_pair(row, folder)
        if not table.labels[row.image]:
            raise InputError(f"{images}: {row.id} has no labels, which `figures.semantic_maps` compares with.")
        labels = checked_labels(folder / table.labels[row.image], table.labels_sha256[row.image])
        image, mask = to_tensor(truth)[None], torch.from_numpy(hole).float()[None, None]
        maps = {"Complete": model.dense(image), "CLIP, masked": model.dense(image, mask)}
        maps |= {title: completed_map(sir, image * (1 - mask), mask) for title, sir in sirs.items()}
        drawn.append((truth, hole, labels, {title: F.normalize(m, dim=1)[0] for title, m in maps.items()}))
    basis = _principal_axes([maps["Complete"] for *_, maps in drawn])
    titles = ["Masked input", *drawn[0][-1], "Ground truth"]
    lines, names = [], []
    for row, (truth, hole, labels, maps) in zip(rows, drawn, strict=True):
        masked = np.where(hole[..., None], HOLE_COLOUR, truth)
        colours = [(_pca_colours(dense, basis, truth.shape[:2]), "") for dense in maps.values()]
        lines.append([(masked, holes(row.bucket)), *colours, (truth, "")])
        found = [classify(dense[None], text, labels.shape)[0].numpy() for dense in maps.values()]
        shares = [f"{100 * (classes == labels).mean():.0f} % of pixels right" for classes in found]
        classes = [(_class_colours(c), share) for c, share in zip(found, shares, strict=True)]
        lines.append([(masked, ""), *classes, (_class_colours(labels), "")])
        names += ["PCA", "classes"]
    write_png(output, draw_grid(titles, names, lines))


def _principal_axes(maps: list[Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return mean and first three axes of all vectors of some (C, h, w) maps, and the ranges along them."""
    vectors = torch.cat([dense.flatten(1).T for dense in maps])
    mean = vectors.mean(0)
    _, _, axes = torch.linalg.svd(vectors - mean, full_matrices=False)
    # A singular vector's sign is arbitrary. Fix it, so that a redrawn figure has the same colours.
    axes = axes[:3] * axes[:3].sum(1, keepdim=True).sign()
    projected = (vectors - mean) @ axes.T
    return mean, axes, projected.quantile(0.02, dim=0), projected.quantile(0.98, dim=0)


def _pca_colours(dense: Tensor, basis: tuple[Tensor, Tensor, Tensor, Tensor], size: tuple[int, int]) -> np.ndarray:
    mean, axes, low, high = basis
    values = (dense.flatten(1).T - mean) @ axes.T
    values = ((values - low) / (high - low)).clamp(0, 1).T.unflatten(1, dense.shape[1:])
    values = F.interpolate(values[None], size, mode="nearest-exact")[0]
    return to_pixels(values)


def _class_colours(labels: np.ndarray) -> np.ndarray:
    palette = matplotlib.colormaps["tab20"](np.arange(20))[:, :3]
    return (palette[labels.astype(int) % len(palette)] * 255).round().astype(np.uint8)
