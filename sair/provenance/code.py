"""Fingerprints of code: everything that a job of the workflow runs, found by following imports from its script.

Nothing is listed by hand. The closure of a script holds the modules of this project, and of the user's own folder, that
it reaches by imports (those inside functions too), and the data files beside them that they name. A class from an
installed package counts by that package's version. Comments, docstrings and code for type checkers do not count.
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
from typing import NamedTuple

from sair.common.files import file_sha256

ROOT = Path(__file__).resolve().parents[2]
PROJECT = ("sair", "baselines")
FRAME = "sair.pipeline.job"  # around every script: it watches, logs and records, and changes no number
_VARIES = r"\{[^{}]*\}|%[-+ 0#]*\d*(?:\.\d+)?[a-z]"  # what str.format and % replace
# But the frame also sets torch up (threads, determinism), which counts for whatever uses it.
SET_UP = "sair.common.runtime"


class Source(NamedTuple):
    """What one Python file says: digests of its code, what it imports, and strings that may name files.

    In names what varies is a star; an import that ends with a star is of any module of that package.

    ``eager`` and ``eager_digest`` are of the statements outside functions and classes: all that runs of a package when
    one of its modules is imported.
    """

    digest: str
    imports: frozenset[str]
    names: frozenset[str]
    eager_digest: str
    eager: frozenset[str]


def fingerprint(script: str | Path, classes: Iterable[str] = ()) -> str:
    """Return a digest of all code that a script of the workflow and some classes consist of.

    Args:
        script: a file of ``workflow/scripts``.
        classes: classes that the job builds by name, as ``module:attribute``.
    """
    digest = hashlib.sha256()
    for name, content in sorted(closure(script, classes).items()):
        digest.update(f"{name} {content}\n".encode())
    return digest.hexdigest()[:16]


def closure(script: str | Path, classes: Iterable[str] = ()) -> dict[str, str]:
    """Return a digest of every module and data file that a script and some classes reach, by name.

    Args:
        script, classes: as of ``fingerprint``. A class from an installed package counts by the package's version.
    """
    root = _read(Path(script))
    found = {"script": root.digest}
    waiting = [name for name in root.imports if not name.startswith(FRAME)]
    for module in (name.partition(":")[0] for name in classes):
        found |= _installed_version(module)
        waiting.append(module)
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        waiting += _modules_in(name)
        if name.partition(".")[0] == "torch":
            waiting.append(SET_UP)
        module = _module_of(name)
        if module is None or module in found:
            continue
        path = _locate(module)
        source = _read(path, module)
        found[module] = source.digest
        found |= {
            f"{module} {os.path.relpath(file, path.parent)}": file_sha256(file) for file in _data(path, source.names)
        }
        waiting += source.imports
        for package in _packages_around(module):
            around = _read(_locate(package), package)
            found[f"{package} when imported"] = around.eager_digest
            waiting += around.eager
    return found


# --------------------------------------------------------------------------------------------------------------------
# Where modules are


def _module_of(name: str) -> str | None:
    """Return the module that an imported name is or lies in, if it is of this project or the user's own."""
    parts = name.split(".")
    names = (".".join(parts[:count]) for count in range(len(parts), 0, -1))
    return next((module for module in names if _locate(module) is not None), None)


def _modules_in(name: str) -> Iterator[str]:
    """Yield the modules that a program may mean by a name of which only the beginning is fixed, such as ``mine.a*``."""
    package, star, _ = name.partition("*")
    package, _, beginning = package.rpartition(".")
    if star and package and (place := _place(package.partition(".")[0], Path.cwd())) is not None:
        folder = place.joinpath(*package.split(".")[1:])
        yield from (f"{package}.{path.stem}" for path in sorted(folder.glob(f"{escape(beginning)}*.py")))


def _packages_around(module: str) -> Iterator[str]:
    parts = module.split(".")[:-1]
    names = (".".join(parts[:count]) for count in range(1, len(parts) + 1))
    return (name for name in names if _locate(name) is not None)


def _locate(module: str) -> Path | None:
    """Return the file of a module of this project or of the user's own; None for what is neither."""
    top, *rest = module.split(".")
    place = _place(top, Path.cwd())
    if place is None or place.is_file():
        return None if rest else place
    place = place.joinpath(*rest)
    candidates = (place / "__init__.py", place.with_name(f"{place.name}.py"))
    return next((path for path in candidates if path.is_file()), None)


@cache
def _place(top: str, folder: Path) -> Path | None:
    """Return the folder or file of a top-level module; None for the standard library and installed packages."""
    if top in PROJECT:
        return ROOT / top
    if top in sys.stdlib_module_names:
        return None
    found = _find(top)
    if found is not None:
        return None if any(found.is_relative_to(installed) for installed in _installations()) else found
    # As find_class imports it, from the working folder; Python also takes a folder without __init__.py for a package.
    beside = (folder / top / "__init__.py", folder / f"{top}.py", folder / top)
    return next((path.parent if path.name == "__init__.py" else path for path in beside if path.exists()), None)


