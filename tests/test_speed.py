"""The benchmark's published formulas and our shortcuts give the same image, at sizes that take a moment."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch

FILE = Path("benchmarks/speed.py")


@pytest.fixture(scope="module")
def speed():
    specification = importlib.util.spec_from_file_location("speed", FILE)
    module = importlib.util.module_from_spec(specification)
    sys.modules["speed"] = module
    specification.loader.exec_module(module)
    return module


@torch.no_grad()
def test_queries_equal_the_published_formula(speed):
    cases = speed.query_cases(48)
    assert len(cases) == 3
    for case in cases:
        torch.testing.assert_close(case.ours(), case.published(), atol=1e-5, rtol=0, msg=case.name)


@torch.no_grad()
def test_sair_equals_the_published_formula(speed, monkeypatch):
    monkeypatch.setattr(speed, "sair_of", lambda preset, make=speed.sair_of: make("mini"))
    exact, rounded = speed.sair_case(64, bf16=False), speed.sair_case(64, bf16=True)
    expected = exact.published()
    torch.testing.assert_close(exact.ours(), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(rounded.ours(), expected, atol=1e-2, rtol=0)
    assert expected.std() > 0.1


def test_sir_where_needed_has_the_gradients_of_sir_everywhere(speed):
    case = speed.training_case("mini", 64, 2)
    expected = case.published()
    torch.testing.assert_close(case.ours(), expected, atol=1e-4 * expected.abs().max().item(), rtol=0)
    assert expected.abs().max() > 0


@pytest.mark.slow
def test_the_report_is_written(speed, tmp_path, capsys):
    case = speed.Case("a", "2x", lambda: torch.zeros(2), lambda: torch.full((2,), 0.25))
    result = speed.measure(case, 1)
    assert result["error"] == 0.25 and result["ratio"] > 0
    json.dumps(result)
