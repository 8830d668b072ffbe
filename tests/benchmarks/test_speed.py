"""Test that the published formulas and the shortcuts of the benchmark give the same image, at small sizes."""

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


def test_the_median_of_alternating_runs_and_the_difference_are_reported(speed):
    case = speed.Case("a", "2x", lambda: torch.zeros(2), lambda: torch.full((2,), 0.25))
    result = speed.measure(case, 1)
    assert result["error"] == 0.25 and result["ratio"] == result["published"] / result["ours"]


def test_the_table_is_printed_and_the_numbers_are_written(speed, tmp_path, monkeypatch, capsys):
    case = speed.Case("a case", "2x", lambda: torch.zeros(2), lambda: torch.full((2,), 0.25))
    monkeypatch.setattr(speed, "query_cases", lambda size: [case])
    for name in ("sair_case", "training_case"):
        monkeypatch.setattr(speed, name, lambda *arguments, **options: case)
    monkeypatch.setattr(speed.runtime, "set_up", lambda threads: None)
    monkeypatch.setattr(speed.gc, "collect", lambda: 0)  # what most of the time would go to
    speed.main(["--output", str(tmp_path / "new/bench.json"), "--repeats", "1", "--large", "0"])
    report = json.loads((tmp_path / "new/bench.json").read_text())
    assert [result["case"] for result in report["cases"]] == ["a case"] * 5
    assert {"threads", "torch", "cases"} == report.keys() and report["cases"][0]["error"] == 0.25
    assert capsys.readouterr().out.count("a case") == 5
