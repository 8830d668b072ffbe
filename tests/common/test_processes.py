"""Test worker processes: the same results in order, the first error, and no process that outlives its parent."""

import operator
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from functools import partial
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from PIL import Image

from sair.common import processes
from sair.common.errors import InputError
from sair.common.images import read_rgb
from sair.common.processes import CHUNK

in_processes = partial(processes.in_processes, alone=0)  # with workers from the second item on

# A shell starts commands in the background with SIGINT ignored, and they pass that on.
PARENT = """
import signal, sys, time
from sair.common.processes import in_processes
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)
for number, _ in enumerate(in_processes(time.sleep, [0.01] * 32 + [60] * 32, 2, alone=0)):
    if number:  # the first call is made before the workers are started
        Path(sys.argv[1]).touch()
"""


@pytest.mark.parametrize("length", [0, 1, CHUNK, CHUNK + 1, 10 * CHUNK + 3])
def test_results_are_in_order_for_any_number_of_processes(length):
    for number, chunk in ((1, CHUNK), (3, CHUNK), (2, 1)):
        found = in_processes(partial(operator.mul, 2), range(length), number, chunk=chunk)
        assert list(found) == [2 * k for k in range(length)]


def test_the_work_is_done_by_other_processes():
    first, *others = in_processes(operator.methodcaller("__call__"), [os.getpid] * (6 * CHUNK), 2)
    assert first == os.getpid() not in others and 1 <= len(set(others)) <= 2


def test_little_work_starts_no_worker():
    found = set(processes.in_processes(operator.methodcaller("__call__"), [os.getpid] * (6 * CHUNK), 2, alone=60))
    assert found == {os.getpid()}


def test_this_process_goes_on_while_the_workers_start(monkeypatch):
    seconds = SimpleNamespace(monotonic=count().__next__)  # each look at the clock takes a second
    monkeypatch.setattr(processes, "time", seconds)
    call, items = operator.methodcaller("__call__"), [os.getpid] * (10 * CHUNK)
    found = list(processes.in_processes(call, items, 2, alone=3))
    here = 3 + 2 * CHUNK  # items until the workers are started, and chunks until they have
    assert found[:here] == [os.getpid()] * here and os.getpid() not in found[here:]


@pytest.mark.parametrize("number", [1, 3])
def test_the_first_error_in_order_is_raised_after_the_results_before_it(number):
    items = [*range(-20, 40), *["text"] * 40]  # 0 fails first, though another worker meets text earlier or later
    found = []
    with (
        pytest.raises(ZeroDivisionError),
        closing(in_processes(partial(operator.truediv, 1), items, number)) as all_,
    ):
        for value in all_:
            found.append(value)
    assert found == [1 / k for k in range(-20, 0)]


def test_an_error_of_the_user_keeps_its_message(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "0.png")
    files = [tmp_path / f"{k}.png" for k in range(4 * CHUNK)]
    with pytest.raises(InputError, match=r"/1\.png: no such file"):
        list(in_processes(read_rgb, files, 2))


def test_a_warning_of_several_processes_is_printed_once(tmp_path, capfd):
    for k in range(4 * CHUNK):
        Image.fromarray(np.full((4, 4), 100, np.uint16)).save(tmp_path / f"{k}.png")
    assert len(list(in_processes(read_rgb, sorted(tmp_path.iterdir()), 2))) == 4 * CHUNK
    assert capfd.readouterr().err.count("no value above 4095") == 1


def test_a_killed_worker_is_an_error_with_a_remedy():
    with pytest.raises(InputError, match=r"killed by signal 9.*`--cores 1`"):
        list(in_processes(signal.raise_signal, [signal.SIGURG] + [signal.SIGKILL] * (2 * CHUNK), 2))


def test_an_iterator_that_is_closed_ends_its_processes():
    before = set(psutil.Process().children())
    results = in_processes(time.sleep, [0.0] * (1 + CHUNK) + [60.0] * CHUNK, 2)
    next(results), next(results)
    started = time.monotonic()
    assert len(set(psutil.Process().children()) - before) == 2
    results.close()
    assert set(psutil.Process().children()) <= before and time.monotonic() - started < 10


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_worker_outlives_its_parent(tmp_path, how):
    mark = tmp_path / "mark"
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(mark)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not mark.exists():
        assert parent.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    workers = psutil.Process(parent.pid).children(recursive=True)
    assert len(workers) == 2
    parent.send_signal(how)
    assert parent.wait(20) != 0
    _, alive = psutil.wait_procs(workers, 10)
    assert not alive


@pytest.mark.slow
def test_a_worker_that_is_ended_removes_its_unfinished_file(tmp_path):
    """The parent is killed while its workers write large images."""
    code = """
import sys
from functools import partial
import numpy as np
from sair.common.images import write_png
from sair.common.processes import in_processes
pixels = np.random.default_rng(0).integers(0, 256, (1000, 1000, 3), dtype=np.uint8)
names = [f"{sys.argv[1]}/{k}.png" for k in range(1000)]
list(in_processes(partial(write_png, pixels=pixels), names, 2, alone=0))
"""
    parent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
    deadline = time.monotonic() + 60
    while len(list(Path(tmp_path).glob("*.png"))) < 4:
        assert parent.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    workers = psutil.Process(parent.pid).children()
    parent.kill()
    parent.wait()
    assert not psutil.wait_procs(workers, 10)[1]
    assert not list(tmp_path.glob(".*"))
