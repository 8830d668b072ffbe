"""Test `sair evaluate`: which masks belong to which images, what is missing, and the config of its run."""

import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import yaml

from sair.commands import evaluate
from sair.commands.cli import main
from sair.commands.evaluate import Request, plan
from sair.commands.missing import missing_parts
from sair.common.errors import InputError
from sair.common.images import write_png
from sair.data.embedded.faces import draw_face
from sair.data.embedded.strokes import draw_strokes
from sair.data.freeze import freeze_images, freeze_manifest
from sair.data.manifest import read_manifest, read_pair
from sair.methods.spec import load_spec
from sair.pipeline.config import check_config, load_config
from sair.pipeline.locks import claimed
from sair.pipeline.pages import report_inputs
from sair.pipeline.project import Project
from sair.reporting.report import _masks
from sair.weights.sources import entry

QUICK = ("mean_fill", "biharmonic")


def draw(folder, names, size=(70, 64), masks=(), mask_size=None):
    """Write drawn images and masks of the given names below a folder."""
    height, width = size
    for number, name in enumerate(names):
        face = draw_face(number, max(size)).image[:height, :width]
        write_png(folder / "images" / f"{name}.png", np.ascontiguousarray(face))
    for number, name in enumerate(masks):
        side = mask_size or max(size)
        mask = draw_strokes(number, side, side, 20, 40)
        mask = mask if mask_size else mask[:height, :width]
        write_png(folder / "masks" / f"{name}.png", np.ascontiguousarray(mask).astype(np.uint8) * 255)
    return Request(str(folder / "images"), str(folder / "masks"), str(folder / "results"), QUICK, size=64)


def with_(request, **changes):
    return Request(**{**request.__dict__, **changes})


def test_masks_with_the_names_of_the_images_belong_to_them(tmp_path):
    request = draw(tmp_path, ["a", "b/c"], masks=["b/c", "a"])
    chosen = plan(request)
    written = yaml.safe_load(chosen.file.read_text())
    assert written["masks"]["masks"] == {"source": "paired", "path": request.masks, "hole": "white", "train": 0}
    assert written["buckets"] == [[0, 100]] and written["datasets"]["images"]["test"] == 2
    assert list(written["tables"]["evaluation"]["methods"]) == list(QUICK)
    assert "each under the mask of its name" in chosen.about
    again = Project(load_config([chosen.file]))
    assert again.config == chosen.project.config, "the file alone makes the same run"
    dataset, table = again.config["datasets"]["images"], tmp_path / "frozen/images.csv"
    freeze_images(dataset, 64, table)
    freeze_manifest(table, again.config["masks"]["masks"], [(0, 100)], tmp_path / "frozen/manifest.csv", tmp_path / "t")
    rows = read_manifest(tmp_path / "frozen/manifest.csv")
    assert [row.id for row in rows] == ["a", "b__c"]
    expected = draw_strokes(1, 70, 70, 20, 40)[3:67, :64]  # the second mask, cropped as its image
    assert np.array_equal(read_pair(rows[0], tmp_path / "frozen").hole, expected)


def test_other_masks_are_drawn_for_each_image_in_the_buckets_that_have_some(tmp_path):
    request = draw(tmp_path, ["a", "b"], masks=["1", "2", "3"], mask_size=64)
    chosen = plan(request)
    written = yaml.safe_load(chosen.file.read_text())
    assert written["masks"]["masks"]["source"] == "folder" and written["buckets"] == [[20, 40]]
    assert "every hole ratio (20-40 %)" in chosen.about
    assert yaml.safe_load(plan(with_(request, limit=1)).file.read_text())["datasets"]["images"]["test"] == 1


@pytest.mark.parametrize("kind", ["family", "paired", pytest.param("folder", marks=pytest.mark.slow)])
def test_the_config_of_a_run_is_accepted_again(tmp_path, kind):
    """By snakemake, which reads it over the default config, and by this command, which reads config/published.yaml."""
    request = draw(tmp_path, ["a", "b"], masks=["a", "b"])
    drawn = draw(tmp_path / "more", ["x"], masks=["1", "2"], mask_size=64).masks
    masks = {"family": "lama_thin,box", "paired": request.masks, "folder": drawn}
    more = tmp_path / "more.yaml"
    more.write_text("masks: {masks: {seed: 7, shrink: pillow_bicubic}}")
    chosen = plan(with_(request, masks=masks[kind], configfiles=[str(more)]))
    again = load_config([chosen.file])
    check_config(again)
    assert again["masks"]["masks"]["source"] == kind
    assert again == chosen.project.config
    # The size and the methods are those of the file, though published.yaml has others.
    second = with_(request, size=None, methods=(), output=f"{tmp_path}/second", configfiles=[str(chosen.file)])
    expected = {**chosen.project.config, "results": second.output}
    assert plan(with_(second, masks=masks[kind])).project.config == expected
    other = masks["paired" if kind == "family" else "family"]
    assert plan(with_(second, masks=other)).project.config["masks"]["masks"]["seed"] == 7, "masks of another source"


