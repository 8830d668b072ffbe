"""Make the weights and images that the authors' code was also given, and compare its recorded values."""

import numpy as np
import pytest
import torch
from torch import nn


def uniform(stream: np.random.PCG64, shape: tuple[int, ...]) -> np.ndarray:
    """Draw uniform numbers in [0, 1) from the raw stream, which NumPy promises never to change."""
    raw = stream.random_raw(int(np.prod(shape, dtype=np.int64)))
    return ((raw >> np.uint64(40)).astype(np.float64) / 2**24).reshape(shape)


def seeded(module: nn.Module, seed: int) -> nn.Module:
    """Fill every float tensor, in the order of the sorted names, so that activations keep their size."""
    stream, state = np.random.PCG64(seed), {}
    for key, value in sorted(module.state_dict().items()):
        if not value.is_floating_point():
            state[key] = value
            continue
        u = uniform(stream, tuple(value.shape))
        if key.endswith("running_var"):
            filled = 0.5 + u
        elif value.ndim > 1:
            filled = (2 * u - 1) * np.sqrt(3.0 / np.prod(value.shape[1:]))
        elif key.endswith("weight"):
            filled = 0.6 + 0.4 * u
        else:
            filled = 0.2 * u - 0.1
        state[key] = torch.tensor(filled, dtype=torch.float32)
    module.load_state_dict(state, strict=True)
    return module.eval()


def image_batch(seed: int, batch: int, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    stream = np.random.PCG64(seed)
    images = torch.tensor(uniform(stream, (batch, 3, height, width)), dtype=torch.float32)
    masks = torch.tensor(uniform(stream, (batch, 1, height, width)) < 0.4, dtype=torch.float32)
    return images, masks


def assert_golden(found: torch.Tensor, case: dict) -> None:
    assert list(found.shape) == case["shape"]
    flat = found.double().flatten()
    assert torch.allclose(flat[case["index"]], torch.tensor(case["values"], dtype=torch.float64), rtol=0, atol=1e-4)
    assert flat.mean().item() == pytest.approx(case["mean"], abs=1e-5)
    assert flat.std(correction=0).item() == pytest.approx(case["std"], abs=1e-5)
