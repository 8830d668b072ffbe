"""Read and merge configs and check them, for both Snakemake and the command ``sair``."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jsonschema

from sair.common.errors import InputError, near
from sair.common.files import read_mapping
from sair.data.buckets import ALL, as_buckets, by_family, families_of, folders_of
from sair.data.families.registry import NAMES, OBJECTS
from sair.data.sources import classes_of
from sair.evaluation.metrics.of_images import OPTIONAL
from sair.evaluation.metrics.registry import JUDGED
from sair.methods.origins import merge
from sair.reporting.inputs import PRINTED, SEGMENTATION, bucket_names, layout
from sair.reporting.paper import all_claims

DEFAULT = Path("config/config.yaml")
SCHEMA = Path("workflow/schemas/config.schema.yaml")
MANUAL = "config/README.md explains every key."
# Such a name is part of paths, and tables print a percent sign after the digits of a hole ratio.
FOLDER_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


def load_config(files: Sequence[str | Path] = ()) -> dict[str, Any]:
    """Read ``config/config.yaml`` and override it by further files, as ``snakemake --configfile`` does.

    Args:
        files: YAML files; later ones override earlier ones.

    Raises:
        InputError: the working folder is not the project's folder, or a file is not a readable mapping.
    """
    if not DEFAULT.is_file():
        raise InputError(
            f"{Path.cwd() / DEFAULT}: no such file, so {Path.cwd()} is not a project folder. Change to the folder "
            "that contains `config/config.yaml`, where you call snakemake."
        )
    config = read_mapping(DEFAULT)
    for file in files:
        config = merge(config, read_mapping(file))
    return config


def check_config(config: dict[str, Any], schema: str | Path = SCHEMA, files: Sequence[str | Path] = (DEFAULT,)) -> None:
    """Refuse a config with an unknown key, a wrong value, or a name that is not defined.

    Args:
        config: the whole config.
        schema: path of config.schema.yaml.
        files: the files that it was read from, for the message.

    Raises:
        InputError: there is a fault; the message names the place of the first one and what is expected.
    """
    try:
        _check(config, schema)
    except InputError as error:
        raise InputError(f"{error} (The config was read from {' and '.join(sorted(map(str, files)))}.)") from None


def _check(config: dict[str, Any], schema: str | Path) -> None:
    check_schema("config", config, read_schema(schema))
    as_buckets(config["buckets"])
    for name in config["datasets"]:
        _check_dataset(config, name)
    for name, masks in config["masks"].items():
        _check_families(name, masks)
    for name in config.get("metrics", ()):
        check_name("metrics", name, OPTIONAL)
    for name in config["regression"]["least"]:
        check_name("regression.least", name, JUDGED)
    for place in ("semantics", "regression", "report"):
        check_name(f"{place}.dataset", config[place]["dataset"], config["datasets"])
    for place in ("tables", "figures"):
        for name, item in config[place].items():
            check_name(f"{place}.{name}.dataset", item["dataset"], config["datasets"])
    for name in config["tables"]:
        _check_table(config, name)
    _check_semantics(config)


def _check_dataset(config: dict[str, Any], name: str) -> None:
    """Refuse a dataset with unknown masks, with masks that do not fit it, or with too few names of classes."""
    dataset = config["datasets"][name]
    check_name(f"datasets.{name}.masks", dataset["masks"], config["masks"])
    ids = len(dataset.get("parts", ())) + 1 - dataset.get("first_class", 0)
    if "parts" in dataset and len(dataset["classes"]) != ids:
        raise InputError(
            f"config, datasets.{name}.classes: {len(dataset['classes'])} names, but its `parts` make {ids} ids: "
            "0 where there is no part, then one for each part. Name every id."
        )
    if config["masks"][dataset["masks"]]["source"] == "paired":
        _check_paired(config, name)


def _check_families(name: str, masks: Mapping[str, Any]) -> None:
    """Refuse a mask set with an unknown family, or with object masks and no label maps, or the reverse."""
    families, folders = families_of(masks), folders_of(masks)
    for family, folder in folders:
        _check_folder_name(f"config, masks.{name}.family: the folder {folder['path']}", family, families)
    for family in families:
        check_name(f"masks.{name}.family", family, [*NAMES, *dict(folders)])
    if OBJECTS in families and "labels" not in masks:
        raise InputError(
            f"config, masks.{name}: the family `{OBJECTS}` takes its shapes from label maps. Name their folder in "
            "`labels`."
        )
    if families and OBJECTS not in families and "labels" in masks:
        raise InputError(
            f"config, masks.{name}.labels: only the family `{OBJECTS}` uses label maps. Add it to `family`, or remove "
            "`labels`."
        )


def _check_folder_name(where: str, name: str, families: Sequence[str]) -> None:
    """Refuse the name of a folder of masks that cannot be the name of a bucket, or that another family has."""
    remedy = "Give it another `name` (with `sair evaluate`: --masks NAME=FOLDER)."
    if not FOLDER_NAME.fullmatch(name) or name == ALL:
        expected = f"letters, digits, _ and -, with a letter or _ in front, and not `{ALL}`"
        raise InputError(f"{where} is called {name!r}, but the name of a bucket has {expected}. {remedy}")
    if name in NAMES:
        raise InputError(f"{where} is called {name!r}, as a published family is. {remedy}")
    if families.count(name) > 1:
        raise InputError(f"{where} is called {name!r}, as another family of the set is. {remedy}")


def _check_paired(config: dict[str, Any], name: str) -> None:
    """Refuse masks for each image with several buckets, or of images that are not cropped like their masks."""
    dataset = config["datasets"][name]
    where = f"config, datasets.{name}.masks: {dataset['masks']!r} is a mask for each image (`source: paired`)"
    if len(config["buckets"]) > 1:
        raise InputError(f"{where}, so there is one bucket. Write `buckets: [[0, 100]]`.")
    strange = [key for key in ("crop", "stretch") if key in dataset]
    if dataset["source"] != "folder" or strange:
        key = f"`{strange[0]}`" if strange else f"`source: {dataset['source']}`"
        raise InputError(f"{where}, but the dataset has {key}. Use a folder of images without `crop` and `stretch`.")


def _check_table(config: dict[str, Any], name: str) -> None:
    """Refuse a table that has a dataset's name, or that names a claim, metric or bucket that does not exist for it."""
    table = config["tables"][name]
    if name in config["datasets"]:
        raise InputError(
            f"config, tables.{name}: a dataset has the same name, and their results would be in the same place. "
            "Rename the table."
        )
    if table.get("claims") is not None:
        check_name(f"tables.{name}.claims", table["claims"], all_claims())
        measure = all_claims()[table["claims"]]["measure"]
        if table.get("measure", measure) != measure:
            raise InputError(
                f"config, tables.{name}.measure: {table['measure']!r}, but the paper's table `{table['claims']}` is of "
                f"{measure}. Leave `measure` out, or give `claims: null`."
            )
    claims = layout(config, name).claims["buckets"]
    dataset = config["datasets"][table["dataset"]]
    if by_family(config["masks"][dataset["masks"]]) and set(claims) - {ALL}:
        raise InputError(
            f"config, tables.{name}.claims: the paper's table is divided by hole ratio, but the masks of "
            f"{table['dataset']!r}, {dataset['masks']!r}, by family. Set `by: ratio` there, or `claims: null` here."
        )
    if table.get("columns") and layout(config, name).measure == SEGMENTATION:
        raise InputError(f"config, tables.{name}.columns: only tables of quality have further columns. Remove it.")
    for metric in table.get("metrics", ()):
        check_name(f"tables.{name}.metrics", metric, PRINTED[layout(config, name).measure])
    for bucket in table.get("buckets", ()):
        check_name(f"tables.{name}.buckets", bucket, [*bucket_names(config, table["dataset"]), ALL])


