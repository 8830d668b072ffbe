"""Where a pretrained file lies that nothing fetches by itself; without torch, because the workflow asks while it plans.

``sair.weights`` checks and reads what is found here.
"""

from __future__ import annotations

import os
from pathlib import Path

ENVIRONMENT = "SAIR_WEIGHTS"
INCEPTION = "pt_inception-2015-12-05-6726825d.pth"  # pytorch-fid's; its SHA-256 begins with the last eight digits


def find(name: str) -> Path | None:
    """A file in the folder that ``SAIR_WEIGHTS`` names, else in torch hub's cache; None where neither has it."""
    cache = os.environ.get("TORCH_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "torch")
    folders = [os.environ.get(ENVIRONMENT), Path(cache).expanduser() / "hub" / "checkpoints"]
    return next((Path(folder, name) for folder in folders if folder and Path(folder, name).is_file()), None)
