"""Test that layers which training on a CPU computes in its own way equal the plain ones, in values and gradients."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from baselines.filtering import predictive_filter
from baselines.jpgnet import structural_similarity
from baselines.lama.model import FourierUnit
from baselines.networks import InstanceNorm2d, LastConv2d
from baselines.structureflow import StructureFlow
from sair.weights.networks import Vgg16Features


def gradients(output, *inputs):
    """Return the gradients of a sum in which every value has another weight."""
    weights = torch.rand(output.shape, generator=torch.Generator().manual_seed(1))
    return torch.autograd.grad((output * weights).sum(), inputs)


def assert_equal(found, expected, *inputs):
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    for ours, theirs in zip(gradients(found, *inputs), gradients(expected, *inputs), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def maps(*shape, last=True):
    layout = torch.channels_last if last else torch.contiguous_format
    torch.manual_seed(0)
    return torch.rand(shape).contiguous(memory_format=layout).requires_grad_()


@pytest.mark.parametrize("channels", [8, 16, 24])
def test_instance_norm(channels):
    x = maps(3, channels, 6, 10)
    found = InstanceNorm2d(channels)(x)
    assert_equal(found, functional.instance_norm(x), x)
    if channels >= 16:
        assert found.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("size", [(14, 10), (13, 10), (13, 9)])
@pytest.mark.parametrize("kernel", [7, 4])
def test_a_convolution_with_few_outputs(kernel, size, bias):
    layer = LastConv2d(5, 3, kernel, bias=bias).to(memory_format=torch.channels_last)
    x = maps(2, 5, *size)
    expected = functional.conv2d(x, layer.weight, layer.bias)
    assert_equal(layer(x), expected, x, *layer.parameters())


def test_without_the_layout_of_training_nothing_changes():
    x, layer = maps(2, 16, 14, 14, last=False), LastConv2d(16, 3, 7)
    assert torch.equal(layer(x), functional.conv2d(x, layer.weight, layer.bias))
    assert torch.equal(InstanceNorm2d(16)(x), functional.instance_norm(x))


@pytest.mark.parametrize("size", [(8, 8), (5, 7)])
def test_fourier_units(size):
    x, unit = maps(2, 6, *size), FourierUnit(6)
    assert_equal(unit(x), unit(x.contiguous()), x, *unit.parameters())


@pytest.mark.parametrize("dilations", [(1,), (1, 2, 3)])
@pytest.mark.parametrize("last", [True, False])
def test_filtering(last, dilations):
    x, kernels = maps(2, 4, 9, 6, last=last), maps(2, 36, 9, 6, last=last)
    expected = []
    for dilation in dilations:
        neighbours = functional.unfold(x, 3, dilation=dilation, padding=dilation).view(2, 4, 9, 9, 6)
        expected.append((neighbours * kernels.view(2, 4, 9, 9, 6)).sum(2))
    assert_equal(torch.cat(predictive_filter(x, kernels, dilations)), torch.cat(expected), x, kernels)


def test_structural_similarity():
    a, b = maps(2, 3, 16, 21), maps(2, 3, 16, 21).flip(-1)
    line = torch.softmax(-((torch.arange(11) - 5) ** 2) / (2 * 1.5**2), dim=0)
    window = (line[:, None] * line).expand(3, 1, 11, 11)
    mean_a, mean_b, aa, bb, ab = (
        functional.conv2d(x, window, padding=5, groups=3) for x in (a, b, a * a, b * b, a * b)
    )
    luminance = (2 * mean_a * mean_b + 1e-4) / (mean_a**2 + mean_b**2 + 1e-4)
    contrast = (2 * (ab - mean_a * mean_b) + 9e-4) / (aa - mean_a**2 + bb - mean_b**2 + 9e-4)
    assert_equal(structural_similarity(a, b), (luminance * contrast).mean(), a)


@pytest.mark.parametrize(("progress", "share", "counts"), [(0.5, 1, [3, 3]), (0.95, 1, [5, 3, 5, 5, 5])])
def test_structureflow_computes_the_maps_that_it_compares(progress, share, counts, monkeypatch):
    computed = []

    class Recorder(nn.Module):
        def forward(self, images, maps):
            computed.append(maps)
            return [images[..., :: 2**n, :: 2**n] for n in range(maps)]

    monkeypatch.setattr("sair.weights.networks.vgg16_features", Recorder)
    method = StructureFlow(
        channels=8, structure_blocks=1, flow_blocks=1, discriminator_channels=8, windows=[(2, 0.5)], vgg_share=share
    )
    images, masks = torch.rand(1, 3, 48, 48), torch.zeros(1, 1, 48, 48)
    masks[..., 8:24, 8:24] = 1
    method.training_step({"images": images, "masks": masks, "progress": progress}, lambda name, loss: None)
    assert computed == counts


def test_vgg_stops_after_the_maps_that_are_asked_for():
    network, images = Vgg16Features(), torch.rand(1, 3, 16, 16)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.05)
    for ours, theirs in zip(network(images, 3), network(images)[:3], strict=True):
        assert torch.equal(ours, theirs)
    assert len(network(images, 3)) == 3
