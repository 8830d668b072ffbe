"""Is everything there that a config needs: what is wrong or missing, where to get it, and under which terms."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from sair.common.errors import InputError
from sair.data.checks import Check, MissingError, dataset_checks, mask_checks
from sair.data.freeze import finished, refuse_learnt
from sair.weights import resolve
from sair.weights.sources import ALWAYS, check, entry, how_to_get, local, name_of

OK, MISSING, WRONG = "ok", "missing", "wrong"
FINISHED = 2000  # images of a set that are finished and compared here too; of more, the run does it


class Finding(NamedTuple):
    """One thing that a config needs: whether it is there, what it is, and what to say about it."""

    state: str
    what: str
    said: str


def examine(config: dict[str, Any], encoders: dict[str, dict[str, Any]]) -> Iterator[Finding]:
    """Look at every set that the config's tables, figures and report use, and at the pretrained files.

    Args:
        config: a whole config, checked (``sair.pipeline.config.check_config``).
        encoders: specifications of the semantic encoders.
    """
    uses = [*config["tables"].values(), *config["figures"].values(), config["semantics"], config["report"]]
    names = list(dict.fromkeys(use["dataset"] for use in uses))
    trained = any(spec.get("training") for spec in encoders.values())
    yield from _datasets({name: config["datasets"][name] for name in names}, config, trained)
    for name in dict.fromkeys(config["datasets"][name]["masks"] for name in names):
        # The largest test leaves the fewest masks for training.
        count = max(spec["test"] for spec in (config["datasets"][on] for on in names) if spec["masks"] == name)
        checks = mask_checks(config["masks"][name], config["image_size"], config["buckets"], count)
        yield from _looked(f"masks {name}", checks)
    if config["device"] == "cuda":
        yield _try("device", _gpu)
    for name in ALWAYS:
        yield _known(f"weights {name}", name)
    for name, spec in encoders.items():
        if spec["parameters"].get("pretrained"):
            yield _pretrained(f"weights {name}", spec["parameters"])


def _datasets(specs: dict[str, dict[str, Any]], config: dict[str, Any], trained: bool) -> Iterator[Finding]:
    size, frames = config["image_size"], {}
    for name, spec in specs.items():
        found = list(_looked(f"dataset {name}", dataset_checks(spec, size)))
        yield from found
        total = spec["train"] + spec["validation"] + spec["test"]
        if spec["source"] == "folder" and total <= FINISHED and all(finding.state == OK for finding in found):
            yield _try(f"dataset {name}, images", lambda n=name, s=spec: _all_finished(n, s, size, frames))
    semantic = config["semantics"]["dataset"]
    for name in sorted(frames.keys() - {semantic}) if trained and semantic in frames else ():
        yield _try(f"dataset {name}, test", lambda n=name: _not_learnt(frames[n], frames[semantic], semantic))


def _all_finished(name: str, spec: dict[str, Any], size: int, frames: dict[str, pd.DataFrame]) -> str:
    frames[name] = finished(spec, size, threads=os.cpu_count() or 1)
    return f"all {len(frames[name])} can be finished; none is in two splits"


def _not_learnt(images: pd.DataFrame, learnt: pd.DataFrame, semantic: str) -> str:
    refuse_learnt(images, learnt, semantic)
    return f"no test image is a training image of {semantic}, which the semantic encoder learns from"


def _looked(set_name: str, checks: Iterable[Check]) -> Iterator[Finding]:
    """Make the checks of a set; one is left out where what it needs is not right."""
    wrong = set()
    for place, look, needs in checks:
        if wrong.isdisjoint(needs):
            finding = _try(f"{set_name}, {place}" if place else set_name, look)
            if finding.state != OK:
                wrong.add(place)
            yield finding
        else:
            wrong.add(place)


def _try(what: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(OK, what, look())
    except InputError as error:
        return Finding(MISSING if isinstance(error, MissingError) else WRONG, what, str(error))


def _gpu() -> str:
    from sair.common.runtime import device  # torch takes seconds to import

    return f"{device('cuda')}: torch finds a GPU"


def _known(what: str, name: str) -> Finding:
    """Pretrained files that ``sair.weights`` knows."""
    facts = entry(name)
    try:
        found = next(iter(local(facts)), None)
        if found is None:
            return Finding(MISSING, what, f"{facts.use}: {how_to_get(facts)}")
        digest = check(found.path, found.file.sha256)
    except InputError as error:
        return Finding(WRONG, what, str(error))
    return Finding(OK, what, f"{found.file.name} from the {found.source}, sha256 {digest}")


def _pretrained(what: str, parameters: dict[str, Any]) -> Finding:
    """What a semantic encoder's ``pretrained`` says: a file, something known, or a tag of open_clip."""
    given = parameters["pretrained"]
    if Path(given).is_file():
        return _try(what, lambda: f"{resolve(given)}: is there")
    known = name_of(given, parameters.get("architecture"))
    if known is not None:
        return _known(what, known)
    if Path(given).suffix:
        return Finding(MISSING, what, f"{given}: no such file")
    return Finding(OK, what, f"{given}: open_clip takes it from its cache, or fetches it")
