"""Read the authors' checkpoint files: no pickle is run, and a network gets all of its weights or none.

Such files are PyTorch pickles of several format versions and nestings (``sair.weights.unpickle``), or safetensors.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from sair.common.errors import InputError
from sair.common.file_kinds import (
    ARCHIVE,
    COMPRESSED,
    PICKLE,
    PYTORCH,
    SAFETENSORS,
    TAR,
    TORCHSCRIPT,
    kind_of,
    safetensors_metadata,
)
from sair.common.tensors import load_strictly
from sair.weights.unpickle import Inert, load_torch

COUNTER = ".num_batches_tracked"


def load_authors_checkpoint(network: nn.Module, path: str | Path) -> None:
    """Copy the weights of a published file into its network, all of them or none.

    The file contains weights by name, below ``generator`` or at the top. Spectral norm is folded into the kernels.

    Args:
        network: the network that the file is for, of the published size and without spectral norm.
        path: the file; nothing that is stored in it is run.

    Raises:
        InputError: not such a file, or names or shapes that are missing, left over or wrong; it lists them.
    """
    state = state_of(read_checkpoint(path), path, "generator")
    transposed = [name for name, layer in network.named_modules() if isinstance(layer, nn.ConvTranspose2d)]
    load_network(network, fold_spectral_norm(state, transposed), path)


def load_parts(networks: Mapping[str, nn.Module], files: Mapping[str, str | Path] | str) -> None:
    """Copy a published file into each of several networks.

    Args:
        networks: network by the name of the part.
        files: file by the name of the part, one for every network; a single file is refused.

    Raises:
        ValueError: not a mapping that has a file for each part and nothing else.
        InputError: same as in ``load_authors_checkpoint``.
    """
    if not isinstance(files, Mapping) or files.keys() != networks.keys():
        form = ", ".join(f"{part}: FILE" for part in networks)
        raise ValueError(f"pretrained {files!r}: expected a file each for {', '.join(networks)}: {{{form}}}.")
    for part, network in networks.items():
        load_authors_checkpoint(network, files[part])


def read_checkpoint(path: str | Path) -> Any:
    """Return the content of an author's ``.pth``, ``.pt``, ``.ckpt`` or ``.safetensors`` file, without running it.

    Raises:
        InputError: a file that is missing, damaged or of another kind, or several files where one is expected.
    """
    if not isinstance(path, str | Path):
        named = isinstance(path, Mapping)
        given = ", ".join(f"{name}=" for name in path) if named else ", ".join(map(str, path))
        wanted = "without a name in front of it, " if named else ""
        raise InputError(f"one file is expected here, {wanted}but {given} is given.")
    kind = kind_of(path)
    if kind == SAFETENSORS:
        return _read_safetensors(path)
    if kind != PYTORCH:
        raise InputError(_other(path, kind))
    try:
        return load_torch(path)
    except InputError:
        raise
    except Exception as error:  # an old, damaged or crafted file fails in any way
        raise _unreadable(path, error) from None


def _other(path: str | Path, kind: str) -> str:
    """Return a message for a file without weights: what it is, and what to do about it."""
    if kind == "no such file":
        return f"{path}: no such file. The method's card.yaml names the page to fetch it from."
    remedy = "Fetch it again."
    if kind == TORCHSCRIPT:
        remedy = "Such a file, big-lama.pt for example, is a program. Fetch the checkpoint that it was made from."
    elif kind == PICKLE:
        remedy = "Such a file is a program, which is not run. Fetch the weights as a PyTorch or safetensors file."
    elif kind == "a folder":
        remedy = "Name the file of weights in it."
    elif kind.startswith((ARCHIVE, TAR, COMPRESSED)):
        remedy = "Unpack it, and name the file of weights in it."
    return f"{path}: not a readable PyTorch checkpoint but {kind}. {remedy}"


def _read_safetensors(path: str | Path) -> dict[str, Tensor]:
    if "sair" in safetensors_metadata(path):
        raise InputError(
            f"{path}: a checkpoint of this project already. Use it as it is: `weights: {path}` in a method's file, or "
            f"sair inpaint IMAGE MASK -o OUT.png --checkpoint {path}"
        )
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: str | Path, error: Exception) -> InputError:
    said = " ".join(str(error).split())[:200]
    return InputError(f"{path}: not a readable PyTorch checkpoint ({type(error).__name__}: {said}). Fetch it again.")


def state_of(content: Any, path: str | Path, *keys: str) -> dict[str, Tensor]:
    """Return the weights inside a checkpoint: below ``keys`` if the file nests them, else at the top.

    Parts of names that wrappers add are removed: ``module`` (DataParallel), ``_orig_mod`` (torch.compile), and a key of
    ``keys`` in front of every name.

    Raises:
        InputError: there is no mapping from names to tensors.
    """
    for key in keys:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    state = dict(content) if isinstance(content, Mapping) else {}
    if not state or not all(isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()):
        # Tensors come last: what is none explains why the file is refused.
        order = sorted(state, key=lambda name: isinstance(state[name], Tensor))
        found = ", ".join(f"{name}: {_described(state[name])}" for name in order[:5]) or _described(content)
        raise InputError(
            f"{path}: no weights by name inside (looked below {', '.join(keys) or 'the top level'}, found {found})."
        )
    plain = {_without_wrappers(name): value for name, value in state.items()}
    if len(plain) < len(state):
        raise InputError(f"{path}: has several weights under one name if `module.` and `_orig_mod.` are removed.")
    for key in keys:
        if all(name.startswith(f"{key}.") for name in plain):
            plain = {name.removeprefix(f"{key}."): value for name, value in plain.items()}
    return plain


def _described(value: Any) -> str:
    """Return the type of a value, for a message."""
    if isinstance(value, Inert):
        return "a foreign object"
    if isinstance(value, Mapping):
        return f"a mapping of {len(value)} entries" if value else "an empty mapping"
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _without_wrappers(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in ("module", "_orig_mod"))


def fold_spectral_norm(state: Mapping[str, Tensor], transposed: Iterable[str] = ()) -> dict[str, Tensor]:
    """Replace ``weight_orig``, ``weight_u`` and ``weight_v`` by the weight that they result in during evaluation.

    If one of the three is missing or has a wrong shape, the others keep their names, and ``load_network`` refuses them.

    Args:
        state: weights by name, including those of ``torch.nn.utils.spectral_norm``.
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


def load_network(network: nn.Module, state: Mapping[str, Tensor], path: str | Path) -> None:
    """Copy weights into a network, all of them or none.

    Counters of batch normalisation that are missing become zero: PyTorch before 0.4.1 stored none, and no result
    depends on them.

    Args:
        network: the network, of the size that the weights are for.
        state: weights by name.
        path: the file that they come from, for the error.

    Raises:
        InputError: names or shapes that are missing, left over or wrong, or values that are not finite; it lists them.
    """
    own = network.state_dict()
    counters = {name: torch.zeros_like(value) for name, value in own.items() if name.endswith(COUNTER)}
    load_strictly(own, {**counters, **state}, path, type(network).__name__)
