"""Convolve with fewer multiplications, by Winograd's method, in a network that is bound by its convolutions.

A tile of m outputs of a filter of r taps takes m + r - 1 products instead of m r, if the inputs are transformed before,
the products after, and the filter once and for all (Lavin and Gray, Fast Algorithms for Convolutional Neural Networks,
CVPR 2016). The transforms are products with small constant matrices. The result is that of the convolution up to
rounding: in float32, its errors are up to four times as large as those of a convolution by plain sums.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

POINTS = (0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0)  # at which polynomials are evaluated; small ones keep rounding small
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
    if plain and shape == ((3, 3), (1, 1)):
        return Tiles(layer)
    if plain and shape == ((5, 5), (2, 2)):
        return Strips(layer)
    return layer


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
    """A convolution of 3x3 taps, stride 1 and padding 1, in tiles of 3x3 outputs: 25 products instead of 81."""

    OUT, IN = 3, 5  # side of a tile of outputs, and of its inputs
    SMALLEST = 10  # side of the features, below which there are too few tiles to be faster

    def __init__(self, layer: nn.Conv2d) -> None:
        """Transform the filters of a convolution."""
        super().__init__()
        self.layer = layer
        before, filters, after = matrices(self.OUT, 3)
        self._before, self._after = (torch.kron(matrix, matrix).float() for matrix in (before, after))
        weights = torch.einsum("ia,ocab,jb->ijoc", filters, layer.weight.double(), filters)
        self._weights = weights.flatten(0, 1).float().contiguous()  # (25, out, in)

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution of features (N, C, H, W), fastest if they are channels-last in memory."""
        height, width = x.shape[2:]
        if min(height, width) < self.SMALLEST:
            return self.layer(x)
        rows, columns = -(-height // self.OUT), -(-width // self.OUT)
        padded = F.pad(x, (1, columns * self.OUT + 1 - width, 1, rows * self.OUT + 1 - height)).permute(0, 2, 3, 1)
        tiles = padded.unfold(1, self.IN, self.OUT).unfold(2, self.IN, self.OUT)  # (N, rows, columns, C, 5, 5)
        inputs = _transformed(self._before, tiles.permute(0, 4, 5, 1, 2, 3))
        products = [
            _product(each.view(-1, x.shape[1]), weight).view(len(x), -1)
            for each, weight in zip(inputs, self._weights, strict=True)
        ]
        shape = self.OUT, self.OUT, rows, columns, -1
        outputs = [tile.view(shape).permute(2, 0, 3, 1, 4) for tile in _summed(self._after, products)]
        return _finished([image.flatten(0, 1).flatten(1, 2) for image in outputs], self.layer, height, width)


class Strips(nn.Module):
    """A convolution of 5x5 taps, stride 1 and padding 2, in strips of 4 outputs of a row: 40 products instead of 100.

    Tiles would need fewer products, but of 64 channels their transforms take longer than what they save.
    """

    OUT, IN = 4, 8  # length of a strip of outputs, and of its inputs
    SMALLEST = 20  # side of the features, below which there are too few strips to be faster

    def __init__(self, layer: nn.Conv2d) -> None:
        """Transform the filters of a convolution."""
        super().__init__()
        self.layer = layer
        before, filters, after = matrices(self.OUT, 5)
        self._before, self._after = before.float(), after.float()
        weights = torch.einsum("jb,ocab->joca", filters, layer.weight.double()).float()[..., None]
        self._weights = [weight.contiguous(memory_format=torch.channels_last) for weight in weights]  # (out, in, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution of features (N, C, H, W), fastest if they are channels-last in memory."""
        count, channels, height, width = x.shape
        if min(height, width) < self.SMALLEST:
            return self.layer(x)
        columns = -(-width // self.OUT)
        padded = F.pad(x, (2, columns * self.OUT + 2 - width)).permute(0, 2, 3, 1)
        strips = padded.unfold(2, self.IN, self.OUT)  # (N, H, columns, C, 8)
        inputs = _transformed(self._before, strips.permute(0, 4, 1, 2, 3))
        inputs = inputs.view(-1, count, height, columns, channels).permute(0, 1, 4, 2, 3)
        products = [
            F.conv2d(each, weight, padding=(2, 0)).permute(0, 2, 3, 1).reshape(count, -1)
            for each, weight in zip(inputs, self._weights, strict=True)
        ]
        shape = self.OUT, height, columns, -1
        outputs = [strip.view(shape).permute(1, 2, 0, 3) for strip in _summed(self._after, products)]
        return _finished([image.flatten(1, 2) for image in outputs], self.layer, height, width)


def _transformed(matrix: Tensor, parts: Tensor) -> Tensor:
    """Return ``matrix @ part`` for the parts of each image: (n, N, all other values of a part) for n rows.

    Args:
        matrix: (n, n).
        parts: (N, ...), whose first axes after the images have n values.
    """
    # Image by image, so that what is read was written just before and is still in the cache.
    result = matrix.new_empty(len(matrix), len(parts), parts[0].numel() // len(matrix))
    for image, part in enumerate(parts):
        torch.mm(matrix, part.reshape(len(matrix), -1), out=result[:, image])
    return result


def _product(inputs: Tensor, weight: Tensor) -> Tensor:
    """Return ``inputs @ weight.T``, by oneDNN if possible: the default library is half as fast on AMD processors."""
    if _FUSED:
        return torch.ops.mkldnn._linear_pointwise(inputs, weight, None, "none", [], "")
    return F.linear(inputs, weight)


def _summed(matrix: Tensor, products: Sequence[Tensor]) -> list[Tensor]:
    """Return ``matrix @ products`` for each image; the products are n tensors (N, values)."""
    stacked = torch.stack(list(products))
    return [torch.mm(matrix, stacked[:, image]) for image in range(stacked.shape[1])]


def _finished(images: Sequence[Tensor], layer: nn.Conv2d, height: int, width: int) -> Tensor:
    """Cut outputs, each (at least H, at least W, C), to their size and add the bias: (N, C, H, W), channels-last."""
    bias = layer.bias
    assert bias is not None
    result = bias.new_empty(len(images), height, width, len(bias))
    for image, into in zip(images, result, strict=True):
        torch.add(image[:height, :width], bias, out=into)
    return result.permute(0, 3, 1, 2)
