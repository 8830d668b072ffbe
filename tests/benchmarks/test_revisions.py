"""Test that the benchmarks of revisions run without a GPU, at small sizes and against the same revision."""

import json
import subprocess
import sys

import pytest

SMALL = ["--against", "HEAD", "--preset", "mini", "--size", "32", "--batch", "2", "--repeats", "1"]


def run(script, output, *arguments):
    command = [sys.executable, f"benchmarks/{script}.py", *SMALL, "--output", str(output), *arguments]
    table = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return table, json.loads(output.read_text())


@pytest.mark.slow
def test_steps_are_counted(tmp_path):
    table, found = run("steps", tmp_path / "steps.json", "--cases", "train liif", "render liif")
    assert "train liif" in table and found["cases"].keys() == {"train liif", "render liif"}
    for both in found["cases"].values():
        assert both["now"]["operators"] > 50
    assert found["cases"]["train liif"]["now"]["reads"] == 0
    assert found["cases"]["render liif"]["now"]["reads"] <= 2  # for the whole batch


@pytest.mark.slow
def test_calls_are_timed_on_a_cpu_too(tmp_path):
    table, found = run("gpu", tmp_path / "gpu.json", "--device", "cpu", "--cases", "inpaint liif")
    assert "inpaint liif" in table and found["cases"]["inpaint liif"]["now"]["ms"] > 0
