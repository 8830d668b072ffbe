"""Find what a method that is not trained lacks on this machine: its weights, a library, a program."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sair.common.errors import InputError
from sair.methods.build import find_class


def lacking(spec: Mapping[str, Any]) -> list[str]:
    """Return what has to be installed or fetched before a method can run, one sentence each; empty if nothing is.

    A class reports what its parameters need by a static method ``missing(parameters)``. Files are only looked for, not
    read. For a method that is trained the list is empty.

    Args:
        spec: the method's specification (``sair.methods.spec.load_spec``).
    """
    if spec["training"] is not None:
        return []
    if spec["weights"]:
        path = Path(spec["weights"])
        return [] if path.is_file() else [f"{path}: no such file, but the method's weights are read from it"]
    try:
        cls = find_class(spec["class"], spec["name"])
        inspect.signature(cls).bind(**spec["parameters"])
        return list(cls.missing(spec["parameters"])) if hasattr(cls, "missing") else []
    except InputError as error:
        return [str(error)]
    except TypeError as error:
        return [f"method {spec['name']}: {error}. Correct its `parameters`."]
