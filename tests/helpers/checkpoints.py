"""Write small checkpoints for tests."""

import torch

from sair.methods import checkpoint
from sair.methods.build import Built, build

LIIF = {
    "name": "tiny",
    "class": "sair.models.inpainter:ImplicitInpainter",
    "sees_truth": False,
    "training": {"steps": 1},
    "parameters": {
        "encoder": {"name": "app", "channels": 4, "blocks": 1},
        "air": {"name": "liif", "hidden": [8], "unfold": True},
    },
}


def write_checkpoint(path, spec=LIIF, image_size=32, **facts):
    torch.manual_seed(0)
    checkpoint.save_method(path, Built(build(spec), spec, image_size), **facts)
    return path


def with_spec(path, **changes):
    """Return a complete checkpoint whose specification is changed afterwards."""
    tensors, metadata = checkpoint.load(write_checkpoint(path))
    checkpoint.save(path, tensors, {**metadata, "spec": {**metadata["spec"], **changes}})
    return path
