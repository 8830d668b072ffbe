"""Dependencies point one way: every module belongs to a package that has a place in the layer order."""

import ast
from pathlib import Path

import pytest

# What a package may import beside itself, bottom up. `sair` is the front: `import sair`, `python -m sair`.
ALLOWED = {
    "sair.common": set(),
    "sair.weights": {"sair.common"},
    "sair.data": {"sair.common"},
    "sair.methods": {"sair.common"},
    "sair.models": {"sair.common", "sair.weights"},
    "baselines": {"sair.common", "sair.weights", "sair.data", "sair.methods"},
    "sair.training": {"sair.common", "sair.data", "sair.methods"},
    "sair.evaluation": {"sair.common", "sair.weights", "sair.data"},
    "sair.inference": {"sair.common", "sair.data", "sair.methods", "sair.models", "sair.evaluation"},
    "sair.provenance": {"sair.common", "sair.weights"},
    "sair.reporting": {
        "sair.common",
        "sair.weights",
        "sair.data",
        "sair.evaluation",
        "sair.inference",
        "sair.provenance",
    },
    "sair.api": {"sair.common", "sair.data", "sair.methods", "sair.inference", "sair.evaluation", "sair.reporting"},
    "sair.pipeline": {
        "sair.common",
        "sair.weights",
        "sair.data",
        "sair.methods",
        "sair.training",
        "sair.provenance",
        "sair.reporting",
    },
    "sair.commands": {
        "sair.common",
        "sair.weights",
        "sair.data",
        "sair.methods",
        "sair.evaluation",
        "sair.inference",
        "sair.provenance",
        "sair.reporting",
        "sair.pipeline",
    },
    "sair": {"sair.api", "sair.commands", "sair.common"},
}
FILES = [path for top in ("sair", "baselines") for path in sorted(Path(top).rglob("*.py"))]


def imports(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def package(module):
    """Return the longest entry that a module lies in; of a package's own front only the front itself."""
    parts = module.split(".")
    names = (".".join(parts[:count]) for count in range(len(parts), 0, -1))
    return next((name for name in names if name in ALLOWED), None)


def module_of(path):
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("path", FILES, ids=str)
def test_no_back_edge(path):
    own = package(module_of(path))
    for module in imports(path):
        target = package(module)
        if target not in (None, own):
            assert target in ALLOWED[own], f"{path} imports {module}"


def test_only_the_front_lies_outside_the_packages():
    assert sorted(path.name for path in Path("sair").glob("*.py")) == ["__init__.py", "__main__.py", "api.py"]


def test_every_package_has_its_place_above_what_it_imports():
    order = list(ALLOWED)
    assert all(order.index(below) < order.index(name) for name, allowed in ALLOWED.items() for below in allowed)


def test_every_allowance_is_used():
    used = {(package(module_of(path)), package(module)) for path in FILES for module in imports(path)}
    assert [(name, below) for name, allowed in ALLOWED.items() for below in allowed if (name, below) not in used] == []


@pytest.mark.parametrize("path", sorted(Path("workflow/scripts").glob("*.py")), ids=str)
def test_scripts_hold_no_logic(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    forbidden = (ast.FunctionDef, ast.ClassDef, ast.For, ast.While, ast.If)
    assert not any(isinstance(node, forbidden) for node in ast.walk(tree))
