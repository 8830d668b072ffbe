"""Read which images belong together (same person, scene or photograph) and are therefore not independent."""

from __future__ import annotations

import csv
import os
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sair.common.errors import InputError, refuse

FOLDER = "folder"  # value of a dataset's `clusters`: each subfolder is a cluster


def clusters_of(spec: Mapping[str, Any], split: Mapping[str, Sequence[tuple[str, Path]]]) -> dict[Path, str]:
    """Return the cluster of each image file that the dataset assigns to one; empty without ``clusters``.

    Args:
        spec: a ``folder`` dataset of the config; ``clusters`` is ``folder`` or a file with ``name cluster`` lines.
        split: name of the split -> its images as (id, file).

    Raises:
        InputError: the file is unreadable, lacks a test image or gives an image two clusters; or a cluster is in both
            the training and the test split.
    """
    if "clusters" not in spec:
        return {}
    files = [file for images in split.values() for _, file in images]
    found = _of_folders(spec, files) if spec["clusters"] == FOLDER else _of_list(spec, files)
    test = [file for _, file in split["test"]]
    refuse(
        [f"{spec['clusters']}: no cluster for the test image {file}. Add a line." for file in test if file not in found]
    )
    trained = {found[file]: file for _, file in split["train"] if file in found}
    refuse(
        [
            f"cluster {found[file]!r}: {trained[found[file]]} is a training image and {file} a test image. Split by "
            "cluster, with `train_list` and `test_list`."
            for file in test
            if found[file] in trained
        ]
    )
    return found


def _base(spec: Mapping[str, Any]) -> Path:
    """Return the common parent of the image folders; paths relative to it are unique."""
    roots = [Path(spec[key]).expanduser().absolute().parent for key in ("images", "test_images") if key in spec]
    return Path(os.path.commonpath(roots))


def _of_folders(spec: Mapping[str, Any], files: Sequence[Path]) -> dict[Path, str]:
    base = _base(spec)
    return {file: file.absolute().parent.relative_to(base).as_posix() for file in files}


def _of_list(spec: Mapping[str, Any], files: Sequence[Path]) -> dict[Path, str]:
    named: dict[str, str] = {}
    for line, name, cluster in _read(spec["clusters"]):
        if named.setdefault(name, cluster) != cluster:
            raise InputError(
                f"{spec['clusters']}, line {line}: {name} is in clusters {named[name]} and {cluster}. Remove one."
            )
    found = {}
    for file in files:
        of_file = {named[name] for name in _names(spec, file) if name in named}
        if len(of_file) > 1:
            raise InputError(
                f"{spec['clusters']}: {file} is in the clusters {' and '.join(sorted(of_file))}. Remove a line."
            )
        if of_file:
            found[file] = of_file.pop()
    return found


def _names(spec: Mapping[str, Any], file: Path) -> Iterator[str]:
    """Yield the names that a line may use for an image: relative or absolute path, with or without ending."""
    tops = [Path(spec[key]).expanduser().absolute() for key in ("images", "test_images") if key in spec]
    whole = file.absolute()
    paths = [whole.relative_to(top) for top in (*tops, _base(spec)) if whole.is_relative_to(top)]
    for path in (*paths, whole):
        yield from (_plain(path.as_posix()), _plain(path.with_suffix("").as_posix()))


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name.removeprefix("./"))


def _read(path: str) -> Iterator[tuple[int, str, str]]:
    """Yield (line number, name, cluster); a line is two CSV cells, or a name and a cluster separated by spaces."""
    try:
        text = Path(path).expanduser().read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: not a readable list of clusters ({error}). Expected UTF-8 text with `name cluster` on each line; "
            "check `clusters` in the config."
        ) from None
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        cells = next(csv.reader([line], skipinitialspace=True)) if "," in line else line.rsplit(None, 1)
        cells = [cell.strip() for cell in cells]
        if len(cells) != 2 or not all(cells):
            raise InputError(f"{path}, line {number}: {line.strip()!r}; expected the name of an image and its cluster.")
        yield number, _plain(cells[0]), cells[1]
