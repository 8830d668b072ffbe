"""Reading the authors' checkpoint files: no pickle is run, names are brought into shape, and it is all or nothing.

Such files are PyTorch pickles of several ages and nestings. PyTorch's weights-only reader takes the plain ones; where
it refuses, a reader here rebuilds tensors and turns every other object into an inert placeholder.
"""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from sair.files import InputError


def read_checkpoint(path: str | Path) -> Any:
    """What a ``.pth``, ``.pt`` or ``.ckpt`` file of an author holds, without running anything that is stored in it.

    Raises:
        InputError: missing, damaged, or not a PyTorch checkpoint.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file. Fetch it from where the method's card.yaml says.")
    if zipfile.is_zipfile(path):
        names = zipfile.ZipFile(path).namelist()
        # Anything but a plain zip checkpoint would take other readers inside torch.load.
        if not any(name.endswith("/data.pkl") for name in names) or any(n.endswith("/constants.pkl") for n in names):
            raise InputError(
                f"{path}: not a readable PyTorch checkpoint (a TorchScript file such as big-lama.pt, another format, "
                "or an incomplete download)."
            )
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        return _load_inert(path)
    except Exception as error:  # an old or damaged file fails in any way
        raise InputError(
            f"{path}: not a readable PyTorch checkpoint ({type(error).__name__}: {error}). Fetch it again."
        ) from None


def state_of(content: Any, path: str | Path, *keys: str) -> dict[str, Tensor]:
    """The weights inside a checkpoint: below ``keys`` where the file nests them, else the file itself.

    ``module.`` in front of every name, which DataParallel leaves, is removed.

    Raises:
        InputError: no mapping from names to tensors there.
    """
    for key in keys:
        if isinstance(content, Mapping) and key in content and isinstance(content[key], Mapping):
            content = content[key]
    state = dict(content) if isinstance(content, Mapping) else {}
    if not state or not all(isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()):
        raise InputError(f"{path}: no weights by name inside (looked below {', '.join(keys) or 'the top level'}).")
    if all(name.startswith("module.") for name in state):
        state = {name.removeprefix("module."): value for name, value in state.items()}
    return state


def fold_spectral_norm(state: Mapping[str, Tensor], transposed: Iterable[str] = ()) -> dict[str, Tensor]:
    """Replace ``weight_orig``, ``weight_u`` and ``weight_v`` by the weight that they stand for in evaluation.

    Where one of the three is missing or misshapen the others keep their names, for ``load_strictly`` to refuse them.

    Args:
        state: weights by name, those of ``torch.nn.utils.spectral_norm`` among them.
        transposed: names of transposed convolutions (without ``.weight``), whose matrix is formed with axis 1 first.
    """
    transposed, folded = set(transposed), dict(state)
    for name, value in state.items():
        stem, _, kind = name.rpartition(".")
        u, v = (state.get(f"{stem}.{vector}") for vector in ("weight_u", "weight_v"))
        if kind != "weight_orig" or u is None or v is None:
            continue
        matrix = (value.transpose(0, 1) if stem in transposed else value).flatten(1)
        if matrix.shape == (len(u), len(v)):
            folded[f"{stem}.weight"] = value / (u @ (matrix @ v))
            for part in ("weight_orig", "weight_u", "weight_v"):
                del folded[f"{stem}.{part}"]
    return folded


def load_strictly(module: nn.Module, state: Mapping[str, Tensor], path: str | Path) -> None:
    """Copy weights into a module, all of them or none.

    Raises:
        InputError: names that are missing, left over, or of another shape; the message lists them.
    """
    own = module.state_dict()
    problems = {
        "missing": sorted(own.keys() - state.keys()),
        "left over": sorted(state.keys() - own.keys()),
        "of another shape": [
            f"{name} {tuple(state[name].shape)}, expected {tuple(own[name].shape)}"
            for name in sorted(own.keys() & state.keys())
            if own[name].shape != state[name].shape
        ],
    }
    if any(problems.values()):
        found = "; ".join(f"{what}: {', '.join(names)}" for what, names in problems.items() if names)
        raise InputError(f"{path}: does not fit {type(module).__name__}. {found}. Nothing was loaded.")
    module.load_state_dict(state, strict=True)


def _load_inert(path: str | Path) -> Any:
    reader = SimpleNamespace(__name__="inert_pickle", Unpickler=_InertUnpickler)
    try:
        return torch.load(path, map_location="cpu", weights_only=False, pickle_module=reader)
    except Exception as error:  # A crafted file can make the placeholders fail in any way.
        raise InputError(
            f"{path}: not a readable PyTorch checkpoint ({type(error).__name__}: {error}). Fetch it again."
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