def test_families_of_published_masks_are_drawn(tmp_path):
    chosen = plan(with_(draw(tmp_path, ["a"], masks=["a"]), masks="lama_thin,box"))
    written = yaml.safe_load(chosen.file.read_text())
    assert written["masks"]["masks"] == {"source": "family", "family": ["lama_thin", "box"], "train": 0}
    assert chosen.project.layout("evaluation").buckets == ("lama_thin", "box")


def test_the_report_is_of_the_images_only(tmp_path):
    default = Project(load_config())
    assert default.config["tables"].keys() == report_inputs(default).tables.keys() > {"table1"}
    chosen = plan(with_(draw(tmp_path, ["a"], masks=["a"]), masks="lama_thin,box"))
    found = report_inputs(chosen.project)
    assert list(found.tables) == ["evaluation"] and found.claims is None and not found.maps
    assert _masks(chosen.project.config, "images") == "one mask of every family"
    assert _masks(default.config, "faces") == "one mask of every size"


def test_folders_of_masks_are_families_beside_published_ones(tmp_path):
    request = draw(tmp_path, ["a"], masks=["1", "2"], mask_size=64)
    mixed = with_(request, masks=f"lama_thin, {request.masks},mine={request.masks}", hole="white")
    chosen = plan(mixed)
    written = yaml.safe_load(chosen.file.read_text())["masks"]["masks"]
    folder = {"path": request.masks, "hole": "white"}
    assert written == {"source": "family", "family": ["lama_thin", folder, {"name": "mine"} | folder], "train": 0}
    assert chosen.project.layout("evaluation").buckets == ("lama_thin", "masks", "mine")
    assert "each under a mask of lama_thin, masks, mine" in chosen.about
    assert plan(with_(mixed, masks=f"mine={request.masks}")).project.layout("evaluation").buckets == ("mine",)


@pytest.mark.parametrize("whole", ["file", "folder"])
def test_a_single_mask_is_that_of_all_images(tmp_path, whole):
    request = draw(tmp_path, ["a", "b"], masks=["m"])
    path = f"{request.masks}/m.png"
    chosen = plan(with_(request, masks=path if whole == "file" else request.masks))
    assert yaml.safe_load(chosen.file.read_text())["masks"]["masks"]["path"] == path


@pytest.mark.parametrize("whole", ["file", "folder", "named"])
def test_masks_of_another_size_than_their_images_are_refused_at_once(tmp_path, whole):
    request = draw(tmp_path, ["a", "b"], masks=["a", "b"] if whole == "named" else ["m"])
    draw(tmp_path, ["b"], size=(80, 64))
    masks = f"{request.masks}/m.png" if whole == "file" else request.masks
    expected = rf"{masks}\S*: 64x70 pixels, but {request.images}/b\.png has 64x80\. "
    remedy = "Resize the mask" if whole == "named" else "One mask for all images needs .*give a folder .*--draw"
    with pytest.raises(InputError, match=expected + remedy):
        plan(with_(request, masks=masks))


@pytest.mark.parametrize("masks", ["box,", ",box", "box,,grid", "box, ,grid", "box,mine="])
def test_an_empty_name_among_families_is_refused(tmp_path, masks):
    with pytest.raises(InputError, match=f"--masks {masks}: a name or folder is empty"):
        plan(with_(draw(tmp_path, ["a"], masks=["m"]), masks=masks))


def test_one_mask_is_not_drawn_from(tmp_path):
    request = draw(tmp_path, ["a"], masks=["m"])
    with pytest.raises(InputError, match=r"--draw: draws masks from a folder, but .*m\.png is one mask"):
        plan(with_(request, masks=f"{request.masks}/m.png", draw=True))


def test_a_folder_of_one_square_mask_can_be_drawn_for_images_of_all_sizes(tmp_path):
    request = draw(tmp_path, ["a"], masks=["m"], mask_size=64)
    draw(tmp_path, ["b"], size=(80, 64))
    assert plan(with_(request, draw=True)).project.config["masks"]["masks"]["source"] == "folder"


