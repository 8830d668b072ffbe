"""Test LaMa against recorded numbers of the authors' code, its perceptual loss, and its checkpoint reader."""

import hashlib
import json
import sys
import types
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.parity import assert_golden, image_batch, seeded
from helpers.published import METHODS, train
from torch import nn

from baselines.lama import LaMa, LaMaGenerator, PatchDiscriminator, load_authors_checkpoint, losses
from baselines.lama.perceptual import DilatedResNet50, load_encoder
from sair import weights
from sair.common.errors import InputError
from sair.methods.spec import load_spec
from sair.weights import sources

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "lama.json").read_text())
TINY = METHODS["lama"].tiny
IMAGENET_MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
IMAGENET_STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


@pytest.fixture(scope="module")
def networks():
    """Return the published generators on random weights, made once."""
    made = {}

    def network(blocks: int, seed: int) -> nn.Module:
        if (blocks, seed) not in made:
            made[blocks, seed] = seeded(LaMaGenerator(blocks=blocks), seed)
        return made[blocks, seed]

    return network


@pytest.mark.parametrize("name", sorted(GOLDEN["keys"]))
def test_names_and_shapes_are_the_published_ones(name):
    with torch.device("meta"):
        module = PatchDiscriminator() if name == "discriminator" else LaMaGenerator(blocks=int(name.split("_")[1]))
    lines = [f"{key} {tuple(value.shape)}" for key, value in module.state_dict().items()]
    expected = GOLDEN["keys"][name]
    assert len(lines) == expected["entries"]
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == expected["sha256"]


@pytest.mark.parametrize("case", GOLDEN["generator"], ids=lambda c: f"{c['blocks']}-{c['size'][0]}x{c['size'][1]}")
def test_generator_equals_the_authors(case, networks):
    images, masks = image_batch(case["images_seed"], case["batch"], *case["size"])
    with torch.no_grad():
        painted = networks(case["blocks"], case["weights_seed"])(images, masks)
    assert_golden(painted, case)


def test_discriminator_equals_the_authors():
    case = GOLDEN["discriminator"]
    images, _ = image_batch(case["images_seed"], case["batch"], *case["size"])
    with torch.no_grad():
        logits, features = seeded(PatchDiscriminator(), case["weights_seed"])(images)
    assert_golden(logits, case)
    assert [list(f.shape) for f in features] == [f["shape"] for f in case["features"]]
    for found, wanted in zip(features, case["features"], strict=True):
        assert found.mean().item() == pytest.approx(wanted["mean"], abs=1e-4)
        assert found.std(correction=0).item() == pytest.approx(wanted["std"], abs=1e-4)


def test_losses_equal_the_authors():
    case = GOLDEN["losses"]
    real, mask = image_batch(case["real_seed"], case["batch"], *case["size"])
    fake, _ = image_batch(case["fake_seed"], case["batch"], *case["size"])
    network = seeded(PatchDiscriminator(), case["weights_seed"])
    with torch.no_grad():
        perceptual = losses.perceptual(lambda x: network((x - IMAGENET_MEAN) / IMAGENET_STD)[1], fake, real)
    network.train()
    real_logits, real_features = network(real.requires_grad_(True))
    fake_logits, fake_features = network(fake)
    r1 = losses.r1_penalty(real_logits, real)
    found = {
        "l1": losses.masked_l1(fake, real, mask),
        "generator_adversarial": 10 * losses.adversarial_generator(fake_logits),
        "discriminator_with_r1": losses.adversarial_discriminator(real_logits, fake_logits, mask) + 0.001 * r1,
        "r1": r1,
        "feature_matching": 100 * losses.feature_matching(fake_features, real_features),
        "perceptual": 30 * perceptual,
    }
    for name, value in found.items():
        assert value.item() == pytest.approx(case[name], rel=1e-4), name


def test_l1_counts_known_pixels_only():
    images, masks = image_batch(1, 2, 16, 16)
    assert losses.masked_l1(images + masks, images, masks) == 0
    assert losses.masked_l1(images + 1 - masks, images, masks).item() == pytest.approx(10 * (1 - masks).mean().item())


