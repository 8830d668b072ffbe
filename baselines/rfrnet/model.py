"""RFRNet's network, which closes the hole ring by ring with one module that is applied repeatedly.

Two partial convolutions extend the known features into the hole. A small U-Net then processes them; its attention is
blended with that of the previous recurrence (Li et al., CVPR 2020, sections 3.1 to 3.3). The parameter names and
shapes are those of the published checkpoints. Inside the network, masks are 1 for known pixels, as in the paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.networks import symmetric_pad

# The attention of a recurrence, (B, keys, h, w), and where it was known, (B, 1, h, w).
Memory = tuple[Tensor, Tensor]


class PartialConv2d(nn.Conv2d):
    """Convolution over the known part of its window, scaled up by the share that is known (Liu et al., ECCV 2018).

    The mask has one channel, which applies to all input channels, or one for each. There is no bias.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> None:
        super().__init__(in_channels, out_channels, kernel, stride, kernel // 2, bias=False)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]  # a second input
        """Convolve the known values.

        Args:
            x: (B, in, H, W).
            mask: (B, 1 or in, H, W), 1 = known.

        Returns:
            (B, out, h, w), zero where a window has no known pixel; and (B, 1, h, w), 1 where it has any.
        """
        kernel, stride, padding = self.kernel_size, self.stride, cast(tuple[int, ...], self.padding)
        # Known values in each window, over all input channels: an average pooling with divisor 1 is a sum.
        known = mask * x.shape[1] if mask.shape[1] == 1 else mask.sum(1, keepdim=True)
        known = functional.avg_pool2d(known, kernel, stride, padding, divisor_override=1)
        seen = known.clamp(0, 1)
        # The window's number of values, divided by how many of them are known.
        share = self.weight[0].numel() / (known + 1e-8) * seen
        return super().forward(x * mask) * share, seen


class KnowledgeConsistentAttention(nn.Module):
    """Self-attention, blended with that of the previous recurrence where positions were already known (section 3.2)."""

    def __init__(self) -> None:
        super().__init__()
        self.ratio = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor, mask: Tensor, memory: Memory | None) -> tuple[Tensor, Memory]:
        """Gather, for each position, features of similar positions.

        Positions are matrix columns, so the batch is computed at once and h need not equal w.

        Args:
            x: (B, C, h, w), features.
            mask: (B, 1, H, W), 1 = known; resized to (h, w) for the next recurrence.
            memory: what this function returned in the previous recurrence; None in the first. It is passed and never
                stored in the module, so calls and images are independent.

        Returns:
            the gathered features (B, C, h, w), and the memory for the next recurrence.
        """
        flat = x.flatten(2)  # (B, C, P) with P = h * w positions
        # Cosine similarity with only one side normalised: keys have length 1, queries keep their length.
        keys = flat + 1e-7
        keys = keys / keys.square().sum(1, keepdim=True).sqrt()
        scores = (keys.transpose(1, 2) @ flat).unflatten(2, x.shape[2:])  # (B, P keys, h, w queries)
        # Sum over 3x3 neighbouring queries, so that neighbours attend to similar positions.
        scores = _window_sums(scores)
        attention = scores.softmax(1)  # over keys
        if memory is not None:
            before, known = memory
            # Where the position was known: the mean of old and new attention, weighted 1 to `ratio`; elsewhere the
            # new attention alone.
            new = self.ratio.abs() + 1e-7
            attention = (before * known + attention * new) / (known + new)
        gathered = (keys @ attention.flatten(2)).unflatten(2, x.shape[2:])
        return gathered, (attention, functional.interpolate(mask, x.shape[2:]))


def _window_sums(x: Tensor) -> Tensor:
    """Return sums over 3x3 windows, zeros around: rows, then columns, in a third of a pooling layer's time on a CPU."""
    padded = functional.pad(x, (1, 1, 1, 1))
    rows = padded[..., :-2, :] + padded[..., 1:-1, :] + padded[..., 2:, :]
    return rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]


