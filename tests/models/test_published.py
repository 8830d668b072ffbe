"""Test LIIF and LTE against recorded numbers of their authors' code, and the reader of their checkpoints."""

import itertools
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.parity import uniform
from skimage import data as photographs
from skimage.metrics import peak_signal_noise_ratio
from torch.nn import functional

from sair.commands.cli import main
from sair.common.errors import InputError
from sair.common.images import read_rgb, write_png
from sair.data.samples import to_pixels, to_tensor
from sair.methods.build import build
from sair.methods.checkpoint import load_weights
from sair.models.published import read_published

GOLDEN = json.loads((Path(__file__).parents[1] / "golden/implicit.json").read_text())
GAIN = {"liif": 2.0, "lte": 1.2}
# Test data that is not part of the project: the authors' trained LIIF (edsr-baseline-liif).
TRAINED = os.environ.get("SAIR_LIIF_CHECKPOINT", "")


def authors_shapes(name):
    """Return parameter names and shapes of the authors' checkpoints (LIIF and LTE on EDSR-baseline)."""
    shapes = {
        f"encoder.{s}_mean.{p}": (3, 3, 1, 1) if p == "weight" else (3,)
        for s in ("sub", "add")
        for p in ("weight", "bias")
    }
    convolutions = {"encoder.head.0": 3, "encoder.body.16": 64}
    convolutions |= {f"encoder.body.{n}.body.{i}": 64 for n in range(16) for i in (0, 2)}
    for key, inputs in convolutions.items():
        shapes |= {f"{key}.weight": (64, inputs, 3, 3), f"{key}.bias": (64,)}
    widths = [580, 256, 256, 256, 256, 3] if name == "liif" else [256, 256, 256, 256, 3]
    for n, (i, o) in enumerate(itertools.pairwise(widths)):
        shapes |= {f"imnet.layers.{2 * n}.weight": (o, i), f"imnet.layers.{2 * n}.bias": (o,)}
    if name == "lte":
        for key in ("coef", "freq"):
            shapes |= {f"{key}.weight": (256, 64, 3, 3), f"{key}.bias": (256,)}
        shapes["phase.weight"] = (128, 2)
    return shapes


