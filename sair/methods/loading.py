"""Load a method with its weights, from a name, a specification or a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from sair.common.errors import InputError
from sair.methods import checkpoint
from sair.methods.build import Built, Inpainter, build
from sair.methods.origins import merge
from sair.methods.spec import METHODS, classes_named, load_spec


def load(
    source: str | Path | Mapping[str, Any],
    weights: str | Path | None = None,
    *,
    preset: str | None = None,
    fills_holes: bool = True,
) -> Built:
    """Build a method with its weights, in eval mode.

    Args:
        source: a specification (``sair.methods.spec.load_spec``), the name of a method in ``config/methods``, or a
            checkpoint.
        weights: checkpoint of a trained method; by default the one that the specification names as its ``weights``.
        preset: for a method that is given by name; a specification is already made for one preset.
        fills_holes: whether the method must fill holes; a semantic encoder does not.

    Returns:
        The method. With a checkpoint, its specification has the checkpoint's parameters, overridden by those of
        ``source``.

    Raises:
        InputError: a trained method without a checkpoint, weights that would stay random, a checkpoint of another
            class, parameters that do not fit the checkpoint's weights, or a class that does not fill holes.
    """
    built = _load(source, weights, preset)
    if fills_holes and not hasattr(built.network, "inpaint"):
        where = f"method {source['name']}" if isinstance(source, Mapping) else source
        raise InputError(f"{where}: a {built.spec['class']} does not fill holes. Name a method that does.")
    return built


def _load(source: str | Path | Mapping[str, Any], weights: str | Path | None, preset: str | None) -> Built:
    if not isinstance(source, Mapping):
        if not _is_name(source):
            return checkpoint.restore(source)
        if preset is None:
            raise InputError(f"method {source}: name its preset, such as mini or paper.")
        source = load_spec(str(source), METHODS, preset)
    spec = dict(source)
    weights = weights or spec.get("weights")
    if weights:
        return _with_weights(spec, weights)
    if spec.get("training") is not None:
        raise InputError(
            f"method {spec['name']} is trained, and no checkpoint is named. Train it (snakemake --cores all), and name "
            "the checkpoint.safetensors of that run."
        )
    method = build(spec)
    random = random_weights(spec, method)
    if random:
        raise InputError(
            f"method {spec['name']} would run on random weights ({random[0]} and {len(random) - 1} more). Name its "
            "checkpoint in `weights`, an author's file in its parameter `pretrained`, or remove `training: null`. "
            "Weights that it does not need are left out by `weights_to_save`."
        )
    if isinstance(method, torch.nn.Module):
        method.eval()
    return Built(method, spec)


def load_encoder(path: str | Path) -> Any:
    """Build a trained semantic encoder from its checkpoint.

    Raises:
        InputError: same as in ``load``, or a checkpoint of another kind of class.
    """
    encoder = load(Path(path), fills_holes=False)
    if not (hasattr(encoder.network, "dense") and hasattr(encoder.network, "description")):
        raise InputError(f"{path}: a {encoder.spec['class']}, not a semantic encoder such as sair.models.clip:CLIP.")
    return encoder.network


def random_weights(spec: Mapping[str, Any], method: Inpainter) -> list[str]:
    """List the weights of a method that are random when it is built: those that no file provides."""
    own = checkpoint.weights_of(method)
    if not own:
        return []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch.initial_seed() // 2 + 1)
        other = checkpoint.weights_of(build(dict(spec)))
    return [name for name in own if name not in other or not torch.equal(own[name].cpu(), other[name].cpu())]


def _is_name(source: str | Path) -> bool:
    """Return whether this is a method's name, not a path."""
    return isinstance(source, str) and Path(source).name == source and not Path(source).suffix


def _with_weights(spec: dict[str, Any], weights: str | Path) -> Built:
    name = spec["name"]
    tensors, metadata = checkpoint.load(weights)
    stored = checkpoint.spec_of(metadata, weights, set(classes_named(spec)))
    if stored["class"] != spec["class"]:
        raise InputError(
            f"{weights}: weights of a {stored['class']}, but method {name} is a {spec['class']}. Name another "
            "checkpoint, or the method file that is of this class."
        )
    parameters = merge(stored["parameters"], checkpoint.without_files(spec["parameters"]))
    if list(classes_named(parameters)) != list(classes_named(stored["parameters"])):
        raise InputError(f"{weights}: weights of another generator than that of method {name}. Name its checkpoint.")
    spec = {**spec, "parameters": parameters}
    try:
        method = checkpoint.rebuild(spec, tensors, weights)
    except InputError as error:
        changed = [key for key in parameters if parameters[key] != stored["parameters"].get(key)]
        if not changed:
            raise
        raise InputError(
            f"method {name}: its parameters ({', '.join(changed)}) do not fit the weights that it names. Change "
            f"only known parameters that affect no weight's shape. {error}"
        ) from None
    return Built(method, spec, metadata.get("image_size"))
