"""Test small copies of the paper's data sets in their layout on disk, from `config/paper.yaml` to its tables."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from sair.commands import doctor
from sair.common.errors import InputError
from sair.common.images import write_png
from sair.data import checks
from sair.data.embedded.faces import CLASSES, draw_face
from sair.data.manifest import read_manifest
from sair.data.seeds import mix
from sair.data.sources import images, labelled
from sair.methods.origins import merge
from sair.pipeline.project import Project

REAL = Path(os.environ.get("SAIR_DATA", "data"))  # a folder with real files, where there is one
# CelebAMask-HQ's part for each class of the drawn faces; eyes and brows have a left and a right one.
PARTS = {
    "skin": "skin", "hair": "hair", "nose": "nose", "mouth": "mouth", "neck": "neck", "glasses": "eye_g", "hat": "hat",
    "clothes": "cloth", "brows": ("r_brow", "l_brow"), "eyes": ("r_eye", "l_eye"), "ears": ("r_ear", "l_ear"),
}  # fmt: skip
NUMBERS = [*range(16), *range(1996, 2008)]  # sorted by name, the last one would be 9


def paper(config):
    return merge(config, yaml.safe_load(Path("config/paper.yaml").read_text(encoding="utf-8")))


def save_jpeg(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, quality=95)


def write_part(folder, number, part, drawn):
    """Write a part mask in CelebAMask-HQ's form: white on black, in colour."""
    path = folder / f"CelebAMask-HQ-mask-anno/{number // 2000}/{number:05d}_{part}.png"
    write_png(path, np.repeat(np.where(drawn, 255, 0).astype(np.uint8)[..., None], 3, axis=2))


def write_celebahq(folder, size=128):
    for number in NUMBERS:
        face = draw_face(number, size)
        save_jpeg(folder / f"CelebA-HQ-img/{number}.jpg", face.image)
        labels = face.labels[1::2, 1::2]  # half as wide as the image
        middle = np.arange(labels.shape[1]) < labels.shape[1] / 2
        for name, part in PARTS.items():
            drawn = labels == CLASSES.index(name)
            for one, side in zip(part, (middle, ~middle), strict=True) if isinstance(part, tuple) else [(part, True)]:
                if (drawn & side).any():
                    write_part(folder, number, one, drawn & side)


