"""EdgeConnect's networks: two generators of one layout, and the patch discriminator they are trained against.

Source: Nazeri et al., "EdgeConnect: Structure Guided Image Inpainting using Edge Prediction", ICCV workshops 2019,
section 3 and appendix A. The generators' parameter names are those of the published files, with spectral norm folded.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

from baselines.networks import symmetric_pad


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions, the first dilated by 2, with no activation after the sum; (B, C, H, W) -> same."""

    def __init__(self, channels: int, bias: bool) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(2),
            nn.Conv2d(channels, channels, 3, dilation=2, bias=bias),
            nn.InstanceNorm2d(channels),
            nn.ReLU(True),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3, bias=bias),
            nn.InstanceNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Add the change to the input."""
        return x + self.conv_block(x)


class Generator(nn.Module):
    """Encoder, residual blocks and decoder (appendix A); the subclasses give it its pictures and its range.

    Args:
        inputs: channels of the input.
        outputs: channels of the output.
        channels: width after the first convolution; it doubles with each halving of the side.
        blocks: residual blocks; 8 as published.
        downsamplings: halvings of the side before the blocks; 2 as published.
        block_bias: whether the blocks' convolutions have a bias.
    """

    def __init__(
        self, inputs: int, outputs: int, channels: int, blocks: int, downsamplings: int, *, block_bias: bool
    ) -> None:
        super().__init__()
        if min(channels, blocks, downsamplings) < 1:
            raise ValueError(
                "EdgeConnect needs channels, blocks and downsamplings of at least 1, got "
                f"{channels}, {blocks} and {downsamplings}."
            )
        widths = [channels * 2**n for n in range(downsamplings + 1)]
        encoder = [nn.ReflectionPad2d(3), nn.Conv2d(inputs, channels, 7), *_normalised(channels)]
        decoder: list[nn.Module] = []
        for narrow, wide in pairwise(widths):
            encoder += [nn.Conv2d(narrow, wide, 4, stride=2, padding=1), *_normalised(wide)]
            decoder = [nn.ConvTranspose2d(wide, narrow, 4, stride=2, padding=1), *_normalised(narrow), *decoder]
        self.encoder = nn.Sequential(*encoder)
        self.middle = nn.Sequential(*(ResidualBlock(widths[-1], block_bias) for _ in range(blocks)))
        self.decoder = nn.Sequential(*decoder, nn.ReflectionPad2d(3), nn.Conv2d(channels, outputs, 7))
        self.factor = 2**downsamplings
        self.apply(_initialise)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) of any size -> (B, outputs, H, W) before the last activation, float32."""
        height, width = x.shape[-2:]
        # The dilated blocks' reflection padding needs three rows to reflect in.
        padded = symmetric_pad(x, *(max(3, -(-side // self.factor)) * self.factor for side in (height, width)))
        return self.decoder(self.middle(self.encoder(padded)))[..., :height, :width].float()


class EdgeGenerator(Generator):
    """Completes an edge map (section 3.1)."""

    def __init__(self, channels: int = 64, blocks: int = 8, downsamplings: int = 2) -> None:
        super().__init__(3, 1, channels, blocks, downsamplings, block_bias=False)

    def forward(self, grey: Tensor, edges: Tensor, masks: Tensor) -> Tensor:
        """Draw all edges, those of the known pixels too.

        Args:
            grey: (B, 1, H, W) in [0, 1]; what it holds in the hole is ignored (the hole is filled white).
            edges: (B, 1, H, W) in {0, 1}; the hole's are ignored.
            masks: (B, 1, H, W), 1 = hole.

        Returns:
            (B, 1, H, W) in [0, 1], float32.
        """
        known = 1 - masks
        return torch.sigmoid(super().forward(torch.cat([grey * known + masks, edges * known, masks], dim=1)))

    def spectrally_normalised(self) -> list[nn.Module]:
        """The convolutions that are trained under spectral norm: all but the last."""
        return [layer for layer in self.modules() if isinstance(layer, _CONVOLUTIONS)][:-1]


class InpaintGenerator(Generator):
    """Paints a picture along an edge map (section 3.2)."""

    def __init__(self, channels: int = 64, blocks: int = 8, downsamplings: int = 2) -> None:
        super().__init__(4, 3, channels, blocks, downsamplings, block_bias=True)

    def forward(self, images: Tensor, edges: Tensor, masks: Tensor) -> Tensor:
        """Paint the whole picture; the caller composites. The mask is no input: the hole is known by its white.

        Args:
            images: (B, 3, H, W) in [0, 1]; what they hold in the hole is ignored.
            edges: (B, 1, H, W) in [0, 1], in and around the hole.
            masks: (B, 1, H, W), 1 = hole.

        Returns:
            (B, 3, H, W) in [0, 1], float32.
        """
        x = super().forward(torch.cat([images * (1 - masks) + masks, edges], dim=1))
        return (torch.tanh(x) + 1) / 2


class PatchDiscriminator(nn.Module):
    """Judges patches, 70 pixels wide as published (section 3), all convolutions under spectral norm.

    Args:
        inputs: channels of the input.
        channels: width of the first layer; it doubles with every layer.
        downsamplings: halvings of the side; 3 as published.
    """

    def __init__(self, inputs: int, channels: int = 64, downsamplings: int = 3) -> None:
        super().__init__()
        widths = [inputs, *(channels * 2**n for n in range(downsamplings + 1)), 1]
        self._layers = [f"conv{n}" for n in range(1, len(widths))]
        for n, name in enumerate(self._layers):
            stride = 2 if n < downsamplings else 1
            conv = nn.Conv2d(widths[n], widths[n + 1], 4, stride=stride, padding=1, bias=False)
            last = n == len(self._layers) - 1
            self.add_module(name, nn.Sequential(conv) if last else nn.Sequential(conv, nn.LeakyReLU(0.2, True)))
        self.apply(_initialise)
        normalise_spectrally(layer for layer in self.modules() if isinstance(layer, nn.Conv2d))

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, inputs, H, W) in [0, 1] -> every layer's activations; the last, (B, 1, h, w), are the logits."""
        activations = []
        for name in self._layers:
            x = getattr(self, name)(x)
            activations.append(x)
        return activations


class SpectralNorm(nn.Module):
    """Divides a kernel by its largest singular value, tracked by one power iteration a call in training.

    Source: Miyato et al., "Spectral Normalization for Generative Adversarial Networks", ICLR 2018. PyTorch's own
    multiplies in reduced precision under autocast.

    Args:
        weight: the kernel.
        axis: that of its output channels.
    """

    def __init__(self, weight: Tensor, axis: int) -> None:
        super().__init__()
        self.axis = axis
        matrix = self._matrix(weight.detach())
        self.register_buffer("u", functional.normalize(torch.randn_like(matrix[:, 0]), dim=0))
        self.register_buffer("v", functional.normalize(torch.randn_like(matrix[0]), dim=0))
        for _ in range(15):
            self._iterate(matrix)

    def forward(self, weight: Tensor) -> Tensor:
        """The kernel with a largest singular value of one, same shape."""
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
            parametrize.register_parametrization(layer, "weight", SpectralNorm(layer.weight, axis))


_CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)


def _normalised(channels: int) -> list[nn.Module]:
    return [nn.InstanceNorm2d(channels), nn.ReLU(True)]


def _initialise(layer: nn.Module) -> None:
    if isinstance(layer, _CONVOLUTIONS):
        nn.init.normal_(layer.weight, 0, 0.02)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
