"""Compute PSNR, SSIM and L1 by the conventions of published evaluation codes, of which this project's is one.

Pure functions of 8-bit images, as in ``sair.evaluation.metrics``, in float64 where the authors' code may use float32.
What happens to a prediction before it is scored cannot be seen in its image; ``Convention.cast`` describes it in words.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter
from skimage.color import rgb2gray
from skimage.metrics import structural_similarity

from sair.evaluation.metrics.l1 import l1
from sair.evaluation.metrics.metric import check_pair
from sair.evaluation.metrics.psnr import PSNR_CAP, psnr
from sair.evaluation.metrics.ssim import SSIM_BORDER, SSIM_SIGMA, ssim

LARGE_WINDOW = 51
OURS = "ours"

# Of a ground truth and a prediction, uint8 (H, W, 3), and the bool hole (H, W).
Compute = Callable[[np.ndarray, np.ndarray, np.ndarray], float]


class Measure(NamedTuple):
    """One measure of a convention.

    definition: in a few words.
    compute: the function; equal measures share one function object, so each is computed once per image pair.
    decimals: digits after the point in tables.
    """

    definition: str
    compute: Compute
    decimals: int


class Convention(NamedTuple):
    """The measures of one evaluation code.

    label: printed name.
    source: repository, commit and files.
    cast: how predictions become 8-bit images before they are scored.
    measures: by the code's own name for them, in lower case.
    """

    label: str
    source: str
    cast: str
    measures: dict[str, Measure]


# --------------------------------------------------------------------------------------------------------------------
# Measures of this project, of the whole image


def whole_psnr(truth: np.ndarray, prediction: np.ndarray, hole: np.ndarray) -> float:
    """Return our PSNR of the whole image (``sair.evaluation.metrics.psnr``)."""
    return psnr(truth, prediction)


def whole_ssim(truth: np.ndarray, prediction: np.ndarray, hole: np.ndarray) -> float:
    """Return our SSIM of the whole image (``sair.evaluation.metrics.ssim``)."""
    return ssim(truth, prediction)


def whole_l1(truth: np.ndarray, prediction: np.ndarray, hole: np.ndarray) -> float:
    """Return our L1 of the whole image (``sair.evaluation.metrics.l1``)."""
    return l1(truth, prediction)


# --------------------------------------------------------------------------------------------------------------------
# Measures of other codes


def grey_psnr(truth: np.ndarray, prediction: np.ndarray, hole: np.ndarray) -> float:
    """Return the PSNR in dB of the grey images 0.2125 R + 0.7154 G + 0.0721 B; ``inf`` when they are equal."""
    error = float(np.square(rgb2gray(truth) - rgb2gray(prediction)).mean())
    return -10 * math.log10(error) if error else math.inf


def capped_psnr(truth: np.ndarray, prediction: np.ndarray, hole: np.ndarray) -> float:
    """Return the PSNR over RGB in dB, at most 100."""
    return min(PSNR_CAP, psnr(truth, prediction))


def grey_large_ssim(truth: np.ndarray, prediction: np.ndarray, hole: np.ndarray) -> float:
    """Return the structural similarity of the grey images, uniform window 51x51; ``nan`` where it does not fit."""
    return _uniform_ssim(rgb2gray(truth), rgb2gray(prediction), LARGE_WINDOW)


def large_ssim(truth: np.ndarray, prediction: np.ndarray, hole: np.ndarray) -> float:
    """Return the structural similarity over RGB, uniform window 51x51; ``nan`` where it does not fit."""
    return _uniform_ssim(truth / 255, prediction / 255, LARGE_WINDOW)


def default_ssim(truth: np.ndarray, prediction: np.ndarray, hole: np.ndarray) -> float:
    """Return the structural similarity over RGB by scikit-image's defaults, uniform window 7x7."""
    return _uniform_ssim(truth / 255, prediction / 255, 7)


def padded_ssim(truth: np.ndarray, prediction: np.ndarray, hole: np.ndarray) -> float:
    """Return the structural similarity over RGB, Gaussian window around every pixel, zeros beyond the border.

    The zeros count as pixels of both images: near the border the means are too dark, the variances too large, and
    two images look more alike.
    """
    x, y = truth / 255, prediction / 255
    mean = partial(gaussian_filter, sigma=SSIM_SIGMA, radius=SSIM_BORDER, mode="constant", axes=(0, 1))
    mean_x, mean_y = mean(x), mean(y)
    variances = mean(x * x) - mean_x**2 + mean(y * y) - mean_y**2
    covariance = mean(x * y) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    similarity = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    return float((similarity / ((mean_x**2 + mean_y**2 + c1) * (variances + c2))).mean())


def relative_error(truth: np.ndarray, prediction: np.ndarray, hole: np.ndarray) -> float:
    """Return the sum of absolute errors over the sum of both images' values, RGB; ``nan`` when both are black."""
    return _relative(truth.astype(np.int64), prediction.astype(np.int64))


def grey_relative_error(truth: np.ndarray, prediction: np.ndarray, hole: np.ndarray) -> float:
    """Return the sum of absolute errors over the sum of both images' values, grey; ``nan`` when both are black."""
    return _relative(rgb2gray(truth), rgb2gray(prediction))


def hole_error(truth: np.ndarray, prediction: np.ndarray, hole: np.ndarray) -> float:
    """Return the mean absolute error over RGB in the hole, times 100; 0 where there is no hole."""
    return 100 * l1(truth, prediction, hole) if hole.any() else 0.0


