"""Test that Snakemake and the command sair read, merge and check configs in the same way."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from sair.common.errors import InputError
from sair.common.files import read_mapping
from sair.methods.origins import merge
from sair.pipeline.config import check_config, load_config
from sair.pipeline.driver import lock, plan
from sair.pipeline.project import Project
from sair.pipeline.registry import _check_place

FACES = {"source": "faces", "masks": "strokes", "train": 2, "validation": 1, "test": 2}
FOLDER = FACES | {"source": "folder", "images": "images"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"# nothing yet\n", "is empty"),
        (b"---\n", "is empty"),
        (b"- a\n- b\n", "holds a list"),
        (b"just text\n", "holds a str"),
        (b"5\n", "holds a int"),
        (b"results: x\n\tdatasets: {}\n", "not valid YAML"),
        (b"results: [x\n", "not valid YAML"),
        (b"results: x\xe9\n", "not UTF-8"),
        ("results: x\n".encode("utf-16"), "not UTF-8"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "not UTF-8"),
        (b"results: x\x00\n", "not valid YAML"),
        (b"results: a\nseeds: [0]\nresults: b\n", "the key 'results' occurs twice"),
        (b"datasets:\n  a: {test: 1, train: 2, test: 3}\n", "the key 'test' occurs twice"),
        (b"datasets:\n  2020: {}\n", "the key '2020' is not text: write it in quotes"),
        (b"datasets:\n  yes: {}\n", "the key 'yes' is not text: write it in quotes"),
        (b"made: 2026-13-45\n", "not valid YAML"),
        (b"a: !!python/object/apply:os.system [ls]\n", "not valid YAML"),
        (b"results: &a {x: *a}\n", "or one contains itself"),
        (
            b"a0: &a0 [x, x]\n" + b"".join(b"a%d: &a%d [*a%d, *a%d]\n" % (k, k, k - 1, k - 1) for k in range(1, 40)),
            "its aliases",
        ),
        (b"a: *nothing\n", "not valid YAML"),
        (b"[" * 5000, "not valid YAML"),
        (b"a: 1\n---\nb: 2\n", "not valid YAML"),
    ],
)
def test_a_file_that_is_not_a_config_is_one_line_of_error(tmp_path, content, message):
    file = tmp_path / "mine.yaml"
    file.write_bytes(content)
    with pytest.raises(InputError) as refused:
        load_config([file])
    said = str(refused.value)
    assert said.startswith(f"{file}: ") and message in said and "\n" not in said


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(InputError, match=r"nothing\.yaml: no such file"):
        read_mapping(tmp_path / "nothing.yaml")
    with pytest.raises(InputError, match=r"cannot be read \(Is a directory"):
        read_mapping(tmp_path)


def test_outside_a_project_the_folder_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=f"{tmp_path} is not a project folder"):
        load_config()


def test_files_override_each_other_key_by_key(tmp_path):
    (tmp_path / "a.yaml").write_text("training: {steps: 7, batch: 3}\nresults: a\n")
    (tmp_path / "b.yaml").write_text("\ufefftraining: {steps: 9}\nx: &x {k: 1}\ny: {<<: *x, l: 2}\n", encoding="utf-8")
    config = load_config([tmp_path / "a.yaml", tmp_path / "b.yaml"])
    assert config["results"] == "a" and config["preset"] == "mini"
    assert (config["training"]["steps"], config["training"]["batch"]) == (9, 3)
    assert config["y"] == {"k": 1, "l": 2}


@pytest.mark.parametrize("path", sorted(Path("config").glob("*.yaml")), ids=str)
def test_every_config_of_the_project_is_valid(path):
    Project(load_config([] if path.name == "config.yaml" else [path]))


TEXT = "is not of type 'integer'. This is text"
WRONG = [
    ({"image_size": "64"}, f"image_size: '64' {TEXT}"),
    ({"image_size": 64.0}, "image_size: 64.0 is not of type 'integer'"),
    ({"image_size": True}, "image_size: True is not of type 'integer'"),
    ({"image_size": None}, "image_size: None is not of type 'integer'"),
    ({"image_size": -64}, "image_size: -64 is less than the minimum"),
    ({"seeds": ["0"]}, f"seeds.0: '0' {TEXT}"),
    ({"seeds": [0.0]}, "seeds.0: 0.0 is not of type 'integer'"),
    ({"seeds": [True]}, "seeds.0: True is not of type 'integer'"),
    ({"seeds": 0}, "seeds: 0 is not of type 'array'"),
    ({"seeds": []}, "seeds: "),
    ({"seeds": [0, 0]}, "seeds: "),
    ({"seeds": [-1]}, "seeds.0: -1 is less than"),
    ({"seeds": [2**64]}, "seeds.0: 18446744073709551616 is greater than"),
    ({"buckets": [[0, 20], [10, 40]]}, "buckets: 0-20 and 10-40 overlap"),
    ({"buckets": [[0, 20], [0, 20]]}, "buckets: 0-20 and 0-20 overlap"),
    ({"buckets": [[20, 20]]}, "buckets: 20-20 is not an interval"),
    ({"buckets": [[40, 20]]}, "buckets: 40-20 is not an interval"),
    ({"buckets": [["0", "20"]]}, f"buckets.0.0: '0' {TEXT}"),
    ({"buckets": [[0, 20.5]]}, "buckets.0.1: 20.5 is not of type 'integer'"),
    ({"buckets": [0, 20]}, "buckets.0: 0 is not of type 'array'"),
    ({"shards": "2"}, f"shards: '2' {TEXT}"),
    ({"fid": "true"}, "fid: 'true' is not of type 'boolean'. This is text"),
    ({"fid": 1}, "fid: 1 is not of type 'boolean'"),
    ({"device": "gpu"}, "device: 'gpu' is not one of"),
    ({"training": {"scale": float("nan")}}, "training.scale: nan is not of type 'number'"),
    ({"training": {"scale": float("inf")}}, "training.scale: inf is not of type 'number'"),
    ({"training": {"batch": "8"}}, f"training.batch: '8' {TEXT}"),
    ({"methods": {"sair": {"training": {"steps": "9"}}}}, "methods.sair.training.steps: '9' is not of type"),
    ({"methods": {"siar": {}}}, "methods: there is no 'siar'. Did you mean sair"),
    ({"datasets": []}, "datasets: [] is not of type 'object'"),
    ({"datasets": {"faces": None}}, "datasets.faces: None is not of type 'object'"),
    ({"datasets": {2020: FACES}}, "datasets: "),
    ({"datasets": {"faces": {"test": 2.0}}}, "datasets.faces.test: 2.0 is not of type 'integer'"),
    ({"datasets": {"faces": {"images": "x"}}}, "datasets.faces.images: only `source: folder` has this key"),
    ({"datasets": {"faces": {"clusters": "x"}}}, "datasets.faces.clusters: only `source: folder` has this key"),
    ({"datasets": {"a": FOLDER | {"test_images": "b", "test_list": "c"}}}, "a.test_list: give `test_images` or"),
    ({"datasets": {"a": FOLDER | {"crop": 9, "stretch": True}}}, "datasets.a.stretch: give `crop` or `stretch`"),
    ({"masks": {"strokes": {"hole": "white"}}}, "strokes.hole: only `source: folder` and `source: paired` have"),
    ({"semantics": {"dataset": "photos"}}, "semantics.dataset: 'photos' has no labels"),
    ({"semantics": {"dataset": "face"}}, "semantics.dataset: there is no 'face'. Did you mean faces"),
    ({"tables": {"table5": {"dataset": "photos"}}}, "tables.table5.dataset: 'photos', but its labels are compared"),
    ({"tables": {"table9": {"dataset": "photos", "claims": "table5_segmentation"}}}, "tables.table9.dataset: 'photos'"),
    ({"tables": {"mine": {"dataset": "faces", "claims": "table1"}}}, "tables.mine.claims: there is no 'table1'. Did"),
    *(
        ({"tables": {name: {"dataset": "faces"}}}, f"'{name}' is not the name of a table")
        for name in ("claims", "conventions", "report", "regression", "figures", "logs", "provenance", "a.b", "-a")
    ),
    ({"tables": {"photos": {"dataset": "faces"}}}, "tables.photos: a dataset has the same name"),
    (
        {"tables": {"mine": {"dataset": "faces", "methods": ["liif"], "only": ["sair"]}}},
        "tables.mine: `methods` adds rows to those of the method files, and `only` replaces them",
    ),
    ({"tables": {"mine": {"dataset": "faces", "only": ["siar"]}}}, "tables.mine.only: there is no 'siar'. Did"),
    ({"tables": {"table5": {"only": ["sair", "lama"]}}}, "tables.table5: lama has no `semantics`"),
    ({"tables": {"mine": {"dataset": "faces", "measure": "segmentation", "methods": ["liif"]}}}, "mine: liif has no"),
    ({"tables": {"table1": {"only": ["liif", "lama"]}}}, "pairs: 'sair' is no row of `table1`, the table of"),
    ({"training": {"steps": None}}, ".yaml, training: `steps` is null, and there are no `epochs`. Give one of them"),
    ({"methods": {"liif": {"training": {"steps": None}}}}, "methods/liif.yaml, training: `steps` is null, and"),
    ({"fewest_seeds": {"siar": 3}}, "fewest_seeds: there is no 'siar'. Did you mean sair"),
    ({"fewest_seeds": {"sair": 0}}, "fewest_seeds.sair: 0 is less than the minimum"),
    ({"tables": {"mine": {}}}, "tables.mine: 'dataset' is a required property"),
    ({"tables": {"mine": {"dataset": "faces", "methods": ["siar"]}}}, "tables.mine.methods: there is no 'siar'. Did"),
    ({"tables": {"mine": {"dataset": "faces", "metrics": ["psnrr"]}}}, "tables.mine.metrics: there is no 'psnrr'. Did"),
    ({"tables": {"mine": {"dataset": "faces", "metrics": ["miou"]}}}, "tables.mine.metrics: there is no 'miou'"),
    ({"tables": {"mine": {"dataset": "faces", "buckets": ["0-30"]}}}, "tables.mine.buckets: there is no '0-30'"),
    ({"tables": {"mine": {"dataset": "photos", "measure": "segmentation"}}}, "tables.mine.dataset: 'photos', but it"),
    ({"tables": {"table1": {"measure": "segmentation"}}}, "tables.table1.measure: 'segmentation', but the paper's"),
    ({"tables": {"table1": {"claims": "table6_semantics"}}}, "tables.table1: there is no row"),
    ({"sizes": 1}, "unknown key 'sizes'"),
]  # fmt: skip


@pytest.mark.parametrize(("over", "message"), WRONG, ids=lambda value: str(value)[:60])
def test_a_wrong_value_is_named(config, over, message):
    with pytest.raises(InputError) as refused:
        Project(merge(config, over))
    assert message in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("place", "change", "message"),
    [
        ({"row": "LIIF"}, {}, r"m\.yaml, stands_for: expected `\{row: NAME, equal: parameters or compute\}`"),
        ({"row": "LIIF", "equal": "steps"}, {}, "stands_for: expected"),
        ({"row": ["LIIF"], "equal": "compute"}, {}, "stands_for: expected"),
        ({"row": None, "equal": "compute"}, {}, "stands_for: expected"),
        ({"row": "LIFF", "equal": "compute"}, {}, r"stands_for\.row: there is no 'LIFF'. Did you mean LIIF"),
        ({"row": "LIIF", "equal": "compute"}, {"control": True}, "is a control or sees the ground truth"),
        ({"row": "LIIF", "equal": "compute"}, {"tables": {"table1": "LIIF"}}, "is the method's own row in `tables`"),
    ],
)
def test_a_place_in_the_papers_table_is_checked(place, change, message):
    spec = {"stands_for": place, "tables": {"table1": None}} | change
    with pytest.raises(InputError, match=message):
        _check_place("m", spec, ["LIIF", "SAIR"])


def test_the_encoders_may_have_a_budget_of_their_own(config):
    def budgets(**semantics):
        settings = {"training": {"scale": 0.25}, "semantics": semantics}
        project = Project(merge(config, settings))
        return {spec["label"]: spec["training"]["scale"] for spec in (project.encoders["clip"], project.method("sair"))}

    assert budgets() == {"CLIP": 0.25, "SAIR": 0.25}
    assert budgets(training={"scale": 1}) == {"CLIP": 1, "SAIR": 0.25}
    with pytest.raises(InputError, match=r"semantics\.training: unknown key 'scal'. Did you mean scale"):
        budgets(training={"scal": 1})


def test_a_map_of_a_dataset_with_other_classes_is_refused_where_it_is_drawn(config):
    other = merge(config, {"datasets": {"b": FACES}, "figures": {"semantic_maps": {"dataset": "b"}}})
    project = Project(other)
    assert project.map_encoder("faces", 0) == "results/faces/clip/seed0/checkpoint.safetensors"
    with pytest.raises(
        InputError, match=r"figures\.semantic_maps\.dataset: 'b', but its labels are compared with the classes"
    ):
        project.map_encoder("b", 0)


NAMES = [
    "c++",
    "set (1)",
    "x{y}",
    "a/b",
    "a\\b",
    ".a",
    "..",
    "",
    "-x",
    "a b",
    "a\n",
    "é",
    "a|b",
    "a*",
    "x,y",
    "$x",
    "~",
]


@pytest.mark.parametrize("name", [*NAMES, "logs", "figures", "regression", "provenance", "reference"])
def test_a_dataset_that_could_not_be_a_folder_of_results_is_refused(config, name):
    with pytest.raises(InputError, match="is not a name that works as a folder"):
        check_config(merge(config, {"datasets": {name: FACES}}))


@pytest.mark.parametrize("name", NAMES)
def test_a_mask_set_is_named_like_a_dataset(config, name):
    with pytest.raises(InputError, match=r"config, masks: .* is not a name that works as a folder"):
        check_config(merge(config, {"masks": {name: {"source": "strokes", "train": 2}}}))


@pytest.mark.parametrize("name", ["CelebA-HQ_v1.2", "2020", "_x", "logs2"])
def test_a_usual_name_is_accepted(config, name):
    check_config(merge(config, {"datasets": {name: FACES}}))


@pytest.mark.parametrize("folder", ["", "/", ".", "./", "a{b}", "a*", "~/x", "a\nb", 'a"b', "a?", 5, None, ["a"]])
def test_a_results_folder_that_snakemake_cannot_use_is_refused(config, folder):
    with pytest.raises(InputError, match="config, results: "):
        check_config(config | {"results": folder})


@pytest.mark.parametrize("folder", ["results/x", "my results", "ü/x", "../x", "/somewhere/else", "a.b-c_d+e"])
def test_a_usual_results_folder_is_accepted(config, folder):
    check_config(config | {"results": folder})


def test_a_method_that_could_not_be_a_folder_is_refused(config, tmp_path, monkeypatch):
    for folder in ("methods", "semantics"):
        (tmp_path / "config" / folder).mkdir(parents=True)
        for file in Path("config", folder).glob("*.yaml"):
            (tmp_path / "config" / folder / file.name).write_bytes(file.read_bytes())
    schema = Path("workflow/schemas/config.schema.yaml").absolute()
    monkeypatch.chdir(tmp_path)
    Project(config, schema)
    for name in ("my c++", "masks"):
        file = Path("config/methods", f"{name}.yaml")
        file.write_text("extends: mean_fill\nlabel: Mine\n")
        with pytest.raises(InputError, match="is not a name that works as a folder in a dataset's results"):
            Project(config, schema)
        file.unlink()


def test_snakemake_refuses_a_key_that_occurs_twice(config, tmp_path, capsys):
    (tmp_path / "twice.yaml").write_text("results: a\nresults: b\n")
    with pytest.raises(SystemExit):
        plan(config, "workflow/schemas/config.schema.yaml", [tmp_path / "twice.yaml"])
    assert capsys.readouterr().err.startswith(f"error: {tmp_path}/twice.yaml: not valid YAML (the key 'results'")


def snakemake(*options):
    line = [sys.executable, "-m", "snakemake", "--cores", "1", *options]
    return subprocess.run(line, capture_output=True, text=True)


@pytest.mark.slow
def test_snakemake_refuses_the_same_in_one_line(tmp_path):
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"buckets": [[0, 20], [10, 40]]}))
    result = snakemake("-n", "--configfile", str(tmp_path / "mine.yaml"), "--", "results/table1.md")
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith("error: buckets: 0-20 and 10-40 overlap")


def test_a_results_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file/below"):
        with pytest.raises(InputError, match="results cannot be written to this folder"):
            lock(folder)


@pytest.mark.slow
def test_a_missing_gpu_is_refused_at_the_start(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    target = f"{tmp_path}/faces/mean_fill/seed0/scores.csv"
    result = snakemake("--config", "device=cuda", f"results={tmp_path}", "--", target)
    assert result.returncode == 1
    assert "error: device: cuda, but torch finds no GPU on this machine. Use `device: auto`" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_method_with_the_name_of_an_encoder_is_refused(config, tmp_path, monkeypatch):
    """CLIP's own checkpoint and segmentation are where a method of that name would put its results."""
    for folder in ("config", "workflow/schemas"):
        shutil.copytree(folder, tmp_path / folder)
    monkeypatch.chdir(tmp_path)
    Project(config)
    Path("config/methods/clip.yaml").write_text("extends: liif\n")
    with pytest.raises(InputError, match=r"config/methods/clip\.yaml: config/semantics/clip\.yaml has that name"):
        Project(config)


