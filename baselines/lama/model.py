"""LaMa's generator: a ResNet of fast Fourier convolutions.

Every residual block also convolves in the frequency domain (Suvorov et al., WACV 2022, section 2.1), so each layer
sees the whole image, and large holes are filled from everything around them.

The parameter names and shapes are those of the published checkpoints (prefix ``generator.`` removed).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.networks import LastConv2d, symmetric_pad

Pair = tuple[Tensor | None, Tensor | None]


class FourierUnit(nn.Module):
    """A 1x1 convolution in the frequency domain (section 2.1, figure 2), (B, C, H, W) -> (B, C, H, W).

    Real and imaginary parts are interleaved as channels: c0.re, c0.im, c1.re, ...
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_layer = nn.Conv2d(2 * channels, 2 * channels, 1, bias=False)
        self.bn = nn.BatchNorm2d(2 * channels)

    def forward(self, x: Tensor) -> Tensor:
        """Transform, mix channels, transform back."""
        if x.is_contiguous(memory_format=torch.channels_last):
            return self._channels_last(x)
        # Half precision has no FFT on CPUs, and on GPUs only for powers of two.
        spectrum = torch.view_as_real(torch.fft.rfft2(x.float(), norm="ortho"))  # (B, C, H, W // 2 + 1, 2)
        parts = self._mix(spectrum.permute(0, 1, 4, 2, 3).flatten(1, 2))
        spectrum = parts.float().unflatten(1, (-1, 2)).permute(0, 1, 3, 4, 2).contiguous()
        return torch.fft.irfft2(torch.view_as_complex(spectrum), s=x.shape[-2:], norm="ortho")

    def _channels_last(self, x: Tensor) -> Tensor:
        """Compute the same in training's layout, in which the parts need no copies in another order."""
        options = {"dim": (1, 2), "norm": "ortho"}
        spectrum = torch.view_as_real(torch.fft.rfft2(x.float().permute(0, 2, 3, 1), **options))
        parts = self._mix(spectrum.flatten(3).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        spectrum = parts.float().unflatten(3, (-1, 2)).contiguous()  # (B, H, W // 2 + 1, C, 2)
        transformed = torch.fft.irfft2(torch.view_as_complex(spectrum), s=x.shape[-2:], **options)
        return transformed.permute(0, 3, 1, 2)

    def _mix(self, parts: Tensor) -> Tensor:
        return functional.relu(self.bn(self.conv_layer(parts)))


class SpectralTransform(nn.Module):
    """The global-to-global path of a fast Fourier convolution: halve channels, Fourier unit with a skip, restore."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        half = out_channels // 2
        self.conv1 = nn.Sequential(nn.Conv2d(in_channels, half, 1, bias=False), nn.BatchNorm2d(half), nn.ReLU(True))
        self.fu = FourierUnit(half)
        self.conv2 = nn.Conv2d(half, out_channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in, H, W) to (B, out, H, W)."""
        x = self.conv1(x)
        return self.conv2(x + self.fu(x))


class FFC(nn.Module):
    """Fast Fourier convolution of a (local, global) pair; a side with zero channels is ``None``.

    Args:
        in_channels: (local, global) input channels.
        out_channels: (local, global) output channels.
        kernel: kernel side of the three ordinary convolutions.
        stride: 1 or 2; the spectral path, which exists only between global sides, requires 1.
        padding: reflection padding of the ordinary convolutions.
    """

    def __init__(
        self,
        in_channels: tuple[int, int],
        out_channels: tuple[int, int],
        kernel: int,
        stride: int = 1,
        padding: int = 0,
    ) -> None:
        super().__init__()
        (local_in, global_in), (local_out, global_out) = in_channels, out_channels
        self.stride, self.padding = stride, padding

        def conv(inputs: int, outputs: int) -> nn.Conv2d | None:
            if not (inputs and outputs):
                return None
            return nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False, padding_mode="reflect")

        self.convl2l = conv(local_in, local_out)
        self.convl2g = conv(local_in, global_out)
        self.convg2l = conv(global_in, local_out)
        self.convg2g = SpectralTransform(global_in, global_out) if global_in and global_out else None

    def forward(self, pair: Pair) -> Pair:
        """Return a pair, each side of which is the sum of the paths from both input sides."""
        local, wide = pair
        from_local = self._convolve_local(local)
        return _add(from_local[0], self.convg2l, wide), _add(from_local[1], self.convg2g, wide)

    def _convolve_local(self, local: Tensor | None) -> Pair:
        if local is None or self.convl2l is None or self.convl2g is None:
            return _add(None, self.convl2l, local), _add(None, self.convl2g, local)
        # Both paths use the same window, so one convolution with joined kernels gives the same sums with less overhead.
        kernel = torch.cat([self.convl2l.weight, self.convl2g.weight])
        padded = functional.pad(local, (self.padding,) * 4, mode="reflect")
        both = functional.conv2d(padded, kernel, stride=self.stride)
        to_local, to_global = both.split([self.convl2l.out_channels, self.convl2g.out_channels], dim=1)
        return to_local, to_global


