"""Test ``sair new-method``: names that it refuses, and files that run as they are written."""

import subprocess
import sys
from pathlib import Path

import pytest

import baselines
from sair.commands.cli import main
from sair.commands.conformance import check, maker
from sair.methods.spec import load_spec


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Create a folder that `sair new-method` accepts as the project's."""
    root = Path.cwd()
    for folder in ("config/methods", "config/semantics", "baselines", "tests", "workflow"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("networks.py", "checkpoints.py", "command.py", "precomputed.py"):
        (tmp_path / "baselines" / name).touch()
    (tmp_path / "baselines/controls").mkdir()
    (tmp_path / "config/methods/Mine.yaml").touch()
    (tmp_path / "config/semantics/encoder.yaml").touch()
    (tmp_path / "config/config.yaml").write_text("datasets: {portraits: {}}\n")
    (tmp_path / "workflow/schemas").symlink_to(root / "workflow/schemas")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "name",
    [
        *("networks", "checkpoints", "command", "precomputed", "controls"),
        *("true", "false", "null", "none", "yes", "no", "on", "off", "nan", "na", "inf", "y", "n", "o_n", "y_e_s"),
        *("class", "match", "case", "type", "list", "print", "exception", "value_error", "tensor", "callable", "f"),
        *("test", "tests", "test_x", "testing", "images", "labels", "masks"),
        *("mine", "encoder", "portraits", "", "A", "a-b", "a.b", "../a", "1a", "_a", "a b", "a\n", "é", "a" * 41),
    ],
)
def test_a_name_that_breaks_something_is_not_given_to_a_new_method(project, capsys, name):
    before = sorted(project.rglob("*"))
    assert main(["new-method", name]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert sorted(project.rglob("*")) == before


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a", "b_", "a__b", "x1", "nn", "module", "torch", "numpy", "random", "a" * 40])
def test_a_new_method_of_any_other_name_passes_the_linter_and_conforms(project, monkeypatch, name):
    assert main(["new-method", name]) == 0
    settings = ["--config", "line-length=120", "--config", 'lint.isort.known-first-party=["sair", "baselines"]']
    select = ["--select", "E,F,W,I,B,UP,SIM,RUF", "--no-cache"]
    for command in (["check", *select, *settings], ["format", "--check", "--no-cache", *settings]):
        run = subprocess.run([sys.executable, "-m", "ruff", *command, "baselines", "tests"], capture_output=True)
        assert run.returncode == 0, run.stdout
    monkeypatch.setattr(baselines, "__path__", [*baselines.__path__, str(project / "baselines")])
    spec = load_spec(name, "config/methods", "mini", {"scale": 1})
    check(maker(spec), size=32)
    compile((project / f"tests/test_{name}.py").read_text(), name, "exec")


def test_outside_a_project_the_commands_name_the_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for words in (["methods"], ["new-method", "mine"], ["convert", "rfrnet", "a.pth", "-o", "b.safetensors"]):
        assert main(words) == 1
        error = capsys.readouterr().err
        assert str(tmp_path) in error and "folder" in error and error.count("\n") == 1
