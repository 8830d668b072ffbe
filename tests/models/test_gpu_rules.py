"""Test that every method and semantic encoder follows a GPU's rules, on fake tensors and without a GPU.

Checked are operators that CUDA refuses in deterministic mode, tensors on two devices or, under autocast, in two
precisions, FFT of bfloat16, and reading from the device in a step, which makes the CPU wait. The first step of a stage
may fill caches; the second may not read.
"""

import pkgutil
from pathlib import Path

import pytest
import torch
import yaml
from helpers.fake_gpu import BreaksRule, autocast, fake_gpu, move, rules
from helpers.quick import quick
from torch._subclasses.fake_tensor import unset_fake_temporarily
from torch.nn import functional

from sair.commands.conformance import samples
from sair.methods.build import build
from sair.methods.readiness import lacking
from sair.methods.spec import load_spec, method_names
from sair.weights.networks import Vgg16Features

FOLDER = Path(__file__).parent
FACTS = yaml.safe_load((FOLDER / "nondeterministic.yaml").read_text())
# `bincount` is refused with weights only; as a read it is refused anyway.
REFUSED = {name: why for name, why in (FACTS["measured"] | FACTS["documented"]).items() if name != "bincount"}
MAY_READ = yaml.safe_load((FOLDER / "host_reads.yaml").read_text())
STAND_INS = {
    "edges": lambda images, *further, **options: torch.zeros_like(images[:, :1]),
    "regions": lambda labels: (labels.long(), 5),
    "images": lambda self, images, masks: images,
}
METHODS, ENCODERS = method_names("config/methods"), method_names("config/semantics")
OUTSIDE = ("baselines.command:Command", "baselines.diffusers:Diffusers", "baselines.onnx:Onnx")
STAGES = (0.05, 0.5, 0.95)  # progress of the run: a method with stages is in its first, its second and its last


@pytest.fixture
def stand_ins(monkeypatch):
    """Replace what may read, and VGG16 with its pretrained weights by a fake one."""
    for name, facts in MAY_READ.items():
        monkeypatch.setattr(name, STAND_INS[facts["returns"]])

    def vgg16_features():
        with unset_fake_temporarily():
            network = Vgg16Features().requires_grad_(False)
        move(network, torch.device("gpu", 0))
        network.to = lambda *arguments, **options: network  # fake parameters cannot be moved
        return network

    monkeypatch.setattr("sair.weights.networks.vgg16_features", vgg16_features)


@pytest.fixture(scope="session")
def specification(config):
    """Load the specification of a method or encoder, complete as training makes it."""

    def load(name, preset):
        spec = load_spec(name, "config/methods" if name in METHODS else "config/semantics", preset, config["training"])
        parameters = spec["parameters"]
        if name in ENCODERS:
            parameters["classes"] = ["skin", "hair", "eyes"]
            parameters.pop("pretrained", None)  # the same operators on random weights
        elif spec["semantics"]:
            parameters["semantic"] = build(load(spec["semantics"], preset)).description
        if "vgg_share" in parameters:  # otherwise only some steps have these losses
            parameters["vgg_share"] = 1
        return spec

    return load


def batch_on(device, progress, size=64):
    images, masks = samples(2, size)
    labels = torch.zeros(2, size, size, dtype=torch.uint8)
    found = {"images": images, "masks": masks, "labels": labels}
    found = {key: torch.empty_like(value, device=device) for key, value in found.items()}
    return {**found, "progress": progress, "id": ["a", "b"], "captions": ["a face", "a smiling face"]}


def optimizers_of(method):
    """Return fused optimizers, as the training loop has them: otherwise Adam reads its step count."""
    optimizers = method.train().optimizers()
    for optimizer in optimizers.values():
        for group in optimizer.param_groups:
            if "fused" in group:
                group["fused"] = True
    return optimizers


def put_to_the_test(method, trained, device, precision="fp32", passes=(False, True)):
    """Train two steps in each stage, and inpaint twice; the second may not read from the device.

    ``passes`` says of each step and inpainting whether reading is a fault.
    """
    if isinstance(method, torch.nn.Module):
        move(method, device)
    optimizers = optimizers_of(method) if trained else {}

    def step(name, loss):
        optimizers[name].zero_grad()
        loss.backward()
        optimizers[name].step()

    for progress in STAGES if trained else ():
        for no_reads in passes:
            batch = batch_on(device, progress)
            with rules(REFUSED, no_reads), autocast(precision):
                method.training_step(batch, step)
    if isinstance(method, torch.nn.Module):
        method.eval()
    for no_reads in passes if hasattr(method, "inpaint") else ():
        batch = batch_on(device, 0)
        with rules(REFUSED, no_reads), torch.no_grad(), autocast(precision):
            method.inpaint(batch["images"], batch["masks"])


@pytest.mark.parametrize("name", quick([*METHODS, *ENCODERS], "sair", "liif", "biharmonic"))
def test_the_mini_preset_keeps_the_rules(name, specification, stand_ins):
    check(specification(name, "mini"))


@pytest.mark.slow
@pytest.mark.parametrize("name", [*METHODS, *ENCODERS])
def test_the_paper_preset_keeps_the_rules(name, specification, stand_ins):
    check(specification(name, "paper"))


