"""Test the regression check against stored results: worse scores are an error, an identical rerun is not."""

import shutil
from types import SimpleNamespace

import pandas as pd
import pytest
import yaml
from helpers.measured import scores

from sair.common.errors import InputError
from sair.common.files import file_sha256
from sair.common.images import read_rgb
from sair.evaluation.score import score_predictions
from sair.inference.predict import predict
from sair.methods.spec import ancestors, load_spec
from sair.pipeline.project import Project
from sair.reporting import regression
from sair.reporting.reference import stored

CONFIG = {"preset": "mini", "image_size": 32, "buckets": [], "seeds": [0], "datasets": {}, "training": {}}
LEAST = {"psnr": 0.1, "ssim": 0.002, "l1": 0.0003, "lpips": 0.002}


@pytest.fixture(scope="module")
def run(tmp_path_factory, frozen_split):
    """Return a finished run of two controls on 14 drawn faces, and the reference that was stored from it."""
    folder = tmp_path_factory.mktemp("run")
    frozen_split(folder, test=14, train=2, validation=1, masks=2, buckets=[(0, 20), (20, 40)])
    scores = {}
    for name in ("mean_fill", "biharmonic"):
        own = folder / name / "seed0"
        predict(load_spec(name, "config/methods", "mini"), folder / "manifest.csv", own / "predictions")
        score_predictions(folder / "manifest.csv", own / "predictions", own / "scores.csv", networks=False, show=False)
        scores[name] = [str(own / "scores.csv")]
    regression.store_reference(CONFIG, "faces", folder / "manifest.csv", scores, folder / "reference")
    return folder


def check(run, variant, candidates, out, scores=None):
    output = SimpleNamespace(markdown=out / "v.md", csv=out / "v.csv", grid=out / "v.png")
    scores = scores or [run / variant / "seed0/scores.csv"]
    regression.write_regression_report(
        variant, candidates, scores, run / "manifest.csv", run / "reference", LEAST, output
    )
    return output


def test_the_reference_records_its_origin(run):
    facts = yaml.safe_load((run / "reference/reference.yaml").read_text())
    assert facts["manifest"] == file_sha256(run / "manifest.csv") and facts["versions"]["torch"] and facts["processor"]
    assert stored(run / "reference") == ["biharmonic", "mean_fill"]
    kept = run / "reference/mean_fill/seed0/scores.csv"
    assert kept.read_bytes() == (run / "mean_fill/seed0/scores.csv").read_bytes()


def test_an_identical_rerun_is_no_difference(run, tmp_path):
    output = check(run, "mean_fill", ["mean_fill"], tmp_path)
    assert set(pd.read_csv(output.csv).outcome) == {"no difference"}
    assert regression.regression(output.csv, output.markdown).startswith("no difference")


def test_worse_and_better_scores_are_reported_and_shown(run, tmp_path):
    output = check(run, "mean_fill", ["unknown", "biharmonic"], tmp_path)
    with pytest.raises(InputError, match=r"worse than the reference; see .*v\.md\."):
        regression.regression(output.csv, output.markdown)
    text = output.markdown.read_text()
    assert text.startswith("# mean_fill against biharmonic of the reference: worse") and "(v.png)" in text
    # Masked input, both methods, truth: 2 + 2 columns of tiles, and a row for each image that moved most.
    both = read_rgb(output.grid).shape
    output = check(run, "biharmonic", ["mean_fill"], tmp_path)
    assert regression.regression(output.csv, output.markdown).startswith("improved")
    assert both == read_rgb(output.grid).shape and both[0] > 6 * 192 and both[1] > 4 * 192


def test_a_difference_below_the_least_is_none(run, tmp_path):
    frame = pd.read_csv(run / "mean_fill/seed0/scores.csv")
    for shift, outcome in ((-0.05, "no difference"), (-0.15, "worse")):
        path = tmp_path / "x/seed0/scores.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not (path.parent / "predictions").exists():
            shutil.copytree(run / "mean_fill/seed0/predictions", path.parent / "predictions")
        frame.assign(psnr=frame.psnr + shift).to_csv(path, index=False)
        output = check(run, "x", ["mean_fill"], tmp_path, [path])
        verdicts = pd.read_csv(output.csv).set_index(["metric", "bucket"]).outcome
        assert verdicts["psnr", "all"] == outcome and verdicts["ssim", "all"] == "no difference"


def test_another_split_and_unknown_methods_are_refused(run, tmp_path):
    with pytest.raises(InputError, match=r"has no scores of lama nor of liif\. Name a method"):
        check(run, "mean_fill", ["lama", "liif"], tmp_path)
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    with open(copy / "manifest.csv", "a") as stream:
        stream.write("\n")
    with pytest.raises(InputError, match=r"made on another test split \(manifest \w{12}, here \w{12}\)"):
        check(copy, "mean_fill", ["mean_fill"], tmp_path)
    with pytest.raises(InputError, match="name the method to check"):
        regression.regression(None, None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"variant": "sairr"}, r"config, variant: there is no 'sairr'\. Did you mean sair"),
        ({"against": "nobody"}, r"results/reference has no scores of nobody\. Name a method that it has"),
        ({"reference": "results/other"}, r"results/other/reference\.yaml: no such file\. Store a reference first"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_anything_is_trained(config, changes, message):
    regression = config["regression"] | {key: changes[key] for key in changes if key == "reference"}
    given = {"variant": "sair"} | {key: changes[key] for key in changes if key != "reference"}
    with pytest.raises(InputError, match=message):
        Project(config | given | {"regression": regression}).reference("sair")


def test_a_variant_is_compared_with_what_it_extends():
    assert ancestors("sair_ous", "config/methods")[0] == "sair"


def test_a_new_reference_replaces_the_old_one_as_a_whole(config, tmp_path):
    (tmp_path / "manifest.csv").write_text("id\n")
    run, kept = tmp_path / "run", tmp_path / "reference"
    old = {"sair": [scores(run / f"sair/seed{seed}/scores.csv") for seed in (0, 1)]}
    regression.store_reference(config, "faces", tmp_path / "manifest.csv", old, kept)
    with pytest.raises(InputError, match="Finish the run first"):
        regression.store_reference(
            config, "faces", tmp_path / "manifest.csv", {"liif": [str(run / "liif/seed0/scores.csv")]}, kept
        )
    assert stored(kept) == ["sair"] and len(list(kept.glob("sair/seed*/scores.csv"))) == 2
    regression.store_reference(config, "faces", tmp_path / "manifest.csv", {"sair": old["sair"][:1]}, kept)
    assert [path.parent.name for path in kept.glob("sair/seed*/scores.csv")] == ["seed0"]
    with pytest.raises(InputError, match="no table of this config shows scores"):
        regression.store_reference(config, "faces", tmp_path / "manifest.csv", {}, kept)


def test_the_commit_is_that_of_the_run_and_not_marked_as_changed_by_the_reference_itself(run, tmp_path, monkeypatch):
    monkeypatch.setattr(regression.provenance, "commit", lambda: f"abc, {(tmp_path / 'reference').exists()}")
    scores = {"mean_fill": [str(run / "mean_fill/seed0/scores.csv")]}
    regression.store_reference(CONFIG, "faces", run / "manifest.csv", scores, tmp_path / "reference")
    assert regression.read_facts(tmp_path / "reference")["commit"] == "abc, False"