def _check_semantics(config: dict[str, Any]) -> None:
    """Refuse semantic encoders without labels to train on, and tables that compare classes of different datasets."""
    dataset = config["semantics"]["dataset"]
    if not classes_of(config["datasets"][dataset]):
        raise InputError(
            f"config, semantics.dataset: {dataset!r} has no labels, but semantic encoders are trained on labels. Name "
            "a dataset with `labels` and `classes`, or `faces`."
        )
    for name, table in config["tables"].items():
        if layout(config, name).measure == SEGMENTATION:
            check_classes(config, f"tables.{name}.dataset", table["dataset"])


def check_classes(config: dict[str, Any], where: str, dataset: str) -> None:
    """Refuse to compare the labels of a dataset with the classes of another dataset.

    Args:
        config: the whole config.
        where: the key that names the dataset, for the message.
        dataset: the dataset whose labels are compared.

    Raises:
        InputError: the semantic encoders are trained on another dataset.
    """
    if dataset != config["semantics"]["dataset"]:
        raise InputError(
            f"config, {where}: {dataset!r}, but its labels are compared with the classes of `semantics.dataset`, which "
            f"is {config['semantics']['dataset']!r}. Use the same dataset for both."
        )


def read_schema(path: str | Path = SCHEMA) -> dict[str, Any]:
    """Read the JSON schema of a config."""
    return read_mapping(path)


