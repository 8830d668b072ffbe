"""Test that a lock has one holder, which its file names, also where a file system keeps locks to one machine."""

import errno
import fcntl
import json
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from itertools import pairwise

import pytest

from sair.common.errors import InputError
from sair.pipeline import driver, locks, slurm

HOLD = "import sys; from pathlib import Path; from sair.pipeline.locks import claim; s = claim(Path(sys.argv[1]))"


@pytest.fixture
def other(tmp_path):
    """Start a process that holds a lock; return the lock file and the process."""
    path = tmp_path / "job.lock"
    process = subprocess.Popen(
        [sys.executable, "-c", f"{HOLD}; print(flush=True); sys.stdin.read()", str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"SLURM_JOB_ID": "35"},
    )
    process.stdout.readline()
    yield path, process
    process.kill()
    process.wait()


def record(path, **changes):
    """Write the record of a process that has left a lock file."""
    facts = {"host": "node7", "process": 12, "slurm_job": "", "since": "2026-01-01"} | changes
    path.write_text(json.dumps(facts))
    return path


def test_a_second_holder_is_refused_and_told_who_the_first_is(other, capsys):
    path, process = other
    expected = rf"process {process.pid} on \S+, Slurm job 35.*scancel 35"
    with pytest.raises(InputError, match=expected), locks.claimed(path, wait=0):
        pass
    assert "waiting for another process that makes the same files" in capsys.readouterr().err
    process.kill()
    process.wait()
    with locks.claimed(path, wait=0):
        assert json.loads(path.read_text())["process"] == os.getpid()
    assert not path.exists()


def test_a_job_waits_for_one_that_ends(other):
    path, process = other
    threading.Timer(0.3, process.kill).start()
    with locks.claimed(path, wait=30):
        assert process.poll() is not None or process.wait(5) is not None


@pytest.mark.parametrize(
    ("changes", "states", "lives"),
    [
        ({"slurm_job": "35"}, ["RUNNING"], True),
        ({"slurm_job": "35"}, ["COMPLETING"], True),
        ({"slurm_job": "35"}, ["TIMEOUT"], False),
        ({"slurm_job": "35"}, [], False),
        ({"slurm_job": ""}, ["RUNNING"], False),  # no job of Slurm: the lock itself decides
    ],
)
def test_a_job_of_another_machine_holds_where_locks_are_kept_to_one(tmp_path, monkeypatch, changes, states, lives):
    monkeypatch.setattr(slurm, "_lines", lambda *command: states if command[0] == "squeue" else [])
    path = record(tmp_path / "job.lock", **changes)
    if lives:
        with pytest.raises(locks.Held, match="process 12 on node7, Slurm job 35"):
            locks.claim(path)
        assert json.loads(path.read_text())["host"] == "node7"
    else:
        locks.claim(path).close()
        assert json.loads(path.read_text())["process"] == os.getpid()


DAMAGED = ["", "text", "\0", "[1]", "[" * 10**5, "null", '{"host": "node7"}', '{"host": 1, "process": "x"}']
NUMBERS = ["Infinity", "-Infinity", "NaN", "1e400", "1" * 400, str(2**31), "0", "-1", "1.0", "true", "null", '"12"']
DAMAGED += [
    f'{{"host": "node7", "process": {it}, "slurm_job": "", "since": ""}}' for it in (*NUMBERS, "[12]", '{"a": 1}')
]
TEXTS = [
    ("slurm_job", "35; x"),
    ("slurm_job", "-x"),
    ("slurm_job", 35),
    ("host", None),
    ("host", "\x1b"),
    ("since", {}),
]
DAMAGED += [json.dumps({"host": "node7", "process": 1, "slurm_job": "", "since": ""} | {k: v}) for k, v in TEXTS]


@pytest.mark.parametrize("locking", [True, False])
@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_lock_file_holds_nothing(tmp_path, monkeypatch, content, locking):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "no locks")

    if not locking:
        monkeypatch.setattr(fcntl, "flock", refuse)
    for host in (None, "node7"):
        if host:
            monkeypatch.setattr("socket.gethostname", lambda: "node7")
        path = tmp_path / "job.lock"
        path.write_bytes(content.encode())
        locks.claim(path).close()
        assert json.loads(path.read_text())["process"] == os.getpid()


def test_the_holder_of_a_damaged_lock_file_can_be_found(other):
    path, _ = other
    path.write_text(DAMAGED[-1])
    expected = rf"{path} does not name it; `fuser {path}` does.*delete {path}"
    with pytest.raises(InputError, match=expected), locks.claimed(path, wait=0):
        pass
    path.rename(path.with_name(".lock"))
    with pytest.raises(InputError, match=r"another run is writing here \(.*fuser"):
        driver.lock(path.parent)


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def test_without_locks_of_the_file_system_the_record_decides(tmp_path, monkeypatch, number):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    path = record(tmp_path / "job.lock")
    expected = rf"on node7.*If it has ended already, delete .*{path.name}"
    with pytest.raises(InputError, match=expected), locks.claimed(path, wait=0):
        pass
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    monkeypatch.setattr("socket.gethostname", lambda: "node7")
    for process, is_held in ((os.getppid(), True), (int(ended.stdout), False)):
        record(path, process=process)
        if is_held:
            with pytest.raises(locks.Held):
                locks.claim(path)
        else:
            locks.claim(path).close()


def _count(path, seconds, ends):
    """Hold the lock again and again, and report each time when it was held."""
    deadline = time.monotonic() + seconds
    spans = []
    while time.monotonic() < deadline:
        try:
            stream = locks.claim(path)
        except locks.Held:
            continue
        begun = time.monotonic()
        time.sleep(0.001)
        spans.append((begun, time.monotonic()))
        path.unlink()
        stream.close()
    ends.put(spans)


def test_a_lock_file_that_is_removed_has_one_holder_at_a_time(tmp_path):
    context = multiprocessing.get_context("fork")
    ends = context.Queue()
    processes = [context.Process(target=_count, args=(tmp_path / "job.lock", 0.4, ends)) for _ in range(3)]
    for process in processes:
        process.start()
    spans = sorted(span for _ in processes for span in ends.get())
    assert len(spans) > 10
    assert all(end <= begin for (_, end), (begin, _) in pairwise(spans))


def test_a_results_folder_names_the_run_that_has_it(tmp_path):
    code = HOLD.replace("claim; s = claim(Path(sys.argv[1]))", "hold; from sair.pipeline.driver import lock")
    process = subprocess.Popen(
        [sys.executable, "-c", f"{code}; lock(sys.argv[1]); print(flush=True); sys.stdin.read()", str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    process.stdout.readline()
    with pytest.raises(InputError, match=rf"another run is writing here \(process {process.pid} on "):
        driver.lock(tmp_path)
    process.communicate()