def authors_file(name, path, changes=()):
    """Write a checkpoint in the form of the authors' code, with reproducible random weights."""
    stream, state = np.random.PCG64(7), {}
    for key, shape in sorted(authors_shapes(name).items()):
        fan = max(1, int(np.prod(shape)) // shape[0]) if len(shape) > 1 else 1
        scale = GAIN[name] * np.sqrt(3.0 / fan) if len(shape) > 1 else 0.1
        state[key] = torch.from_numpy((uniform(stream, shape) - 0.5) * scale).float()
    arguments = {
        "encoder_spec": {"name": "edsr-baseline", "args": {"no_upsampling": True}},
        "imnet_spec": {"name": "mlp", "args": {"out_dim": 3, "hidden_list": [256] * (4 if name == "liif" else 3)}},
    }
    torch.save({"model": {"name": name, "args": arguments, "sd": state} | dict(changes), "epoch": 1}, path)
    return path


def read(path):
    parameters, weights = read_published(path)
    method = build({"name": "published", "class": "sair.models.inpainter:ImplicitInpainter", "parameters": parameters})
    method.eval()
    load_weights(method, weights, path)
    return method


@pytest.mark.parametrize("name", ["liif", "lte"])
def test_equals_the_authors_code(name, tmp_path):
    method = read(authors_file(name, tmp_path / "model.pth"))
    stream = np.random.PCG64(11)
    for case, expected in GOLDEN[name].items():
        (height, width), size = (tuple(map(int, part.split("x"))) for part in case.split("->"))
        image = torch.from_numpy(uniform(stream, (1, 3, height, width))).float()
        mask = torch.zeros(1, 1, height, width)
        found = method.inpaint(image, mask, size=None if size == (height, width) else size)[0]
        assert found.double().mean().item() == pytest.approx(expected["mean"], abs=1e-5)
        assert found.double().std().item() == pytest.approx(expected["std"], abs=1e-5)
        for pixel, colour in expected["pixels"].items():
            assert found.flatten(1)[:, int(pixel)].tolist() == pytest.approx(colour, abs=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["liif", "lte"])
def test_a_converted_file_enlarges_images(name, tmp_path, capsys):
    path, output = authors_file(name, tmp_path / "model.pth"), tmp_path / "weights.safetensors"
    assert main(["convert", name, str(path), "-o", str(output)]) == 0
    pixels = np.random.default_rng(0).integers(0, 256, (10, 12, 3), dtype=np.uint8)
    write_png(tmp_path / "a.png", pixels)
    out = tmp_path / "large.png"
    assert (
        main(["inpaint", str(tmp_path / "a.png"), "-o", str(out), "--checkpoint", str(output), "--scale", "1.5"]) == 0
    )
    with torch.no_grad():
        expected = read(path).inpaint(to_tensor(pixels)[None], torch.zeros(1, 1, 10, 12), size=(15, 18))
    assert np.array_equal(read_rgb(out), to_pixels(expected[0]))
    other = {"liif": "lte", "lte": "liif"}[name]
    capsys.readouterr()
    assert main(["convert", other, str(path), "-o", str(output)]) == 1
    assert f"a {name}. Name the method {name}." in capsys.readouterr().err


@pytest.mark.parametrize("name", ["liif", "lte"])
def test_every_weight_is_used(name, tmp_path):
    path = authors_file(name, tmp_path / "model.pth")
    count = sum(p.numel() for p in read(path).parameters())
    assert count == {"liif": 1_567_323, "lte": 1_714_267}[name] - 24  # the unused mean shifts


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "metasr"}, "a 'metasr' on 'edsr-baseline'; only liif and lte"),
        ({"sd": {}}, None),
    ],
)
def test_other_files_are_refused(tmp_path, changes, message):
    path = authors_file("liif", tmp_path / "model.pth", changes)
    with pytest.raises(InputError, match=message or r"does not fit ImplicitInpainter\. missing"):
        read(path)


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path):
    torch.save({"weights": torch.zeros(1)}, tmp_path / "a.pth")
    (tmp_path / "b.pth").write_bytes(b"nothing")
    for name in ("a.pth", "b.pth", "c.pth"):
        with pytest.raises(InputError, match=f"{name}: not a checkpoint of LIIF's or LTE's code"):
            read_published(tmp_path / name)


@pytest.mark.skipif(not Path(TRAINED).is_file(), reason="SAIR_LIIF_CHECKPOINT names no trained LIIF")
@pytest.mark.parametrize(
    ("photo", "scale", "bicubic", "liif"), [("astronaut", 2, 31.5, 35.2), ("chelsea", 4, 28.6, 29.3)]
)
def test_the_trained_liif_beats_bicubic_by_the_known_gain(photo, scale, bicubic, liif):
    """The top left 256 pixels are reduced by antialiased bicubic and rendered at their own size."""
    method = read(TRAINED)
    pixels = getattr(photographs, photo)()
    truth = pixels[:256, :256]
    small = functional.interpolate(
        to_tensor(truth)[None], scale_factor=1 / scale, mode="bicubic", antialias=True, align_corners=False
    ).clamp(0, 1)
    enlarged = functional.interpolate(small, (256, 256), mode="bicubic", align_corners=False)
    rendered = method.inpaint(small, torch.zeros_like(small[:, :1]), size=(256, 256))
    found = [peak_signal_noise_ratio(truth, to_pixels(image[0]), data_range=255) for image in (enlarged, rendered)]
    assert found[0] == pytest.approx(bicubic, abs=0.1) and found[1] == pytest.approx(liif, abs=0.1)