def _find(top: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(top)  # of a top-level name: nothing is imported
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations)))
    return Path(spec.origin) if spec.has_location else None


@cache
def _installations() -> tuple[Path, ...]:
    """Folders of installed packages and of the standard library."""
    found = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    return tuple(Path(folder) for folder in {*found, *site.getsitepackages(), site.getusersitepackages()})


def _installed_version(module: str) -> dict[str, str]:
    """Return the distribution of a class's package with its version, if it is an installed one."""
    top = module.partition(".")[0]
    if _place(top, Path.cwd()) is not None or top in sys.stdlib_module_names:
        return {}
    return {f"package {name}": metadata.version(name) for name in _distributions().get(top, ())}


@cache
def _distributions() -> dict[str, list[str]]:
    return dict(metadata.packages_distributions())


# --------------------------------------------------------------------------------------------------------------------
# What files say


def _read(path: Path, module: str = "") -> Source:
    facts = path.stat()
    return _parsed(path, module, facts.st_mtime_ns, facts.st_size)


@cache
def _parsed(path: Path, module: str, modified: int, size: int) -> Source:
    text = path.read_bytes()
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):  # what is wrong with it the job says that imports it
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
    """Return the statements of a module without the functions and classes that it only defines.

    What the others name may be called by them, and a decorator may keep what it is given: these stay.
    """
    defined = {
        node.name: node for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    }
    kept = [node for node in body if node not in defined.values() or node.decorator_list]
    for node in kept:
        words = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
        kept += [defined[word] for word in sorted(words & defined.keys()) if defined[word] not in kept]
    return sorted(kept, key=lambda node: node.lineno)


class _WithoutComments(ast.NodeTransformer):
    """Takes out what never runs: docstrings, and what only type checkers see."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        if documented and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
        return super().generic_visit(node)

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.AST]:
        checked = node.test.attr if isinstance(node.test, ast.Attribute) else getattr(node.test, "id", None)
        if checked == "TYPE_CHECKING":
            return [self.visit(statement) for statement in node.orelse]
        return self.generic_visit(node)


class _Names(ast.NodeVisitor):
    """Collects the modules that a tree imports, and those of its strings that may name a data file."""

    def __init__(self, package: str) -> None:
        self.package, self.imports, self.names = package, set(), set()

    def visit_Import(self, node: ast.Import) -> None:
        self.imports.update(alias.name for alias in node.names)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        base = self.package.split(".")[: len(self.package.split(".")) + 1 - node.level] if node.level else []
        module = ".".join([*base, *([node.module] if node.module else [])])
        self.imports.update(f"{module}.{alias.name}" for alias in node.names)

    def visit_Call(self, node: ast.Call) -> None:
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        if name in ("import_module", "__import__") and node.args and (wanted := _pattern(node.args[0])).strip("*."):
            dots = len(wanted) - len(wanted.lstrip("."))  # of this package, or of one above
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
        """Keep what may name a data file or a folder of such; whether one is there is asked later."""
        text = "/".join(part if part == "**" else re.sub(r"\*+", "*", part) for part in text.split("/"))
        if text.strip("*./") and text.isprintable() and len(text) <= 200 and not text.startswith("/"):
            self.names.add(f"*{text}" if re.fullmatch(r"\.\w+", text) else text)  # an ending is put behind a name


def _pattern(node: ast.AST) -> str:
    """Return the text of an expression with a star for all that varies in it."""
    if isinstance(node, ast.Constant):
        return re.sub(_VARIES, "*", node.value) if isinstance(node.value, str) else "*"
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "*" for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mod):
        return _pattern(node.left) + (_pattern(node.right) if isinstance(node.op, ast.Add) else "")
    return "*"


def _data(path: Path, names: frozenset[str]) -> Iterator[Path]:
    """Yield the data files that a module's strings name: in its package's folder, one below, or a package around."""
    folder = path.parent
    if not (folder / "__init__.py").is_file():  # no package: what lies beside the module under that very name
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
    """Whether a name says enough of a file to be looked for: an ending, or a path with a part that is fixed."""
    fixed = [part for part in name.split("/") if part.strip(".") and "*" not in part]
    return bool(re.search(r"\.\w+$", name) or ("/" in name and fixed))


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files of a package that are not Python, without those of the packages in it."""
    files, folders = _listing(folder, folder.stat().st_mtime_ns)
    yield from files
    for inside in folders:
        yield from _files(inside)


@cache
def _listing(folder: Path, modified: int) -> tuple[list[Path], list[Path]]:
    """Return the files of a folder that are not Python, and the folders in it that are no packages."""
    paths = sorted(folder.iterdir())
    files = [path for path in paths if path.suffix not in (".py", ".pyc") and path.is_file()]
    folders = [path for path in paths if path.name != "__pycache__" and path.is_dir()]
    return files, [path for path in folders if not (path / "__init__.py").is_file()]
