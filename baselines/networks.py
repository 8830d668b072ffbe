"""What several published networks need around them: any size, a mode for a while, and weights without spectral norm."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize


def symmetric_pad(x: Tensor, height: int, width: int) -> Tensor:
    """Grow (..., H, W) to (..., height, width) at the bottom and right by mirroring, edge pixels included."""
    if x.shape[-2:] == (height, width):
        return x
    rows, columns = (_mirrored(old, new, x.device) for old, new in zip(x.shape[-2:], (height, width), strict=True))
    return x[..., rows[:, None], columns]


def _mirrored(length: int, padded: int, device: torch.device) -> Tensor:
    index = torch.arange(padded, device=device) % (2 * length)
    return torch.minimum(index, 2 * length - 1 - index)


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Let gradients pass through a module for a while, but not into it."""
    module.requires_grad_(False)
    try:
        yield
    finally:
        module.requires_grad_(True)


@contextmanager
def evaluating(*modules: nn.Module) -> Iterator[None]:
    """Put modules into evaluation mode for a while, without gradients."""
    modes = [module.training for module in modules]
    for module in modules:
        module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.train(mode)


def plain_state(network: nn.Module) -> dict[str, Tensor]:
    """A network's state with spectral norm folded into the kernels; the network's own tensors where there is none."""
    state = {name: value for name, value in network.state_dict().items() if ".parametrizations." not in name}
    with evaluating(network):  # in training, a look at a kernel is a power iteration
        for name, layer in network.named_modules():
            if parametrize.is_parametrized(layer, "weight"):
                state[f"{name}.weight"] = layer.weight.detach()
    return state
