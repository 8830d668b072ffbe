"""Test that no result stays outdated: after an edit of any dependency, a dry run lists exactly the affected jobs.

The cases name the jobs that an edit is an edit of; with them run all that are made from what they make, and no other.

Results are empty files that `snakemake --touch` declares finished: what is asked here is only when they count as old.
"""

import fnmatch
import os
import re
import shutil
import subprocess
import sys

import pytest
import yaml

pytestmark = pytest.mark.slow
METHODS = {
    "theirs": {"class": "baselines.precomputed:Precomputed", "training": None, "parameters": {"folder": "theirs"}},
    "program": {
        "class": "baselines.command:Command",
        "training": None,
        "parameters": {
            "command": ["python", "fill.py", "model={checkout}/model", "--list", "list.txt", "{images}", "{output}"],
            "checkout": {"folder": "external", "repository": "https://example.org", "commit": "0" * 40},
        },
    },
    "authors": {"extends": "lama", "weights": "files/lama.safetensors"},
    "tuned": {"extends": "lama", "parameters": {"pretrained": {"generator": "files/g.pth"}}},
    "manifest": {"class": "mine:Mine", "training": None},  # called as an input of the tables: methods are no keywords
    "sair_wide": {"extends": "sair", "semantics": "clip_wide"},
    "over": {"class": "baselines.jpgnet:JPGNet", "over": "authors"},
}
FILES = {
    "theirs/0-20/a.png": "a",
    "list.txt": "1",
    "external/.gitignore": "model\n",
    "external/fill.py": "1",
    "external/model/weights.bin": "1",
    "files/lama.safetensors": "1",
    "files/g.pth": "1",
    "files/clip.safetensors": "1",
    "files/test.txt": "a\n",
    "files/train.txt": "b\n",
    "weights/pt_inception-2015-12-05-6726825d.pth": "so that FID is planned",
    "mine.py": "import helper\n\n\nclass Mine:\n    pass\n",
    "helper.py": "VALUE = 1\n",
    "reference/reference.yaml": "a: 1\n",
    "reference/liif/seed0/scores.csv": "1",
    "reference/lama/seed0/scores.csv": "1",
}
SETTINGS = {
    "results": "results/stale",
    "datasets": {
        "photos": {"train": 100},
        "mine": {
            "source": "folder", "images": "theirs", "masks": "strokes", "train": 1, "validation": 0, "test": 1,
            "test_list": "files/test.txt", "train_list": "files/train.txt",
        },
    },
    "fewest_seeds": None,  # jobs are named without seed 0
    "tables": {"table2": {"dataset": "mine"}},
    "figures": {
        "qualitative": {"methods": ["theirs"], "images": 2},
        "semantic_maps": {"methods": ["sair"], "images": 1},
    },
    "conventions": {"pairs": [["sair", "liif"]]},
    "regression": {"reference": "reference"},
}  # fmt: skip
# Snakemake is imported once, and a copy of the process answers each question.
SERVER = """
import os, sys
import jsonschema, pandas, snakemake.cli, yaml
sys.path.insert(0, os.getcwd())
for line in sys.stdin:
    child = os.fork()
    if not child:
        stream = os.open("answer.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(stream, 1), os.dup2(stream, 2)
        try:
            snakemake.cli.main(line.split())
        finally:
            sys.stdout.flush(), sys.stderr.flush()
            os._exit(0)
    os.waitpid(child, 0)
    print("done", flush=True)
"""
TARGETS = "--cores 1 --configfile test.yaml -- all results/stale/regression/liif.md results/stale/regression/lama.md"


