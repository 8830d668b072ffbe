"""The patch discriminator MISF trains against, which is EdgeConnect's."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm


class PatchDiscriminator(nn.Module):
    """A 70-pixel patch discriminator (Isola et al., CVPR 2017) with spectral norm and no other.

    Args:
        channels: width of the first layer; it doubles every layer up to eight times.
        layers: halvings of the side; 3 as published. The patch is 16 pixels wide with 1, 34 with 2, 70 with 3.
    """

    def __init__(self, channels: int = 64, layers: int = 3) -> None:
        super().__init__()
        if channels < 1 or layers < 1:
            raise ValueError(
                f"discriminator_channels {channels} and discriminator_layers {layers}: expected 1 or more of each."
            )
        widths = [3, *(channels * min(2**n, 8) for n in range(layers + 1))]
        convolutions: list[nn.Module] = []
        for n in range(layers + 1):
            stride = 2 if n < layers else 1
            convolutions += [_conv(widths[n], widths[n + 1], stride), nn.LeakyReLU(0.2, True)]
        self.model = nn.Sequential(*convolutions, _conv(widths[-1], 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, 1, h, w) of pictures (B, 3, H, W) in [0, 1], high where the patch looks real."""
        return self.model(images)


def _conv(inputs: int, outputs: int, stride: int) -> nn.Module:
    convolution = nn.Conv2d(inputs, outputs, 4, stride=stride, padding=1, bias=False)
    nn.init.normal_(convolution.weight, 0.0, 0.02)
    return spectral_norm(convolution)
