"""Checkpoints: safetensors with the specification inside, so that a file alone is enough to build its method."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from sair.files import InputError, atomic
from sair.methods import Inpainter, build


def save(path: str | Path, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> None:
    """Write tensors and JSON-able metadata as one safetensors file, atomically."""
    # Sorted by name and cloned, so that equal weights are equal bytes however the module shares its storage.
    plain = {name: tensors[name].detach().cpu().clone().contiguous() for name in sorted(tensors)}
    with atomic(path) as temporary:
        # Not by save_file, which has a temporary file of its own: a killed process would leave it for ever.
        temporary.write_bytes(to_bytes(plain, {"sair": json.dumps(metadata, sort_keys=True)}))


def load(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what ``save`` wrote.

    Raises:
        InputError: the file is missing, damaged, or not a checkpoint of this project.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint. Train it first: snakemake --cores all {path}")
    try:
        with safe_open(path, framework="pt") as stream:
            metadata = (stream.metadata() or {}).get("sair")
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: damaged checkpoint ({error}). Delete it and train again.") from None
    if metadata is None:
        raise InputError(f"{path}: no checkpoint of this project (it carries no specification).")
    return tensors, json.loads(metadata)


def weights_of(method: Any) -> dict[str, Tensor]:
    """What inference needs: the method's own choice (``weights_to_save``), else all of its state."""
    if hasattr(method, "weights_to_save"):
        return method.weights_to_save()
    return method.state_dict() if isinstance(method, torch.nn.Module) else {}


def save_method(path: str | Path, method: Any, spec: dict[str, Any], **facts: Any) -> None:
    """Write a method that ``restore`` builds again from this file alone.

    Args:
        path: file to write.
        method: whose weights.
        spec: its specification; the files that its ``pretrained`` names are not needed any more.
        facts: further metadata: seed, steps, image_size.
    """
    save(path, weights_of(method), {"spec": _without_files(spec), **facts})


def _without_files(description: dict[str, Any]) -> dict[str, Any]:
    return {
        key: _without_files(value) if isinstance(value, dict) else value
        for key, value in description.items()
        if key != "pretrained"
    }


def load_weights(method: Any, tensors: dict[str, Tensor], source: str | Path) -> None:
    """Copy weights into a method, all of them or none.

    Raises:
        InputError: a weight is missing, left over, or of another shape; the message lists them.
    """
    own = weights_of(method)
    wrong = [f"missing {name}" for name in own.keys() - tensors.keys()]
    wrong += [f"unknown {name}" for name in tensors.keys() - own.keys()]
    wrong += [
        f"{name} is {tuple(tensors[name].shape)}, expected {tuple(own[name].shape)}"
        for name in own.keys() & tensors.keys()
        if own[name].shape != tensors[name].shape
    ]
    if wrong:
        shown = "; ".join(sorted(wrong)[:10])
        raise InputError(f"{source}: {len(wrong)} weights do not fit the method: {shown}. Nothing was loaded.")
    with torch.no_grad():
        for name, value in tensors.items():
            own[name].copy_(value)


def restore(path: str | Path) -> tuple[Inpainter, dict[str, Any]]:
    """Build the method that a checkpoint describes, with its weights, in eval mode.

    Returns:
        The method, and the checkpoint's metadata: spec, seed, steps, image_size.
    """
    tensors, metadata = load(path)
    method = build(metadata["spec"])
    load_weights(method, tensors, path)
    if isinstance(method, torch.nn.Module):
        method.eval()
    return method, metadata
