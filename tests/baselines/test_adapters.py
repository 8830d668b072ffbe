"""Test programs and folders as methods: their inputs, and every way in which they can fail."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

import baselines
from baselines.checkout import Checkout
from baselines.command import Command
from baselines.precomputed import Precomputed
from sair.commands.conformance import check, maker, samples
from sair.common.errors import InputError
from sair.common.images import read_rgb, write_png
from sair.data.manifest import read_manifest
from sair.inference.method import Method
from sair.inference.predict import predict

SPEC = {"name": "mine", "sees_truth": False}

# A separate program: it fills the hole with the mean of the known pixels and imports nothing of this project.
PROGRAM = """
import pathlib, sys
import numpy as np
import psutil
from PIL import Image
images, masks, output = (pathlib.Path(p) for p in sys.argv[1:4])
hole = int(sys.argv[4]) if len(sys.argv) > 4 else 255
names = sorted(p for p in images.iterdir() if "_mask" not in p.stem)
for path in names:
    pixels = np.array(Image.open(path))
    mask = np.array(Image.open(masks / path.name if (masks / path.name).exists() and masks != images
                               else masks / (path.stem + "_mask.png"))) == hole
    known = pixels[~mask].mean(0) if (~mask).any() else np.zeros(3)
    filled = np.where(mask[..., None], known.round().astype(np.uint8), pixels)
    {change}
    Image.fromarray(filled).save(output / {name})
{after}
"""


def program(folder, change="pass", name="path.name", after=""):
    path = folder / "program.py"
    path.write_text(PROGRAM.format(change=change, name=name, after=after))
    return [sys.executable, str(path), "{images}", "{masks}", "{output}"]


def test_a_program_conforms(tmp_path):
    check(lambda: Method(Command(command=program(tmp_path)), SPEC))


@pytest.mark.parametrize(
    "options",
    [
        {"hole": "black", "fill": "white", "extra": ["0"]},
        {"together": True, "mask_name": "{id}_mask.png", "fill": "grey"},
        {"size": 48},
    ],
)
def test_a_program_gets_the_size_fill_and_polarity_that_it_expects(tmp_path, options):
    command = program(tmp_path) + options.pop("extra", [])
    method = Command(command=command, **options)
    images, masks = samples(2)
    filled = method.inpaint(images * (1 - masks), masks)
    for image, mask, found in zip(images, masks, filled, strict=True):
        hole = mask[0].bool()
        if options.get("size"):
            # At the smaller size known pixels near the hole count as hole, so the mean is different.
            assert (found[:, hole].mean(1) - image[:, ~hole].mean(1)).abs().max() < 0.1
        else:
            assert (found[:, hole] - image[:, ~hole].mean(1, keepdim=True)).abs().max() < 2 / 255


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "name", "after", "options", "message"),
    [
        ("pass", "path.name", "sys.exit('out of memory')", {}, r"ended with status 1:\nout of memory"),
        ("if path == names[1]: continue", "path.name", "", {}, r"the program did not write 00001\.png"),
        ("pass", "path.name", "(output / 'a.png').write_bytes(b'')", {}, r"wrote a\.png, which was not expected"),
        ("pass", "('x/' + path.name) if (output / 'x').mkdir(exist_ok=True) is None else 0", "", {}, "write 00000"),
        ("filled = filled[:-1]", "path.name", "", {}, "must have its image's size"),
        ("filled = filled[:-1]", "path.name", "", {"size": 32}, r"not of 32 \(`size`\)"),
        ("filled = filled[path == names[1]:]", "path.name", "", {}, "images of different sizes"),
        ("pass", "(path.stem + '.jpg')", "", {}, r"not write 00000\.png"),
        ("pass", "path.name", "(output / names[0].name).write_bytes(b'')", {}, "not a readable image"),
        ("pass", "path.name", "import time; time.sleep(60)", {"timeout": 1.5}, r"stopped after 1\.5 seconds"),
        (
            "pass",
            "path.name",
            "print('Loading', flush=True); import time; time.sleep(60)",
            {"timeout": 1.5},
            ":\nLoading",
        ),
        ("pass", "path.name", "input('Overwrite? ')", {}, "ended with status 1:(.|\n)*EOFError"),
        (
            "pass",
            "path.name",
            "import os; os.kill(os.getpid(), 9)",
            {},
            r"SIGKILL, often for lack .*\. It printed nothing",
        ),
        ("pass", "path.name", "", {"hole": "black"}, "mask polarity|hole filled"),
        ("filled = pixels", "path.name", "", {}, "hole filled"),
    ],
)
def test_a_broken_program_is_caught_by_name(tmp_path, change, name, after, options, message):
    start = time.monotonic()
    command = program(tmp_path, change, name, after)
    with pytest.raises(InputError, match=message):
        check(lambda: Method(Command(command=command, **options), SPEC))
    assert time.monotonic() - start < 30


def ended(path):
    """Return whether the process whose number a file contains ends within seconds."""
    number, until = int(path.read_text()), time.monotonic() + 5
    while time.monotonic() < until:
        try:
            # In a container, a process whose parent has ended may stay as a zombie.
            if psutil.Process(number).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.02)
    return False


def test_what_a_program_leaves_running_is_ended(tmp_path):
    pid = tmp_path / "pid"
    after = f"import subprocess; left = subprocess.Popen(['sleep', '60']); open({str(pid)!r}, 'w').write(str(left.pid))"
    images, masks = samples(1)
    Command(command=program(tmp_path, after=after)).inpaint(images, masks)
    assert ended(pid)


def test_a_program_ends_with_the_job_that_runs_it(tmp_path):
    pid = tmp_path / "pid"
    after = f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    images, masks = samples(1)
    threading.Thread(target=lambda: (wait_for(pid), os.kill(os.getpid(), signal.SIGTERM)), daemon=True).start()
    with pytest.raises(SystemExit) as left:
        Command(command=program(tmp_path, after=after)).inpaint(images, masks)
    assert left.value.code == 143 and ended(pid)


def wait_for(path):
    while not (path.exists() and path.read_text()):
        time.sleep(0.02)


def test_logs_beside_the_images_are_ignored(tmp_path):
    """LaMa's predict leaves a log, and Hydra leaves a hidden folder with an image in it."""
    after = "(output / 'log.txt').write_text(''); (output / '.hydra').mkdir()"
    after += "; (output / '.hydra/a.png').write_bytes(b''); (output / 'scores.csv').write_text('')"
    images, masks = samples(2)
    method = Command(command=program(tmp_path, after=after))
    assert torch.equal(method.inpaint(images, masks), Command(command=program(tmp_path)).inpaint(images, masks))


