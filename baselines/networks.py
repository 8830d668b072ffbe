"""Provide building blocks of several published networks: residual blocks, spectral norm, padding, temporary modes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)


def symmetric_pad(x: Tensor, height: int, width: int) -> Tensor:
    """Grow (..., H, W) to (..., height, width) at the bottom and right by mirroring, edge pixels included."""
    if x.shape[-2:] == (height, width):
        return x
    rows, columns = (_mirrored(old, new, x.device) for old, new in zip(x.shape[-2:], (height, width), strict=True))
    return x[..., rows[:, None], columns]


def _mirrored(length: int, padded: int, device: torch.device) -> Tensor:
    index = torch.arange(padded, device=device) % (2 * length)
    return torch.minimum(index, 2 * length - 1 - index)


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Let gradients pass through a module, but not into its weights, inside a ``with`` block."""
    module.requires_grad_(False)
    try:
        yield
    finally:
        module.requires_grad_(True)


@contextmanager
def evaluating(*modules: nn.Module) -> Iterator[None]:
    """Put modules into evaluation mode, and turn gradients off, inside a ``with`` block."""
    modes = [module.training for module in modules]
    for module in modules:
        module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.train(mode)


def plain_state(network: nn.Module) -> dict[str, Tensor]:
    """Return a network's weights, with spectral norm folded into the kernels. Other tensors are not copied."""
    state = {name: value for name, value in network.state_dict().items() if ".parametrizations." not in name}
    with evaluating(network):  # in training mode, reading a kernel makes a power iteration
        for name, layer in network.named_modules():
            if parametrize.is_parametrized(layer, "weight"):
                state[f"{name}.weight"] = layer.weight.detach()
    return state


def normal_weights(layer: nn.Module) -> None:
    """Draw a convolution's kernel from N(0, 0.02) and set its bias to zero, as pix2pix and many others do."""
    if isinstance(layer, CONVOLUTIONS):
        nn.init.normal_(layer.weight, 0, 0.02)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


class InstanceNorm2d(nn.InstanceNorm2d):
    """PyTorch's instance normalisation without weights, faster in training on a CPU.

    PyTorch's own leaves the layout channels last, in which the convolutions are trained, so that two copies follow
    each. Batch normalisation of one image at a time computes the same and keeps the layout.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape; each channel of each image gets mean 0 and variance 1."""
        # With fewer channels than a vector has lanes, copies cost less.
        if x.device.type != "cpu" or x.shape[1] < 16 or not x.is_contiguous(memory_format=torch.channels_last):
            return super().forward(x)
        return torch.cat([functional.batch_norm(one, None, None, training=True, eps=self.eps) for one in x.split(1)])


class LastConv2d(nn.Conv2d):
    """A convolution with few output channels, without padding or stride, faster in training on a CPU.

    With one or three output channels most of a vector's lanes are idle. So there one kernel for each pixel of a 2x2
    block is applied with a stride of two, which gives four times the channels at a quarter of the positions.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H - kernel + 1, W - kernel + 1)."""
        trained = self.weight.is_contiguous(memory_format=torch.channels_last)  # only training sets this layout
        even = all((side - kernel) % 2 for side, kernel in zip(x.shape[-2:], self.kernel_size, strict=True))
        if x.device.type != "cpu" or not trained or not even:
            return super().forward(x)
        placed = [functional.pad(self.weight, (j, 1 - j, i, 1 - i)) for i in (0, 1) for j in (0, 1)]
        kernels = torch.stack(placed, dim=1).flatten(0, 1).contiguous(memory_format=torch.channels_last)
        bias = None if self.bias is None else self.bias.repeat_interleave(4)
        return functional.pixel_shuffle(functional.conv2d(x, kernels, bias, stride=2), 2)


