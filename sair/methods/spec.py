"""Read method files: one small YAML file per method or variant gives its class, its parameters and its tables.

config/README.md ("Method files") explains the keys. ``load_spec`` lays these layers over one another, key by key
through nested mappings, the later ones on top:

    1. the class and parameters of the method that this one is ``over``, as the parameter ``generator``
    2. the config's ``training`` (settings of training only)
    3. the entry of ``presets`` that the config's ``preset`` names, from the file and the files that it extends
    4. the keys of the file itself, over those of the files that it extends
    5. the config's ``methods.<name>``; its ``weights`` are as if they were in a file that extends this one

So a variant's own keys override a preset of the file that it extends. Parameters that no file can give are added later
by ``with_parameters``. With ``weights`` there are no layers 1 and 2, and the parameters override those of the
checkpoint (``sair.methods.loading``).

An ablation is a file, not code. Unknown names and keys are refused with the nearest known ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import reduce
from pathlib import Path
from typing import Any

from sair.common.errors import InputError, near
from sair.common.files import read_mapping
from sair.methods.former import current
from sair.methods.origins import Layer

METHODS = Path("config/methods")
SEMANTICS = Path("config/semantics")
UPKEEP = ("workers", "save_every", "validate_every")  # settings of training that do not affect the weights

_DEFAULTS: dict[str, Any] = {"semantics": None, "over": None, "weights": None, "card": None}
_DEFAULTS |= {"samples": 1, "sees_truth": False, "control": False, "stands_for": {}}
_DEFAULTS |= {"tables": {}, "parameters": {}, "training": {}, "published": {}}
_OPTIONAL = (str, type(None))
KEYS: dict[str, tuple[type, ...]] = {
    "label": (str,),
    "class": (str,),
    "extends": _OPTIONAL,
    "semantics": _OPTIONAL,
    "over": _OPTIONAL,
    "weights": _OPTIONAL,
    "card": _OPTIONAL,
    "samples": (int,),
    "sees_truth": (bool,),
    "control": (bool,),
    "stands_for": (dict,),
    "tables": (dict,),
    "parameters": (dict,),
    "training": (dict, type(None)),
    "published": (dict,),
    "presets": (dict,),
}
PRESET_KEYS = ("parameters", "training")  # of an entry of `presets`; the config's `methods` also has `weights`
# Keys that a checkpoint replaces.
_OF_TRAINING = ("parameters", "presets", "training", "published")
_WORDS = {str: "text", int: "a whole number", bool: "true or false", dict: "keys and values", type(None): "null"}


def method_names(folder: str | Path) -> list[str]:
    """Return the names of all methods in ``folder`` (the files' names without ending).

    Raises:
        InputError: there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(
            f"there is no folder {folder} in {Path.cwd()}. Change to the project's folder, or name a checkpoint's file."
        )
    return sorted(path.stem for path in folder.glob("*.yaml") if not path.name.startswith("."))


def load_spec(
    name: str,
    folder: str | Path,
    preset: str,
    training: dict[str, Any] | None = None,
    changes: Mapping[str, dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Return a method's complete specification.

    Args:
        name: name of the file ``<folder>/<name>.yaml``.
        folder: the registry, such as ``config/methods``.
        preset: the entry of ``presets`` to merge.
        training: the config's ``training``.
        changes: the config's ``methods``: by name, ``parameters``, ``training`` and ``weights``.

    Returns:
        Plain data: name, label, class, semantics, over, weights, card, samples, sees_truth, control, stands_for,
        tables, parameters, training (None for a method that is not trained), published. It is stored in the checkpoint
        and is all that is needed to build the method again.

    Raises:
        InputError: unknown name, key or preset, a value of the wrong type, or a file that extends itself or is over
            itself.
    """
    given = Layer.of(training or {}, "config"), Layer.of(changes or {}, "config")
    return _load(name, Path(folder), preset, *given, ()).values


def explain_method(
    name: str, folder: str | Path, preset: str, configs: Iterable[tuple[str | Path, dict[str, Any]]]
) -> Layer:
    """Return a method's complete specification, as ``load_spec`` does, with the file that each value came from.

    Args:
        name, folder, preset: same as in ``load_spec``.
        configs: the config's files and their content, each laid over those before it.

    Raises:
        InputError: same as in ``load_spec``.
    """
    config = Layer({}, {})
    for file, content in configs:
        config = config.under(_origins(content, file, "methods"))
    values, origins = _load(name, Path(folder), preset, config.part("training"), config.part("methods"), ())
    return Layer({key: values[key] for key in ("name", "label", "class")} | values, origins)


def with_parameters(spec: dict[str, Any], **parameters: Any) -> dict[str, Any]:
    """Return a specification with some parameters replaced, which are known only after the files were read.

    ``classes`` of a semantic encoder come from the config's dataset. ``semantic`` and ``generator`` describe parts that
    are trained before, and come from the checkpoints of these parts.
    """
    return {**spec, "parameters": {**spec["parameters"], **parameters}}


def processes(spec: dict[str, Any]) -> int:
    """Return how many processes train a method together, with a GPU each if there are any; 0 without training."""
    return spec["training"]["processes"] if spec["training"] else 0


def _load(name: str, folder: Path, preset: str, training: Layer, changes: Layer, above: tuple[str, ...]) -> Layer:
    """Lay the layers of a specification over one another (see the top of this module).

    Args:
        name, folder, preset: same as in ``load_spec``.
        training, changes: the config's ``training`` and ``methods``.
        above: the methods that are built over this one.
    """
    path = folder / f"{name}.yaml"
    if name in above:
        way = " -> ".join((*above, name))
        raise InputError(f"{path} is over itself through {way}. Remove one `over`.")
    raw = _with_weights(_merged(name, folder), changes.part(name))
    presets = raw.values.pop("presets", {})
    if presets and preset not in presets:
        raise InputError(f"{path} has no preset {preset!r}. {near(preset, presets)}")
    spec, origins = Layer(_DEFAULTS, {}).under(raw)
    layers = Layer(presets, origins.pop("presets", {})).part(preset), raw, changes.part(name)
    parameters, training_keys = (reduce(Layer.under, (one.part(key) for one in layers)) for key in PRESET_KEYS)
    if _is_trained(spec, layers[0]):
        spec["training"], origins["training"] = training.under(training_keys)
    else:
        if changes.part(name).values.get("training"):
            raise InputError(f"config, methods.{name}.training: {name} is not trained. Remove it.")
        if spec["weights"] and (spec["training"] or layers[0].values.get("training", {})):
            raise InputError(f"{path}: names `weights` and `training`, but weights are not trained on. Remove one.")
        if spec["weights"] or spec["training"] is not None:
            origins["training"] = origins["weights"] if spec["weights"] else layers[0].origins["training"]
        spec["training"] = None
    if spec["weights"]:
        spec["weights"] = str(Path(spec["weights"]).expanduser())
    if spec["weights"] and parameters.values.get("pretrained"):
        raise InputError(f"{path}: names `weights` and `pretrained`, two sources of its weights. Remove one.")
    if spec["over"] and not spec["weights"]:  # a checkpoint also contains the generator
        below = _load(spec["over"], folder, preset, training, changes, (*above, name))
        generator = {key: below.values[key] for key in ("class", "parameters")}
        origin = below.through(f"over {spec['over']}")
        parameters = Layer({"generator": generator}, {"generator": origin}).under(parameters)
    spec["parameters"], origins["parameters"] = parameters
    return current(Layer({"name": name, **spec}, origins))


def _is_trained(spec: Mapping[str, Any], preset: Layer) -> bool:
    """Return whether a method is trained.

    It is not trained if its file names ``weights`` or has ``training: null``, or if its preset has ``training: null``
    and the file itself has no settings of training, which would override the preset.

    Args:
        spec: the keys of the method's file, over those of the files that it extends.
        preset: the chosen entry of its ``presets``.
    """
    if spec["weights"] or spec["training"] is None:
        return False
    return preset.values.get("training", {}) is not None or bool(spec["training"])


def _merged(name: str, folder: Path) -> Layer:
    """Return a method's file laid over the files that it extends, without ``extends``."""
    chain = [_read(name, folder)]
    names = [name]
    while (parent := chain[0].pop("extends", None)) is not None:
        if parent in names:
            way = " -> ".join((*names, parent))
            raise InputError(f"{folder / names[-1]}.yaml extends itself through {way}. Remove one `extends`.")
        names.append(parent)
        chain.insert(0, _read(parent, folder))
    missing = {"label", "class"} - chain[0].keys()
    if missing:
        path = folder / f"{names[-1]}.yaml"
        raise InputError(f"{path}: missing {', '.join(sorted(missing))} (or `extends` another method).")
    stated = [number for number, raw in enumerate(chain) if "weights" in raw]
    weighted = stated[-1] if stated and chain[stated[-1]]["weights"] else 0
    merged = Layer({}, {})
    for number, (file, raw) in enumerate(zip(reversed(names), chain, strict=True)):
        if number < weighted:  # the checkpoint has its own parameters; these files' are of another network
            raw = {key: value for key, value in raw.items() if key not in _OF_TRAINING}
        # A variant does not inherit the tables in which its parent appears, nor whose place it takes there.
        above = Layer(
            {**merged.values, "tables": {}, "stands_for": {}}, {**merged.origins, "tables": {}, "stands_for": {}}
        )
        merged = above.under(_origins(raw, folder / f"{file}.yaml", "presets"))
    return merged


def _with_weights(raw: Layer, given: Layer) -> Layer:
    """Lay the ``weights`` of the config's ``methods.<name>`` over a method's file, if there are any."""
    if given.values.get("weights") is None:
        return raw
    kept = {key: value for key, value in raw.values.items() if key not in _OF_TRAINING}
    weights = Layer({"weights": given.values["weights"]}, {"weights": given.origins["weights"]})
    return Layer(kept, {key: raw.origins[key] for key in kept}).under(weights)


def _origins(content: dict[str, Any], file: str | Path, key: str) -> Layer:
    """Return a file's content with its origins: the file, and for values below ``key`` also the entry there."""
    layer = Layer.of(content, f"{file}")
    for name, entries in (content.get(key) or {}).items():
        layer.origins[key][name] = Layer.of(entries, f"{file}, {key}.{name}").origins
    return layer


def _read(name: str, folder: Path) -> dict[str, Any]:
    """Read one method file, and check its keys and their types.

    Raises:
        InputError: no such file, an unknown key, or a value of the wrong type.
    """
    path = folder / f"{name}.yaml"
    if not path.is_file():
        known = method_names(folder)
        raise InputError(f"unknown method {name!r}: there is no {path}. {near(name, known)}")
    raw = read_mapping(path)
    _check(f"{path}", raw, KEYS)
    for preset, entries in raw.get("presets", {}).items():
        if not isinstance(entries, dict):
            raise InputError(f"{path}, presets.{preset}: expected keys and values, found {entries!r:.60}.")
        _check(f"{path}, presets.{preset}", entries, {key: KEYS[key] for key in PRESET_KEYS})
    if ":" not in raw.get("class", ":"):
        raise InputError(f"{path}, class: {raw['class']!r} should be module:Class, such as baselines.lama:LaMa.")
    return raw


def _check(where: str, raw: Mapping[str, Any], keys: Mapping[str, tuple[type, ...]]) -> None:
    """Raise if a key is unknown or a value has another type."""
    for key, value in raw.items():
        if key not in keys:
            raise InputError(f"{where}: unknown key {key!r}. {near(key, keys)}")
        is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 1
        if not isinstance(value, keys[key]) or (keys[key] == (int,) and not is_count):
            wanted = " or ".join(_WORDS[kind] for kind in keys[key])
            raise InputError(f"{where}, {key}: expected {wanted}, found {value!r:.60}.")


def ancestors(name: str, folder: str | Path) -> list[str]:
    """Return the methods that a method's file extends, nearest first."""
    found: list[str] = []
    while parent := _read(name, Path(folder)).get("extends"):
        found.append(parent)
        name = parent
    return found


def classes_named(description: Any) -> Iterator[str]:
    """Yield every ``class`` that a specification or a method file names, wherever it is nested."""
    if isinstance(description, dict):
        for key, value in description.items():
            if key == "class":
                yield value
            else:
                yield from classes_named(value)
    elif isinstance(description, list | tuple):
        for value in description:
            yield from classes_named(value)