def echoed(folder, *words, **options):
    """Return the words that a program gets."""
    path = folder / "echo.py"
    copy = "import json, shutil, sys; shutil.copytree(sys.argv[1], sys.argv[2], dirs_exist_ok=True)"
    path.write_text(f"{copy}\njson.dump(sys.argv[3:], open({str(folder / 'words.json')!r}, 'w'))")
    images, masks = samples(2)
    line = [sys.executable, str(path), "{images}", "{output}", *words]
    Command(command=line, **options).inpaint(images, masks)
    return json.loads((folder / "words.json").read_text())


def test_braces_that_are_not_placeholders_are_passed_on(tmp_path):
    words = [
        "hydra.run.dir=${now:%Y}",
        '{"lr": 1}',
        "{print $1}",
        "{}",
        "{0}",
        "${images}",
        "{ images }",
        "{x}",
        "%s {y}",
    ]
    assert echoed(tmp_path, *words) == words
    assert echoed(tmp_path, "{{image}}", "{{images}}", "{{var}}") == ["{image}", "{images}", "{{var}}"]
    (found,) = echoed(tmp_path, "in={images},{masks}")
    assert found.startswith("in=/") and found.endswith("masks") and found.count("/masks") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"command": "python test.py {images}"}, "command: .*expected a list of words"),
        ({"command": []}, "command: .*expected a list of words"),
        ({"command": None}, "command: .*expected a list of words"),
        ({"command": {"a": 1}}, "command: .*expected a list of words"),
        ({"command": ["x", 5]}, "command: 5 is no text; write it in quotes, '5'"),
        ({"command": ["x", True]}, "command: True is no text"),
        ({"command": ["x", "{image}"]}, r"command: \{image\} is no placeholder. Did you mean \{images\}"),
        ({"command": ["x", "--out={outputs}"]}, r"Did you mean \{output\}"),
        ({"command": ["x", "{mask}"]}, r"Did you mean \{masks\}"),
        ({"command": ["{checkout}/x"]}, "no `checkout` is given"),
        ({"size": 0}, "size: 0; expected a whole number of at least 1"),
        ({"size": -4}, "size: -4"),
        ({"size": True}, "size: True"),
        ({"size": 2.5}, "size: 2.5"),
        ({"size": "256"}, "size: '256'"),
        ({"batch": 0}, "batch: 0"),
        ({"batch": True}, "batch: True"),
        ({"timeout": 0}, "timeout: 0"),
        ({"timeout": -1}, "timeout: -1"),
        ({"timeout": float("inf")}, "timeout: inf"),
        ({"timeout": float("nan")}, "timeout: nan"),
        ({"timeout": "60"}, "timeout: '60'"),
        ({"together": "yes", "mask_name": "m{id}.png"}, "together: 'yes'"),
        ({"environment": 3}, "environment: 3"),
        ({"output_name": "{name}.png"}, r"output_name: .*\{name\}; the only placeholder"),
        ({"output_name": "result.png"}, r"output_name: 'result\.png' has no \{id\}"),
        ({"image_name": "image.png"}, r"image_name: 'image\.png' has no \{id\}"),
        ({"mask_name": 3}, "mask_name: 3"),
        ({"output_name": "../{id}.png"}, "output_name: .*inside its folder"),
        ({"output_name": "/{id}.png"}, "output_name: .*inside its folder"),
        ({"output_name": "{id}"}, "output_name: .*name of an image"),
        ({"output_name": "{id}.npy"}, "output_name: .*name of an image"),
        ({"hole": "red"}, "white or black"),
        ({"fill": "noise"}, "black, grey"),
        ({"fill": ["black"]}, "black, grey"),
        ({"together": True}, "different names"),
        ({"checkout": "external/lama"}, "checkout: 'external/lama'; expected the keys folder"),
        ({"checkout": {"folder": "a", "commit": "b"}}, r"checkout\.repository: is missing"),
        ({"checkout": {"folder": "a", "repository": "b"}}, r"checkout\.commit: is missing"),
        ({"checkout": {"repository": "b", "commit": "c"}}, r"checkout\.folder: is missing"),
        ({"checkout": {"folder": "a", "repository": "b", "commit": 7865936}}, r"checkout\.commit: is 7865936"),
        ({"checkout": {"folder": "a", "repository": "b", "commit": "--help"}}, r"checkout\.commit: is '--help'"),
        ({"checkout": {"folder": "a", "repository": "b", "comit": "c"}}, r"checkout\.comit: unknown key.*commit"),
    ],
)
def test_a_wrong_parameter_is_named(options, message):
    with pytest.raises(InputError, match=message):
        Command(**{"command": ["x"]} | options)


