"""Scores of pairs of images: PSNR, SSIM and L1 one by one, LPIPS in batches."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any, NamedTuple

import numpy as np
import torch

from sair.evaluation.metrics import LPIPS_SMALLEST, Lpips, l1, mean_ssim, psnr, ssim_map


def score_pair(truth: np.ndarray, prediction: np.ndarray, hole: np.ndarray | None = None) -> dict[str, float]:
    """PSNR, SSIM and L1 of one pair; LPIPS is measured in batches by the callers.

    Args:
        truth, prediction: uint8 (H, W, 3), sides at least 11.
        hole: bool (H, W), True = hole.

    Returns:
        ``psnr``, ``ssim``, ``l1`` and, with ``hole``, ``psnr_hole``, ``ssim_hole``, ``l1_hole``; see
        :mod:`sair.evaluation.metrics` for units and ``nan``.

    Raises:
        InputError, TypeError: as :func:`sair.evaluation.metrics.psnr`.
    """
    similarity = ssim_map(truth, prediction)  # once, for the whole image and for the hole
    scores = {"psnr": psnr(truth, prediction), "ssim": mean_ssim(similarity), "l1": l1(truth, prediction)}
    if hole is not None:
        scores["psnr_hole"] = psnr(truth, prediction, hole)
        scores["ssim_hole"] = mean_ssim(similarity, hole)
        scores["l1_hole"] = l1(truth, prediction, hole)
    return scores


class Target(NamedTuple):
    """A prediction that waits for its LPIPS, and the cell that the number goes into."""

    prediction: np.ndarray
    row: dict[str, Any]
    column: str


class LpipsQueue:
    """Gathers images of one size until a batch is full, so that memory does not grow with the number of images.

    A ground truth comes with all its predictions and its features are computed once for them.
    """

    def __init__(self, lpips: Lpips | None, batch_size: int) -> None:
        self._lpips = lpips
        self._batch_size = batch_size
        self._waiting: dict[tuple[int, ...], list[tuple[np.ndarray, list[Target]]]] = defaultdict(list)

    def put(self, truth: np.ndarray, targets: list[Target]) -> None:
        """Take a ground truth and its predictions; without a network, or if too small for it, they become ``nan``."""
        if self._lpips is None or min(truth.shape[:2]) < LPIPS_SMALLEST:
            for target in targets:
                target.row[target.column] = math.nan
            return
        waiting = self._waiting[truth.shape]
        waiting.append((truth, targets))
        if sum(len(group) for _, group in waiting) >= self._batch_size:
            self._measure(self._waiting.pop(truth.shape))

    def finish(self) -> None:
        """Measure what is left."""
        while self._waiting:
            self._measure(self._waiting.popitem()[1])

    def _measure(self, groups: list[tuple[np.ndarray, list[Target]]]) -> None:
        truths = self._lpips.features([truth for truth, _ in groups])
        pairs = [(index, target) for index, (_, targets) in enumerate(groups) for target in targets]
        # A truth with many predictions may overfill a batch, so it is cut again.
        for start in range(0, len(pairs), self._batch_size):
            part = pairs[start : start + self._batch_size]
            owner = torch.tensor([index for index, _ in part], device=self._lpips.device)
            features = self._lpips.features([target.prediction for _, target in part])
            distances = self._lpips.distance([maps[owner] for maps in truths], features)
            for (_, target), distance in zip(part, distances, strict=True):
                target.row[target.column] = float(distance)


def network_of(lpips: Lpips | bool) -> Lpips | None:
    """Return the network to use: the one given, a new one for True, none for False."""
    if isinstance(lpips, bool):
        return Lpips() if lpips else None
    return lpips
