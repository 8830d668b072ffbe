"""Save and load checkpoints: safetensors files with the specification inside, from which a method can be built."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from sair.common.errors import InputError
from sair.common.file_kinds import ARCHIVE, PYTORCH, SAFETENSORS, kind_of, safetensors_metadata
from sair.common.files import atomic
from sair.common.tensors import load_strictly
from sair.methods.build import Built, Inpainter, build, find_class
from sair.methods.spec import classes_named
from sair.methods.trust import PROJECT_CLASSES, checked_spec

_LARGEST_METADATA = 1 << 24  # bytes of JSON; the log of a long training has three million
FOREIGN = "a safetensors file of another program"
# Limits on what is built beyond a file's own weights: discriminators and other parts that are not stored.
_UNSTORED_FACTOR, _UNSTORED_ELEMENTS, _UNSTORED_TENSORS = 8, 1 << 27, 10_000


def save(path: str | Path, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> None:
    """Write tensors and JSON-able metadata as one safetensors file, atomically."""
    # Sort by name and clone, so that equal weights give equal bytes even if a module shares its storage.
    plain = {name: tensors[name].detach().cpu().clone().contiguous() for name in sorted(tensors)}
    with atomic(path) as temporary:
        # safetensors' save_file makes its own temporary file, which a killed process would leave behind.
        temporary.write_bytes(to_bytes(plain, {"sair": json.dumps(metadata, sort_keys=True)}))


def load(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what ``save`` wrote.

    Raises:
        InputError: the file is missing, damaged, or not a checkpoint of this project.
    """
    path = Path(path)
    kind = kind_of(path)
    if kind != SAFETENSORS:
        raise InputError(_not_ours(path, kind))
    try:
        with safe_open(path, framework="pt") as stream:
            text = (stream.metadata() or {}).get("sair")
            if text is None:
                raise InputError(_not_ours(path, FOREIGN))
            metadata = _metadata(path, text)
            return {name: stream.get_tensor(name) for name in stream.keys()}, metadata  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError) as error:
        if "sair" in safetensors_metadata(path):
            remedy = "Copy or convert it again, or delete it and train again."
        else:
            remedy = "Its download or copy may be incomplete: fetch it again."
        raise InputError(f"{path}: damaged checkpoint ({error}). {remedy}") from None


def _metadata(path: Path, text: str) -> dict[str, Any]:
    if len(text) > _LARGEST_METADATA:
        raise InputError(f"{path}: refused: {len(text)} bytes of metadata. Do not trust this file.")
    try:
        metadata = json.loads(text)
    except (ValueError, RecursionError):  # a number with too many digits, or lists that are nested too deeply
        metadata = None
    if not isinstance(metadata, dict):
        raise InputError(f"{path}: not a valid checkpoint: its metadata is not a JSON object.")
    return metadata


def _not_ours(path: Path, kind: str) -> str:
    """Return an error message: what kind of file this is instead of a checkpoint, and the remedy."""
    convert = "`sair convert METHOD FILE -o NAME.safetensors` turns an author's file into one"
    if kind == "no such file":
        return f"{path}: no such checkpoint. Train it first: snakemake --cores all {path}; {convert}."
    if kind == "a folder":
        inside = path / "checkpoint.safetensors"
        hint = f"name {inside}" if inside.is_file() else "name the .safetensors file itself"
        return f"{path}: a folder, not a checkpoint: {hint}."
    if kind in (PYTORCH, FOREIGN) or kind.startswith(ARCHIVE):
        return f"{path}: not a checkpoint of this project but {kind}: {convert}."
    return f"{path}: not a checkpoint of this project but {kind}. Fetch or copy the file again."


def weights_of(method: Any) -> dict[str, Tensor]:
    """Return the weights that inference needs: the method's ``weights_to_save`` if there is one, else its state."""
    if hasattr(method, "weights_to_save"):
        return method.weights_to_save()
    return method.state_dict() if isinstance(method, torch.nn.Module) else {}


def save_method(path: str | Path, built: Built, **facts: Any) -> None:
    """Write a method to a file from which alone ``restore`` builds it again.

    Args:
        path: file to write.
        built: the method. The files that ``weights`` and ``pretrained`` of its specification name are left out,
            because the checkpoint replaces them.
        facts: further metadata: seed, steps, and the cost of a step (``sair.training.cost``).
    """
    kept = {key: value for key, value in without_files(built.spec).items() if key != "weights"}
    size = {} if built.image_size is None else {"image_size": built.image_size}
    save(path, weights_of(built.network), {"spec": kept, **facts, **size})


