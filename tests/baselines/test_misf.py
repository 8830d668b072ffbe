"""MISF against recorded numbers of the authors' code, its training step, and its checkpoint reader."""

import hashlib
import json
from pathlib import Path

import pytest
import torch
from helpers.parity import assert_golden, image_batch, seeded
from torch import nn

from baselines.checkpoints import load_authors_checkpoint
from baselines.filtering import predictive_filter
from baselines.misf import MISF, MISFGenerator
from sair.common.errors import InputError

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "misf.json").read_text())
TINY = {"channels": 8, "blocks": 1, "discriminator_channels": 8, "discriminator_downsamplings": 1, "lr": 2e-3}
NO_VGG = {"content_weight": 0, "style_weight": 0}


@pytest.fixture(scope="module")
def published():
    """The published generator on random weights."""
    return seeded(MISFGenerator(), GOLDEN["generator"][0]["weights_seed"])


def test_names_and_shapes_are_the_published_ones(published):
    state = published.state_dict()
    lines = sorted(f"{key} {tuple(value.shape)}" for key, value in state.items())
    assert len(lines) == GOLDEN["names"]["entries"]
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == GOLDEN["names"]["sha256"]
    assert state["kpn_model.kernels.weight"].shape == (576, 256, 1, 1)
    assert state["kpn_model.core_img.weight"].shape == (27, 64, 1, 1)
    assert sum(value.numel() for value in state.values()) == 23_059_493


@pytest.mark.parametrize("case", GOLDEN["generator"], ids=lambda c: f"{c['size'][0]}x{c['size'][1]}")
def test_generator_equals_the_authors(case, published):
    images, masks = image_batch(case["images_seed"], case["batch"], *case["size"])
    with torch.no_grad():
        assert_golden(published(images, masks), case)


@pytest.mark.parametrize("dilation", [1, 2, 4])
def test_filtering_is_a_convolution_where_all_kernels_are_the_same(dilation):
    maps, _ = image_batch(1, 2, 12, 17)
    weights = torch.rand(3, 9)
    filtered = predictive_filter(maps, weights.view(1, 27, 1, 1).expand(2, 27, 12, 17), dilation)
    convolved = nn.functional.conv2d(maps, weights.view(3, 1, 3, 3), padding=dilation, dilation=dilation, groups=3)
    assert torch.allclose(filtered, convolved, atol=1e-5)


@pytest.mark.parametrize("size", [(64, 64), (61, 77), (16, 40), (5, 3), (1, 1)])
def test_any_size_comes_back(size):
    images, masks = image_batch(2, 2, *size)
    painted = MISF(**TINY).inpaint(images * (1 - masks), masks)
    assert painted.shape == images.shape and painted.dtype == torch.float32 and not painted.requires_grad
    assert painted.isfinite().all() and painted.min() >= 0 and painted.max() <= 1


def test_only_known_pixels_and_the_mask_reach_the_generator():
    network = seeded(MISFGenerator(8, 1), 3)
    images, masks = image_batch(3, 2, 32, 32)
    with torch.no_grad():
        painted = network(images, masks)
        assert torch.equal(painted, network(images * (1 - masks), masks))
        assert not torch.allclose(painted, network(images, 1 - masks), atol=1e-4)
        assert torch.allclose(painted[:1], network(images[:1], masks[:1]), atol=1e-6)


def train(method: MISF, steps: int, autocast: bool = False) -> list[dict[str, torch.Tensor]]:
    optimizers = method.train().optimizers()

    def step(name: str, loss: torch.Tensor) -> None:
        assert loss.dtype == torch.float32 and loss.isfinite()
        method.zero_grad()
        loss.backward()
        reached = {key.split(".")[0] for key, parameter in method.named_parameters() if parameter.grad is not None}
        assert reached == {name}, "a loss must reach its own network only"
        optimizers[name].step()

    images, masks = image_batch(5, 2, 16, 16)
    images = nn.functional.avg_pool2d(images, 5, 1, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        return [method.training_step({"images": images, "masks": masks}, step) for _ in range(steps)]


def test_training_fits_a_batch_and_changes_both_networks():
    torch.manual_seed(0)
    method = MISF(**TINY, **NO_VGG)
    before = {key: value.clone() for key, value in method.state_dict().items()}
    logged = train(method, 25)
    assert set(logged[0]) == {"loss", "l1", "adv", "d"}
    assert not any(value.requires_grad for value in logged[0].values())
    assert logged[-1]["l1"] < 0.7 * logged[0]["l1"]
    moved = {key.split(".")[0] for key, value in method.state_dict().items() if not torch.equal(value, before[key])}
    assert moved == {"generator", "discriminator"}
    assert all(parameter.requires_grad for parameter in method.parameters())


@pytest.mark.parametrize("autocast", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["float32", "bfloat16"])
def test_features_weigh_in_and_stay_out_of_the_checkpoint(autocast):
    method = MISF(**TINY)
    names = set(method.state_dict())
    method._vgg = lambda images: [images, 2 * images]  # stands in for VGG16
    logged = train(method, 2, autocast)[0]
    assert logged["content"] > 0 and logged["style"] > 0
    total = sum(logged[name] for name in ("l1", "adv", "content", "style"))
    assert logged["loss"].item() == pytest.approx(total.item(), rel=1e-5)
    assert set(method.state_dict()) == names


def test_optimizers_are_the_published_ones():
    groups = {name: o.param_groups[0] for name, o in MISF(**{**TINY, "lr": 1e-4}).optimizers().items()}
    assert {name: group["lr"] for name, group in groups.items()} == {
        "generator": pytest.approx(1e-4),
        "discriminator": pytest.approx(1e-5),
    }
    assert all(group["betas"] == (0.0, 0.9) for group in groups.values())


def test_saved_weights_are_the_generator():
    method = MISF(**TINY)
    saved = method.weights_to_save()
    assert set(saved) == {key for key in method.state_dict() if key.startswith("generator.")}


@pytest.mark.parametrize(
    "wrong", [{"blocks": 0}, {"channels": 0}, {"discriminator_downsamplings": 0}], ids=lambda w: next(iter(w))
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        MISF(**{**TINY, **wrong})


def test_authors_checkpoint_loads_strictly(tmp_path):
    path = tmp_path / "celebA_InpaintingModel_gen.pth"
    state = seeded(MISFGenerator(8, 1), 4).state_dict()
    torch.save({"iteration": 7, "generator": {f"module.{key}": value for key, value in state.items()}}, path)
    loaded = MISF(**TINY, pretrained=path).generator.state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in state.items())
    with pytest.raises(InputError, match=r"missing: .*middle\.1\.conv_block\.1\.bias"):
        load_authors_checkpoint(MISFGenerator(8, 2), path)
    with pytest.raises(InputError, match=r"of another shape: .*expected"):
        load_authors_checkpoint(MISFGenerator(4, 1), path)
    state["stranger"] = torch.zeros(1)
    torch.save({"generator": state}, path)
    with pytest.raises(InputError, match="left over: stranger"):
        load_authors_checkpoint(MISFGenerator(8, 1), path)
