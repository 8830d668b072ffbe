"""Read the methods and semantic encoders of a config, check them, and join them with its tables."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sair.common.errors import InputError, near
from sair.data.sources import classes_of
from sair.methods.spec import METHODS, SEMANTICS, UPKEEP, load_spec, method_names, with_parameters
from sair.pipeline.config import check_name, check_schema
from sair.reporting.inputs import layout
from sair.reporting.paper import all_claims
from sair.reporting.rows import EQUAL, competes

Spec = dict[str, Any]
MOST_SAMPLES = 1000


class Registry:
    """Specifications of all methods and encoders, as a config sees them.

    Attributes:
        methods: method -> specification, without the settings that decide no weight.
        encoders: the same of the semantic encoders.

    Args:
        config: the whole config, checked.
        definitions: ``$defs`` of the config's schema.

    Raises:
        InputError: a file or the config names something that does not exist, or a value is not allowed.
    """

    def __init__(self, config: dict[str, Any], definitions: dict[str, Any]) -> None:
        changes = config.get("methods", {})
        for name in changes:
            check_name("methods", name, method_names(METHODS))
        self.methods = {
            name: load_spec(name, METHODS, config["preset"], config["training"], changes)
            for name in method_names(METHODS)
        }
        of_encoders = config["training"] | config["semantics"].get("training", {})
        self.encoders = {
            name: load_spec(name, SEMANTICS, config["preset"], of_encoders) for name in method_names(SEMANTICS)
        }
        self._check_files(definitions)
        classes = list(classes_of(config["datasets"][config["semantics"]["dataset"]]))
        self.encoders = {name: with_parameters(spec, classes=classes) for name, spec in self.encoders.items()}
        self._add_rows(config)
        self._check_tables(config)
        self._upkeep = {"method": _take_upkeep(self.methods), "encoder": _take_upkeep(self.encoders)}

    def method(self, name: str) -> Spec:
        """Return a method's specification.

        Raises:
            InputError: an unknown name; the message lists the near ones.
        """
        if name not in self.methods:
            raise InputError(f"unknown method {name!r}: there is no {METHODS / name}.yaml. {near(name, self.methods)}")
        return self.methods[name]

    def upkeep(self, kind: str, name: str, key: str) -> int:
        """Return a setting of a ``method``'s or ``encoder``'s training that decides no weight; 0 without training."""
        return self._upkeep[kind][name].get(key, 0)

    def _check_files(self, definitions: dict[str, Any]) -> None:
        """Refuse method and encoder files with a name, a training or an encoder that is not allowed."""
        for name in self.methods.keys() & self.encoders.keys():
            raise InputError(
                f"{METHODS / name}.yaml: {SEMANTICS / name}.yaml has that name, too, and their results would share a "
                "folder. Rename one."
            )
        for folder, specs in ((METHODS, self.methods), (SEMANTICS, self.encoders)):
            check_schema(str(folder), specs, {"propertyNames": definitions["method"]})
            for name, spec in specs.items():
                training = {"training": spec["training"] or {}}
                check_schema(f"{folder / name}.yaml", training, {"properties": {"training": definitions["training"]}})
                _check_budget(f"{folder / name}.yaml", spec)
        rows = {row for table in all_claims().values() for row in table["rows"]}
        for name, spec in self.methods.items():
            _check_samples(name, spec)
            _check_place(name, spec, rows)
            if spec["semantics"]:
                check_name(f"{METHODS / name}.yaml, semantics", spec["semantics"], self.encoders)
        for name, spec in self.encoders.items():
            if spec["weights"]:
                raise InputError(
                    f"{SEMANTICS / name}.yaml, weights: an encoder's checkpoint is made by the workflow. Name a file "
                    "of pretrained weights in `parameters`: `pretrained`."
                )

    def _add_rows(self, config: dict[str, Any]) -> None:
        """Add to the methods that a table lists the table's name, as if their own files named the table."""
        for table, settings in config["tables"].items():
            for key in ("methods", "only"):
                for name in settings.get(key, ()):
                    check_name(f"tables.{table}.{key}", name, self.methods)
                    places = self.methods[name]["tables"]
                    self.methods[name]["tables"] = {table: None} | places

    def _check_tables(self, config: dict[str, Any]) -> None:
        """Refuse rows that the paper's table lacks."""
        for table, settings in config["tables"].items():
            shown = layout(config, table)
            if {"methods", "only"} <= settings.keys():
                raise InputError(
                    f"config, tables.{table}: `methods` adds rows to those of the method files, and `only` replaces "
                    "them. Keep one of the two."
                )
            for name, spec in self.methods.items() if shown.has_claims else ():
                row = spec["tables"].get(table)
                if row is not None and (not isinstance(row, str) or row not in shown.claims["rows"]):
                    raise InputError(
                        f"{METHODS / name}.yaml, tables.{table}: there is no row {row!r} in the paper's table "
                        f"`{settings['claims']}`. {near(str(row), shown.claims['rows'])} Write null for none."
                    )


def _take_upkeep(specs: dict[str, Spec]) -> dict[str, dict[str, int]]:
    """Remove from specifications the settings that decide no weight, and return these by name."""
    return {
        name: {key: spec["training"].pop(key) for key in UPKEEP if spec["training"]} for name, spec in specs.items()
    }


def _check_budget(file: str, spec: Spec) -> None:
    """Refuse a training without a number of steps or epochs."""
    training = spec["training"]
    if training and not training.get("steps") and not training.get("epochs"):
        raise InputError(
            f"{file}, training: `steps` is null, and there are no `epochs`. Give one of them there or in the config."
        )


def _check_place(name: str, spec: Spec, rows: Iterable[str]) -> None:
    """Refuse a ``stands_for`` that names no row of the paper or no budget, and one of a method that cannot compete."""
    where, place = f"{METHODS / name}.yaml, stands_for", spec["stands_for"]
    if not place:
        return
    if place.keys() != {"row", "equal"} or place["equal"] not in EQUAL or not isinstance(place["row"], str):
        raise InputError(
            f"{where}: expected `{{row: NAME, equal: {' or '.join(EQUAL)}}}`, NAME being a row of the paper's table. "
            f"Found {place!r:.80}."
        )
    check_name(f"{where}.row", place["row"], rows)
    if not competes(spec):
        raise InputError(f"{where}: the method is a control or sees the ground truth. Remove `stands_for`.")
    if place["row"] in spec["tables"].values():
        raise InputError(f"{where}.row: {place['row']!r} is the method's own row in `tables`. Remove one of the two.")


def _check_samples(name: str, spec: Spec) -> None:
    """Refuse samples of a trained method, too many of them, and a seed that they cannot be added to."""
    if spec["samples"] > 1 and spec["training"] is not None:
        raise InputError(
            f"{METHODS / name}.yaml, samples: several samples are drawn from one set of weights, but the "
            "method is trained. Name its `weights`, or use several `seeds` of the config."
        )
    if spec["samples"] > MOST_SAMPLES:
        raise InputError(
            f"{METHODS / name}.yaml, samples: {spec['samples']}; expected at most {MOST_SAMPLES}, as each is a "
            "folder of predictions. Name fewer."
        )
    seed = spec["parameters"].get("seed", 0)
    if spec["samples"] > 1 and (isinstance(seed, bool) or not isinstance(seed, int)):
        raise InputError(
            f"{METHODS / name}.yaml, parameters.seed: {seed!r}; expected a whole number, to which each of the "
            "`samples` adds its own. Correct it, or leave it out for 0."
        )
