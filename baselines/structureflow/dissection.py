"""Solve grid equations exactly by nested dissection (George, 1973), on any device and without waiting for it.

A line of pixels cuts the grid in two, lines cut the halves, and so on. From the smallest parts upwards, each part's
pixels are eliminated, which leaves an equation for the ring of pixels around it. All parts of a level are one batch of
dense matrices, and so are the images: few large operations, in a fixed order. Iterative solvers need hundreds of steps
here, because weights differ by a factor of 1e5 between neighbours.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

LEAF = 4  # side in pixels of the smallest parts

Region = tuple[int, int, int, int]  # top, bottom, left, right; the second of each pair is excluded


class Level(NamedTuple):
    """The parts of one level, each with S pixels to eliminate and R pixels in its ring.

    Places in a part's matrix are first those of its own pixels, then those of its ring.
    """

    own: Tensor  # (parts, S): pixels; the number of pixels of the image where unused
    ring: Tensor  # (parts, R): the rank of these pixels in the order of ``solve``'s second pass, or that of the zero
    entries: Tensor  # numbers in the flat (parts, S + R, S + R) of the matrix's entries that belong to own pixels
    values: Tensor  # their values: numbers in the vector of ``_coefficients``
    children: tuple[Tensor, Tensor] | None  # (parts, S + R) each: places in the ring of the two halves, or R' if none


def solve(right: Tensor, below: Tensor, wanted: Tensor) -> Tensor:
    """Solve (1 + L) x = wanted for each channel, where L is the Laplacian of the grid with these edge weights.

    Args:
        right: (B, H, W), weight of the edge from each pixel to the next in its row; the last column is zero.
        below: (B, H, W), weight of the edge from each pixel to the next in its column; the last row is zero.
        wanted: (B, C, H, W).

    Returns:
        (B, C, H, W), float64.
    """
    batch, channels, height, width = wanted.shape
    levels, order = plan(height, width, wanted.device)
    coefficients = _coefficients(right.double(), below.double())
    targets = torch.cat([wanted.double().flatten(2).mT, wanted.new_zeros(batch, 1, channels, dtype=torch.double)], 1)
    # The remaining equations for the rings of the level below; the first level has none.
    left = rest = coefficients.new_zeros(0)
    factors = []
    for level in levels:
        parts, own = level.own.shape
        size = own + level.ring.shape[1]
        if level.children is None:
            matrix = coefficients.new_zeros(batch, parts, size, size)
            sides = coefficients.new_zeros(batch, parts, size, channels)
        else:
            matrix, sides = _inherited(left, level.children), _inherited_sides(rest, level.children)
        matrix.view(batch, -1).index_add_(1, level.entries, coefficients[:, level.values])
        sides[:, :, :own] += targets[:, level.own]
        # Schur complement: with own pixels first, the matrix is [[A, B], [B', C]], and elimination leaves for the ring
        # C - B' A^-1 B. With A = L L', this is C - across' across, where L across = B.
        lower, _ = torch.linalg.cholesky_ex(matrix[..., :own, :own])
        across = torch.linalg.solve_triangular(lower, matrix[..., :own, own:], upper=False)
        known = torch.linalg.solve_triangular(lower, sides[..., :own, :], upper=False)
        left = matrix[..., own:, own:] - across.mT @ across
        rest = sides[..., own:, :] - across.mT @ known
        factors.append((lower, across, known))
    # Back substitution, from the largest part down: the ring's values are found before the own pixels'.
    found = targets.new_zeros(batch, 1, channels)
    for level, (lower, across, known) in zip(reversed(levels), reversed(factors), strict=True):
        own = torch.linalg.solve_triangular(lower.mT, known - across @ found[:, level.ring], upper=True)
        found = torch.cat([found, own.flatten(1, 2)], 1)
    return found[:, order].mT.unflatten(2, (height, width))


def _coefficients(right: Tensor, below: Tensor) -> Tensor:
    """Return the matrix's entries, (B, 3 H W + 1): diagonal, to the right, below, and a one for unused places."""
    diagonal = 1 + right + below
    diagonal[:, :, 1:] += right[:, :, :-1]
    diagonal[:, 1:] += below[:, :-1]
    entries = torch.stack([diagonal, -right, -below], 1).flatten(1)
    return torch.cat([entries, entries.new_ones(len(entries), 1)], 1)


def _inherited(left: Tensor, children: tuple[Tensor, Tensor]) -> Tensor:
    """Return the halves' equations, (B, halves, R', R'), at their places in the matrices (B, parts, S + R, S + R)."""
    whole = functional.pad(left, (0, 1, 0, 1))  # zeros for the places that a half does not have
    first, second = (_columns(_rows(whole[:, half::2], places), places) for half, places in enumerate(children))
    return first.add_(second)


def _inherited_sides(rest: Tensor, children: tuple[Tensor, Tensor]) -> Tensor:
    """Return the same for the right-hand sides, (B, halves, R', C) to (B, parts, S + R, C)."""
    whole = functional.pad(rest, (0, 0, 0, 1))
    first, second = (_rows(whole[:, half::2], places) for half, places in enumerate(children))
    return first.add_(second)


def _rows(x: Tensor, places: Tensor) -> Tensor:
    return x.gather(2, places[None, :, :, None].expand(len(x), -1, -1, x.shape[-1]))


def _columns(x: Tensor, places: Tensor) -> Tensor:
    return x.gather(3, places[None, :, None, :].expand(*x.shape[:-1], -1))