def test_the_manual_names_every_key_of_the_schema_and_no_other():
    schema = read_mapping("workflow/schemas/config.schema.yaml")
    manual = Path("config/README.md").read_text()

    def keys(node, under=()):
        if "$ref" in node and under == ("training",):  # a method's are explained once, there
            node = schema["$defs"]["training"]
        for key, child in node.get("properties", {}).items():
            yield (*under, key)
            yield from keys(child, (*under, key))
        if isinstance(node.get("additionalProperties"), dict):
            yield from keys(node["additionalProperties"], under)

    def section(path):
        """Return the part of the manual under the heading that names a top-level key."""
        parts = [part for part in manual.split("\n## ") if f"`{path[0]}" in part.partition("\n")[0]]
        return parts[0] if parts else manual

    found = list(keys(schema))
    assert ("training", "halve_every") in found and ("datasets", "first_class") in found
    assert not [path for path in found if not re.search(rf"`[^`\n]*\b{path[-1]}\b[^`\n]*`", section(path))]
    of_config = manual.partition("\n## Method files")[0]  # whose keys tests/methods/test_methods.py compares
    named = {
        name for line in of_config.splitlines() if line.startswith("| `") for name in line.split("|")[1].split(", ")
    }
    known = {key for path in found for key in path}
    assert not [name for name in named if name.strip(" `").split(".")[-1] not in known]


def test_a_wrong_config_is_named_by_its_files(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("buckets: [[0, 20], [10, 40]]\n")
    with pytest.raises(InputError, match=r"overlap.*\(.* read from .*mine\.yaml and config/config\.yaml\.\)"):
        Project(load_config([file]), files=["config/config.yaml", file])
