"""Test the workflow as users run it: it finishes, repeats nothing, runs only what is new, and survives kill -9."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from helpers.workflow import jobs, processes_in

from sair.commands.cli import main
from sair.commands.verify import BACKED, MIXED, NOT_BACKED, verify
from sair.common.files import file_sha256
from sair.common.images import read_rgb, write_png
from sair.data.manifest import manifest_hash
from sair.evaluation import fid
from sair.pipeline.config import load_config
from sair.pipeline.project import Project
from sair.reporting.tables import SWITCHED_OFF
from sair.weights.sources import entry

pytestmark = pytest.mark.slow
METHODS = ("liif", "sair", "mean_fill", "ground_truth")
SETTINGS = {
    "results": "results/smoke",
    "datasets": {"faces": {"train": 32, "validation": 2, "test": 3}},
    "masks": {"strokes": {"train": 32}},
    "figures": {
        "qualitative": {"methods": ["mean_fill", "sair"], "images": 1},
        "semantic_maps": {"methods": ["sair"], "images": 1},
    },
    "fewest_seeds": None,
    "fid": False,  # independent of the weights on this machine
    "regression": {"reference": "reference"},
    "conventions": {"pairs": [["sair", "liif"]]},
    "training": {"scale": 0.006, "save_every": 2, "precision": "fp32"},
}


def workspace(folder):
    """Copy the workflow with a small config and few methods."""
    shutil.copytree("workflow", folder / "workflow")
    shutil.copytree("config", folder / "config", ignore=lambda d, names: [
        n for n in names if Path(d).name == "methods" and Path(n).stem not in METHODS
    ])  # fmt: skip
    (folder / "test.yaml").write_text(yaml.safe_dump(SETTINGS))
    return folder


def command(*arguments, config=()):
    base = [sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", "test.yaml"]
    return [*base, *(["--config", *config] if config else []), "--", *(arguments or ["results/smoke/table1.md"])]


def snakemake(folder, *arguments, options=(), config=(), **variables):
    """Run and return the finished process; its output is stdout and stderr together."""
    line = command(*arguments, config=config)
    line[3:3] = options
    environment = os.environ | variables
    return subprocess.run(
        line, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = workspace(tmp_path_factory.mktemp("finished"))
    result = snakemake(folder)
    assert result.returncode == 0, result.stdout[-5000:]
    return folder


def test_the_table_is_full(finished):
    frame = pd.read_csv(finished / "results/smoke/table1.csv")
    assert (frame[frame.metric.isin(["fid", "kid"]) & frame.method.notna()].reason == SWITCHED_OFF).all()
    done = frame[frame.reason.isna()]
    assert set(done.method) == set(METHODS)
    assert done["mean"].notna().all() and (done.n == 3).all()
    assert len(set(frame.label)) == 8 + 2
    for name in ("table1.md", "table1.tex", "figures/qualitative_faces_1.png", "faces/clip/seed0/segmentation.csv"):
        assert (finished / "results/smoke" / name).stat().st_size > 0
    truth = done[done.method == "ground_truth"].set_index("metric")["mean"]
    assert (truth["psnr"] == float("inf")).all() and (truth["lpips"] == 0).all()


def test_table_5_and_the_figures_are_made_from_existing_files(finished):
    """They cause no further training."""
    targets = ("results/smoke/table5.md", "results/smoke/figures/training_curves_faces.png")
    result = snakemake(finished, *targets)
    assert result.returncode == 0, result.stdout[-5000:]
    assert jobs(result.stdout) == {
        "segment": 1,
        "table": 1,
        "semantic_maps": 1,
        "training_curves": 1,
        "total": 4,
    }
    frame = pd.read_csv(finished / "results/smoke/table5.csv").set_index(["method", "bucket", "metric"])
    for method in ("clip", "sair", "clip_complete"):
        assert 0 <= frame.loc[(method, "all", "miou"), "mean"] <= 1 and frame.loc[(method, "all", "miou"), "n"] == 3
    assert frame.loc[("sair", "all", "miou"), "paper"] == 0.45
    for figure in ("semantic_maps_faces", "training_curves_faces"):
        assert (finished / f"results/smoke/figures/{figure}.png").stat().st_size > 5000


def test_shards_change_no_result(finished, tmp_path):
    """With three test images in two jobs, images are equal byte for byte and scores except for LPIPS' last digits."""
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder)
    method = "results/smoke/faces/mean_fill/seed0"
    shutil.rmtree(folder / method)
    result = snakemake(folder, f"{method}/scores.csv", config=("shards=2",))
    assert result.returncode == 0, result.stdout[-5000:]
    made = jobs(result.stdout)
    assert made["predict_shard"] == made["score_shard"] == 2, made
    files = {p.relative_to(folder / method) for p in (folder / method).rglob("*") if p.is_file()}
    assert files == {p.relative_to(finished / method) for p in (finished / method).rglob("*") if p.is_file()}
    for file in files - {Path("scores.csv")}:
        assert (folder / method / file).read_bytes() == (finished / method / file).read_bytes(), file
    pd.testing.assert_frame_equal(
        *(pd.read_csv(root / method / "scores.csv") for root in (folder, finished)), rtol=1e-6
    )


