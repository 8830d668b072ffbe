"""Test losses that several published methods share."""

import pytest
import torch

from baselines.losses import lazily


def test_lazy_terms_keep_their_mean_and_cost_their_share():
    torch.manual_seed(0)
    calls = []

    def terms():
        calls.append(None)
        return {"style": torch.tensor(2.0)}

    found = [lazily(0.25, terms) for _ in range(2000)]
    assert sum(map(bool, found)) == len(calls) == pytest.approx(500, rel=0.1)
    assert sum(float(term.get("style", 0)) for term in found) / 2000 == pytest.approx(2, rel=0.1)


def test_a_share_of_one_draws_no_random_number():
    torch.manual_seed(0)
    state = torch.get_rng_state()
    assert lazily(1.0, lambda: {"style": torch.tensor(2.0)})["style"] == 2
    assert torch.equal(torch.get_rng_state(), state)
