"""Compute P-IDS and U-IDS (Zhao et al., CoModGAN, ICLR 2021): how often a classifier takes predictions for real.

A linear support vector machine is fitted to the features of ground truths and predictions. U-IDS is its share of
errors, P-IDS the share of pairs in which the prediction looks more real than its ground truth; 50 % is the best to
expect.

As published, the machine is fitted and read on the same images. With fewer images than features it separates any two
sets, and both are 0 however good the predictions are. Held out by pair, it is read on pairs that it was not fitted to,
which is usable at a hundred images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

FOLDS = 5  # parts of the held-out version; four of them fit, the fifth is read
ROUNDS = 100  # Newton steps at most; ten are usual
PRECISION = 1e-10  # of the gradient, relative to its first length


class Discriminative(NamedTuple):
    """Both scores in percent, as published and held out by pair; ``nan`` where there are too few images.

    Attributes:
        pids, uids: fitted and read on the same images.
        pids_heldout, uids_heldout: read on pairs that were not fitted. A tie counts half in P-IDS.
    """

    pids: float
    uids: float
    pids_heldout: float
    uids_heldout: float


def discriminative_scores(truths: np.ndarray, predictions: np.ndarray, groups: Sequence[str]) -> Discriminative:
    """Return P-IDS and U-IDS of pairs of features.

    Args:
        truths, predictions: features (n, d), row by row of one pair; a ground truth may be in several pairs.
        groups: what the n pairs have in common; all pairs of a group are in one fold, so that no ground truth is both
            fitted and read.
    """
    real, fake = truths.astype(np.float64), predictions.astype(np.float64)
    weights = _fit(real, fake)
    scores = [_decide(part, weights) for part in (real, fake)]
    held = np.full((2, len(real)), math.nan)
    folds = _folds(groups)
    for fold in np.unique(folds) if folds.max() else ():
        inside = folds == fold
        weights = _fit(real[~inside], fake[~inside])
        held[:, inside] = _decide(real[inside], weights), _decide(fake[inside], weights)
    of_pairs = held[1] > held[0], held[1] == held[0]
    paired = of_pairs[0].mean() + of_pairs[1].mean() / 2 if folds.max() else math.nan
    return Discriminative(
        100 * float((scores[1] > scores[0]).mean()), _errors(*scores), 100 * float(paired), _errors(*held)
    )


def _errors(real: np.ndarray, fake: np.ndarray) -> float:
    """Return the share of errors in percent: a score above 0 means real."""
    if np.isnan(real).any():
        return math.nan
    return 100 * float(np.mean([(real <= 0).mean(), (fake > 0).mean()]))


def _folds(groups: Sequence[str]) -> np.ndarray:
    """Return the fold of every pair, 0 to ``FOLDS`` - 1; all 0 if there are fewer than two groups."""
    names = list(dict.fromkeys(groups))
    count = min(FOLDS, len(names))
    # A fixed shuffle: neighbours in the order of files, such as frames of a scene, go to different folds.
    order = np.random.Generator(np.random.PCG64(0)).permutation(len(names))
    fold = dict(zip((names[k] for k in order), (k % count for k in range(len(names))), strict=True))
    return np.array([fold[group] for group in groups])


def _decide(features: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return features @ weights[:-1] + weights[-1]


def _fit(real: np.ndarray, fake: np.ndarray) -> np.ndarray:
    """Return the weights and the intercept of scikit-learn's ``LinearSVC(dual=False)``: squared hinge loss, C = 1.

    The intercept is regularised like the weights, as there. The problem is strictly convex, and Newton's method with
    the examples inside the margin finds its minimum exactly (Keerthi and DeCoste, 2005).

    Args:
        real, fake: features (n, d) and (m, d); real is the positive class.
    """
    examples = np.vstack([real, fake])
    examples = np.column_stack([examples, np.ones(len(examples))])
    sign = np.concatenate([np.ones(len(real)), -np.ones(len(fake))])
    basis = None
    if len(examples) < examples.shape[1]:
        # The solution lies in the span of the examples, so solve in its coordinates.
        basis, triangle = np.linalg.qr(examples.T)
        examples = triangle.T
    weights = np.zeros(examples.shape[1])
    first = None
    for _ in range(ROUNDS):
        margin = sign * (examples @ weights)
        inside = margin < 1
        part = examples[inside]
        slope = weights - 2 * part.T @ (sign[inside] * (1 - margin[inside]))
        length = float(np.linalg.norm(slope))
        first = first or length
        if length <= PRECISION * first:
            break
        curvature = 2 * part.T @ part
        curvature.flat[:: len(curvature) + 1] += 1
        step = -np.linalg.solve(curvature, slope)
        weights = weights + _length(examples, sign, weights, step) * step
    return weights if basis is None else basis @ weights


def _length(examples: np.ndarray, sign: np.ndarray, weights: np.ndarray, step: np.ndarray) -> float:
    """Return a length of the step that lowers the objective: 1, or the first half, quarter, ... that does."""

    def objective(t: float) -> float:
        moved = weights + t * step
        short = np.maximum(0, 1 - sign * (examples @ moved))
        return float(moved @ moved / 2 + short @ short)

    start, length = objective(0), 1.0
    while objective(length) > start and length > 1e-8:
        length /= 2
    return length
