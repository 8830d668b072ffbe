"""Bring names that were used before to today's: of classes, of their parameters, and the form of values.

A checkpoint and a method file keep the names of the day on which they were written. Both are read through ``current``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sair.methods.origins import Layer

CLASSES = {"baselines.rfrnet:RFR": "baselines.rfrnet:RFRNet"}
# By today's class: a parameter's former name and today's.
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


# By class and parameter, both by today's names: what turns a value of the former form into today's. Other values stay.
VALUES: dict[tuple[str, str], Callable[[Any], Any]] = {
    ("baselines.rfrnet:RFRNet", "stages"): _from_start_of_second,
    ("baselines.structureflow:StructureFlow", "stages"): _from_starts,
    ("baselines.structureflow:StructureFlow", "pretrained"): _from_order,
}


def current(description: Layer) -> Layer:
    """Return a specification under today's names, and those that are nested in its parameters.

    Where a parameter stands under its former and its present name, the former one counts: the project's own files use
    today's names, so that the former one is the user's, laid over them.

    Args:
        description: with ``class`` and ``parameters``, and where they came from.
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
