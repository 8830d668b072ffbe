"""Read the cards of methods: their sources, licences, weights, and the numbers that their authors publish.

A card is ``baselines/<name>/card.yaml``, or ``baselines/cards/<name>.yaml`` for a method that has no code here. It is
read as data; nothing is imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from sair.common.errors import InputError, near

CARDS = Path(__file__).resolve().parents[2] / "baselines"


@cache
def card_files() -> dict[str, Path]:
    """Return the file of every card by its name."""
    found = {path.parent.name: path for path in sorted(CARDS.glob("*/card.yaml"))}
    return found | {path.stem: path for path in sorted(CARDS.glob("cards/*.yaml"))}


@cache
def read_card(name: str) -> Mapping[str, Any]:
    """Return a card.

    Raises:
        InputError: there is no such card; the message lists similar names.
    """
    if name not in card_files():
        raise InputError(f"there is no card {name!r} in {CARDS}. {near(name, card_files())}")
    return yaml.safe_load(card_files()[name].read_text(encoding="utf-8"))
