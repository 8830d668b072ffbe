"""From an author's checkpoint files to one of ours: safetensors with the specification inside, no pickle any more."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sair.files import InputError
from sair.methods import build, merge
from sair.training import checkpoint


def convert(spec: dict[str, Any], files: Sequence[str], output: str | Path, image_size: int = 256) -> None:
    """Load an author's files into a method, all of their weights or none, and write its checkpoint.

    Args:
        spec: the method's specification, at the published size.
        files: what the method's parameter ``pretrained`` takes: one file; several in its order; or ``part=file``,
            where a dot goes a part deeper (``generator.edge=EdgeModel_gen.pth``).
        output: checkpoint to write, for a method file's ``weights`` or for ``sair inpaint --checkpoint``.
        image_size: side of the pictures that the authors trained on.

    Raises:
        InputError: the method reads no author's files, or these do not fit it.
    """
    try:
        method = build({**spec, "parameters": {**spec["parameters"], "pretrained": _named(files)}})
    except (ValueError, TypeError) as error:
        raise InputError(f"method {spec['name']} cannot read {', '.join(files)}: {error}") from error
    checkpoint.save_method(output, method, spec, image_size=image_size)


def _named(files: Sequence[str]) -> Any:
    """One file, a list of them, or nested parts of ``part=file``."""
    plain = [file for file in files if "=" not in file]
    if plain and len(plain) < len(files):
        raise InputError(f"{', '.join(files)}: name every file (part=file), or none.")
    if plain:
        return plain[0] if len(plain) == 1 else plain
    nested: dict[str, Any] = {}
    parts: dict[str, list[str]] = {}
    for file in files:
        name, _, path = file.partition("=")
        parts.setdefault(name, []).append(path)
    for name, paths in parts.items():
        value: Any = paths[0] if len(paths) == 1 else paths
        for key in reversed(name.split(".")):
            value = {key: value}
        nested = merge(nested, value)
    return nested