def without_files(description: Any) -> Any:
    """Return a specification without the files of its weights, at every level."""
    if isinstance(description, Mapping):
        return {key: without_files(value) for key, value in description.items() if key != "pretrained"}
    return [without_files(value) for value in description] if isinstance(description, list) else description


def load_weights(method: Any, tensors: Mapping[str, Tensor], source: str | Path) -> None:
    """Copy weights into a method, all of them or none.

    Raises:
        InputError: weights are missing, left over, of another shape, or not finite; the message lists them.
    """
    load_strictly(weights_of(method), tensors, source, type(method).__name__)


def restore(path: str | Path) -> Built:
    """Build the method that a checkpoint describes, with its weights, in evaluation mode.

    Raises:
        InputError: same as in ``load`` and ``rebuild``; or it names a class or a file that the user did not choose.
    """
    tensors, metadata = load(path)
    spec = spec_of(metadata, path)
    return Built(rebuild(spec, tensors, path), spec, metadata.get("image_size"))


def rebuild(spec: dict[str, Any], tensors: Mapping[str, Tensor], path: str | Path) -> Inpainter:
    """Build a method from a checkpoint's specification, and put the checkpoint's weights into it.

    Args:
        spec: the specification, checked by ``spec_of``.
        tensors: the weights.
        path: of the checkpoint, for errors.

    Raises:
        InputError: a class without weights, parameters that the class does not accept, or weights that do not fit.
    """
    for name in classes_named(spec):
        # A program or a folder of images is never built from a checkpoint, even if a method file names it.
        cls = find_class(name, spec["name"])
        if not (issubclass(cls, torch.nn.Module) or hasattr(cls, "weights_to_save")):
            raise InputError(f"{path}: refused: {name} has no weights, so that no checkpoint describes it.")
    # A user's class may contain a large network that is not stored; the size of ours is limited by their files.
    bounded = set(classes_named(spec)) <= PROJECT_CLASSES
    try:
        with _Budget(tensors) if bounded else nullcontext():
            method = build(spec)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except Exception as error:  # constructors that get a file's values may fail in any way
        raise InputError(
            f"{path}: its parameters do not describe a {spec['class']} ({type(error).__name__}: {error})."
        ) from None
    load_weights(method, tensors, path)
    if isinstance(method, torch.nn.Module):
        method.eval()
    return method


def spec_of(metadata: dict[str, Any], path: str | Path, chosen: Collection[str] = ()) -> dict[str, Any]:
    """Return the specification in a checkpoint's metadata, if it may be built.

    Args:
        metadata, path, chosen: same as in ``sair.methods.trust.checked_spec``.

    Raises:
        InputError: the file is the state of an unfinished training, or same as in ``checked_spec``.
    """
    if "run" in metadata and "spec" not in metadata:
        raise InputError(
            f"{path}: the state of a training that is not finished. Run the same command again to finish it; it "
            f"then writes {Path(path).with_name('checkpoint.safetensors')}."
        )
    return checked_spec(metadata, path, chosen)


class _Budget(TorchDispatchMode):
    """Refuse to build a network that is far larger than the file that describes it, before it takes memory.

    Args:
        stored: all weights in the file.
    """

    def __init__(self, stored: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.elements = _UNSTORED_FACTOR * sum(tensor.numel() for tensor in stored.values()) + _UNSTORED_ELEMENTS
        self.tensors = _UNSTORED_FACTOR * len(stored) + _UNSTORED_TENSORS

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if "device" in {argument.name for argument in func._schema.arguments} and not _tensors(args):
            # A function that creates a tensor gives its size on the meta device, where it takes no memory.
            self.elements -= func(*args, **{**kwargs, "device": torch.device("meta")}).numel()
            self.tensors -= 1
            if self.elements < 0 or self.tensors < 0:
                raise InputError("refused: it describes a network that is far larger than its weights.")
        return func(*args, **kwargs)


def _tensors(args: Any) -> bool:
    return any(isinstance(value, Tensor) for value in args)