def test_other_conventions_score_existing_images(finished):
    result = snakemake(finished, "results/smoke/conventions.md")
    assert result.returncode == 0, result.stdout[-5000:]
    assert jobs(result.stdout) == {"score_conventions": len(METHODS), "conventions": 1, "total": len(METHODS) + 1}
    results = finished / "results/smoke"
    for method in METHODS:
        own, scores = (pd.read_csv(results / f"faces/{method}/seed0/{name}.csv") for name in ("conventions", "scores"))
        assert own.ours_psnr.equals(scores.psnr) and own.ours_ssim.equals(scores.ssim) and own.ours_l1.equals(scores.l1)
    assert "SAIR − LIIF" in (results / "conventions.md").read_text()


def test_verify_finds_what_was_changed(finished, tmp_path, monkeypatch):
    """A number in a table, a score and an image are changed one at a time, and each is reported by name."""
    assert snakemake(finished, "results/smoke/conventions.md").returncode == 0
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder)
    record = folder / "results/smoke/provenance/faces/liif/seed0/score.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"device": "another CPU"}))
    add_distances(folder)
    monkeypatch.chdir(folder)
    results = Path("results/smoke")
    assert main(["report", "--configfile", "test.yaml"]) == 0
    states = {(finding.file, finding.state): finding.said for finding in findings()}
    assert NOT_BACKED not in {state for _, state in states}, states
    for name in ("table1.md", "table1.tex", "table1.csv", "report.html", "conventions.md", "faces/liif/seed0/fid.csv"):
        assert (str(results / name), BACKED) in states
    assert "another CPU, fp32 (LIIF)" in states[str(results / "table1.md"), MIXED]
    assert "Scores: another CPU, fp32 (LIIF)" in (results / "table1.md").read_text()
    for name, change, message in (
        ("table1.md", lambda old: old.replace(b" MISF", b" MISS"), "where the scores give"),
        ("table1.csv", lambda old: old.replace(b"0.0", b"0.1", 1), "where the scores give"),
        ("report.html", lambda old: old.replace(b'"n": 3', b'"n": 300', 1), "where the scores give"),
        ("faces/liif/seed0/scores.csv", lambda old: old.replace(b",0-20,", b",0-20,1", 1), "but its image gives"),
        ("faces/liif/seed0/fid.csv", lambda old: old.replace(b"all,3,", b"all,3,1", 1), "but its features give"),
        ("faces/liif/seed0/train.csv", lambda old: old[:-2], "since rule train made it"),
        ("faces/sair/seed0/checkpoint.safetensors", lambda old: old[:-1] + b"?", "since rule train made it"),
        ("conventions.md", lambda old: old.replace(b"| SAIR", b"| SAIL", 1), "where the scores give"),
        ("conventions.csv", lambda old: old.replace(b"0.0", b"0.1", 1), "where the scores give"),
        ("faces/sair/seed0/conventions.csv", lambda old: old.replace(b",0-20,", b",0-20,1", 1), "but its image gives"),
    ):
        path = results / name
        old = path.read_bytes()
        assert change(old) != old
        path.write_bytes(change(old))
        wrong = not_backed()
        path.write_bytes(old)
        assert any(message in said for said in wrong[str(path)]), (name, wrong)
    for kind in ("composited", "raw"):
        path = next((results / f"faces/liif/seed0/predictions/{kind}").rglob("*.png"))
        old = path.read_bytes()
        write_png(path, 255 - read_rgb(path))
        wrong = not_backed()
        path.write_bytes(old)
        assert any(path.name in said for said in wrong[str(results / "faces/liif/seed0/scores.csv")])
        features = wrong.get(str(results / "faces/liif/seed0/fid.csv"), [])
        assert features == (["its features are of other images"] if kind == "composited" else [])
    assert not not_backed() and not list(results.rglob("*.verify*"))
    assert main(["verify", "--configfile", "test.yaml"]) == 0

    results.rename("moved")
    assert not not_backed("moved") and all(finding.file.startswith("moved/") for finding in findings("moved"))
    path = Path("moved/faces/liif/seed0/train.csv")
    path.write_bytes(path.read_bytes()[:-2])
    assert any("rule train" in said for said in not_backed("moved")[str(path)])
    assert main(["verify", "moved", "--configfile", "test.yaml"]) == 1


