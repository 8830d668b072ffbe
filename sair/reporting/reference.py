"""Find the files of a stored reference. There are no heavy imports, because Snakemake imports this when it plans."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sair.common.errors import InputError, near

FACTS = "reference.yaml"


def score_files(folder: str | Path, method: str = "*") -> list[Path]:
    """Return the score files of a reference: of one method, or of all."""
    return sorted(Path(folder).glob(f"{method}/seed*/scores.csv"))


def stored(folder: str | Path) -> list[str]:
    """Return the methods that a reference contains."""
    return sorted({path.parent.parent.name for path in score_files(folder)})


def facts_file(folder: str | Path) -> Path:
    """Return the file with the facts about the run that a reference was made from.

    Raises:
        InputError: there is no such file, and so no reference.
    """
    path = Path(folder, FACTS)
    if not path.is_file():
        raise InputError(f"{path}: no such file. Store a reference first: sair reference")
    return path


def counterpart(candidates: Sequence[str], folder: str | Path) -> str:
    """Return the first of some methods that a reference contains.

    Raises:
        InputError: it contains none of them.
    """
    known = stored(folder)
    for name in candidates:
        if name in known:
            return name
    raise InputError(
        f"{folder} has no scores of {' nor of '.join(candidates)}. Name a method that it has: --config against=METHOD. "
        f"{near(candidates[0], known)}"
    )
