"""JPGNet against recorded numbers of the authors' code, its stages, and its checkpoint reader."""

import hashlib
import json
from pathlib import Path

import pytest
import torch
from helpers.parity import assert_golden, image_batch, seeded
from torch import nn

from baselines.checkpoints import load_authors_checkpoint
from baselines.jpgnet import JPGNet, KernelNetwork, structural_similarity, uncertainty
from sair.common.errors import InputError

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "jpgnet.json").read_text())
NETWORKS = ("kpn1", "kpn2")


class Painter(nn.Module):
    """Stands in for the generator: one colour."""

    def __init__(self, pretrained=None):
        super().__init__()
        self.colour = nn.Parameter(torch.full((1, 3, 1, 1), 0.9))
        self.pretrained = pretrained

    def inpaint(self, images, masks):
        assert (images * masks).abs().max() == 0, "the painter must not see the hole"
        return self.colour.detach().expand_as(images)

    def weights_to_save(self):
        return {"paint": self.colour.detach()}


PAINTER = {"class": "test_jpgnet:Painter"}
TINY = {"generator": PAINTER, "channels": 8, "downsamplings": 2, "init_gain": 1.0, "lr": 2e-3}


@pytest.fixture(scope="module")
def published():
    """The published filtering networks on random weights."""
    with torch.device("meta"):  # drawing weights that are replaced takes seconds
        method = JPGNet(generator=PAINTER)
    method.to_empty(device="cpu")
    for name in NETWORKS:
        seeded(getattr(method, name), GOLDEN["weights_seed"][name])
    return method


@pytest.mark.parametrize("name", NETWORKS)
def test_names_and_shapes_are_the_published_ones(name, published):
    state = getattr(published, name).state_dict()
    lines = sorted(f"{key} {tuple(value.shape)}" for key, value in state.items())
    assert len(lines) == GOLDEN["names"][name]["entries"]
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == GOLDEN["names"][name]["sha256"]
    assert state["conv6.conv1.0.weight"].shape == (512, 1024, 3, 3)
    assert state["outc.weight"].shape[0] == {"kpn1": 27, "kpn2": 54}[name]


@pytest.mark.parametrize("case", GOLDEN["kpn1"], ids=lambda c: f"{c['size'][0]}x{c['size'][1]}")
def test_filtering_equals_the_authors(case, published):
    images, masks = image_batch(case["images_seed"], case["batch"], *case["size"])
    with torch.no_grad():
        image, kernels = published.kpn1(images * (1 - masks), images * (1 - masks))
    assert_golden(image, case["image"])
    assert_golden(kernels, case["kernels"])
    if "uncertainty" in case:
        assert_golden(uncertainty(kernels), case["uncertainty"])


@pytest.mark.parametrize(
    "case", GOLDEN["joined"], ids=lambda c: f"{c['size'][0]}x{c['size'][1]}{'-signed' * c['signed']}"
)
def test_joining_equals_the_authors(case, published, monkeypatch):
    images, masks = image_batch(case["images_seed"], 1, *case["size"])
    painted, _ = image_batch(case["painted_seed"], 1, *case["size"])
    monkeypatch.setattr(published, "signed", case["signed"])
    with torch.no_grad():
        assert_golden(published._join(painted, images, masks), case)


def test_similarity_equals_the_authors():
    case = GOLDEN["ssim"]
    a, b = (image_batch(seed, case["batch"], *case["size"])[0] for seed in case["seeds"])
    assert structural_similarity(a, (a + b) / 2).item() == pytest.approx(case["value"], abs=1e-5)
    assert structural_similarity(a, a).item() == pytest.approx(1, abs=1e-5)


def test_uncertainty_is_scaled_by_image():
    kernels = torch.randn(2, 27, 8, 12) * torch.tensor([1.0, 5.0]).view(2, 1, 1, 1)
    found = uncertainty(kernels)
    assert torch.equal(found[:1], uncertainty(kernels[:1]))
    assert found.flatten(1).amin(1).tolist() == [0, 0] and found.flatten(1).amax(1).tolist() == [1, 1]
    assert uncertainty(torch.ones(1, 27, 4, 4)).isfinite().all()