def findings(results="results/smoke"):
    """Return the findings of `sair verify` in the working folder."""
    config = load_config(["test.yaml"]) | {"results": results}
    return list(verify(Project(config)))


def not_backed(results="results/smoke"):
    """Return the description of each file that is not backed."""
    wrong = {}
    for finding in findings(results):
        if finding.state == NOT_BACKED:
            wrong.setdefault(finding.file, []).append(finding.said)
    return wrong


def add_distances(folder):
    """Write FID and KID of random features, and the table with them; the real weights are not needed."""
    results = folder / "results/smoke"
    manifest = results / "faces/manifest.csv"
    rng = np.random.default_rng(0)

    def write(path, count, images):
        features = rng.normal(size=(count, 2048)).astype(np.float32)
        fid.write_features(path, fid.Features(features, manifest_hash(manifest), "weights", images))

    truth = results / "faces/truth_features.safetensors"
    write(truth, 3, "truths")
    for method in METHODS:
        own = results / f"faces/{method}/seed0"
        write(own / "features.safetensors", 9, fid.predictions_digest(manifest, own / "predictions"))
        fid.write_distances(manifest, truth, own / "features.safetensors", own / "fid.csv")
    (folder / "test.yaml").write_text(yaml.safe_dump(SETTINGS | {"fid": True}))
    result = snakemake(folder, SAIR_WEIGHTS=str(weights_in(folder)))
    assert result.returncode == 0 and jobs(result.stdout) == {"table": 1, "total": 1}, result.stdout[-5000:]


def weights_in(folder):
    """Create a folder with a file of the name that the workflow looks for."""
    (folder / "weights").mkdir()
    (folder / "weights" / entry("inception").files[0].name).touch()
    return folder / "weights"


def test_fid_is_measured_where_the_weights_are(finished, tmp_path):
    """There is one job for the ground truth and one per method; without the weights there is no additional job."""
    there = {"SAIR_WEIGHTS": str(weights_in(tmp_path)), "TORCH_HOME": str(tmp_path)}
    found = [
        jobs(snakemake(finished, options=["-n"], config=["fid=True"], **variables).stdout)
        for variables in (there, there | {"SAIR_WEIGHTS": ""})
    ]
    table = {"table": 1}
    assert found == [{"truth_features": 1, "fid": 4, **table, "total": 6}, {**table, "total": 1}]


def test_regression_against_a_kept_reference(finished, tmp_path, monkeypatch):
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder)
    monkeypatch.chdir(folder)
    assert main(["reference", "--configfile", "test.yaml"]) == 0
    result = snakemake(folder, "regression", config=("variant=liif",))
    assert result.returncode == 0 and "no difference: results/smoke/regression/liif.md" in result.stdout, result.stdout
    assert "# liif against liif of the reference: no difference" in Path("results/smoke/regression/liif.md").read_text()
    assert snakemake(folder, "regression").returncode == 1


def test_every_result_has_a_record(finished):
    results = Path("results/smoke")
    facts = json.loads((finished / results / "provenance/faces/sair/seed0/score.json").read_text())
    assert (
        facts["rule"] == "score_predictions"
        and facts["threads"] == 1
        and torch.__version__.startswith(facts["versions"]["torch"])
    )
    assert facts["config"]["training"]["scale"] == SETTINGS["training"]["scale"] and len(facts["commit"]) >= 40
    assert facts["wall_seconds"] > 0 and facts["peak_memory_mib"] > 100 and facts["device"]
    assert facts["device_type"] == "cpu" and facts["precision"] == "fp32"
    assert any("alexnet" in line and "sha256" in line for line in facts["weights"])
    manifest = str(results / "faces/manifest.csv")
    assert facts["inputs"][manifest] == file_sha256(finished / manifest)
    assert set(facts["outputs"]) == {str(results / "faces/sair/seed0/scores.csv")}
    records = {p.with_suffix("").name for p in (finished / results / "provenance").rglob("*.json")}
    assert {"train", "predict", "score", "manifest", "images", "table1"} <= records
    assert (finished / results / "provenance/faces/clip/seed0/train.json").is_file()


