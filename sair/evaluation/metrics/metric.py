"""Describe a metric, and check the images of a pair before metrics are computed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from sair.common.errors import InputError

if TYPE_CHECKING:
    import torch

SMALLEST = 11  # pixels; the side of SSIM's window. Smaller images are refused, so that all have the same metrics

# Returns the value for all pixels (hole None) or for the hole pixels only (hole bool (H, W)); nan if there is none.
OfHole = Callable[[np.ndarray | None], float]


class Compute(Protocol):
    """A metric as a pure function of one image pair."""

    def __call__(self, ground_truth: np.ndarray, prediction: np.ndarray, hole: np.ndarray | None = None, /) -> float:
        """Return the value for a pair.

        Args:
            ground_truth, prediction: uint8 RGB (H, W, 3).
            hole: bool (H, W), True = hole. If given, only hole pixels count.
        """


class OfCase(Protocol):
    """A metric of a prediction before compositing, as a pure function."""

    def __call__(self, ground_truth: np.ndarray, raw: np.ndarray, hole: np.ndarray, /) -> float:
        """Return the value for one prediction.

        Args:
            ground_truth: uint8 RGB (H, W, 3).
            raw: the whole prediction, not composited, uint8 RGB (H, W, 3).
            hole: bool (H, W), True = hole.
        """


class PairNetwork(Protocol):
    """A network that measures image pairs in batches, in two steps.

    The features of a ground truth are computed once, however many predictions it is compared with.
    """

    device: torch.device

    def features(self, images: Sequence[np.ndarray]) -> Sequence[torch.Tensor]:
        """Return the features of uint8 RGB images (H, W, 3) of one size: tensors with the images along axis 0."""

    def distance(self, features_a: Sequence[torch.Tensor], features_b: Sequence[torch.Tensor]) -> np.ndarray:
        """Return the distances of two batches of features, float64 (N,)."""


class CaptionNetwork(Protocol):
    """A network that compares a prediction with the caption of its image."""

    def score(self, composited: np.ndarray, hole: np.ndarray, caption: str) -> float:
        """Return the value for one prediction.

        Args:
            composited: uint8 RGB (H, W, 3).
            hole: bool (H, W), True = hole.
            caption: may be empty; the value is then ``nan``.
        """


@dataclass(frozen=True, kw_only=True)
class Metric:
    """The description of a metric: how it is computed, read and printed. All facts about metrics are taken from here.

    Attributes:
        name: column of score files and key of ``regression.least``; lower case letters and digits. The part before
            an underscore is the metric's family (``miou_hole`` belongs to ``miou``).
        label: printed name.
        decimals: digits after the point in tables; differences are printed with one more.
        higher_is_better: direction.
        convention: exact definition in a few words, printed under tables.
        unit: printed after a value, such as ``dB``.
        kind: ``image`` for a metric with a value for each image; ``set`` for one that only a set of images has and
            that no test pairs; ``segmentation`` for one of label maps.
        compute: for a metric of an image pair, the function.
        of_pair: optional; prepares a pair once and returns the function of the hole. For a metric that would otherwise
            do the same work for the whole image and for the hole.
        network: for a metric of an image pair that a network measures in batches, the function that builds the network
            on a torch device, given by name.
        weights: for an optional ``network``, the pretrained files that it needs (``sair weights list``).
        of_case: for a metric that compares what is known with what is predicted, the function of ground truth, raw
            prediction and hole. It has one column, ``<name>``.
        captioned: for a metric that compares a prediction with a caption, the function that builds the network on a
            torch device, given by name. It has one column, ``<name>``.
        known_only: for ``network``: it gets ground truth and raw prediction with the hole black, and the metric has one
            column, ``<name>``.
        optional: whether it is measured only where it is named: in a config (``metrics``, or the metrics of a table) or
            by ``--metrics``.
        in_hole: whether the metric has a value for hole pixels only (column ``<name>_hole``); not for networks.
        smallest: shortest side in pixels for which the value exists.
        valid: range of values; a score file with another value is refused.
        cap: what an infinite value counts as in means and tests; None for a metric that is never infinite.
        paper_decimals: digits with which the paper prints the metric.
        least: by how much training with another seed alone changes the mean; the config's ``regression.least``
            overrides it. None if it was not measured; then no difference of this metric is called better or worse.
    """

    name: str
    label: str
    decimals: int
    higher_is_better: bool
    convention: str
    unit: str = ""
    kind: Literal["image", "set", "segmentation"] = "image"
    compute: Compute | None = None
    of_pair: Callable[[np.ndarray, np.ndarray], OfHole] | None = None
    network: Callable[[str], PairNetwork] | None = None
    weights: tuple[str, ...] = ()
    of_case: OfCase | None = None
    captioned: Callable[[str], CaptionNetwork] | None = None
    known_only: bool = False
    optional: bool = False
    in_hole: bool = True
    smallest: int = SMALLEST
    valid: tuple[float, float] = (-math.inf, math.inf)
    cap: float | None = None
    paper_decimals: int = 3
    least: float | None = None

    @property
    def family(self) -> str:
        """The name of the metric that this one is a variant of."""
        return self.name.partition("_")[0]

    @property
    def columns(self) -> list[str]:
        """The columns of score files that hold its values; empty for a metric without a value of a single image."""
        if self.kind != "image":
            return []
        if self.of_case is not None or self.captioned is not None or self.known_only:
            return [self.name]
        in_hole = [f"{self.name}_hole"] if self.network is None and self.in_hole else []
        return [self.name, *in_hole, f"{self.name}_raw"]

    @property
    def after(self) -> str:
        """The text after a value: the unit with a space in front, or nothing."""
        return f" {self.unit}" if self.unit else ""

    def prepared(self, ground_truth: np.ndarray, prediction: np.ndarray) -> OfHole:
        """Return the function of the hole for a pair, uint8 RGB (H, W, 3) each."""
        if self.of_pair is not None:
            return self.of_pair(ground_truth, prediction)
        assert self.compute is not None, f"{self.name} is not computed from an image pair"
        return partial(self.compute, ground_truth, prediction)

    def facts(self) -> dict[str, Any]:
        """Return what a page needs to print values of this metric, as plain data."""
        return {
            "name": self.label,
            "decimals": self.decimals,
            "higher": self.higher_is_better,
            "unit": self.unit,
            "cap": self.cap,
        }


def check_image(image: np.ndarray, smallest: int = SMALLEST) -> None:
    """Raise unless this is a uint8 RGB image whose sides are at least ``smallest`` pixels.

    Raises:
        InputError: a side is too short.
        TypeError: not uint8 (H, W, 3).
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise TypeError(f"expected a uint8 image (H, W, 3), got {image.dtype} {image.shape}")
    height, width = image.shape[:2]
    if min(height, width) < smallest:
        raise InputError(f"an image of {height}x{width} pixels: each side must be at least {smallest} pixels.")


