"""Test that config/README.md has every key of the config's schema and of method files, and no other."""

import re

import yaml
from helpers.pages import read

from sair.methods.spec import KEYS

MANUAL = read("config/README.md")


def keys(schema):
    """Yield the name of every key that a part of the schema describes."""
    if isinstance(schema, dict):
        for name, part in schema.items():
            if name == "properties":
                yield from part
            yield from keys(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from keys(part)


def known():
    with open("workflow/schemas/config.schema.yaml", encoding="utf-8") as stream:
        return set(keys(yaml.safe_load(stream))) | set(KEYS)


def test_the_manual_explains_every_key():
    explained = set(re.findall(r"[a-z0-9_]+", " ".join(re.findall(r"`[^`\n]+`", MANUAL))))
    assert known() - explained == set()


def test_the_manual_explains_no_key_that_does_not_exist():
    first_cells = re.findall(r"^\| (`[^|]+`) \|", MANUAL, re.MULTILINE)
    named = {word.rpartition(".")[2] for cell in first_cells for word in re.findall(r"`([^`]+)`", cell)}
    assert len(named) > 60
    assert named - known() == set()


def test_the_defaults_of_the_manual_are_those_of_the_config(config):
    top = MANUAL.partition("### Devices")[0]
    for key, default in re.findall(r"^\| `(\w+)` \| .* \| `?([^|`]+)`? \|$", top, re.MULTILINE):
        assert yaml.safe_load(default) == config[key], key
    training = MANUAL.partition("## `training`")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| .* \| `?([^|`]*?)`? \|$", training, re.MULTILINE)
    assert {key: yaml.safe_load(default) for key, default in rows if default} == config["training"]
