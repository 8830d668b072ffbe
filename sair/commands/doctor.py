"""Check everything that a config needs, and report what is wrong or missing, where to get it, and on which terms."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from sair.commands.missing import missing_parts
from sair.common.errors import InputError
from sair.data.checks import Check, MissingError, dataset_checks, mask_checks
from sair.data.freeze import finished, refuse_trained_on
from sair.reporting.inputs import optional_weights
from sair.reporting.planned import planned_tables
from sair.weights import resolve
from sair.weights.sources import ALWAYS, check, entry, how_to_get, local, name_of

if TYPE_CHECKING:
    from sair.pipeline.project import Project

OK, MISSING, WRONG = "ok", "missing", "wrong"
FINISHED = 2000  # up to this many images, a set is also read and compared as a whole; larger sets only by the run


class Finding(NamedTuple):
    """The state of one thing that a config needs: ``OK``, ``MISSING`` or ``WRONG``, its name, and a description."""

    state: str
    what: str
    description: str


def examine(
    config: dict[str, Any], encoders: dict[str, dict[str, Any]], methods: Iterable[dict[str, Any]] = ()
) -> Iterator[Finding]:
    """Check every set that the tables, figures and report of a config use, and the pretrained files.

    Args:
        config: a whole config, already checked with ``sair.pipeline.config.check_config``.
        encoders: specifications of the semantic encoders.
        methods: specifications of the methods in tables; of those that are not trained, weights, libraries and
            programs are looked for.

    Yields:
        One finding per check.
    """
    uses = [*config["tables"].values(), *config["figures"].values(), config["semantics"], config["report"]]
    names = list(dict.fromkeys(use["dataset"] for use in uses))
    trained = any(spec.get("training") for spec in encoders.values())
    yield from _datasets({name: config["datasets"][name] for name in names}, config, trained)
    for name in dict.fromkeys(config["datasets"][name]["masks"] for name in names):
        # Check with the largest test split, which leaves the fewest masks for training.
        users = [spec for spec in (config["datasets"][on] for on in names) if spec["masks"] == name]
        largest = max(users, key=lambda spec: spec["test"])
        checks = mask_checks(config["masks"][name], config["image_size"], config["buckets"], largest["test"], largest)
        yield from _looked(f"masks {name}", checks)
    if config["device"] == "cuda":
        yield _try("device", _gpu)
    for name in dict.fromkeys((*ALWAYS, *optional_weights(config))):
        yield _known(f"weights {name}", name)
    for name, spec in encoders.items():
        if spec["parameters"].get("pretrained"):
            yield _pretrained(f"weights {name}", spec["parameters"])
    for spec in methods:
        if spec["training"] is None and (lines := missing_parts(spec)):
            yield Finding(MISSING, f"method {spec['name']}", "; ".join(lines))


def detectable(project: Project) -> Iterator[Finding]:
    """Yield which differences the tables of a config could show, before anything is trained."""
    tables = {name: project.specifications(name) for name in project.config["tables"]}
    try:
        for planned in planned_tables(project.config, tables):
            yield Finding(OK, f"{planned.title}, differences", str(planned))
    except InputError as error:
        yield Finding(WRONG, "regression.reference", str(error))


def _datasets(specs: dict[str, dict[str, Any]], config: dict[str, Any], trained: bool) -> Iterator[Finding]:
    size = config["image_size"]
    frames: dict[str, pd.DataFrame] = {}
    for name, spec in specs.items():
        found = list(_looked(f"dataset {name}", dataset_checks(spec, size)))
        yield from found
        total = spec["train"] + spec["validation"] + spec["test"]
        if spec["source"] == "folder" and total <= FINISHED and all(finding.state == OK for finding in found):
            yield _try(f"dataset {name}, images", partial(_all_finished, name, spec, size, frames))
    semantic = config["semantics"]["dataset"]
    for name in sorted(frames.keys() - {semantic}) if trained and semantic in frames else ():
        yield _try(f"dataset {name}, test", partial(_not_trained_on, frames[name], frames[semantic], semantic))


def _all_finished(name: str, spec: dict[str, Any], size: int, frames: dict[str, pd.DataFrame]) -> str:
    frames[name] = finished(spec, size, processes=os.cpu_count() or 1)
    return f"all {len(frames[name])} images can be used; no test image is in another split"


def _not_trained_on(images: pd.DataFrame, trained_on: pd.DataFrame, semantic: str) -> str:
    refuse_trained_on(images, trained_on, semantic)
    return f"no test image is a training image of {semantic}, on which the semantic encoder is trained"


def _looked(set_name: str, checks: Iterable[Check]) -> Iterator[Finding]:
    """Make the checks of a set; a check whose precondition failed is skipped."""
    wrong: set[str] = set()
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
    from sair.common.runtime import device  # importing torch takes seconds

    device("cuda")
    return "torch finds a GPU"


def _known(what: str, name: str) -> Finding:
    """Check the pretrained files of an entry of ``sair weights list``."""
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
    """Check the ``pretrained`` of a semantic encoder: a file, a known entry, or a tag of open_clip."""
    given = parameters["pretrained"]
    if Path(given).is_file():
        return _try(what, lambda: f"{resolve(given)}: found")
    known = name_of(given, parameters.get("architecture"))
    if known is not None:
        return _known(what, known)
    if Path(given).suffix:
        return Finding(MISSING, what, f"{given}: no such file. Correct `pretrained` of the encoder.")
    return Finding(OK, what, f"{given}: read from open_clip's cache, or downloaded by open_clip")
