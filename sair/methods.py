"""The registry of methods: one small YAML file a method or variant names a class, its parameters and its place.

    label: SAIR                                       row name in tables and figures
    class: sair.models.inpainter:ImplicitInpainter    module:attribute
    extends: liif                                     start from another file, then override (optional)
    semantics: clip                                   a trained CLIP it needs (config/semantics/clip.yaml), or null
    over: edgeconnect                                 another method it is built on, trained before it (optional)
    weights: weights/mine.safetensors                 a checkpoint to use instead of training (optional; `sair convert`)
    tables: {table1: SAIR}                            tables it appears in: the paper's row, or null if it has none
    parameters: {...}                                 keyword arguments of the class
    training: {steps: 1000, batch: 16, ...}           overrides of the config's `training`; null for no training
    presets: {mini: {parameters, training}, paper: {...}}    merged in by the config's `preset`

An ablation is a file, not code. Unknown names and keys are refused with the nearest known ones.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import yaml

from sair.files import InputError, near

if TYPE_CHECKING:
    from torch import Tensor

_NONE = {"semantics": None, "over": None, "weights": None, "sees_truth": False}
_KEYS = {"label", "class", "extends", "tables", "parameters", "training", "presets", *_NONE}


@runtime_checkable
class Inpainter(Protocol):
    """Anything that fills holes. A method that learns adds ``optimizers`` and ``training_step`` (see ``training``)."""

    def inpaint(self, images: Tensor, masks: Tensor) -> Tensor:
        """Full predictions; the harness composites and rounds them.

        Args:
            images: (B, 3, H, W) RGB in [0, 1], hole pixels zero.
            masks: (B, 1, H, W), 1 = hole, 0 = known.

        Returns:
            (B, 3, H, W) in [0, 1].
        """
        ...


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """``base`` with ``over`` on top, key by key through nested mappings; a null in ``over`` replaces."""
    merged = dict(base)
    for key, value in over.items():
        inner = merged.get(key)
        merged[key] = merge(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return merged


def method_names(folder: str | Path) -> list[str]:
    """Names of all methods in ``folder`` (the files' names without ending)."""
    return sorted(path.stem for path in Path(folder).glob("*.yaml"))


def load_method(
    name: str,
    folder: str | Path,
    preset: str,
    training: dict[str, Any] | None = None,
    changes: Mapping[str, dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """A method's complete specification.

    Args:
        name: of the file ``<folder>/<name>.yaml``.
        folder: the registry, such as ``config/methods``.
        preset: which entry of ``presets`` to merge in.
        training: the config's defaults, under the file's own.
        changes: the config's ``methods``: by name, ``parameters`` and ``training`` over the file's own.

    Returns:
        Plain data: name, label, class, semantics, over, weights, sees_truth, tables, parameters, training. It is
        stored in the checkpoint and is all that is needed to build the method again; the method that it is ``over``
        stands in its parameters as ``generator``.

    Raises:
        InputError: unknown name, key or preset, or a file that extends itself or is over itself.
    """
    return _load(name, Path(folder), preset, training or {}, changes or {}, ())


def processes(spec: dict[str, Any]) -> int:
    """Processes that train a method together, a GPU each where there are any; 0 for what learns nothing."""
    return spec["training"]["processes"] if spec["training"] else 0


def _load(
    name: str,
    folder: Path,
    preset: str,
    training: dict[str, Any],
    changes: Mapping[str, dict[str, Any]],
    above: tuple[str, ...],
) -> dict[str, Any]:
    if name in above:
        way = " -> ".join((*above, name))
        raise InputError(f"{folder}/{name}.yaml is over itself through {way}. Remove one `over`.")
    raw = _read(name, folder, ())
    presets = raw.pop("presets", {})
    if presets and preset not in presets:
        raise InputError(f"{folder}/{name}.yaml has no preset {preset!r}. {near(preset, presets)}")
    spec = merge({**_NONE, "tables": {}, "parameters": {}, "training": {}}, raw)
    # A variant's own keys win over the preset of the file that it extends.
    chosen = presets.get(preset, {})
    change = {"parameters": {}, "training": {}, **changes.get(name, {})}
    spec["parameters"] = merge(merge(chosen.get("parameters", {}), spec["parameters"]), change["parameters"])
    own, preset_s = spec["training"], chosen.get("training", {})
    if own is None or (preset_s is None and not own) or spec["weights"]:
        if change["training"]:
            raise InputError(f"config, methods.{name}.training: {name} learns nothing. Remove it.")
        spec["training"] = None
    else:
        spec["training"] = merge(merge(merge(training, preset_s or {}), own), change["training"])
    if spec["over"]:
        below = _load(spec["over"], folder, preset, training, changes, (*above, name))
        generator = {key: below[key] for key in ("class", "parameters")}
        spec["parameters"] = merge({"generator": generator}, spec["parameters"])
    return {"name": name, **spec}


def _read(name: str, folder: Path, seen: tuple[str, ...]) -> dict[str, Any]:
    path = folder / f"{name}.yaml"
    if not path.is_file():
        raise InputError(f"unknown method {name!r}: there is no {path}. {near(name, method_names(folder))}")
    if name in seen:
        raise InputError(f"{path} extends itself through {' -> '.join((*seen, name))}. Remove one `extends`.")
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not valid YAML: {error}") from None
    for key in raw:
        if key not in _KEYS:
            raise InputError(f"{path}: unknown key {key!r}. {near(key, _KEYS)}")
    parent = raw.pop("extends", None)
    if parent is None:
        missing = {"label", "class"} - raw.keys()
        if missing:
            raise InputError(f"{path}: missing {', '.join(sorted(missing))} (or `extends` another method).")
        return raw
    base = _read(parent, folder, (*seen, name))
    # Places in tables are a row's own: a variant does not inherit its parent's.
    return merge({**base, "tables": {}}, raw)


def ancestors(name: str, folder: str | Path) -> list[str]:
    """The methods that a method's file extends, nearest first."""
    found: list[str] = []
    while parent := yaml.safe_load((Path(folder) / f"{name}.yaml").read_text(encoding="utf-8")).get("extends"):
        found.append(parent)
        name = parent
    return found


def build(spec: dict[str, Any]) -> Inpainter:
    """Make the object that a specification describes.

    Raises:
        InputError: the class cannot be found, or it does not take a parameter that the specification gives.
    """
    module_name, _, attribute = spec["class"].partition(":")
    try:
        cls = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(f"method {spec['name']}: class {spec['class']!r} cannot be imported ({error}).") from None
    known = inspect.signature(cls).parameters
    for key in spec["parameters"]:
        if key not in known:
            raise InputError(f"method {spec['name']}: {cls.__name__} has no parameter {key!r}. {near(key, known)}")
    return cls(**spec["parameters"])
