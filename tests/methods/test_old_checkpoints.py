"""Test that checkpoints of earlier code still load: their classes, parameters and weights keep their meaning."""

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import sair
from sair.methods import loading

GOLDEN = json.loads((Path(__file__).parents[1] / "golden/checkpoints.json").read_text(encoding="utf-8"))["checkpoints"]
ENCODERS = ("clip", "sam")


def weight(name, shape):
    """Fill a weight with values that depend on its name alone; ``["int64"]`` is a counter."""
    if shape == ["int64"]:
        return torch.ones((), dtype=torch.int64)
    values = np.random.default_rng(zlib.crc32(name.encode())).normal(size=shape) * 0.1
    if name.endswith("running_var"):
        values = np.abs(values) + 0.5
    return torch.as_tensor(values).float()


def write(name, path):
    """Write a checkpoint as it was written then, without this project's code."""
    weights = {key: weight(key, shape) for key, shape in GOLDEN[name]["weights"].items()}
    save_file(weights, path, {"sair": json.dumps(GOLDEN[name]["metadata"], sort_keys=True)})
    return path


@pytest.mark.parametrize("name", GOLDEN)
def test_an_old_checkpoint_gives_the_same_results(name, tmp_path):
    path = write(name, tmp_path / "checkpoint.safetensors")
    rows, columns = torch.meshgrid(torch.arange(24) / 23, torch.arange(24) / 23, indexing="ij")
    images, masks = torch.stack([rows, columns, (rows + columns) / 2])[None], torch.zeros(1, 1, 24, 24)
    masks[..., 6:15, 8:20] = 1
    if name in ENCODERS:
        with torch.no_grad():
            output = loading.load_encoder(path).dense(images, masks)
    else:
        method = sair.load(path, device="cpu")
        assert method.image_size == 24
        output = method.predict(images, masks)
    expected = GOLDEN[name]["mean"], GOLDEN[name]["std"]
    assert (float(output.mean()), float(output.std())) == pytest.approx(expected, abs=1e-4)


def test_every_class_with_weights_has_an_old_checkpoint():
    from sair.methods.trust import PROJECT_CLASSES, checked_spec

    named = {checked_spec(entry["metadata"], name)["class"] for name, entry in GOLDEN.items()}
    assert named == PROJECT_CLASSES
