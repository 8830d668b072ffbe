"""Test that an author's files become one checkpoint of this project, which then runs without them."""

import re
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from sair.commands.cli import main
from sair.inference.method import Method, load
from sair.methods import checkpoint
from sair.methods.build import build
from sair.methods.spec import load_spec

pytestmark = pytest.mark.slow  # as a whole

# The content of each method's files: the network inside the method, and how its authors nest its weights.
FILES = {
    "lama": {"": ("generator", lambda state: {"state_dict": {f"generator.{k}": v for k, v in state.items()}})},
    "misf": {"": ("generator", lambda state: {"iteration": 5, "generator": state})},
    "rfrnet": {"": ("generator", lambda state: {"generator": state, "n_iter": 5})},
    "edgeconnect": {
        "edge=": ("edge_generator", lambda state: {"generator": state}),
        "inpaint=": ("inpaint_generator", lambda state: {"generator": state}),
    },
    "structureflow": {"s_gen=": ("s_gen", dict), "f_gen=": ("f_gen", dict)},
    "jpgnet_rfrnet": {
        "generator=": ("generator.generator", lambda state: {"generator": state}),
        "kpn1=": ("kpn1", lambda state: {f"module.{k}": v for k, v in state.items()}),
        "kpn2=": ("kpn2", dict),
    },
}


def zip_of(path):
    content = path.read_bytes()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("folder/", b"")
        archive.writestr("g.pth", content)


def bomb_of(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(100 << 20))


def ours_of(path):
    save_file({"a": torch.zeros(1)}, path, {"sair": "{}"})


def write_files(name, folder):
    """Return a method on random weights, and the command's words for its authors' files, which are written."""
    torch.manual_seed(1)
    method = build(load_spec(name, "config/methods", "mini")).eval()
    words = []
    for number, (part, (network, nest)) in enumerate(FILES[name].items()):
        path = folder / f"{number}.pth"
        torch.save(nest(method.get_submodule(network).state_dict()), path)
        words.append(f"{part}{path}")
    return method, words


@pytest.mark.parametrize("name", FILES)
def test_converted_weights_give_the_same_images(name, tmp_path):
    method, words = write_files(name, tmp_path)
    output = tmp_path / "weights/converted.safetensors"
    torch.manual_seed(2)
    assert main(["convert", name, *words, "--preset", "mini", "-o", str(output)]) == 0
    for path in tmp_path.glob("*.pth"):
        path.unlink()
    restored = load(output, device="cpu")
    assert restored.image_size == 256
    images, masks = torch.rand(1, 3, 64, 64), (torch.rand(1, 1, 64, 64) < 0.3).float()
    assert torch.equal(*(m.predict(images, masks) for m in (Method(method, restored.spec), restored)))


def rename(make):
    return lambda name, value: (make(name), value)


def some(number):
    """Leave every third name as it is: only a part of the network was wrapped."""
    return sum(map(ord, number)) % 3


VARIANTS = {
    "module": rename(lambda name: f"module.{name}"),
    "module.module": rename(lambda name: f"module.module.{name}"),
    "_orig_mod": rename(lambda name: f"_orig_mod.{name}"),
    "both": rename(lambda name: f"module._orig_mod.{name}"),
    "inside": rename(lambda name: "._orig_mod.".join(name.rsplit(".", 1))),
    "mixed": rename(lambda name: f"module.{name}" if some(name) else f"_orig_mod.{name}" if len(name) % 2 else name),
    "double": lambda name, value: (name, value.double() if value.is_floating_point() else value),
    "parameter": lambda name, value: (name, torch.nn.Parameter(value) if value.is_floating_point() else value),
    "no counters": lambda name, value: None if name.endswith("num_batches_tracked") else (name, value),
}


def changed(content, change):
    """Change every tensor of an author's file, given by name, at any depth."""
    items = {}
    for name, value in content.items():
        new = change(name, value) if isinstance(value, torch.Tensor) else (name, value)
        if isinstance(value, dict):
            new = name, changed(value, change)
        if new is not None:
            items[new[0]] = new[1]
    return items


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", FILES)
def test_harmless_variants_of_a_file_are_read(name, variant, tmp_path):
    method, words = write_files(name, tmp_path)
    for path in tmp_path.glob("*.pth"):
        torch.save(changed(torch.load(path, weights_only=True), VARIANTS[variant]), path)
    output = tmp_path / "converted.safetensors"
    assert main(["convert", name, *words, "--preset", "mini", "-o", str(output)]) == 0
    expected, found = checkpoint.weights_of(method), checkpoint.load(output)[0]
    assert expected.keys() == found.keys()
    for key, value in expected.items():
        counter = variant == "no counters" and key.endswith("num_batches_tracked")
        assert torch.equal(found[key], torch.zeros_like(value) if counter else value), key


