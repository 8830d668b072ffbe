"""Test that fingerprints cover all code that a job imports, and ignore comments and other irrelevant parts."""

import sys
import textwrap

import pytest

from sair.provenance import code


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Replace this project by one of a few modules; return a function that writes one of its files."""
    monkeypatch.setattr(code, "ROOT", tmp_path)
    monkeypatch.chdir(tmp_path)
    code._place.cache_clear()

    def write(name, text=""):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    for package in ("sair", "sair/data", "sair/report", "baselines"):
        write(f"{package}/__init__.py")
    write("script.py", "from sair.pipeline.job import job\nwith job():\n    from sair.report.table import write\n")
    write("sair/pipeline/job.py", "from sair import driver, runtime")
    write("sair/pipeline/driver.py")
    write("sair/common/runtime.py", "set_up = 1")
    write("sair/report/table.py", "from sair.data.read import rows\n\ndef write():\n    from baselines import late\n")
    write("sair/data/read.py", "rows = 1")
    write("sair/data/unused.py", "x = 1")
    write("baselines/late.py", "x = 1")
    yield write
    code._place.cache_clear()


def modules(*classes):
    return {name for name in code.closure("script.py", classes) if "when imported" not in name} - {"script"}


def test_a_closure_follows_imports(project):
    assert modules() == {"sair.report.table", "sair.data.read", "baselines.late"}


@pytest.mark.parametrize(
    ("file", "text", "counts"),
    [
        ("sair/data/read.py", "rows = 2", True),
        ("sair/data/read.py", "'A docstring.'\n# a comment\nrows = 1", False),
        ("baselines/late.py", "x = 2", True),
        ("sair/data/__init__.py", "x = 1", True),
        ("sair/data/__init__.py", "def unused():\n    from sair.data import unused", False),
        ("sair/data/__init__.py", "def used():\n    return 1\nx = used()", True),
        ("sair/data/__init__.py", "@keep\ndef used():\n    return 1", True),
        ("sair/data/unused.py", "x = 2", False),
        ("sair/common/runtime.py", "set_up = 2", False),
        ("sair/pipeline/driver.py", "x = 1", False),
        ("script.py", "from sair.data.read import rows", True),
    ],
)
def test_what_counts_as_a_change(project, file, text, counts):
    before = code.fingerprint("script.py")
    project(file, text)
    assert (code.fingerprint("script.py") != before) == counts


@pytest.mark.parametrize(
    ("text", "reached"),
    [
        ("import sair.data.unused", True),
        ("from sair.data import unused", True),
        ("from . import other\nfrom ..data.unused import x", True),
        ("import importlib\nimportlib.import_module('sair.data.unused')", True),
        ("class A:\n    async def f(self):\n        import sair.data.unused as u", True),
        ("try:\n    import sair.data.unused\nexcept ImportError:\n    pass", True),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import sair.data.unused", False),
        ("import typing\nif typing.TYPE_CHECKING:\n    pass\nelse:\n    import sair.data.unused", True),
        ("import importlib\nimportlib.import_module('..data.unused', __package__)", True),
        ("import importlib\nimportlib.import_module(f'sair.data.{name}')", True),
        ("import importlib\nimportlib.import_module('sair.data.un' + rest)", True),
        ("import importlib\nimportlib.import_module(f'sair.report.{name}')", False),
        ("import importlib\nimportlib.import_module(name)", False),
        ("'import sair.data.unused'", False),
    ],
)
def test_every_way_to_import(project, text, reached):
    project("sair/report/table.py", text)
    assert ("sair.data.unused" in modules()) == reached


def test_a_function_of_a_package_counts_where_it_is_asked_for(project):
    project("sair/data/__init__.py", "def load():\n    from sair.data import unused")
    assert "sair.data.unused" not in modules()
    project("sair/report/table.py", "from sair.data import load")
    assert {"sair.data", "sair.data.unused"} <= modules()


def test_torch_counts_with_how_the_frame_sets_it_up(project):
    project("sair/data/read.py", "import torch.nn as nn\nrows = 1")
    assert "sair.common.runtime" in modules() and "sair.pipeline.driver" not in modules()


@pytest.mark.parametrize(
    "line",
    [
        "'paper.yaml'",
        "f'{name}.yaml'",
        "folder / 'page' / 'paper.yaml'",
        "f'page/{name}'",
        "folder.glob('*.yaml')",
        "'{}.yaml'.format(name)",
        "'%s.yaml' % name",
        "name + '.yaml'",
        "folder.with_suffix('.yaml')",
        "(folder / 'page').iterdir()",
    ],
)
def test_data_files_count_where_they_are_named(project, line):
    data = project("sair/report/page/paper.yaml", "a: 1")
    before = code.fingerprint("script.py")
    data.write_text("a: 2")
    assert code.fingerprint("script.py") == before  # no module reads it
    project("sair/report/table.py", f"def read(name, folder):\n    return {line}")
    before = code.fingerprint("script.py")
    data.write_text("a: 3")
    assert code.fingerprint("script.py") != before


def test_a_users_own_module_counts_with_what_it_imports_and_reads(project, tmp_path):
    project("mine.py", "import helper\nTABLE = 'table.json'\nOTHER = f'tables/{x}{y}.json'")
    project("tables/a.json", "1")
    project("helper.py", "x = 1")
    project("table.json", "1")
    before = code.fingerprint("script.py", ["mine:Mine"])
    assert {"mine", "helper", "mine table.json", "mine tables/a.json"} <= modules("mine:Mine")
    for name, text in (
        ("mine.py", "import helper\nTABLE = 'table.json'\ny = 1"),
        ("helper.py", "x = 2"),
        ("table.json", "2"),
    ):
        project(name, text)
        assert code.fingerprint("script.py", ["mine:Mine"]) != before
        before = code.fingerprint("script.py", ["mine:Mine"])
    for text in (
        "def broken(:",
        "def broken(",
        "x = 1",
    ):  # planning continues: the job that imports the file reports the error
        project("mine.py", text)
        assert code.fingerprint("script.py", ["mine:Mine"]) != before
        before = code.fingerprint("script.py", ["mine:Mine"])


@pytest.mark.parametrize(("module", "name"), [("theirs.model", "theirs/model.py"), ("theirs.model", "theirs/part.py")])
def test_a_folder_that_python_takes_for_a_package_counts(project, module, name):
    project("theirs/model.py", "from theirs import part")
    project("theirs/part.py", "x = 1")
    before = code.fingerprint("script.py", [f"{module}:Mine"])
    project(name, "from theirs import part\nx = 2")
    assert code.fingerprint("script.py", [f"{module}:Mine"]) != before


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("theirs/deep/my table.json", "'my table.json'"),
        ("theirs/deep/palette", "'palette'"),
        ("theirs/deep/a.json", "f'{first}{second}.json'"),
        ("theirs/table.json", "Path(__file__).parent.parent / 'table.json'"),
    ],
)
def test_data_of_a_package_counts_whatever_its_name(project, name, line):
    for package in ("theirs", "theirs/deep"):
        project(f"{package}/__init__.py")
    project("theirs/deep/model.py", f"from pathlib import Path\nTABLE = {line}")
    project(name, "1")
    before = code.fingerprint("script.py", ["theirs.deep.model:Mine"])
    project(name, "2")
    assert code.fingerprint("script.py", ["theirs.deep.model:Mine"]) != before


def test_a_package_outside_the_working_folder_counts_by_source(project, tmp_path_factory, monkeypatch):
    """An editable installation has no version that changes with its code."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "theirs").mkdir()
    (elsewhere / "theirs/__init__.py").touch()
    (elsewhere / "theirs/model.py").write_text("x = 1")
    monkeypatch.syspath_prepend(elsewhere)
    assert "theirs.model" in modules("theirs.model:Model")


