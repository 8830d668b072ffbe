"""Translate former names of classes and parameters, and former forms of values, into the present ones.

Checkpoints and method files keep the names that were in use when they were written. Both are read through ``current``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sair.methods.origins import Layer

CLASSES = {"baselines.rfrnet:RFR": "baselines.rfrnet:RFRNet"}
# By present class: a parameter's former name and its present one.
PARAMETERS = {
    "baselines.jpgnet:JPGNet": {"base_channels": "channels"},
    "baselines.lama:LaMa": {
        "base_channels": "channels",
        "discriminator_layers": "discriminator_downsamplings",
        "generator_lr": "lr",
    },
    "baselines.misf:MISF": {"base_channels": "channels"},
    "baselines.rfrnet:RFRNet": {"finetune_from": "stages"},
}


def _from_start_of_second(value: Any) -> Any:
    """Turn the share of the run after which RFRNet's second stage begins into the stages' shares."""
    return {"train": value, "finetune": 1 - value} if isinstance(value, int | float) else value


def _from_starts(value: Any) -> Any:
    """Turn the shares of the run after which StructureFlow's second and third stage begin into the stages' shares."""
    if not isinstance(value, list) or len(value) != 2 or not all(isinstance(start, int | float) for start in value):
        return value
    second, third = value
    return {"structure": second, "texture": third - second, "joint": 1 - third}


def _from_order(value: Any) -> Any:
    """Turn the list of StructureFlow's two files into a file by part."""
    return dict(zip(("s_gen", "f_gen"), value, strict=True)) if isinstance(value, list) and len(value) == 2 else value


# By class and parameter, under their present names: the function that converts a value of the former form. It leaves
# other values unchanged.
VALUES: dict[tuple[str, str], Callable[[Any], Any]] = {
    ("baselines.rfrnet:RFRNet", "stages"): _from_start_of_second,
    ("baselines.structureflow:StructureFlow", "stages"): _from_starts,
    ("baselines.structureflow:StructureFlow", "pretrained"): _from_order,
}


def current(description: Layer) -> Layer:
    """Return a specification, and those that are nested in its parameters, under the present names.

    If a parameter is given under its former and its present name, the former one counts. The project's own files use
    the present names, so the former one is the user's and overrides them.

    Args:
        description: a specification with ``class`` and ``parameters``, and the origin of each value.
    """
    values, origins = dict(description.values), dict(description.origins)
    cls = values.get("class")
    if isinstance(cls, str):
        values["class"] = cls = CLASSES.get(cls, cls)
    if isinstance(values.get("parameters"), dict):
        values["parameters"], origins["parameters"] = _parameters(str(cls), description.part("parameters"))
    return Layer(values, origins)


def _parameters(cls: str, given: Layer) -> Layer:
    values, origins = dict(given.values), dict(given.origins)
    for former, name in PARAMETERS.get(cls, {}).items():
        if former in values:
            values[name] = values.pop(former)
            origins[name] = origins.pop(former, "")
    for name, value in values.items():
        if isinstance(value, dict) and "class" in value:
            values[name], origins[name] = current(Layer(value, origins.get(name, {})))
        elif (cls, name) in VALUES:
            values[name] = VALUES[cls, name](value)
    return Layer(values, origins)
