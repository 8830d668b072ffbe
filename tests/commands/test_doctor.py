"""Test `sair doctor`: its findings about sets that are valid, missing or different from their description."""

import shutil

import numpy as np
import pytest
import yaml

from sair.commands import doctor
from sair.commands.cli import main
from sair.common.errors import InputError
from sair.common.images import read_rgb, write_png
from sair.data import checks
from sair.data.embedded.strokes import draw_strokes
from sair.data.freeze import freeze_images, freeze_manifest
from sair.data.sources import images
from sair.methods.origins import merge
from sair.pipeline.project import Project

CLASSES = ["sky", "face"]


@pytest.fixture
def sets(tmp_path):
    """Write a labelled folder of 8 images and one of 30 masks; return a config that names them."""
    spec = {"source": "faces", "train": 8, "validation": 0, "test": 0}
    for image in images(spec, 48):
        write_png(tmp_path / f"images/{image.id}.png", image.pixels)
        write_png(tmp_path / f"labels/{image.id}.png", (image.labels > 0).astype(np.uint8))
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
    project = Project(merge(config, sets))
    return list(doctor.examine(project.config, project.encoders))


def faults(findings):
    return [(finding.state, finding.what) for finding in findings if finding.state != doctor.OK]


def test_valid_sets_are_reported_ok(sets, config):
    findings = examined(sets, config)
    assert faults(findings) == []
    described = {(finding.what, finding.description.split(": ", 1)[-1]) for finding in findings}
    assert ("dataset mine, images", "8 files; the config needs 8") in described
    assert ("dataset mine, labels", "8 label maps were opened; 2 of 2 classes occur in them") in described
    assert ("masks mine", "30 masks") in described
    assert any(
        "masks per hole ratio: 0-20 %: 10, 20-40 %: 10, 40-60 %: 10" in finding.description for finding in findings
    )


def test_a_missing_set_is_reported_with_its_source_and_terms(sets, config, tmp_path):
    shutil.rmtree(tmp_path / "masks")
    sets["masks"]["mine"]["known"] = "nvidia"
    findings = examined(sets, config)
    assert faults(findings) == [("missing", "masks mine")]
    said = next(finding.description for finding in findings if finding.state == "missing")
    assert "no such folder" in said and "irregular test masks from https://" in said and "(terms: " in said


@pytest.mark.parametrize(
    ("section", "change", "fault", "message"),
    [
        ("datasets", {"known": "celebahq"}, "dataset mine, images", "8 files, but this set has 30000"),
        ("datasets", {"test": 9}, "dataset mine, images", "8 files, but the config needs 15"),
        ("datasets", {"crop": 49}, "dataset mine, images", "48x48 pixels, but a 49-pixel crop"),
        ("datasets", {"classes": ["a"], "first_class": 7}, "dataset mine, labels", "none of the 1 classes"),
        ("masks", {"hole": "black"}, "masks mine", "The declared polarity cannot be right: change `hole`"),
        ("masks", {"known": "nvidia"}, "masks mine", "30 files, but this set has 12000"),
    ],
)
def test_a_set_that_does_not_match_the_config_is_reported_wrong(sets, config, section, change, fault, message):
    sets[section]["mine"] |= change
    findings = examined(sets, config)
    assert faults(findings) == [("wrong", fault)]
    assert message in next(finding.description for finding in findings if finding.state == "wrong")


