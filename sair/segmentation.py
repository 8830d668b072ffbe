"""Segment pictures with text: the check that a dense CLIP map means what it should (paper, Table 5)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from sair import runtime
from sair.data.manifest import PICTURE_COLUMNS, checked_labels, checked_rgb, read_table, write_csv
from sair.data.samples import to_tensor
from sair.evaluation.segmentation import confusion, iou
from sair.files import InputError
from sair.progress import progress
from sair.training import checkpoint


def classify(dense: Tensor, classes: Tensor, size: tuple[int, int]) -> Tensor:
    """The class of each pixel: (B, C, h, w) embeddings, (K, C) class embeddings -> (B, *size) int64.

    Cosines are upsampled (bilinear) before the argmax, as MaskCLIP does.
    """
    cosine = torch.einsum("bchw,kc->bkhw", F.normalize(dense, dim=1), classes)
    return F.interpolate(cosine, size, mode="bilinear", align_corners=False).argmax(1)


@torch.no_grad()
def segment(clip: str | Path, pictures: str | Path, output: str | Path, *, device: str = "auto") -> None:
    """Segment the complete test pictures by the class names and write the IoU of each class and their mean.

    Args:
        clip: checkpoint of a ``CLIP`` with class names.
        pictures: pictures.csv of a dataset with labels.
        output: CSV with the columns class, iou, pictures; the last row is ``mean``.
    """
    model, _ = checkpoint.restore(clip)
    model.to(runtime.device(device))
    embeddings = model.class_embeddings()
    table = read_table(pictures, PICTURE_COLUMNS)
    table = table[(table.split == "test") & (table.labels != "")]
    if table.empty:
        raise InputError(f"{pictures}: no test picture has labels. Name a labelled dataset in `semantics.dataset`.")
    counts = np.zeros((len(model.classes), len(model.classes)), dtype=np.int64)
    folder = Path(pictures).parent
    for row in progress(table.itertuples(), total=len(table), desc="segment", unit="picture"):
        image = to_tensor(checked_rgb(folder / row.image, row.sha256))[None].to(embeddings.device)
        labels = checked_labels(folder / row.labels, row.labels_sha256)
        predicted = classify(model.dense(image), embeddings, labels.shape)[0].cpu().numpy()
        counts += confusion(labels, predicted, len(model.classes))
    scores = iou(counts)
    rows = [*zip(model.classes, scores, strict=True), ("mean", np.nanmean(scores))]
    frame = pd.DataFrame(rows, columns=["class", "iou"])
    frame["pictures"] = len(table)
    write_csv(frame, output)
