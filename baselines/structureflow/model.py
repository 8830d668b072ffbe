"""StructureFlow's networks (Ren et al., ICCV 2019), under the parameter names of the authors' files.

All work on images in [-1, 1]. The generators take (B, 7, H, W): the masked image, a structure image, and the mask
with 1 = hole; both sides must be multiples of 16 and at least 48, which ``StructureFlow.inpaint`` ensures by padding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.networks import InstanceNorm2d, normalise_spectrally
from baselines.structureflow.resample import gaussian_resample

INPUTS = 7
Norm = Callable[[int], nn.Module]
Window = tuple[int, float]
EPSILON = 1e-5  # added to variances


class LayerNorm(nn.Module):
    """Normalise over channels and positions together; scale and shift each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        # CUDA computes the moments of a group in one block of threads, so that 8 images use 8 of 132 multiprocessors.
        if x.device.type == "cuda":
            return self._by_moments(x)
        return functional.group_norm(x, 1, self.weight.flatten(), self.bias.flatten(), EPSILON)

    def _by_moments(self, x: Tensor) -> Tensor:
        x = x.float()
        variance, mean = torch.var_mean(x, (1, 2, 3), correction=0, keepdim=True)
        scale = self.weight * torch.rsqrt(variance + EPSILON)
        return torch.addcmul(self.bias - mean * scale, x, scale)


class ConvBlock(nn.Module):
    """Convolution with reflection padding, then normalisation and activation.

    Args:
        inputs: channels.
        outputs: channels.
        kernel: side of the kernel.
        stride: stride of the convolution.
        norm: function that builds the normalisation for a number of channels.
        activation: applied last, if any.
        bias: whether the convolution has a bias.
        spectral: whether the layer is trained under spectral normalisation, see ``add_spectral_norm``.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int = 1,
        norm: Norm = nn.Identity,
        activation: nn.Module | None = None,
        bias: bool = True,
        spectral: bool = False,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            inputs, outputs, kernel, stride, padding=(kernel - 1) // 2, padding_mode="reflect", bias=bias
        )
        self.norm = norm(outputs)
        self.activation = activation
        self.spectral = spectral

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        x = self.norm(self.conv(x))
        return x if self.activation is None else self.activation(x)


class _Up(nn.Module):
    def __init__(self, inputs: int, outputs: int, norm: Norm) -> None:
        super().__init__()
        self.transConv = nn.ConvTranspose2d(inputs, outputs, 6, stride=2, padding=2)
        self.norm = norm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.norm(self.transConv(x)))


class _Residual(nn.Module):
    def __init__(self, channels: int, norm: Norm) -> None:
        super().__init__()
        self.model = nn.Sequential(
            ConvBlock(channels, channels, 3, norm=norm, activation=nn.ReLU()),
            ConvBlock(channels, channels, 3, norm=norm),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.model(x)


class _Residuals(nn.Module):
    def __init__(self, count: int, channels: int, norm: Norm) -> None:
        super().__init__()
        self.model = nn.Sequential(*[_Residual(channels, norm) for _ in range(count)])

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class _ToImage(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = ConvBlock(channels, 3, 3, activation=nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).float()


def _layers(norm: Norm, spectral: bool = False) -> Callable[..., ConvBlock]:
    def layer(inputs: int, outputs: int, kernel: int, stride: int = 1) -> ConvBlock:
        return ConvBlock(inputs, outputs, kernel, stride, norm, nn.ReLU(), spectral=spectral)

    return layer


class StructureGenerator(nn.Module):
    """The network that completes the structure image (section 3.1): three halvings, and a decoder with skips.

    Args:
        channels: width of the first layer; it doubles with every halving.
        blocks: residual blocks at each of the decoder's three resolutions.
    """

    def __init__(self, channels: int = 64, blocks: int = 4) -> None:
        super().__init__()
        norm = InstanceNorm2d
        normalised, plain = _layers(norm, spectral=True), _layers(norm)
        a, b, c, d = (channels * 2**n for n in range(4))
        self.input_layer = normalised(INPUTS, a, 7)
        self.down_sample = nn.ModuleList(
            [
                nn.Sequential(normalised(a, b, 4, 2), normalised(b, b, 5)),
                nn.Sequential(normalised(b, c, 4, 2), normalised(c, c, 5)),
                nn.Sequential(normalised(c, d, 4, 2)),
            ]
        )
        self.up_sample = nn.ModuleList(
            nn.Sequential(_Residuals(blocks, wide, norm), nn.Upsample(scale_factor=2), normalised(wide, narrow, 5))
            for wide, narrow in ((d, c), (c, b), (b, a))
        )
        self.content_param = nn.ModuleList(plain(width, width, 5) for width in (c, b, a))
        self.image_net = _ToImage(a)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (B, 7, H, W) to the whole structure image, (B, 3, H, W) in [-1, 1], float32."""
        skips = [self.input_layer(inputs)]
        for down in self.down_sample:
            skips.append(down(skips[-1]))
        x = skips.pop()
        for up, skip in zip(self.up_sample, self.content_param, strict=True):
            x = up(x) + skip(skips.pop())
        return self.image_net(x)


