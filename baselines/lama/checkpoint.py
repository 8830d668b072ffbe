"""Read the authors' LaMa checkpoint without running anything that is stored in it.

``best.ckpt`` is a Lightning checkpoint: beside the weights it pickles configuration objects of other packages, so
PyTorch's weights-only reader may refuse it, and its full reader would run whatever the file says. The reader here
rebuilds tensors and turns every other object into an inert placeholder.
"""

from __future__ import annotations

import pickle
import re
import zipfile
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

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
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file. Unpack the authors' archive and give the path of models/best.ckpt.")
    # Anything but a plain zip checkpoint would take other readers inside torch.load.
    names = zipfile.ZipFile(path).namelist() if zipfile.is_zipfile(path) else []
    if not any(name.endswith("/data.pkl") for name in names) or any(name.endswith("/constants.pkl") for name in names):
        raise InputError(
            f"{path}: not a readable PyTorch checkpoint (a TorchScript file such as big-lama.pt, another format, or an "
            "incomplete download). Expected the authors' models/best.ckpt."
        )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        content = _load_inert(path)
    state = content.get("state_dict") if isinstance(content, dict) else None
    if not isinstance(state, dict):
        raise InputError(f"{path}: no `state_dict` inside. Expected the authors' models/best.ckpt.")
    if any(not isinstance(key, str) for key in state):
        raise InputError(
            f"{path}: its `state_dict` has names that are no text. Expected the authors' models/best.ckpt."
        )
    return state


def _load_inert(path: str | Path) -> Any:
    reader = SimpleNamespace(__name__="inert_pickle", Unpickler=_InertUnpickler)
    try:
        return torch.load(path, map_location="cpu", weights_only=False, pickle_module=reader)
    except Exception as error:  # A crafted file can make the placeholders fail in any way.
        raise InputError(
            f"{path}: cannot be read as a PyTorch checkpoint ({type(error).__name__}: {error}). Fetch it again."
        ) from None


class _Inert:
    """Stands for any foreign class or function: takes everything, does and keeps nothing."""

    def __new__(cls, *args: Any, **kwargs: Any) -> _Inert:
        return object.__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def _ignore(self, *args: Any) -> None:
        pass

    # Everything that the pickle machine calls by itself on an object it has built.
    __setstate__ = __setitem__ = append = extend = add = update = _ignore


_CALLED = {
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
}


class _InertUnpickler(pickle.Unpickler):
    """Looks up the allowed names only. Storage types never come here: torch.load resolves them itself."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        function = _CALLED.get((module, name))
        # Behind a lambda, because a pickle may set attributes on whatever it has looked up.
        return _Inert if function is None else lambda *args: function(*args)
