"""Test the count of what a training costs: exact on a known network, and without a trace in the trained method."""

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from sair.methods.build import build
from sair.methods.spec import with_parameters
from sair.training.cost import training_cost

TRAINING = {"batch": 6, "accumulate": 2}


class Samples:
    """Return the samples of a small training split."""

    def __len__(self):
        return 5

    def __getitem__(self, k):
        generator = torch.Generator().manual_seed(k)
        image, mask = torch.rand(3, 32, 32, generator=generator), torch.zeros(1, 32, 32)
        mask[:, 8:20, 8:20] = 1
        return {"id": str(k), "images": image, "masks": mask}


class Staged(nn.Module):
    """A convolution that is used twice in the second half of a run, and a weight that is not trained."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 1, bias=False)
        self.frozen = nn.Linear(5, 5)

    def training_step(self, batch, step):
        images = batch["images"].requires_grad_(False)
        losses = [self.layer(images).mean() for _ in range(1 + (batch["progress"] > 0.5))]
        step("g", sum(losses))
        self.layer.weight.data += 1  # such as running statistics, or a method's own updates
        return {"loss": losses[0]}


def staged():
    method = Staged()
    return method, {"g": torch.optim.Adam(method.layer.parameters())}


def test_operations_are_those_of_the_arithmetic():
    """A 1x1 convolution of 3 to 4 channels on 32x32 pixels: 2 * 12 * 1024, and the same for the weights' gradient."""
    method, optimizers = staged()
    found = training_cost(method, optimizers, Samples(), TRAINING)
    once = 2 * (2 * 3 * 4 * 32 * 32)
    assert found == {"parameters": 12, "operations": round(12 * once * 1.5)}


def test_the_trained_method_and_its_random_numbers_stay():
    method, optimizers = staged()
    before, state = method.layer.weight.clone(), torch.get_rng_state()
    training_cost(method, optimizers, Samples(), TRAINING)
    assert torch.equal(method.layer.weight, before) and torch.equal(torch.get_rng_state(), state)
    assert method.layer.weight.grad is None and method.training


def test_the_count_is_that_of_torch(mini):
    method = build(mini("liif"))
    counter = FlopCounterMode(display=False)
    batch = torch.utils.data.default_collate([Samples()[0], Samples()[1]])
    with counter:
        method.training_step(batch, lambda name, loss: loss.backward())
    found = training_cost(method, method.optimizers(), Samples(), {"batch": 2, "accumulate": 1})
    assert found["operations"] == counter.get_total_flops()
    assert found["parameters"] == sum(weight.numel() for weight in method.parameters())


def test_a_method_that_cannot_be_counted_is_trained_all_the_same(capsys):
    method, optimizers = staged()
    method.training_step = lambda batch, step: 1 / 0
    assert training_cost(method, optimizers, Samples(), TRAINING) == {"parameters": 12}
    assert "operations of a training step were not counted (division by zero)" in capsys.readouterr().err


def test_the_controls_of_liif_match_sair(mini):
    """The wide one has as many trainable parameters, the long one as many seconds (docs/statistics.md)."""
    liif, wide, long = (mini(name) for name in ("liif", "liif_wide", "liif_long"))
    clip = build(mini("clip", "config/semantics")).description
    sair = with_parameters(mini("sair"), semantic=clip)
    count = {
        name: sum(weight.numel() for weight in build(spec).parameters() if weight.requires_grad)
        for name, spec in {"liif": liif, "wide": wide, "sair": sair}.items()
    }
    assert abs(count["wide"] / count["sair"] - 1) < 0.02 and count["liif"] < 0.8 * count["sair"]
    assert long["parameters"] == liif["parameters"] and long["training"] == liif["training"] | {"times": 1.7}
