"""Jobs and the machine: a GPU for each of them, and none outlives the workflow that started it."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from sair.common import runtime

PROGRAM = """
import os, sys, time
from sair.pipeline.gpus import own_gpus
own_gpus("auto", 1, 2)
print(os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
sys.stdin.read()
"""


def start(tmp_path):
    environment = {k: v for k, v in os.environ.items() if k != "CUDA_VISIBLE_DEVICES"} | {"TMPDIR": str(tmp_path)}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )


@pytest.mark.slow
def test_three_jobs_share_two_gpus(tmp_path):
    first, second = start(tmp_path), start(tmp_path)
    given = {process: process.stdout.readline().strip() for process in (first, second)}
    assert set(given.values()) == {"0", "1"}
    third = start(tmp_path)
    time.sleep(0.5)
    assert third.poll() is None
    first.kill()  # however it ends, its GPU is free again
    assert third.stdout.readline().strip() == given[first]
    for process in (second, third):
        process.communicate()


def test_what_the_scheduler_gave_stands(monkeypatch):
    from sair.pipeline.gpus import own_gpus

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5")
    own_gpus("auto", 1, 4)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "5"
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    own_gpus("cpu", 1, 4)
    own_gpus("auto", 1, 1)
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


@pytest.mark.slow
def test_a_job_ends_with_its_driver_but_not_with_another_machines():
    from sair.pipeline import driver

    program = "from sair.pipeline import driver; import time; driver.watch(); print('up', flush=True); time.sleep(2.5)"
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    pid = dead.stdout.strip()
    for host, status in ((socket.gethostname(), 143), ("elsewhere", 0)):
        environment = os.environ | {driver._VARIABLE: f"{pid}@{host}"}
        assert subprocess.run([sys.executable, "-c", program], env=environment).returncode == status


def test_precision_asks_the_device_that_computes(monkeypatch):
    """A GPU beside a CPU without bfloat16 does not make the CPU's trainings bfloat16."""
    cpu = torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)
    monkeypatch.setattr(runtime, "CPUINFO", Path("/no/such/file"))
    assert runtime.precision("auto", cpu) == "fp32" and runtime.precision("auto", torch.device("cuda")) == "bf16"
    assert runtime.precision("bf16", cpu) == "bf16" and runtime.precision("fp32", torch.device("cuda")) == "fp32"


def test_a_process_says_under_what_it_computed(monkeypatch):
    monkeypatch.setattr(runtime, "_conditions", {})
    assert runtime.conditions() == {"device_type": "cpu", "precision": "fp32"}
    with runtime.autocast("bf16", runtime.device("cpu")):
        pass
    assert runtime.conditions() == {"device_type": "cpu", "precision": "bf16"}
    runtime.adopt({"device": "a GPU of another process"})
    assert runtime.conditions()["device"] == "a GPU of another process"
