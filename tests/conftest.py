import shutil
import sys
import urllib.error
import urllib.request

import pytest
import torch
import yaml

from sair.data.freeze import freeze_images, freeze_manifest
from sair.methods.spec import load_spec
from sair.weights import networks, sources

torch.set_num_threads(1)  # with more, every test waits whenever another process computes


@pytest.fixture(scope="session")
def config():
    """Return the default config, but with one training seed of every method."""
    with open("config/config.yaml", encoding="utf-8") as stream:
        return yaml.safe_load(stream) | {"fewest_seeds": {}}


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """Make all sources of pretrained files empty and other machines unreachable; return monkeypatch to open some."""
    monkeypatch.delenv(sources.ENVIRONMENT, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))  # open_clip's cache
    monkeypatch.setattr(sources, "DEFAULT_FOLDER", str(tmp_path / "default"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_, **__: None)
    monkeypatch.setattr(sources, "_carried", lambda file: None)

    monkeypatch.setenv("no_proxy", "*")
    urlopen = urllib.request.urlopen

    def only_here(request, **options):
        if request.host.startswith("127.0.0.1:"):
            return urlopen(request, **options)
        raise urllib.error.URLError("no network")

    monkeypatch.setattr("urllib.request.urlopen", only_here)
    networks._load.cache_clear()
    yield monkeypatch
    networks._load.cache_clear()


@pytest.fixture(scope="session")
def mini(config):
    """Load a method's specification as the default config sees it."""

    def load(name, folder="config/methods"):
        return load_spec(name, folder, "mini", config["training"])

    return load


@pytest.fixture(scope="session")
def frozen_split(config, tmp_path_factory):
    """Freeze drawn faces under drawn strokes in a folder, as `images.csv`, `masks.csv` and the manifest, whose path
    is returned. What was drawn once is copied.
    """
    drawn = {}

    def freeze(folder, test=2, train=1, validation=0, masks=1, buckets=config["buckets"]):
        key = repr((test, train, validation, masks, buckets))
        if key not in drawn:
            drawn[key] = tmp_path_factory.mktemp("split")
            images, manifest = drawn[key] / "images.csv", drawn[key] / "manifest.csv"
            freeze_images({"source": "faces", "train": train, "validation": validation, "test": test}, 32, images)
            strokes = {"source": "strokes", "train": masks}
            freeze_manifest(images, strokes, buckets, manifest, drawn[key] / "masks.csv")
        shutil.copytree(drawn[key], folder, dirs_exist_ok=True)
        return folder / "manifest.csv"

    return freeze


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Change to a working folder with an empty registry, which is not on Python's path."""
    for name in ("methods", "semantics"):
        (tmp_path / "config" / name).mkdir(parents=True)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry not in ("", str(tmp_path))])
    monkeypatch.chdir(tmp_path)
    return tmp_path
