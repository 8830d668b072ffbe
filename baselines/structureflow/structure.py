"""Structure images: a picture without its texture, by relative total variation (Xu et al., SIGGRAPH Asia 2012)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from scipy import sparse
from scipy.linalg import solveh_banded
from scipy.ndimage import correlate1d
from scipy.sparse.linalg import splu
from torch import Tensor

SMALLEST = 1e-3  # bounds the weight of an edge in a flat, blurred neighbourhood
BANDED_UP_TO = 128  # shorter side, in pixels, up to which a banded factorisation beats a sparse one


def structure_images(
    images: Tensor,
    masks: Tensor | None = None,
    *,
    strength: float = 0.015,
    sigma: float = 3.0,
    sharpness: float = 0.001,
    iterations: int = 3,
) -> Tensor:
    """Smooth pictures on the CPU, one thread a picture as far as torch's threads go.

    Args:
        images: (B, 3, H, W) in [0, 1].
        masks: (B, 1, H, W), 1 = hole: known pixels are smoothed as if the holes were the picture's border, and what
            stands in the holes reaches none of them. None: the whole picture, as published.
        strength: of the smoothing, the paper's lambda.
        sigma: standard deviation in pixels of the first window that texture is told from structure by; it halves with
            every iteration down to 0.5.
        sharpness: mean gradient below which an edge is smoothed no more for being weak.
        iterations: of weighing edges by the last result and smoothing the picture.

    Returns:
        (B, 3, H, W) in [0, 1], without gradient; hole pixels are zero.
    """
    pixels = images.detach().double().permute(0, 2, 3, 1).cpu().numpy()
    holes = [None] * len(pixels) if masks is None else list(masks[:, 0].detach().cpu().numpy() > 0.5)

    def work(image: np.ndarray, hole: np.ndarray | None) -> np.ndarray:
        return smooth(image, hole, strength, sigma, sharpness, iterations)

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:  # the solvers let other threads run
        smoothed = np.stack(list(pool.map(work, pixels, holes)))
    return torch.from_numpy(smoothed).permute(0, 3, 1, 2).to(images).clamp(0, 1)


def smooth(
    image: np.ndarray, hole: np.ndarray | None, strength: float, sigma: float, sharpness: float, iterations: int
) -> np.ndarray:
    """One picture (H, W, C), float64, and its hole (H, W), bool or None; otherwise as ``structure_images``."""
    known = np.ones(image.shape[:2]) if hole is None else 1.0 - hole
    # Edges between neighbours, each stored at its left or upper end: only those that join two known pixels.
    right, below = np.zeros_like(known), np.zeros_like(known)
    right[:, :-1] = known[:, :-1] * known[:, 1:]
    below[:-1] = known[:-1] * known[1:]
    image = image * known[..., None]
    smoothed = image
    for _ in range(iterations):
        dx, dy = _differences(smoothed, right, below)
        gradient = np.maximum(np.sqrt(dx**2 + dy**2).mean(2), sharpness)
        # Without a hole the quotient is one, and the window darkens at the picture's border, as published.
        share = _blur(np.ones_like(known), sigma) / np.maximum(_blur(known, sigma), np.finfo(float).tiny)
        dx, dy = _differences(_blur(smoothed, sigma) * share[..., None], right, below)
        strengths = strength / 2 / gradient
        smoothed = _diffuse(image, right * strengths / _texture(dx), below * strengths / _texture(dy))
        sigma = max(sigma / 2, 0.5)
    return smoothed


def _differences(picture: np.ndarray, right: np.ndarray, below: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    dx, dy = np.zeros_like(picture), np.zeros_like(picture)
    dx[:, :-1] = np.diff(picture, axis=1)
    dy[:-1] = np.diff(picture, axis=0)
    return dx * right[..., None], dy * below[..., None]


def _texture(change: np.ndarray) -> np.ndarray:
    return np.maximum(np.abs(change).mean(2), SMALLEST)


def _blur(picture: np.ndarray, sigma: float) -> np.ndarray:
    half = (int(5 * sigma + 0.5) | 1) // 2
    kernel = np.exp(-(np.arange(-half, half + 1) ** 2) / (2 * sigma**2))
    kernel /= kernel.sum()
    return correlate1d(correlate1d(picture, kernel, 0, mode="constant"), kernel, 1, mode="constant")


def _diffuse(image: np.ndarray, right: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Solve (1 + L) x = image for each channel, L the Laplacian of the grid whose edges weigh ``right``, ``below``."""
    height, width, channels = image.shape
    if width > height:  # the shorter side is the matrix's bandwidth
        return _diffuse(image.swapaxes(0, 1), below.T, right.T).swapaxes(0, 1)
    diagonal = 1 + right + below
    diagonal[:, 1:] += right[:, :-1]
    diagonal[1:] += below[:-1]
    wanted = image.reshape(-1, channels)
    if width <= BANDED_UP_TO:
        # Fortran's order, as LAPACK wants it, spares a copy; SciPy's shortcut for two bands fails on a single pixel.
        bands = np.zeros((max(width, 2) + 1, height * width), order="F")
        bands[0] = diagonal.ravel()
        bands[1] -= right.ravel()
        bands[width] -= below.ravel()
        solved = solveh_banded(bands, wanted, lower=True, overwrite_ab=True, check_finite=False)
    else:
        right, below = -right.ravel()[:-1], -below.ravel()[:-width]
        matrix = sparse.diags([diagonal.ravel(), right, right, below, below], [0, 1, -1, width, -width], format="csc")
        factors = splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0, options={"SymmetricMode": True})
        solved = factors.solve(wanted)
    return solved.reshape(image.shape)
