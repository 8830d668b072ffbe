"""Test that a process's peak memory is its own."""

import subprocess
import sys

import numpy as np

from sair.common import memory
from sair.common.memory import peak_memory, peak_memory_of_children

SMALL = "from sair.common.memory import peak_memory; print(peak_memory())"


def test_a_small_process_does_not_count_its_parent():
    held = np.ones(600 * 2**20 // 8)  # resident before the child starts
    child = subprocess.run([sys.executable, "-c", SMALL], check=True, capture_output=True, text=True)
    assert peak_memory() > 600
    assert 1 < float(child.stdout) < 300
    assert peak_memory_of_children() > 1 and held[0] == 1


def test_memory_that_was_freed_still_counts():
    code = "import numpy; from sair.common.memory import peak_memory; numpy.ones(2**25); print(peak_memory())"
    child = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert float(child.stdout) > 256


def test_without_proc_the_systems_own_count_is_used(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "STATUS", tmp_path / "missing")
    assert peak_memory() > 10
