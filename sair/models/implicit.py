"""The local implicit function that SIR and AIR share (paper, equations 1, 4 and 5; LIIF, Chen et al. 2021).

A continuous coordinate p gets the weighted mean of an MLP's answers for the four feature cells around it:

    value(p) = sum_q w_q(p) * mlp([z_q, extra_q, p - q, cell])

The weights are the areas of the rectangles opposite to q, that is, the bilinear ones. Three exact identities make it
fast: the MLP's first layer is linear, so its feature part is a convolution of the grid when many cells are asked for
and a gather when few are; and on the cells' own centres three of the four weights are zero, so one answer is enough.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# LIIF's own constants: the nudge that decides ties between cells, and the floor under the areas.
_UPSTREAM_SHIFT = 1e-6
_UPSTREAM_AREA = 1e-9
# Answers that the MLP computes at once where no gradient is asked for: its layers hand on 4 MiB at width 256.
_IN_CACHE = 4096
_FUSED = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def pixel_centres(height: int, width: int, device: torch.device | None = None) -> Tensor:
    """Centres of a grid's cells as coordinates, (height * width, 2), (y, x) in [-1, 1], row by row."""
    y = (torch.arange(height, device=device, dtype=torch.float32) * 2 + 1) / height - 1
    x = (torch.arange(width, device=device, dtype=torch.float32) * 2 + 1) / width - 1
    return torch.stack(torch.meshgrid(y, x, indexing="ij"), dim=-1).view(-1, 2)


class Members(NamedTuple):
    """The feature cells that answer for each query.

    index: flat cell number in the grid, (K, B, Q) int64.
    offset: p - q in LIIF's unit, in which one cell is 2, (K, B, Q, 2).
    weight: (K, B, Q), summing to 1 over the K members.
    """

    index: Tensor
    offset: Tensor
    weight: Tensor


def neighbours(coords: Tensor, height: int, width: int, upstream: bool = False) -> Members:
    """The four cells around each coordinate, with bilinear weights.

    Args:
        coords: (B, Q, 2), (y, x) in [-1, 1].
        height, width: size of the feature grid.
        upstream: reproduce the authors' LIIF to the last bit of behaviour: in the last row and column of a grid
            rendered at its own size its clamped look-up averages four members instead of taking one, which shows as
            a faint line. Needed to agree with their checkpoints, off otherwise.
    """
    size = coords.new_tensor([height, width])
    limit = torch.tensor([height - 1, width - 1], device=coords.device)
    position = (coords + 1) / 2 * size - 0.5
    if upstream:
        corners = [_upstream_corner(coords, size, limit, sign) for sign in (-1, 1)]
    else:
        low = torch.floor(position + 1e-4)
        corners = [torch.minimum((low + step).long().clamp_min(0), limit) for step in (0, 1)]
        fraction = (position - low).clamp(0, 1)
        axis_weight = (1 - fraction, fraction)

    index, offset, weight = [], [], []
    for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
        cell = torch.stack([corners[i][..., 0], corners[j][..., 1]], dim=-1)
        index.append(cell[..., 0] * width + cell[..., 1])
        # By the same arithmetic as `pixel_centres`, so that a cell's own centre has an offset of exactly zero.
        offset.append((coords - ((cell * 2 + 1) / size - 1)) * size)
        if not upstream:
            weight.append(axis_weight[i][..., 0] * axis_weight[j][..., 1])
    if upstream:
        area = [(o[..., 0] * o[..., 1]).abs() + _UPSTREAM_AREA for o in offset]
        total = sum(area)
        weight = [a / total for a in reversed(area)]
    return Members(torch.stack(index), torch.stack(offset), torch.stack(weight))


def _upstream_corner(coords: Tensor, size: Tensor, limit: Tensor, sign: int) -> Tensor:
    shifted = (coords + sign / size + _UPSTREAM_SHIFT).clamp(-1 + _UPSTREAM_SHIFT, 1 - _UPSTREAM_SHIFT)
    return torch.minimum(torch.round(((shifted + 1) * size - 1) / 2).long().clamp_min(0), limit)