def test_inpaint_uses_running_statistics_and_leaves_the_mode():
    method = LaMa(**TINY).train()
    before = {key: value.clone() for key, value in method.state_dict().items()}
    images, masks = image_batch(4, 2, 16, 16)
    assert torch.allclose(method.inpaint(images, masks)[:1], method.inpaint(images[:1], masks[:1]), atol=1e-6)
    assert method.training and method.generator.training
    assert all(torch.equal(value, before[key]) for key, value in method.state_dict().items())


# The perceptual loss --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["lama", "lama_big"])
@pytest.mark.parametrize("preset", ["mini", "paper"])
def test_no_preset_trains_without_a_perceptual_loss(name, preset, config):
    parameters = load_spec(name, "config/methods", preset, config["training"])["parameters"]
    assert parameters["perceptual"] == "vgg16" and "perceptual_weight" not in parameters
    assert LaMa(**TINY | {"perceptual": "vgg16"}).weights["perceptual"] == 0.3
    assert LaMa(**TINY | {"perceptual": "hrf"}).weights["perceptual"] == 30
    assert LaMa(**TINY | {"perceptual": "hrf", "perceptual_weight": 0.5}).weights["perceptual"] == 0.5


@pytest.fixture
def encoder():
    return seeded(DilatedResNet50(), 4)


def test_the_authors_network_has_its_names_and_dilates(encoder):
    """MIT's resnet50dilated is a ResNet-50 with a stem of three convolutions and output at an eighth of the side."""
    state = {name: value for name, value in encoder.state_dict().items() if not name.endswith("num_batches_tracked")}
    assert state["conv3.weight"].shape == (128, 64, 3, 3) and state["layer1.0.conv1.weight"].shape == (64, 128, 1, 1)
    assert state["layer1.0.downsample.0.weight"].shape == (256, 128, 1, 1)
    assert state["layer4.2.conv3.weight"].shape == (2048, 512, 1, 1)
    assert [name for name in state if name.startswith("fc")] == []
    dilations = [[block.conv2.dilation[0] for block in stage] for stage in (encoder.layer3, encoder.layer4)]
    assert dilations == [[1, 2, 2, 2, 2, 2], [2, 4, 4]]
    with torch.no_grad():
        maps = encoder(torch.rand(1, 3, 64, 48))
    assert [tuple(m.shape[1:]) for m in maps] == [(256, 16, 12), (512, 8, 6), (1024, 8, 6), (2048, 8, 6)]


@pytest.mark.slow
@pytest.mark.parametrize("counters", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["with", "without"])
def test_the_authors_file_is_read_from_the_folder_of_weights(nowhere, tmp_path, encoder, counters):
    state = encoder.state_dict()
    torch.save(
        {k: v for k, v in state.items() if counters or "num_batches" not in k}, tmp_path / "encoder_epoch_20.pth"
    )
    nowhere.setenv(sources.ENVIRONMENT, str(tmp_path))
    torch.manual_seed(0)
    method = LaMa(**TINY | {"perceptual": "hrf"})
    randomness = torch.get_rng_state()
    images, _ = image_batch(7, 1, 32, 32)
    with torch.no_grad():
        maps = method._features(images)
        wanted = encoder.eval()(images)
    for found, expected in zip(maps, wanted, strict=True):  # the layout of the weights moves the last digits
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(torch.get_rng_state(), randomness), "making the network changed the training's random numbers"
    assert not any(key.startswith("_features") for key in method.state_dict())
    assert {"perceptual"} < set(train(method, *image_batch(5, 2, 16, 16))[0][0])
    assert any("encoder_epoch_20.pth from the folder of weights" in line for line in weights.used())


def test_the_authors_loss_without_its_file_is_an_error_with_the_remedy(nowhere):
    method = LaMa(**TINY | {"perceptual": "hrf"})
    with pytest.raises(InputError, match=r"(?s)encoder_epoch_20\.pth from https://.*SAIR_WEIGHTS"):
        train(method, *image_batch(5, 2, 16, 16))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda state: state.pop("layer2.0.bn1.running_var"), "missing: layer2.0.bn1.running_var"),
        (lambda state: state.update({"fc.weight": torch.zeros(1)}), "left over: fc.weight"),
        (
            lambda state: state.update({"conv1.weight": torch.zeros(64, 3, 7, 7)}),
            r"conv1.weight \(64, 3, 7, 7\), expected",
        ),
    ],
    ids=["missing", "left over", "torchvision's stem"],
)
def test_another_encoder_is_refused(tmp_path, encoder, damage, message):
    state = dict(encoder.state_dict())
    damage(state)
    torch.save(state, tmp_path / "encoder_epoch_20.pth")
    with pytest.raises(InputError, match=message):
        load_encoder(tmp_path / "encoder_epoch_20.pth")


