"""Test RFRNet against recorded numbers of the authors' code, and its two training stages."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.parity import assert_golden, image_batch, seeded, uniform
from helpers.published import METHODS, train
from torch import nn

from baselines.rfrnet import RFRNet, RFRNetGenerator
from baselines.rfrnet.model import Attention
from sair.commands.conformance import samples
from sair.weights.networks import Vgg16Features

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "rfrnet.json").read_text())
TINY = METHODS["rfrnet"].tiny


def deep_holes(case):
    """Return images and masks with a middle that only some recurrences reach."""
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
    assert not torch.allclose(attention(x, mask, None)[0], found, atol=1e-2), "the test could not fail"


def test_no_state_is_kept_between_images_or_calls():
    network = seeded(RFRNetGenerator(**TINY), 3)
    images, masks = image_batch(3, 2, 32, 32)
    with torch.no_grad():
        both = network(images, masks)
        network(1 - images.flip(0), masks.flip(0))
        assert torch.equal(network(images, masks), both), "a call depends on the one before"
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


def test_pixels_deeper_than_the_recurrences_reach_stay_black():
    method, masks = RFRNet(**TINY), torch.zeros(1, 1, 64, 64)
    masks[..., 4:-4, 4:-4] = 1
    assert (method.inpaint(torch.rand(1, 3, 64, 64) * (1 - masks), masks)[..., 26:-26, 26:-26] == 0).all()


@pytest.mark.parametrize("autocast", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["float32", "bfloat16"])
def test_training_moves_every_weight_and_the_loss_falls(autocast):
    torch.manual_seed(0)
    method = RFRNet(**TINY, lr=3e-3)
    before = {key: value.clone() for key, value in method.state_dict().items()}
    logged, used = train(method, *samples(2, 32), steps=15, autocast=autocast)
    assert used == {"train"} and not any(value.requires_grad for value in logged[0].values())
    assert logged[-1]["loss"] < 0.6 * logged[0]["loss"]
    assert [key for key, value in method.state_dict().items() if torch.equal(value, before[key])] == []


def test_fine_tuning_keeps_the_batch_statistics():
    torch.manual_seed(0)
    method = RFRNet(**TINY)
    before = {key: value.clone() for key, value in method.state_dict().items()}
    assert train(method, *samples(2, 32), progress=0.69)[1] == {"train"}
    moved = [key for key, value in method.state_dict().items() if not torch.equal(value, before[key])]
    assert any("running" in key for key in moved)
    before = {key: value.clone() for key, value in method.state_dict().items()}
    assert train(method, *samples(2, 32), progress=0.7)[1] == {"finetune"}
    moved = [key for key, value in method.state_dict().items() if not torch.equal(value, before[key])]
    assert moved and not any("running" in key for key in moved)
    assert train(method, *samples(2, 32), progress=0.1)[1] == {"train"} and method.generator.bn1.training


# The authors' checkpoint ---------------------------------------------------------------------------------------------