def _side_by_side(values: Tensor) -> Tensor:
    """Per-member values in one row of queries, (K, B, Q, ...) -> (B, K * Q, ...)."""
    return values.movedim(0, 1).flatten(1, 2)


def own_cells(index: Tensor) -> Members:
    """The members of queries that lie on cell centres: the cell itself. ``index`` is (B, Q) int64."""
    weight = torch.ones(1, *index.shape, device=index.device)
    return Members(index[None], weight.new_zeros(*weight.shape, 2), weight)


def coordinates(members: Members, height: int, width: int) -> Tensor:
    """The coordinates that members were made for, (B, Q, 2)."""
    size = members.offset.new_tensor([height, width])
    cell = torch.stack([members.index[0] // width, members.index[0] % width], dim=-1)
    return (cell * 2 + 1) / size - 1 + members.offset[0] / size


class MLP(nn.Module):
    """Linear layers with ReLU between them; parameter names as in LIIF's ``imnet``."""

    def __init__(self, inputs: int, outputs: int, hidden: Sequence[int]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width in hidden:
            layers += [nn.Linear(inputs, width), nn.ReLU()]
            inputs = width
        self.layers = nn.Sequential(*layers, nn.Linear(inputs, outputs))

    def after_first(self, hidden: Tensor) -> Tensor:
        """Everything behind the first layer's linear part, (..., width) -> (..., outputs); overwrites ``hidden``."""
        hidden = hidden.relu_()
        *inner, last = self.layers[2::2]
        for layer in inner:
            hidden = _linear_relu(hidden, layer)
        return last(hidden)


def _linear_relu(x: Tensor, layer: nn.Linear) -> Tensor:
    """A linear layer and its ReLU; in one pass over the memory where oneDNN offers that and no gradient is wanted."""
    plain = torch.is_grad_enabled() or x.device.type != "cpu" or x.dtype != torch.float32
    if plain or torch.is_autocast_enabled("cpu") or not _FUSED:
        return layer(x).relu_()
    return torch.ops.mkldnn._linear_pointwise(x, layer.weight, layer.bias, "relu", [], "")


class LocalImplicitFunction(nn.Module):
    """Map a feature grid and coordinates to values, (B, C, h, w) and (B, Q, 2) -> (B, Q, outputs).

    Args:
        channels: C of the feature grid; 0 where there is only the further vector.
        outputs: size of a value.
        hidden: widths of the MLP's hidden layers (paper, section 4.4: four layers of width 256).
        unfold: give the MLP the 3x3 neighbourhood of a cell instead of the cell (LIIF's feature unfolding); or a list
            of dilations, a 3x3 neighbourhood each: ``[1, 2, 4]`` reaches four cells far.
        cell: give the MLP the size of the pixel asked for (LIIF's cell decoding).
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
        self.dilations = dilations if channels else []
        self._grid_inputs = [channels * (9 if dilation else 1) for dilation in self.dilations]
        self.imnet = MLP(sum(self._grid_inputs) + extra + 2 + (2 if cell else 0), outputs, hidden)
        if zero_start:
            nn.init.zeros_(self.imnet.layers[-1].weight)
            nn.init.zeros_(self.imnet.layers[-1].bias)

    def forward(
        self,
        features: Tensor,
        members: Members,
        cell: Tensor | None = None,
        extra: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor:
        """Answer the queries that ``neighbours`` or ``own_cells`` prepared.

        Args:
            features: (B, C, h, w).
            members: which cells answer for the Q queries.
            cell: (2,) height and width of the pixel asked for, in the coordinates' unit (2 / output size).
            extra: called with cell numbers (B, N); returns the further vectors of these cells, (B, N, extra). A
                function and not a grid, so that it is evaluated only where it is needed.

        Returns:
            (B, Q, outputs)
        """
        first = self.imnet.layers[0]
        parts = [*self._grid_inputs, self.extra, 2] + ([2] if self.cell else [])
        *per_cell, of_offset = first.weight.split(parts, dim=1)[: len(self._grid_inputs) + 2]
        bias = first.bias
        if self.cell:
            size = features.new_tensor(features.shape[-2:])
            bias = bias + F.linear(cell.to(size) * size, first.weight[:, -2:])
        index = _side_by_side(members.index)
        strip = _strip(features, index, max(self.dilations, default=0))
        every = strip.cells()
        at_once = index.shape[1] if torch.is_grad_enabled() else max(1, _IN_CACHE // len(index))
        # As many queries as cells: answer each cell once, and look the answers up.
        if index.shape[1] >= every.shape[1]:
            table = self._per_cell(strip, every, per_cell, bias, extra, dense=True)
            parts = (_look_up(table, some) for some in (strip.index - every[0, 0]).split(at_once, 1))
        else:
            parts = self._per_cell(strip, strip.index, per_cell, bias, extra, dense=False).split(at_once, 1)
        offsets = _side_by_side(members.offset).split(at_once, 1)
        hidden = (F.linear(offset, of_offset).add_(part) for part, offset in zip(parts, offsets, strict=True))
        return _combine(torch.cat([self.imnet.after_first(part) for part in hidden], 1), members)

    def _per_cell(
        self,
        strip: Strip,
        index: Tensor,
        weights: Sequence[Tensor],
        bias: Tensor,
        extra: Callable[[Tensor], Tensor] | None,
        dense: bool,
    ) -> Tensor:
        """The first layer without the offset's part, for the cells ``index`` (B, N) of a strip: (B, N, width)."""
        hidden = None
        for dilation, weight in zip(self.dilations, weights, strict=False):
            part = _convolve(strip, weight, bias, dilation) if dense else _gather(strip, index, weight, bias, dilation)
            hidden, bias = part if hidden is None else hidden + part, None  # the bias once
        if self.extra:
            part = F.linear(extra(index + strip.start), weights[-1], bias)
            hidden = part if hidden is None else hidden + part
        return hidden


class Strip(NamedTuple):
    """The rows of a feature grid that some queries look at.

    features: (B, C, rows, w); beyond its first and last row are others of the grid only where no query looks.
    index: the queries' cells, numbered from the strip's first, (B, N).
    start: number of the strip's first cell in the grid.
    asked: first and last row that a query lies in, counted in the strip.
    """

    features: Tensor
    index: Tensor
    start: int
    asked: tuple[int, int]

    def cells(self) -> Tensor:
        """Numbers of all cells in the asked rows, (B, N)."""
        width = self.features.shape[-1]
        cells = torch.arange(self.asked[0] * width, (self.asked[1] + 1) * width, device=self.index.device)
        return cells[None].expand(len(self.features), -1)


def _strip(features: Tensor, index: Tensor, reach: int) -> Strip:
    """Cut out the rows that ``index`` (B, N) needs, ``reach`` rows around included, so that a chunk of a large image
    costs what it asks for."""
    height, width = features.shape[-2:]
    first, last = int(index.min()) // width, int(index.max()) // width
    top, bottom = max(first - reach, 0), min(last + reach + 1, height)
    return Strip(features[:, :, top:bottom], index - top * width, top * width, (first - top, last - top))


def _convolve(strip: Strip, weight: Tensor, bias: Tensor | None, dilation: int) -> Tensor:
    """A first layer's part for features around every cell of the asked rows: (B, N, width).

    Args:
        strip: where to look.
        weight: (width, C * 9), channel by channel, or (width, C) for ``dilation`` 0, the cell alone.
        bias: (width,) or None.
        dilation: distance between the nine cells.
    """
    side = 3 if dilation else 1
    kernel = weight.view(len(weight), -1, side, side)
    answers = F.conv2d(strip.features, kernel, bias, padding=dilation, dilation=max(dilation, 1))
    return _cells_of(answers[:, :, strip.asked[0] : strip.asked[1] + 1])


def _gather(strip: Strip, index: Tensor, weight: Tensor, bias: Tensor | None, dilation: int) -> Tensor:
    """The same for the cells ``index`` (B, N) alone: (B, N, width)."""
    if dilation == 0:
        return F.linear(_look_up(_cells_of(strip.features), index), weight, bias)
    batch, channels, _, width = strip.features.shape
    padded = F.pad(strip.features, (dilation,) * 4)
    corner = (index // width) * (width + 2 * dilation) + index % width
    steps = [dilation * step for step in range(3)]
    taps = [corner + dy * (width + 2 * dilation) + dx for dy in steps for dx in steps]
    around = torch.stack(taps, dim=-1).view(batch, -1)
    patches = _look_up(_cells_of(padded), around).view(batch, -1, 9 * channels)
    # LIIF's unfold runs channel-major; the gathered patch runs tap-major, so the weight follows the patch.
    return F.linear(patches, weight.view(-1, channels, 9).transpose(1, 2).reshape(-1, 9 * channels), bias)


class LocalTextureEstimator(nn.Module):
    """LTE: an implicit function over estimated Fourier components (Lee and Jin, CVPR 2022).

    Every cell gives amplitudes and frequencies; the MLP sees amplitude * [cos, sin](pi * (frequency . (p - q) +
    phase(pixel size))), and a bilinear copy of the input image is added to its answer by the caller. Parameter
    names are those of the authors' checkpoints.

    Args:
        channels: C of the feature grid.
        outputs: size of a value.
        hidden: widths of the MLP's hidden layers.
        width: number of amplitudes; half as many two-dimensional frequencies.
        extra, upstream: as of ``LocalImplicitFunction``; the extra vector goes to the MLP beside the components.
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
        """As ``LocalImplicitFunction.forward``; ``cell`` is needed."""
        strip = _strip(features, _side_by_side(members.index), 1)
        offset = _side_by_side(members.offset)[..., None, :]
        # Frequencies come in consecutive pairs, (y, x).
        frequency = _look_up(_cells_of(self.freq(strip.features)), strip.index).unflatten(-1, (-1, 2)).float()
        size = features.new_tensor(features.shape[-2:])
        phase = (frequency * offset).sum(-1) + self.phase(cell.to(size) * size).float()
        waves = torch.cat([torch.cos(torch.pi * phase), torch.sin(torch.pi * phase)], dim=-1)
        inputs = _look_up(_cells_of(self.coef(strip.features)), strip.index) * waves
        if self.extra:
            inputs = torch.cat([inputs, extra(_side_by_side(members.index)).to(inputs)], dim=-1)
        return _combine(self.imnet.layers(inputs), members)


def _combine(answers: Tensor, members: Members) -> Tensor:
    """Weighted sum of the members' answers, (B, K * Q, outputs) -> (B, Q, outputs)."""
    count, batch, queries = members.index.shape
    answers = answers.view(batch, count, queries, -1)
    return answers[:, 0] if count == 1 else (answers * members.weight.movedim(0, 1)[..., None]).sum(1)


FUNCTIONS = {"liif": LocalImplicitFunction, "lte": LocalTextureEstimator}


def _cells_of(grid: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, h * w, C)."""
    return grid.permute(0, 2, 3, 1).flatten(1, 2)


def _look_up(rows: Tensor, index: Tensor) -> Tensor:
    """Vectors by number: (B, N, C), (B, M) -> (B, M, C)."""
    batch, count, channels = rows.shape
    start = torch.arange(batch, device=index.device)[:, None] * count
    # An embedding look-up, because its backward is the one gather that is deterministic and fast on a CPU.
    return F.embedding(index + start, rows.reshape(-1, channels))


def interpolate(features: Tensor, members: Members) -> Tensor:
    """Bilinear interpolation of the features themselves, (B, C, h, w) -> (B, Q, C)."""
    return _combine(_look_up(_cells_of(features), _side_by_side(members.index)), members)
