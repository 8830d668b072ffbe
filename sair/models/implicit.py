"""Evaluate the local implicit function that SIR and AIR share (paper, equations 1, 4 and 5; LIIF, Chen et al. 2021).

The value at a continuous coordinate p is the weighted mean of an MLP's outputs for the four feature cells around p:

    value(p) = sum_q w_q(p) * mlp([z_q, extra_q, p - q, cell])

The weights are the areas of the rectangles opposite to q, that is, the bilinear weights. Three exact identities
make this fast. The MLP's first layer is linear, so its feature part is a convolution of the grid if there are many
queries, and a gather if there are few. Its last layer is linear, too, and the weights sum to one, so the mean is taken
before it. At the cells' own centres three of the four weights are zero, so one cell is enough. The operations for this
are in ``sair.models.implicit_fast``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sair.common.errors import InputError
from sair.common.tensors import constants
from sair.models.implicit_fast import Strip, cells_of, convolve, cut_strip, gather, linear_relu, look_up, look_up_index

# LIIF's own constants: the shift that breaks ties between cells, and the lower bound of the areas.
_UPSTREAM_SHIFT = 1e-6
_UPSTREAM_AREA = 1e-9
# Batch of queries for inference: activations of 4096 x 256 float32 (4 MiB) stay in the processor's cache.
_IN_CACHE = 4096


def pixel_centres(height: int, width: int, device: torch.device | None = None) -> Tensor:
    """Return the centres of a grid's cells as coordinates, (height * width, 2), (y, x) in [-1, 1], row by row."""
    return centres_of(torch.arange(height * width, device=device), height, width)