@pytest.mark.parametrize(
    ("names", "masks", "change", "message"),
    [
        (["a", "b"], ["a", "z"], {}, r"1 of 2 images have a mask of their name, but b has none.*--draw"),
        (["a"], ["a"], {"size": 256}, r"a\.png: 64x70 pixels, but images are evaluated at 256. Give a --size of at"),
        (["a"], ["a"], {"limit": 0}, "--limit 0: expected at least 1"),
        (["a"], ["a"], {"methods": ("lamma",)}, "unknown method 'lamma'.*Did you mean lama"),
        (["a", "b"], ["1", "2"], {"hole": "black"}, "no mask has a hole ratio of .*Check the polarity"),
        (["a"], ["a"], {"methods": ("lama_big", "liif")}, r"none of the methods can run(.|\n)*sair convert lama_big"),
        (["a"], ["a"], {"images": "nowhere"}, "nowhere: no such folder"),
        (["a"], ["a"], {"masks": "nowhere"}, "nowhere: no such file or folder, and 'nowhere' is not a family"),
        (["a"], ["a"], {"masks": "lama_thn,box"}, "'lama_thn' is not a family of masks.*Did you mean lama_thin"),
        (["a"], ["a"], {"masks": "box,objects"}, "`objects` needs label maps"),
        (["a"], ["a"], {"masks": "box,nowhere/masks"}, "nowhere/masks: no such file or folder, and .* is not a family"),
        (["a"], ["a"], {"masks": "box,mine=nowhere"}, "nowhere: no such file or folder"),
        (["a"], ["a"], {"masks": "box,"}, "--masks box,: a name or folder is empty"),
        (["a"], ["a"], {"masks": "box,mine="}, "--masks box,mine=: a name or folder is empty"),
        (["a"], ["a"], {"masks": "box,README.md"}, "README.md: is a file, expected a folder"),
        (["a"], ["a"], {"masks": "box,box=docs"}, "the folder docs is called 'box', as a published family is"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(tmp_path, names, masks, change, message):
    request = draw(tmp_path, names, masks=masks)
    with pytest.raises(InputError, match=message):
        plan(with_(request, **change))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("buckets: 3", "config, buckets: 3 is not of type 'array'.*mine.yaml"),
        ("buckets: [1]", r"config, buckets\.0: 1 is not of type 'array'"),
        ("image_size: null", "config, image_size: None is not of type 'integer'"),
        ("datasets: null", "config, datasets: None is not of type 'object'"),
        ("masks: {masks: {shrink: smooth}}", r"config, masks\.masks\.shrink: 'smooth' is not one of"),
        ("masks: {masks: {family: 5}}", r"config, masks\.masks\.family"),
        ("masks: {masks: {known: nvidia}}", r"config, masks\.masks\.known: has no effect here"),
        ("datasets: {images: {crop: 40}}", r"config, datasets\.images\.crop: has no effect here"),
    ],
)
def test_a_config_is_checked_before_options_replace_its_values(tmp_path, text, message):
    (tmp_path / "mine.yaml").write_text(text)
    request = draw(tmp_path, ["a", "b"], masks=["1", "2"], mask_size=64)
    with pytest.raises(InputError, match=message):
        plan(with_(request, configfiles=[str(tmp_path / "mine.yaml")], draw=True))


def test_a_second_run_leaves_the_config_of_the_first_alone(tmp_path):
    request = draw(tmp_path, ["a"], masks=["a"])
    file = plan(request).file
    before = file.read_text()
    with claimed(tmp_path / "results/.lock", wait=0), pytest.raises(InputError, match="another run is writing here"):
        plan(with_(request, methods=("mean_fill",)))
    assert file.read_text() == before
    assert plan(with_(request, methods=("mean_fill",))).file.read_text() != before


def test_weights_of_optional_metrics_are_missed_before_anything_runs(tmp_path, monkeypatch):
    (tmp_path / "mine.yaml").write_text("metrics: [dists]")
    request = with_(draw(tmp_path, ["a"], masks=["a"]), configfiles=[str(tmp_path / "mine.yaml")])
    monkeypatch.setattr(evaluate, "local", lambda facts: [] if facts is entry("dists") else [facts])
    with pytest.raises(InputError, match=r"scores need pretrained files .*dists: "):
        plan(request)


def test_the_rule_that_shrinks_masks_can_be_chosen(tmp_path):
    (tmp_path / "mine.yaml").write_text("masks: {masks: {shrink: pillow_bilinear}}")
    chosen = plan(with_(draw(tmp_path, ["a"], masks=["a"]), configfiles=[str(tmp_path / "mine.yaml")]))
    assert chosen.project.config["masks"]["masks"]["shrink"] == "pillow_bilinear"


def test_a_mask_of_another_size_is_refused_before_anything_is_made(tmp_path, config):
    request = draw(tmp_path, ["a"], masks=["a"])
    settings = yaml.safe_load(plan(request).file.read_text())
    write_png(tmp_path / "masks/a.png", np.full((40, 40), 255, np.uint8))
    from sair.data.checks import check_sets

    with pytest.raises(InputError, match=r"a\.png: 40x40 pixels, but .*a\.png has 64x70. Resize the mask"):
        check_sets(settings["datasets"]["images"], settings["masks"]["masks"], 64, [(0, 100)])


def test_missing_weights_are_listed_with_where_to_get_them_and_the_rest_is_evaluated(tmp_path):
    request = draw(tmp_path, ["a"], masks=["a"])
    chosen = plan(with_(request, methods=("lama_big", *QUICK, "liif")))
    assert chosen.ready == list(QUICK)
    lama, liif = (" ".join(chosen.missing[name]) for name in ("lama_big", "liif"))
    assert "weights/lama_big.safetensors: no such file" in lama and "sair weights fetch lama_big" in lama
    assert "sair convert lama_big FILE -o weights/lama_big.safetensors" in lama
    assert "no released weights are named" in liif and "{liif: {weights: FILE}}" in liif


def test_weights_of_a_config_replace_training(config):
    spec = load_spec(
        "lama_big", "config/methods", "mini", config["training"], {"lama_big": {"weights": "w.safetensors"}}
    )
    assert spec["weights"] == "w.safetensors" and spec["training"] is None and spec["parameters"] == {}
    assert missing_parts(spec)[0].startswith("w.safetensors: no such file")


def test_a_dataset_without_training_images_refuses_trained_methods(config):
    settings = {**config, "datasets": {**config["datasets"], "faces": {**config["datasets"]["faces"], "train": 0}}}
    with pytest.raises(InputError, match=r"tables.table1: \w+ is trained, but 'faces' has no training images"):
        Project(settings)


def test_a_failed_method_is_left_out_and_the_others_are_shown(tmp_path, monkeypatch, capsys):
    request, calls = draw(tmp_path, ["a"], masks=["a"]), []

    def snakemake(file, cores, targets):
        written = yaml.safe_load(file.read_text())
        calls.append(written["tables"]["evaluation"]["methods"])
        if len(calls) == 1:
            run = tmp_path / "results/images/mean_fill/seed0"
            (run / "predictions").mkdir(parents=True)
            (run / "scores.csv").write_text("")
            return 1
        (tmp_path / "results/evaluation.md").write_text("# Table\n| Method |\n")
        return 0

    monkeypatch.setattr(evaluate, "_snakemake", snakemake)
    monkeypatch.setattr("sair.reporting.report.write_report", lambda *_: None)
    words = ["evaluate", "--images", request.images, "--masks", request.masks, "-o", request.output, "--size", "64"]
    assert main([*words, "--methods", "mean_fill, biharmonic"]) == 1
    assert calls == [["mean_fill", "biharmonic"], ["mean_fill"]]
    shown = capsys.readouterr()
    assert "| Method |" in shown.out and "failed, and left out: biharmonic" in shown.err


def test_sigterm_ends_the_workflow_too(tmp_path, monkeypatch):
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nsleep 0.5\nkill -TERM $PPID\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setattr(evaluate.sys, "executable", str(program))
    start = time.monotonic()
    with pytest.raises(InputError, match="Run the same command again to continue"):
        evaluate._snakemake(tmp_path / "evaluate.yaml", 1, ["table"])
    assert time.monotonic() - start < 30


def test_a_workflow_does_not_outlive_a_killed_command():
    run = "import os; from sair.pipeline.driver import _end_without; parent = os.getppid(); print(1, flush=True); "
    run += "_end_without(parent)"
    command = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {run!r}])"
    process = subprocess.Popen([sys.executable, "-c", command], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"1\n"
    process.kill()
    process.communicate(timeout=30)  # it waits until the workflow has closed the pipe, too
    assert process.returncode == -signal.SIGKILL


@pytest.mark.slow
def test_one_command_makes_a_table_and_a_report_that_verify(tmp_path, capsys):
    request = draw(tmp_path, ["a"], masks=["a"])
    words = ["evaluate", "--images", request.images, "--masks", request.masks, "-o", request.output, "--size", "64"]
    assert main([*words, "--methods", ",".join(QUICK)]) == 0
    shown = capsys.readouterr().out
    assert "| *Biharmonic*" in shown and "| *Mean fill*" in shown
    assert (tmp_path / "results/report.html").is_file()
    assert main(["verify", "--configfile", f"{request.output}/evaluate.yaml"]) == 0
    assert "evaluation" in capsys.readouterr().out
