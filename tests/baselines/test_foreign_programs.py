"""Test the programs of authors and tools that the registry names: their cards, and what they lack on this machine."""

import sys

import pytest

from baselines.command import Command
from sair.commands.conformance import samples
from sair.commands.missing import missing_parts
from sair.common.errors import InputError
from sair.methods.spec import load_spec
from sair.weights.cards import read_card

FOREIGN = ("mat", "migan_authors", "comodgan", "zitspp", "repaint", "iopaint_lama", "iopaint_mat", "iopaint_migan")


@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_program_has_a_card_and_states_what_it_lacks(name, monkeypatch, tmp_path):
    spec, path = load_spec(name, "config/methods", "paper"), tmp_path.as_posix()
    monkeypatch.setenv("PATH", path)  # no conda
    if (checkout := spec["parameters"].get("checkout")) is not None:
        assert len(checkout["commit"]) == 40 and checkout["commit"] == read_card(spec["card"])["code"]["commit"]
        checkout["folder"] = f"{path}/nothing"
    lines = missing_parts(spec)
    assert any("conda is not installed" in line for line in lines)
    assert any(f"terms: {read_card(spec['card'])['code']['licence']}" in line or "terms:" in line for line in lines)
    assert checkout is None or any("git clone https://github.com/" in line for line in lines)
    assert read_card(spec["card"])["not_verified"] and read_card(spec["card"])["input"]["mask"]


def test_a_program_that_lacks_a_file_is_not_started(tmp_path):
    method = Command(command=["no-such-program"], needs=[str(tmp_path / "weights.pkl")])
    with pytest.raises(InputError, match=r"weights\.pkl: no such file, but the program needs it \(`needs`\)"):
        method.inpaint(*samples(1))
    with pytest.raises(InputError, match=r"needs: 'a'; expected a list of paths"):
        Command(command=["x"], needs="a")
    found = Command.missing({"command": ["no-such-program"]})
    assert found == ["the program no-such-program is not on the PATH. Install it, or name its `environment`"]


def test_a_program_gets_its_seed(tmp_path):
    script = tmp_path / "program.py"
    script.write_text("import shutil, sys; shutil.copytree(sys.argv[1], sys.argv[2], dirs_exist_ok=True)\n"
                      f"open({str(tmp_path / 'seed')!r}, 'w').write(sys.argv[3])")  # fmt: skip
    command = [sys.executable, str(script), "{images}", "{output}", "--seed={seed}"]
    Command(command=command, seed=7).inpaint(*samples(1))
    assert (tmp_path / "seed").read_text() == "--seed=7"
