"""Is pytorch-fid's Inception on this machine? Without torch, because the workflow asks it whenever it plans.

The places are those of ``sair.weights``, which needs torch, and checks and reads what lies there.
"""

from __future__ import annotations

import os
from pathlib import Path

INCEPTION = "pt_inception-2015-12-05-6726825d.pth"


def has_inception() -> bool:
    """Whether the file is in the folder of weights or in torch hub's cache."""
    folder = os.environ.get("SAIR_WEIGHTS") or "weights"
    cache = os.environ.get("TORCH_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "torch")
    places = folder, Path(cache, "hub", "checkpoints").expanduser()
    return any(Path(place, INCEPTION).is_file() for place in places)
