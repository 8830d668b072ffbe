"""Test that the benchmarks of revisions run without a GPU, at small sizes and against the same revision."""

import importlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

SMALL = ["--against", "HEAD", "--preset", "mini", "--size", "32", "--batch", "2"]


def run(script, output, *arguments):
    command = [sys.executable, f"benchmarks/{script}.py", *SMALL, "--output", str(output), *arguments]
    table = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return table, json.loads(output.read_text())


def test_a_measurement_ends_with_the_benchmark(tmp_path):
    script, own = tmp_path / "script.py", tmp_path / "pid"
    script.write_text(
        f"import os, pathlib, time\npathlib.Path({str(own)!r}).write_text(str(os.getpid()))\ntime.sleep(60)"
    )
    call = f"import pathlib, revisions; revisions.run({str(script)!r}, pathlib.Path({str(tmp_path)!r}), [])"
    benchmark = subprocess.Popen([sys.executable, "-c", call], env=os.environ | {"PYTHONPATH": "benchmarks"})
    for _ in range(600):
        if own.is_file() and own.read_text():
            break
        time.sleep(0.1)
    benchmark.terminate()
    assert benchmark.wait(30) == 143
    with pytest.raises(ProcessLookupError):
        os.kill(int(own.read_text()), 0)


@pytest.mark.slow
def test_steps_are_counted(tmp_path):
    table, found = run("steps", tmp_path / "steps.json", "--repeats", "1", "--cases", "train liif", "render liif")
    assert "train liif" in table and found["cases"].keys() == {"train liif", "render liif"}
    for both in found["cases"].values():
        assert both["now"]["operators"] > 50
    assert found["cases"]["train liif"]["now"]["reads"] == 0
    assert found["cases"]["render liif"]["now"]["reads"] <= 2  # for the whole batch


@pytest.mark.slow
def test_calls_are_timed_on_a_cpu_too(tmp_path):
    table, found = run("gpu", tmp_path / "gpu.json", "--repeats", "1", "--device", "cpu", "--cases", "inpaint liif")
    assert "inpaint liif" in table and found["cases"]["inpaint liif"]["now"]["ms"] > 0


@pytest.mark.slow
def test_memory_is_that_of_the_call():
    command = [sys.executable, "benchmarks/memory.py", "--measure", "--case", "inpaint liif", "--preset", "mini"]
    environment = os.environ | {"PYTHONPATH": os.getcwd()}
    done = subprocess.run(
        [*command, "--large", "1024"], check=True, capture_output=True, text=True, env=environment
    ).stdout
    found = json.loads(done)
    assert 1024**2 * 32 * 4 / 2**30 < found["added"] < found["peak"] < 4  # at least one map of 32 channels


def test_each_case_of_memory_is_measured_in_both_revisions(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend("benchmarks")
    memory, calls = importlib.import_module("memory"), []

    def run(script, tree, arguments):
        calls.append((tree.name, arguments[1]))
        return {"peak": 3.0, "added": 2.0 if tree == memory.ROOT else 2.5, "seconds": 1.0}

    monkeypatch.setattr(memory, "run", run)
    monkeypatch.setattr(memory, "checkout", lambda revision, folder, paths: Path("old"))
    memory.main(["--inpainting", "sair", "--methods", "lama", "--output", str(tmp_path / "new/memory.json")])
    cases = ["inpaint sair", "train lama"]
    assert calls == [(tree, case) for case in cases for tree in ("old", memory.ROOT.name)]
    found = json.loads((tmp_path / "new/memory.json").read_text())
    assert list(found["cases"]) == cases and found["cases"]["train lama"]["before"]["added"] == 2.5
    assert capsys.readouterr().out.count("0.80") == 2
    assert {"sair", "lama", "structureflow", "jpgnet"} <= set(memory.trained("paper"))
    assert "biharmonic" not in memory.trained("paper")
