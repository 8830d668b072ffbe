"""Test which files of method files are inputs, which parts of them count, and that `sair verify` reports changes."""

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from sair.common.errors import InputError
from sair.common.files import tree_sha256
from sair.provenance import records as provenance
from sair.provenance.inputs import checkouts, commit_of, content, digests, named_files, named_inputs


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Change to an empty working folder; return a function that writes a file in it."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)

    def write(name, text="1"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write


def repository(folder):
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run(["git", *who, *words], cwd=folder, check=True)


@pytest.mark.parametrize(
    ("parameters", "found"),
    [
        ({"folder": "theirs"}, ["theirs"]),
        ({"pretrained": "g.pth"}, ["g.pth"]),
        ({"pretrained": ["g.pth", "none.pth", "d.pth"]}, ["d.pth", "g.pth"]),
        ({"pretrained": {"edge": "g.pth", "inpaint": "d.pth"}}, ["d.pth", "g.pth"]),
        ({"generator": {"class": "a:B", "parameters": {"pretrained": "g.pth"}}}, ["g.pth"]),
        ({"stages": [{"weights": "g.pth"}, [["d.pth"]]]}, ["d.pth", "g.pth"]),
        ({"command": ["no-such-program", "fill.sh", "--model=g.pth", "{images}"]}, ["fill.sh", "g.pth"]),
        (
            {"command": ["no-such-shell", "-c", "x=1; (no-program 'fill.sh' --model=g.pth) >d.pth"]},
            ["fill.sh", "g.pth"],
        ),
        ({"command": ["no-such-program", "-m", "external.fill"]}, ["external/fill.py"]),
        ({"command": ["no-such-shell", "-c", "cd theirs && no-python -m external.fill"]}, ["external/fill.py"]),
        ({"command": ["no-such-program", "model.path=theirs"]}, ["theirs"]),
        ({"command": ["env", "HOME=theirs", "LIST=g.pth", "no-such-program"]}, ["g.pth"]),
        ({"command": ["no-such-program", "."]}, []),
        ({"command": ["no-such-program", "/"]}, []),
        ({"name": "theirs", "class": "theirs", "environment": "theirs"}, []),
        ({"architecture": "ViT", "text": "x" * 5000, "lr": 0.1, "on": True, "none": None, "nul": "a\0b"}, []),
    ],
)
def test_files_that_parameters_name_are_inputs(here, parameters, found):
    for name in ("theirs/0-20/a.png", "g.pth", "d.pth", "fill.sh", "external/fill.py"):
        here(name)
    assert named_inputs(parameters) == found


def test_a_program_runs_in_its_checkout(here):
    for name in ("external/fill.py", "external/model/g.pth", "fill.py"):
        here(name)
    parameters = {
        "command": ["no-such-program", "fill.py", "{checkout}/model", "PYTHONPATH={checkout}", "other.py"],
        "checkout": {"folder": "external", "repository": "", "commit": ""},
    }
    folder = here("external/fill.py").parent
    assert named_inputs(parameters) == sorted(["fill.py", str(folder / "model")])
    assert checkouts(parameters) == ["external"] and checkouts({"a": [parameters]}) == ["external"]
    here("fill.py").unlink()
    assert "external/fill.py" in named_inputs(parameters)


def test_a_program_that_is_found_by_name_counts(here, monkeypatch):
    program = here("bin/filltool")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    assert named_inputs({"command": ["env", "A=1", "filltool", "{images}"]}) == [str(program)]
    assert named_inputs({"command": ["filltool"], "environment": "conda"}) == []


def test_known_pretrained_files_count_unless_their_content_is_known(here, monkeypatch):
    """A file with a published SHA-256 is checked whenever it is read; another file of that name may be anything."""
    monkeypatch.setenv("SAIR_WEIGHTS", "weights")
    here("weights/ViT-B-16.pt")
    parameters = {"architecture": "ViT-B-16-quickgelu", "pretrained": "openai"}
    assert named_inputs(parameters) == []
    here("weights/ViT-B-16.pt").unlink()
    here("weights/clip-vit-b-16-openai.safetensors")
    assert named_inputs(parameters) == ["weights/clip-vit-b-16-openai.safetensors"]


def test_files_of_a_data_set(here, tmp_path, monkeypatch):
    here("test.txt"), here("images/a.png"), here("home/train.txt")
    monkeypatch.setenv("HOME", str(here("home/train.txt").parent))
    dataset = {"source": "folder", "images": "images", "test_list": "test.txt", "train_list": "~/train.txt", "train": 3}
    assert named_files(dataset) == sorted(["test.txt", str(here("home/train.txt"))])


@pytest.mark.parametrize(
    ("name", "text", "counts"),
    [
        ("a/0.png", "2", True),
        ("a/1.png", "1", True),
        ("link/0.png", "2", True),
        (".hidden", "1", False),
        (".git/index", "1", False),
        ("a/__pycache__/b.pyc", "1", False),
    ],
)
def test_which_files_of_a_folder_count(here, name, text, counts):
    folder = here("theirs/a/0.png").parents[1]
    here("elsewhere/0.png")
    (folder / "link").symlink_to("../elsewhere")
    (folder / "a/loop").symlink_to("..")
    before = tree_sha256(folder)
    here(f"theirs/{name}", text)
    assert (tree_sha256(folder) != before) == counts


def test_a_checkout_counts_by_commit_and_changes(here):
    here("external/.gitignore", "*.log\n"), here("external/fill.py")
    repository("external")
    first = commit_of("external")
    here("external/run.log"), here("external/untracked.txt")
    assert commit_of("external") == first
    here("external/fill.py", "2")
    changed = commit_of("external")
    here("external/fill.py", "3")
    assert len({first, changed, commit_of("external")}) == 3
    here("external/fill.py", "1")
    assert commit_of("external") == first
    here("broken/.git/HEAD", "?")
    assert commit_of("broken").startswith("git ")  # the job that runs the program reports the error


@pytest.mark.parametrize("name", ["theirs/0-20/a.png", "g.pth", "external/fill.py", "reference/scores.csv", "test.txt"])
def test_verify_sees_inputs_that_changed_since(here, name):
    for file in (
        "theirs/0-20/a.png",
        "g.pth",
        "external/fill.py",
        "reference/scores.csv",
        "test.txt",
        "results/made.csv",
    ):
        here(file)
    repository("external")
    job = SimpleNamespace(
        rule="predict",
        log=["results/logs/made.log"],
        config={"results": "results"},
        threads=1,
        input=["theirs", "g.pth", "reference/scores.csv", "test.txt"],
        output=["results/made.csv"],
        params={"content": digests(["theirs"], ["external"])},
    )
    provenance.record(job, 0, {"precision": "fp32"})
    assert (
        json.loads(here("other").with_name("results").joinpath("provenance/made.json").read_text())["precision"]
        == "fp32"
    )
    assert list(provenance.changed("results", ["external"])) == []
    here(name, "2")
    ((made, said),) = provenance.changed("results", ["external"])
    assert made == "results/made.csv" and said.startswith(name.partition("/")[0]) and "has changed since rule" in said


RECORD = {
    "rule": "predict",
    "config": {"results": "results"},
    "inputs": {},
    "outputs": {},
    "versions": {},
    "device": "a CPU",
}


def test_a_repository_that_comes_with_results_runs_nothing(here):
    """Its settings may name a program that git would start; that of a method file's checkout is not started either."""
    here("results/theirs/fill.py")
    repository("results/theirs")
    with open("results/theirs/.git/config", "a") as config:
        for section, key in (("core", "fsmonitor"), ("diff", "external")):
            config.write(f'[{section}]\n\t{key} = "touch {Path.cwd()}/ran; false"\n')
    here("results/made.csv")
    facts = RECORD | {
        "inputs": {"results/theirs": "git 123"},
        "outputs": {"results/made.csv": content("results/made.csv")},
    }
    here("results/provenance/made.json", json.dumps(facts))
    ((made, said),) = provenance.changed("results")
    assert made == "results/made.csv" and "which no method file here names as a checkout" in said
    here("results/theirs/fill.py", "2")
    ((_, said),) = provenance.changed("results", ["results/theirs"])
    assert said.startswith("results/theirs has changed since rule") and ", changed " in commit_of("results/theirs")
    assert not Path("ran").exists()


def test_a_device_is_never_read(here):
    here("results/made.csv")
    facts = RECORD | {"inputs": {"/dev/zero": "1"}, "outputs": {"results/made.csv": content("results/made.csv")}}
    here("results/provenance/made.json", json.dumps(facts))
    assert list(provenance.changed("results")) == []
    assert named_inputs({"command": ["mine", "--noise", "/dev/zero", "--log=/dev/null"]}) == []


@pytest.mark.parametrize(
    "change",
    [
        {"config": []},
        {"config": {"results": 5}},
        {"inputs": [["a", "b"]]},
        {"outputs": {"a": 5}},
        {"versions": {"torch": 2}},
        {"device": None},
        {"precision": 5},
        {"tf32": ["convolutions"]},
    ],
    ids=str,
)
def test_a_file_that_is_not_a_record_is_refused(here, change):
    here("results/provenance/made.json", json.dumps(RECORD | change))
    with pytest.raises(InputError, match=r"made\.json: not the record of a job"):
        list(provenance.changed("results"))


def test_a_record_that_is_nested_too_deeply_is_refused(here):
    here("results/provenance/made.json", "[" * 100_000)
    with pytest.raises(InputError, match=r"made\.json: not the record of a job"):
        list(provenance.changed("results"))


def test_the_path_of_a_record_follows_from_its_log():
    """This also holds for a method or a data set called `logs`."""
    found = provenance.record_of("a/logs/results/logs/faces/logs/seed0/train.log", "a/logs/results")
    assert str(found) == "a/logs/results/provenance/faces/logs/seed0/train.json"
