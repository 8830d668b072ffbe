"""Read the authors' MISF checkpoint."""

from __future__ import annotations

from pathlib import Path

from baselines.checkpoints import load_network, read_checkpoint, state_of
from baselines.misf.model import MISFGenerator


def load_authors_checkpoint(path: str | Path, generator: MISFGenerator) -> None:
    """Copy a published ``<name>_InpaintingModel_gen.pth`` into a generator of the published size.

    Raises:
        InputError: not such a file, or names or shapes that are missing, left over or wrong; it lists them.
    """
    load_network(generator, state_of(read_checkpoint(path), path, "generator"), path)
