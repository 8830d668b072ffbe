"""Test that the wheel works outside the checkout, for everything that needs no workflow."""

import shutil
import subprocess
import sys
import sysconfig
import venv

import numpy as np
import pandas as pd
import pytest
from helpers.checkpoints import write_checkpoint

from sair.common.images import write_png

pytestmark = pytest.mark.slow

NOTEBOOK = """
import numpy as np, sair
assert not sair.__file__.startswith({checkout!r}), sair.__file__
filled = sair.load("liif.safetensors", device="cpu").inpaint("truth/0.png", "masks/0.png")
assert np.asarray(filled.raw).shape == (20, 24, 3)
assert sair.score("truth/0.png", "found/0.png", "masks/0.png")["psnr_hole"] > 20
scores = sair.score("truth", "found", "masks")
print(len(scores), *sair.compare(scores.assign(psnr=scores.psnr + 1), scores).outcome)
"""


def run(*command, **options):
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, **options)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Install a wheel of this checkout, with the packages that it needs, and return the environment's programs."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("sair", "baselines"):
        shutil.copytree(name, folder / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(name, folder / "source")
    pip = sys.executable, "-m", "pip", "--disable-pip-version-check"
    options = "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", folder
    status, _, error = run(*pip, "wheel", *options, folder / "source")
    assert status == 0, error
    venv.create(folder / "venv", with_pip=False)
    programs = folder / "venv/bin"
    [wheel] = folder.glob("*.whl")
    status, _, error = run(*pip, "--python", programs / "python", "install", "--no-deps", "--no-index", wheel)
    assert status == 0, error
    # The other packages come from this environment. Its own .pth files, and so an editable install, are not read.
    [packages] = (folder / "venv/lib").glob("python*/site-packages")
    (packages / "others.pth").write_text(sysconfig.get_paths()["purelib"])
    return programs


@pytest.fixture
def work(tmp_path, monkeypatch):
    """Return an empty folder with images, masks and a checkpoint."""
    monkeypatch.delenv("PYTHONPATH", raising=False)
    rng = np.random.default_rng(0)
    for number in range(8):
        truth = rng.integers(0, 240, (20, 24, 3), dtype=np.uint8)
        mask = np.zeros((20, 24), np.uint8)
        mask[5:12, 6:16] = 255
        noise = rng.integers(0, 16, truth.shape, dtype=np.uint8)
        for folder, pixels in {"truth": truth, "found": truth + noise * (mask > 0)[..., None], "masks": mask}.items():
            write_png(tmp_path / folder / f"{number}.png", pixels.astype(np.uint8))
    write_checkpoint(tmp_path / "liif.safetensors")
    return tmp_path


def test_scores_comparisons_and_inpainting_need_no_checkout(installed, work, request):
    status, text, error = run(installed / "sair", "--version", cwd=work)
    assert (status, text.split()[0]) == (0, "sair"), error
    status, _, error = run(installed / "sair", "score", "truth", "found", "-o", "scores.csv", cwd=work)
    assert status == 0 and len(pd.read_csv(work / "scores.csv")) == 8, error
    words = "inpaint", "truth/0.png", "masks/0.png", "-o", "out.png", "--checkpoint", "liif.safetensors"
    status, _, error = run(installed / "sair", *words, cwd=work)
    assert status == 0 and (work / "out.png").is_file(), error
    code = NOTEBOOK.format(checkout=str(request.config.rootpath))
    status, text, error = run(installed / "python", "-c", code, cwd=work)
    assert status == 0 and text.split()[:2] == ["8", "improved"], error


@pytest.mark.parametrize("words", ["methods", "doctor", "new-method mine", "convert rfrnet g.pth -o out.safetensors"])
def test_commands_that_need_a_project_fail_with_one_line(installed, work, words):
    status, _, error = run(installed / "sair", *words.split(), cwd=work)
    assert status == 1 and error.count("\n") == 1 and "config/" in error and "folder" in error
