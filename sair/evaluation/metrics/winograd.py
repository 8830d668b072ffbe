"""Convolve with fewer multiplications, by Winograd's method, in a network that is bound by its convolutions.

A tile of m outputs of a filter of r taps takes m + r - 1 products instead of m r, if the inputs are transformed before,
the products after, and the filter once and for all (Lavin and Gray, Fast Algorithms for Convolutional Neural Networks,
CVPR 2016). The transforms are products with small constant matrices. The result is that of the convolution up to
rounding: in float32, its errors are up to seven times as large as those of a convolution by plain sums.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

POINTS = (0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0)  # at which polynomials are evaluated; small ones keep rounding small
OUTPUTS = {3: 5, 5: 4}  # side of a tile of outputs, for each number of taps
SMALLEST = {3: 13, 5: 20}  # side of the features, below which there are too few tiles to be faster
AT_ONCE = 1024  # tiles, so that a large image takes no more memory; fewer are slower, as all filters are read again
_FUSED = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def use_winograd(network: nn.Module) -> None:
    """Replace the convolutions of a network for which this module has a faster equivalent.

    Args:
        network: float32, on a CPU, without gradients.
    """
    for module in list(network.modules()):
        for name, layer in module.named_children():
            if isinstance(layer, nn.Conv2d):
                setattr(module, name, _equivalent(layer))


def _equivalent(layer: nn.Conv2d) -> nn.Module:
    plain = layer.stride == layer.dilation == (1, 1) and layer.groups == 1 and layer.bias is not None
    shape = layer.kernel_size, layer.padding
    return Tiles(layer) if plain and shape in (((3, 3), (1, 1)), ((5, 5), (2, 2))) else layer


def matrices(outputs: int, taps: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the matrices that transform inputs, filter and products, float64.

    The outputs y[i] = sum_k x[i + k] g[k] of a filter g are ``after @ ((filters @ g) * (before @ x))``.

    Returns:
        ``before`` (n, n), ``filters`` (n, taps) and ``after`` (outputs, n), where n = outputs + taps - 1.
    """
    count = outputs + taps - 1
    points = np.array(POINTS[: count - 1])  # one more is at infinity
    before, filters, after = np.zeros((count, count)), np.zeros((count, taps)), np.zeros((outputs, count))
    for row, point in enumerate(points):
        others = np.delete(points, row)
        before[row, :-1] = np.poly(others)[::-1]
        filters[row] = point ** np.arange(taps) / np.prod(point - others)
        after[:, row] = point ** np.arange(outputs)
    before[-1] = np.poly(points)[::-1]
    filters[-1, -1] = after[-1, -1] = 1.0
    return torch.from_numpy(before), torch.from_numpy(filters), torch.from_numpy(after)


class Tiles(nn.Module):
    """A convolution of 3x3 or 5x5 taps, stride 1, whose outputs have the size of its inputs, in square tiles.

    A tile of 5x5 outputs of 3x3 taps takes 49 products instead of 225, and one of 4x4 outputs of 5x5 taps 64 of 400.
    """

    def __init__(self, layer: nn.Conv2d) -> None:
        """Transform the filters of a convolution."""
        super().__init__()
        assert layer.bias is not None
        self.layer, self.taps, self._bias = layer, layer.kernel_size[0], layer.bias.detach()
        self.outputs = OUTPUTS[self.taps]
        before, filters, after = matrices(self.outputs, self.taps)
        self._before, self._after = (torch.kron(matrix, matrix).float() for matrix in (before, after))
        weights = torch.einsum("ia,ocab,jb->ijoc", filters, layer.weight.double(), filters)
        self._weights = weights.flatten(0, 1).float().contiguous()  # (inputs of a tile, out, in)

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution of features (N, C, H, W), fastest if they are channels-last in memory."""
        height, width = x.shape[2:]
        if min(height, width) < SMALLEST[self.taps]:
            return self.layer(x)
        rows, columns = -(-height // self.outputs), -(-width // self.outputs)
        border, side = self.taps // 2, self.outputs + self.taps - 1
        right, bottom = columns * self.outputs + border - width, rows * self.outputs + border - height
        padded = F.pad(x, (border, right, border, bottom)).permute(0, 2, 3, 1)
        tiles = padded.unfold(1, side, self.outputs).unfold(2, side, self.outputs).permute(0, 4, 5, 1, 2, 3)
        result = x.new_empty(len(x), height, width, len(self._bias))
        at_once, band = max(1, AT_ONCE // (rows * columns)), max(1, AT_ONCE // columns)  # images, rows of tiles
        for images, whole in zip(tiles.split(at_once), result.split(at_once), strict=True):
            bands = zip(images.split(band, dim=3), whole.split(band * self.outputs, dim=1), strict=True)
            for part, into in bands:
                self._convolve(part, into)
        return result.permute(0, 3, 1, 2)

    def _convolve(self, tiles: Tensor, result: Tensor) -> None:
        """Convolve tiles (N, side, side, rows, columns, C) into ``result`` (N, H, W, out)."""
        count, side, _, rows, columns, channels = tiles.shape
        inputs = tiles.new_empty(side * side, count, rows * columns * channels)
        # Image by image, so that what is read was written just before and is still in the cache.
        for image, part in enumerate(tiles):
            inputs[:, image] = _product(self._before, part.reshape(side * side, -1).T)
        products = [
            _product(each.view(-1, channels), weight).view(count, -1)
            for each, weight in zip(inputs, self._weights, strict=True)
        ]
        for product, into in zip(torch.stack(products, dim=1), result, strict=True):
            outputs = _product(self._after, product.T).view(self.outputs, self.outputs, rows, columns, -1)
            features = outputs.permute(2, 0, 3, 1, 4).flatten(0, 1).flatten(1, 2)
            torch.add(features[: into.shape[0], : into.shape[1]], self._bias, out=into)


def _product(inputs: Tensor, weight: Tensor) -> Tensor:
    """Return ``inputs @ weight.T``, by oneDNN if possible: the default library is half as fast on AMD processors."""
    if _FUSED:
        return torch.ops.mkldnn._linear_pointwise(inputs, weight, None, "none", [], "")
    return F.linear(inputs, weight)
