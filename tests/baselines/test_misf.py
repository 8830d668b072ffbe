"""Test MISF against recorded numbers of the authors' code, and predictive filtering."""

import hashlib
import json
from pathlib import Path

import pytest
import torch
from helpers.parity import assert_golden, image_batch, seeded
from torch import nn

from baselines.filtering import predictive_filter
from baselines.misf import MISFGenerator

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "misf.json").read_text())


@pytest.fixture(scope="module")
def published():
    """Return the published generator on random weights."""
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
    (filtered,) = predictive_filter(maps, weights.view(1, 27, 1, 1).expand(2, 27, 12, 17), [dilation])
    convolved = nn.functional.conv2d(maps, weights.view(3, 1, 3, 3), padding=dilation, dilation=dilation, groups=3)
    assert torch.allclose(filtered, convolved, atol=1e-5)
