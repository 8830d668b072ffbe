"""Test that the files on the page about `make table1` exist, and that their order is that of the code."""

import re
from pathlib import Path

import pytest
from helpers.pages import prose

from sair.provenance.code import closure

PAGE = "docs/make-to-number.md"
CLASSES = ["sair.models.inpainter:ImplicitInpainter"]  # named by the method's file, not imported by the script
PLAN = "sair/pipeline/driver.py"


def steps():
    """Return the files of each step, in order."""
    for part in re.split(r"^## ", prose(PAGE), flags=re.MULTILINE)[1:]:
        if files := re.findall(r"^\| `([^`]+)` \|", part, re.MULTILINE):
            yield pytest.param(files, part, id=part.splitlines()[0])


def module(file):
    return re.sub(r"/__init__$", "", file.removesuffix(".py")).replace("/", ".")


@pytest.mark.parametrize(("files", "part"), [*steps()])
def test_files_exist_and_each_module_is_imported_by_the_script_before_it(files, part):
    assert [file for file in files if not Path(file).is_file()] == []
    scripts = [file for file in files if file.startswith("workflow/scripts/")]
    start = scripts[0] if scripts else PLAN
    reached = closure(start, CLASSES if "train" in start else ())
    after = files[files.index(start) + 1 :]
    assert [file for file in after if file.startswith("sair/") and module(file) not in reached] == []


@pytest.mark.parametrize(("files", "part"), [step for step in steps() if "workflow/scripts" in step.values[1]])
def test_the_rule_of_a_step_has_its_script(files, part):
    rules = next(file for file in files if file.startswith("workflow/rules/"))
    name = re.search(r"\| rule `(\w+)` \|", part)[1]
    rule = re.search(rf"^rule {name}:\n((?:    .*\n|\n)+)", Path(rules).read_text(encoding="utf-8"), re.MULTILINE)[1]
    script = re.search(r'script:\s+"\.\./scripts/(\w+\.py)"', rule)[1]
    assert f"workflow/scripts/{script}" in files
    function = re.search(r"calls `(\w+)`", part)
    assert function is None or f"{function[1]}(" in Path(f"workflow/scripts/{script}").read_text(encoding="utf-8")


def test_the_plan_is_reached_in_the_order_of_the_page():
    texts = {file: Path(file).read_text(encoding="utf-8") for file in ("Makefile", "workflow/Snakefile")}
    assert "results/table1.md" in texts["Makefile"]
    assert "driver.plan(" in texts["workflow/Snakefile"]
    assert "config/config.yaml" in texts["workflow/Snakefile"]
    for script in Path("workflow/scripts").glob("*.py"):
        assert "sair.pipeline.job" in script.read_text(encoding="utf-8")
