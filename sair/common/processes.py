"""Call a function on many items in worker processes, which end with this process even if it is killed.

Threads do not help where Python itself computes: one thread at a time holds the interpreter. ``multiprocessing`` is not
used, because its workers either are forks, which hang if another thread held a lock, or import the main script once
more, which for a job of Snakemake would start the job again.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain, islice
from multiprocessing.connection import Connection, Pipe, wait
from typing import Any, NamedTuple, TypeVar

from sair.common.errors import InputError
from sair.common.progress import collected_warnings, warn

Item = TypeVar("Item")
Result = TypeVar("Result")

CHUNK = 8  # items that a worker gets at once
ALONE = 0.25  # seconds; about as long as a worker takes to import this package
GRACE = 2.0  # seconds that a worker has to remove its unfinished file, before it ends at once
_START = "import json, sys; sys.path[:] = json.loads(sys.argv[2]); from sair.common.processes import work; work()"


class _Answer(NamedTuple):
    """What a worker sends back: the results of a chunk in order, or the error of the first item that failed."""

    results: list[Any]
    warnings: list[str]
    error: BaseException | None = None
    trace: str = ""


class _Trace(Exception):
    """The traceback of a worker, shown as the cause of its error."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def in_processes(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    processes: int,
    alone: float = ALONE,
    chunk: int = CHUNK,
) -> Generator[Result, None, None]:
    """Yield ``function(item)`` for each item, in order, from several processes.

    At most two chunks of items per process are held at once, so memory does not grow with the items. The processes end
    when the iterator is closed, when an error is raised and when this process dies.

    Args:
        function: a function that pickle finds by its name, or a ``functools.partial`` of one.
        items: what it is called with, one at a time; each is pickled.
        processes: number of processes; with 1 all calls are made in this process.
        alone: seconds in which the calls are made in this process, so that little work starts no workers; then as long
            again while the workers start.
        chunk: number of items that a worker gets at once.

    Raises:
        InputError: a worker was killed; also what the function raises for the first item that fails.
    """
    source = iter(items)
    until = time.monotonic() + alone
    for item in source:
        yield function(item)
        if processes > 1 and time.monotonic() >= until:
            break
    chunks = iter(lambda: list(islice(source, chunk)), [])
    first = list(islice(chunks, processes))
    with _started(function, len(first)) as workers:
        chunks, until = chain(first, chunks), time.monotonic() + alone
        while time.monotonic() < until and (here := next(chunks, None)) is not None:
            yield from map(function, here)
        for answer in _in_order(workers, chunks):
            for message in answer.warnings:
                warn(message)
            yield from answer.results
            if answer.error is not None:
                raise answer.error from _Trace(answer.trace)


def _in_order(workers: Sequence[_Worker], chunks: Iterator[list[Any]]) -> Iterator[_Answer]:
    """Yield the answers in the order of the chunks."""
    idle = list(workers)
    number: dict[_Worker, int] = {}  # the chunk that each busy worker has
    answers: dict[int, _Answer] = {}
    sent = done = 0
    while True:
        while done in answers:
            yield answers.pop(done)
            done += 1
        # Do not let the answers after a slow chunk pile up.
        while idle and sent - done < 2 * len(workers) and (chunk := next(chunks, None)) is not None:
            worker = idle.pop()
            worker.send(chunk)
            number[worker] = sent
            sent += 1
        if not number:
            return
        for ready in wait([worker.connection for worker in number]):
            worker = next(worker for worker in number if worker.connection is ready)
            answers[number.pop(worker)] = worker.answer()
            idle.append(worker)


@contextmanager
def _started(function: Callable[[Any], Any], count: int) -> Iterator[list[_Worker]]:
    """Start workers, and end all of them together."""
    workers: list[_Worker] = []
    try:
        for _ in range(count):
            workers.append(_Worker())
        for worker in workers:
            worker.send(function)
        yield workers
    finally:
        for worker in workers:
            worker.connection.close()  # this ends the worker, see ``_receive``
        for worker in workers:
            worker.end()


class _Worker:
    """A process that answers one chunk after the other."""

    def __init__(self) -> None:
        self.connection, theirs = Pipe()
        # One thread each, because there are as many processes as cores.
        environment = os.environ | dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        command = [sys.executable, "-c", _START, str(theirs.fileno()), json.dumps(sys.path)]
        self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=environment, stdin=subprocess.DEVNULL)
        theirs.close()

    def send(self, value: Any) -> None:
        """Send the function, as the first message, or a chunk."""
        try:
            self.connection.send(value)
        except ConnectionError:
            raise self._ended() from None

    def answer(self) -> _Answer:
        """Wait for the answer to a chunk, and return it."""
        try:
            return self.connection.recv()
        except (EOFError, ConnectionError):
            raise self._ended() from None

    def end(self) -> None:
        """Wait until the process ends, after its connection was closed; kill it if that takes too long."""
        try:
            self._process.wait(GRACE + 1)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _ended(self) -> InputError:
        code = self._process.wait()
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit status {code}"
        return InputError(
            f"one of the worker processes {how}, perhaps for lack of memory. Start again with fewer cores, for "
            "example `--cores 1`."
        )


def work() -> None:
    """Answer chunks until the parent closes the connection or dies. The main function of a worker process."""
    # Ctrl-C reaches the whole process group; only the parent acts on it, by closing the connection.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)
    connection = Connection(int(sys.argv[1]))
    received: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(connection, received), daemon=True).start()
    function = received.get()
    while True:
        answer = _answered(function, received.get())
        with suppress(ConnectionError):  # the parent is gone; the other thread ends this process
            connection.send(answer)


def _leave(*_: object) -> None:
    """End by an exception, so that the file being written is removed."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(128 + signal.SIGTERM)


def _receive(connection: Connection, received: queue.SimpleQueue[Any]) -> None:
    """Pass on what the parent sends. When it closes the connection or dies, end this process."""
    with suppress(EOFError, ConnectionError):
        while True:
            received.put(connection.recv())
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)  # do not wait for library code that does not return
    os._exit(128 + signal.SIGTERM)


def _answered(function: Callable[[Any], Any], chunk: list[Any]) -> _Answer:
    """Call the function on each item of a chunk, up to the first that fails."""
    results = []
    with collected_warnings() as warnings:
        try:
            for item in chunk:
                results.append(function(item))
        except Exception as error:
            return _Answer(results, warnings, error, traceback.format_exc())
    return _Answer(results, warnings)