class _FlowColumn(nn.Module):
    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__()
        norm = InstanceNorm2d
        layer = _layers(norm)
        half, a, b, c, d = channels // 2, *(channels * 2**n for n in range(4))
        self.down_sample_flow = nn.ModuleList(
            [
                nn.Sequential(layer(INPUTS, half, 7), layer(half, a, 4, 2), layer(a, a, 5)),
                *(nn.Sequential(layer(n, w, 4, 2), layer(w, w, 5)) for n, w in ((a, b), (b, c), (c, d))),
            ]
        )
        self.up_sample_flow = nn.ModuleList(
            [
                nn.Sequential(_Residuals(blocks, d, norm), _Up(d, c, norm)),
                nn.Sequential(layer(d, c, 5), _Residuals(blocks, c, norm), _Up(c, b, norm)),
            ]
        )
        self.location = nn.Sequential(layer(c, a, 5), ConvBlock(a, 2, 3, bias=False))

    def forward(self, inputs: Tensor) -> Tensor:
        skips = [inputs]
        for down in self.down_sample_flow:
            skips.append(down(skips[-1]))
        x = skips.pop()
        for up in self.up_sample_flow:
            x = torch.cat([up(x), skips.pop()], 1)
        return self.location(x).float()


class _ConvColumn(nn.Module):
    def __init__(self, channels: int, blocks: int, windows: Sequence[Window]) -> None:
        super().__init__()
        norm, up = LayerNorm, nn.Upsample(scale_factor=2)
        layer = _layers(norm)
        half, a, b, c, d = channels // 2, *(channels * 2**n for n in range(4))
        self.windows = windows
        self.down_sample = nn.ModuleList(
            [
                nn.Sequential(
                    layer(INPUTS, half, 7), layer(half, a, 4, 2), layer(a, a, 5), layer(a, b, 4, 2), layer(b, b, 5)
                ),
                nn.Sequential(layer(b, c, 5), layer(c, d, 4, 2)),
            ]
        )
        self.up_sample = nn.ModuleList(
            [
                nn.Sequential(_Residuals(blocks, d, norm), up, layer(d, c, 5)),
                nn.Sequential(
                    *(layer(c + len(windows) * b, c, 5), _Residuals(blocks, c, norm), up),
                    *(layer(c, b, 5), _Residuals(blocks, b, norm), up),
                    *(layer(b, a, 5), _ToImage(a)),
                ),
            ]
        )

    def forward(self, inputs: Tensor, flow: Tensor) -> Tensor:
        fine = self.down_sample[0](inputs)
        x = self.up_sample[0](self.down_sample[1](fine))
        fetched = [gaussian_resample(fine, flow, *window) for window in self.windows]
        return self.up_sample[1](torch.cat([x, *fetched], 1))


class FlowGenerator(nn.Module):
    """The network that paints the image on a complete structure image, with features that a flow fetches (section 3.2).

    Args:
        channels: width at half resolution; it doubles with every halving.
        blocks: residual blocks at each of the decoders' resolutions.
        windows: side (even) and standard deviation of the resampling windows, in pixels of a quarter resolution.
    """

    def __init__(self, channels: int = 64, blocks: int = 2, windows: Sequence[Window] = ((16, 4.0), (4, 2.0))) -> None:
        super().__init__()
        self.flow_column = _FlowColumn(channels, blocks)
        self.conv_column = _ConvColumn(channels, blocks, windows)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Paint the whole image; the caller composites.

        Args:
            inputs: (B, 7, H, W).

        Returns:
            the image, (B, 3, H, W) in [-1, 1], and the flow, (B, 2, H/4, W/4): columns right and rows down, in
            pixels of a quarter resolution. Both are float32.
        """
        flow = self.flow_column(inputs)
        return self.conv_column(inputs, flow), flow


class _Halving(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv_1 = nn.Sequential(_judge(inputs, inputs, 3), _judge(inputs, outputs, 3), nn.AvgPool2d(2))
        self.conv_2 = nn.Sequential(nn.AvgPool2d(2), _judge(inputs, outputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv_1(x) + self.conv_2(x)


def _judge(inputs: int, outputs: int, kernel: int, stride: int = 1) -> ConvBlock:
    return ConvBlock(inputs, outputs, kernel, stride, activation=nn.LeakyReLU(0.2), spectral=True)


class _PatchDiscriminator(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.model = nn.Sequential(
            _judge(3, channels, 4, 2),
            _Halving(channels, 2 * channels),
            _Halving(2 * channels, 4 * channels),
            ConvBlock(4 * channels, 1, 1, bias=False, spectral=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class Discriminator(nn.Module):
    """The discriminator of patches of an image and of its half-sized copy, with two networks of the same form.

    Args:
        channels: width of the first layer; it doubles twice.
    """

    def __init__(self, channels: int = 64) -> None:
        super().__init__()
        self.model_1 = _PatchDiscriminator(channels)
        self.model_2 = _PatchDiscriminator(channels)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map (B, 3, H, W) in [-1, 1] to [(B, 1, H/8, W/8), (B, 1, H/16, W/16)], no activation."""
        half = functional.avg_pool2d(images, 3, stride=2, padding=1, count_include_pad=False)
        return [self.model_1(images), self.model_2(half)]


def add_spectral_norm(network: nn.Module) -> None:
    """Put the layers that are marked as ``spectral`` under spectral norm.

    Only training needs it: networks are built without it, and ``plain_state`` returns weights without it.
    """
    normalise_spectrally(block.conv for block in network.modules() if isinstance(block, ConvBlock) and block.spectral)