def test_a_missing_gpu_is_reported(sets, config, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert faults(examined(sets | {"device": "cuda"}, config)) == [("wrong", "device")]


def test_a_missing_label_map_is_reported(sets, config, tmp_path):
    next((tmp_path / "labels").iterdir()).unlink()
    assert faults(examined(sets, config)) == [("wrong", "dataset mine, labels")]


def test_a_missing_label_map_outside_the_sample_is_reported(sets, config, tmp_path, monkeypatch):
    monkeypatch.setattr(checks, "SAMPLES", 2)
    monkeypatch.setattr(doctor, "FINISHED", 0)
    assert faults(examined(sets, config)) == []
    sorted((tmp_path / "labels").iterdir())[1].unlink()
    findings = examined(sets, config)
    assert faults(findings) == [("wrong", "dataset mine, labels")]
    assert "1 of 8 images have no label map" in next(one.description for one in findings if one.state == "wrong")


def rename(folder, names):
    """Give the images of a folder, in their order, other names."""
    for path, name in zip(sorted(folder.iterdir()), names, strict=True):
        (folder / name).parent.mkdir(exist_ok=True)
        path.rename(folder / name)


def redraw(folder, draw):
    for number, path in enumerate(sorted(folder.iterdir())):
        write_png(path, draw(number, read_rgb(path)[..., 0]))


def line(number, _):
    mask = np.zeros((512, 512), np.uint8)
    mask[16 * number + 3] = 255  # between the rows that nearest neighbour keeps at 32 pixels
    return mask


WRONG_SETS = {
    "masks that are not square": ("masks", lambda f: redraw(f / "masks", lambda _, m: m[:40]), {}, "48x40 pixels"),
    "masks below image_size": ("masks", lambda f: redraw(f / "masks", lambda _, m: m[:24, :24]), {}, "24x24 pixels"),
    "grey masks": ("masks", lambda f: redraw(f / "masks", lambda _, m: m // 2 + 9), {}, "0 and 255 only"),
    "lines that vanish": ("masks", lambda f: redraw(f / "masks", line), {}, "lose their whole hole when they are"),
    "no mask left for training": (
        "masks", lambda f: [p.unlink() for p in sorted((f / "masks").iterdir())[6:]], {}, "none is left for training",
    ),
    "train larger than the set": ("images", None, {"train": 100}, "8 files, but the config needs 104"),
    "test larger than the set": ("images", None, {"test": 100}, "8 files, but the config needs 104"),
    "ids that collide": (
        "split",
        lambda f: rename(f / "images", ["a/b.png", "a__b.png", *(f"{n}.png" for n in range(6))]),
        {},
        "a__b",
    ),
    "a count that is not the known set's": ("images", None, {"known": "ade20k"}, "this set has 20210"),
    "a cut image": (
        "images",
        lambda f: next((f / "images").iterdir()).write_bytes(next((f / "images").iterdir()).read_bytes()[:300]),
        {},
        "not a readable",
    ),
    "an image that is too small": (
        "images", lambda f: write_png(f / "images/zz.png", np.zeros((20, 30, 3), np.uint8)), {}, "30x20 pixels",
    ),
    "an image in training and test": (
        "images", lambda f: shutil.copy(min((f / "images").iterdir()), f / "images/zz.png"), {}, "also train images",
    ),
    "no class in the label maps": ("labels", None, {"classes": ["a"], "first_class": 7}, "none of the 1 classes"),
    "a list of what is not there": ("split", None, {"train_list": "nothing.txt"}, "nothing.txt"),
    "clusters in both": ("clusters", None, {"clusters": "folder"}, "is a training image and"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", WRONG_SETS)
def test_doctor_and_the_run_refuse_the_same(sets, config, tmp_path, name):
    place, spoil, change, message = WRONG_SETS[name]
    sets["datasets"]["mine"] |= {"test": 3, "train": 3, "validation": 1} | change
    if place != "labels":
        del sets["datasets"]["mine"]["labels"], sets["datasets"]["mine"]["classes"]
        sets["semantics"] = {"dataset": "faces"}
        for use in (sets["tables"]["table5"], sets["figures"]["semantic_maps"]):
            use["dataset"] = "faces"
    if spoil:
        spoil(tmp_path)
    findings = [finding for finding in examined(sets, config) if finding.state != doctor.OK]
    assert any(message in finding.description for finding in findings), findings
    dataset, masks = sets["datasets"]["mine"], sets["masks"]["mine"]
    with pytest.raises(InputError) as refused:
        checks.check_sets(dataset, masks, 32, config["buckets"])
        freeze_images(dataset, 32, tmp_path / "run/images.csv")
    assert message in str(refused.value)
    if name != "an image in training and test":
        assert not (tmp_path / "run").exists(), "refused before the first image is finished"


def test_a_semantic_encoder_is_not_trained_on_another_datasets_test(sets, config, tmp_path):
    """One folder has two names and two splits, so test images of one are training images of the other."""
    sets["datasets"]["labelled"] = sets["datasets"]["mine"] | {"train": 6, "validation": 0, "test": 2}
    sets["datasets"]["mine"] = sets["datasets"]["mine"] | {"train": 3, "validation": 0, "test": 4}
    sets["semantics"] = {"dataset": "labelled"}
    for use in (sets["tables"]["table5"], sets["figures"]["semantic_maps"]):
        use["dataset"] = "labelled"
    found = [finding for finding in examined(sets, config) if finding.state != doctor.OK]
    assert [finding.what for finding in found] == ["dataset mine, test"]
    assert "2 test images are training images of 'labelled'" in found[0].description
    for name in ("mine", "labelled"):
        freeze_images(sets["datasets"][name], 32, tmp_path / name / "images.csv")
    tables = [tmp_path / "mine" / name for name in ("images.csv", "manifest.csv", "training_masks.csv")]
    masks = {"source": "strokes", "train": 2}
    with pytest.raises(InputError, match="2 test images are training images of 'labelled'"):
        freeze_manifest(tables[0], masks, config["buckets"], *tables[1:], trained_on=tmp_path / "labelled/images.csv")
    project = Project(merge(config, sets))
    assert project.trained_on("mine") == "results/labelled/images.csv" and project.trained_on("labelled") == []
    assert project.trained_on("photos") == []


def test_the_exit_status_shows_whether_everything_is_present(sets, tmp_path, capsys):
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(sets | {"results": "results/mine"}))
    assert main(["doctor", "--configfile", str(tmp_path / "mine.yaml")]) == 0
    assert main(["doctor", "--configfile", "config/paper.yaml"]) == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert "CelebAMask-HQ" in shown and "segment-anything" in shown
