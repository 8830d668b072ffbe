"""Read the authors' generators, ``EdgeModel_gen.pth`` and ``InpaintingModel_gen.pth``."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from baselines.checkpoints import fold_spectral_norm, load_network, read_checkpoint, state_of
from baselines.edgeconnect.model import Generator


def load_authors_checkpoint(network: Generator, path: str | Path) -> None:
    """Copy a published file into its generator, all of it or nothing; spectral norm is folded.

    Args:
        network: ``EdgeGenerator()`` or ``InpaintGenerator()``, of the published size.
        path: the file, ``{"generator": weights, "iteration": number}``; nothing that is stored in it is run.

    Raises:
        InputError: not such a checkpoint, or names or shapes that are missing, left over or wrong; it lists them.
    """
    state = state_of(read_checkpoint(path), path, "generator")
    transposed = [name for name, layer in network.named_modules() if isinstance(layer, nn.ConvTranspose2d)]
    load_network(network, fold_spectral_norm(state, transposed), path)
