"""Compute the Fréchet Inception distance of two sets of images (Heusel et al., 2017), from their features."""

from __future__ import annotations

import math

import numpy as np

from sair.evaluation.metrics.metric import Metric


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Return the FID of two sets of features, equal to that of pytorch-fid.

    Args:
        a, b: features (n, d) and (m, d).

    Returns:
        At least 0.
    """
    # FID = |mean_a - mean_b|² + trace(A) + trace(B) - 2 trace((A B)^½) with covariances A = FᵀF and B = GᵀG. Factors
    # F and G have at most d rows, and the last trace is the sum of the singular values of F Gᵀ. The sides of that
    # matrix are at most n and m, and at most d: 100x100 for a hundred images, where the published way takes the
    # square root of a 2048x2048 matrix.
    gap = a.mean(0, dtype=np.float64) - b.mean(0, dtype=np.float64)
    first, second = _factor(a), _factor(b)
    overlap = np.linalg.svd(first @ second.T, compute_uv=False).sum()
    # For identical sets, rounding can make this slightly negative.
    return max(0.0, float(gap @ gap + (first**2).sum() + (second**2).sum() - 2 * overlap))


def _factor(features: np.ndarray) -> np.ndarray:
    """Return F with FᵀF = the sample covariance, float64, at most as many rows as columns."""
    centred = (features - features.mean(0, dtype=np.float64)) / math.sqrt(len(features) - 1)
    if len(centred) <= centred.shape[1]:
        return centred
    # centred = QR with orthogonal Q, so RᵀR is the same covariance, and R has only d rows.
    return np.asarray(np.linalg.qr(centred, mode="r"))


METRIC = Metric(
    name="fid",
    label="FID",
    decimals=2,
    higher_is_better=False,
    convention="pytorch-fid,inception-2015-12-05,pool3,composited",
    kind="set",
)
