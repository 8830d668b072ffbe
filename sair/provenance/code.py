"""Compute fingerprints of the code that a job of the workflow runs, by following the imports of its script.

Nothing is listed by hand. The closure of a script contains the modules of this project, and of the user's working
folder, that it reaches by imports (also by those inside functions), and the data files beside them that they name. A
class from an installed package is represented by the version of the package. Comments, docstrings and code for type
checkers are ignored.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import os
import re
import site
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from functools import cache
from glob import escape
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from sair.common.files import file_sha256

ROOT = Path(__file__).resolve().parents[2]
PROJECT = ("sair", "baselines")
INSTALLED = frozenset(["site-packages", "dist-packages"])  # folders of installed packages, in every environment
FRAME = "sair.pipeline.job"  # imported by every script; it watches, logs and records, but changes no number
_VARIES = r"\{[^{}]*\}|%[-+ 0#]*\d*(?:\.\d+)?[a-z]"  # the parts of a text that str.format and % replace
# The frame also sets up torch (threads, determinism); this module therefore counts for all code that uses torch.
SET_UP = "sair.common.runtime"


class Source(NamedTuple):
    """The parts of a Python file that a fingerprint depends on.

    Attributes:
        digest: SHA-256 of the code without comments and docstrings.
        imports: names that it imports; one that ends with a star means any module of that package.
        names: strings that may name data files; a star replaces the parts that vary.
        eager_digest, eager: digest and imports of the statements outside functions and classes, which run when a module
            of the package is imported.
    """

    digest: str
    imports: frozenset[str]
    names: frozenset[str]
    eager_digest: str
    eager: frozenset[str]


def fingerprint(script: str | Path, classes: Iterable[str] = ()) -> str:
    """Return a digest of all code that a script of the workflow and some classes depend on.

    Args:
        script: a file of ``workflow/scripts``.
        classes: classes that the job builds by name, as ``module:attribute``.
    """
    digest = hashlib.sha256()
    for name, content in sorted(closure(script, classes).items()):
        digest.update(f"{name} {content}\n".encode())
    return digest.hexdigest()[:16]


def closure(script: str | Path, classes: Iterable[str] = ()) -> dict[str, str]:
    """Return the modules and data files that a script and some classes depend on: name -> digest.

    Args:
        script, classes: same as in ``fingerprint``.
    """
    root = _read(Path(script))
    found = {"script": root.digest}
    waiting = [name for name in root.imports if not name.startswith(FRAME)]
    for wanted in (name.partition(":")[0] for name in classes):
        found |= _installed_version(wanted)
        waiting.append(wanted)
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        waiting += _modules_in(name)
        if name.partition(".")[0] == "torch":
            waiting.append(SET_UP)
        located = _module_of(name)
        if located is None or located[0] in found:
            continue
        module, path = located
        source = _read(path, module)
        found[module] = source.digest
        found |= {
            f"{module} {os.path.relpath(file, path.parent)}": file_sha256(file) for file in _data(path, source.names)
        }
        waiting += source.imports
        for package, initializer in _packages_around(module):
            around = _read(initializer, package)
            found[f"{package} when imported"] = around.eager_digest
            waiting += around.eager
    return found


# --------------------------------------------------------------------------------------------------------------------
# Where modules are


def _existing(modules: Iterable[str]) -> Iterator[tuple[str, Path]]:
    """Yield those modules that are of this project or of the user, each with its file."""
    return ((module, path) for module in modules if (path := _locate(module)) is not None)


def _module_of(name: str) -> tuple[str, Path] | None:
    """Return the module of this project or of the user that an imported name is or belongs to, and its file."""
    parts = name.split(".")
    names = (".".join(parts[:count]) for count in range(len(parts), 0, -1))
    return next(_existing(names), None)


def _modules_in(name: str) -> Iterator[str]:
    """Yield the modules that match a name of which only the beginning is fixed, such as ``mine.a*``."""
    package, star, _ = name.partition("*")
    package, _, beginning = package.rpartition(".")
    if star and package and (place := _place(package.partition(".")[0], Path.cwd())) is not None:
        folder = place.joinpath(*package.split(".")[1:])
        yield from (f"{package}.{path.stem}" for path in sorted(folder.glob(f"{escape(beginning)}*.py")))


def _packages_around(module: str) -> Iterator[tuple[str, Path]]:
    """Yield the packages that contain a module, outermost first, each with its ``__init__.py``."""
    parts = module.split(".")[:-1]
    names = (".".join(parts[:count]) for count in range(1, len(parts) + 1))
    return _existing(names)


def _locate(module: str) -> Path | None:
    """Return the file of a module of this project or of the user; None for other modules."""
    top, *rest = module.split(".")
    place = _place(top, Path.cwd())
    if place is None or place.is_file():
        return None if rest else place
    place = place.joinpath(*rest)
    candidates = (place / "__init__.py", place.with_name(f"{place.name}.py"))
    return next((path for path in candidates if path.is_file()), None)


@cache
def _place(top: str, folder: Path) -> Path | None:
    """Return the folder or file of a top-level module; None for installed packages and the standard library."""
    if top in PROJECT:
        return ROOT / top
    if top in sys.stdlib_module_names:
        return None
    found = _find(top)
    if found is not None:
        return None if _is_installed(found) else found
    # Look in the working folder, as find_class does; Python also accepts a folder without __init__.py as a package.
    beside = (folder / top / "__init__.py", folder / f"{top}.py", folder / top)
    return next((path.parent if path.name == "__init__.py" else path for path in beside if path.exists()), None)


def _find(top: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(top)  # the name is top-level, so nothing is imported
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations)))
    return Path(spec.origin) if spec.has_location and spec.origin else None


def _is_installed(found: Path) -> bool:
    """Return whether a module is part of an installed package, also of another environment on Python's path."""
    return not INSTALLED.isdisjoint(found.parts) or any(found.is_relative_to(folder) for folder in _installations())


