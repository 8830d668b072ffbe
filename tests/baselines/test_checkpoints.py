"""Test that a file without weights is identified by its content, so that the remedy fits it."""

import gzip
import io
import pickle
import tarfile
import zipfile

import pytest
import torch

from baselines.checkpoints import read_checkpoint, state_of
from sair.common.errors import InputError


def packed(kind):
    """Return an archive with one file of weights."""
    stream = io.BytesIO()
    if kind == "tar":
        with tarfile.open(fileobj=stream, mode="w") as archive:
            archive.addfile(tarfile.TarInfo("g.pth"))
    else:
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr("g.pth", b"x")
    return stream.getvalue()


UNPACK, FETCH = "Unpack it, and name the file of weights in it", "Fetch it again"
KINDS = {
    "zip": (packed("zip"), r"a zip archive with g\.pth in it", UNPACK),
    "tar": (packed("tar"), "a tar archive", UNPACK),
    "gzip": (gzip.compress(bytes(range(200))), "a compressed file", UNPACK),
    "7z": (b"7z\xbc\xaf\x27\x1c" + bytes(99), "a compressed file", UNPACK),
    "zeros": (bytes(2000), "a file of zeros, such as an interrupted download leaves", FETCH),
    "text": (b'{"error": "not found"}\n', "a text file", FETCH),
    "page": (b"<!DOCTYPE html><title>Quota</title>", "a web page", FETCH),
    "keras": (b"\x89HDF\r\n\x1a\n" + bytes(99), "an HDF5 file, as Keras writes", FETCH),
    "noise": (bytes(range(1, 200)), "a file of an unknown kind", FETCH),
    "pickle": (pickle.dumps({"a": 1}), "a pickle of another program than PyTorch", "Fetch the weights as a PyTorch or"),
    "old pickle": (pickle.dumps({"a": 1}, protocol=2), "a pickle of another program than PyTorch", "which is not run"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "kind", "remedy"), KINDS.values(), ids=KINDS.keys())
def test_a_file_without_weights_is_named_with_a_remedy_that_fits(tmp_path, content, kind, remedy):
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"weights\.pth: not a readable .* but {kind}\. .*{remedy}"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ([1], "found a list"),
        ({"weight": torch.zeros(1), "epoch": 1, "loss": {}}, "found epoch: an int, loss: an empty mapping, weight: a"),
        ({"netG": {"weight": torch.zeros(1)}}, "found netG: a mapping of 1 entries"),
        ({"generator": {}}, "found an empty mapping"),
    ],
)
def test_what_is_found_in_place_of_weights_is_described(content, found):
    with pytest.raises(InputError, match=found):
        state_of(content, "g.pth", "generator")