def write_ade20k(folder):
    for split, short, count in (("training", "train", 12), ("validation", "val", 3)):
        for number in range(1, count + 1):
            size = 48 if number == 2 else 96  # ADE20K has images smaller than the paper's 256 pixels
            face = draw_face(mix(split, number), size)
            name = f"{split}/ADE_{short}_{number:08d}"
            save_jpeg(folder / f"images/{name}.jpg", face.image[: size * 3 // 4])
            write_png(folder / f"annotations/{name}.png", face.labels[: size * 3 // 4])


def write_masks(folder, size=128, each=3):
    """Write masks in NVIDIA's order: a tenth more hole every 2,000, the first half of each off the border."""
    for tenth in range(6):
        for place in [*range(each), *range(1000, 1000 + each)]:
            ratio = (tenth + 0.3 + 0.1 * (place % 1000)) / 10
            side, mask = round(size * ratio**0.5), np.zeros((size, size), np.uint8)
            start = (size - side) // 2 if place < 1000 else 0
            mask[start : start + side, start : start + side] = 255
            write_png(folder / f"{2000 * tenth + place:05d}.png", mask)


def generated(root):
    write_celebahq(root / "CelebAMask-HQ")
    write_ade20k(root / "ADEChallengeData2016")
    write_masks(root / "testing_mask_dataset")
    counts = {"celebahq": (20, 4, 4), "ade20k": (11, 1, 3)}
    return {
        "datasets": {
            name: dict(zip(("train", "validation", "test"), numbers, strict=True)) for name, numbers in counts.items()
        },
        "masks": {"nvidia": {"test": 3, "train": 18}},
    }


def real(root):
    """Link real files under the layout's names: four faces with their parts, photographs with labels for the test."""
    for path in sorted((REAL / "celebamaskhq/maskgan_demo").glob("*.jpg")):
        number, ids = int(path.stem), np.array(Image.open(path.with_suffix(".png")))
        (root / "CelebAMask-HQ/CelebA-HQ-img").mkdir(parents=True, exist_ok=True)
        shutil.copy(path, root / "CelebAMask-HQ/CelebA-HQ-img")
        for k, part in enumerate(
            yaml.safe_load(Path("config/paper.yaml").read_text())["datasets"]["celebahq"]["parts"], 1
        ):
            if (ids == k).any():
                write_part(root / "CelebAMask-HQ", number, part, ids == k)
    ade = root / "ADEChallengeData2016"
    shutil.copytree(REAL / "ade20k_sample/images", ade / "images/validation")
    shutil.copytree(REAL / "ade20k_sample/annotations", ade / "annotations/validation")
    # No labels of training images are available, so those of the sample are used twice.
    for path in sorted(ade.glob("*/validation/*")):
        other = ade / str(path.relative_to(ade)).replace("validation", "training").replace("val", "train")
        other.parent.mkdir(parents=True, exist_ok=True)
        mirrored = Image.open(path).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        mirrored.save(other, quality=95)
    (root / "testing_mask_dataset").mkdir()
    for path in sorted((REAL / "nvidia_irregular").glob("*.png"))[::50]:
        shutil.copy(path, root / "testing_mask_dataset")
    return {
        "datasets": {
            "celebahq": {"train": 2, "validation": 1, "test": 1},
            "ade20k": {"train": 2, "validation": 1, "test": 3},
        },
        "masks": {"nvidia": {"test": 3, "train": 51}},
    }


def missing_real():
    wanted = ("celebamaskhq/maskgan_demo/0.png", "ade20k_sample/annotations", "nvidia_irregular")
    return not all((REAL / path).exists() for path in wanted)


real_files = pytest.mark.skipif(missing_real(), reason="SAIR_DATA names no folder with the real sets' files")


def workspace(folder, make):
    """Copy the workflow with SAIR only, the sets under the paper's paths, and paper.yaml adapted to this machine."""
    shutil.copytree("workflow", folder / "workflow")
    shutil.copytree("config", folder / "config", ignore=lambda d, names: [
        n for n in names if Path(d).name == "methods" and Path(n).stem not in ("sair", "liif", "mean_fill")
    ])  # fmt: skip
    liif = folder / "config/methods/liif.yaml"
    liif.write_text(liif.read_text().replace("tables: {table1: LIIF, table2: LIIF}\n", ""))
    paper = folder / "config/paper.yaml"  # fewer files than the published sets, which the run would refuse
    paper.write_text(re.sub(r" *known: .*\n", "", paper.read_text()))
    small = make(folder / "data") | {
        "results": "results/small",
        "conventions": {"pairs": [["sair", "mean_fill"]]},
        "preset": "mini",
        "fewest_seeds": None,
        "image_size": 64,
        "figures": {kind: {"methods": ["sair"]} for kind in ("qualitative", "semantic_maps", "training_curves")},
        "training": {"epochs": 16, "batch": 4, "scale": 0.02, "workers": 0, "precision": "fp32", "save_every": 100},
    }
    small["figures"]["qualitative"]["images"] = 1
    (folder / "small.yaml").write_text(yaml.safe_dump(small))
    return folder


def snakemake(folder, *arguments):
    line = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]
    return subprocess.run(line, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


@pytest.mark.slow
@pytest.mark.parametrize("make", [generated, pytest.param(real, marks=real_files)])
def test_the_paper_runs_on_a_small_copy_of_each_layout(make, tmp_path):
    folder = workspace(tmp_path, make)
    tables = [f"results/small/table{number}.md" for number in (1, 2, 5)]
    done = snakemake(folder, "--configfile", "config/paper.yaml", "small.yaml", "--", *tables)
    assert done.returncode == 0, done.stdout[-5000:]
    settings = yaml.safe_load((folder / "small.yaml").read_text())["datasets"]
    for table, dataset in (("table1", "celebahq"), ("table2", "ade20k")):
        frame = pd.read_csv(folder / f"results/small/{table}.csv").set_index("method").loc["sair"]
        frame = frame[frame.reason.isna()]  # FID and KID have one
        assert len(frame) and frame["mean"].notna().all() and (frame.n == settings[dataset]["test"]).all()
        names = [row.id for row in read_manifest(folder / f"results/small/{dataset}/manifest.csv")]
        assert len(names) == 3 * settings[dataset]["test"]
        if make is generated and dataset == "celebahq":
            assert names[:4] == ["2004", "2005", "2006", "2007"]
    miou = pd.read_csv(folder / "results/small/table5.csv").set_index(["method", "bucket", "metric"])["mean"]
    assert all(0 <= miou[(method, "all", "miou")] <= 1 for method in ("clip", "sair", "clip_complete"))


def test_part_masks_are_painted_as_the_authors_do(tmp_path, config):
    """Parts are painted in the authors' order, left and right merge by name, and each folder has 2,000 numbers."""
    spec = paper(config)["datasets"]["celebahq"]
    for part, rows in {"skin": 8, "nose": 6, "hair": 4, "r_eye": 2}.items():  # each above the last but the eye
        drawn = np.zeros((8, 8), bool)
        drawn[:rows] = True
        write_part(tmp_path, 2001, part, drawn)
    ids = labelled(tmp_path / "2001.jpg", (16, 16), str(tmp_path), str(tmp_path / "CelebAMask-HQ-mask-anno"), spec)
    names = [spec["classes"][k] for k in ids[::2, 0]]
    assert names == ["hair"] * 4 + ["nose"] * 2 + ["skin"] * 2
    merged = [name.removeprefix("left ").removeprefix("right ") for name in spec["classes"]]
    for number, part in ((12, "l_eye"), (13, "r_eye")):
        write_part(tmp_path, number, part, np.ones((8, 8), bool))
    one, other = (
        labelled(Path(f"{n}.jpg"), (8, 8), ".", str(tmp_path / "CelebAMask-HQ-mask-anno"), spec | {"classes": merged})
        for n in (12, 13)
    )
    assert (one == other).all() and len(np.unique(one)) == 1
    path = tmp_path / "CelebAMask-HQ-mask-anno/0/00012_l_eye.png"
    write_png(path, np.full((8, 8), 90, np.uint8))  # a part mask that was resized smoothly
    with pytest.raises(InputError, match=r"00012_l_eye\.png: a mask may contain 0 and 255 only"):
        labelled(Path("12.jpg"), (8, 8), ".", str(tmp_path / "CelebAMask-HQ-mask-anno"), spec)
    for name, message in (("14.jpg", r"00014_skin\.png: no such file, and no other part"), ("a.jpg", "by its number")):
        with pytest.raises(InputError, match=message):
            labelled(Path(name), (8, 8), ".", str(tmp_path / "CelebAMask-HQ-mask-anno"), spec)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": ["background", "skin"]}, "2 names, but its `parts` make 19 ids"),
        ({"stretch": True, "crop": 100}, "give `crop` or `stretch`, not both"),
        ({"test_list": "a.txt", "test_images": "b"}, "give `test_images` or `test_list`, not both"),
    ],
)
def test_a_contradictory_config_is_refused(config, change, message):
    wrong = merge(paper(config), {"datasets": {"celebahq": change}})
    with pytest.raises(InputError, match=message):
        Project(wrong, "workflow/schemas/config.schema.yaml")


@pytest.fixture
def layout(tmp_path, config, monkeypatch):
    """Return the folder of the generated sets, the config, and a function that lists the doctor's faults."""
    counts = generated(tmp_path / "data")
    known = {name: dict(facts) for name, facts in checks.known_sets().items()}
    known["celebahq"]["images"], known["nvidia"]["images"] = len(NUMBERS), 36
    known["ade20k"] |= {"images": 12, "test_images": 3}
    settings = merge(paper(config), counts | {"image_size": 64, "preset": "mini"})

    def examined():
        findings = list(doctor.examine(settings, {}))
        return [f for f in findings if f.state != doctor.OK and not f.what.startswith("weights")], findings

    monkeypatch.setattr(checks, "known_sets", lambda: known)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "data", known, examined


@pytest.mark.slow
def test_the_doctor_accepts_the_layouts(layout):
    folder, _, examined = layout
    faults, findings = examined()
    assert faults == []
    said = {finding.what: finding.description for finding in findings}
    assert said["dataset celebahq, split"] == "20 train (0 to 1999), 4 validation (2000 to 2003), 4 test (2004 to 2007)"
    assert "hole ratios and borders are as published" in said["masks nvidia, order"]
    one, other = (folder / f"testing_mask_dataset/{number:05d}.png" for number in (1, 8001))
    one.rename(folder / "one.png"), other.rename(one), (folder / "one.png").rename(other)
    ((state, what, text),) = examined()[0]
    assert (state, what) == ("wrong", "masks nvidia, order") and "2 of 36 masks differ from" in text
    assert "00001.png (44% hole, off the border)" in text and "nv-adlr.github.io" in text
    shutil.rmtree(folder / "testing_mask_dataset")
    write_masks(folder / "testing_mask_dataset")
    shutil.copy(folder / "testing_mask_dataset/05000.png", folder / "testing_mask_dataset/04000.png")
    assert "04000.png (23% hole, at the border)" in examined()[0][0].description


def test_the_doctor_reports_incomplete_sets(layout):
    folder, known, examined = layout
    shutil.rmtree(folder / "ADEChallengeData2016/annotations/training")
    known["celebahq"]["images"] = 30000
    faults = {finding.what: finding for finding in examined()[0]}
    assert set(faults) == {"dataset celebahq, images", "dataset ade20k, labels"}
    assert "28 files, but this set has 30000" in faults["dataset celebahq, images"].description
    missing = faults["dataset ade20k, labels"]
    assert (
        missing.state == "missing"
        and "sceneparsing.csail.mit.edu" in missing.description
        and "(terms: " in missing.description
    )


@pytest.mark.slow
def test_planning_neither_lists_nor_opens_images(tmp_path):
    """The whole run of the paper is planned without the data sets, so their size cannot matter."""
    for name in ("workflow", "config"):
        shutil.copytree(name, tmp_path / name)
    line = ["-n", "--configfile", "config/paper.yaml"]
    plan = snakemake(tmp_path, *line)
    assert plan.returncode == 0, plan.stdout[-3000:]
    counts = dict(line.split() for line in plan.stdout.splitlines() if len(line.split()) == 2)
    specs = {path.stem for path in (tmp_path / "config/methods").glob("*.yaml")}
    assert int(counts["freeze_images"]) == int(counts["freeze_manifest"]) == 2
    # About one job per method and dataset, and none per image; a third of the methods are in no table.
    assert len(specs) / 2 < int(counts["predict"]) < 2 * len(specs) and int(counts["total"]) < 200


@real_files
def test_real_masks_are_in_the_published_order():
    known, spec = checks.known_sets()["nvidia"], {"path": str(REAL / "nvidia_irregular"), "hole": "white"}
    assert "250 masks were opened" in checks._in_order(spec, known) and "as published" in checks._in_order(spec, known)
    with pytest.raises(InputError, match=r"250 of 250 masks differ from .*00000\.png \(94% hole, at the border\)"):
        checks._in_order(spec | {"hole": "black"}, known)


@real_files
def test_real_classes_are_those_of_the_config(config):
    lines = (REAL / "ade20k_sample/objectInfo150.txt").read_text(encoding="utf-8").splitlines()[1:]
    names = [line.split("\t")[-1].split(",")[0].strip() for line in lines]
    assert paper(config)["datasets"]["ade20k"]["classes"] == names and len(set(names)) == 150


@real_files
def test_real_part_masks_give_back_the_real_labels(tmp_path, config):
    spec = paper(config)["datasets"]["celebahq"] | {"train": 2, "validation": 1, "test": 1}
    real(tmp_path)
    spec |= {key: str(tmp_path / spec[key].removeprefix("data/")) for key in ("images", "labels")}
    for image in images(spec, 512):
        truth = np.array(Image.open(REAL / f"celebamaskhq/maskgan_demo/{image.id}.png"))
        assert (image.labels == truth).all()