def check_name(where: str, name: str, known: Iterable[str]) -> None:
    """Refuse a name in a config that is not defined; the message lists similar names.

    Args:
        where: the key that contains the name, for the message.
        name: the name.
        known: the defined names.

    Raises:
        InputError: the name is not one of them.
    """
    if name not in known:
        raise InputError(f"config, {where}: there is no {name!r}. {near(name, known)}")


def check_schema(source: str, value: Any, schema: dict[str, Any]) -> None:
    """Refuse a value that a JSON schema does not allow, naming the first fault.

    Args:
        source: what is checked, for the message: ``config``, or the name of a file.
        value: the value, as read from YAML.
        schema: a JSON schema; beside each ``pattern`` and ``not``, its ``description`` names what is expected.

    Raises:
        InputError: the value does not match.
    """
    errors = _Validator(schema).iter_errors(value)
    for error in sorted(errors, key=lambda e: list(map(str, e.absolute_path))):
        raise InputError(_fault(source, error))


def _fault(source: str, error: jsonschema.ValidationError) -> str:
    where = f"{source}, {'.'.join(map(str, error.absolute_path)) or 'top level'}"
    if error.validator == "not":
        return f"{where}: {error.schema['description']}. {MANUAL}"
    if error.validator == "additionalProperties":
        known = error.schema.get("properties", {})
        key = sorted(set(error.instance) - set(known))[0]
        return f"{where}: unknown key {key!r}. {near(key, known)}"
    if error.validator == "pattern":
        return f"{where}: {error.instance!r} is not {error.schema['description']}. {MANUAL}"
    hint = ""
    if error.validator == "type" and isinstance(error.instance, str) and error.validator_value != "object":
        hint = (
            " This is text: write numbers, true and false without quotes, and put lists and mappings into a "
            "--configfile."
        )
    return f"{where}: {error.message}.{hint} {MANUAL}"


# In JSON 64.0 is an integer, but Python's range and torch's sizes do not accept it; so check Python's types.
_TYPES = jsonschema.Draft202012Validator.TYPE_CHECKER.redefine_many(
    {
        "integer": lambda _, value: isinstance(value, int) and not isinstance(value, bool),
        "number": lambda _, value: (
            isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        ),
        "object": lambda _, value: isinstance(value, Mapping) and all(isinstance(key, str) for key in value),
    }
)
_Validator = jsonschema.validators.extend(jsonschema.Draft202012Validator, type_checker=_TYPES)
