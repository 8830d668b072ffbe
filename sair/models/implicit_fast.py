"""Speed up the implicit functions: strips of the grid, look-ups of cells, and a fused linear layer.

The formula is in ``sair.models.implicit``. A grid's cells are numbered row by row. The results are those of the
formula, up to the order of sums.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_FUSED = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def linear_relu(x: Tensor, layer: nn.Linear) -> Tensor:
    """Apply a linear layer and ReLU, in one pass over the memory if oneDNN offers that and no gradient is needed."""
    plain = torch.is_grad_enabled() or x.device.type != "cpu" or x.dtype != torch.float32
    if plain or torch.is_autocast_enabled("cpu") or not _FUSED:
        return layer(x).relu_()
    return torch.ops.mkldnn._linear_pointwise(x, layer.weight, layer.bias, "relu", [], "")


@dataclass(frozen=True)
class Strip:
    """The rows of a feature grid that some queries need.

    features: (B, C, rows, w); all rows of the grid that a query's neighbourhood reaches.
    index: the queries' cells, numbered from the strip's first, (B, N).
    start: number of the strip's first cell in the grid.
    asked: first and last row with a query, counted in the strip.
    """

    features: Tensor
    index: Tensor
    start: int
    asked: tuple[int, int]

    def cells(self) -> Tensor:
        """Return the numbers of all cells in the rows with queries, (B, N)."""
        width = self.features.shape[-1]
        cells = torch.arange(self.asked[0] * width, (self.asked[1] + 1) * width, device=self.index.device)
        return cells[None].expand(len(self.features), -1)


def cut_strip(features: Tensor, index: Tensor, reach: int, rows: tuple[int, int] | None = None) -> Strip:
    """Cut out the rows that queries need, so that memory scales with them, not with the whole image.

    Args:
        features: the whole grid, (B, C, h, w).
        index: the queries' cells, (B, N).
        reach: number of further rows that their neighbourhoods need above and below.
        rows: the first and last row that the queries can be in; None: all. The caller gives them, because
            reading them from ``index`` would wait for the device.
    """
    height, width = features.shape[-2:]
    first, last = rows or (0, height - 1)
    top, bottom = max(first - reach, 0), min(last + reach + 1, height)
    return Strip(features[:, :, top:bottom], index - top * width, top * width, (first - top, last - top))


def convolve(strip: Strip, weight: Tensor, bias: Tensor | None, dilation: int) -> Tensor:
    """Apply a first layer's part to the features around all cells in the rows with queries: (B, N, width).

    Args:
        strip: the rows.
        weight: (width, C * 9), channel by channel, or (width, C) for ``dilation`` 0, the cell alone.
        bias: (width,) or None.
        dilation: distance between the nine cells.
    """
    side = 3 if dilation else 1
    kernel = weight.view(len(weight), -1, side, side)
    answers = F.conv2d(strip.features, kernel, bias, padding=dilation, dilation=max(dilation, 1))
    return cells_of(answers[:, :, strip.asked[0] : strip.asked[1] + 1])


def gather(strip: Strip, index: Tensor, weight: Tensor, bias: Tensor | None, dilation: int) -> Tensor:
    """Apply a first layer's part, like ``convolve``, to the cells ``index`` (B, N) alone: (B, N, width)."""
    if dilation == 0:
        return F.linear(look_up(cells_of(strip.features), index), weight, bias)
    batch, channels, _, width = strip.features.shape
    # In the padded grid, whose rows are 2 * dilation longer, the upper left of the nine cells around a cell has
    # that cell's row and column number. The others are at multiples of the dilation from there, and none is outside.
    padded = F.pad(strip.features, (dilation,) * 4)
    corner = (index // width) * (width + 2 * dilation) + index % width
    steps = [dilation * step for step in range(3)]
    taps = [corner + dy * (width + 2 * dilation) + dx for dy in steps for dx in steps]
    around = torch.stack(taps, dim=-1).view(batch, -1)
    patches = look_up(cells_of(padded), around).view(batch, -1, 9 * channels)
    # LIIF's unfold runs channel-major; the gathered patch runs tap-major, so the weight is permuted to match the patch.
    return F.linear(patches, weight.view(-1, channels, 9).transpose(1, 2).reshape(-1, 9 * channels), bias)


def cells_of(grid: Tensor) -> Tensor:
    """Lay out a grid as rows, (B, C, h, w) -> (B, h * w, C)."""
    return grid.permute(0, 2, 3, 1).flatten(1, 2)


def look_up(rows: Tensor, index: Tensor) -> Tensor:
    """Look up vectors by number: (B, N, C), (B, ...) -> (B, ..., C)."""
    # An embedding look-up, because it is the only gather whose backward pass is deterministic and fast on a CPU.
    return F.embedding(look_up_index(index, rows.shape[1]), rows.reshape(-1, rows.shape[2]))


def look_up_index(index: Tensor, count: int) -> Tensor:
    """Number the vectors of a batch through, so that number n of image b becomes b * count + n; (B, ...)."""
    start = torch.arange(len(index), device=index.device) * count
    return index + start.view(-1, *[1] * (index.ndim - 1))
