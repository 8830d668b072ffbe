"""EdgeConnect's networks: two generators of one layout.

Source: Nazeri et al., "EdgeConnect: Structure Guided Image Inpainting using Edge Prediction", ICCV workshops 2019,
section 3 and appendix A. The generators' parameter names are those of the published files, with spectral norm folded.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from baselines.networks import CONVOLUTIONS, InstanceNorm2d, LastConv2d, ResidualBlock, normal_weights, symmetric_pad


class Generator(nn.Module):
    """Encoder, residual blocks and decoder (appendix A); subclasses add the input and the last activation.

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
        self.decoder = nn.Sequential(*decoder, nn.ReflectionPad2d(3), LastConv2d(channels, outputs, 7))
        self.factor = 2**downsamplings
        self.apply(normal_weights)

    def _generate(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) of any size to (B, outputs, H, W), before the last activation, float32."""
        height, width = x.shape[-2:]
        # The reflection padding of the dilated blocks requires at least three rows.
        padded = symmetric_pad(x, *(max(3, -(-side // self.factor)) * self.factor for side in (height, width)))
        return self.decoder(self.middle(self.encoder(padded)))[..., :height, :width].float()


class EdgeGenerator(Generator):
    """Complete an edge map (section 3.1)."""

    def __init__(self, channels: int = 64, blocks: int = 8, downsamplings: int = 2) -> None:
        super().__init__(3, 1, channels, blocks, downsamplings, block_bias=False)

    def forward(self, grey: Tensor, edges: Tensor, masks: Tensor) -> Tensor:
        """Draw all edges, including those of the known pixels.

        Args:
            grey: (B, 1, H, W) in [0, 1]; its content in the hole is ignored (the hole is filled white).
            edges: (B, 1, H, W) in {0, 1}; those in the hole are ignored.
            masks: (B, 1, H, W), 1 = hole.

        Returns:
            (B, 1, H, W) in [0, 1], float32.
        """
        known = 1 - masks
        return torch.sigmoid(self._generate(torch.cat([grey * known + masks, edges * known, masks], dim=1)))

    def spectrally_normalised(self) -> list[nn.Module]:
        """Return the convolutions that are trained under spectral norm: all but the last."""
        layers: list[nn.Module] = [layer for layer in self.modules() if isinstance(layer, CONVOLUTIONS)]
        return layers[:-1]


class InpaintGenerator(Generator):
    """Paint an image along an edge map (section 3.2)."""

    def __init__(self, channels: int = 64, blocks: int = 8, downsamplings: int = 2) -> None:
        super().__init__(4, 3, channels, blocks, downsamplings, block_bias=True)

    def forward(self, images: Tensor, edges: Tensor, masks: Tensor) -> Tensor:
        """Paint the whole image; the caller composites. The mask is not an input; the hole is marked by white.

        Args:
            images: (B, 3, H, W) in [0, 1]; their content in the hole is ignored.
            edges: (B, 1, H, W) in [0, 1], in and around the hole.
            masks: (B, 1, H, W), 1 = hole.

        Returns:
            (B, 3, H, W) in [0, 1], float32.
        """
        x = self._generate(torch.cat([images * (1 - masks) + masks, edges], dim=1))
        return (torch.tanh(x) + 1) / 2


def _normalised(channels: int) -> list[nn.Module]:
    return [InstanceNorm2d(channels), nn.ReLU(True)]
