"""Read the checkpoints that the authors of LIIF and LTE publish: ``{'model': {'name', 'args', 'sd'}}``.

Such a file describes a super-resolution model: it has no mask channel, and renders a complete image at any size. After
``sair convert liif FILE -o OUT`` it enlarges images: ``sair inpaint IMAGE -o OUT.png --checkpoint OUT --scale 2.5``.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

from torch import Tensor

from sair.common.errors import InputError
from sair.weights.unpickle import load_tensors

# EDSR's mean shift is stored although LIIF's and LTE's copy of EDSR does not use it.
_UNUSED = {f"encoder.{which}_mean.{part}" for which in ("sub", "add") for part in ("weight", "bias")}
_ENCODERS: dict[str, dict[str, Any]] = {"edsr-baseline": {"n_resblocks": 16, "n_feats": 64}}


def read_published(path: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Translate an authors' checkpoint, without running a pickle.

    Args:
        path: ``.pth`` of a LIIF or an LTE on EDSR-baseline.

    Returns:
        The parameters of the ``ImplicitInpainter`` that the file describes, and its weights.

    Raises:
        InputError: another kind of file, or a model that is not supported.
    """
    try:
        model = load_tensors(path)["model"]
        name, arguments, state = model["name"], model["args"], model["sd"]
        encoder, mlp = arguments["encoder_spec"], arguments["imnet_spec"]
        kind, hidden = encoder["name"], mlp["args"]["hidden_list"]
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError, KeyError, TypeError) as error:
        fault = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise InputError(f"{path}: not a checkpoint of LIIF's or LTE's code ({fault}). Name their .pth file.") from None
    if name not in ("liif", "lte") or kind not in _ENCODERS:
        raise InputError(f"{path}: a {name!r} on {kind!r}; only liif and lte on {', '.join(_ENCODERS)} are supported.")
    size = _ENCODERS[kind] | encoder.get("args", {})
    air: dict[str, Any] = {"name": name, "hidden": hidden, "upstream": True}
    if name == "liif":
        air |= {"unfold": arguments.get("feat_unfold", True), "cell": arguments.get("cell_decode", True)}
        if not arguments.get("local_ensemble", True):
            raise InputError(f"{path}: a LIIF without local ensemble, which is not supported.")
    else:
        air["width"] = arguments.get("hidden_dim", 256)
    parameters = {
        "encoder": {"name": "edsr", "channels": size["n_feats"], "blocks": size["n_resblocks"], "mask": False},
        "air": air,
    }
    weights = {
        key if key.startswith("encoder.") else f"air.{key}": value for key, value in state.items() if key not in _UNUSED
    }
    return parameters, weights
