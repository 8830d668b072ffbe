"""Remove the texture of images by relative total variation (Xu et al., SIGGRAPH Asia 2012)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from scipy import sparse
from scipy.linalg import solveh_banded
from scipy.sparse.linalg import splu
from torch import Tensor

from baselines.structureflow import dissection

SMALLEST = 1e-3  # bounds the weight of an edge in a flat, blurred neighbourhood
BANDED_UP_TO = 128  # shorter side, in pixels, up to which a banded factorisation beats a sparse one


@torch.no_grad()
def structure_images(
    images: Tensor,
    masks: Tensor | None = None,
    *,
    strength: float = 0.015,
    sigma: float = 3.0,
    sharpness: float = 0.001,
    iterations: int = 3,
) -> Tensor:
    """Smooth images on their own device, in float64.

    Args:
        images: (B, 3, H, W) in [0, 1].
        masks: (B, 1, H, W), 1 = hole: known pixels are smoothed as if the holes were the image's border, so
            that they do not depend on the holes' content. None: smooth the whole image, as published.
        strength: strength of the smoothing, the paper's lambda.
        sigma: standard deviation in pixels of the first window that distinguishes texture from structure; it halves
            with every iteration, down to 0.5.
        sharpness: lower bound of the mean gradient; a weaker edge is smoothed no more than an edge of this gradient.
        iterations: number of times that edges are weighted by the last result and the image is smoothed.

    Returns:
        (B, 3, H, W) in [0, 1], without gradient; hole pixels are zero.
    """
    with torch.autocast(images.device.type, enabled=False):
        known = torch.ones_like(images[:, :1]) if masks is None else (masks <= 0.5)
        smoothed = _smooth(images.double(), known.double(), strength, sigma, sharpness, iterations)
    return smoothed.to(images).clamp(0, 1)


def _smooth(images: Tensor, known: Tensor, strength: float, sigma: float, sharpness: float, iterations: int) -> Tensor:
    # Edges between neighbours, each stored at its left or upper end: only those that join two known pixels.
    right, below = torch.zeros_like(known), torch.zeros_like(known)
    right[..., :-1] = known[..., :-1] * known[..., 1:]
    below[..., :-1, :] = known[..., :-1, :] * known[..., 1:, :]
    images = torch.where(known > 0, images, 0)
    smoothed = images
    for _ in range(iterations):
        # An edge has a small weight, and is kept, where the gradient of the last result is large, and at structure,
        # where blurred differences do not cancel. In texture they cancel, and its edges are smoothed.
        dx, dy = _differences(smoothed, right, below)
        gradient = (dx.square() + dy.square()).sqrt().mean(1, keepdim=True).clamp_min(sharpness)
        blur = _Blur(sigma, known)
        # Without a hole the quotient is one, and the window darkens at the image's border, as published.
        share = blur(torch.ones_like(known)) / blur(known).clamp_min(torch.finfo(known.dtype).tiny)
        dx, dy = _differences(blur(smoothed) * share, right, below)
        strengths = strength / 2 / gradient
        across, down = (edge * strengths / _texture(change) for edge, change in ((right, dx), (below, dy)))
        smoothed = _diffuse(across, down, images)
        sigma = max(sigma / 2, 0.5)
    return smoothed


def _differences(images: Tensor, right: Tensor, below: Tensor) -> tuple[Tensor, Tensor]:
    """Return differences to the next pixel in the row and in the column, zero where there is no edge."""
    dx, dy = torch.zeros_like(images), torch.zeros_like(images)
    dx[..., :-1] = images.diff(dim=-1)
    dy[..., :-1, :] = images.diff(dim=-2)
    return dx * right, dy * below


def _texture(change: Tensor) -> Tensor:
    """Return the mean absolute difference over channels, with a lower bound: small in texture, large at structure."""
    return change.abs().mean(1, keepdim=True).clamp_min(SMALLEST)


class _Blur:
    """Gaussian window over images of one size, zero outside: a matrix for each axis."""

    def __init__(self, sigma: float, like: Tensor) -> None:
        half = (int(5 * sigma + 0.5) | 1) // 2
        steps = torch.arange(-half, half + 1, dtype=like.dtype, device=like.device)
        taps = torch.exp(-steps.square() / (2 * sigma**2))
        kernel = taps / taps.sum()
        self.rows, self.columns = (self._matrix(kernel, half, length) for length in like.shape[-2:])

    @staticmethod
    def _matrix(kernel: Tensor, half: int, length: int) -> Tensor:
        position = torch.arange(length, device=kernel.device)
        offset = position[None] - position[:, None] + half
        inside = (offset >= 0) & (offset <= 2 * half)
        return torch.where(inside, kernel[offset.clamp(0, 2 * half)], 0)

    def __call__(self, images: Tensor) -> Tensor:
        return self.rows @ images @ self.columns.T


def _diffuse(right: Tensor, below: Tensor, images: Tensor) -> Tensor:
    """Solve (1 + L) x = images for each channel, L the Laplacian with edge weights ``right`` and ``below``.

    On a CPU each image is factorised by itself, in as many threads as torch uses. On other devices all images are
    solved at once, which takes more operations but never makes the CPU wait for the device.
    """
    if images.device.type != "cpu":
        return dissection.solve(right[:, 0], below[:, 0], images)
    arrays = [x.permute(0, 2, 3, 1).numpy() for x in (right, below, images)]
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:  # the solvers release the GIL
        solved = np.stack(list(pool.map(_factorised, *arrays)))
    return torch.from_numpy(solved).permute(0, 3, 1, 2).contiguous()


def _factorised(right: np.ndarray, below: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Solve for one image (H, W, C) and weights (H, W, 1)."""
    height, width, channels = image.shape
    if width > height:  # the shorter side is the matrix's bandwidth
        return _factorised(*(x.swapaxes(0, 1) for x in (below, right, image))).swapaxes(0, 1)
    diagonal = 1 + right + below
    diagonal[:, 1:] += right[:, :-1]
    diagonal[1:] += below[:-1]
    wanted = image.reshape(-1, channels)
    if width <= BANDED_UP_TO:
        # Rows of `bands` are the diagonals of the matrix: the main one, then those at distance 1 (the pixel to the
        # right) and `width` (the pixel below). Fortran's order is LAPACK's and avoids a copy. There are at least
        # three bands, because SciPy's shortcut for two fails on a single pixel.
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