# The authors' checkpoint ---------------------------------------------------------------------------------------------


def authors_state(blocks: int = 9) -> OrderedDict:
    """Return the names and shapes of a published file; every tensor is one zero, so that the file stays small."""
    with torch.device("meta"):
        state = LaMaGenerator(blocks=blocks).state_dict()
    full = OrderedDict((f"generator.{k}", torch.zeros((), dtype=v.dtype).expand(v.shape)) for k, v in state.items())
    full["discriminator.model0.0.weight"] = torch.zeros(3)
    full["loss_resnet_pl.impl.conv1.weight"] = torch.zeros(3)
    full["val_evaluator.scores.ssim.window"] = torch.zeros(3)
    full["test_evaluator.scores.ssim.window"] = torch.zeros(3)
    return full


def big_generator(blocks: int = 9) -> LaMaGenerator:
    """Return a generator of the published size in which every weight is one."""
    with torch.device("meta"):
        generator = LaMaGenerator(blocks=blocks)
    generator.to_empty(device="cpu")
    for value in generator.state_dict().values():
        value.fill_(1)
    return generator


@pytest.mark.parametrize("blocks", [9, pytest.param(18, marks=pytest.mark.slow)])
def test_authors_checkpoint_loads_strictly(tmp_path, blocks):
    path = tmp_path / "best.ckpt"
    torch.save({"state_dict": authors_state(blocks), "epoch": 3}, path)
    generator = big_generator(blocks)
    load_authors_checkpoint(generator, path)
    assert not any(value.any() for value in generator.state_dict().values())


def test_foreign_classes_become_placeholders(tmp_path, monkeypatch):
    path = tmp_path / "best.ckpt"
    module = types.ModuleType("foreign_package")
    module.Config = type("Config", (dict,), {"__module__": "foreign_package"})
    config = module.Config(blocks=9)
    config.parent, config.content = None, [1, {"a": Path("b")}]
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "foreign_package", module)
        torch.save({"hyper_parameters": config, "state_dict": authors_state(), "score": np.float64(3)}, path)
    generator = big_generator()
    assert len(generator.state_dict()) == GOLDEN["keys"]["generator_9"]["entries"]
    load_authors_checkpoint(generator, path)


def damage(state: OrderedDict, how: str) -> None:
    if how == "missing":
        del state["generator.model.5.conv1.bn_l.bias"]
    elif how == "extra":
        state["generator.model.99.weight"] = torch.zeros(1)
    elif how == "stranger":
        state["teacher.weight"] = torch.zeros(1)
    elif how == "shape":
        state["generator.model.5.conv1.bn_l.bias"] = torch.zeros(4)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("missing", "missing: model.5.conv1.bn_l.bias"),
        ("extra", "left over: model.99.weight"),
        ("stranger", "left over: teacher.weight"),
        ("shape", r"model.5.conv1.bn_l.bias \(4,\), expected \(128,\)"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(tmp_path, how, message):
    path, state = tmp_path / "best.ckpt", authors_state()
    damage(state, how)
    torch.save({"state_dict": state}, path)
    with pytest.raises(InputError, match=message):
        load_authors_checkpoint(big_generator(), path)


def test_other_files_are_refused(tmp_path):
    path, generator = tmp_path / "best.ckpt", big_generator()
    with pytest.raises(InputError, match="no such file"):
        load_authors_checkpoint(generator, path)
    torch.save({"epoch": 3}, path)
    with pytest.raises(InputError, match="state_dict"):
        load_authors_checkpoint(generator, path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match="not a readable"):
        load_authors_checkpoint(generator, path)
    with zipfile.ZipFile(path, "w") as archive:  # The layout of TorchScript.
        archive.writestr("big-lama/data.pkl", b"")
        archive.writestr("big-lama/constants.pkl", b"")
    with pytest.raises(InputError, match="not a readable"):
        load_authors_checkpoint(generator, path)
