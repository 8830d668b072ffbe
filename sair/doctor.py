"""Is everything there that a config needs: what is wrong or missing, where to get it, and under which terms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

from sair.data.buckets import as_buckets, bucket_of
from sair.data.sources import labelled, square
from sair.files import InputError, list_images, read_mask, read_rgb
from sair.weights import resolve
from sair.weights.sources import ALWAYS, check, entry, how_to_get, local, name_of

OK, MISSING, WRONG = "ok", "missing", "wrong"
SAMPLES = 24  # pictures, and ten times as many masks, that are opened, spread evenly over a set


class Finding(NamedTuple):
    """One thing that a config needs: whether it is there, what it is, and what to say about it."""

    state: str
    what: str
    said: str


@cache
def known_sets() -> dict[str, dict[str, Any]]:
    """Facts of published sets by the name that a config's ``known`` gives."""
    return yaml.safe_load(files("sair.data").joinpath("known.yaml").read_text(encoding="utf-8"))


def examine(config: dict[str, Any], encoders: dict[str, dict[str, Any]]) -> Iterator[Finding]:
    """Look at every set that the config's tables and figures use, and at the pretrained files.

    Args:
        config: a whole config, checked (``sair.project.check_config``).
        encoders: specifications of the semantic encoders.
    """
    uses = [*config["tables"].values(), *config["figures"].values(), config["semantics"]]
    names = dict.fromkeys(use["dataset"] for use in uses)
    for name in names:
        yield from _dataset(f"dataset {name}", config["datasets"][name], config["image_size"])
    for name in dict.fromkeys(config["datasets"][name]["masks"] for name in names):
        yield from _masks(f"masks {name}", config["masks"][name], config)
    for name in ALWAYS:
        yield _known(f"weights {name}", name)
    for name, spec in encoders.items():
        if spec["parameters"].get("pretrained"):
            yield _pretrained(f"weights {name}", spec["parameters"])


def _try(what: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(OK, what, look())
    except InputError as error:
        return Finding(WRONG, what, str(error))


def _dataset(what: str, spec: dict[str, Any], size: int) -> Iterator[Finding]:
    if spec["source"] != "folder":
        yield Finding(OK, what, f"{spec['source']}: embedded, nothing to get")
        return
    known = known_sets().get(spec.get("known"), {})
    apart = "test_images" in spec
    needed = spec["train"] + spec["validation"] + (0 if apart else spec["test"])
    folders = [("images", "labels", needed, known.get("pictures"))]
    if apart:
        folders.append(("test_images", "test_labels", spec["test"], known.get("test_pictures")))
    for images, labels, least, published in folders:
        found = _folder(f"{what}, {images}", spec[images], known, least, published)
        yield found
        if found.state == OK:
            some = _spread(list_images(spec[images]), SAMPLES)
            yield _try(f"{what}, {images}", lambda some=some: _opened(some, size, spec.get("crop")))
            if labels in spec:
                yield _try(f"{what}, {labels}", lambda some=some, i=images, k=labels: _labels(some, spec, i, k))


def _folder(what: str, folder: str, known: dict[str, Any], least: int, published: int | None) -> Finding:
    where = _where(known)
    try:
        count = len(list_images(folder))
    except InputError as error:
        return Finding(MISSING, what, f"{error}{where}")
    if published and count != published:
        return Finding(WRONG, what, f"{folder}: {count} files, but this set has {published}.{where}")
    if count < least:
        return Finding(WRONG, what, f"{folder}: {count} files, but the config asks for {least}.{where}")
    return Finding(OK, what, f"{folder}: {count} files, {least} needed")


def _where(known: dict[str, Any]) -> str:
    return f" {known['title']}: {known['where']} (terms: {known['terms']})." if known else ""


def _spread(paths: Sequence[Path], count: int) -> list[Path]:
    return list(islice(paths, 0, None, max(1, len(paths) // count)))


def _opened(paths: Sequence[Path], size: int, crop: int | None) -> str:
    for path in paths:
        square(read_rgb(path), size, path, crop)
    return f"{len(paths)} opened: readable and large enough for {size} pixels"


def _labels(paths: Sequence[Path], spec: dict[str, Any], images: str, labels: str) -> str:
    seen: Counter[int] = Counter()
    for path in paths:
        seen.update(np.unique(labelled(path, spec[images], spec[labels], spec)).tolist())
    found = [name for number, name in enumerate(spec["classes"]) if seen[number]]
    if not found:
        raise InputError(f"{spec[labels]}: none of the {len(spec['classes'])} classes is in {len(paths)} label maps.")
    return f"{len(paths)} opened: {len(found)} of {len(spec['classes'])} classes seen"


def _masks(what: str, spec: dict[str, Any], config: dict[str, Any]) -> Iterator[Finding]:
    if spec["source"] != "folder":
        yield Finding(OK, what, f"{spec['source']}: drawn, nothing to get")
        return
    known = known_sets().get(spec.get("known"), {})
    found = _folder(what, spec["path"], known, 1, known.get("pictures"))
    yield found
    if found.state == OK:
        some = _spread(list_images(spec["path"]), 10 * SAMPLES)
        yield _try(what, lambda: _ratios(some, spec, config["buckets"]))


def _ratios(paths: Sequence[Path], spec: dict[str, Any], buckets: Sequence[tuple[float, float]]) -> str:
    labels = [bucket.label for bucket in as_buckets(buckets)]
    masks = (read_mask(path, spec["hole"]) for path in paths)
    counts = Counter(bucket_of(int(mask.sum()), mask.size, buckets) for mask in masks)
    shown = ", ".join(f"{label} %: {counts[label]}" for label in labels)
    if not all(counts[label] for label in labels):
        raise InputError(
            f"{spec['path']}: with `hole: {spec['hole']}`, holes of {shown}; outside: {counts['']}. A bucket without "
            "masks cannot be tested; is it the right colour?"
        )
    return f"{len(paths)} opened: black and white; holes of {shown}; outside: {counts['']}"


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
