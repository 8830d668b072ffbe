"""Turn an author's checkpoint files into one of this project: safetensors with the specification inside, no pickle."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sair.common.errors import InputError
from sair.methods import checkpoint
from sair.methods.build import Built, build, find_class
from sair.methods.loading import random_weights
from sair.methods.spec import with_parameters

HOW = "`sair convert --help` shows how files are named."


def convert(spec: dict[str, Any], files: Sequence[str], output: str | Path, image_size: int = 256) -> None:
    """Load an author's files into a method, all of their weights or none, and write its checkpoint.

    Args:
        spec: the method's specification, at the published size.
        files: values of the method's parameter ``pretrained``: one file; or ``part=file`` for each part, where a dot
            names a part inside a part (``generator.edge=EdgeModel_gen.pth``).
        output: checkpoint to write, for a method file's ``weights`` or for ``sair inpaint --checkpoint``.
        image_size: side of the images that the authors trained on.

    Raises:
        InputError: the method reads no author's files, these do not fit it, or they leave weights random.
    """
    name = spec["name"]
    if spec.get("weights"):
        raise InputError(f"method {name} has its weights from {spec['weights']}. Name the method that it extends.")
    cls = find_class(spec["class"], name)
    try:
        if "pretrained" in inspect.signature(cls).parameters:
            built = _from_pretrained(spec, files, image_size)
        elif hasattr(cls, "read_authors_file"):
            built = _from_description(spec, cls.read_authors_file, files)
        else:
            raise InputError("its class has no parameter 'pretrained'. `sair weights list` names the methods that do.")
    except InputError as error:
        raise InputError(f"method {name} cannot be converted: {error} {HOW}") from error
    checkpoint.save_method(output, built)


def _from_pretrained(spec: dict[str, Any], files: Sequence[str], image_size: int) -> Built:
    """Build a method whose class reads its authors' files itself, by its parameter ``pretrained``."""
    complete = with_parameters(spec, pretrained=_named(files))
    network = build(complete)
    if left := random_weights(complete, network):
        parts = ", ".join(dict.fromkeys(weight.partition(".")[0] for weight in left))
        raise InputError(f"the files given leave weights of {parts} random. Name all of its files.")
    return Built(network, spec, image_size)


def _from_description(spec: dict[str, Any], read: Callable[..., Any], files: Sequence[str]) -> Built:
    """Build a method from one file that also describes its network, whatever size the method's file has."""
    if len(files) != 1:
        raise InputError(f"one file is expected, but {', '.join(files)} is given.")
    parameters, weights = read(files[0], spec["parameters"])
    spec = {**spec, "parameters": parameters}
    network = build(spec)
    checkpoint.load_weights(network, weights, files[0])
    return Built(network, spec)


def _named(files: Sequence[str]) -> Any:
    """Return one file, a list of them, or nested parts of ``part=file``."""
    # A file's name may contain `=`, which then does not separate the name of a part.
    plain = [file for file in files if "=" not in file or Path(file).exists()]
    if plain and len(plain) < len(files):
        raise InputError(f"{', '.join(files)}: name every file (part=file), or none.")
    if plain:
        return plain[0] if len(plain) == 1 else plain
    parts: dict[str, list[str]] = {}
    for file in files:
        part, _, path = file.partition("=")
        parts.setdefault(part, []).append(path)
    nested: dict[str, Any] = {}
    for part, paths in parts.items():
        inside, (*above, last) = nested, part.split(".")
        for key in above:
            inside = inside.setdefault(key, {})
            if not isinstance(inside, dict):
                raise InputError(f"{part}=: {key} is given as a whole, too. Give it whole or in parts.")
        if last in inside or not all(part.split(".")):
            raise InputError(f"{part}=: given as a whole and in parts, or without a name. {HOW}")
        inside[last] = paths[0] if len(paths) == 1 else paths
    return nested
