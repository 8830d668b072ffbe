"""Apply convolutions with fewer passes over the memory on a GPU.

PyTorch computes a bfloat16 convolution with bias and ReLU in three passes over its output, and sums the gradient of the
bias by a kernel for which channels-last maps are the slow case. Here cuDNN adds the bias and applies ReLU while it
writes the output, and the bias's gradient is a matrix product with ones. On a CPU nothing changes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class Convolutions(nn.Sequential):
    """Layers one after the other, like ``nn.Sequential``, of which some are convolutions."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply all layers to maps (B, C, H, W)."""
        if not _merges(x):
            return super().forward(x)
        layers, following = list(self), [*list(self)[1:], None]
        done = False  # whether the layer, a ReLU, was computed with the convolution before it
        for layer, after in zip(layers, following, strict=True):
            if done:
                done = False
            elif isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                done = isinstance(layer, nn.Conv2d) and isinstance(after, nn.ReLU)
                x = _convolve(layer, x, done)
            else:
                x = layer(x)
        return x


def _merges(x: Tensor) -> bool:
    return x.device.type == "cuda" and torch.is_autocast_enabled("cuda")


def _convolve(layer: nn.Conv2d | nn.ConvTranspose2d, x: Tensor, relu: bool) -> Tensor:
    """Apply a convolution with a bias, and ReLU if wanted, in autocast's type."""
    assert layer.bias is not None and layer.groups == 1 and layer.padding_mode == "zeros"
    dtype = torch.get_autocast_dtype(x.device.type)
    given = (value.to(dtype) for value in (x, layer.weight, layer.bias))
    sizes = (layer.stride, layer.padding, layer.dilation)
    return _Convolution.apply(*given, sizes, isinstance(layer, nn.ConvTranspose2d), relu)


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, sizes: Any, transposed: bool, relu: bool) -> Tensor:
        stride, padding, dilation = sizes
        if transposed:
            output = functional.conv_transpose2d(x, weight, bias, stride, padding, dilation=dilation)
        elif relu:
            output = torch.cudnn_convolution_relu(x, weight, bias, stride, padding, dilation, 1)
        else:
            output = functional.conv2d(x, weight, bias, stride, padding, dilation)
        ctx.save_for_backward(x, weight, *([output] if relu else []))
        ctx.sizes, ctx.transposed = sizes, transposed
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        x, weight, *rectified = ctx.saved_tensors
        gradient = gradients[0].contiguous(memory_format=torch.channels_last)
        for output in rectified:
            gradient = torch.ops.aten.threshold_backward(gradient, output, 0)
        stride, padding, dilation = ctx.sizes
        of_x, of_weight, _ = torch.ops.aten.convolution_backward(
            gradient, x, weight, None, stride, padding, dilation, ctx.transposed, [0, 0], 1,
            [ctx.needs_input_grad[0], ctx.needs_input_grad[1], False],
        )  # fmt: skip
        rows = gradient.permute(0, 2, 3, 1).flatten(0, 2)
        of_bias = rows.new_ones(1, len(rows)) @ rows
        return of_x, of_weight, of_bias[0], None, None, None
