"""Wrap every script of the workflow: watch its driver, log, set up the process and record the result."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from sair.common.errors import InputError
from sair.pipeline import driver, locks
from sair.provenance.records import record, record_of


class _Tee:
    """A stream that also writes to a log file."""

    def __init__(self, stream: TextIO, log: TextIO) -> None:
        self._stream, self._log = stream, log

    def write(self, text: str) -> int:
        self._log.write(text.replace("\r", "\n"))
        self._log.flush()
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def job(snakemake: Any, gpus: int = 1) -> Iterator[None]:
    """Run the body as a job of the workflow.

    The job ends when its driver ends, and its stderr is also written to its log. It holds a lock beside its log, so
    that no job of another run makes the same files at the same time. It waits for room on a GPU and sets up torch. If
    it raises an ``InputError`` or memory runs out, one message is printed. After success a record is written
    (``sair.provenance.records``). Scripts import what they run inside this context, so that it is active before slow
    imports.

    Args:
        snakemake: Snakemake's object of the job.
        gpus: number of GPUs that the job uses if its ``device`` is not ``cpu``.

    Raises:
        SystemExit: the body raised an ``InputError``, or memory ran out; the message was printed.
    """
    # First, because the imports below take seconds, during which the workflow may be killed.
    driver.watch()
    started, log = time.monotonic(), Path(snakemake.log[0])
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "a", encoding="utf-8") as stream:
        terminal, sys.stderr = sys.stderr, _Tee(sys.stderr, stream)
        try:
            from sair.common.runtime import conditions, set_up
            from sair.pipeline.gpus import own_gpus

            with locks.claimed(log.with_suffix(".lock"), locks.WAIT):
                stream.truncate(0)  # not before: until then the log may belong to a job of another run
                record_of(log, snakemake.config["results"]).unlink(missing_ok=True)
                mib, asked = snakemake.resources.get("gpu_mib", 0) // max(1, gpus), time.monotonic()  # MiB of one GPU
                own_gpus(snakemake.params.get("device", "cpu"), mib, gpus, snakemake.config["gpu_jobs"])
                started += time.monotonic() - asked  # the record's wall time is without waiting for a GPU
                set_up(snakemake.threads)
                yield
                record(snakemake, started, conditions())
        except SystemExit as stopped:
            if isinstance(stopped.code, str):  # a training was asked to stop; Python would print this after the log
                print(stopped.code, file=sys.stderr)
                raise SystemExit(1) from None
            raise
        except Exception as error:
            shown = error if isinstance(error, InputError) else _out_of_memory(error, snakemake)
            if shown is None:
                raise
            print(f"\nerror: {shown}\n", file=sys.stderr)
            raise SystemExit(1) from None
        finally:
            sys.stderr = terminal


def _out_of_memory(error: Exception, snakemake: Any) -> InputError | None:
    """Return the message of a job that ran out of memory; None if something else happened."""
    from sair.pipeline.memory import out_of_memory

    names = [snakemake.wildcards.get(key) for key in ("method", "encoder", "table", "dataset")]
    what = " ".join([snakemake.rule, *filter(None, names)])
    is_training = snakemake.rule in ("train", "train_encoder")
    training = snakemake.params.spec["training"] if is_training else None
    return out_of_memory(error, f"{what}, preset {snakemake.config['preset']}", training)
