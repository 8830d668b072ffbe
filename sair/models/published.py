"""Read the checkpoints that the authors of LIIF and LTE publish: ``{'model': {'name', 'args', 'sd'}}``.

Such a file describes a super-resolution model: it has no mask channel, and renders a complete image at any size.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sair.common.errors import InputError

# EDSR's mean shift is stored although LIIF's and LTE's copy of EDSR does not use it.
_UNUSED = {f"encoder.{which}_mean.{part}" for which in ("sub", "add") for part in ("weight", "bias")}
_ENCODERS = {"edsr-baseline": {"n_resblocks": 16, "n_feats": 64}}


def read_published(path: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Translate an authors' checkpoint, without running a pickle.

    Args:
        path: ``.pth`` of a LIIF or an LTE on EDSR-baseline.

    Returns:
        A specification (``sair.methods.build.build``) and the weights of ``ImplicitInpainter`` that it describes.

    Raises:
        InputError: not such a file, or a model of a kind that is not here.
    """
    try:
        model = torch.load(path, map_location="cpu", weights_only=True)["model"]
        name, arguments, state = model["name"], model["args"], model["sd"]
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: not a checkpoint of LIIF's or LTE's code ({type(error).__name__}: {error})."
        ) from None
    encoder, mlp = arguments["encoder_spec"], arguments["imnet_spec"]
    if name not in ("liif", "lte") or encoder["name"] not in _ENCODERS:
        raise InputError(
            f"{path}: a {name!r} on {encoder['name']!r}; only liif and lte on {', '.join(_ENCODERS)} can be read."
        )
    size = _ENCODERS[encoder["name"]] | encoder.get("args", {})
    air = {"name": name, "hidden": mlp["args"]["hidden_list"], "upstream": True}
    if name == "liif":
        air |= {"unfold": arguments.get("feat_unfold", True), "cell": arguments.get("cell_decode", True)}
        if not arguments.get("local_ensemble", True):
            raise InputError(f"{path}: a LIIF without local ensemble, which is not here.")
    else:
        air["width"] = arguments.get("hidden_dim", 256)
    spec = {
        "name": f"{name}_published",
        "class": "sair.models.inpainter:ImplicitInpainter",
        "semantics": None,
        "sees_truth": False,
        "parameters": {
            "encoder": {"name": "edsr", "channels": size["n_feats"], "blocks": size["n_resblocks"], "mask": False},
            "air": air,
        },
        "training": None,
    }
    weights = {
        key if key.startswith("encoder.") else f"air.{key}": value for key, value in state.items() if key not in _UNUSED
    }
    return spec, weights
