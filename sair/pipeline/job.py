"""The frame around every script of the workflow."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from sair.common.errors import InputError
from sair.pipeline import driver
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
    """The frame of a workflow's job: watched, set up, stderr mirrored into its log, a message on a user's mistake.

    What it made is recorded when it is done (``sair.provenance.records``). Scripts import what they run inside it, so
    that the frame stands before anything slow happens.

    Args:
        snakemake: Snakemake's own object of the job.
        gpus: how many it wants where its ``device`` is one.
    """
    # First of all: the imports below take seconds, in which the workflow may be killed.
    driver.watch()
    started, log = time.monotonic(), Path(snakemake.log[0])
    log.parent.mkdir(parents=True, exist_ok=True)
    record_of(log, snakemake.config["results"]).unlink(missing_ok=True)
    with open(log, "w", encoding="utf-8") as stream:
        terminal, sys.stderr = sys.stderr, _Tee(sys.stderr, stream)
        try:
            from sair.common.runtime import conditions, set_up
            from sair.pipeline.gpus import own_gpus

            own_gpus(snakemake.params.get("device", "cpu"), gpus)
            set_up(snakemake.threads)
            yield
            record(snakemake, started, conditions())
        except InputError as error:
            print(f"\nerror: {error}\n", file=sys.stderr)
            raise SystemExit(1) from None
        finally:
            sys.stderr = terminal
