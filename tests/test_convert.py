"""An author's files become one checkpoint of ours, which then runs without them."""

import pytest
import torch

from sair.cli import main
from sair.methods import build, load_method
from sair.prediction import run
from sair.training import checkpoint

# What each method's files hold: the network inside the method, and how its authors nest its weights.
FILES = {
    "lama": {"": ("generator", lambda state: {"state_dict": {f"generator.{k}": v for k, v in state.items()}})},
    "misf": {"": ("generator", lambda state: {"iteration": 5, "generator": state})},
    "rfrnet": {"": ("generator", lambda state: {"generator": state, "n_iter": 5})},
    "edgeconnect": {
        "edge=": ("edge_generator", lambda state: {"generator": state}),
        "inpaint=": ("inpaint_generator", lambda state: {"generator": state}),
    },
    "structureflow": {" s": ("s_gen", dict), " f": ("f_gen", dict)},
    "jpgnet_rfrnet": {
        "generator=": ("generator.generator", lambda state: {"generator": state}),
        "kpn1=": ("kpn1", lambda state: {f"module.{k}": v for k, v in state.items()}),
        "kpn2=": ("kpn2", dict),
    },
}


def write_files(name, folder):
    """A method on random weights, and its authors' files with these as words of the command."""
    torch.manual_seed(1)
    method = build(load_method(name, "config/methods", "mini")).eval()
    words = []
    for number, (part, (network, nest)) in enumerate(FILES[name].items()):
        path = folder / f"{number}.pth"
        torch.save(nest(method.get_submodule(network).state_dict()), path)
        words.append(f"{part.strip() if part.endswith('=') else ''}{path}")
    return method, words


@pytest.mark.parametrize("name", FILES)
def test_converted_weights_paint_the_same(name, tmp_path):
    method, words = write_files(name, tmp_path)
    output = tmp_path / "weights/converted.safetensors"
    torch.manual_seed(2)
    assert main(["convert", name, *words, "--preset", "mini", "-o", str(output)]) == 0
    for path in tmp_path.glob("*.pth"):
        path.unlink()
    restored, metadata = checkpoint.restore(output)
    assert metadata["image_size"] == 256
    images, masks = torch.rand(1, 3, 64, 64), (torch.rand(1, 1, 64, 64) < 0.3).float()
    assert torch.equal(*(run(m, images, masks, metadata["spec"]) for m in (method, restored)))


def test_what_cannot_be_converted_is_refused(tmp_path, capsys):
    _, words = write_files("rfrnet", tmp_path)
    output = str(tmp_path / "out.safetensors")
    assert main(["convert", "misf", *words, "--preset", "mini", "-o", output]) == 1
    assert "does not fit MISFGenerator" in capsys.readouterr().err
    assert main(["convert", "liif", *words, "--preset", "mini", "-o", output]) == 1
    assert "no parameter 'pretrained'" in capsys.readouterr().err
    assert main(["convert", "edgeconnect", *words, "--preset", "mini", "-o", output]) == 1
    assert "edge" in capsys.readouterr().err
    assert main(["convert", "edgeconnect", "edge=a", "b", "--preset", "mini", "-o", output]) == 1
    assert "name every file" in capsys.readouterr().err
    assert not (tmp_path / "out.safetensors").exists()


def test_a_method_with_weights_learns_nothing(tmp_path):
    (tmp_path / "a.yaml").write_text("label: A\nclass: baselines.misf:MISF\ntraining: {steps: 5}\n")
    (tmp_path / "b.yaml").write_text("label: B\nextends: a\nweights: weights/misf.safetensors\n")
    assert load_method("b", tmp_path, "mini")["training"] is None