def _uniform_ssim(truth: np.ndarray, prediction: np.ndarray, window: int) -> float:
    if min(truth.shape[:2]) < window:
        return math.nan
    channels = 2 if truth.ndim == 3 else None
    # In float64 for inputs of any type: scikit-image did so before 0.19, when these evaluations were written.
    x, y = truth.astype(np.float64), prediction.astype(np.float64)
    return float(structural_similarity(x, y, win_size=window, data_range=1, channel_axis=channels))


def _relative(truth: np.ndarray, prediction: np.ndarray) -> float:
    total = (truth + prediction).sum()
    return float(np.abs(truth - prediction).sum() / total) if total else math.nan


# --------------------------------------------------------------------------------------------------------------------
# The registry

RGB_PSNR = Measure("RGB, range 255; inf for equal images", whole_psnr, 2)
VALID_SSIM = Measure("RGB, Gaussian window 11x11 with sigma 1.5, where it fits", whole_ssim, 3)
DEFAULT_SSIM = Measure("RGB, uniform window 7x7, sample covariance", default_ssim, 3)
RGB_L1 = Measure("mean |a - b|, RGB in [0, 1]", whole_l1, 4)
TRUNCATED = "float predictions are cut down to 8 bits, not rounded"

CONVENTIONS: dict[str, Convention] = {
    OURS: Convention(
        "ours",
        "sair/evaluation/metrics",
        "rounded to 8 bits, and composited in them",
        {"psnr": RGB_PSNR, "ssim": VALID_SSIM, "l1": RGB_L1},
    ),
    "edgeconnect": Convention(
        "EdgeConnect",
        "knazeri/edge-connect 3142579: scripts/metrics.py",
        TRUNCATED,
        {
            "psnr": Measure("grey, range 1; inf for equal images", grey_psnr, 2),
            "ssim": Measure("grey, uniform window 51x51, sample covariance", grey_large_ssim, 3),
            "mae": Measure("sum |a - b| / sum (a + b), grey", grey_relative_error, 4),
        },
    ),
    "structureflow": Convention(
        "StructureFlow",
        "RenYurui/StructureFlow 1ac8f55: scripts/metrics.py",
        TRUNCATED,
        {
            "psnr": RGB_PSNR,
            "ssim": Measure("RGB, uniform window 51x51, sample covariance", large_ssim, 3),
            "l1": RGB_L1,
            "mae": Measure("sum |a - b| / sum (a + b), RGB", relative_error, 4),
        },
    ),
    "misf": Convention(
        "MISF",
        "tsingqguo/misf 775ef7d: src/misf.py",
        f"{TRUNCATED}, for PSNR and SSIM; L1 is of the floats",
        {
            "psnr": Measure("RGB, range 255, at most 100", capped_psnr, 2),
            "ssim": DEFAULT_SSIM,
            "l1": RGB_L1,
        },
    ),
    "jpgnet": Convention(
        "JPGNet",
        "tsingqguo/jpgnet 4798b6d: RFR_fusion/RFR_test.py",
        TRUNCATED,
        {"psnr": RGB_PSNR, "ssim": DEFAULT_SSIM},
    ),
    "lama": Convention(
        "LaMa",
        "advimman/lama 786f593: saicinpainting/evaluation/losses/ssim.py",
        TRUNCATED,
        {"ssim": Measure("RGB, Gaussian window 11x11 with sigma 1.5, zeros beyond the border", padded_ssim, 3)},
    ),
    "mmagic": Convention(
        "mmagic",
        "open-mmlab/mmagic 0a560bb: mmagic/evaluation/metrics/{psnr,ssim,mae}.py, configs/_base_/datasets/celeba.py",
        "float predictions are scored as they are",
        {
            "psnr": RGB_PSNR,
            "ssim": VALID_SSIM,
            "mae": Measure("100 mean |a - b| over the hole, RGB in [0, 1]", hole_error, 2),
        },
    ),
}


def column_name(convention: str, measure: str) -> str:
    """Return the name of a measure's column in conventions.csv, such as ``lama_ssim``."""
    return f"{convention}_{measure}"


def all_measures() -> dict[str, Measure]:
    """Return every measure of every convention by its column, in the registry's order."""
    return {
        column_name(name, measure): found
        for name, convention in CONVENTIONS.items()
        for measure, found in convention.measures.items()
    }


def kind(measure: str) -> str:
    """Return the metric that a measure belongs to, such as ``psnr``; the MAE of these codes is an L1."""
    return "l1" if measure == "mae" else measure


def score_by_conventions(truth: np.ndarray, prediction: np.ndarray, hole: np.ndarray) -> dict[str, float]:
    """Compute every measure of every convention for one pair.

    Args:
        truth, prediction: uint8 (H, W, 3), sides at least 11.
        hole: bool (H, W), True = hole.

    Returns:
        By column (``column_name``); ``nan`` where a window does not fit into the image.

    Raises:
        InputError: sizes differ, or a side is shorter than 11 pixels.
        TypeError: an image that is not uint8 RGB, or a mask that is not bool.
    """
    check_pair(truth, prediction, hole)
    measures = all_measures()
    computed = {compute: compute(truth, prediction, hole) for compute in {m.compute for m in measures.values()}}
    return {name: computed[measure.compute] for name, measure in measures.items()}
