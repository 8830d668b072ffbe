"""Read from records under which conditions a table's rows were computed: device, precision, library versions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sair.provenance.records import LIBRARIES, read_record

# The step that a job does for a row, by the row's file and the rule's name (without `_shard`). Old names of
# renamed rules are kept, because the records of finished jobs contain them.
_SCORES = {"train": "training", "predict": "prediction", "score_predictions": "scores", "score": "scores"}
_SEGMENTATION = {"train": "training", "segment": "segmentation", "segmentation": "segmentation"}
STEPS = {"scores.csv": _SCORES, "segmentation.csv": _SEGMENTATION}

Facts = dict[str, list[str]]  # what is recorded about a row: step or library -> its values


def facts_of(files: Sequence[str | Path]) -> Facts:
    """Read the conditions of one row of a table; empty if nothing was recorded, as for results from elsewhere.

    Args:
        files: its scores.csv or segmentation.csv, one per seed.
    """
    found: dict[str, dict[str, None]] = {}
    for step, record in records(files):
        found.setdefault(step, {})[_computed_on(record)] = None
        for name in LIBRARIES:
            if name in record["versions"]:
                found.setdefault(name, {})[record["versions"][name]] = None
    order = ("training", "prediction", "scores", "segmentation", *LIBRARIES)
    return {what: sorted(found[what]) for what in order if what in found}


def notes(rows: Mapping[str, Sequence[str | Path]]) -> list[str]:
    """Return the conditions of a table's rows as notes: shared ones, different ones, and rows without records.

    Args:
        rows: label -> its scores.csv or segmentation.csv, one per seed.
    """
    facts = {label: facts_of(files) for label, files in rows.items()}
    shared, _ = _sorted_out(facts)
    steps = {what: value for what, value in shared.items() if what not in LIBRARIES}
    result = []
    if shared:
        together: dict[str, list[str]] = {}
        for step, value in steps.items():
            together.setdefault(value, []).append(step)
        said = [f"{', '.join(names)} on {value}" for value, names in together.items()]
        versions = [f"{what} {value}" for what, value in shared.items() if what in LIBRARIES]
        result.append(f"All rows: {'; '.join([*said, *([', '.join(versions)] if versions else [])])}.")
    if differ := differences(rows):
        result.append(f"Rows were computed under different conditions. {differ}")
    if unknown := [label for label, found in facts.items() if not found]:
        result.append(f"Device, precision and versions are not recorded: {', '.join(unknown)}.")
    for step in dict.fromkeys(step for files in rows.values() for step in _expected(files)):
        if missing := [
            label for label, files in rows.items() if facts[label] and step in _expected(files) - facts[label].keys()
        ]:
            result.append(f"Not recorded: {step} of {', '.join(missing)}.")
    return result


def _expected(files: Sequence[str | Path]) -> set[str]:
    """Return the steps that a row has: training only if there is a checkpoint beside its numbers."""
    steps = {step for file in files for step in STEPS.get(Path(file).name, {}).values()}
    return (
        steps
        if any(Path(file).with_name("checkpoint.safetensors").is_file() for file in files)
        else steps - {"training"}
    )


def differences(rows: Mapping[str, Sequence[str | Path]]) -> str:
    """Return all recorded differences between rows, with the rows of each value; "" if there are none.

    Args:
        rows: same as in ``notes``.
    """
    _, mixed = _sorted_out({label: facts_of(files) for label, files in rows.items()})
    sentences = []
    for what, values in mixed.items():
        groups = (f"{' and '.join(value)} ({', '.join(labels)})" for value, labels in values.items())
        sentences.append(f"{what.capitalize() if what not in LIBRARIES else what}: {', '.join(groups)}.")
    return " ".join(sentences)


def _sorted_out(facts: Mapping[str, Facts]) -> tuple[dict[str, str], dict[str, dict[tuple[str, ...], list[str]]]]:
    """Return what all rows share, and for the rest the rows of each value; rows without a record are left out."""
    shared, mixed = {}, {}
    for what in dict.fromkeys(what for found in facts.values() for what in found):
        groups: dict[tuple[str, ...], list[str]] = {}
        for label, found in facts.items():
            if what in found:
                groups.setdefault(tuple(found[what]), []).append(label)
        if len(groups) == 1 and len(next(iter(groups))) == 1:
            shared[what] = next(iter(groups))[0]
        else:
            mixed[what] = groups
    return shared, mixed


def record_folder(file: Path) -> Path:
    """Return the folder with the records of the jobs that made a seed's results.

    Args:
        file: its scores.csv or segmentation.csv.
    """
    seed, method, dataset = file.parent, file.parent.parent, file.parent.parent.parent
    return dataset.parent / "provenance" / dataset.name / method.name / seed.name


def records(files: Sequence[str | Path]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (step, record) for every job that was recorded for one row of a table.

    Args:
        files: its scores.csv or segmentation.csv, one per seed.
    """
    for file in map(Path, files):
        for path in sorted(record_folder(file).glob("*.json")):
            record = read_record(path)
            step = STEPS.get(file.name, {}).get(record["rule"].removesuffix("_shard"))
            if step is not None:
                yield step, record


def _computed_on(record: Mapping[str, Any]) -> str:
    """Return a job's device with its precision."""
    parts = [record["device"], record.get("precision", "precision not recorded")]
    if rounded := [name for name, allowed in record.get("tf32", {}).items() if allowed]:
        parts.append(f"TF32 in {' and '.join(rounded)}")
    return ", ".join(parts)
