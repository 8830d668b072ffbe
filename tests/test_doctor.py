"""`sair doctor`: what it finds in sets that are right, missing, or not what they are said to be."""

import shutil

import numpy as np
import pytest
import yaml

from sair import doctor
from sair.cli import main
from sair.data.sources import pictures
from sair.data.strokes import draw_strokes
from sair.images import write_png
from sair.project import Project

CLASSES = ["sky", "face"]


@pytest.fixture
def sets(tmp_path):
    """A labelled folder of 8 pictures and one of 30 masks; returns a config that names them."""
    spec = {"source": "faces", "train": 8, "validation": 0, "test": 0}
    for picture in pictures(spec, 48):
        write_png(tmp_path / f"images/{picture.id}.png", picture.pixels)
        write_png(tmp_path / f"labels/{picture.id}.png", (picture.labels > 0).astype(np.uint8))
    for number in range(30):
        low = number % 3 * 20
        write_png(
            tmp_path / f"masks/{number:02d}.png", draw_strokes(number, 48, 48, low, low + 20).astype(np.uint8) * 255
        )
    dataset = {
        "source": "folder", "images": str(tmp_path / "images"), "labels": str(tmp_path / "labels"), "classes": CLASSES,
        "masks": "mine", "train": 5, "validation": 1, "test": 2,
    }  # fmt: skip
    return {
        "image_size": 32,
        "datasets": {"mine": dataset},
        "masks": {"mine": {"source": "folder", "path": str(tmp_path / "masks"), "hole": "white", "train": 9}},
        "tables": {table: {"dataset": "mine"} for table in ("table1", "table2", "table4", "table5", "table6")},
        "figures": {kind: {"dataset": "mine"} for kind in ("qualitative", "semantic_maps", "training_curves")},
        "semantics": {"dataset": "mine"},
    }


def examined(sets, config):
    from sair.methods import merge

    project = Project(merge(config, sets), "workflow/schemas/config.schema.yaml")
    return list(doctor.examine(project.config, project.encoders))


def faults(findings):
    return [(finding.state, finding.what) for finding in findings if finding.state != doctor.OK]


def test_what_is_right_is_called_so(sets, config):
    findings = examined(sets, config)
    assert faults(findings) == []
    said = {(finding.what, finding.said.split(": ", 1)[-1].split(":")[0]) for finding in findings}
    assert ("dataset mine, images", "8 files, 8 needed") in said
    assert ("dataset mine, labels", "2 of 2 classes seen") in said
    assert any("holes of 0-20 %: 10, 20-40 %: 10, 40-60 %: 10; outside: 0" in finding.said for finding in findings)


def test_what_is_missing_is_named_with_its_source_and_terms(sets, config, tmp_path):
    shutil.rmtree(tmp_path / "masks")
    sets["masks"]["mine"]["known"] = "nvidia"
    findings = examined(sets, config)
    assert faults(findings) == [("missing", "masks mine")]
    said = next(finding.said for finding in findings if finding.state == "missing")
    assert "no such folder" in said and "irregular test masks: https://" in said and "(terms: " in said


@pytest.mark.parametrize(
    ("section", "change", "fault", "message"),
    [
        ("datasets", {"known": "celebahq"}, "dataset mine, images", "8 files, but this set has 30000"),
        ("datasets", {"test": 9}, "dataset mine, images", "8 files, but the config asks for 15"),
        ("datasets", {"crop": 49}, "dataset mine, images", "48x48 pixels, but a 49-pixel crop"),
        ("datasets", {"classes": ["a"], "first_class": 7}, "dataset mine, labels", "none of the 1 classes"),
        ("masks", {"hole": "black"}, "masks mine", "is it the right colour"),
        ("masks", {"known": "nvidia"}, "masks mine", "30 files, but this set has 12000"),
    ],
)
def test_what_does_not_fit_is_refused(sets, config, section, change, fault, message):
    sets[section]["mine"] |= change
    findings = examined(sets, config)
    assert faults(findings) == [("wrong", fault)]
    assert message in next(finding.said for finding in findings if finding.state == "wrong")


def test_a_label_map_that_is_not_there_is_found(sets, config, tmp_path):
    next((tmp_path / "labels").iterdir()).unlink()
    assert faults(examined(sets, config)) == [("wrong", "dataset mine, labels")]


def test_a_label_map_that_is_not_there_is_found_though_it_was_not_opened(sets, config, tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "SAMPLES", 2)
    assert faults(examined(sets, config)) == []
    sorted((tmp_path / "labels").iterdir())[1].unlink()
    findings = examined(sets, config)
    assert faults(findings) == [("wrong", "dataset mine, labels")]
    assert "1 of 8 pictures have no label map" in next(one.said for one in findings if one.state == "wrong")


def test_the_command_tells_by_its_exit_status(sets, tmp_path, capsys):
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(sets | {"results": "results/mine"}))
    assert main(["doctor", "--configfile", str(tmp_path / "mine.yaml")]) == 0
    assert main(["doctor", "--configfile", "config/paper.yaml"]) == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert "CelebAMask-HQ" in shown and "segment-anything" in shown