class Project:
    """A copy of this project with methods of every kind, and a finished run of it."""

    def __init__(self, folder):
        self.folder = folder
        for name in ("sair", "baselines", "workflow"):
            shutil.copytree(name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "config/methods").mkdir(parents=True)
        shutil.copy("config/config.yaml", folder / "config")
        shutil.copytree("config/semantics", folder / "config/semantics")
        for name in ("liif", "sair", "lama"):
            shutil.copy(f"config/methods/{name}.yaml", folder / "config/methods")
        for name, spec in METHODS.items():
            facts = {"label": name, "tables": {"table1": None, "table2": None}} | spec
            self.write(f"config/methods/{name}.yaml", yaml.safe_dump(facts))
        wide = {"extends": "clip", "parameters": {"pretrained": "files/clip.safetensors"}}
        self.write("config/semantics/clip_wide.yaml", yaml.safe_dump(wide))
        self.write("test.yaml", yaml.safe_dump(SETTINGS))
        for name, text in FILES.items():
            self.write(name, text)
        self.commit("init -q", "add .", "commit -qm first")
        environment = os.environ | {"PYTHONPATH": str(folder), "SAIR_WEIGHTS": ""}
        self.server = subprocess.Popen(
            [sys.executable, "-c", SERVER], cwd=folder, env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        self.jobs = self.ask(f"-n {TARGETS}")
        for job in self.jobs.values():
            for path in (folder / name for name in job["output"]):
                path.mkdir(parents=True) if path.name == "predictions" else self.write(path, "")
        self.ask(f"--touch --forceall {TARGETS}")

    def write(self, name, text):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def commit(self, *commands):
        who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
        for command in commands:
            subprocess.run(["git", *who, *command.split()], cwd=self.folder / "external", check=True)

    def ask(self, line):
        """Return the jobs that Snakemake would run, by name, with their inputs and outputs."""
        self.server.stdin.write(f"{line}\n")
        self.server.stdin.flush()
        assert self.server.stdout.readline() == "done\n"
        self.answer = (self.folder / "answer.txt").read_text()
        assert "rror" not in self.answer, self.answer[-3000:]
        found = {}
        for block in re.split(r"(?m)^(?:local)?rule ", self.answer)[1:]:
            facts = dict(re.findall(r"(?m)^    (\w+): (.*)$", block))
            values = [pair.partition("=")[2] for pair in facts.get("wildcards", "").split(", ")]
            name = " ".join([block.partition(":")[0], *(value for value in values if value not in ("", "0"))])
            found[name] = {way: facts.get(way, "").split(", ") if way in facts else [] for way in ("input", "output")}
        return found

    def again(self):
        return set(self.ask(f"-n {TARGETS}"))

    def affected(self, patterns):
        """Return the jobs that match some patterns, and all jobs that depend on them."""
        found = set()
        for pattern in patterns:
            wanted, *others = pattern.split(" !")
            found |= {
                job
                for job in self.jobs
                if fnmatch.fnmatch(job, wanted) and job.partition(" ")[0] not in (*others, "all")
            }
        while True:
            made = {file for job in found for file in self.jobs[job]["output"]}
            more = {job for job, facts in self.jobs.items() if made & set(facts["input"])} | found
            if more == found:
                return found
            found = more


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = Project(tmp_path_factory.mktemp("stale"))
    assert project.again() == set(), project.answer
    yield project
    project.server.stdin.close()
    project.server.wait()


def added(text):
    return lambda old: old + text


def replaced(before, after):
    def edit(old):
        assert before in old
        return old.replace(before, after)

    return edit


def merged(change):
    def edit(old):
        settings = yaml.safe_load(old)
        for key, value in change.items():
            settings[key] = settings.get(key, {}) | value
        return yaml.safe_dump(settings)

    return edit


CODE = added("\n\ndef new():\n    return 1\n")
TABLES = ["table *", "claims", "conventions", "report"]
LAMAS = [f"{rule} * {name}" for name in ("lama", "tuned", "over") for rule in ("train", "predict")] + [
    "predict * authors"
]
IMPLICIT = [f"{rule} * {name}" for name in ("liif", "sair", "sair_wide") for rule in ("train", "predict")]
RESTORED = ["predict *", "segment *", "segment_by_clip", "semantic_maps *"]  # what takes a method out of its checkpoint
FIGURES = ["qualitative *", "semantic_maps *", "training_curves *"]
REPORTED = ["regression_report *", *TABLES]  # what reads the registry of metrics
JUDGED = ["score_predictions *", *REPORTED]  # what reads the metrics of images
TRAINED = ["train *", "train_encoder *"]
CASES = [
    # code and the data that it reads
    ("sair/reporting/paper.yaml", replaced("37.97", "99.99"), TABLES),
    ("sair/common/runtime.py", CODE, ["* !freeze_images !freeze_manifest"]),
    ("sair/common/runtime.py", added("\n# a comment\n"), []),
    ("sair/methods/checkpoint.py", CODE, [*TRAINED, *RESTORED]),
    ("sair/methods/spec.py", CODE, [*TRAINED, *RESTORED]),
    ("sair/methods/annotated.py", CODE, []),
    ("sair/weights/networks.py", CODE, [*LAMAS, *JUDGED]),
    ("sair/evaluation/metrics/lpips.py", CODE, JUDGED),
    ("sair/evaluation/metrics/psnr.py", CODE, [*JUDGED, "score_conventions *", *FIGURES]),
    ("sair/evaluation/precision.py", CODE, [*JUDGED, "fid *", "truth_features *"]),
    ("sair/evaluation/metrics/fid.py", CODE, [*REPORTED, "fid *", "truth_features *"]),
    ("sair/evaluation/metrics/kid.py", CODE, [*REPORTED, "fid *", "truth_features *"]),
    ("sair/evaluation/metrics/miou.py", CODE, [*REPORTED, *RESTORED[1:]]),
    ("sair/evaluation/metrics/registry.py", CODE, REPORTED),
    ("sair/evaluation/metrics/of_images.py", CODE, JUDGED),
    ("sair/evaluation/statistics.py", CODE, [*REPORTED, *RESTORED[1:], "fid *", "truth_features *"]),
    ("sair/training/loop.py", CODE, TRAINED),
    ("sair/training/schedule.py", CODE, TRAINED),
    ("sair/pipeline/worker.py", CODE, []),
    ("sair/pipeline/driver.py", CODE, []),
    ("sair/pipeline/job.py", CODE, []),
    ("sair/reporting/page/style.css", added("a {}"), ["report"]),
    ("sair/reporting/page/gallery.js", added("// a comment"), ["report"]),
    ("sair/models/clip.py", CODE, ["train_encoder *", *IMPLICIT, *RESTORED[1:]]),
    ("baselines/lama/losses.py", CODE, LAMAS),
    ("baselines/precomputed.py", CODE, ["predict * theirs"]),
    ("helper.py", replaced("1", "2"), ["predict * manifest"]),
    ("mine.py", CODE, ["predict * manifest"]),
    # files and folders that methods and data sets name
    ("theirs/0-20/a.png", added("b"), ["predict * theirs"]),
    ("theirs/20-40/new.png", added("b"), ["predict * theirs"]),
    ("external/fill.py", added("2"), ["predict * program"]),
    ("external/model/weights.bin", added("2"), ["predict * program"]),
    ("external/untracked.log", added("left by running it"), []),
    ("list.txt", added("2"), ["predict * program"]),
    ("files/lama.safetensors", added("2"), ["predict * authors", "train * over"]),
    ("files/g.pth", added("2"), ["train * tuned"]),
    ("files/clip.safetensors", added("2"), ["train_encoder clip_wide"]),
    ("files/test.txt", added("c\n"), ["freeze_images mine"]),
    ("files/train.txt", added("c\n"), ["freeze_images mine"]),
    ("reference/reference.yaml", added("b: 1\n"), ["regression_report *"]),
    ("reference/liif/seed0/scores.csv", added("2"), ["regression_report liif"]),
    ("reference/liif/seed1/scores.csv", added("2"), ["regression_report liif"]),
    # settings
    ("test.yaml", merged({"training": {"workers": 2, "save_every": 7, "validate_every": 9}}), []),
    ("test.yaml", merged({"methods": {"liif": {"training": {"workers": 2}}}}), []),
    ("test.yaml", merged({"training": {"precision": "bf16"}}), [*TRAINED, *TABLES]),
    ("test.yaml", merged({"training": {"processes": 2}}), [*TRAINED, *TABLES]),
    ("test.yaml", replaced("images: 2", "images: 1"), ["qualitative *", *TABLES]),  # other images are shown
    ("config/methods/liif.yaml", added("training: {workers: 3}\n"), []),
    ("config/methods/manifest.yaml", added("parameters: {a: 1}\n"), ["predict * manifest", "claims"]),
]  # fmt: skip


@pytest.mark.parametrize(("file", "edit", "expected"), CASES, ids=lambda value: value if isinstance(value, str) else "")
def test_an_edit_runs_exactly_what_depends_on_it(project, file, edit, expected):
    path = project.folder / file
    old, times = (path.read_text(), path.stat()) if path.exists() else (None, None)
    project.write(file, edit(old or ""))
    if times:  # an edit that keeps the file's time is found, too
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    try:
        again = project.again()
    finally:
        if old is None:
            path.unlink()
        else:
            path.write_text(old)
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert again == project.affected(expected)


def test_another_commit_of_a_checkout_is_another_program(project):
    project.commit("commit -q --allow-empty -m second")
    try:
        assert project.again() == project.affected(["predict * program"])
    finally:
        project.commit("reset -q --hard HEAD~1")
    assert project.again() == set()
