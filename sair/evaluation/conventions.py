"""PSNR, SSIM and L1 as the evaluation code of published methods computes them; the project's own are one row of these.

Pure functions of 8-bit images, as :mod:`sair.evaluation.metrics`, in float64 where the authors' code may use float32.
What happens to a prediction before it is scored is not in its image and cannot be made again from it: each convention
says it in words (``cast``).
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

from sair.evaluation.metrics import METRICS, PSNR_CAP, SSIM_BORDER, SSIM_SIGMA, check_pair, l1, psnr, ssim

LARGE_WINDOW = 51
OURS = "ours"

# Of a truth and a prediction, uint8 (H, W, 3), and the bool hole (H, W).
Compute = Callable[[np.ndarray, np.ndarray, np.ndarray], float]


class Measure(NamedTuple):
    """One measure of a convention: how it is computed, in a line and in code, and how many decimals it is printed with.

    Measures that are the same number are the same function, so that they are computed once.
    """

    says: str
    compute: Compute
    decimals: int


class Convention(NamedTuple):
    """What one evaluation code does: whose it is, where it stands, how it makes 8 bits, and its measures by kind."""

    label: str
    source: str
    cast: str
    measures: dict[str, Measure]


# --------------------------------------------------------------------------------------------------------------------
# The project's own, of the whole image


def whole_psnr(truth: np.ndarray, prediction: np.ndarray, hole: np.ndarray) -> float:
    """Peak signal-to-noise ratio over RGB: :func:`sair.evaluation.metrics.psnr`."""
    return psnr(truth, prediction)


def whole_ssim(truth: np.ndarray, prediction: np.ndarray, hole: np.ndarray) -> float:
    """Structural similarity over RGB, valid Gaussian windows: :func:`sair.evaluation.metrics.ssim`."""
    return ssim(truth, prediction)


def whole_l1(truth: np.ndarray, prediction: np.ndarray, hole: np.ndarray) -> float:
    """Mean absolute error over RGB in [0, 1]: :func:`sair.evaluation.metrics.l1`."""
    return l1(truth, prediction)


# --------------------------------------------------------------------------------------------------------------------
# Others'


def grey_psnr(truth: np.ndarray, prediction: np.ndarray, hole: np.ndarray) -> float:
    """PSNR in dB of the grey images 0.2125 R + 0.7154 G + 0.0721 B; ``inf`` when they are equal."""
    error = float(np.square(rgb2gray(truth) - rgb2gray(prediction)).mean())
    return -10 * math.log10(error) if error else math.inf


def capped_psnr(truth: np.ndarray, prediction: np.ndarray, hole: np.ndarray) -> float:
    """PSNR over RGB in dB, at most 100."""
    return min(PSNR_CAP, psnr(truth, prediction))


def grey_large_ssim(truth: np.ndarray, prediction: np.ndarray, hole: np.ndarray) -> float:
    """Structural similarity of the grey images, uniform window 51x51; ``nan`` where it does not fit."""
    return _uniform_ssim(rgb2gray(truth), rgb2gray(prediction), LARGE_WINDOW)


def large_ssim(truth: np.ndarray, prediction: np.ndarray, hole: np.ndarray) -> float:
    """Structural similarity over RGB, uniform window 51x51; ``nan`` where it does not fit."""
    return _uniform_ssim(truth / 255, prediction / 255, LARGE_WINDOW)


def default_ssim(truth: np.ndarray, prediction: np.ndarray, hole: np.ndarray) -> float:
    """Structural similarity over RGB by scikit-image's defaults, uniform window 7x7."""
    return _uniform_ssim(truth / 255, prediction / 255, 7)


def padded_ssim(truth: np.ndarray, prediction: np.ndarray, hole: np.ndarray) -> float:
    """Structural similarity over RGB, Gaussian window around every pixel, beyond the border zeros.

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
    """Sum of absolute errors over the sum of both images' values, RGB; ``nan`` when both are black."""
    return _relative(truth.astype(np.int64), prediction.astype(np.int64))


def grey_relative_error(truth: np.ndarray, prediction: np.ndarray, hole: np.ndarray) -> float:
    """Sum of absolute errors over the sum of both images' values, grey; ``nan`` when both are black."""
    return _relative(rgb2gray(truth), rgb2gray(prediction))


def hole_error(truth: np.ndarray, prediction: np.ndarray, hole: np.ndarray) -> float:
    """Mean absolute error over RGB in the hole, times 100; 0 where there is no hole."""
    return 100 * l1(truth, prediction, hole) if hole.any() else 0.0


def _uniform_ssim(truth: np.ndarray, prediction: np.ndarray, window: int) -> float:
    if min(truth.shape[:2]) < window:
        return math.nan
    channels = 2 if truth.ndim == 3 else None
    # In float64 whatever comes in: scikit-image computed so until 0.19, when these evaluations were written.
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
        "sair/evaluation/metrics.py",
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
    """Name of a measure's column in conventions.csv, such as ``lama_ssim``."""
    return f"{convention}_{measure}"


def all_measures() -> dict[str, Measure]:
    """Every measure of every convention by its column, in the registry's order."""
    return {
        column_name(name, measure): found
        for name, convention in CONVENTIONS.items()
        for measure, found in convention.measures.items()
    }


def kind(measure: str) -> str:
    """The family that a measure is read with, ``psnr``, ``ssim`` or ``l1``: what these codes call MAE is an L1."""
    return measure if measure in METRICS else "l1"


def score_by_conventions(truth: np.ndarray, prediction: np.ndarray, hole: np.ndarray) -> dict[str, float]:
    """One pair under every convention.

    Args:
        truth, prediction: uint8 (H, W, 3), sides at least 11.
        hole: bool (H, W), True = hole.

    Returns:
        By column (:func:`column_name`); ``nan`` where a window does not fit into the image.

    Raises:
        InputError, TypeError: as :func:`sair.evaluation.metrics.psnr`.
    """
    check_pair(truth, prediction, hole)
    measures = all_measures()
    computed = {compute: compute(truth, prediction, hole) for compute in {m.compute for m in measures.values()}}
    return {name: computed[measure.compute] for name, measure in measures.items()}