def test_an_installed_package_counts_by_its_version(project, tmp_path_factory, monkeypatch):
    installed = tmp_path_factory.mktemp("site-packages")
    (installed / "theirs").mkdir()
    (installed / "theirs/__init__.py").touch()
    facts = installed / "theirs_inpainting-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs-inpainting\nVersion: 1.0\n")
    (facts / "top_level.txt").write_text("theirs\n")
    monkeypatch.syspath_prepend(installed)
    monkeypatch.setattr(code, "_installations", lambda: (installed,))
    code._distributions.cache_clear()
    assert code.closure("script.py", ["theirs.model:Model"])["package theirs-inpainting"] == "1.0"
    before = code.fingerprint("script.py", ["theirs:Model"])
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs-inpainting\nVersion: 1.1\n")
    assert code.fingerprint("script.py", ["theirs:Model"]) != before
    code._distributions.cache_clear()
    assert "theirs" not in sys.modules


def test_packages_of_another_environment_on_the_path_are_installed_ones(project, tmp_path_factory, monkeypatch):
    other = tmp_path_factory.mktemp("environment") / "lib/python3.11/site-packages"
    (other / "theirs").mkdir(parents=True)
    (other / "theirs/__init__.py").touch()
    monkeypatch.syspath_prepend(other)
    assert code._module_of("theirs.model") is None and "theirs" not in code.closure("script.py", ["theirs:Model"])


def test_a_missing_class_is_reported_by_its_job_only(project):
    assert code.fingerprint("script.py", ["no_such_package.module:Mine"])
