"""Test the command of equal budgets, and that ``sair verify`` recomputes its page."""

import json
import shutil
from pathlib import Path

import pytest
from helpers.budgets import budgets
from PIL import Image

from sair.commands.cli import main
from sair.commands.verify import BACKED, NOT_BACKED, _verify_budgets
from sair.pipeline.config import load_config
from sair.provenance.records import changed


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Return a folder with two budgets and their page, which the command has written."""
    home = tmp_path_factory.mktemp("page")
    folders = budgets(home, factors=(1, 2), seeds=(0, 1), images=8)
    assert main(["budgets", *folders, "-o", str(home), "--pair", "sair,liif"]) == 0
    return home


@pytest.fixture
def moved(page, tmp_path):
    """Return a copy of that folder in another place, which a test may damage."""
    return Path(shutil.copytree(page, tmp_path / "moved"))


def states(folder):
    return {Path(finding.file).name: finding.state for finding in _verify_budgets(str(folder))}


def test_the_command_writes_page_figure_and_record(page):
    text = (page / "budgets.md").read_text()
    assert "SAIR against LIIF, PSNR" in text and "](budgets.png)" in text  # labels are of the method files
    with Image.open(page / "budgets.png") as image:
        assert image.width > 1000 and len(image.convert("RGB").getcolors(1 << 20)) > 20
    facts = json.loads((page / "provenance/budgets.json").read_text())
    assert {Path(path).name for path in facts["inputs"]} == {"scores.csv", "checkpoint.safetensors", "manifest.csv"}
    assert len(facts["inputs"]) == 2 * (1 + 2 * 2 * 2)
    assert not list(changed(page))


def test_verify_recomputes_the_page_also_where_it_was_moved(moved):
    assert states(moved) == {"budgets.md": BACKED, "budgets.csv": BACKED}
    text = (moved / "budgets.md").read_text()
    (moved / "budgets.md").write_text(text.replace("1,000 steps", "1,001 steps", 1))
    assert states(moved) == {"budgets.md": NOT_BACKED, "budgets.csv": BACKED}
    assert [Path(path).name for path, _ in changed(moved)] == ["budgets.md"]


def test_verify_reports_changed_scores_and_a_damaged_record(moved):
    path = moved / "2/faces/liif/seed1/scores.csv"
    header, first, *rest = path.read_text().splitlines()
    cells = dict(zip(header.split(","), first.split(","), strict=True))
    cells["psnr"] = "49"
    path.write_text("\n".join([header, ",".join(cells.values()), *rest]) + "\n")
    assert states(moved) == {"budgets.md": NOT_BACKED, "budgets.csv": NOT_BACKED}
    record = moved / "provenance/budgets.json"
    facts = json.loads(record.read_text())
    page = facts["config"]["budgets"]
    for damage in (
        {},
        {"labels": 3},
        {"labels": {"sair": 3}},
        {"least": {"psnr": "x"}},
        {"folders": "12"},
        {"pairs": [3]},
    ):
        torn = {"budgets": page | damage} if damage else {}
        record.write_text(json.dumps(facts | {"config": {"results": str(moved)} | torn}))
        (finding,) = _verify_budgets(str(moved))
        assert finding.state == NOT_BACKED and "not the record of this page. Run sair budgets again." in finding.said


def test_verify_sums_up_in_one_line_what_was_not_made(page, capsys):
    assert main(["verify", str(page)]) == 0
    out, err = capsys.readouterr()
    (unmade,) = (line for line in out.splitlines() if line.startswith("not made"))
    assert "table1.md, table2.md" in unmade and "claims.md" in unmade and out.count("backed") == 2
    assert "0file" not in err  # no bar for nothing


def test_mistakes_are_one_line(page, tmp_path, capsys):
    assert main(["budgets", str(page / "1"), "-o", str(tmp_path)]) == 1
    assert main(["budgets", str(page / "1"), str(page / "3"), "-o", str(tmp_path)]) == 1
    assert main(["budgets", str(page / "1"), str(page / "2"), "-o", str(page / "budgets.md")]) == 1
    assert main(["budgets", str(page / "1"), str(page / "2"), "-o", str(tmp_path), "--methods", ",,"]) == 1
    errors = capsys.readouterr().err.splitlines()
    assert "--methods ,,: names no method" in errors[3]
    assert len(errors) == 4 and all(line.startswith("error: ") for line in errors)
    assert not list(tmp_path.iterdir())


def test_make_trains_each_budget_into_its_own_folder():
    files = {path.stem: path for path in Path("config/budgets").iterdir()}
    (line,) = (line for line in Path("Makefile").read_text().splitlines() if line.startswith("BUDGETS ?="))
    assert set(line.split()[2:]) == {"0.5", "1", "2", "4"} <= files.keys()
    for name, path in files.items():
        config = load_config(["config/budgets.yaml", path])
        assert config["results"] == f"results/budgets/{name}" and config["training"]["scale"] == float(name)
        assert config["seeds"] == [0, 1, 2] and len(config["tables"]["table1"]["only"]) == 6