class ResidualBlock(nn.Module):
    """The block of EdgeConnect and MISF: two 3x3 convolutions, the first dilated by 2, no activation after the sum."""

    def __init__(self, channels: int, bias: bool = True) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(2),
            nn.Conv2d(channels, channels, 3, dilation=2, bias=bias),
            InstanceNorm2d(channels),
            nn.ReLU(True),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3, bias=bias),
            InstanceNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, h, w) to the same shape."""
        return x + self.conv_block(x)


class PatchDiscriminator(nn.Module):
    """The discriminator of EdgeConnect and MISF, which judges patches (Isola et al., CVPR 2017).

    All of its convolutions are under spectral norm.

    Args:
        inputs: channels of the input.
        channels: width of the first layer; it doubles with every layer.
        downsamplings: halvings of the side; 3 as published. The patch is 16 pixels wide with 1, 34 with 2, 70 with 3.
    """

    def __init__(self, inputs: int, channels: int = 64, downsamplings: int = 3) -> None:
        super().__init__()
        if channels < 1 or downsamplings < 1:
            given = f"discriminator_channels {channels} and discriminator_downsamplings {downsamplings}"
            raise ValueError(f"{given}: expected 1 or more of each.")
        widths = [inputs, *(channels * 2**n for n in range(downsamplings + 1)), 1]
        self._layers = [f"conv{n}" for n in range(1, len(widths))]
        for n, name in enumerate(self._layers):
            stride = 2 if n < downsamplings else 1
            conv = nn.Conv2d(widths[n], widths[n + 1], 4, stride=stride, padding=1, bias=False)
            last = n == len(self._layers) - 1
            self.add_module(name, nn.Sequential(conv) if last else nn.Sequential(conv, nn.LeakyReLU(0.2, True)))
        self.apply(normal_weights)
        normalise_spectrally(layer for layer in self.modules() if isinstance(layer, nn.Conv2d))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map (B, inputs, H, W) in [0, 1] to each layer's activations; the last, (B, 1, h, w), are the logits."""
        activations = []
        for name in self._layers:
            x = getattr(self, name)(x)
            activations.append(x)
        return activations


class SpectralNorm(nn.Module):
    """A kernel divided by its largest singular value, which one power iteration per training call tracks.

    Source: Miyato et al., "Spectral Normalization for Generative Adversarial Networks", ICLR 2018. PyTorch's own
    implementation multiplies in reduced precision under autocast.

    Args:
        weight: the kernel.
        axis: the axis of its output channels.
    """

    u: Tensor
    v: Tensor

    def __init__(self, weight: Tensor, axis: int) -> None:
        super().__init__()
        self.axis = axis
        matrix = self._matrix(weight.detach())
        self.register_buffer("u", functional.normalize(torch.randn_like(matrix[:, 0]), dim=0))
        self.register_buffer("v", functional.normalize(torch.randn_like(matrix[0]), dim=0))
        for _ in range(15):
            self._iterate(matrix)

    def forward(self, weight: Tensor) -> Tensor:
        """Return the kernel with a largest singular value of one, same shape."""
        with torch.autocast(weight.device.type, enabled=False):
            matrix = self._matrix(weight)
            if self.training:
                self._iterate(matrix.detach())
            # Copies, because the next call changes the buffers before this one's backward pass.
            return weight / (self.u.clone() @ (matrix @ self.v.clone()))

    def _matrix(self, weight: Tensor) -> Tensor:
        return weight.movedim(self.axis, 0).flatten(1)

    @torch.no_grad()
    def _iterate(self, matrix: Tensor) -> None:
        self.v.copy_(functional.normalize(matrix.T @ self.u, dim=0))
        self.u.copy_(functional.normalize(matrix @ self.v, dim=0))


def normalise_spectrally(layers: Iterable[nn.Module]) -> None:
    """Put convolutions under spectral norm, in place; those that are already there stay as they are."""
    for layer in list(layers):
        if not parametrize.is_parametrized(layer, "weight"):
            axis = int(isinstance(layer, nn.ConvTranspose2d))
            parametrize.register_parametrization(layer, "weight", SpectralNorm(cast(Tensor, layer.weight), axis))
