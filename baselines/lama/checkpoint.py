"""Read the authors' LaMa checkpoint without running anything that is stored in it.

``best.ckpt`` is a Lightning checkpoint: beside the weights it pickles configuration objects of other packages, so
PyTorch's weights-only reader may refuse it, and its full reader would run whatever the file says. The reader here
rebuilds tensors and turns every other object into an inert placeholder.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from baselines.checkpoints import read_checkpoint
from baselines.lama.model import LaMaGenerator
from sair.files import InputError

PREFIX = "generator."
# What Lightning stored beside the generator: needed for training or for the authors' evaluation only.
DROPPED_PREFIXES = ("discriminator.", "loss_", "val_evaluator.", "test_evaluator.")


def load_authors_checkpoint(path: str | Path) -> tuple[dict[str, Tensor], int]:
    """The generator's weights of a published ``best.ckpt``.

    Returns:
        state: for ``LaMaGenerator(blocks=blocks).load_state_dict(state)``, strict, names without ``generator.``.
        blocks: the number of residual blocks, found from the names (9 or 18 in the published files).

    Raises:
        InputError: not such a checkpoint, or names or shapes that are missing, left over or wrong; it lists them.
    """
    state = _state_dict(path)
    unknown = [key for key in state if not key.startswith((PREFIX, *DROPPED_PREFIXES))]
    generator = {key.removeprefix(PREFIX): value for key, value in state.items() if key.startswith(PREFIX)}
    blocks = sum(bool(re.fullmatch(r"model\.\d+\.conv1\.ffc\.convl2l\.weight", key)) for key in generator)
    with torch.device("meta"):
        expected = LaMaGenerator(blocks=max(blocks, 1)).state_dict()
    problems = {
        "missing": [key for key in expected if key not in generator],
        "left over": unknown + [PREFIX + key for key in generator if key not in expected],
        "not a tensor of the expected shape": [
            f"{key}: {_shape(value)}, expected {tuple(expected[key].shape)}"
            for key, value in generator.items()
            if key in expected and _shape(value) != tuple(expected[key].shape)
        ],
    }
    if any(problems.values()):
        found = "; ".join(f"{what}: {', '.join(keys)}" for what, keys in problems.items() if keys)
        raise InputError(f"{path}: not the weights of a published LaMa generator ({blocks} blocks found). {found}")
    return generator, blocks


def _shape(value: Any) -> tuple[int, ...] | None:
    return tuple(value.shape) if isinstance(value, Tensor) else None


def _state_dict(path: str | Path) -> dict[str, Any]:
    content = read_checkpoint(path)
    state = content.get("state_dict") if isinstance(content, dict) else None
    if not isinstance(state, dict):
        raise InputError(f"{path}: no `state_dict` inside. Expected the authors' models/best.ckpt.")
    if any(not isinstance(key, str) for key in state):
        raise InputError(
            f"{path}: its `state_dict` has names that are no text. Expected the authors' models/best.ckpt."
        )
    return state
