"""RFRNet against recorded numbers of the authors' code, its two training stages, and its checkpoint reader."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.parity import assert_golden, image_batch, seeded, uniform
from torch import nn

from baselines.checkpoints import load_authors_checkpoint
from baselines.rfrnet import RFRNet, RFRNetGenerator
from baselines.rfrnet.model import Attention
from sair.commands.conformance import samples
from sair.common.errors import InputError
from sair.weights.networks import Vgg16Features

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "rfrnet.json").read_text())
TINY = {"channels": 8, "kernel": 3, "recurrences": 2, "strides": (2, 2, 1)}


def deep_holes(case):
    """Images and masks with a middle that only some recurrences reach."""
    images, masks = image_batch(case["images_seed"], case["batch"], *case["size"])
    masks[..., 8:-8, 8:-8] = 1
    return images, masks


@pytest.mark.parametrize("kernel", [7, 5])
def test_names_and_shapes_are_the_published_ones(kernel):
    with torch.device("meta"):
        network = RFRNetGenerator(kernel=kernel)
    state, expected = network.state_dict(), GOLDEN["keys"][str(kernel)]
    lines = [f"{key} {tuple(value.shape)}" for key, value in state.items()]
    assert len(lines) == expected["entries"]
    assert sum(p.numel() for p in network.parameters()) == expected["parameters"]
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == expected["sha256"]
    assert state["RFRModule.att.combiner.weight"].shape == (512, 1024, 1, 1)
    assert state["Pconv21.weight"].shape == (64, 64, kernel, kernel)


@pytest.mark.slow
def test_the_network_equals_the_authors():
    network = seeded(RFRNetGenerator(), 7)
    for case in GOLDEN["network"]:
        with torch.no_grad():
            assert_golden(network(*deep_holes(case)), case)


def test_the_attention_equals_the_authors():
    case = GOLDEN["attention"]
    attention, stream = seeded(Attention(case["channels"]), case["weights_seed"]), np.random.PCG64(case["inputs_seed"])
    batch, (height, width), memory = case["batch"], case["size"], None
    for _ in range(case["rounds"]):
        x = 2 * torch.tensor(uniform(stream, (batch, case["channels"], height, width)), dtype=torch.float32) - 1
        mask = torch.tensor(uniform(stream, (batch, 1, 2 * height, 2 * width)) < 0.5, dtype=torch.float32)
        with torch.no_grad():
            found, memory = attention(x, mask, memory)
    assert_golden(found, case)
    assert not torch.allclose(attention(x, mask, None)[0], found, atol=1e-2), "the numbers would not tell"


def test_nothing_is_remembered_beyond_a_image():
    network = seeded(RFRNetGenerator(**TINY), 3)
    images, masks = image_batch(3, 2, 32, 32)
    with torch.no_grad():
        both = network(images, masks)
        network(1 - images.flip(0), masks.flip(0))
        assert torch.equal(network(images, masks), both), "a call saw the one before"
        assert torch.allclose(network(images[1:], masks[1:]), both[1:], atol=1e-6), "an image saw its neighbour"


def test_losses_equal_the_authors(monkeypatch):
    class Painted(nn.Module):
        def forward(self, images, masks):
            return fake

    case = GOLDEN["losses"]
    extractor = seeded(Vgg16Features(), case["extractor_seed"]).requires_grad_(False)
    monkeypatch.setattr("sair.weights.networks.vgg16_features", lambda: extractor)
    real, masks = image_batch(case["real_seed"], case["batch"], *case["size"])
    fake, _ = image_batch(case["fake_seed"], case["batch"], *case["size"])
    method = RFRNet(**TINY, perceptual="vgg16")
    method.generator = Painted()
    found = method.training_step({"images": real, "masks": masks}, lambda name, loss: None)
    for name in ("valid", "hole", "tv", "style", "perceptual", "loss"):
        assert found[name].item() == pytest.approx(case[name], rel=1e-4), name
    assert not any(key.startswith("_vgg") for key in method.state_dict())


@pytest.mark.parametrize("size", [(64, 64), (61, 77), (16, 40), (5, 3), (1, 1)])
def test_any_size_comes_back(size):
    method = RFRNet(**TINY | {"strides": (2, 2, 2)})
    images, masks = image_batch(2, 2, *size)
    painted = method.inpaint(images * (1 - masks), masks)
    assert painted.shape == images.shape and painted.dtype == torch.float32
    assert painted.isfinite().all() and painted.min() >= 0 and painted.max() <= 1
    assert method.training and method.generator.training


def test_only_known_pixels_reach_the_network():
    network = seeded(RFRNetGenerator(**TINY), 3)
    images, masks = image_batch(3, 2, 32, 32)
    with torch.no_grad():
        painted = network(images, masks)
        assert torch.equal(painted, network(images * (1 - masks), masks))
        assert not torch.allclose(painted, network(images, 1 - masks), atol=1e-4)


def test_what_is_deeper_than_the_recurrences_reach_stays_black():
    method, masks = RFRNet(**TINY), torch.zeros(1, 1, 64, 64)
    masks[..., 4:-4, 4:-4] = 1
    assert (method.inpaint(torch.rand(1, 3, 64, 64) * (1 - masks), masks)[..., 26:-26, 26:-26] == 0).all()


def train(method, steps, autocast=False, **batch):
    optimizers, used = method.train().optimizers(), []

    def step(name, loss):
        assert loss.dtype == torch.float32 and loss.isfinite()
        used.append(name)
        optimizers[name].zero_grad()
        loss.backward()
        optimizers[name].step()

    images, masks = samples(2, 32)
    batch |= {"images": images, "masks": masks}
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        return [method.training_step(batch, step) for _ in range(steps)], used


@pytest.mark.parametrize("autocast", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["float32", "bfloat16"])
def test_training_moves_every_weight_and_the_loss_falls(autocast):
    torch.manual_seed(0)
    method = RFRNet(**TINY, lr=3e-3)
    before = {key: value.clone() for key, value in method.state_dict().items()}
    logged, used = train(method, 15, autocast)
    assert set(used) == {"train"} and not any(value.requires_grad for value in logged[0].values())
    assert logged[-1]["loss"] < 0.6 * logged[0]["loss"]
    assert [key for key, value in method.state_dict().items() if torch.equal(value, before[key])] == []


def test_fine_tuning_keeps_the_batch_statistics():
    torch.manual_seed(0)
    method = RFRNet(**TINY)
    before = {key: value.clone() for key, value in method.state_dict().items()}
    assert train(method, 1, progress=0.69)[1] == ["train"]
    moved = [key for key, value in method.state_dict().items() if not torch.equal(value, before[key])]
    assert any("running" in key for key in moved)
    before = {key: value.clone() for key, value in method.state_dict().items()}
    assert train(method, 1, progress=0.7)[1] == ["finetune"]
    moved = [key for key, value in method.state_dict().items() if not torch.equal(value, before[key])]
    assert moved and not any("running" in key for key in moved)
    assert train(method, 1, progress=0.1)[1] == ["train"] and method.generator.bn1.training


def test_optimizers_are_the_published_ones():
    rates = {name: o.param_groups[0]["lr"] for name, o in RFRNet(**TINY).optimizers().items()}
    assert rates == {"train": 2e-4, "finetune": 5e-5}


@pytest.mark.parametrize(
    "wrong",
    [{"perceptual": "vgg19"}, {"channels": 12}, {"kernel": 4}, {"recurrences": 0}, {"strides": (2, 3, 2)}],
    ids=lambda w: next(iter(w)),
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        RFRNet(**TINY | wrong)


# The authors' checkpoint ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "module."])
def test_the_authors_checkpoint_loads(tmp_path, prefix):
    saved, path = seeded(RFRNetGenerator(**TINY), 1), tmp_path / "g_500000.pth"
    state = {prefix + key: value for key, value in saved.state_dict().items()}
    torch.save({"n_iter": 500000, "generator": state, "optimizer_G": {"state": {}, "param_groups": []}}, path)
    method = RFRNet(**TINY, pretrained=path)
    images, masks = samples(2, 32)
    with torch.no_grad():
        assert torch.equal(method.inpaint(images, masks), saved(images, masks).clamp(0, 1))


def damage(state, how):
    if how == "missing":
        del state["RFRModule.att.att.ratio"]
    elif how == "left over":
        state["discriminator.weight"] = torch.zeros(1)
    else:
        state["Pconv2.weight"] = torch.zeros(8, 8, 5, 5)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("missing", "missing: RFRModule.att.att.ratio"),
        ("left over", "left over: discriminator.weight"),
        ("of another shape", r"Pconv2.weight \(8, 8, 5, 5\), expected \(8, 8, 3, 3\)"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(tmp_path, how, message):
    network, path = RFRNetGenerator(**TINY), tmp_path / "g.pth"
    state = RFRNetGenerator(**TINY).state_dict()
    damage(state, how)
    torch.save({"generator": state}, path)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(InputError, match=message):
        load_authors_checkpoint(network, path)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
