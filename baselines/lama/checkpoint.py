"""Read the authors' LaMa checkpoint ``best.ckpt``, a Lightning file with pickled objects of other packages."""

from __future__ import annotations

from pathlib import Path

from baselines.checkpoints import load_network, read_checkpoint, state_of
from baselines.lama.model import LaMaGenerator

PREFIX = "generator."
# What Lightning stored in addition to the generator, for training or the authors' evaluation only.
DROPPED_PREFIXES = ("discriminator.", "loss_", "val_evaluator.", "test_evaluator.")


def load_authors_checkpoint(network: LaMaGenerator, path: str | Path) -> None:
    """Copy the generator's weights of a published ``best.ckpt`` into a network with its number of blocks.

    Args:
        network: the generator, with 9 blocks (``lama-fourier``) or 18 (``big-lama``).
        path: the file; nothing that is stored in it is run.

    Raises:
        InputError: not such a checkpoint, or names or shapes that are missing, left over or wrong; it lists them.
    """
    state = state_of(read_checkpoint(path), path, "state_dict")
    kept = {name: value for name, value in state.items() if not name.startswith(DROPPED_PREFIXES)}
    load_network(network, {name.removeprefix(PREFIX): value for name, value in kept.items()}, path)
