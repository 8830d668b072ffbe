"""The patch discriminator of LaMa's training: that of pix2pixHD, at one scale."""

from __future__ import annotations

from torch import Tensor, nn


class PatchDiscriminator(nn.Module):
    """pix2pixHD's n-layer discriminator (Wang et al., CVPR 2018), as LaMa uses it (section 2.2.2).

    Args:
        channels: width of the first layer; it doubles in every layer, up to eight times the first.
        downsamplings: halvings of the side; 4 in LaMa, whose patch is then 142 pixels wide.
    """

    def __init__(self, channels: int = 64, downsamplings: int = 4) -> None:
        super().__init__()
        widths = [channels * min(2**n, 8) for n in range(downsamplings + 1)]
        stages = [nn.Sequential(_conv(3, widths[0], stride=2), nn.LeakyReLU(0.2, True))]
        for n in range(1, downsamplings + 1):
            conv = _conv(widths[n - 1], widths[n], stride=2 if n < downsamplings else 1)
            stages.append(nn.Sequential(conv, nn.BatchNorm2d(widths[n]), nn.LeakyReLU(0.2, True)))
        stages.append(nn.Sequential(_conv(widths[-1], 1, stride=1)))
        self._stages = [f"model{n}" for n in range(len(stages))]
        for name, stage in zip(self._stages, stages, strict=True):
            self.add_module(name, stage)

    def forward(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Judge images.

        Args:
            images: (B, 3, H, W) in [0, 1].

        Returns:
            logits (B, 1, h, w), high where the patch looks real; and the activations of every layer before them.
        """
        features = []
        x = images
        for name in self._stages:
            x = getattr(self, name)(x)
            features.append(x)
        return features.pop(), features


def _conv(inputs: int, outputs: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel_size=4, stride=stride, padding=2)
