"""Test that dependencies point one way: every module belongs to a package with a place in the layer order."""

import ast
import importlib.util
from pathlib import Path

import pytest

from sair.methods import former, trust

_specification = importlib.util.spec_from_file_location("layers", "docs/layers.py")
layers = importlib.util.module_from_spec(_specification)
_specification.loader.exec_module(layers)

# Strings that name a module or folder of a layer above. Nothing of these is imported by the file.
TABLES = {  # checkpoints name classes, so the lowest layer that reads checkpoints has tables of them
    "sair/methods/trust.py": trust.PROJECT_CLASSES,
    "sair/methods/former.py": {
        *former.CLASSES,
        *former.CLASSES.values(),
        *former.PARAMETERS,
        *dict(former.VALUES.keys()),
    },
}
EXAMPLES_AND_DATA = {
    ("sair/methods/loading.py", "sair.models.clip:CLIP"),  # an example in an error message
    ("sair/methods/spec.py", "baselines.lama:LaMa"),  # another one
    ("sair/weights/cards.py", "baselines"),  # the folder of the cards that list the authors' files
    ("sair/provenance/code.py", "sair.pipeline.job"),  # the frame of every script, whose code does not count
}


@pytest.mark.parametrize("path", layers.python_files(), ids=str)
def test_a_module_imports_only_layers_below(path):
    own = layers.package_of(layers.module_of(path))
    for module in layers.imports_of(path):
        target = layers.package_of(module)
        if target not in (None, own):
            assert target in layers.ALLOWED[own], f"{path} imports {module}"


def test_strings_name_no_layer_above():
    order = list(layers.ALLOWED)
    found = set()
    for path in layers.python_files():
        own = layers.package_of(layers.module_of(path))
        named = layers.named_in_strings(path)
        found |= {(path.as_posix(), name) for name, package in named if order.index(package) > order.index(own)}
    tables = {(path, name) for path, names in TABLES.items() for name in names}
    assert found == tables | EXAMPLES_AND_DATA


def test_names_in_strings_are_seen_and_docstrings_are_not(tmp_path):
    path = tmp_path / "module.py"
    path.write_text('"""See sair.pipeline."""\nA = f"{1} baselines.controls:Mean"\nB = ["baselines/x", "sair. No."]\n')
    assert sorted(layers.named_in_strings(path)) == [
        ("baselines.controls:Mean", "baselines"),
        ("baselines/x", "baselines"),
    ]


def test_only_the_front_is_outside_the_packages():
    assert sorted(path.name for path in Path("sair").glob("*.py")) == ["__init__.py", "__main__.py", "api.py"]


def test_every_package_has_its_place_above_what_it_imports():
    order = list(layers.ALLOWED)
    pairs = [(below, name) for name, allowed in layers.ALLOWED.items() for below in allowed]
    assert all(order.index(below) < order.index(name) for below, name in pairs)


def test_every_allowance_is_used():
    assert layers.imported_packages() == layers.ALLOWED


def test_the_page_of_layers_is_up_to_date():
    assert layers.PAGE.read_text(encoding="utf-8") == layers.page(), "out of date: run `python docs/layers.py`"
    assert layers.DRAWING.read_text(encoding="utf-8") == layers.drawing(), "out of date: run `python docs/layers.py`"


@pytest.mark.parametrize("path", sorted(Path("workflow/scripts").glob("*.py")), ids=str)
def test_scripts_contain_no_logic(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    forbidden = (ast.FunctionDef, ast.ClassDef, ast.For, ast.While, ast.If)
    assert not any(isinstance(node, forbidden) for node in ast.walk(tree))
