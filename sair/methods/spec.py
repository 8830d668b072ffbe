"""The registry of methods: one small YAML file a method or variant names a class, its parameters and its place.

    label: SAIR                                       row name in tables and figures
    class: sair.models.inpainter:ImplicitInpainter    module:attribute
    extends: liif                                     start from another file, then override (optional)
    semantics: clip                                   a trained CLIP it needs (config/semantics/clip.yaml), or null
    over: edgeconnect                                 another method it is built on, trained before it (optional)
    weights: weights/mine.safetensors                 a checkpoint to use instead of training (optional; `sair convert`)
    sees_truth: true                                  it is given the ground truth; stands among the controls (optional)
    control: true                                     shown for comparison, does not compete (optional, default false)
    tables: {table1: SAIR}                            tables it appears in: the paper's row, or null if it has none
    parameters: {...}                                 keyword arguments of the class; beside `weights`, over its own
    training: {steps: 1000, batch: 16, ...}           overrides of the config's `training`; null for no training
    published: {perceptual: hrf}                      what its authors trained with, where ours differs (optional)
    presets: {mini: {parameters, training}, paper: {...}}    merged in by the config's `preset`

An ablation is a file, not code. Unknown names and keys are refused with the nearest known ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sair.common.errors import InputError, near
from sair.common.files import read_mapping
from sair.methods.origins import Layer

if TYPE_CHECKING:
    pass

METHODS = Path("config/methods")
SEMANTICS = Path("config/semantics")
UPKEEP = ("workers", "save_every", "validate_every")  # settings of a training that decide no weight

_NONE = {"semantics": None, "over": None, "weights": None, "sees_truth": False, "control": False}
_OPTIONAL = (str, type(None))
_KEYS: dict[str, tuple[type, ...]] = {
    "label": (str,),
    "class": (str,),
    "extends": _OPTIONAL,
    "semantics": _OPTIONAL,
    "over": _OPTIONAL,
    "weights": _OPTIONAL,
    "sees_truth": (bool,),
    "control": (bool,),
    "tables": (dict,),
    "parameters": (dict,),
    "training": (dict, type(None)),
    "published": (dict,),
    "presets": (dict,),
}
_OF_TRAINING = ("parameters", "presets", "training", "published")  # what a checkpoint brings, or makes meaningless
_WORDS = {str: "text", bool: "true or false", dict: "keys and values", type(None): "null"}


def method_names(folder: str | Path) -> list[str]:
    """Return the names of all methods in ``folder`` (the files' names without ending).

    Raises:
        InputError: there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder} in {Path.cwd()}. Run this in the project's folder.")
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
        name: of the file ``<folder>/<name>.yaml``.
        folder: the registry, such as ``config/methods``.
        preset: which entry of ``presets`` to merge in.
        training: the config's defaults, under the file's own.
        changes: the config's ``methods``: by name, ``parameters`` and ``training`` over the file's own.

    Returns:
        Plain data: name, label, class, semantics, over, weights, sees_truth, control, tables, parameters, training,
        published. It is stored in the checkpoint and is all that is needed to build the method again; the method that
        it is ``over`` stands in its parameters as ``generator``. With ``weights`` the parameters are only those that
        go on top of the checkpoint's own (``sair.methods.loading``).

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
        configs: the config's files and what they hold, each laid over those before it.

    Raises:
        InputError: same as in ``load_spec``.
    """
    config = Layer({}, {})
    for file, held in configs:
        config = config.under(_origins(held, file, "methods"))
    values, origins = _load(name, Path(folder), preset, config.part("training"), config.part("methods"), ())
    return Layer({key: values[key] for key in ("name", "label", "class")} | values, origins)


def with_parameters(spec: dict[str, Any], **parameters: Any) -> dict[str, Any]:
    """Return a specification with some parameters replaced: those that are known only after the files were read.

    ``classes`` of a semantic encoder come from the config's dataset; ``semantic`` and ``generator``, the descriptions
    of parts that are trained before, from those parts' checkpoints.
    """
    return {**spec, "parameters": {**spec["parameters"], **parameters}}


def processes(spec: dict[str, Any]) -> int:
    """Return how many processes train a method together, a GPU each where there are any; 0 without training."""
    return spec["training"]["processes"] if spec["training"] else 0


def _load(name: str, folder: Path, preset: str, training: Layer, changes: Layer, above: tuple[str, ...]) -> Layer:
    path = folder / f"{name}.yaml"
    if name in above:
        way = " -> ".join((*above, name))
        raise InputError(f"{path} is over itself through {way}. Remove one `over`.")
    raw = _merged(name, folder)
    presets = raw.values.pop("presets", {})
    if presets and preset not in presets:
        raise InputError(f"{path} has no preset {preset!r}. {near(preset, presets)}")
    defaults = Layer({**_NONE, "tables": {}, "parameters": {}, "training": {}, "published": {}}, {})
    spec, origins = defaults.under(raw)
    # A variant's own keys win over the preset of the file that it extends.
    chosen, change = Layer(presets, origins.pop("presets", {})).part(preset), changes.part(name)
    parameters = chosen.part("parameters").under(raw.part("parameters")).under(change.part("parameters"))
    own, preset_s = spec["training"], chosen.values.get("training", {})
    if own is None or (preset_s is None and not own) or spec["weights"]:
        if change.values.get("training"):
            raise InputError(f"config, methods.{name}.training: {name} learns nothing. Remove it.")
        if spec["weights"] and (own or preset_s):
            raise InputError(f"{path}: names `weights` and `training`, but weights are not trained on. Remove one.")
        spec["training"] = None
        if spec["weights"] or own is not None:
            origins["training"] = origins["weights"] if spec["weights"] else chosen.origins["training"]
    else:
        learning = training.under(chosen.part("training")).under(raw.part("training")).under(change.part("training"))
        spec["training"], origins["training"] = learning
    if spec["weights"]:
        spec["weights"] = str(Path(spec["weights"]).expanduser())
    if spec["weights"] and parameters.values.get("pretrained"):
        raise InputError(f"{path}: names `weights` and `pretrained`, two sources of its weights. Remove one.")
    if spec["over"] and not spec["weights"]:  # else the checkpoint holds the generator, too
        below = _load(spec["over"], folder, preset, training, changes, (*above, name))
        generator = {key: below.values[key] for key in ("class", "parameters")}
        origin = below.through(f"over {spec['over']}")
        parameters = Layer({"generator": generator}, {"generator": origin}).under(parameters)
    spec["parameters"], origins["parameters"] = parameters
    return Layer({"name": name, **spec}, origins)


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
        if number < weighted:  # the checkpoint brings its own size: what is below it describes another network
            raw = {key: value for key, value in raw.items() if key not in _OF_TRAINING}
        # Places in tables are a row's own: a variant does not inherit its parent's.
        above = Layer({**merged.values, "tables": {}}, {**merged.origins, "tables": {}})
        merged = above.under(_origins(raw, folder / f"{file}.yaml", "presets"))
    return merged


def _origins(held: dict[str, Any], file: str | Path, key: str) -> Layer:
    """Return what a file holds with where it says it, which for each entry of ``key`` is that entry."""
    layer = Layer.of(held, f"{file}")
    for name, entries in (held.get(key) or {}).items():
        layer.origins[key][name] = Layer.of(entries, f"{file}, {key}.{name}").origins
    return layer


def _read(name: str, folder: Path) -> dict[str, Any]:
    """Read one method file, its keys and their types checked.

    Raises:
        InputError: no such file, an unknown key, or a value of the wrong type.
    """
    path = folder / f"{name}.yaml"
    if not path.is_file():
        known = method_names(folder)
        raise InputError(f"unknown method {name!r}: there is no {path}. {near(name, known)}")
    raw = read_mapping(path)
    _check(f"{path}", raw, _KEYS)
    for preset, entries in raw.get("presets", {}).items():
        if not isinstance(entries, dict):
            raise InputError(f"{path}, presets.{preset}: expected keys and values, found {entries!r:.60}.")
        _check(f"{path}, presets.{preset}", entries, {key: _KEYS[key] for key in ("parameters", "training")})
    if ":" not in raw.get("class", ":"):
        raise InputError(f"{path}, class: {raw['class']!r} should be module:Class, such as baselines.lama:LaMa.")
    return raw


def _check(where: str, raw: Mapping[str, Any], keys: Mapping[str, tuple[type, ...]]) -> None:
    """Refuse keys that are not known and values that are of another type."""
    for key, value in raw.items():
        if key not in keys:
            raise InputError(f"{where}: unknown key {key!r}. {near(key, keys)}")
        if not isinstance(value, keys[key]):
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
