"""Jobs of the workflow: each has its own GPUs, and none outlives the process that started it."""

import os
import socket
import subprocess
import sys
import time

import pytest

from sair.pipeline import driver
from sair.pipeline.gpus import own_gpus

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
    first.kill()  # its GPU is free again, however it ends
    assert third.stdout.readline().strip() == given[first]
    for process in (second, third):
        process.communicate()


def test_gpus_that_a_scheduler_gave_are_left_unchanged(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5")
    own_gpus("auto", 1, 4)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "5"
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    own_gpus("cpu", 1, 4)
    own_gpus("auto", 1, 1)
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


@pytest.mark.slow
def test_a_job_ends_with_its_driver_but_not_with_another_machines():
    program = "from sair.pipeline import driver; import time; driver.watch(); print('up', flush=True); time.sleep(2.5)"
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    pid = dead.stdout.strip()
    for host, status in ((socket.gethostname(), 143), ("elsewhere", 0)):
        environment = os.environ | {driver._VARIABLE: f"{pid}@{host}"}
        assert subprocess.run([sys.executable, "-c", program], env=environment).returncode == status
