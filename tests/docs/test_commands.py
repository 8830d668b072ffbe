"""Test that all commands and Python blocks of the pages are valid, and that the cheap ones run as written."""

import doctest
import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.checkpoints import write_checkpoint
from helpers.pages import PAGES, blocks, prose
from PIL import Image
from snakemake.cli import get_argument_parser

from sair.commands import cli

# Commands that are parsed only. All other ``sair`` commands run as they are written, and end with status 0.
NOT_RUN = {
    r"sair (weights )?verify": "of a finished run, and of the files of this machine",
    r"sair report|sair reference|make report": "of a finished run (tests/reporting)",
    r"sair weights fetch": "downloads (tests/weights)",
    r"sair convert": "of files of the authors (tests/commands/test_convert.py)",
    r"sair new-method": "writes into the project (tests/commands/test_new_method.py)",
    r"sair doctor": "of data sets that are not here (tests/commands/test_doctor.py)",
    r"sair budgets": "of finished runs (tests/commands/test_budgets_command.py)",
    r"sair evaluate": "of folders of the reader (tests/commands/test_evaluate.py)",
    r"sair inpaint .*weights/": "with weights of the authors",
}
# The files that readers of a page write or link themselves.
READERS = {"config/mine.yaml", "steps.yaml", "forms.yaml"}
OTHER_PROGRAMS = {"source", "cat", "awk", "pre-commit", "pip"}
FRAGMENTS = {"docs/add-a-method.md", "docs/add-a-metric.md"}  # parts of modules, which other tests write and run
REWRITTEN = {"CHANGELOG.md"}  # names commands of former versions


def commands():
    """Return (page, line, words) of every command in blocks of shell."""
    for page in PAGES:
        if page in REWRITTEN:
            continue
        for block in blocks(page, "sh", "bash"):
            for offset, line in enumerate(block.text.replace("\\\n", " ").splitlines()):
                words = shlex.split(line, comments=True)
                while words:
                    end = words.index("&&") if "&&" in words else len(words)
                    command, words = words[:end], words[end + 1 :]
                    while re.fullmatch(r"[A-Z_]+=.*", command[0]):
                        command = command[1:]
                    yield page, block.line + 1 + offset, command


COMMANDS = [pytest.param(words, id=f"{page}:{line}") for page, line, words in commands()]


def of(program):
    return [case for case in COMMANDS if case.values[0][0] == program]


def test_every_command_is_checked_below():
    programs = {case.values[0][0] for case in COMMANDS}
    assert programs <= {"sair", "snakemake", "make", *OTHER_PROGRAMS}
    assert len(COMMANDS) > 50