def centres_of(index: Tensor, height: int, width: int) -> Tensor:
    """Return the centres of numbered cells as coordinates, (...) int64 -> (..., 2), (y, x) in [-1, 1]."""
    return _centres(torch.stack([index // width, index % width], dim=-1), constants((height, width), index.device))


def _centres(cells: Tensor, size: Tensor) -> Tensor:
    """Return the centres of cells (..., 2), given by row and column, on a grid of ``size``."""
    return (cells * 2 + 1) / size - 1


def pixel_size(height: int, width: int, device: torch.device) -> Tensor:
    """Return the height and width of a pixel in the unit of coordinates, (2,)."""
    return 2 / constants((height, width), device)


def rows_around(first: int, last: int, height: int, rows: int) -> tuple[int, int]:
    """Return the first and last row of a grid of ``rows`` that rows first to last of an image of ``height`` need.

    They are computed on the host, with a margin for the rounding of ``neighbours``, so nothing is read from the device.
    """
    margin = 0.01
    before, after = (((2 * row + 1) / height * rows - 1) / 2 for row in (first, last))  # in cells, as in `neighbours`
    return max(0, math.floor(before - margin)), min(rows - 1, math.floor(after + margin) + 1)


@dataclass(frozen=True)
class Members:
    """The feature cells that determine the value of each query.

    index: flat cell number in the grid, (K, B, Q) int64.
    offset: p - q in LIIF's unit, in which one cell is 2, (K, B, Q, 2).
    weight: (K, B, Q), summing to 1 over the K members.
    rows: the first and last row of the grid that can contain these cells, known without reading ``index``; None: all.
    """

    index: Tensor
    offset: Tensor
    weight: Tensor
    rows: tuple[int, int] | None = None


def neighbours(
    coords: Tensor, height: int, width: int, upstream: bool = False, rows: tuple[int, int] | None = None
) -> Members:
    """Return the four cells around each coordinate, with bilinear weights.

    Args:
        coords: (B, Q, 2), (y, x) in [-1, 1].
        height, width: size of the feature grid.
        upstream: reproduce the authors' LIIF exactly. In the last row and column of a grid rendered at its own size,
            its clamped look-up averages four members instead of taking one, which shows as a faint line. Required for
            their checkpoints, off otherwise.
        rows: see ``Members``.
    """
    size = constants((height, width), coords.device)
    limit = constants((height - 1, width - 1), coords.device, torch.int64)
    position = (coords + 1) / 2 * size - 0.5  # in cells: k is the centre of cell k
    if upstream:
        corners = [_upstream_corner(coords, size, limit, sign) for sign in (-1, 1)]
    else:
        # The cell before and the cell after. The small number keeps a rounded centre in its own cell; at the border
        # both are the outer cell, and their weights still sum to 1.
        low = torch.floor(position + 1e-4)
        corners = [torch.minimum((low + step).long().clamp_min(0), limit) for step in (0, 1)]
        fraction = (position - low).clamp(0, 1)
        axis_weight = (1 - fraction, fraction)

    index, offset, weight = [], [], []
    for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
        cell = torch.stack([corners[i][..., 0], corners[j][..., 1]], dim=-1)
        index.append(cell[..., 0] * width + cell[..., 1])
        # The same arithmetic as in `pixel_centres`, so that a cell's own centre has an offset of exactly zero.
        offset.append((coords - _centres(cell, size)) * size)
        if not upstream:
            weight.append(axis_weight[i][..., 0] * axis_weight[j][..., 1])
    if upstream:
        # Weight of a corner: the area opposite to it, which is that of the corner at the other end of the list.
        area = [(o[..., 0] * o[..., 1]).abs() + _UPSTREAM_AREA for o in offset]
        total = sum(area)
        weight = [a / total for a in reversed(area)]
    return Members(torch.stack(index), torch.stack(offset), torch.stack(weight), rows)


def _upstream_corner(coords: Tensor, size: Tensor, limit: Tensor, sign: int) -> Tensor:
    shifted = (coords + sign / size + _UPSTREAM_SHIFT).clamp(-1 + _UPSTREAM_SHIFT, 1 - _UPSTREAM_SHIFT)
    return torch.minimum(torch.round(((shifted + 1) * size - 1) / 2).long().clamp_min(0), limit)


def _side_by_side(values: Tensor) -> Tensor:
    """Put the members' values side by side as one row of queries, (K, B, Q, ...) -> (B, K * Q, ...)."""
    return values.movedim(0, 1).flatten(1, 2)


def own_cells(index: Tensor, rows: tuple[int, int] | None = None) -> Members:
    """Return the members of queries that lie on cell centres: the cell itself.

    Args:
        index: cell numbers, (B, Q) int64.
        rows: see ``Members``.
    """
    weight = torch.ones(1, *index.shape, device=index.device)
    return Members(index[None], weight.new_zeros(*weight.shape, 2), weight, rows)


def coordinates(members: Members, height: int, width: int) -> Tensor:
    """Return the coordinates that members were made for, (B, Q, 2)."""
    size = constants((height, width), members.offset.device)
    return centres_of(members.index[0], height, width) + members.offset[0] / size


class MLP(nn.Module):
    """Linear layers with ReLU between them; parameter names as in LIIF's ``imnet``."""

    def __init__(self, inputs: int, outputs: int, hidden: Sequence[int]) -> None:
        super().__init__()
        if not hidden or min(hidden) < 1:
            raise InputError(f"`hidden`: {list(hidden)}; expected the width of at least one layer, each 1 or more.")
        layers: list[nn.Module] = []
        for width in hidden:
            layers += [nn.Linear(inputs, width), nn.ReLU()]
            inputs = width
        self.layers = nn.Sequential(*layers, nn.Linear(inputs, outputs))

    def after_first(self, hidden: Tensor) -> Tensor:
        """Apply the layers between the first linear layer and the last, (N, width) -> (N, width).

        ``hidden`` is overwritten. It must be no view: PyTorch copies the gradient of an operation in place on a view.
        """
        hidden = hidden.relu_()
        _, *inner, _ = (layer for layer in self.layers if isinstance(layer, nn.Linear))
        for layer in inner:
            hidden = linear_relu(hidden, layer)
        return hidden

    def last(self, hidden: Tensor) -> Tensor:
        """Apply the last linear layer, (..., width) -> (..., outputs)."""
        return self.layers[-1](hidden)


class LocalImplicitFunction(nn.Module):
    """Map a feature grid and coordinates to values, (B, C, h, w) and (B, Q, 2) -> (B, Q, outputs).

    Args:
        channels: C of the feature grid; 0 if only ``extra`` is used.
        outputs: size of a value.
        hidden: widths of the MLP's hidden layers (paper, section 4.4: four layers of width 256).
        unfold: give the MLP the 3x3 neighbourhood of a cell instead of the cell (LIIF's feature unfolding); or a list
            of dilations, a 3x3 neighbourhood each: ``[1, 2, 4]`` reaches four cells far.
        cell: give the MLP the size of the output pixel (LIIF's cell decoding).
        extra: size of a further vector per cell, see ``forward``.
        zero_start: start the last layer at zero, so that a residual function starts as the identity.
        upstream: see ``neighbours``.
    """

    adds_image = False

    def __init__(
        self,
        channels: int,
        outputs: int,
        hidden: Sequence[int] = (256, 256, 256),
        *,
        unfold: bool | Sequence[int] = False,
        cell: bool = False,
        extra: int = 0,
        zero_start: bool = False,
        upstream: bool = False,
    ) -> None:
        super().__init__()
        self.outputs, self.cell, self.extra, self.upstream = outputs, cell, extra, upstream
        # Dilation 0 is the cell itself.
        dilations = {False: [0], True: [1]}[unfold] if isinstance(unfold, bool) else list(unfold)
        if not dilations or min(dilations) < 0:
            raise InputError(
                f"`unfold`: {dilations}; expected one dilation or more, each at least 0 (the cell itself)."
            )
        self.dilations = dilations if channels else []
        self._grid_inputs = [channels * (9 if dilation else 1) for dilation in self.dilations]
        self.imnet = MLP(sum(self._grid_inputs) + extra + 2 + (2 if cell else 0), outputs, hidden)
        if zero_start:
            last = self.imnet.layers[-1]
            assert isinstance(last, nn.Linear)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(
        self,
        features: Tensor,
        members: Members,
        cell: Tensor | None = None,
        extra: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor:
        """Return the values of the queries that ``neighbours`` or ``own_cells`` prepared.

        Args:
            features: (B, C, h, w).
            members: the cells that each of the Q queries uses.
            cell: (2,) height and width of an output pixel, in the coordinates' unit (2 / output size).
            extra: called with cell numbers (B, N); returns the further vectors of these cells, (B, N, extra). A
                function and not a grid, so that it is evaluated only where it is needed.

        Returns:
            (B, Q, outputs)
        """
        # Split the first layer's weight by its inputs: each 3x3 neighbourhood of the grid, the extra vector, the
        # offset, the size of the pixel. The last is the same for all queries, so its part is added to the bias.
        first = self.imnet.layers[0]
        assert isinstance(first, nn.Linear)
        sizes = [*self._grid_inputs, self.extra, 2] + ([2] if self.cell else [])
        *per_cell, of_offset = first.weight.split(sizes, dim=1)[: len(self._grid_inputs) + 2]
        bias: Tensor = first.bias
        if self.cell:
            assert cell is not None, "a function with cell decoding needs `cell`"
            bias = bias + F.linear(_in_cells(cell, features), first.weight[:, -2:])
        index = _side_by_side(members.index)
        strip = cut_strip(features, index, max(self.dilations, default=0), members.rows)
        every = strip.cells()
        # On a GPU, several parts would only cost more kernel launches.
        whole = torch.is_grad_enabled() or index.device.type != "cpu"
        at_once = members.index.shape[2] if whole else max(1, _IN_CACHE // (len(index) * len(members.index)))

        def parts(values: Tensor) -> tuple[Tensor, ...]:
            """Split (B, K * Q, ...) by its queries into parts (B, K, q, ...)."""
            return values.unflatten(1, (len(members.index), -1)).split(at_once, 2)

        # With at least as many queries as cells, compute each cell once and look the results up.
        looked_up: Iterable[Tensor]
        if index.shape[1] >= every.shape[1]:
            table = self._per_cell(strip, every, per_cell, bias, extra, dense=True)
            looked_up = (look_up(table, some) for some in parts(strip.index - strip.asked[0] * features.shape[-1]))
        else:
            looked_up = parts(self._per_cell(strip, strip.index, per_cell, bias, extra, dense=False))
        offsets, weights = parts(_side_by_side(members.offset)), parts(_side_by_side(members.weight))
        values = []
        for part, offset, weight in zip(looked_up, offsets, weights, strict=True):
            hidden = self.imnet.after_first(F.linear(offset.flatten(0, 2), of_offset) + part.flatten(0, 2))
            values.append(self.imnet.last(_mean(hidden.unflatten(0, weight.shape), weight)))
        return torch.cat(values, 1)

    def _per_cell(
        self,
        strip: Strip,
        index: Tensor,
        weights: Sequence[Tensor],
        bias: Tensor | None,
        extra: Callable[[Tensor], Tensor] | None,
        dense: bool,
    ) -> Tensor:
        """Apply the first layer without the offset's part to cells.

        Args:
            strip: the rows that contain the cells.
            index: the cells, numbered from the strip's first, (B, N).
            weights: the first layer's weights, one per dilation, then that of the extra vector.
            bias: (width,)
            extra: same as in ``forward``.
            dense: convolve the strip, for an ``index`` of all cells in its rows with queries; otherwise gather.

        Returns:
            (B, N, width)
        """
        hidden: Tensor | None = None
        for dilation, weight in zip(self.dilations, weights, strict=False):
            part = convolve(strip, weight, bias, dilation) if dense else gather(strip, index, weight, bias, dilation)
            hidden, bias = part if hidden is None else hidden + part, None  # add the bias only once
        if self.extra:
            assert extra is not None, "a function with an extra vector needs `extra`"
            part = F.linear(extra(index + strip.start), weights[-1], bias)
            hidden = part if hidden is None else hidden + part
        assert hidden is not None, "a function of nothing"
        return hidden


class LocalTextureEstimator(nn.Module):
    """LTE: an implicit function over estimated Fourier components (Lee and Jin, CVPR 2022).

    Amplitudes and frequencies are estimated for every cell. The MLP's input is amplitude * [cos, sin](pi * (frequency .
    (p - q) + phase(pixel size))). The caller adds a bilinear copy of the input image to its output. Parameter names
    are those of the authors' checkpoints.

    Args:
        channels: C of the feature grid.
        outputs: size of a value.
        hidden: widths of the MLP's hidden layers.
        width: number of amplitudes; half as many two-dimensional frequencies.
        extra, upstream: same as in ``LocalImplicitFunction``; the extra vector is a further input of the MLP.
    """

    adds_image = True

    def __init__(
        self,
        channels: int,
        outputs: int,
        hidden: Sequence[int] = (256, 256, 256),
        *,
        width: int = 256,
        extra: int = 0,
        upstream: bool = False,
    ) -> None:
        super().__init__()
        self.outputs, self.extra, self.upstream = outputs, extra, upstream
        self.coef = nn.Conv2d(channels, width, 3, padding=1)
        self.freq = nn.Conv2d(channels, width, 3, padding=1)
        self.phase = nn.Linear(2, width // 2, bias=False)
        self.imnet = MLP(width + extra, outputs, hidden)

    def forward(
        self,
        features: Tensor,
        members: Members,
        cell: Tensor | None = None,
        extra: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor:
        """Return the values of queries, same as in ``LocalImplicitFunction.forward``; ``cell`` is required."""
        assert cell is not None, "LTE needs `cell`"
        strip = cut_strip(features, _side_by_side(members.index), 1, members.rows)
        offset = _side_by_side(members.offset)[..., None, :]
        # Frequencies come in consecutive pairs, (y, x).
        frequency = look_up(cells_of(self.freq(strip.features)), strip.index).unflatten(-1, (-1, 2)).float()
        phase = (frequency * offset).sum(-1) + self.phase(_in_cells(cell, features)).float()
        waves = torch.cat([torch.cos(torch.pi * phase), torch.sin(torch.pi * phase)], dim=-1)
        inputs = look_up(cells_of(self.coef(strip.features)), strip.index) * waves
        if self.extra:
            assert extra is not None, "a function with an extra vector needs `extra`"
            inputs = torch.cat([inputs, extra(_side_by_side(members.index)).to(inputs)], dim=-1)
        hidden = self.imnet.layers[:-1](inputs).unflatten(1, (len(members.index), -1))
        return self.imnet.last(_mean(hidden, members.weight.movedim(0, 1)))


def _in_cells(cell: Tensor, features: Tensor) -> Tensor:
    """Convert the size of an output pixel, (2,), to cells of a grid (B, C, h, w) times 2, in the grid's type."""
    return cell.to(features) * constants(features.shape[-2:], features.device, features.dtype)


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted sums over the members, (B, K, Q, C) and (B, K, Q) -> (B, Q, C)."""
    if values.shape[1] == 1:
        return values[:, 0]
    # One by one: a product of all members at once would be a larger tensor than all others here.
    products = (value * weight[..., None] for value, weight in zip(values.unbind(1), weights.unbind(1), strict=True))
    return reduce(torch.add, products)


FUNCTIONS = {"liif": LocalImplicitFunction, "lte": LocalTextureEstimator}


def interpolate(features: Tensor, members: Members) -> Tensor:
    """Interpolate features themselves, bilinearly, (B, C, h, w) -> (B, Q, C)."""
    batch, _, height, width = features.shape
    if features.requires_grad:
        values = look_up(cells_of(features), members.index.movedim(0, 1))
        return _mean(values, members.weight.movedim(0, 1).to(values))
    cells = look_up_index(members.index.movedim(0, 2).flatten(1), height * width)
    # Looks up and adds in one pass, where separate operations write the four vectors of each query to memory.
    count = len(members.index)
    table, weights = cells_of(features).flatten(0, 1), members.weight.movedim(0, 2).reshape(-1, count)
    means = F.embedding_bag(cells.view(-1, count), table, per_sample_weights=weights.to(table), mode="sum")
    return means.unflatten(0, (batch, -1))
