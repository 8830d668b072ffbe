"""Turn an author's checkpoint files into one of ours: safetensors with the specification inside, no pickle any more."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sair.common.errors import InputError
from sair.methods import checkpoint
from sair.methods.build import Built, build, find_class
from sair.methods.loading import random_weights

HOW = "`sair convert --help` shows how files are named."


def convert(spec: dict[str, Any], files: Sequence[str], output: str | Path, image_size: int = 256) -> None:
    """Load an author's files into a method, all of their weights or none, and write its checkpoint.

    Args:
        spec: the method's specification, at the published size.
        files: what the method's parameter ``pretrained`` takes: one file, or a ``part=file`` for each network,
            where a dot goes a part deeper (``generator.edge=EdgeModel_gen.pth``).
        output: checkpoint to write, for a method file's ``weights`` or for ``sair inpaint --checkpoint``.
        image_size: side of the images that the authors trained on.

    Raises:
        InputError: the method reads no author's files, these do not fit it, or they leave weights random.
    """
    name = spec["name"]
    if spec.get("weights"):
        raise InputError(f"method {name} has its weights from {spec['weights']}. Name the method that it extends.")
    if "pretrained" not in inspect.signature(find_class(spec["class"], name)).parameters:
        raise InputError(
            f"method {name} reads no author's files: its class has no parameter 'pretrained'. `sair weights list` "
            "names the methods that do."
        )
    complete = {**spec, "parameters": {**spec["parameters"], "pretrained": _named(files)}}
    try:
        method = build(complete)
        left = random_weights(complete, method)
    except InputError as error:
        raise InputError(f"method {name} cannot be converted: {error} {HOW}") from error
    if left:
        parts = ", ".join(dict.fromkeys(weight.partition(".")[0] for weight in left))
        raise InputError(
            f"method {name}: the files given leave weights of {parts} random. Name all of its files. {HOW}"
        )
    checkpoint.save_method(output, Built(method, spec, image_size))


def _named(files: Sequence[str]) -> Any:
    """Return one file, a list of them, or nested parts of ``part=file``."""
    # A file may have a `=` in its name, which is then no part of the network.
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
