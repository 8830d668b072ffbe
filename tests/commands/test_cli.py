"""Test that wrong arguments give one line of error and an exit status, never a traceback."""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from helpers.quick import quick

from sair.commands import cli
from sair.common.images import write_png

ROOT = Path.cwd()
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
CONFIGS = ("doctor", "verify", "report", "reference", "weights fetch")
BAD = ("missing", "folder", "empty", "binary", "text")


@pytest.fixture
def files(tmp_path):
    """Write files to misuse, two good images with a mask, and a config whose results do not exist."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00\x80PK\x03\x04" * 50)
    (tmp_path / "text").write_text("neither a table nor a mapping\n")
    rng = np.random.default_rng(0)
    mask = np.zeros((40, 40), np.uint8)
    mask[10:20, 10:20] = 255
    for folder in ("a", "b"):
        write_png(tmp_path / folder / "x.png", rng.integers(0, 256, (40, 40, 3), dtype=np.uint8))
    write_png(tmp_path / "masks/x.png", mask)
    own = {"results": str(tmp_path / "results"), "regression": {"reference": str(tmp_path / "reference")}}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(own))
    return tmp_path


def arguments(line, files):
    """Split a line into words; @name is a file of ``files``."""
    return [word.replace("@", f"{files}/") for word in line.split(" ")] if line else []


def run(words, capsys):
    """Run the command in this process; return its status and what it printed on stderr."""
    try:
        status = cli.main(words)
    except SystemExit as stop:  # argparse refuses an argument
        status = stop.code
    return status, capsys.readouterr().err


def is_one_error(status, text):
    errors = [line for line in text.splitlines() if line.startswith("error: ") or ": error: " in line]
    return status in (1, 2) and len(errors) == 1 and "Traceback" not in text


FILL = "inpaint @a/x.png @masks/x.png --method mean_fill"
HOSTILE = [
    *(f"{command} --configfile @{bad}" for command in CONFIGS for bad in BAD),
    *(f"compare @{bad} @{other}" for bad in BAD for other in ("missing", "binary")),
    *(f"compare @{bad} @{bad}" for bad in BAD),
    *(f"score @{bad} @b -o @o.csv" for bad in BAD),
    *(f"score @a @{bad} -o @o.csv" for bad in BAD),
    *(f"score @a @b --masks @{bad} -o @o.csv" for bad in BAD),
    *(f"inpaint @{bad} @masks/x.png --method mean_fill -o @o.png" for bad in BAD),
    *(f"inpaint @a/x.png @{bad} --method mean_fill -o @o.png" for bad in BAD),
    *(f"inpaint @a/x.png @masks/x.png --checkpoint @{bad} -o @o.png" for bad in BAD),
    *(f"inpaint @a/x.png @masks/x.png --results @{bad} -o @o.png" for bad in BAD),
    *(f"convert rfrnet @{bad} -o @o.safetensors" for bad in BAD),
    *(f"convert edgeconnect edge=@{bad} inpaint=@{bad} -o @o.safetensors" for bad in BAD),
    *(f"weights fetch inception --to @{bad} --archive @{other}" for bad in ("empty", "binary") for other in BAD),
    *(f"verify @{bad} --configfile @own.yaml" for bad in BAD),
    *(f"weights verify @{bad}" for bad in ("missing", "empty", "binary")),
    "score @a @b -o @folder", "score @a @b -o @text/x.csv", "score @a @b", "score @a",
    "score @a @b --hole grey -o @o.csv", "score @a @b -o .", "score @a @b -o @a/x.png", "score @a @b -o @a/y.PNG",
    *(f"score {line} -o @o.csv" for line in (" @b", "@a ", "@a @b --masks ", "@a @b --mask-name ")),
    f"{FILL} -o @a/x.png", f"{FILL} -o @masks/x.png", f"{FILL} -o @o.png --checkpoint ", f"{FILL} -o @o.png --dataset ",
    "verify ", "weights verify ", "weights fetch --to ", "score @a/x.png @b/x.png -o @o.csv",
    f"{FILL} -o @folder", f"{FILL} -o @text/x.png",
    "inpaint @a/x.png @masks/x.png --method no_such -o @o.png", "inpaint @a/x.png @masks/x.png --method ../x -o @o.png",
    "inpaint @a/x.png @masks/x.png --dataset no_such -o @o.png --configfile @own.yaml",
    f"{FILL} --preset no_such -o @o.png",
    *(f"{FILL} --scale {number} -o @o.png" for number in ("nan", "inf", "-inf", "0", "-1", "1e9", "x", "")),
    *(f"{FILL} --size {number} -o @o.png" for number in ("nan", "0", "-4", "1.5", "x")),
    *(f"inpaint @a/x.png @masks/x.png --seed {number} -o @o.png --configfile @own.yaml" for number in
      ("nan", "1.5", "-1", "9")),
    *(f"compare @a/x.png @b/x.png --least psnr={number}" for number in ("nan", "inf", "-1", "x", "")),
    "compare @a/x.png @b/x.png --least", "compare @a/x.png @b/x.png --least no_such=1", "compare @a/x.png",
    "convert no_such @binary -o @o.safetensors", "convert rfrnet -o @o.safetensors",
    "convert rfrnet @binary --preset no_such -o @o.safetensors", "convert mean_fill @binary -o @o.safetensors",
    "weights fetch no_such", "weights fetch inception alexnet --archive @binary", "weights fetch --to", "weights",
    "weights no_such", "report --configfile @own.yaml", "reference --configfile @own.yaml",
    "verify --configfile @own.yaml",     "doctor --configfile", "doctor extra", "methods extra", "weights list extra",
    "new-method", "no_such", "", "--no-such", "evaluate --images @a", "evaluate --images @none --masks @a -o @out",
    "evaluate --images @a --masks @none -o @out", "evaluate --images @a --masks @a -o @out --size 0",
    "evaluate --images @a --masks @a -o @out --methods no_such --size 8", "evaluate --images @a --masks @a -o @binary",
    "evaluate --images @a --masks @a -o @out --cores 0", "evaluate --images @a --masks @binary -o @out --size 16",
    "budgets", "budgets @none @a -o @out", "budgets @a @b -o @out", "budgets @a -o @out --metric no_such",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("line", HOSTILE)
def test_wrong_arguments_are_one_line_of_error(line, files, capsys, nowhere):
    status, text = run(arguments(line, files), capsys)
    assert is_one_error(status, text), (status, text)


NAMES = ["../x", "class", "A-B", "1x", "mean_fill", "", "a b", "x/y", "true", "networks"]


@pytest.mark.parametrize("name", NAMES)
def test_wrong_names_of_a_new_method_are_one_line_of_error(name, files, capsys, monkeypatch):
    """Run in a copy of the project, because a name that is accepted by mistake would be written there."""
    for folder in ("config", "baselines", "tests"):
        shutil.copytree(ROOT / folder, files / "project" / folder, ignore=shutil.ignore_patterns("*.pyc", "test_*"))
    monkeypatch.chdir(files / "project")
    status, text = run(["new-method", name], capsys)
    assert is_one_error(status, text), (status, text)


def test_every_command_is_tried():
    def commands(parser, above=()):
        inner = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
        for name, below in inner[0].choices.items() if inner else ():
            yield from commands(below, (*above, name))
        if not inner:
            yield " ".join(above)

    missing = [name for name in commands(cli._parser()) if not any(line.startswith(name) for line in HOSTILE)]
    assert missing == []


OUTSIDE = [
    *CONFIGS, "methods", "inpaint @a/x.png @masks/x.png -o @o.png", f"{FILL} -o @o.png",
    "convert rfrnet @binary -o @o.safetensors", "new-method mine",
]  # fmt: skip


@pytest.mark.parametrize("line", OUTSIDE)
def test_outside_a_project_the_folder_is_named(line, files, capsys, monkeypatch):
    monkeypatch.chdir(files / "folder")
    status, text = run(arguments(line, files), capsys)
    assert is_one_error(status, text) and str(files / "folder") in text, text
    assert list((files / "folder").iterdir()) == []


@pytest.mark.parametrize("line", ["score @a @b --masks @masks -o @o.csv", "compare @o.csv @o.csv", "weights list"])
def test_commands_that_need_no_project_work_outside_one(line, files, capsys, monkeypatch):
    monkeypatch.chdir(files / "folder")
    if "compare" in line:
        assert run(arguments("score @a @b -o @o.csv", files), capsys)[0] == 0
    assert run(arguments(line, files), capsys)[0] == 0


@pytest.mark.parametrize("module", quick(["sair", "sair.commands.cli"], "sair"))
def test_it_runs_as_a_module(module, files):
    def call(*words):
        line = [sys.executable, "-m", module, *words]
        return subprocess.run(line, capture_output=True, text=True, env=ENVIRONMENT, cwd=files)

    assert call("--version").stdout.startswith("sair ")
    refused = call("doctor")
    assert refused.returncode == 1 and is_one_error(1, refused.stderr)


@pytest.mark.slow
def test_a_reader_that_goes_away_causes_no_traceback():
    line = [sys.executable, "-m", "sair", "methods"]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT)
    process.stdout.close()
    assert process.wait() == 141
    assert process.stderr.read() == b""


@pytest.mark.slow
def test_ctrl_c_causes_no_traceback(files):
    fifo = files / "never.yaml"
    os.mkfifo(fifo)  # reading it waits for a writer, so the command waits here
    line = [sys.executable, "-m", "sair", "doctor", "--configfile", str(fifo)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    # A shell's background jobs, and so tests that are started as one, ignore the signal, and their children would, too.
    process = subprocess.Popen(
        line, **pipes, env=ENVIRONMENT, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
    )
    writer = os.open(fifo, os.O_WRONLY)  # returns once it reads
    process.send_signal(signal.SIGINT)
    assert process.wait() == 130
    assert b"Traceback" not in process.stderr.read()
    os.close(writer)


@pytest.mark.parametrize("line", ["score", "compare", "doctor", "weights fetch"])
def test_the_help_of_a_command_describes_it(line, capsys):
    with pytest.raises(SystemExit):
        cli.main([*line.split(), "--help"])
    description = capsys.readouterr().out.split("\n\n")[1]
    assert description[0].isupper() and description.rstrip().endswith(".")


@pytest.mark.parametrize(
    ("words", "name"),
    [("--method mean_fill", "--method"), ("--dataset faces", "--dataset"), ("--seed 0", "--seed"),
     ("--results r", "--results"), ("--preset mini", "--preset"), ("--configfile c.yaml", "--configfile")],
)  # fmt: skip
def test_options_that_a_checkpoint_makes_meaningless_are_refused(words, name, files, capsys):
    line = f"inpaint @a/x.png @masks/x.png -o @o.png --checkpoint @text {words}"
    status, text = run(arguments(line, files), capsys)
    assert status == 1 and f"error: {name}: has no effect with --checkpoint" in text


@pytest.mark.parametrize(
    "words",
    [
        "inpaint a.png m.png -o a.png -o b.png",
        "inpaint a.png m.png -o a.png --output=a.png",
        "score t p -o a.csv --masks m --masks n",
        "evaluate --images a --images b --masks m -o r",
        "weights fetch --to a --to b",
        "methods --show sair --show liif",
    ],
)
def test_an_option_that_takes_one_value_is_refused_twice(words, capsys):
    with pytest.raises(SystemExit):
        cli.main(words.split())
    assert re.search(r"argument \S+: is given twice\. Give it once", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("words", "name", "values"),
    [
        ("score t p -o a.csv --metrics dists,changed --metrics dists", "metrics", ["dists", "changed", "dists"]),
        ("score t p -o a.csv", "metrics", []),
        ("evaluate --images a --masks box --masks half -o r --methods lama --methods mat", "masks", ["box", "half"]),
        ("evaluate --images a --masks m -o r --methods lama --methods mat", "methods", ["lama", "mat"]),
        ("compare a b --least psnr=0.1 --least ssim=0.01", "least", ["psnr=0.1", "ssim=0.01"]),
        ("doctor --configfile a --configfile b", "configfile", ["a", "b"]),
    ],
)
def test_an_option_that_takes_several_values_collects_them(words, name, values):
    for _ in range(2):  # the second time there is nothing left of the first
        assert getattr(cli._parser().parse_args(words.split()), name) == values
