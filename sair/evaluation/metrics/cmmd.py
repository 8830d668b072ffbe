"""Compute CMMD (Jayasumana et al., CVPR 2024): the maximum mean discrepancy of features with a Gaussian kernel."""

from __future__ import annotations

import numpy as np

BANDWIDTH = 10.0
SCALE = 1000.0
ROWS = 512  # of a kernel matrix at once


def cmmd(a: np.ndarray, b: np.ndarray) -> float:
    """Return CMMD of two sets of features, as its authors' code computes it, from features scaled to unit length.

    The estimate counts each image with itself, as published, and is therefore above 0 by the order of 1 / n.

    Args:
        a, b: features (n, d) and (m, d).

    Returns:
        1000 times the squared discrepancy, at least 0.
    """
    first, second = (_unit(features.astype(np.float64)) for features in (a, b))
    return SCALE * (_mean(first, first) + _mean(second, second) - 2 * _mean(first, second))


def _unit(features: np.ndarray) -> np.ndarray:
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def _mean(a: np.ndarray, b: np.ndarray) -> float:
    """Return the mean of exp(-|x - y|² / (2 · 10²)) over all pairs; of unit vectors |x - y|² = 2 - 2 x·y."""
    total = 0.0
    for start in range(0, len(a), ROWS):
        total += np.exp((a[start : start + ROWS] @ b.T - 1) / BANDWIDTH**2).sum()
    return total / (len(a) * len(b))
