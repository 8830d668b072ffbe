"""Read OpenAI's CLIP files, which are TorchScript archives."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

NUMBERS = ("input_resolution", "context_length", "vocab_size")  # stored with the weights


def clip_state(path: Path) -> dict[str, Tensor]:
    """Return the weights in a file of OpenAI; weights-only readers refuse it, so check its hash before.

    Args:
        path: a file whose SHA-256 has been compared with the published one.
    """
    state = torch.jit.load(path, map_location="cpu").state_dict()
    return {name: value for name, value in state.items() if name not in NUMBERS}
