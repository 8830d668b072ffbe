"""Test precision and device of a process, and the conditions that it records."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sair.common import runtime


def test_precision_depends_on_the_device_that_computes(monkeypatch):
    """A GPU beside a CPU without bfloat16 must not make trainings on the CPU use bfloat16."""
    cpu = torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)
    monkeypatch.setattr(runtime, "CPUINFO", Path("/no/such/file"))
    assert runtime.precision("auto", cpu) == "fp32" and runtime.precision("auto", torch.device("cuda")) == "bf16"
    assert runtime.precision("bf16", cpu) == "bf16" and runtime.precision("fp32", torch.device("cuda")) == "fp32"


def test_a_process_records_its_device_and_precision(monkeypatch):
    monkeypatch.setattr(runtime, "_conditions", {})
    assert runtime.conditions() == {"device_type": "cpu", "precision": "fp32"}
    with runtime.autocast("bf16", runtime.device("cpu")):
        pass
    assert runtime.conditions() == {"device_type": "cpu", "precision": "bf16"}
    runtime.adopt({"device": "a GPU of another process"})
    assert runtime.conditions()["device"] == "a GPU of another process"


@pytest.mark.slow
def test_float32_is_not_rounded_to_tf32():
    code = (
        "import torch; from sair.common import runtime; runtime.set_up(1); "
        "print(torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32)"
    )
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert output.split() == ["False", "False"]
