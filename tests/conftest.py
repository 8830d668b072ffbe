import pytest
import torch
import yaml

from sair.methods import load_method

torch.set_num_threads(1)  # with more, every test waits whenever another process computes


@pytest.fixture(scope="session")
def config():
    """The default config."""
    with open("config/config.yaml", encoding="utf-8") as stream:
        return yaml.safe_load(stream)


@pytest.fixture(scope="session")
def mini(config):
    """Load a method's specification as the default config sees it."""

    def load(name, folder="config/methods"):
        return load_method(name, folder, "mini", config["training"])

    return load
