"""Decide which classes a checkpoint may build, so that a file from elsewhere cannot choose the code that runs.

A specification that the user wrote, in a method file, is built as it is. A specification inside a checkpoint is data.
It may name the classes of this project and those of the user's own method files, but no further files. It is checked
before anything is imported.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from sair.common.errors import InputError
from sair.common.files import read_mapping
from sair.methods.former import current
from sair.methods.origins import Layer
from sair.methods.spec import METHODS, SEMANTICS, classes_named, method_names

# This project's classes that have weights, which a checkpoint may name in any folder. A test compares them with the
# method files that come with the project.
PROJECT_CLASSES = frozenset(
    {
        "sair.models.clip:CLIP",
        "sair.models.inpainter:ImplicitInpainter",
        "sair.models.sam:SAM",
        "baselines.edgeconnect:EdgeConnect",
        "baselines.jpgnet:JPGNet",
        "baselines.lama:LaMa",
        "baselines.misf:MISF",
        "baselines.rfrnet:RFRNet",
        "baselines.structureflow:StructureFlow",
    }
)
# Parameters that make a constructor read a file or use the network: ours, and those of open_clip's configs.
_FETCHING = frozenset({"pretrained", "timm_model_name", "timm_model_pretrained", "hf_model_name", "hf_tokenizer_name"})
_FETCHED = ("hf-hub:", "hf_hub:", "local-dir:", "http:", "https:", "file:")  # names of models at open_clip and timm
_DEEPEST = 16  # levels of a specification; ours have six
_LARGEST = 1_000_000  # of a number of layers, channels or queries; with more, building would take hours


def checked_spec(metadata: Any, path: str | Path, chosen: Collection[str] = ()) -> dict[str, Any]:
    """Return the specification in a checkpoint's metadata, if it may be built.

    Args:
        metadata: the file's metadata.
        path: of the file, for errors.
        chosen: further classes that the user named, in addition to those of this project and of the working
            folder's method files.

    Raises:
        InputError: the specification is incomplete, names a class that the user did not choose, or names a file.
    """
    spec = metadata.get("spec") if isinstance(metadata, dict) else None
    wanted = {"name": str, "class": str, "parameters": dict}
    if not isinstance(spec, dict) or not all(isinstance(spec.get(key), kind) for key, kind in wanted.items()):
        raise InputError(f"{path}: not a complete checkpoint: its metadata contains no specification of a method.")
    size = metadata.get("image_size")
    if size is not None and (not isinstance(size, int) or isinstance(size, bool) or size < 1):
        raise InputError(f"{path}: not a valid checkpoint: its image_size is {size!r:.40}, not a number of pixels.")
    if not isinstance(spec.get("sees_truth", False), bool):
        raise InputError(f"{path}: not a valid checkpoint: its sees_truth is {spec['sees_truth']!r:.40}.")
    parameters = list(
        _flat(spec["parameters"], path)
    )  # refuses parameters that are nested too deeply, before they are renamed
    spec = current(Layer(spec, {})).values
    for key, value in parameters:
        if (key in _FETCHING and value) or (isinstance(value, str) and value.lower().startswith(_FETCHED)):
            raise InputError(
                f"{path}: refused: its parameter {key!r} names {value!r:.60} to be read, but a checkpoint contains all "
                "of its weights. Do not trust this file."
            )
        if isinstance(value, int) and abs(value) > _LARGEST and spec["class"] in PROJECT_CLASSES:
            raise InputError(f"{path}: refused: its parameter {key!r} is over {_LARGEST}. Do not trust this file.")
    named = list(classes_named(spec))
    if not all(isinstance(name, str) for name in named):
        raise InputError(f"{path}: not a valid checkpoint: it names a class that is not text.")
    strange = [name for name in named if name not in PROJECT_CLASSES and name not in chosen]
    if strange:
        of_user = working_folder_classes()
        strange = [name for name in strange if name not in of_user]
    if strange:
        raise InputError(
            f"{path}: refused: it names {strange[0]!r:.80}, which is neither a method of this project nor in a file of "
            f"{METHODS} or {SEMANTICS} here. Nothing was imported. If the class is yours, name it in a method file "
            "(docs/released-checkpoints.md)."
        )
    return {"sees_truth": False, **spec}


def working_folder_classes() -> set[str]:
    """Return the classes that the method files of the working folder name."""
    folders = [folder for folder in (METHODS, SEMANTICS) if folder.is_dir()]
    files = [folder / f"{name}.yaml" for folder in folders for name in method_names(folder)]
    return {name for path in files for name in classes_named(read_mapping(path)) if isinstance(name, str)}


def _flat(value: Any, path: str | Path, key: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Yield every value with the name of the parameter that it belongs to, containers included."""
    if depth > _DEEPEST:
        raise InputError(f"{path}: not a valid checkpoint: its parameters are nested more than {_DEEPEST} deep.")
    yield key, value
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _flat(inner, path, name, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            yield from _flat(inner, path, key, depth + 1)