@cache
def _installations() -> tuple[Path, ...]:
    """Return the folders of installed packages and of the standard library."""
    found = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    return tuple(Path(folder) for folder in {*found, *site.getsitepackages(), site.getusersitepackages()})


def _installed_version(module: str) -> dict[str, str]:
    """Return the distributions and versions of the package that contains a module, if it is installed."""
    top = module.partition(".")[0]
    if _place(top, Path.cwd()) is not None or top in sys.stdlib_module_names:
        return {}
    return {f"package {name}": metadata.version(name) for name in _distributions().get(top, ())}


@cache
def _distributions() -> dict[str, list[str]]:
    return dict(metadata.packages_distributions())


# --------------------------------------------------------------------------------------------------------------------
# Reading files


def _read(path: Path, module: str = "") -> Source:
    facts = path.stat()
    return _parsed(path, module, facts.st_mtime_ns, facts.st_size)


@cache
def _parsed(path: Path, module: str, modified: int, size: int) -> Source:
    text = path.read_bytes()
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):  # the job that imports the file reports the error
        return Source(hashlib.sha256(text).hexdigest(), frozenset(), frozenset(), "", frozenset())
    tree = _WithoutComments().visit(tree)
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    outside = ast.Module(_run_by_an_import(tree.body), [])
    all_of_it, eager = _Names(package), _Names(package)
    all_of_it.visit(tree)
    eager.visit(outside)
    digests = [hashlib.sha256(ast.dump(part).encode()).hexdigest() for part in (tree, outside)]
    return Source(
        digests[0], frozenset(all_of_it.imports), frozenset(all_of_it.names), digests[1], frozenset(eager.imports)
    )


def _run_by_an_import(body: list[ast.stmt]) -> list[ast.stmt]:
    """Return the statements of a module that may run on import: not functions and classes that are only defined.

    Definitions that other statements name may be called by them, and decorators may register what they decorate, so
    these are kept.
    """
    defined = {
        node.name: node for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    }
    kept = [node for node in body if node not in defined.values() or getattr(node, "decorator_list", [])]
    for node in kept:
        words = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
        kept += [defined[word] for word in sorted(words & defined.keys()) if defined[word] not in kept]
    return sorted(kept, key=lambda node: node.lineno)


