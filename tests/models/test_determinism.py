"""Test that no training uses an operator that CUDA refuses in deterministic mode, and test the replacements."""

import copy
from pathlib import Path

import pytest
import torch
import yaml
from helpers.parity import seeded
from helpers.quick import quick
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from sair.commands.conformance import samples
from sair.common.pooling import average_pool
from sair.methods.build import build
from sair.methods.spec import method_names
from sair.models.clip import IGNORE_INDEX, pixel_cross_entropy
from sair.models.resizing import DeterministicResizing, resize
from sair.weights.networks import Vgg16Features

FACTS = yaml.safe_load((Path(__file__).parent / "nondeterministic.yaml").read_text())
REFUSED = FACTS["measured"] | FACTS["documented"]
METHODS = method_names("config/methods")
STAGES = (0.05, 0.5, 0.95)  # progress of the run: a method with stages is in its first, its second and its last


class Refused(RuntimeError):
    """The error that CUDA would raise."""


class LikeCuda(TorchDispatchMode):
    """Refuses on the CPU, forward and backward, the operators that CUDA refuses in deterministic mode."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = str(function).removeprefix("aten.").removesuffix(".default")
        known = REFUSED.get(name, REFUSED.get(name.partition(".")[0]))
        weighted = len(args) > 1 and args[1] is not None
        if known and (name != "bincount" or weighted):
            raise Refused(f"{function}: {known}")
        return function(*args, **(kwargs or {}))


def image(requires_grad=True):
    return torch.rand(2, 3, 8, 8, requires_grad=requires_grad)


FORWARD = {
    "nll_loss2d": lambda: functional.cross_entropy(image(), torch.zeros(2, 8, 8, dtype=torch.long)),
    "median": lambda: image().median(1).values,
    "histc": lambda: torch.histc(torch.rand(9), 3),
    "put": lambda: torch.zeros(5).put(torch.tensor([1, 1]), torch.rand(2), accumulate=True),
    "put_": lambda: torch.zeros(5).put_(torch.tensor([1, 1]), torch.rand(2), accumulate=True),
    "bincount": lambda: torch.bincount(torch.tensor([0, 1]), torch.rand(2)),
    "max_unpool": lambda: functional.max_unpool2d(*functional.max_pool2d(image(), 2, return_indices=True), 2),
}
BACKWARD = {
    "adaptive": lambda: functional.adaptive_avg_pool2d(image(), 3),
    "area": lambda: functional.interpolate(image(), (3, 3), mode="area"),
    "bicubic": lambda: functional.interpolate(image(), (5, 5), mode="bicubic"),
    "bicubic_aa": lambda: functional.interpolate(image(), (5, 5), mode="bicubic", antialias=True),
    "bilinear_aa": lambda: functional.interpolate(image(), (5, 5), mode="bilinear", antialias=True),
    "linear": lambda: functional.interpolate(image().flatten(2), 5, mode="linear"),
    "grid_sample": lambda: functional.grid_sample(image(), torch.rand(2, 4, 4, 2), align_corners=False),
    "adaptive_max": lambda: functional.adaptive_max_pool2d(image(), 3),
    "ctc": lambda: functional.ctc_loss(
        torch.rand(20, 2, 5, requires_grad=True).log_softmax(2), torch.ones(2, 4, dtype=torch.long), [20, 20], [4, 4]
    ),
}
FINE = {
    "bilinear": lambda: functional.interpolate(image(), (5, 5), mode="bilinear"),
    "nll_loss1d": lambda: functional.cross_entropy(image().flatten(1), torch.zeros(2, dtype=torch.long)),
    "bincount": lambda: torch.bincount(torch.tensor([0, 1]), minlength=4) + image().sum(),
    "reflection_pad": lambda: functional.pad(image(), (2,) * 4, mode="reflect"),
    "embedding_bag": lambda: functional.embedding_bag(
        torch.tensor([[0, 1]]), torch.rand(4, 2, requires_grad=True), per_sample_weights=torch.rand(1, 2), mode="sum"
    ),
}


@pytest.mark.parametrize("name", FORWARD)
def test_the_guard_refuses_in_the_forward_pass(name):
    with pytest.raises(Refused), LikeCuda():
        FORWARD[name]()


@pytest.mark.parametrize("name", BACKWARD)
def test_the_guard_refuses_in_the_backward_pass_only(name):
    with LikeCuda():
        result = BACKWARD[name]().sum()
        with pytest.raises(Refused):
            result.backward()


@pytest.mark.parametrize("name", FINE)
def test_the_guard_lets_the_others_pass(name):
    with LikeCuda():
        FINE[name]().sum().backward()


# Every training -------------------------------------------------------------------------------------------------------


@pytest.fixture
def vgg(monkeypatch):
    """Return VGG16 on random weights: the operators are the same."""
    network = seeded(Vgg16Features(), 1).requires_grad_(False)
    monkeypatch.setattr("sair.weights.networks.vgg16_features", lambda: copy.deepcopy(network))


def train_a_step(method, batch):
    optimizers = method.train().optimizers()

    def step(name, loss):
        optimizers[name].zero_grad()
        loss.backward()
        optimizers[name].step()

    with LikeCuda():
        scalars = method.training_step(batch, step)
    assert all(torch.isfinite(value).all() for value in scalars.values())


@pytest.mark.parametrize("name", quick(METHODS, "liif", "lama"))
def test_every_method_trains_in_all_stages(name, mini, vgg):
    spec = mini(name)
    if spec["training"] is None:
        return
    if "vgg_share" in spec["parameters"]:  # otherwise only some steps have these losses
        spec["parameters"]["vgg_share"] = 1
    if spec["semantics"]:
        encoder = build(mini(spec["semantics"], "config/semantics"))
        spec["parameters"]["semantic"] = encoder.description
    torch.manual_seed(0)
    method, (images, masks) = build(spec), samples(2)
    for progress in STAGES:
        train_a_step(method, {"images": images, "masks": masks, "progress": progress, "id": ["a", "b"]})
    with LikeCuda():
        method.inpaint(images, masks)


@pytest.mark.parametrize("size", [64, 48])  # the architecture's own, and one whose position tables are resized
@pytest.mark.parametrize("name", method_names("config/semantics"))
def test_every_encoder_trains_at_any_size(name, size, mini):
    spec = mini(name, "config/semantics")
    spec["parameters"]["classes"] = ["skin", "hair", "eyes"]
    torch.manual_seed(0)
    images, _ = samples(2, size)
    labels = torch.randint(0, 4, (2, size, size))  # the last is no class
    train_a_step(build(spec), {"images": images, "labels": labels, "captions": ["a face", "a smiling face"]})


# The replacements -----------------------------------------------------------------------------------------------------


def assert_equal(found, wanted, *inputs, nan=False):
    """Check that values and gradients agree; both are functions of ``inputs``."""
    results = [function(*inputs) for function in (found, wanted)]
    weights = torch.randn_like(results[0])
    gradients = [torch.autograd.grad((result * weights).sum(), inputs) for result in results]
    torch.testing.assert_close(*results, atol=1e-6, rtol=1e-6, equal_nan=nan)
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-6, equal_nan=nan)


@pytest.mark.parametrize("labelled", ["all", "some", "one class", "one pixel", "none"])
@pytest.mark.parametrize("size", [(8, 8), (7, 5), (1, 1)], ids=str)
def test_pixel_cross_entropy_equals_torchs(size, labelled):
    torch.manual_seed(0)
    logits = (3 * torch.randn(2, 5, *size)).requires_grad_()
    labels, weight = torch.randint(0, 5, (2, *size)), torch.rand(5) + 0.1
    if labelled == "some":
        labels[torch.rand(2, *size) < 0.5] = IGNORE_INDEX
    elif labelled == "one class":
        labels[:] = 3
    elif labelled != "all":
        labels[:] = IGNORE_INDEX
        labels[0, 0, 0] = 2 if labelled == "one pixel" else IGNORE_INDEX
    assert_equal(
        lambda x: pixel_cross_entropy(x, labels, weight),
        lambda x: functional.cross_entropy(x, labels, weight, ignore_index=IGNORE_INDEX),
        logits,
        nan=labelled in ("none", "some"),  # a mean over no pixel is nan in both
    )


@pytest.mark.parametrize(
    ("old", "new"), [((16, 16), (16, 16)), ((7, 9), (3, 4)), ((5, 8), (8, 3)), ((13, 1), (1, 4)), ((64, 48), (17, 31))]
)
def test_average_pool_equals_torchs(old, new):
    torch.manual_seed(0)
    x = torch.randn(2, 3, *old, requires_grad=True)
    assert_equal(lambda x: average_pool(x, new), lambda x: functional.adaptive_avg_pool2d(x, new), x)


@pytest.mark.parametrize(
    ("mode", "antialias", "old", "new"),
    [
        ("bicubic", False, (16, 16), (12, 20)),
        ("bicubic", True, (16, 16), (12, 20)),
        ("bilinear", True, (13, 9), (5, 9)),
        ("bilinear", False, (13, 9), (5, 18)),
        ("linear", False, (31,), (23,)),
        ("linear", False, (15,), (31,)),
    ],
)
def test_resize_equals_torchs(mode, antialias, old, new):
    torch.manual_seed(0)
    x = torch.randn(2, 3, *old, dtype=torch.float64, requires_grad=True)

    def wanted(x):
        return functional.interpolate(x, new, mode=mode, antialias=antialias)

    assert_equal(lambda x: resize(x, new, mode, antialias), wanted, x)
    with DeterministicResizing(), LikeCuda():
        wanted(x).sum().backward()


def test_other_interpolations_stay_as_they_are():
    x = torch.rand(1, 2, 4, 4)
    for options in ({"size": 7, "mode": "nearest"}, {"size": (7, 7), "mode": "bilinear", "align_corners": True}):
        wanted = functional.interpolate(x, **options)
        with DeterministicResizing():
            assert torch.equal(functional.interpolate(x, **options), wanted)
