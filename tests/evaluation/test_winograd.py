"""Test Winograd's convolutions: they equal plain ones up to rounding, and small or other ones are left alone."""

import numpy as np
import pytest
import torch
from torch import nn

from sair.evaluation.metrics import winograd
from sair.evaluation.metrics.winograd import Tiles, matrices, use_winograd


def convolution(taps, channels=(24, 40)):
    torch.manual_seed(3)
    return nn.Conv2d(*channels, taps, padding=taps // 2).requires_grad_(False)


@pytest.mark.parametrize(("outputs", "taps"), [(2, 3), (5, 3), (4, 5)])
def test_the_matrices_give_the_sums_of_a_filter(outputs, taps):
    before, filters, after = matrices(outputs, taps)
    rng = np.random.default_rng(0)
    x, filter_ = torch.from_numpy(rng.normal(size=outputs + taps - 1)), torch.from_numpy(rng.normal(size=taps))
    expected = x.unfold(0, taps, 1) @ filter_
    torch.testing.assert_close(after @ ((filters @ filter_) * (before @ x)), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("taps", [3, 5])
@pytest.mark.parametrize("shape", [(1, 20, 20), (3, 21, 22), (2, 23, 31), (2, 40, 20)])
def test_a_convolution_is_the_same_up_to_rounding(taps, shape, fused, monkeypatch):
    monkeypatch.setattr(winograd, "_FUSED", fused and winograd._FUSED)
    layer = convolution(taps)
    x = torch.randn(shape[0], 24, *shape[1:])
    expected = convolution(taps).double()(x.double())
    for form in (torch.contiguous_format, torch.channels_last):
        found = Tiles(layer)(x.contiguous(memory_format=form))
        assert found.dtype == torch.float32 and found.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(found.double(), expected, rtol=0, atol=4e-5)
    alone = torch.cat([Tiles(layer)(x[k : k + 1]) for k in range(len(x))])
    torch.testing.assert_close(alone.double(), expected, rtol=0, atol=4e-5)


@pytest.mark.parametrize("limit", [1, 9, 20, 32, 50])
def test_a_batch_or_an_image_in_parts_is_that_at_once(limit, monkeypatch):
    tiles, x = Tiles(convolution(3)), torch.randn(5, 24, 23, 20)  # 5 rows of 4 tiles each
    expected, sizes, convolve = tiles(x), [], tiles._convolve
    monkeypatch.setattr(winograd, "AT_ONCE", limit)
    monkeypatch.setattr(tiles, "_convolve", lambda *args: sizes.append(args[0].shape) or convolve(*args))
    torch.testing.assert_close(tiles(x), expected, rtol=0, atol=4e-5)
    assert sum(size[0] * size[3] * size[4] for size in sizes) == 5 * 5 * 4
    assert all(size[0] * size[3] * size[4] <= max(limit, 4) for size in sizes)  # a row of tiles at least


@pytest.mark.parametrize("taps", [3, 5])
def test_small_features_are_convolved_as_before(taps):
    layer, smallest = convolution(taps), winograd.SMALLEST[taps]
    for height, width in ((smallest - 1, 50), (50, smallest - 1), (1, 1)):
        x = torch.randn(2, 24, height, width)
        assert torch.equal(Tiles(layer)(x), layer(x))


def test_only_convolutions_with_an_equivalent_are_replaced():
    others = [
        nn.Conv2d(8, 8, 3, stride=2, padding=1),
        nn.Conv2d(8, 8, 3, padding=2, dilation=2),
        nn.Conv2d(8, 8, 3, padding=1, groups=2),
        nn.Conv2d(8, 8, 3, padding=1, bias=False),
        nn.Conv2d(8, 8, 3),
        nn.Conv2d(8, 8, 5, padding=1),
        nn.Conv2d(8, 8, 11, padding=5),
        nn.Conv2d(8, 8, 1),
    ]
    inner = nn.Sequential(nn.Conv2d(8, 8, 5, padding=2), nn.ReLU(), *others)
    network = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), inner).requires_grad_(False)
    x = torch.randn(1, 8, 60, 60)
    expected = network(x)
    use_winograd(network)
    assert isinstance(network[0], Tiles) and isinstance(inner[0], Tiles)
    assert list(inner)[2:] == others
    torch.testing.assert_close(network(x), expected, rtol=0, atol=4e-5)