# The published sizes of the others have the operators of `mini`.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "preset"), [*((name, "mini") for name in (*METHODS, *ENCODERS)), ("sair", "paper"), ("lte", "paper")]
)
def test_the_rules_are_kept_in_bfloat16(name, preset, specification, stand_ins):
    check(specification(name, preset), "bf16", passes=(False,))


def check(spec, precision="fp32", passes=(False, True)):
    if spec["class"] in OUTSIDE:
        pytest.skip("another program or library computes it")
    if missing := lacking(spec):
        pytest.skip(missing[0])
    method = build(spec)
    with fake_gpu() as device:
        put_to_the_test(method, spec["training"] is not None, device, precision, passes)


# The guard itself -----------------------------------------------------------------------------------------------------


class Toy(torch.nn.Module):
    """A method that does one thing with images and masks."""

    def __init__(self, function):
        super().__init__()
        self.weight, self.function = torch.nn.Parameter(torch.ones(3, 1, 1)), function
        self.plain = torch.ones(3, 1, 1)  # no buffer: `to` leaves it behind

    def optimizers(self):
        return {"toy": torch.optim.Adam(self.parameters())}

    def training_step(self, batch, step):
        loss = (self.inpaint(batch["images"], batch["masks"]) ** 2).mean()
        step("toy", loss)
        return {"loss": loss}

    def inpaint(self, images, masks):
        return self.function(self, images * self.weight, masks)


TWO_DEVICES, READ, SIZE = "two devices", "_local_scalar_dense", "nonzero"
FAULTS = {
    "bicubic": (lambda toy, x, masks: functional.interpolate(x, (32, 32), mode="bicubic"), "bicubic2d_backward"),
    "pooling": (lambda toy, x, masks: functional.adaptive_avg_pool2d(x, 7), "adaptive_avg_pool2d_backward"),
    "a new tensor on the CPU": (lambda toy, x, masks: x + torch.zeros(64), TWO_DEVICES),
    "a tensor that is no buffer": (lambda toy, x, masks: x * toy.plain, TWO_DEVICES),
    "item": (lambda toy, x, masks: x * masks.sum().item(), READ),
    "int": (lambda toy, x, masks: x[..., : int(masks.sum())], READ),
    "if": (lambda toy, x, masks: x if masks.sum() > 0 else -x, "is_nonzero|_local_scalar_dense"),
    "nonzero": (lambda toy, x, masks: x.flatten(2)[..., masks[0].flatten().nonzero()[:, 0]], SIZE),
    "selecting by a mask": (lambda toy, x, masks: x[masks.expand_as(x) > 0], SIZE),
    "bincount": (lambda toy, x, masks: x * torch.bincount(masks.flatten().long(), minlength=2)[0], "bincount"),
    "copy to the host": (lambda toy, x, masks: x.cpu(), "a copy from gpu:0 to cpu blocks"),
    "copy to the device": (lambda toy, x, masks: x * torch.zeros(64).to(x.device), "a copy from cpu to gpu:0 blocks"),
    "list to the device": (lambda toy, x, masks: x * x.new_tensor([1.0, 2.0, 3.0]).view(3, 1, 1), "gpu"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_guard_finds(fault):
    function, message = FAULTS[fault]
    with fake_gpu() as device, pytest.raises(BreaksRule, match=message):
        put_to_the_test(Toy(function), True, device)


IN_BFLOAT16 = {
    "FFT": (lambda toy, x, masks: torch.fft.rfft2(half(x)).abs(), "Unsupported dtype BFloat16"),
    "complex numbers": (lambda toy, x, masks: torch.view_as_complex(half(x).unflatten(-1, (-1, 2))).abs(), "BFloat16"),
    "two precisions": (lambda toy, x, masks: without_autocast(torch.bmm, half(x)[:, 0], x[:, 0]), "scalar type"),
}


def half(x):
    """Return what a convolution under autocast makes of images."""
    return functional.conv2d(x, x.new_ones(3, 3, 1, 1))


def without_autocast(function, *inputs):
    with torch.autocast(inputs[0].device.type, enabled=False):
        return function(*inputs)


@pytest.mark.parametrize("fault", IN_BFLOAT16)
def test_the_guard_finds_in_bfloat16(fault):
    function, message = IN_BFLOAT16[fault]
    with fake_gpu() as device:
        with pytest.raises(BreaksRule, match=message):
            put_to_the_test(Toy(function), True, device, "bf16")
        put_to_the_test(Toy(function), True, device, "fp32")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_fake_device_has_the_autocast_of_cuda(precision):
    low = torch.bfloat16 if precision == "bf16" else torch.float32
    with fake_gpu() as device, autocast(precision):
        x = torch.empty(1, 3, 8, 8, device=device)
        assert half(x).dtype == (half(x) @ x).dtype == functional.relu(half(x)).dtype == low
        assert half(x).softmax(1).dtype == functional.mse_loss(half(x), half(x)).dtype == torch.float32
        assert (x.double() @ x.double()).dtype == torch.float64


def test_the_guard_lets_a_method_without_faults_pass():
    with fake_gpu() as device:
        put_to_the_test(Toy(lambda toy, x, masks: x + torch.zeros(64).to(x.device, non_blocking=True)), True, device)


def test_what_may_read_exists_and_has_a_reason():
    for name, facts in MAY_READ.items():
        assert facts["reason"] and callable(pkgutil.resolve_name(name)), name