def last_weight(change):
    """Change one weight of each file."""

    def write(path):
        content = torch.load(path, weights_only=True)
        state = next((value for value in content.values() if isinstance(value, dict)), content)
        change(state, [name for name, value in state.items() if value.is_floating_point() and value.numel() > 1][-1])
        torch.save(content, path)

    return write


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (last_weight(lambda state, name: state[name].view(-1)[0].fill_(torch.nan)), "not finite"),
        (last_weight(lambda state, name: state[name].view(-1)[0].fill_(torch.inf)), "not finite"),
        (last_weight(lambda state, name: state.update({name: state[name].double() + 1e300})), "not finite"),
        (last_weight(lambda state, name: state.update({name: state[name].long()})), "holds torch.int64, expected"),
        (last_weight(lambda state, name: state.update({name: state[name] * 1j})), "holds torch.complex64, expected"),
        (last_weight(lambda state, name: state.update({name: state[name].to_sparse()})), "not stored as plain"),
        (last_weight(lambda state, name: state.update({f"module.{name}": state[name]})), "several weights under one"),
        (last_weight(lambda state, name: state.pop(name)), "missing: "),
        (lambda path: path.write_bytes(b""), "an empty file"),
        (lambda path: path.write_bytes(path.read_bytes()[:2000]), "incomplete"),
        (lambda path: path.write_text("<html><body>Quota exceeded</body></html>"), "a web page"),
        (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0"), "a Git LFS pointer"),
        (lambda path: path.write_bytes(bytes(range(256))), "a file of an unknown kind"),
        (zip_of, r"a zip archive with g\.pth in it\. Unpack it"),
        (lambda path: path.write_bytes(path.read_bytes().replace(b"data.pkl", b"\xff\xfe.pkl")), "incomplete"),
        (bomb_of, "far larger when it is unpacked"),
        (ours_of, "a checkpoint of this project already"),
        (lambda path: torch.save([1], path), "found a list"),
    ],
    ids=["nan", "inf", "overflow", "integers", "complex", "sparse", "twice", "missing", "empty", "cut", "page",
         "pointer", "noise", "zip", "name", "bomb", "ours", "list"],
)  # fmt: skip
def test_a_file_that_cannot_be_right_is_refused_in_one_line(name, damage, message, tmp_path, capsys):
    _, words = write_files(name, tmp_path)
    for path in tmp_path.glob("*.pth"):
        damage(path)
    output = tmp_path / "out.safetensors"
    assert main(["convert", name, *words, "--preset", "mini", "-o", str(output)]) == 1
    error = capsys.readouterr().err
    assert re.search(message, error) and error.count("\n") == 1 and str(tmp_path) in error, error
    assert not output.exists()


def test_a_safetensors_file_of_the_author_is_read(tmp_path):
    method, _ = write_files("rfrnet", tmp_path)
    save_file(method.generator.state_dict(), tmp_path / "author.safetensors")
    output = tmp_path / "out.safetensors"
    assert main(["convert", "rfrnet", str(tmp_path / "author.safetensors"), "--preset", "mini", "-o", str(output)]) == 0
    assert all(torch.equal(value, method.state_dict()[key]) for key, value in checkpoint.load(output)[0].items())


@pytest.mark.parametrize(
    ("name", "words", "message"),
    [
        ("rfrnet", ["0.pth", "0.pth"], "one file is expected here, but .*0.pth, .*0.pth is given"),
        ("rfrnet", ["edge=0.pth"], "without a name in front of it, but edge= is given"),
        ("edgeconnect", ["edge=0.pth"], "expected a file each for edge, inpaint"),
        ("edgeconnect", ["edge=0.pth", "edge=1.pth", "inpaint=1.pth"], "one file is expected here"),
        ("edgeconnect", ["edge=0.pth", "1.pth"], "name every file"),
        ("structureflow", ["0.pth"], "expected a file each for s_gen, f_gen"),
        ("jpgnet_rfrnet", ["generator=0.pth"], "leave weights of kpn1, kpn2 random"),
        ("jpgnet_rfrnet", ["kpn1=1.pth", "kpn2=2.pth"], "leave weights of generator random"),
        ("jpgnet_rfrnet", ["generator=0.pth", "generator.edge=0.pth"], "generator is given as a whole, too"),
        ("jpgnet_rfrnet", ["generator.edge=0.pth", "generator=0.pth"], "given as a whole and in parts"),
        ("jpgnet_rfrnet", ["=0.pth"], "without a name"),
        ("rfrnet", ["."], "a folder. Name the file"),
        ("sair", ["0.pth"], "without semantics. Name liif or lte"),
        ("liif", ["0.pth"], "not a checkpoint of LIIF's or LTE's code"),
        ("liif", ["0.pth", "0.pth"], "one file is expected"),
        ("biharmonic", ["0.pth"], "no parameter 'pretrained'"),
    ],
)
def test_files_given_wrongly_are_named_in_the_users_terms(name, words, message, tmp_path, capsys, monkeypatch):
    root = Path.cwd()
    write_files(name if name in FILES else "rfrnet", tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config").symlink_to(root / "config")
    assert main(["convert", name, *words, "--preset", "mini", "-o", "out.safetensors"]) == 1
    error = capsys.readouterr().err
    assert re.search(message, error) and error.count("\n") == 1, error
    assert not Path("out.safetensors").exists()


def test_what_cannot_be_converted_is_refused(tmp_path, capsys):
    _, words = write_files("rfrnet", tmp_path)
    output = str(tmp_path / "out.safetensors")
    assert main(["convert", "misf", *words, "--preset", "mini", "-o", output]) == 1
    assert "does not fit MISFGenerator" in capsys.readouterr().err
    assert main(["convert", "edgeconnect", *words, "--preset", "mini", "-o", output]) == 1
    assert "edge" in capsys.readouterr().err
    assert main(["convert", "edgeconnect", "edge=a", "b", "--preset", "mini", "-o", output]) == 1
    assert "name every file" in capsys.readouterr().err
    assert not (tmp_path / "out.safetensors").exists()


def test_a_method_with_weights_is_not_trained(tmp_path):
    (tmp_path / "a.yaml").write_text("label: A\nclass: baselines.misf:MISF\ntraining: {steps: 5}\n")
    (tmp_path / "b.yaml").write_text("label: B\nextends: a\nweights: weights/misf.safetensors\n")
    assert load_spec("b", tmp_path, "mini")["training"] is None
