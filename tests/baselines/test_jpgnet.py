"""Test JPGNet against recorded numbers of the authors' code, and its generator."""

import hashlib
import json
from pathlib import Path

import pytest
import torch
from helpers.parity import assert_golden, image_batch, seeded
from helpers.published import METHODS, PAINTER

from baselines.jpgnet import JPGNet, structural_similarity, uncertainty
from sair.common.errors import InputError

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "jpgnet.json").read_text())
NETWORKS = ("kpn1", "kpn2")


TINY = METHODS["jpgnet"].tiny


@pytest.fixture(scope="module")
def published():
    """Return the published filtering networks on random weights."""
    with torch.device("meta"):  # drawing random weights, which are replaced, takes seconds
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


def test_an_unknown_generator_is_refused():
    with pytest.raises(InputError, match=r"generator of JPGNet.*cannot be imported"):
        JPGNet(generator={"class": "baselines.nowhere:Nothing"})


def test_pretrained_of_the_generator_goes_to_the_generator():
    assert JPGNet(**TINY, pretrained={"generator": "a file"}).generator.pretrained == "a file"
