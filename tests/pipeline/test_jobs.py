"""Test that no job outlives the process that started it, and that running out of memory gives one line."""

import json
import os
import socket
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import torch

from sair.pipeline import driver, worker
from sair.pipeline.job import job


@pytest.mark.slow
def test_a_job_ends_with_its_driver_but_not_with_another_machines():
    program = "from sair.pipeline import driver; import time; driver.watch(); print('up', flush=True); time.sleep(2.5)"
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    pid = dead.stdout.strip()
    for host, status in ((socket.gethostname(), 143), ("elsewhere", 0)):
        environment = os.environ | {driver._VARIABLE: f"{pid}@{host}"}
        assert subprocess.run([sys.executable, "-c", program], env=environment).returncode == status


# --------------------------------------------------------------------------------------------------------------------
# Memory


class Fields(SimpleNamespace):
    """Like the named lists that Snakemake gives to a script."""

    def get(self, name, default=None):
        return getattr(self, name, default)


TRAINING = {"batch": 16, "accumulate": 1, "processes": 1}


def given(tmp_path, rule="train"):
    """Return an object like the one that Snakemake gives to the script of a job."""
    results = f"{tmp_path}/results"
    return SimpleNamespace(
        log=[f"{results}/logs/job.log"],
        config={"results": results, "preset": "paper", "gpu_jobs": 3},
        params=Fields(device="cpu", spec={"training": TRAINING}),
        resources=Fields(gpu_mib=9000),
        wildcards=Fields(dataset="faces", method="sair"),
        threads=1,
        rule=rule,
    )


def test_a_job_reserves_its_rules_memory_on_each_of_its_gpus(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("sair.pipeline.gpus.own_gpus", lambda *request: asked.append(request))
    monkeypatch.setattr("sair.pipeline.job.record", lambda *_: None)
    with job(given(tmp_path), gpus=2):
        pass
    assert asked == [("cpu", 4500, 2, 3)]


def failing(tmp_path, error, rule="train"):
    """Run a job that fails with this error; return its exit status."""
    with pytest.raises(SystemExit) as stopped, job(given(tmp_path, rule)):
        raise error
    return stopped.value.code


GPU_ERROR = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has " + "a lot to say " * 30)
CPU_ERROR = RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 4096 bytes.")


@pytest.mark.parametrize(
    ("error", "device", "remedy"),
    [
        (GPU_ERROR, "the GPU", "set a lower `gpu_jobs`"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), "the GPU", "set a lower `gpu_jobs`"),
        (CPU_ERROR, "this machine (", "lower `--cores`"),
        (MemoryError(), "this machine (", "lower `--cores`"),
    ],
)
def test_out_of_memory_names_in_one_line_what_to_lower(tmp_path, monkeypatch, capsys, error, device, remedy):
    monkeypatch.delattr("torch.cuda.mem_get_info")
    assert failing(tmp_path, error) == 1
    [line] = capsys.readouterr().err.strip().splitlines()
    assert line.startswith(f"error: train sair faces, preset paper: out of memory on {device}") and remedy in line
    assert "Lower the training's `batch` (16) and raise `accumulate` (1) so that their product stays 16." in line
    assert len(line) < 600
    assert (tmp_path / "results/logs/job.log").read_text().strip() == line


def test_out_of_memory_names_the_card_and_how_full_it_is(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda: (2**30, 80 * 2**30))
    monkeypatch.setattr("torch.cuda.memory_reserved", lambda: 60 * 2**30)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda: "NVIDIA H100")
    failing(tmp_path, GPU_ERROR)
    expected = "out of memory on NVIDIA H100 (80.0 GiB, of which 1.0 free and 60.0 taken by this job)."
    assert expected in capsys.readouterr().err


def test_waiting_for_a_gpu_is_not_counted_as_the_time_of_a_job(tmp_path, monkeypatch):
    recorded = []
    monkeypatch.setattr("sair.pipeline.gpus.own_gpus", lambda *_: time.sleep(0.3))
    monkeypatch.setattr("sair.pipeline.job.record", lambda _, started, __: recorded.append(started))
    before = time.monotonic()
    with job(given(tmp_path)):
        pass
    assert recorded[0] - before >= 0.3


def test_out_of_memory_of_a_prediction_does_not_name_settings_of_training(tmp_path, capsys):
    assert failing(tmp_path, GPU_ERROR, rule="predict") == 1
    line = capsys.readouterr().err
    assert "predict sair faces, preset paper" in line and "`image_size`" in line and "`batch`" not in line


def test_another_error_keeps_its_traceback(tmp_path):
    with pytest.raises(RuntimeError, match="a mistake"):
        failing(tmp_path, RuntimeError("a mistake"))


def test_a_worker_reports_that_it_ran_out_of_memory(tmp_path, monkeypatch, capsys):
    def train_here(**arguments):
        raise GPU_ERROR

    monkeypatch.delattr("torch.cuda.mem_get_info")
    monkeypatch.setattr(worker, "train_here", train_here)
    task = tmp_path / "task.json"
    task.write_text(json.dumps({"arguments": {"spec": {"name": "sair", "training": TRAINING}}}))
    with pytest.raises(SystemExit):
        worker.work(str(task), "", str(tmp_path / "error.txt"))
    written = (tmp_path / "error.txt").read_text()
    assert written.startswith("sair: out of memory on the GPU. Lower the training's `batch`")
    assert capsys.readouterr().err == ""  # the process that reads the file prints it, once


# --------------------------------------------------------------------------------------------------------------------
# Stopped, and two at once


def test_a_training_that_was_asked_to_stop_says_so_in_its_log(tmp_path, capsys):
    assert failing(tmp_path, SystemExit("sair: stopped on request; state saved after step 4.")) == 1
    line = "sair: stopped on request; state saved after step 4."
    assert (tmp_path / "results/logs/job.log").read_text().strip() == capsys.readouterr().err.strip() == line
    assert not list((tmp_path / "results/logs").glob("*.lock"))


def test_a_job_leaves_log_and_record_of_another_that_makes_the_same_files(tmp_path, monkeypatch):
    monkeypatch.setattr("sair.pipeline.locks.WAIT", 0.0)
    monkeypatch.setattr("sair.pipeline.job.record", lambda *_: None)
    with job(given(tmp_path)):
        print("step 1", file=sys.stderr)
        with pytest.raises(SystemExit), job(given(tmp_path)):
            raise AssertionError("both at once")
        log = (tmp_path / "results/logs/job.log").read_text()
        assert log.startswith("step 1\n") and "error: " in log and f"process {os.getpid()}" in log