@pytest.mark.parametrize("size", [(64, 64), (61, 77), (5, 3), (1, 1)])
def test_any_size_comes_back(size):
    images, masks = image_batch(2, 2, *size)
    method = JPGNet(**TINY)
    for network in (method.kpn1, method.kpn2):
        seeded(network, 1)
    painted = method.inpaint(images * (1 - masks), masks)
    assert painted.shape == images.shape and painted.dtype == torch.float32 and not painted.requires_grad
    assert painted.isfinite().all() and painted.min() >= 0 and painted.max() <= 1
    assert torch.allclose(painted[:1], method.inpaint((images * (1 - masks))[:1], masks[:1]), atol=1e-6)


def train(method, progress, steps, autocast=False):
    optimizers, used = method.train().optimizers(), set()

    def step(name, loss):
        assert loss.isfinite()
        method.zero_grad()
        loss.backward()
        used.add(name)
        optimizers[name].step()

    images, masks = image_batch(5, 2, 16, 16)
    batch = {"images": nn.functional.avg_pool2d(images, 5, 1, 2), "masks": masks, "progress": progress}
    before = {key: value.clone() for key, value in method.state_dict().items()}
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        logged = [method.training_step(batch, step) for _ in range(steps)]
    assert not any(value.requires_grad for value in logged[0].values())
    moved = {key.split(".")[0] for key, value in method.state_dict().items() if not torch.equal(value, before[key])}
    return logged, moved, used


@pytest.mark.parametrize(("progress", "network"), [(0.2, "kpn1"), (0.5, "kpn2")])
@pytest.mark.parametrize("signed", [False, True], ids=["", "signed"])
def test_each_stage_trains_its_own_network(progress, network, signed):
    torch.manual_seed(0)
    method = JPGNet(**TINY, signed=signed, stages={"kpn1": 1, "kpn2": 2})
    logged, *found = train(method, progress, 12)
    assert found == [{network}, {network}]
    assert logged[-1]["loss"] < logged[0]["loss"] - 0.05


def test_it_trains_under_autocast():
    logged, *_ = train(JPGNet(**TINY), 0.9, 2, autocast=True)
    assert logged[0]["loss"].dtype == torch.float32


def test_stages_follow_their_shares():
    shares = [{"kpn1": 1, "kpn2": 1}, {"kpn1": 0, "kpn2": 1}, {"kpn1": 3, "kpn2": 0}]
    found = [[JPGNet(**TINY, stages=stages).stages.at(k / 4) for k in range(4)] for stages in shares]
    assert found == [["kpn1"] * 2 + ["kpn2"] * 2, ["kpn2"] * 4, ["kpn1"] * 4]


def test_optimizers_and_saved_weights():
    method = JPGNet(**{**TINY, "lr": 2e-4})
    optimizers = method.optimizers()
    assert set(optimizers) == set(NETWORKS)
    for name in NETWORKS:
        assert optimizers[name].param_groups[0]["lr"] == 2e-4
        assert optimizers[name].param_groups[0]["betas"] == (0.5, 0.999)
    saved = set(method.weights_to_save())
    assert saved == {k for k in method.state_dict() if k.startswith("kpn")} | {"generator.paint"}


@pytest.mark.parametrize(
    "wrong",
    [{"downsamplings": 1}, {"stages": {"kpn1": 1}}, {"pretrained": {"kpn3": "x"}}],
    ids=lambda w: next(iter(w)),
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        JPGNet(**{**TINY, **wrong})


def test_an_unknown_generator_is_refused():
    with pytest.raises(InputError, match=r"generator of JPGNet.*cannot be imported"):
        JPGNet(generator={"class": "baselines.nowhere:Nothing"})


def test_authors_checkpoints_load_strictly(tmp_path):
    paths = {name: tmp_path / f"1_{name}.pth" for name in NETWORKS}
    states = {name: seeded(getattr(JPGNet(**TINY), name), 4).state_dict() for name in NETWORKS}
    for name, path in paths.items():
        torch.save({f"module.{key}": value for key, value in states[name].items()}, path)
    method = JPGNet(**TINY, pretrained={**paths, "generator": "a file"})
    assert method.generator.pretrained == "a file"
    for name in NETWORKS:
        assert all(torch.equal(value, states[name][key]) for key, value in getattr(method, name).state_dict().items())
    with pytest.raises(InputError, match=r"of another shape: .*outc\.weight \(27, 27, 1, 1\), expected \(54,"):
        load_authors_checkpoint(method.kpn2, paths["kpn1"])
    with pytest.raises(InputError, match=r"missing: conv5\.conv1\.0\.bias"):
        load_authors_checkpoint(KernelNetwork(3, 1, 8, 3), paths["kpn1"])
