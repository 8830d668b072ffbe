"""List what a method with released weights lacks on this machine, and where to get it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sair.methods.readiness import lacking
from sair.weights.sources import where_from


def missing_parts(spec: Mapping[str, Any]) -> list[str]:
    """Return what a method lacks on this machine and where to get it, one line each; empty if it can run."""
    if spec["training"] is not None:
        return [
            "no released weights are named, and nothing is trained here. Name them in a --configfile: "
            f"`methods: {{{spec['name']}: {{weights: FILE}}}}`"
        ]
    lines = lacking(spec)
    if lines and spec["card"]:
        lines += where_from(spec["card"], spec["name"])
    if lines and spec["weights"]:
        lines.append(f"then: sair convert {spec['name']} FILE -o {spec['weights']} (docs/released-checkpoints.md)")
    return lines
