"""Test what is stated before a run: the smallest differences that its tables could show."""

import pandas as pd
import pytest
from helpers.measured import method, scores

from sair.commands import doctor
from sair.pipeline import driver
from sair.pipeline.project import Project
from sair.reporting.planned import image_spreads, planned_tables


@pytest.fixture
def settings(config, tmp_path):
    """Return a config with a stored reference of three methods, and no frozen split."""
    for seed, name in enumerate(("sair", "liif", "lama")):
        scores(tmp_path / f"reference/{name}/seed0/scores.csv", -seed, seed=seed)
    regression = config["regression"] | {"reference": str(tmp_path / "reference")}
    return config | {"regression": regression, "results": str(tmp_path / "results")}


def size(config, methods, metric="psnr"):
    (found,) = planned_tables(config, {"table1": methods})
    return found.sizes[metric]


METHODS = {"sair": method("SAIR"), "liif": method("LIIF"), "truth": method(None, control=True)}


def test_the_spread_over_images_is_that_of_the_nearest_methods(settings, tmp_path):
    reference = settings["regression"]["reference"]
    wide = {name: pd.read_csv(f"{reference}/{name}/seed0/scores.csv") for name in ("sair", "liif", "lama")}
    pairs = [
        (wide[a].psnr - wide[b].psnr).groupby(wide[a].bucket).std() for a, b in (("sair", "liif"), ("liif", "lama"))
    ]
    assert image_spreads(reference)["psnr"] == pytest.approx(pd.concat(pairs).median())
    assert image_spreads(tmp_path) == {}


def test_more_seeds_images_and_fewer_comparisons_show_smaller_differences(settings):
    one = size(settings, METHODS)
    more = METHODS | {f"m{k}": method(None) for k in range(6)}
    assert size(settings | {"seeds": [0, 1, 2, 3, 4]}, METHODS) < one < size(settings, more)
    few = settings["datasets"] | {"faces": settings["datasets"]["faces"] | {"test": 20}}
    assert size(settings | {"datasets": few}, METHODS) > one
    assert not list(planned_tables(settings, {"table1": {"sair": METHODS["sair"]}})), "there is no comparison"


def test_what_is_not_known_is_stated(settings, tmp_path):
    unknown = settings["regression"] | {"reference": str(tmp_path / "none"), "least": {}}
    (found,) = planned_tables(settings | {"regression": unknown}, {"table1": METHODS})
    assert set(found.sizes.values()) == {None} and "PSNR unknown (set `regression.least.psnr`)" in str(found)
    unknown |= {"least": settings["regression"]["least"]}
    (found,) = planned_tables(settings | {"regression": unknown}, {"table1": METHODS})
    assert "PSNR > 0." in str(found), "without a stored reference only the seeds count"


def test_clusters_of_a_frozen_split_count(settings, frozen_split, tmp_path):
    before = next(planned_tables(settings, {"table1": METHODS})).design.images
    manifest = frozen_split(tmp_path / "results/faces", test=4)
    frame = pd.read_csv(manifest, dtype=str)
    frame.assign(cluster="one").to_csv(manifest, index=False)
    (found,) = planned_tables(settings, {"table1": METHODS})
    assert before == 100 and found.design.images == 1 and "PSNR none (too few images)" in str(found)


def test_doctor_and_a_dry_run_state_it(settings, monkeypatch, capsys):
    project = Project(settings)
    found = list(doctor.detectable(project))
    assert [finding.state for finding in found] == [doctor.OK] * 4
    assert found[0].what == "Table 1, differences" and "1 seed, 100 images per bucket" in found[0].description
    for words, printed in ((["-n"], True), (["-np"], True), (["--dry-run"], True), (["--cores", "2"], False)):
        monkeypatch.setattr("sys.argv", ["snakemake", *words])
        driver.foresee(project)
        assert ("Table 1: 1 seed" in capsys.readouterr().err) == printed


def test_doctor_names_a_damaged_reference(settings):
    path = f"{settings['regression']['reference']}/sair/seed0/scores.csv"
    pd.read_csv(path).assign(psnr="high").to_csv(path, index=False)
    (found,) = doctor.detectable(Project(settings))
    assert found.state == doctor.WRONG and "scores.csv, line 2, psnr" in found.description