class Attention(nn.Module):
    """Knowledge-consistent attention, and a convolution that combines its result with its input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.att = KnowledgeConsistentAttention()
        self.combiner = nn.Conv2d(2 * channels, channels, 1)

    def forward(self, x: Tensor, mask: Tensor, memory: Memory | None) -> tuple[Tensor, Memory]:
        """Map (B, C, h, w) to (B, C, h, w) and the new memory; arguments same as in the attention."""
        # Scores are not normalised and reach hundreds, where adjacent bfloat16 numbers differ by a whole unit.
        with torch.autocast(x.device.type, enabled=False):
            gathered, memory = self.att(x.float(), mask, memory)
        return self.combiner(torch.cat([gathered, x], dim=1)), memory


class FeatureReasoning(nn.Module):
    """The module of every recurrence: a U-Net with attention in its decoder (section 3.2)."""

    def __init__(self, channels: int, strides: Sequence[int]) -> None:
        super().__init__()
        widths = [channels * 2**n for n in range(4)]
        top = widths[3]
        for n, stride in enumerate(strides):
            setattr(self, f"enc_{n + 1}", _conv(widths[n], widths[n + 1], nn.ReLU(True), stride=stride, padding=1))
        for n in (4, 5, 6):
            setattr(self, f"enc_{n}", _conv(top, top, nn.ReLU(True), padding=2, dilation=2))
        self.att = Attention(top)
        for n in (5, 4):
            setattr(self, f"dec_{n}", _conv(2 * top, top, nn.LeakyReLU(0.2, True), padding=2, dilation=2))
        self.dec_3 = _up(2 * top, top, strides[2])
        self.dec_2 = _up(top + widths[2], widths[2], strides[1])
        self.dec_1 = _up(widths[2] + widths[1], channels, strides[0])

    def forward(self, x: Tensor, mask: Tensor, memory: Memory | None) -> tuple[Tensor, Memory]:
        """Map (B, C, h, w), known where the mask (B, 1, h, w) is 1, to the same shape and the new memory."""
        skips = []
        for n in range(1, 7):
            x = getattr(self, f"enc_{n}")(x)
            skips.append(x)
        skips.pop()
        for n in range(5, 0, -1):
            x = getattr(self, f"dec_{n}")(torch.cat([x, skips.pop()], dim=1))
            if n == 3:
                x, memory = self.att(x, mask, memory)
        assert memory is not None  # the decoder's third layer has set it
        return x, memory


class Bottleneck(nn.Module):
    """The residual block of ResNet-50, a quarter as wide inside."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = channels // 4
        self.conv1 = nn.Conv2d(channels, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        hidden = functional.relu(self.bn1(self.conv1(x)))
        hidden = functional.relu(self.bn2(self.conv2(hidden)))
        return functional.relu(x + self.bn3(self.conv3(hidden)))


class RFRNetGenerator(nn.Module):
    """Recurrent feature reasoning at half the resolution (figure 2); the defaults are the published network.

    Each partial convolution closes ``kernel // 2`` half-resolution pixels of a hole from its border inward: with the
    defaults, holes up to 162 pixels wide. Pixels further inside get no features.

    Args:
        channels: width of the features, a multiple of 8.
        kernel: side of the partial convolutions' windows, odd; 7, or 5 in the authors' variant for smaller holes.
        recurrences: rounds of reasoning.
        strides: strides of the reasoning module's first three convolutions, each 1 or 2. The attention's grid is
            coarser than the image by twice the product of the first two.
    """

    def __init__(
        self, channels: int = 64, kernel: int = 7, recurrences: int = 6, strides: Sequence[int] = (2, 2, 2)
    ) -> None:
        super().__init__()
        if channels < 8 or channels % 8 or kernel % 2 == 0 or recurrences < 1:
            raise ValueError(
                f"RFRNet needs channels divisible by 8, an odd kernel and recurrences >= 1, "
                f"got {channels}, {kernel} and {recurrences}."
            )
        if len(strides) != 3 or not set(strides) <= {1, 2}:
            raise ValueError(f"RFRNet needs three strides of 1 or 2, got {list(strides)}.")
        half = channels // 2
        self.Pconv1 = PartialConv2d(3, channels, 7, stride=2)
        self.bn1 = nn.BatchNorm2d(channels)
        self.Pconv2 = PartialConv2d(channels, channels, kernel)
        self.bn20 = nn.BatchNorm2d(channels)
        self.Pconv21 = PartialConv2d(channels, channels, kernel)
        self.Pconv22 = PartialConv2d(channels, channels, kernel)
        self.bn2 = nn.BatchNorm2d(channels)
        self.RFRModule = FeatureReasoning(channels, strides)
        self.Tconv = nn.ConvTranspose2d(channels, channels, 4, 2, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels)
        self.tail1 = PartialConv2d(3 + channels, half, 3)
        self.tail2 = Bottleneck(half)
        self.out = nn.Conv2d(channels, 3, 3, padding=1, bias=False)
        self.recurrences = recurrences
        self.factor = 2 * strides[0] * strides[1] * strides[2]

    def forward(self, images: Tensor, holes: Tensor) -> Tensor:
        """Paint the whole image; the caller clamps and composites.

        Args:
            images: (B, 3, H, W) in [0, 1]; their content inside the hole is ignored (the hole is filled black).
            holes: (B, 1, H, W), 1 = hole.

        Returns:
            (B, 3, H, W), float32, without bounds.
        """
        height, width = images.shape[-2:]
        size = [-(-side // self.factor) * self.factor for side in (height, width)]
        mask = symmetric_pad(1 - holes, *size)
        image = symmetric_pad(images, *size) * mask
        features, known = self._reason(image, mask)
        features = functional.leaky_relu(self.bn3(self.Tconv(features)))
        masks = [mask.expand_as(image), functional.interpolate(known, scale_factor=2).expand_as(features)]
        tail = functional.leaky_relu(self.tail1(torch.cat([image, features], 1), torch.cat(masks, 1))[0])
        tail = torch.cat([tail, self.tail2(tail)], dim=1)
        # Use float32, because bfloat16 is coarser than 8-bit colour.
        with torch.autocast(images.device.type, enabled=False):
            return self.out(tail.float())[..., :height, :width]

    def _reason(self, image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean of the recurrences' features over those in which a position is known, and the last mask."""
        x, mask = self.Pconv1(image, mask)
        x, mask = self.Pconv2(functional.relu(self.bn1(x)), mask)
        x = functional.relu(self.bn20(x))
        total, count, memory = x * mask, mask, None
        for _ in range(self.recurrences):
            x, mask = self.Pconv22(*self.Pconv21(x, mask))
            x, memory = self.RFRModule(functional.leaky_relu(self.bn2(x)), mask, memory)
            x = x * mask
            total, count = total + x, count + mask
        return total / (count + 1e-7 * (self.recurrences + 1)), mask


def _conv(inputs: int, outputs: int, activation: nn.Module, **options: Any) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, bias=False, **options), nn.BatchNorm2d(outputs), activation)


def _up(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    convolution = nn.ConvTranspose2d(inputs, outputs, stride + 2, stride, 1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2, True))