@pytest.mark.parametrize("words", of("make"))
def test_targets_of_make_exist(words):
    done = subprocess.run([words[0], "--dry-run", *words[1:]], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("words", of("snakemake"))
def test_options_files_and_rules_of_snakemake_exist(words, monkeypatch):
    monkeypatch.setattr(sys, "exit", pytest.fail)
    arguments = get_argument_parser().parse_args(words[1:])
    for file in arguments.configfile or []:
        assert Path(file).is_file() or str(file) in READERS
    if arguments.workflow_profile or arguments.profile:
        assert Path(arguments.profile or arguments.workflow_profile).is_dir()
    rules = {name for path in Path("workflow").rglob("*") if path.is_file() and path.suffix in ("", ".smk") for name in
             re.findall(r"^rule (\w+):", path.read_text(encoding="utf-8"), re.MULTILINE)}  # fmt: skip
    for name in arguments.forcerun or []:
        assert name in rules
    for target in arguments.targets:
        assert target in rules or target.startswith("results/"), target


@pytest.mark.slow
def test_default_targets_are_ones_that_snakemake_can_make(tmp_path):
    """Plan every target that needs no data set of the reader."""
    wanted = {"results/claims.md", "results/conventions.md", "all"}
    for case in of("snakemake"):
        arguments = get_argument_parser().parse_args(case.values[0][1:])
        if not arguments.configfile and not arguments.config:
            wanted |= {target for target in arguments.targets if "{" not in target}
    targets = [target.replace("results/", f"{tmp_path}/") for target in sorted(wanted)]
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "-n",
        "--config",
        f"results={tmp_path}",
        "--quiet",
        "all",
        "--",
        *targets,
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", [page for page in PAGES if page not in REWRITTEN])
def test_commands_within_sentences_exist(page):
    parsers = {parser.prog: parser for parser in cli_parsers()}
    for command in re.findall(r"`(sair [a-z-]+[^`\n]*)`", prose(page)):
        words = command.split()
        name = max((" ".join(words[:count]) for count in (1, 2, 3) if " ".join(words[:count]) in parsers), key=len)
        assert name != "sair", f"{page}: {command}"
        known = {option for action in parsers[name]._actions for option in action.option_strings}
        assert {word for word in words if word.startswith("--")} <= known, f"{page}: {command}"


def cli_parsers():
    """Return the parsers of all commands, as the page on the command line shows them."""
    specification = importlib.util.spec_from_file_location("hooks", "docs/hooks.py")
    hooks = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(hooks)
    return hooks.parsers(cli._parser())


@pytest.fixture(scope="module")
def project(tmp_path_factory, frozen_split):
    """Return a folder with the config, the images that pages name, and untrained checkpoints for trained ones."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("config", "workflow", "results/reference"):
        shutil.copytree(name, folder / name)
    faces = folder / "results/smoke/faces"
    faces.mkdir(parents=True)
    frozen_split(faces, test=6)
    images, masks = sorted((faces / "images/test").iterdir()), faces / "masks/test/20-40"
    for method in ("liif", "sair"):
        predictions = faces / method / "seed0/predictions/composited/20-40"
        predictions.mkdir(parents=True)
        for image in images:
            shutil.copy(image, predictions)
        for dataset in (faces, folder / "results/faces"):
            (dataset / method / "seed0").mkdir(parents=True, exist_ok=True)
            write_checkpoint(dataset / method / "seed0/checkpoint.safetensors")
    image, mask = images[0], masks / images[0].name
    named = {"truth/cat": image, "predictions/cat": image, "fakes/cat_fake": image}
    for name, source in {**named, "masks/cat": mask, "holes/cat_mask001": mask}.items():
        (folder / name).parent.mkdir()
        shutil.copy(source, folder / f"{name}.png")
    Image.open(image).save(folder / "photo.jpg")
    shutil.copy(mask, folder / "mask.png")
    return folder


@pytest.mark.parametrize("page", sorted({case.id.partition(":")[0] for case in of("sair")}))
def test_the_cheap_commands_of_a_page_run_as_written(page, project, monkeypatch):
    monkeypatch.chdir(project)
    for case in of("sair"):
        words = case.values[0]
        if case.id.startswith(f"{page}:"):
            command = shlex.join(words)
            if any(re.match(pattern, command) for pattern in NOT_RUN):
                cli._parser().parse_args(words[1:])
            else:
                assert cli.main(words[1:]) == 0, command


def test_every_reason_not_to_run_a_command_is_needed():
    written = [shlex.join(case.values[0]) for case in [*of("sair"), *of("make")]]
    assert [pattern for pattern in NOT_RUN if not any(re.match(pattern, command) for command in written)] == []


@pytest.mark.parametrize(
    "block",
    [pytest.param(block, id=f"{block.page}:{block.line}") for page in PAGES for block in blocks(page, "python")],
)
def test_python_runs_as_written(block, project, monkeypatch):
    if block.page in FRAGMENTS:
        compile(block.text, block.page, "exec")
        return
    monkeypatch.chdir(project)
    if ">>>" in block.text:
        example = doctest.DocTestParser().get_doctest(block.text, {}, block.page, block.page, block.line)
        assert not doctest.DocTestRunner().run(example).failed
    else:
        exec(compile(block.text, block.page, "exec"), {})


def test_published_splits_of_celeba_follow_from_its_mapping(tmp_path):
    """Run the two lines of awk on a mapping with faces at the borders of the partitions."""
    (tmp_path / "CelebA-HQ-to-CelebA-mapping.txt").write_text(
        "idx orig_idx orig_file\n0 119613 119614.jpg\n1 182636 182637.jpg\n2 182637 182638.jpg\n3 162769 162770.jpg\n"
    )
    block = next(block for page in PAGES for block in blocks(page, "sh") if block.text.startswith("awk"))
    subprocess.run(["bash", "-e", "-c", block.text], cwd=tmp_path, check=True)
    lists = [(tmp_path / name).read_text().split() for name in ("test.txt", "train.txt")]
    assert lists == [["2"], ["0", "3"]]
