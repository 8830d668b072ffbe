"""Segment images with text: does a dense map mean what it should, in the hole too (paper, section 5.3, Table 5)?"""

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
    checked_mask,
    checked_rgb,
    read_manifest,
    read_table,
)
from sair.data.samples import to_tensor
from sair.evaluation.metrics.miou import REGIONS, SEGMENTATION_COLUMNS, overlap
from sair.methods import loading
from sair.models.clip import CLIP
from sair.models.implicit import pixel_centres
from sair.models.inpainter import ImplicitInpainter


def classify(dense: Tensor, classes: Tensor, size: tuple[int, int]) -> Tensor:
    """The class of each pixel: (B, C, h, w) embeddings, (K, C) class embeddings -> (B, *size) int64.

    Cosines are upsampled (bilinear) before the argmax, as MaskCLIP does.
    """
    cosine = torch.einsum("bchw,kc->bkhw", F.normalize(dense, dim=1), classes)
    return F.interpolate(cosine, size, mode="bilinear", align_corners=False).argmax(1)


def completed_map(method: ImplicitInpainter, images: Tensor, masks: Tensor) -> Tensor:
    """What a method's semantic representation gives at every pixel of masked images.

    Args:
        images: (B, 3, H, W) in [0, 1]; what is under the hole is not looked at.
        masks: (B, 1, H, W), 1 = hole.

    Returns:
        (B, D, H, W)
    """
    height, width = images.shape[-2:]
    coords = pixel_centres(height, width, device=images.device)[None].expand(len(images), -1, -1)
    embeddings = method.encode(images, masks).embeddings
    return method.semantics_at(embeddings, coords).transpose(1, 2).unflatten(2, (height, width))


def load_clip(path: str | Path) -> CLIP:
    """Build a trained CLIP from its checkpoint.

    Raises:
        InputError: a checkpoint of something without words.
    """
    model = loading.load_encoder(path)
    if not isinstance(model, CLIP):
        raise InputError(f"{path}: a {type(model).__name__}, but only a CLIP finds classes by their names.")
    return model


def load_semantic_method(path: str | Path, clip: CLIP, source: str | Path) -> ImplicitInpainter:
    """Build a method whose embeddings can be compared with a CLIP's words.

    Raises:
        InputError: it has no semantics, or those of another encoder: both may have vectors of the same length.
    """
    method = loading.load(Path(path)).network
    if not isinstance(method, ImplicitInpainter) or method.semantic is None:
        raise InputError(f"{path}: a method without semantics; a table of segmentation needs one with `semantics`.")
    own, wanted = method.semantic.state_dict(), clip.dense.state_dict()
    if own.keys() != wanted.keys() or not all(torch.equal(own[name], wanted[name]) for name in own):
        raise InputError(
            f"{path}: its semantics are not those of {source}, so that this CLIP's words mean nothing to it. Compare "
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
            dense CLIP on complete and on masked images, ``completed`` for what ``method``'s SIR makes of the latter.
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
    rows, lines = read_manifest(manifest), []
    for row in progress(rows, total=len(rows), desc="segment", unit="image"):
        if row.image not in labels_of:
            raise InputError(f"{images}: {row.id} has no labels. Name a labelled dataset for this table in `tables`.")
        labelled = labels_of[row.image]
        labels = checked_labels(folder / labelled.labels, labelled.labels_sha256)
        hole = checked_mask(folder / row.mask, row.mask_sha256)
        image = to_tensor(checked_rgb(folder / row.image, row.image_sha256))[None].to(target)
        mask = torch.from_numpy(hole).float()[None, None].to(target)
        if sir is not None:
            maps = {"completed": completed_map(sir, image * (1 - mask), mask)}
        else:
            maps = {"complete": model.dense(image), "masked": model.dense(image, mask)}
        for features, dense in maps.items():
            found = classify(dense, text, labels.shape)[0].cpu().numpy()
            lines += _overlaps(features, row, labels, found, hole, model.classes)
    frame = pd.DataFrame(lines, columns=SEGMENTATION_COLUMNS)
    # A complete image is the same in every bucket: once is enough for the whole of it.
    twice = (frame.features == "complete") & (frame.region == "whole") & (frame.bucket != rows[0].bucket)
    write_csv(frame[~twice], output)


def _overlaps(
    features: str, row: ManifestRow, truth: np.ndarray, found: np.ndarray, hole: np.ndarray, classes: tuple[str, ...]
) -> Iterator[list[object]]:
    for region, inside in zip(REGIONS, (slice(None), hole), strict=True):
        both, either = overlap(truth[inside], found[inside], len(classes))
        for name, intersection, union in zip(classes, both, either, strict=True):
            if union:
                yield [features, row.bucket, row.cluster, row.id, region, name, intersection, union]