def _add(so_far: Tensor | None, path: nn.Module | None, x: Tensor | None) -> Tensor | None:
    if path is None:
        return so_far
    return path(x) if so_far is None else so_far + path(x)


class FFCLayer(nn.Module):
    """Fast Fourier convolution, then batch normalisation and ReLU on each side."""

    def __init__(
        self,
        in_channels: tuple[int, int],
        out_channels: tuple[int, int],
        kernel: int,
        stride: int = 1,
        padding: int = 0,
    ) -> None:
        super().__init__()
        self.ffc = FFC(in_channels, out_channels, kernel, stride, padding)
        self.bn_l = nn.BatchNorm2d(out_channels[0]) if out_channels[0] else None
        self.bn_g = nn.BatchNorm2d(out_channels[1]) if out_channels[1] else None

    def forward(self, pair: Pair) -> Pair:
        """Map a pair (local, global) to the next one."""
        local, wide = self.ffc(pair)
        local = functional.relu(self.bn_l(local)) if self.bn_l is not None else None
        wide = functional.relu(self.bn_g(wide)) if self.bn_g is not None else None
        return local, wide


class FFCBlock(nn.Module):
    """Residual block of two fast Fourier convolutions; the skip is added after the second ReLU."""

    def __init__(self, channels: tuple[int, int]) -> None:
        super().__init__()
        self.conv1 = FFCLayer(channels, channels, kernel=3, padding=1)
        self.conv2 = FFCLayer(channels, channels, kernel=3, padding=1)

    def forward(self, pair: Pair) -> Pair:
        """Map a pair (local, global) to one of the same shapes."""
        local, wide = (
            None if old is None else old + new for old, new in zip(pair, self.conv2(self.conv1(pair)), strict=True)
        )
        return local, wide


class _Split(nn.Module):
    """Pad the image for the first convolution and open an empty global side."""

    def __init__(self, padding: int) -> None:
        super().__init__()
        self.padding = padding

    def forward(self, x: Tensor) -> Pair:
        return functional.pad(x, (self.padding,) * 4, mode="reflect"), None


class _Concat(nn.Module):
    """(local, global) -> one tensor, local channels first."""

    def forward(self, pair: Pair) -> Tensor:
        return torch.cat([side for side in pair if side is not None], dim=1)


class _Float32Conv2d(LastConv2d):
    """A convolution in float32 even under autocast, because bfloat16 is coarser than 8-bit colour."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float())


class LaMaGenerator(nn.Module):
    """LaMa's generator (section 2.1; published sizes: 9 blocks ``lama-fourier``, 18 blocks ``big-lama``).

    Args:
        channels: channels after the first convolution; every downsampling doubles them.
        blocks: residual blocks of fast Fourier convolutions.
        ratio: global share of the blocks' channels.
        downsamplings: halvings of the side before the blocks; 3 in every published model.
    """

    def __init__(self, channels: int = 64, blocks: int = 18, ratio: float = 0.75, downsamplings: int = 3) -> None:
        super().__init__()
        if downsamplings < 1 or blocks < 1:
            raise ValueError(f"LaMa needs downsamplings >= 1 and blocks >= 1, got {downsamplings} and {blocks}.")
        width = channels * 2**downsamplings
        wide = int(width * ratio)
        if not 0 < wide < width or wide % 2:
            raise ValueError(
                f"channels {channels} and ratio {ratio} give {width - wide} local and {wide} global channels "
                "in the blocks; both must be positive and the second even."
            )
        pair = (width - wide, wide)
        layers: list[nn.Module] = [_Split(3), FFCLayer((4, 0), (channels, 0), kernel=7)]
        for step in range(1, downsamplings + 1):
            outputs = channels * 2**step
            # The split into local and global channels happens in the last downsampling.
            out = pair if step == downsamplings else (outputs, 0)
            layers.append(FFCLayer((outputs // 2, 0), out, kernel=3, stride=2, padding=1))
        layers += [FFCBlock(pair) for _ in range(blocks)]
        layers.append(_Concat())
        for step in range(downsamplings, 0, -1):
            inputs = channels * 2**step
            up = nn.ConvTranspose2d(inputs, inputs // 2, 3, stride=2, padding=1, output_padding=1)
            layers += [up, nn.BatchNorm2d(inputs // 2), nn.ReLU(True)]
        layers += [nn.ReflectionPad2d(3), _Float32Conv2d(channels, 3, 7), nn.Sigmoid()]
        self.model = nn.Sequential(*layers)
        self.factor = 2**downsamplings

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        """Paint the whole image; the caller composites.

        Args:
            image: (B, 3, H, W) in [0, 1]; its content inside the hole is ignored (the hole is filled black).
            mask: (B, 1, H, W), 1 = hole.

        Returns:
            (B, 3, H, W) in [0, 1], float32.
        """
        height, width = image.shape[-2:]
        x = torch.cat([image * (1 - mask), mask], dim=1)
        return self.model(self._pad(x))[..., :height, :width]

    def _pad(self, x: Tensor) -> Tensor:
        # At the lowest resolution two rows must remain, because reflection padding requires them.
        size = [max(2, -(-side // self.factor)) * self.factor for side in x.shape[-2:]]
        return symmetric_pad(x, *size)