def test_a_second_run_does_nothing(finished):
    result = snakemake(finished)
    assert result.returncode == 0 and "Nothing to be done" in result.stdout


def test_a_variant_runs_only_its_own_jobs(finished):
    variant = finished / "config/methods/sair_narrow.yaml"
    variant.write_text("extends: sair\nlabel: SAIR narrow\ntables: {table1: null}\nparameters: {air: {hidden: [32]}}\n")
    try:
        result = snakemake(finished, options=["-n"])
    finally:
        variant.unlink()
    assert jobs(result.stdout) == {"train": 1, "predict": 1, "score_predictions": 1, "table": 1, "total": 4}, (
        result.stdout
    )


def test_a_changed_method_reruns_only_itself(finished):
    path = finished / "config/methods/liif.yaml"
    original = path.read_text()
    try:
        path.write_text(original + "training: {warmup: 3}\n")
        changed = jobs(snakemake(finished, options=["-n"]).stdout)
        path.write_text(original.replace("label: LIIF", "label: LIIF (renamed)"))
        renamed = jobs(snakemake(finished, options=["-n"]).stdout)
    finally:
        path.write_text(original)
    # SAIR extends LIIF, so both are trained again; a label is only printed.
    assert changed["train"] == 2 and "train_encoder" not in changed and "freeze_manifest" not in changed
    assert "train" not in renamed and "score_predictions" not in renamed and renamed["table"] == 1


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (["image_sise=64"], "unknown key 'image_sise'. Did you mean image_size"),
        (["preset=mimi"], "has no preset 'mimi'. Did you mean mini"),
        (["seeds=[a]"], "seeds"),
        (["semantics={dataset: face}"], "there is no 'face'. Did you mean faces"),
        (["figures={qualitative: {methods: [siar]}}"], "unknown method 'siar'.*Did you mean sair"),
    ],
)
def test_a_wrong_config_is_refused(finished, config, message):
    import re

    result = snakemake(finished, config=config)
    assert result.returncode != 0 and re.search(message, result.stdout), result.stdout[-2000:]


def test_a_missing_ground_truth_is_reported_and_not_skipped(finished, tmp_path):
    """Scores are computed from files, so a missing image is an error that names it."""
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder)
    image = next((folder / "results/smoke/faces/sair/seed0/predictions/composited").rglob("*.png"))
    image.unlink()
    result = snakemake(folder, options=["--forcerun", "score_predictions"])
    assert result.returncode != 0 and image.name in result.stdout and "missing" in result.stdout


def test_two_runs_at_once_are_refused(finished, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder)
    line = command()
    line[3:3] = ["--forcerun", "score_predictions"]
    first = subprocess.Popen(line, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while len(processes_in(folder)) < 2 and first.poll() is None:  # it, and a job of it
        time.sleep(0.1)
    second = snakemake(folder, options=["--forcerun", "table"])
    assert second.returncode != 0 and "another run is writing here" in second.stdout
    assert first.wait() == 0


# Files that appear one after the other in a run: while images are frozen, SAIR is trained, predicts and is scored.
MOMENTS = (
    "faces/images/train/*.png",
    "faces/sair/seed0/running.safetensors",
    "faces/sair/seed0/predictions",
    "faces/sair/seed0/scores.csv",
)


def test_a_run_that_is_killed_again_and_again_ends_with_the_same_bytes(finished, tmp_path):
    folder = workspace(tmp_path)
    results = folder / "results/smoke"
    for moment in MOMENTS:
        assert not list(results.glob(moment)), f"{moment}: already there, so no new moment"
        process = subprocess.Popen(
            command(), cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        while not list(results.glob(moment)):
            assert process.poll() is None, f"the run ended without {moment}"
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        deadline = time.monotonic() + 30
        while processes_in(folder) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not processes_in(folder), "a job outlived the workflow that started it"
    result = snakemake(folder)
    assert result.returncode == 0, result.stdout[-5000:]
    for name in ("table1.csv", "table1.md", "faces/manifest.csv", "faces/sair/seed0/scores.csv"):
        assert (folder / "results/smoke" / name).read_bytes() == (finished / "results/smoke" / name).read_bytes(), name
    assert not list(folder.rglob("*.tmp*"))
