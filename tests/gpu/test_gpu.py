"""Test what requires a GPU; `make test-gpu` runs it, and without CUDA all of it is skipped.

Without a GPU, tests/models/test_gpu_rules.py checks the rules that a GPU has.
"""

import copy
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
import yaml
from helpers.parity import seeded

from sair.commands.conformance import samples
from sair.common import runtime
from sair.methods.build import build
from sair.methods.readiness import lacking
from sair.methods.spec import load_spec, method_names
from sair.models.encoders import AppEncoder
from sair.training import loop
from sair.training.recorded import RecordedSteps
from sair.weights.networks import Vgg16Features

DEVICE = "cuda"
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]

TOLERANCES = yaml.safe_load((Path(__file__).parent / "tolerances.yaml").read_text())
METHODS = method_names("config/methods")
STAGES = (0.05, 0.5, 0.95)


@pytest.fixture(scope="module")
def method_of(config):
    """Build a method of the mini preset on random weights, equal at each call."""
    runtime.set_up(2)

    def make(name):
        spec = load_spec(name, "config/methods", "mini", config["training"])
        if missing := lacking(spec):
            pytest.skip(missing[0])
        if spec["semantics"]:
            encoder = build(load_spec(spec["semantics"], "config/semantics", "mini", config["training"]))
            spec["parameters"]["semantic"] = encoder.description
        if "vgg_share" in spec["parameters"]:
            spec["parameters"]["vgg_share"] = 1
        torch.manual_seed(0)
        return build(spec), spec["training"] is not None

    return make


@pytest.fixture
def vgg(monkeypatch):
    """Return VGG16 on random weights: the operators are the same."""
    network = seeded(Vgg16Features(), 1).requires_grad_(False)
    monkeypatch.setattr("sair.weights.networks.vgg16_features", lambda: copy.deepcopy(network))


def train(method, device, precision, progress):
    """Take a step, and return the losses by name."""
    images, masks = (x.to(device) for x in samples(2))
    optimizers, losses = method.train().to(device).optimizers(), {}

    def step(name, loss):
        losses[name] = float(loss.detach())
        optimizers[name].zero_grad()
        loss.backward()
        optimizers[name].step()
        torch.clear_autocast_cache()

    with runtime.autocast(precision, torch.device(device)):
        method.training_step({"images": images, "masks": masks, "progress": progress, "id": ["a", "b"]}, step)
    return losses


@pytest.mark.parametrize("name", METHODS)
def test_every_method_trains_in_all_stages(name, method_of, vgg):
    method, trained = method_of(name)
    for progress in STAGES if trained else ():
        losses = train(method, DEVICE, "auto", progress)
        assert losses and all(torch.isfinite(torch.tensor(list(losses.values()))))


@pytest.mark.parametrize("name", METHODS)
def test_cpu_and_gpu_inpaint_alike(name, method_of):
    method, _ = method_of(name)
    images, masks = samples(2)
    seen = images * (1 - masks)
    if isinstance(method, torch.nn.Module):
        method.eval()
    with torch.no_grad():
        expected = method.inpaint(seen, masks)
        if isinstance(method, torch.nn.Module):
            method.to(DEVICE)
        found = method.inpaint(seen.to(DEVICE), masks.to(DEVICE)).cpu()
    torch.testing.assert_close(found, expected, atol=TOLERANCES.get(name, TOLERANCES["other"]), rtol=0)


@pytest.mark.parametrize("name", ["sair", "liif", "lama"])
def test_bfloat16_has_nearly_the_loss_of_float32(name, method_of, vgg):
    losses = []
    for precision in ("fp32", "bf16"):
        method, _ = method_of(name)
        torch.manual_seed(2)
        losses.append(train(method, DEVICE, precision, 0.5))
    for key, value in losses[0].items():
        assert losses[1][key] == pytest.approx(value, rel=0.05)


def test_merged_convolutions_equal_single_ones():
    layers = seeded(AppEncoder(8, 1), 3).to(DEVICE)
    images, masks = (x.to(DEVICE) for x in samples(2))
    results = []
    with torch.autocast(DEVICE, torch.bfloat16):
        for forward in (layers.layers.forward, partial(torch.nn.Sequential.forward, layers.layers)):
            layers.layers.forward = forward
            output = layers(images * (1 - masks), masks)
            results.append([output, *torch.autograd.grad(output.float().square().sum(), list(layers.parameters()))])
            torch.clear_autocast_cache()
    for found, expected in zip(*results, strict=True):
        assert (found.float() - expected.float()).norm() < 0.02 * expected.float().norm()


def test_recorded_steps_give_the_same_weights(method_of):
    states = []
    for recorded in (False, True):
        method, _ = method_of("sair")
        optimizers = loop.prepare(method.train().to(DEVICE))

        def apply(name, loss, optimizers=optimizers):
            optimizers[name].zero_grad(set_to_none=True)
            loss.backward()
            optimizers[name].step()
            torch.clear_autocast_cache()

        steps = RecordedSteps(method.training_step, apply, optimizers.values())
        if not recorded:
            steps._taken = -100  # never recorded
        with runtime.autocast("bf16", torch.device(DEVICE)):
            for number in range(8):
                torch.manual_seed(number)
                images, masks = (x.to(DEVICE).roll(number, -1) for x in samples(2))
                losses = []
                steps({"images": images, "masks": masks}, lambda name, loss, losses=losses: losses.append(float(loss)))
        states.append([losses, {name: value.cpu() for name, value in method.state_dict().items()}])
    assert states[0][0] == states[1][0]
    for name, value in states[0][1].items():
        assert torch.equal(value, states[1][1][name]), name


def test_a_killed_training_gives_the_same_weights(method_of, config, frozen_split, tmp_path, monkeypatch):
    data = frozen_split(tmp_path / "data", train=4, validation=1, masks=4).parent
    spec = load_spec("liif", "config/methods", "mini", config["training"])
    # Constant, so that the kill changes no learning rate before it.
    spec["training"] = spec["training"] | {
        "schedule": "constant",
        "steps": 6,
        "save_every": 3,
        "workers": 0,
        "batch": 2,
        "warmup": 0,
    }
    weights = []
    for folder, dies in (("whole", False), ("killed", True)):
        output = tmp_path / folder / "checkpoint.safetensors"
        output.parent.mkdir()
        given = (spec, data / "images.csv", data / "masks.csv", 0, output, output.with_name("train.csv"))
        if dies:
            with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
                patch.setattr(loop, "lr_scale", lambda training, step, steps: 1 / (step != 4))
                loop.fit(*given, device=DEVICE)
        loop.fit(*given, device=DEVICE)
        weights.append(output.read_bytes())
    assert weights[0] == weights[1]


def test_table_1_of_the_smoke_config_is_made(tmp_path):
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", "config/smoke.yaml"]
    options = ["--config", f"results={tmp_path / 'results'}", f"device={DEVICE}"]
    subprocess.run([*command, f"{tmp_path / 'results'}/table1.md", *options], check=True)
    assert "SAIR" in (tmp_path / "results/table1.md").read_text()
