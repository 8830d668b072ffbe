"""Test that the parts of a step share a name, and that tables are planned from the config only."""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from sair.common.errors import InputError
from sair.methods.origins import merge
from sair.pipeline.pages import claims_inputs, conventions_inputs, report_inputs, table_inputs
from sair.pipeline.project import Project

RULES = sorted(Path("workflow/rules").glob("*.smk"))
# `use rule` makes a rule of another one: it has that one's script.
NAMED = [name for path in RULES for name in re.findall(r"(?m)^ *rule (\w+):$", path.read_text(encoding="utf-8"))]


def directives(name):
    """Return the lines of a rule."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in RULES)
    return re.search(rf"(?ms)^ *rule {name}:$(.*?)(?=^ *(?:use )?rule |\Z)", text)[1]


@pytest.mark.parametrize("name", NAMED)
def test_rule_script_and_function_share_a_name(name):
    assert f'"../scripts/{name}.py"' in directives(name)
    tree = ast.parse(Path(f"workflow/scripts/{name}.py").read_text(encoding="utf-8"))
    imported = [
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module.startswith("sair.")
        for alias in node.names
    ]
    called = [node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    functions = [function for function in called if function in imported and function[0].islower()]
    assert {name, f"write_{name}"} & set(functions)


def test_every_script_has_a_rule():
    assert {path.stem for path in Path("workflow/scripts").glob("*.py")} == set(NAMED)


# --------------------------------------------------------------------------------------------------------------------
# Tables of any name

PLAIN = {"mine": {"dataset": "faces", "methods": ["liif", "mean_fill"]}}
SEMANTIC = {"mine": {"dataset": "faces", "methods": ["liif", "sair"]}}


def test_a_table_names_its_methods_itself(config):
    project = Project(merge(config, {"tables": PLAIN}))
    assert project.rows("mine") == ["liif", "mean_fill"]
    assert project.method("liif")["tables"]["mine"] is None
    inputs = table_inputs(project, "mine")
    assert list(inputs.measured) == ["liif", "mean_fill"]
    assert inputs.measured["liif"] == ["results/faces/liif/seed0/scores.csv"]
    assert {inputs.manifest, *inputs.measured["liif"], *inputs.figures} < set(inputs.files())


def test_a_table_may_name_all_of_its_rows(config):
    rows = ["sair", "liif", "liif_long", "mean_fill"]
    own = {"tables": {"table1": {"only": rows}}, "conventions": {"pairs": [["sair", "liif"]]}}
    project = Project(merge(config, own))
    assert project.rows("table1") == rows == list(claims_inputs(project).measured["table1"])
    assert project.method("sair")["tables"]["table1"] == "SAIR" and project.method("liif")["tables"]["table1"] == "LIIF"


def test_a_table_may_add_methods_to_those_whose_files_name_it(config):
    project = Project(merge(config, {"tables": {"table6": {"methods": ["mean_fill"]}}}))
    assert project.rows("table6") == ["mean_fill", *Project(config).rows("table6")]


@pytest.mark.parametrize(
    ("rows", "count"),
    [(["mean_fill", "biharmonic"], 0), (["mean_fill", "biharmonic", "liif", "lama", "sair"], 3)],
)
def test_a_plain_table_has_the_figure_only_if_its_rows_include_the_figures_methods(config, rows, count):
    project = Project(merge(config, {"tables": {"mine": {"dataset": "faces", "methods": rows}}}))
    assert len(table_inputs(project, "mine").figures) == count
    assert len(table_inputs(project, "table4").figures) == 3


@pytest.mark.parametrize(
    ("tables", "clip"),
    [
        (PLAIN, []),
        (SEMANTIC, ["results/faces/clip/seed0/segmentation.csv"]),
        (
            {"mine": {"dataset": "faces", "measure": "segmentation", "methods": ["sair"]}},
            ["results/faces/clip/seed0/segmentation.csv"],
        ),
    ],
)
def test_only_a_table_with_semantics_needs_clip(config, tables, clip):
    assert table_inputs(Project(merge(config, {"tables": tables})), "mine").clip == clip


def test_tables_without_a_counterpart_make_no_claims(config):
    project = Project(merge(config, {"tables": PLAIN | {"table5": {"claims": None, "measure": "segmentation"}}}))
    inputs = claims_inputs(project)
    assert inputs.measured.keys() == {"table1", "table2", "table4", "table6"} and inputs.clip == []
    none = {name: {"claims": None, "measure": project.layout(name).measure} for name in config["tables"]}
    project = Project(merge(config, {"tables": none}))
    assert claims_inputs(project) is None and report_inputs(project).claims is None


def test_columns_are_those_of_the_table_or_the_paper_or_all(config):
    project = Project(merge(config, {"tables": PLAIN | {
        "few": {"dataset": "faces", "metrics": ["psnr"], "buckets": ["20-40", "all"]},
        "table1": {"metrics": ["lpips"]},
    }}))  # fmt: skip
    shown = {name: (project.layout(name).buckets, project.layout(name).metrics) for name in project.config["tables"]}
    buckets = ("0-20", "20-40", "40-60")
    assert shown["mine"] == (buckets, ("psnr", "ssim", "l1", "lpips"))
    assert shown["few"] == (("20-40", "all"), ("psnr",)) and shown["table1"] == (buckets, ("lpips",))
    assert shown["table4"] == (("all",), ("psnr", "ssim")) and shown["table5"][0] == ("all", *buckets)
    assert project.layout("table1").has_claims and not project.layout("mine").has_claims
    assert [project.layout(name).title for name in ("table1", "mine")] == ["Table 1", "Table mine"]


@pytest.mark.slow
@pytest.mark.parametrize(("tables", "encoders"), [(PLAIN, 0), (SEMANTIC, 1)])
def test_a_dry_run_of_a_table_without_semantics_trains_no_clip(tmp_path, tables, encoders):
    for name in ("workflow", "config"):
        shutil.copytree(name, tmp_path / name)
    figures = {"qualitative": {"methods": ["liif"]}}
    mine = {"tables": tables, "fid": False, "fewest_seeds": None, "figures": figures}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(mine))
    command = [sys.executable, "-m", "snakemake", "-n", "--cores", "1", "--configfile", "mine.yaml"]
    result = subprocess.run(
        [*command, "--", "results/mine.md"], cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    jobs = dict(re.findall(r"(?m)^(\w+) +(\d+)$", result.stdout))
    assert result.returncode == 0 and jobs["table"] == "1" and jobs["score_predictions"] == "2", result.stdout
    assert int(jobs.get("train_encoder", 0)) == int(jobs.get("segment_by_clip", 0)) == encoders


def test_every_table_is_made_of_every_seed(config):
    project = Project(config | {"seeds": [0, 1, 2]})
    for files in (project.measured("table1"), project.measured("table5"), conventions_inputs(project).measured):
        assert [path.split("/")[-2] for path in files["sair"]] == ["seed0", "seed1", "seed2"]


def test_images_are_drawn_of_every_seed(config):
    """A table shows those of the first seed below it; the report has all."""
    project = Project(config | {"seeds": [3, 5]})
    assert project.figures("semantic_maps", "faces") == [
        "results/figures/semantic_maps_faces.png",
        "results/figures/semantic_maps_faces_seed5.png",
    ]
    assert len(project.figures("qualitative", "faces")) == 2 * len(table_inputs(project, "table1").figures)
    assert project.figures("training_curves", "faces") == ["results/figures/training_curves_faces.png"]
    assert [project.seed_of("qualitative", ending) for ending in ("", "_seed5")] == [3, 5]
    assert [project.nearest_seed(name, 5) for name in ("sair", "mean_fill")] == [5, 3]
    assert [project.title(*of) for of in (("sair", 5), ("mean_fill", 3))] == ["SAIR, seed 5", "Mean fill"]
    assert Project(config | {"seeds": [3], "fewest_seeds": None}).title("sair", 3) == "SAIR"
    inputs = report_inputs(project)
    assert list(inputs.maps) == ["3", "5"]
    assert [len(inputs.predictions[name]) for name in ("sair", "mean_fill")] == [2, 1]


def test_a_figure_of_a_seed_has_one_name_and_a_seed_that_is_run(config):
    """Else it would show the first seed's images under another seed's name."""
    project = Project(config | {"seeds": [0], "fewest_seeds": {"sair": 3}})
    assert [project.seed_of("qualitative", ending) for ending in ("", "_seed1", "_seed2")] == [0, 1, 2]
    for wrong in ("_seed0", "_seed3", "_seed01"):
        with pytest.raises(InputError, match=f"ending `{wrong}`.* seed 0, `_seed1` for seed 1"):
            project.seed_of("qualitative", wrong)
    with pytest.raises(InputError, match="ending `_seed1`"):
        Project(config | {"seeds": [0], "fewest_seeds": None}).seed_of("semantic_maps", "_seed1")


def test_single_methods_may_have_more_seeds_than_the_config(config):
    """The default trains SAIR three times, with its encoder, and MISF once; a table is made of all of them."""
    more = config | {"fewest_seeds": {"sair": 3, "lama": 2}}
    project = Project(more)
    assert [project.seeds(name) for name in ("sair", "lama", "misf")] == [[0, 1, 2], [0, 1], [0]]
    files = table_inputs(project, "table1")
    assert [len(files.measured[name]) for name in ("sair", "lama", "misf", "biharmonic")] == [3, 2, 1, 1]
    assert files.clip == [f"results/faces/clip/seed{seed}/segmentation.csv" for seed in (0, 1, 2)]
    assert Project(more | {"seeds": [1, 7]}).seeds("sair") == [1, 7, 0]
    assert Project(more | {"seeds": [4, 5, 6, 7]}).seeds("sair") == [4, 5, 6, 7], "no fewer than the config's"
    with pytest.raises(InputError, match=r"fewest_seeds: there is no 'siar'\. Did you mean sair"):
        Project(config | {"fewest_seeds": {"siar": 3}})


def test_a_trained_encoder_has_the_seed_of_its_method_and_another_is_the_same_for_all(config):
    project = Project(config | {"seeds": [3, 5]})
    trained = [f"results/faces/clip/seed{seed}" for seed in (3, 5)]
    assert [project.encoder("sair", seed) for seed in (3, 5)] == [f"{path}/checkpoint.safetensors" for path in trained]
    assert project.clip_segmentations(["sair"]) == [f"{path}/segmentation.csv" for path in trained]
    assert [project.map_encoder("faces", seed) for seed in (3, 5)] == [
        f"{path}/checkpoint.safetensors" for path in trained
    ]
    project.encoders["clip"]["training"] = None
    assert {project.encoder("sair", seed) for seed in (3, 5)} == {f"{trained[0]}/checkpoint.safetensors"}
    assert project.clip_segmentations(["sair"]) == [f"{trained[0]}/segmentation.csv"]
    assert project.encoder("liif", 3) == []
