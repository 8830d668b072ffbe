"""Segmentation quality from label maps (paper, section 5.3 and Table 5)."""

from __future__ import annotations

import numpy as np


def confusion(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Pixel counts by true and predicted class.

    Args:
        truth, predicted: integer label maps of one shape; true labels outside [0, classes) are ignored.
        classes: number of classes.

    Returns:
        int64 (classes, classes), rows true, columns predicted.
    """
    truth, predicted = truth.astype(np.int64).ravel(), predicted.astype(np.int64).ravel()
    counted = (truth >= 0) & (truth < classes)
    pairs = truth[counted] * classes + predicted[counted]
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def iou(counts: np.ndarray) -> np.ndarray:
    """Intersection over union of each class, float64 (classes,); nan for a class that occurs nowhere.

    Counts are summed over all pictures first, as is usual for mIoU.
    """
    intersection = np.diag(counts).astype(np.float64)
    union = counts.sum(0) + counts.sum(1) - np.diag(counts)
    return np.divide(intersection, union, out=np.full(len(counts), np.nan), where=union > 0)
