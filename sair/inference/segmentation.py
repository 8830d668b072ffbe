"""Segment images with text, to measure how well dense maps agree with labels, in the hole too (paper, Table 5)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from sair.common import runtime
from sair.common.errors import InputError
from sair.common.files import write_csv
from sair.common.progress import progress
from sair.data.manifest import (
    IMAGE_COLUMNS,
    ManifestRow,
    checked_labels,
    read_manifest,
    read_pair,
    read_table,
)
from sair.data.samples import to_tensor
from sair.evaluation.metrics.miou import REGIONS, SEGMENTATION_COLUMNS, overlap
from sair.methods import loading
from sair.models.clip import CLIP
from sair.models.implicit import pixel_centres
from sair.models.inpainter import ImplicitInpainter


def classify(dense: Tensor, classes: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the class of each pixel. Cosines are upsampled (bilinear) before the argmax, as MaskCLIP does.

    Args:
        dense: embeddings, (B, C, h, w).
        classes: embeddings of the classes, (K, C), unit length.
        size: height and width of the result.

    Returns:
        (B, *size) int64
    """
    cosine = torch.einsum("bchw,kc->bkhw", F.normalize(dense, dim=1), classes)
    return F.interpolate(cosine, size, mode="bilinear", align_corners=False).argmax(1)


def completed_map(method: ImplicitInpainter, images: Tensor, masks: Tensor) -> Tensor:
    """Return the embeddings that a method's semantic representation gives at every pixel of masked images.

    Args:
        method: a method with ``semantics``.
        images: (B, 3, H, W) in [0, 1]; pixels under the hole are ignored.
        masks: (B, 1, H, W), 1 = hole.

    Returns:
        (B, D, H, W)
    """
    height, width = images.shape[-2:]
    coords = pixel_centres(height, width, device=images.device)[None].expand(len(images), -1, -1)
    embeddings = method.encode(images, masks).embeddings
    assert embeddings is not None, "a method without semantics"
    return method.semantics_at(embeddings, coords).transpose(1, 2).unflatten(2, (height, width))


def load_clip(path: str | Path) -> CLIP:
    """Build a trained CLIP from its checkpoint.

    Raises:
        InputError: a checkpoint of another class.
    """
    model = loading.load_encoder(path)
    if not isinstance(model, CLIP):
        raise InputError(
            f"{path}: a {type(model).__name__}, but only a CLIP finds classes by their names. Name a CLIP's checkpoint."
        )
    return model


def load_semantic_method(path: str | Path, clip: CLIP, source: str | Path) -> ImplicitInpainter:
    """Build a method whose embeddings can be compared with a CLIP's class names.

    Args:
        path: the method's checkpoint.
        clip: the CLIP.
        source: the CLIP's checkpoint, for errors.

    Raises:
        InputError: it has no semantics, or those of another encoder (whose vectors may have the same length).
    """
    method = loading.load(Path(path)).network
    if not isinstance(method, ImplicitInpainter) or method.semantic is None:
        raise InputError(f"{path}: a method without semantics; a table of segmentation needs one with `semantics`.")
    own, wanted = method.semantic.state_dict(), clip.dense.state_dict()
    same = torch.Tensor.is_same_size if method.train_semantic else torch.equal  # trained with the method, it has moved
    if own.keys() != wanted.keys() or not all(same(own[name], wanted[name]) for name in own):
        raise InputError(
            f"{path}: its semantics are not those of {source}, so they cannot be compared with this CLIP's text. Use "
            "methods with `semantics: clip`, trained with this CLIP."
        )
    return method


@torch.no_grad()
def segment(
    clip: str | Path,
    images: str | Path,
    manifest: str | Path,
    output: str | Path,
    *,
    method: str | Path | None = None,
    device: str = "auto",
) -> None:
    """Segment the test images by the class names; write every image's overlap with the true labels.

    Args:
        clip: checkpoint of a ``CLIP`` with class names.
        images: images.csv of a dataset with labels.
        manifest: its manifest.csv.
        output: CSV with the columns of ``SEGMENTATION_COLUMNS``. ``features`` is ``complete`` and ``masked`` for the
            dense CLIP on complete and on masked images, ``completed`` for the latter after ``method``'s SIR.
        method: checkpoint of a method with SIR; None segments with CLIP alone.
        device: ``auto``, ``cpu`` or ``cuda``.

    Raises:
        InputError: images without labels, or a method whose semantics are not this CLIP's.
    """
    model = load_clip(clip)
    sir = None if method is None else load_semantic_method(method, model, clip)
    target = runtime.device(device)
    model.to(target)
    text = model.class_embeddings()
    if sir is not None:
        sir.to(target)
    folder = Path(images).parent
    table = read_table(images, IMAGE_COLUMNS)
    labels_of = {row.image: row for row in table[table.labels != ""].itertuples()}
    rows = read_manifest(manifest)
    lines: list[list[object]] = []
    for row in progress(rows, total=len(rows), desc="segment", unit="image"):
        if row.image not in labels_of:
            raise InputError(f"{images}: {row.id} has no labels. Name a labelled dataset for this table in `tables`.")
        labelled = labels_of[row.image]
        labels = checked_labels(folder / labelled.labels, labelled.labels_sha256)
        pair = read_pair(row, folder)
        image = to_tensor(pair.ground_truth)[None].to(target)
        mask = torch.from_numpy(pair.hole).float()[None, None].to(target)
        if sir is not None:
            maps = {"completed": completed_map(sir, image * (1 - mask), mask)}
        else:
            maps = {"complete": model.dense(image), "masked": model.dense(image, mask)}
        for features, dense in maps.items():
            found = classify(dense, text, labels.shape)[0].cpu().numpy()
            lines += _overlaps(features, row, labels, found, pair.hole, model.classes)
    frame = pd.DataFrame(lines, columns=SEGMENTATION_COLUMNS)
    # A complete image is the same in every bucket, so keep its whole region only once.
    twice = (frame.features == "complete") & (frame.region == "whole") & (frame.bucket != rows[0].bucket)
    write_csv(frame[~twice], output)


def _overlaps(
    features: str, row: ManifestRow, labels: np.ndarray, found: np.ndarray, hole: np.ndarray, classes: tuple[str, ...]
) -> Iterator[list[object]]:
    """Yield the lines of one image: for each region, the overlap of each class that occurs."""
    for region, inside in zip(REGIONS, (np.ones_like(hole), hole), strict=True):
        both, either = overlap(labels[inside], found[inside], len(classes))
        for name, intersection, union in zip(classes, both, either, strict=True):
            if union:
                yield [features, row.bucket, row.cluster, row.id, region, name, intersection, union]
