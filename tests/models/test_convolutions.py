import torch
from torch import nn

from sair.models import convolutions
from sair.models.convolutions import Convolutions


def test_merged_passes_equal_single_ones(monkeypatch):
    torch.manual_seed(0)
    layers = Convolutions(
        nn.Conv2d(4, 8, 7, padding=3),
        nn.ReLU(),
        nn.Conv2d(8, 16, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.ConvTranspose2d(16, 8, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=2, dilation=2),
    ).double()
    x = torch.randn(2, 4, 16, 12, dtype=torch.double)
    calls = []

    def on_cpu(x, weight, bias, stride, padding, dilation, groups):
        calls.append(groups)
        return nn.functional.conv2d(x, weight, bias, stride, padding, dilation, groups).relu()

    monkeypatch.setattr(torch, "cudnn_convolution_relu", on_cpu)
    monkeypatch.setattr(torch, "get_autocast_dtype", lambda device: torch.double)
    results = []
    for merged in (False, True):
        monkeypatch.setattr(convolutions, "_merges", lambda x, merged=merged: merged)
        output = layers(x)
        results.append([output.detach(), *torch.autograd.grad(output.square().sum(), list(layers.parameters()))])
    assert calls == [1, 1]
    for expected, found in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
