"""Test that pickled weights are read, and that nothing which a pickle names is imported or called."""

import builtins
import os
import pickle
import sys
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.malicious import Malicious

from sair.common.errors import InputError
from sair.weights.unpickle import Inert, load_arrays, load_torch


def test_pytorch_files_are_read_in_one_place():
    paths = [path for folder in ("sair", "baselines") for path in Path(folder).rglob("*.py")]
    readers = [path.as_posix() for path in paths if "torch.load(" in path.read_text(encoding="utf-8")]
    assert readers == ["sair/weights/unpickle.py"]


# Files of arrays ------------------------------------------------------------------------------------------------------


def test_arrays_written_by_this_numpy_are_read(tmp_path):
    tree = {"a": {"kernel": np.arange(6, dtype=np.float32).reshape(2, 3)}}
    (tmp_path / "good.ckpt").write_bytes(pickle.dumps(tree, protocol=3))
    np.testing.assert_array_equal(load_arrays(tmp_path / "good.ckpt")["a"]["kernel"], tree["a"]["kernel"])


def test_a_malicious_pickle_is_refused_and_not_executed(tmp_path):
    marker = tmp_path / "executed"
    path = tmp_path / "bad.ckpt"
    path.write_bytes(pickle.dumps({"AlexNet_0": Malicious(os.mkdir, str(marker))}))
    with pytest.raises(InputError, match=r"bad\.ckpt: refused \(the name posix\.mkdir is not allowed"):
        load_arrays(path)
    assert not marker.exists()
    pickle.loads(path.read_bytes())
    assert marker.exists(), "the probe itself works"


@pytest.mark.parametrize("name", ["builtins.eval", "numpy.load", "numpy.core.multiarray.fromfile", "os.system"])
def test_no_other_name_is_resolved(tmp_path, name):
    module, _, attribute = name.rpartition(".")
    (tmp_path / "bad.ckpt").write_bytes(f"c{module}\n{attribute}\n.".encode())
    with pytest.raises(InputError, match="not allowed"):
        load_arrays(tmp_path / "bad.ckpt")


def test_a_truncated_pickle_is_refused(tmp_path):
    (tmp_path / "cut.ckpt").write_bytes(pickle.dumps({"a": np.zeros(9)}, protocol=3)[:-20])
    with pytest.raises(InputError, match=r"cut\.ckpt: refused"):
        load_arrays(tmp_path / "cut.ckpt")


# PyTorch files --------------------------------------------------------------------------------------------------------


def with_pickle(path: Path, pickled: bytes) -> Path:
    """Write a PyTorch file that contains these bytes as its pickle."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/version", "3\n")
    return path


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("new", [True, False], ids=["zip", "before 1.6"])
def test_foreign_objects_become_placeholders_and_tensors_stay(tmp_path, monkeypatch, new, protocol):
    module = types.ModuleType("foreign_package")
    module.Config = type("Config", (dict,), {"__module__": "foreign_package"})
    config = module.Config(blocks=9)
    config.parent, config.content = None, [1, {"a": Path("b")}]
    path, weight = tmp_path / "best.ckpt", torch.arange(4.0)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "foreign_package", module)
        found = {"config": config, "weight": weight, "parameter": torch.nn.Parameter(weight)}
        torch.save(found, path, pickle_protocol=protocol, _use_new_zipfile_serialization=new)
    content = load_torch(path)
    assert isinstance(content["config"], Inert)
    assert torch.equal(content["weight"], weight) and torch.equal(content["parameter"], weight)


@pytest.mark.parametrize("call", ["os.mkdir", "exec", "eval"])
@pytest.mark.parametrize("place", ["value", "instead", "state"])
@pytest.mark.parametrize("new", [True, False], ids=["zip", "before 1.6"])
def test_nothing_in_a_file_is_run(tmp_path, call, place, new):
    marker = tmp_path / "executed"
    evil = {
        "os.mkdir": Malicious(os.mkdir, str(marker)),
        "exec": Malicious(builtins.exec, f"import os; os.mkdir({str(marker)!r})"),
        "eval": Malicious(builtins.eval, f"__import__('os').mkdir({str(marker)!r})"),
    }[call]
    content = {"value": {"a": torch.zeros(1), "b": evil}, "instead": evil, "state": [{"c": [evil]}]}[place]
    torch.save(content, tmp_path / "bad.pth", _use_new_zipfile_serialization=new)
    found = load_torch(tmp_path / "bad.pth")
    assert isinstance(
        {"value": lambda: found["b"], "instead": lambda: found, "state": lambda: found[0]["c"][0]}[place](), Inert
    )
    assert not marker.exists()
    torch.load(tmp_path / "bad.pth", weights_only=False)
    assert marker.exists(), "the probe itself works"


def test_no_attribute_of_what_was_looked_up_can_be_set(tmp_path):
    """Otherwise a file could change how this process rebuilds the tensors of every file that it reads later."""
    name = "ctorch._utils\n_rebuild_tensor_v2\n"
    path = with_pickle(tmp_path / "bad.pth", f"{name}(N(dS'changed'\nI1\nstb.".encode())
    load_torch(path)
    assert not hasattr(torch._utils._rebuild_tensor_v2, "changed")
    pickle.loads(f"{name}(N(dS'changed'\nI1\nstb.".encode())
    assert hasattr(torch._utils._rebuild_tensor_v2, "changed"), "the probe itself works"
    del torch._utils._rebuild_tensor_v2.changed


def test_a_file_that_unpacks_to_far_more_is_refused(tmp_path):
    path = tmp_path / "bomb.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(100 << 20))
    with pytest.raises(InputError, match="far larger when it is unpacked"):
        load_torch(path)
