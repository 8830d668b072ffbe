"""Read the authors' files ``<iteration>_net_s_gen.pth`` and ``<iteration>_net_f_gen.pth``."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from baselines.checkpoints import fold_spectral_norm, load_network, read_checkpoint, state_of


def load_authors_checkpoint(network: nn.Module, path: str | Path) -> None:
    """Load one published file into its plain network, all of it or nothing; nothing stored in it is run.

    Args:
        network: a ``StructureGenerator`` for a ``s_gen`` file, a ``FlowGenerator`` for a ``f_gen`` file, of the
            published size and without spectral norm, which is folded into the weights here.
        path: the file, bare weights by name.

    Raises:
        InputError: no such checkpoint, or names or shapes that are missing, left over or wrong; it lists them.
    """
    load_network(network, fold_spectral_norm(state_of(read_checkpoint(path), path)), path)
