"""Dependencies point one way: reporting -> evaluation -> data, training -> models, baselines -> sair."""

import ast
from pathlib import Path

import pytest

# What a package of `sair` may import beside itself and the modules directly in `sair`.
ALLOWED = {
    "sair.data": set(),
    "sair.weights": set(),
    "sair.models": {"sair.weights"},
    "sair.training": {"sair.models", "sair.data"},
    "sair.evaluation": {"sair.data", "sair.weights"},
    "sair.reporting": {"sair.evaluation", "sair.data", "sair.weights"},
    "baselines": {"sair.models", "sair.data", "sair.weights"},
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
    return next((name for name in ALLOWED if module == name or module.startswith(name + ".")), None)


@pytest.mark.parametrize("path", FILES, ids=str)
def test_no_back_edge(path):
    own = package(".".join(path.with_suffix("").parts))
    for module in imports(path):
        target = package(module)
        if own is None:  # a module directly in `sair` may use every package of `sair`, never the baselines
            assert target != "baselines", f"{path} imports {module}"
        elif target not in (None, own):
            assert target in ALLOWED[own], f"{path} imports {module}"


def test_the_test_can_fail():
    assert package("sair.reporting.tables") not in ALLOWED["sair.evaluation"]
    assert package("baselines.lama.model") == "baselines"


@pytest.mark.parametrize("path", sorted(Path("workflow/scripts").glob("*.py")), ids=str)
def test_scripts_hold_no_logic(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    forbidden = (ast.FunctionDef, ast.ClassDef, ast.For, ast.While, ast.If)
    assert not any(isinstance(node, forbidden) for node in ast.walk(tree))