@lru_cache(maxsize=16)
def plan(height: int, width: int, device: torch.device) -> tuple[list[Level], Tensor]:
    """Return the levels for a size of image, the smallest parts first, and each pixel's rank in the second pass."""
    regions: list[list[Region]] = [[(0, height, 0, width)]]
    while max(max(b - t, r - left) for t, b, left, r in regions[-1]) > LEAF:
        regions.append([half for region in regions[-1] for half in _halves(region)])
    pixels = height * width
    number = np.arange(pixels).reshape(height, width)
    owns = [[_separator(region, number) for region in level] for level in regions[:-1]]
    owns.append([number[t:b, left:r].ravel() for t, b, left, r in regions[-1]])
    rings = [[_ring(region, number) for region in level] for level in regions]
    rank = np.zeros(pixels + 1, dtype=np.int64)  # of the second pass, from the largest part down; the zero comes first
    start, padded = 1, []
    for own_lists, ring_lists in zip(owns, rings, strict=True):
        padded.append((_padded(own_lists, pixels), _padded(ring_lists, pixels)))
        own = padded[-1][0]
        rank[own.ravel()] = np.arange(start, start + own.size)
        start += own.size
    rank[pixels] = 0
    levels = []
    for depth, (own, ring) in enumerate(padded):
        inner = None if depth == len(padded) - 1 else padded[depth + 1][1]
        levels.append(_level(own, ring, inner, rank, (height, width), device))
    return levels[::-1], torch.from_numpy(rank[:pixels]).to(device)


def _halves(region: Region) -> tuple[Region, Region]:
    top, bottom, left, right = region
    if right - left >= bottom - top:
        middle = (left + right) // 2
        return (top, bottom, left, middle), (top, bottom, min(middle + 1, right), right)
    middle = (top + bottom) // 2
    return (top, middle, left, right), (middle + 1, bottom, left, right)


def _separator(region: Region, number: np.ndarray) -> np.ndarray:
    """Return the pixels between the halves of a region."""
    top, bottom, left, right = region
    if right - left >= bottom - top:
        return number[top:bottom, (left + right) // 2 : (left + right) // 2 + (right > left)].ravel()
    return number[(top + bottom) // 2, left:right]


def _ring(region: Region, number: np.ndarray) -> np.ndarray:
    """Return the pixels outside a region that are next to one inside."""
    top, bottom, left, right = region
    if top >= bottom or left >= right:
        return number[:0, 0]
    sides = [number[top - 1 : top, left:right]] if top else []
    sides += [number[bottom : bottom + 1, left:right], number[top:bottom, right : right + 1]]
    sides += [number[top:bottom, left - 1 : left]] if left else []
    return np.concatenate([side.ravel() for side in sides])


def _padded(lists: list[np.ndarray], fill: int) -> np.ndarray:
    padded = np.full((len(lists), max(map(len, lists))), fill)
    for row, values in zip(padded, lists, strict=True):
        row[: len(values)] = values
    return padded


def _level(
    own: np.ndarray,
    ring: np.ndarray,
    inner: np.ndarray | None,
    rank: np.ndarray,
    shape: tuple[int, int],
    device: torch.device,
) -> Level:
    """Return a level with all its numbers; ``inner`` are the rings of its halves."""
    (height, width), pixels = shape, shape[0] * shape[1]
    parts, (count, size) = len(own), (own.shape[1], own.shape[1] + ring.shape[1])
    places = np.concatenate([own, ring], 1)
    # place[part, pixel] would be large: look pixels up in the part's sorted ones instead.
    order = np.argsort(places, 1, kind="stable")
    ordered = np.take_along_axis(places, order, 1) + np.arange(parts)[:, None] * (pixels + 1)

    def find(pixel: np.ndarray) -> np.ndarray:
        """Return the places of pixels (parts, n), or -1."""
        wanted = pixel + np.arange(parts)[:, None] * (pixels + 1)
        at = np.minimum(np.searchsorted(ordered.ravel(), wanted.ravel()), ordered.size - 1).reshape(wanted.shape)
        hit = (ordered.ravel()[at] == wanted) & (pixel < pixels)
        return np.where(hit, order.ravel()[at], -1)

    part, place = np.broadcast_to(np.arange(parts)[:, None], own.shape), np.broadcast_to(np.arange(count), own.shape)
    used = own < pixels
    row, column = own // width, own % width
    entries = [(part * size + place) * size + place]
    values = [np.where(used, own, 3 * pixels)]
    kept = [np.ones_like(used)]
    for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0)):
        inside = used & (row + dy >= 0) & (row + dy < height) & (column + dx >= 0) & (column + dx < width)
        other = np.where(inside, own + dy * width + dx, pixels)
        at = find(other)
        edge = np.minimum(own, other) + pixels * (1 if dx else 2)
        inside &= at >= 0
        for flat in ((part * size + place) * size + at, (part * size + at) * size + place):
            entries.append(flat)
            values.append(edge)
            kept.append(inside)
    used_entries, flat_entries, flat_values = (
        np.concatenate([x.ravel() for x in lists]) for lists in (kept, entries, values)
    )
    # An edge between two own pixels is found from both ends, but counts once.
    numbers, first = np.unique(flat_entries[used_entries], return_index=True)
    coefficients = flat_values[used_entries][first]
    children = None
    if inner is not None:
        empty = inner.shape[1]
        halves = []
        for half in (0, 1):
            # `find` gives the halves' rings their places in this part's matrix; invert that, by this part's places.
            at = find(inner[half::2])
            inverse = np.full((parts, size + 1), empty)
            np.put_along_axis(inverse, np.where(at >= 0, at, size), np.arange(empty)[None].repeat(parts, 0), 1)
            halves.append(torch.from_numpy(inverse[:, :size]).to(device))
        children = halves[0], halves[1]
    own_t, ring_t, entries_t, values_t = (
        torch.from_numpy(np.ascontiguousarray(x)).to(device) for x in (own, rank[ring], numbers, coefficients)
    )
    return Level(own_t, ring_t, entries_t, values_t, children)