class _WithoutComments(ast.NodeTransformer):
    """Removes docstrings and code for type checkers from a tree."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
        return super().generic_visit(node)

    def visit_If(self, node: ast.If) -> Any:
        checked = node.test.attr if isinstance(node.test, ast.Attribute) else getattr(node.test, "id", None)
        if checked == "TYPE_CHECKING":
            return [self.visit(statement) for statement in node.orelse]
        return self.generic_visit(node)


class _Names(ast.NodeVisitor):
    """Collects the imports of a tree, and its strings that may name a data file."""

    def __init__(self, package: str) -> None:
        self.package = package
        self.imports: set[str] = set()
        self.names: set[str] = set()

    def visit_Import(self, node: ast.Import) -> None:
        self.imports.update(alias.name for alias in node.names)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        base = self.package.split(".")[: len(self.package.split(".")) + 1 - node.level] if node.level else []
        module = ".".join([*base, *([node.module] if node.module else [])])
        self.imports.update(f"{module}.{alias.name}" for alias in node.names)

    def visit_Call(self, node: ast.Call) -> None:
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        if name in ("import_module", "__import__") and node.args and (wanted := _pattern(node.args[0])).strip("*."):
            dots = len(wanted) - len(wanted.lstrip("."))  # a relative name: of this package or one above it
            above = self.package.split(".")[: len(self.package.split(".")) + 1 - dots] if dots else []
            self.imports.add(".".join([*above, wanted.lstrip(".")]))
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        self._name(_pattern(node))

    def visit_BinOp(self, node: ast.BinOp) -> None:
        self._name(_pattern(node))
        self.generic_visit(node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        self._name(_pattern(node))
        for part in node.values:
            if not isinstance(part, ast.Constant):
                self.visit(part)

    def _name(self, text: str) -> None:
        """Keep a text that may name a data file or a folder; ``_data`` checks later whether it exists."""
        text = "/".join(part if part == "**" else re.sub(r"\*+", "*", part) for part in text.split("/"))
        if text.strip("*./") and text.isprintable() and len(text) <= 200 and not text.startswith("/"):
            self.names.add(f"*{text}" if re.fullmatch(r"\.\w+", text) else text)  # an ending is appended to a name


def _pattern(node: ast.AST) -> str:
    """Return the text of an expression, with a star for each part that varies."""
    if isinstance(node, ast.Constant):
        return re.sub(_VARIES, "*", node.value) if isinstance(node.value, str) else "*"
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "*" for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mod):
        return _pattern(node.left) + (_pattern(node.right) if isinstance(node.op, ast.Add) else "")
    return "*"


def _data(path: Path, names: frozenset[str]) -> Iterator[Path]:
    """Yield the data files that the strings of a module name, in its package or a package around it.

    A module outside a package names files beside it.
    """
    folder = path.parent
    if not (folder / "__init__.py").is_file():  # not a package: only files with exactly that name beside the module
        fixed = [name for name in names if "*" not in name.partition("/")[0] and re.search(r"\.\w+$", name)]
        beside = (found for name in fixed for found in (folder.glob(name) if "*" in name else [folder / name]))
        yield from sorted({file for file in beside if file.is_file() and file.suffix not in (".py", ".pyc")})
        return
    while (folder / "__init__.py").is_file():
        for file in _files(folder):
            relative = PurePosixPath(file.relative_to(folder).as_posix())
            if not names.isdisjoint(relative.parts) or any(relative.match(name) for name in names if _may_match(name)):
                yield file
        folder = folder.parent


def _may_match(name: str) -> bool:
    """Return whether a name is specific enough to search for: it has an ending, or is a path with a fixed part."""
    fixed = [part for part in name.split("/") if part.strip(".") and "*" not in part]
    return bool(re.search(r"\.\w+$", name) or ("/" in name and fixed))


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files of a package that are not Python, without those of packages inside it."""
    files, folders = _listing(folder, folder.stat().st_mtime_ns)
    yield from files
    for inside in folders:
        yield from _files(inside)


@cache
def _listing(folder: Path, modified: int) -> tuple[list[Path], list[Path]]:
    """Return the files of a folder that are not Python, and its subfolders that are not packages."""
    paths = sorted(folder.iterdir())
    files = [path for path in paths if path.suffix not in (".py", ".pyc") and path.is_file()]
    folders = [path for path in paths if path.name != "__pycache__" and path.is_dir()]
    return files, [path for path in folders if not (path / "__init__.py").is_file()]
