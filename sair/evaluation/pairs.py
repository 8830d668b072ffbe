"""Score image pairs: one by one with metrics that are functions, in batches with those that are networks."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from sair.common import runtime
from sair.evaluation.metrics.metric import Metric, PairNetwork
from sair.evaluation.metrics.of_images import COMPUTED, NETWORKS

# By metric; True builds those of all metrics, False leaves their columns nan.
Networks = Mapping[str, PairNetwork] | bool
PIXELS_AT_ONCE = 2**20  # of predictions in a batch: 16 of 256x256. More need memory and are no faster


def score_pair(ground_truth: np.ndarray, prediction: np.ndarray, hole: np.ndarray | None = None) -> dict[str, float]:
    """Compute all metrics of a pair that need no network; ``NetworkQueue`` measures the others in batches.

    Args:
        ground_truth, prediction: uint8 (H, W, 3), sides of at least 11 pixels.
        hole: bool (H, W), True = hole.

    Returns:
        ``psnr``, ``ssim``, ``l1`` and so on and, with ``hole``, ``psnr_hole``, ``ssim_hole``, ``l1_hole`` and so on;
        ``nan`` where a value does not exist.

    Raises:
        InputError: sizes differ, or a side is too short.
        TypeError: an image that is not uint8 RGB, or a mask that is not bool.
    """
    whole, in_hole = {}, {}
    for metric in COMPUTED:
        value = metric.prepared(ground_truth, prediction)
        whole[metric.name] = value(None)
        if hole is not None and metric.in_hole:
            in_hole[f"{metric.name}_hole"] = value(hole)
    return whole | in_hole


def score_case(
    ground_truth: np.ndarray, raw: np.ndarray, hole: np.ndarray, extra: Sequence[Metric]
) -> dict[str, float]:
    """Compute the optional metrics of a raw prediction that need no network.

    Args:
        ground_truth, raw: uint8 (H, W, 3), sides of at least 11 pixels.
        hole: bool (H, W), True = hole.
        extra: optional metrics; those with a network are left out.

    Returns:
        The values by column.
    """
    return {metric.name: metric.of_case(ground_truth, raw, hole) for metric in extra if metric.of_case is not None}


class Captioned:
    """The optional metrics of a scoring that compare predictions with captions.

    Args:
        extra: optional metrics; those without captions are left out.
        networks: False leaves their columns ``nan``; otherwise their networks are built.
    """

    def __init__(self, extra: Sequence[Metric], networks: Networks) -> None:
        wanted = {metric.name: metric.captioned for metric in extra if metric.captioned is not None}
        self._names = list(wanted)
        self._networks = {name: build("cpu") for name, build in wanted.items()} if networks is not False else {}

    def score(self, composited: np.ndarray, hole: np.ndarray, caption: str) -> dict[str, float]:
        """Return the values of one prediction by column; ``nan`` without a caption.

        Args:
            composited: uint8 RGB (H, W, 3).
            hole: bool (H, W), True = hole.
            caption: what the image shows, or empty.
        """
        found = dict.fromkeys(self._names, math.nan)
        return found | {name: network.score(composited, hole, caption) for name, network in self._networks.items()}


class Target(NamedTuple):
    """A prediction that a network still has to measure, and the cells that the values go into.

    prediction: uint8 RGB (H, W, 3).
    row: scores of its image.
    suffix: end of the columns' names, such as ``_raw``.
    """

    prediction: np.ndarray
    row: dict[str, Any]
    suffix: str = ""


Group = tuple[np.ndarray, Sequence[Target]]  # a ground truth and all its predictions


class NetworkQueue:
    """Collects images of one size until a batch is full, so that memory does not grow with the number of images.

    A ground truth comes with all its predictions and its features are computed once for them.

    Args:
        networks: by metric; the columns of metrics without a network become ``nan``.
        batch_size: most predictions that a network gets at once; fewer of large images.
        extra: optional metrics to measure besides those that every score file has.
    """

    def __init__(self, networks: Mapping[str, PairNetwork], batch_size: int, extra: Sequence[Metric] = ()) -> None:
        self._networks = networks
        self._batch_size = batch_size
        measured = self.metrics(extra)
        self._known = [metric for metric in measured if metric.known_only]
        self._whole = [metric for metric in measured if not metric.known_only]
        self._waiting: dict[tuple[str, tuple[int, ...]], list[Group]] = defaultdict(list)

    @staticmethod
    def metrics(extra: Sequence[Metric]) -> list[Metric]:
        """Return the metrics that networks measure: of every score file, and optional ones of ``extra``."""
        return [*NETWORKS.values(), *(metric for metric in extra if metric.network is not None)]

    def put(self, ground_truth: np.ndarray, targets: Sequence[Target]) -> None:
        """Take a ground truth and its predictions; where they are too small for a network, its values are ``nan``."""
        for metric in self._whole:
            self._put(metric, ground_truth, targets)

    def put_known(self, ground_truth: np.ndarray, raw: np.ndarray, hole: np.ndarray, row: dict[str, Any]) -> None:
        """Take a raw prediction for the metrics of known pixels, which get both images with a black hole.

        Args:
            ground_truth, raw: uint8 (H, W, 3).
            hole: bool (H, W), True = hole.
            row: scores of its image.
        """
        if self._known:
            truth, prediction = (np.where(hole[..., None], np.uint8(0), image) for image in (ground_truth, raw))
            for metric in self._known:
                self._put(metric, truth, [Target(prediction, row)])

    def finish(self) -> None:
        """Measure the images that are left."""
        while self._waiting:
            (name, _), groups = self._waiting.popitem()
            self._measure(name, groups)

    def _put(self, metric: Metric, ground_truth: np.ndarray, targets: Sequence[Target]) -> None:
        if metric.name not in self._networks or min(ground_truth.shape[:2]) < metric.smallest:
            for target in targets:
                target.row[metric.name + target.suffix] = math.nan
            return
        batch = metric.name, ground_truth.shape
        self._waiting[batch].append((ground_truth, targets))
        if sum(len(group) for _, group in self._waiting[batch]) >= self._most(ground_truth):
            self._measure(metric.name, self._waiting.pop(batch))

    def _most(self, ground_truth: np.ndarray) -> int:
        """Return the number of predictions of this size that a network gets at once."""
        height, width = ground_truth.shape[:2]
        return max(1, min(self._batch_size, PIXELS_AT_ONCE // (height * width)))

    def _measure(self, name: str, groups: Sequence[Group]) -> None:
        network = self._networks[name]
        truths = network.features([truth for truth, _ in groups])
        pairs = [(index, target) for index, (_, targets) in enumerate(groups) for target in targets]
        # A ground truth with many predictions may overfill a batch, so it is cut again.
        most = self._most(groups[0][0])
        for start in range(0, len(pairs), most):
            part = pairs[start : start + most]
            features = network.features([target.prediction for _, target in part])
            # Repeat the features of each ground truth once for each of its predictions.
            owner = torch.tensor([index for index, _ in part], device=network.device)
            distances = network.distance([maps[owner] for maps in truths], features)
            for (_, target), distance in zip(part, distances, strict=True):
                target.row[name + target.suffix] = float(distance)


def networks_of(networks: Networks, device: str = "cpu", extra: Sequence[Metric] = ()) -> dict[str, PairNetwork]:
    """Return the networks to use by metric: those given, or new ones of all metrics for True, or none for False.

    Args:
        networks: by metric, or True or False.
        device: where new ones run: ``cpu``, ``cuda``, or ``auto`` for a GPU where there is one.
        extra: optional metrics to measure, too.

    Raises:
        InputError: weights are missing, or there is no GPU although ``cuda`` was requested.
    """
    if isinstance(networks, bool):
        on = str(runtime.device(device))
        wanted = NetworkQueue.metrics(extra) if networks else []
        return {metric.name: metric.network(on) for metric in wanted if metric.network}
    return dict(networks)