def check_pair(ground_truth: np.ndarray, prediction: np.ndarray, hole: np.ndarray | None = None) -> None:
    """Raise unless two images, and a hole mask if there is one, have the right types and one size.

    Raises:
        InputError: sizes differ, or a side is shorter than 11 pixels.
        TypeError: an image that is not uint8 RGB, or a mask that is not bool.
    """
    check_image(ground_truth)
    check_image(prediction)
    if ground_truth.shape != prediction.shape:
        raise InputError(
            f"ground truth {ground_truth.shape[:2]} and prediction {prediction.shape[:2]}: expected one size."
        )
    if hole is None:
        return
    if hole.dtype != np.bool_:
        raise TypeError(f"expected a bool mask, True = hole, got {hole.dtype}")
    if hole.shape != ground_truth.shape[:2]:
        raise InputError(f"mask {hole.shape} and images {ground_truth.shape[:2]}: expected one size.")


def absolute_difference(ground_truth: np.ndarray, prediction: np.ndarray, hole: np.ndarray | None = None) -> np.ndarray:
    """Return |ground truth - prediction| as uint8, (H, W, 3) or, with a hole, (hole pixels, 3).

    Raises:
        InputError, TypeError: same as in ``check_pair``.
    """
    check_pair(ground_truth, prediction, hole)
    # In 8 bits, because wider types take eight times the memory and many times as long.
    found = np.maximum(ground_truth, prediction) - np.minimum(ground_truth, prediction)
    return found if hole is None else found[hole]
