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
from sair.data.sources import classes_of, label_file, labelled, split_folder, square
from sair.files import InputError
from sair.images import list_images, read_mask, read_rgb
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
        config: a whole config, checked (``sair.config.check_config``).
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
    complete, labels_fit = True, "labels" in spec
    for images, labels, least, published in folders:
        found = _folder(f"{what}, {images}", spec[images], known, least, published)
        yield found
        complete &= found.state == OK
        if found.state == OK:
            some = _spread(list_images(spec[images]), SAMPLES)
            yield _try(f"{what}, {images}", lambda some=some: _opened(some, size, spec))
            if labels in spec and not Path(spec[labels]).is_dir():
                labels_fit = False
                yield Finding(MISSING, f"{what}, {labels}", f"{spec[labels]}: no such folder.{_where(known)}")
            elif labels in spec:
                found = _try(f"{what}, {labels}", lambda some=some, i=images, k=labels: _labels(some, spec, i, k))
                labels_fit &= found.state == OK
                yield found
    if complete:
        split = _try(f"{what}, split", lambda: _split(spec))
        yield split
        if split.state == OK and labels_fit and "parts" not in spec:
            yield _try(f"{what}, labels", lambda: _all_labelled(spec))


def _split(spec: dict[str, Any]) -> str:
    split = {name: [identifier for identifier, _ in files] for name, files in split_folder(spec).items()}
    return ", ".join(f"{len(ids)} {name} ({ids[0]} to {ids[-1]})" for name, ids in split.items() if ids)


def _all_labelled(spec: dict[str, Any]) -> str:
    count, missing = 0, []
    for name, pictures in split_folder(spec).items():
        part = "test_" if name == "test" and "test_images" in spec else ""
        count += len(pictures)
        wanted = (label_file(path, spec[f"{part}images"], spec.get(f"{part}labels", "")) for _, path in pictures)
        missing += [file for file in wanted if f"{part}labels" in spec and not file.is_file()]
    if missing:
        raise InputError(
            f"{missing[0]}: no such file, so {len(missing)} of {count} pictures have no label map. Name label maps as "
            "their pictures, .png at the end."
        )
    return f"a label map for each of the {count}"


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


def _opened(paths: Sequence[Path], size: int, spec: dict[str, Any]) -> str:
    for path in paths:
        square(read_rgb(path), size, path, spec)
    return f"{len(paths)} opened: readable and large enough for {size} pixels"


def _labels(paths: Sequence[Path], spec: dict[str, Any], images: str, labels: str) -> str:
    names, seen = classes_of(spec), Counter()
    for path in paths:
        seen.update(np.unique(labelled(path, read_rgb(path).shape[:2], spec[images], spec[labels], spec)).tolist())
    found = [name for number, name in enumerate(names) if seen[number]]
    if not found:
        raise InputError(f"{spec[labels]}: none of the {len(names)} classes is in {len(paths)} label maps.")
    return f"{len(paths)} opened: {len(found)} of {len(names)} classes seen"


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
        if "group" in known:
            yield _try(f"{what}, order", lambda: _in_order(some, spec, known))


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


def _in_order(paths: Sequence[Path], spec: dict[str, Any], known: dict[str, Any]) -> str:
    """NVIDIA's masks: a tenth more hole every ``group`` files, and the first half of each group off the border."""
    group, faults = known["group"], []
    for path in paths:
        mask = read_mask(path, spec["hole"])
        margin = known["margin"] * len(mask) // 512
        tenth, place = divmod(int(path.stem), group) if path.stem.isdecimal() else (-1, 0)
        off = mask[margin:-margin, margin:-margin].sum() == mask.sum()
        if not tenth <= 10 * mask.mean() <= tenth + 1 or off != (place < group // 2):
            faults.append(f"{path.name} ({mask.mean():.0%} hole, {'off' if off else 'at'} the border)")
    if faults:
        raise InputError(
            f"{spec['path']}: {len(faults)} of {len(paths)} masks are not what the published ones of these numbers "
            f"are, such as {', '.join(faults[:3])}. Expected are the published files and names.{_where(known)}"
        )
    return f"{len(paths)} opened: hole ratios and borders as published for their numbers"


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
