"""Run one of several processes that share a training: ``python -m sair.pipeline.worker TASK CONDITIONS ERROR``.

``sair.pipeline.train`` starts it. It is a separate module, because watching the driver changes no number and so must
not count as code of the training.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from sair.common.errors import InputError
from sair.common.files import write_text
from sair.pipeline import driver
from sair.pipeline.memory import out_of_memory
from sair.pipeline.train import train_here


def work(task: str, conditions: str, message: str) -> None:
    """Train with the arguments in a JSON file; the first process writes the conditions that it trained under.

    Args:
        task: JSON file with ``threads`` and ``arguments``, the arguments of ``train_here``.
        conditions: JSON file to write: device, precision and so on (``sair.common.runtime.conditions``).
        message: text file to write if this process fails by a mistake of the user, or runs out of memory.

    Raises:
        SystemExit: it has failed so, or was asked to stop.
    """
    driver.watch()
    given = json.loads(Path(task).read_text(encoding="utf-8"))
    try:
        train_here(**given)
    except Exception as error:
        spec = given["arguments"]["spec"]
        shown = error if isinstance(error, InputError) else out_of_memory(error, spec["name"], spec["training"])
        if shown is None:
            raise
        write_text(message, str(shown))  # the process that started this one raises it
        raise SystemExit(1) from None
    from sair.common import runtime

    if runtime.writes():
        Path(conditions).write_text(json.dumps(runtime.conditions()), encoding="utf-8")


if __name__ == "__main__":
    work(*sys.argv[1:])