def test_a_name_without_the_number_is_enough_for_one_image_at_a_time(tmp_path):
    names = {"image_name": "image.png", "mask_name": "image.png", "output_name": "image.png"}
    images, masks = samples(1)
    one = Command(command=program(tmp_path), batch=1, **names)
    assert torch.equal(one.inpaint(images, masks), Command(command=program(tmp_path)).inpaint(images, masks))


def git(folder, *words):
    mine = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *mine, "-C", str(folder), *words], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """Create a repository of two commits and check out the second; return what a method file declares about it."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    folder = tmp_path / "code"
    folder.mkdir()
    git(folder, "init", "-q")
    for text in ("one", "two"):
        (folder / "program.py").write_text(text)
        git(folder, "add", ".")
        git(folder, "commit", "-q", "-m", text)
    return {"folder": str(folder), "repository": "https://example.org/code", "commit": git(folder, "rev-parse", "HEAD")}


def test_the_declared_commit_must_be_checked_out(checkout, tmp_path, monkeypatch):
    folder = tmp_path / "code"
    assert Checkout.of(checkout).checked() == folder
    assert Checkout.of(checkout | {"commit": checkout["commit"][:10]}).checked() == folder
    git(folder, "tag", "v1")
    assert Checkout.of(checkout | {"commit": "v1"}).checked() == folder
    older = git(folder, "rev-parse", "HEAD~1")
    for commit in (older, "0" * 40, "main-of-another"):
        with pytest.raises(InputError, match=rf"{checkout['commit'][:12]} is checked out, but .*commit` is {commit}"):
            Checkout.of(checkout | {"commit": commit}).checked()
    git(folder, "checkout", "-q", older)
    with pytest.raises(InputError, match=rf"git -C {folder} fetch && git -C {folder} checkout {checkout['commit']}"):
        Checkout.of(checkout).checked()
    git(folder, "checkout", "-q", checkout["commit"])
    monkeypatch.setenv("GIT_DIR", str(tmp_path))  # another repository's, as a hook sets it
    assert Checkout.of(checkout).checked() == folder


def test_local_changes_are_declared(checkout, tmp_path):
    (tmp_path / "code/weights.pth").write_text("an untracked file, as weights are")
    assert Checkout.of(checkout).checked()
    (tmp_path / "code/program.py").write_text("changed")
    with pytest.raises(InputError, match=r"1 files differ from commit .*such as program\.py.*local_changes: true"):
        Checkout.of(checkout).checked()
    assert Checkout.of(checkout | {"local_changes": True}).checked()
    with pytest.raises(InputError, match="local_changes: 'yes'"):
        Checkout.of(checkout | {"local_changes": "yes"})


def test_a_folder_without_a_repository_of_its_own(checkout, tmp_path):
    inside = tmp_path / "code/sub"
    inside.mkdir()
    (tmp_path / "plain").mkdir()
    with pytest.raises(InputError, match="not the top of a git repository"):
        Checkout.of(checkout | {"folder": str(inside)}).checked()
    with pytest.raises(InputError, match=r"not a git repository|repository of its own"):
        Checkout.of(checkout | {"folder": str(tmp_path / "plain")}).checked()


def test_a_program_runs_in_the_folder_of_its_checkout(checkout, tmp_path):
    assert echoed(tmp_path, "{checkout}/x", checkout=checkout) == [f"{tmp_path}/code/x"]
    (tmp_path / "code/program.py").write_text("changed")
    with pytest.raises(InputError, match="1 files differ"):
        echoed(tmp_path, checkout=checkout)


def test_missing_code_or_programs_are_reported_with_the_remedy(tmp_path):
    images, masks = samples(1)
    checkout = {"folder": str(tmp_path / "lama"), "repository": "https://example.org/lama", "commit": "abc"}
    method = Command(command=["{checkout}/run"], checkout=checkout)
    with pytest.raises(InputError, match=r"git clone https://example.org/lama .*checkout abc"):
        method.inpaint(images, masks)
    with pytest.raises(InputError, match="cannot be started"):
        Command(command=["no-such-program"]).inpaint(images, masks)


@pytest.fixture
def frozen(tmp_path, frozen_split):
    return frozen_split(tmp_path / "faces")


def specification(cls, **parameters):
    return {"name": "mine", "class": cls, "parameters": parameters, "sees_truth": False}


def test_precomputed_images_are_taken_as_they_are(frozen, tmp_path):
    mean = {"name": "mean", "class": "baselines.controls:MeanFill", "parameters": {}, "sees_truth": False}
    predict(mean, frozen, tmp_path / "first")
    folder = tmp_path / "first/raw"
    predict(specification("baselines.precomputed:Precomputed", folder=str(folder)), frozen, tmp_path / "second")
    for row in read_manifest(frozen):
        for kind in ("raw", "composited"):
            first, second = (read_rgb(tmp_path / which / kind / row.prediction) for which in ("first", "second"))
            assert np.array_equal(first, second)
    spec = specification("baselines.precomputed:Precomputed", folder=str(folder))
    some = next(folder.rglob("*.png"))
    write_png(folder / "0-20/stranger.png", np.zeros((32, 32, 3), np.uint8))
    kept = some.read_bytes()
    some.unlink()
    with pytest.raises(InputError, match=rf"(?s){some.name}: missing.*stranger\.png: not in manifest"):
        predict(spec, frozen, tmp_path / "third")
    (folder / "0-20/stranger.png").unlink()
    write_png(some, np.zeros((31, 32, 3), np.uint8))
    with pytest.raises(InputError, match=r"32x31 pixels, expected 32x32"):
        predict(spec, frozen, tmp_path / "third")
    some.write_bytes(kept)
    with pytest.raises(InputError, match="no such folder"):
        Precomputed(folder=str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="rows of a manifest"):
        Precomputed(folder=str(folder)).inpaint(torch.zeros(1, 3, 32, 32), torch.zeros(1, 1, 32, 32))


def test_precomputed_images_may_have_any_format(frozen, tmp_path, monkeypatch):
    mean = {"name": "mean", "class": "baselines.controls:MeanFill", "parameters": {}, "sees_truth": False}
    predict(mean, frozen, tmp_path / "first")
    folder = tmp_path / "first/raw"
    pixels = {row.prediction: read_rgb(folder / row.prediction) for row in read_manifest(frozen)}
    for (name, image), ending in zip(pixels.items(), ("bmp", "JPG", "tif", "webp", "png", "jpeg"), strict=True):
        path = (folder / name).with_suffix(f".{ending}")
        Image.fromarray(image).save(path, **({"lossless": True} if ending == "webp" else {}))
        if ending != "png":
            (folder / name).unlink()
    (folder / "readme.txt").write_text("how they were made")
    (folder / "0-20/._x.png").write_bytes(b"left by macOS")
    monkeypatch.setenv("HOME", str(tmp_path))
    spec = specification("baselines.precomputed:Precomputed", folder="~/first/raw")
    predict(spec, frozen, tmp_path / "second")
    for name, image in pixels.items():
        found = read_rgb(tmp_path / "second/raw" / name).astype(int)
        assert np.abs(found - image).mean() < 8, name
    twice = next(folder.rglob("*.bmp"))
    Image.open(twice).save(twice.with_suffix(".png"))
    with pytest.raises(InputError, match=rf"{twice.name} and .*{twice.stem}\.png have the same id"):
        predict(spec, frozen, tmp_path / "third")


@pytest.mark.slow
def test_a_program_runs_over_a_manifest_in_few_calls(frozen, tmp_path):
    spec = specification("baselines.command:Command", command=program(tmp_path), batch=4)
    predict(spec, frozen, tmp_path / "predictions")
    rows = read_manifest(frozen)
    assert len(rows) == 6 and len(list((tmp_path / "predictions/composited").rglob("*.png"))) == 6


def test_a_new_method_runs_as_it_is_written(tmp_path, monkeypatch, capsys):
    """The skeleton passes the conformance suite, its own test and the linter."""
    from sair.commands.cli import main
    from sair.methods.spec import load_spec

    (tmp_path / "config/methods").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert main(["new-method", "my_method"]) == 0
    assert "config/methods/my_method.yaml" in capsys.readouterr().out
    monkeypatch.setattr(baselines, "__path__", [*baselines.__path__, str(tmp_path / "baselines")])
    spec = load_spec("my_method", "config/methods", "mini", {"scale": 1, "batch": 8})
    assert spec["training"]["steps"] == 1000
    check(maker(spec))
    namespace = {}
    exec(compile((tmp_path / "tests/test_my_method.py").read_text(), "test_my_method", "exec"), namespace)
    namespace["test_training_lowers_the_loss"]()
    ours = 'lint.isort.known-first-party=["sair", "baselines"]'
    line = [sys.executable, "-m", "ruff", "check", "--config", "line-length=120", "--config", ours, "."]
    ruff = subprocess.run(line, capture_output=True)
    assert ruff.returncode == 0, ruff.stdout
    assert main(["new-method", "my_method"]) == 1
    assert main(["new-method", "My-Method"]) == 1
    error = capsys.readouterr().err
    assert "exists" in error and "lower-case" in error


@pytest.mark.parametrize("name", ["lama_original", "misf_original"])
def test_missing_authors_programs_are_reported_with_the_command_to_get_them(name):
    from sair.methods.build import build
    from sair.methods.spec import load_spec

    images, masks = samples(1)
    method = build(load_spec(name, "config/external", "mini", {}))
    with pytest.raises(
        InputError, match=r"code is not there. Get it: git clone https://github.com/.* checkout [0-9a-f]{40}"
    ):
        method.inpaint(images, masks)
