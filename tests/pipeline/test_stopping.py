"""Test that a run ends with its jobs when it is terminated, and leaves no unfinished file."""

import os
import shutil
import signal
import subprocess
import sys
import time

import psutil
import pytest
import yaml

# Snakemake's handler alone deadlocks on the second signal: its lock is held while the first one is handled.
STUBBORN = """
import signal, subprocess, sys, threading, time
from sair.pipeline.stopping import end_on_sigterm
lock = threading.Lock()
def scheduler(*_):
    with lock:
        pass
signal.signal(signal.SIGTERM, scheduler)
end_on_sigterm(grace=float(sys.argv[1]))
code = "import signal, time; signal.signal(signal.SIGTERM, %s); print(flush=True); time.sleep(60)" % sys.argv[2]
job = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
job.stdout.readline()
with lock:
    print(job.pid, flush=True)
    job.wait()
print("ended after its job", flush=True)
"""


@pytest.mark.parametrize(("reaction", "grace", "code"), [("signal.SIG_DFL", "50", 0), ("signal.SIG_IGN", "1", 143)])
def test_a_signal_that_arrives_while_the_lock_is_held_ends_job_and_driver(reaction, grace, code):
    """A job that ends on SIGTERM is waited for; one that ignores it is killed after the grace period."""
    command = [sys.executable, "-c", STUBBORN, grace, reaction]
    driver = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    job = psutil.Process(int(driver.stdout.readline()))
    started = time.monotonic()
    for _ in range(20):
        driver.send_signal(signal.SIGTERM)
    output = driver.communicate(timeout=40)[0]
    assert driver.returncode == code and ("ended after its job" in output) == (code == 0)
    assert time.monotonic() - started < 30
    assert not psutil.wait_procs([job], 5)[1]


ON_A_CLUSTER = """
import signal, sys, time
from sair.pipeline.stopping import end_on_sigterm
if sys.argv[1] == "nohup":
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
end_on_sigterm(grace=0.3, cancel=lambda: print("scancel", flush=True))
print("up", flush=True)
time.sleep(20)
"""


@pytest.mark.parametrize(("which", "start"), [(signal.SIGTERM, ""), (signal.SIGHUP, ""), (signal.SIGHUP, "nohup")])
def test_a_driver_of_cluster_jobs_cancels_them_when_it_is_terminated_or_its_user_logs_out(which, start):
    command = [sys.executable, "-c", ON_A_CLUSTER, start]
    driver = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert driver.stdout.readline() == "up\n"
    driver.send_signal(which)
    if start:
        time.sleep(0.2)
        assert driver.poll() is None
        driver.send_signal(signal.SIGTERM)
    output = driver.communicate(timeout=15)[0]
    assert driver.returncode == 143
    assert output.split() == ["scancel", "scancel"]  # again at the end, for a job that was just being submitted


@pytest.mark.slow
@pytest.mark.parametrize(
    ("which", "times", "group"),
    [(signal.SIGTERM, 1, False), (signal.SIGTERM, 200, False), (signal.SIGTERM, 3, True), (signal.SIGINT, 1, True)],
    ids=["terminated", "terminated again and again", "group terminated", "interrupted"],
)
def test_stopped_while_faces_are_drawn(tmp_path, which, times, group):
    shutil.copytree("workflow", tmp_path / "workflow")
    shutil.copytree("config", tmp_path / "config")
    settings = {"results": "results/t", "datasets": {"faces": {"train": 20000, "validation": 1, "test": 2}}}
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(settings))
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", "test.yaml"]
    driver = subprocess.Popen(
        [*command, "--", "results/t/faces/images.csv"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )
    faces = tmp_path / "results/t/faces"
    deadline = time.monotonic() + 120
    while not list(faces.glob("images/train/*999.png")):
        assert driver.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    jobs = psutil.Process(driver.pid).children(recursive=True)
    assert len(jobs) == 3, "the job and its two workers"
    for _ in range(times):
        if driver.poll() is None:
            (os.killpg if group else os.kill)(driver.pid, which)
            time.sleep(0.002)
    assert driver.wait(30) != 0
    assert not psutil.wait_procs(jobs, 10)[1], "a process outlived the run"
    assert not (faces / "images.csv").exists()
    assert not list(tmp_path.rglob("*.tmp.png"))
