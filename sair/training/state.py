"""Name the file in which a training saves its running state, so that it can continue after it was stopped."""

from __future__ import annotations

from pathlib import Path


def running_state(checkpoint: str | Path) -> Path:
    """Return the file of the running state of the training that writes a checkpoint: it is in the same folder."""
    return Path(checkpoint).with_name("running.safetensors")
