"""Test several samples per image: their seeds, their files and what is refused."""

import pytest
from helpers.noise import Noise

from sair.common.errors import InputError
from sair.evaluation.diversity import write_diversity
from sair.inference.predict import parameter_count, predict
from sair.methods.spec import load_spec
from sair.pipeline.pages import table_inputs
from sair.pipeline.project import Project


@pytest.fixture
def project(config, tmp_path, monkeypatch):
    """Return a function that makes a plan with one method of the given file."""

    def make(text, **changes):
        (tmp_path / "noise.yaml").write_text(text)
        monkeypatch.setattr("sair.pipeline.registry.METHODS", tmp_path)
        monkeypatch.setattr("sair.pipeline.project.METHODS", tmp_path)
        (tmp_path / "other.yaml").write_text("label: Other\nclass: a:b\ntraining: null")
        settings = {
            "tables": {"mine": {"dataset": "faces", "methods": ["noise", "other"]}},
            "conventions": {"table": "mine", "pairs": [["noise", "other"]]},
            "figures": {},
        }
        return Project({**config, **settings, **changes})

    return make


NOISE = "label: Noise\nclass: helpers.noise:Noise\ntraining: null\n"


def test_each_sample_has_its_seed_and_its_files(project):
    plan = project(f"{NOISE}samples: 3\nparameters: {{seed: 7}}", seeds=[4, 5])
    assert plan.seeds("noise") == [4, 5, 6]
    assert [plan.sample("noise", seed)["parameters"]["seed"] for seed in plan.seeds("noise")] == [7, 8, 9]
    inputs = table_inputs(plan, "mine")
    assert inputs.diversity == {"noise": "results/faces/noise/diversity.csv"} and len(inputs.measured["noise"]) == 3


def test_without_samples_nothing_changes(project):
    plan = project(NOISE)
    assert plan.seeds("noise") == [0] and plan.sample("noise", 0)["parameters"] == {}
    assert table_inputs(plan, "mine").diversity == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{NOISE}samples: 0", "samples: expected a whole number, found 0"),
        (f"{NOISE}samples: 100000000000", "samples: 100000000000; expected at most 1000"),
        (f"{NOISE}samples: true", "samples: expected a whole number, found True"),
        (f"{NOISE}samples: 2\nparameters: {{seed: a}}", r"parameters\.seed: 'a'; expected a whole number"),
        ("label: N\nclass: a:b\nsamples: 2", "samples: several samples are drawn from one set of weights, but"),
    ],
)
def test_faulty_samples_are_refused(project, text, message):
    with pytest.raises(InputError, match=message):
        project(text)


def test_samples_differ_and_their_diversity_is_measured(tmp_path, frozen_split):
    manifest = frozen_split(tmp_path / "data", test=1, buckets=[[20, 40]])
    (tmp_path / "noise.yaml").write_text(NOISE)
    spec = load_spec("noise", tmp_path, "mini")
    for seed in range(2):
        predict({**spec, "parameters": {"seed": seed}}, manifest, tmp_path / f"s{seed}")
    folders = [tmp_path / f"s{seed}" for seed in range(2)]
    write_diversity(manifest, folders, tmp_path / "d.csv")
    write_diversity(manifest, [folders[0], folders[0]], tmp_path / "same.csv")
    found, same = (float((tmp_path / f"{n}.csv").read_text().splitlines()[1].split(",")[2]) for n in ("d", "same"))
    assert found > 0.01 and same == 0


def test_weights_that_fill_holes_are_counted(mini):
    from sair.methods.build import build

    network = build(mini("lama"))
    counted = parameter_count(network)
    assert counted == sum(value.numel() for value in network.generator.state_dict().values())
    assert parameter_count(Noise()) == 0
