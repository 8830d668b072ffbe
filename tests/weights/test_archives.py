"""Test authors' archives: they are unpacked into a folder, and refused if they are damaged or would leave it."""

import io
import tarfile
import zipfile

import pytest
from helpers.weights import CONTENT, left_in, sha256

from sair.commands.cli import main
from sair.common.errors import InputError
from sair.weights import fetch
from sair.weights.sources import File


def zipped(*members):
    """Return a zip of (name, content) pairs; a content that is a string is the target of a symbolic link."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in members:
            member = zipfile.ZipInfo(name)
            member.create_system, member.external_attr = 3, (0o120777 if isinstance(content, str) else 0o100644) << 16
            archive.writestr(member, content)
    return packed.getvalue()


def tarred(*members):
    """Return a tar of (name, content) pairs, where the content may be a tarfile type and a link's target."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
            else:
                member.type, member.linkname = content
                archive.addfile(member)
    return packed.getvalue()


ESCAPING = {
    "zip parent": zipped(("g_1.pth", CONTENT), ("../evil", b"x")),
    "zip deep parent": zipped(("g_1.pth", CONTENT), ("a/../../evil", b"x")),
    "zip backslash": zipped(("g_1.pth", CONTENT), ("..\\evil", b"x")),
    "zip absolute": zipped(("g_1.pth", CONTENT), ("/tmp/sair-evil", b"x")),
    "zip drive": zipped(("g_1.pth", CONTENT), ("C:\\evil", b"x")),
    "zip link": zipped(("g_1.pth", CONTENT), ("evil", "../../outside")),
    "tar parent": tarred(("g_1.pth", CONTENT), ("../evil", b"x")),
    "tar absolute": tarred(("g_1.pth", CONTENT), ("/tmp/sair-evil", b"x")),
    "tar link": tarred(("g_1.pth", CONTENT), ("evil", (tarfile.SYMTYPE, "../../outside"))),
    "tar absolute link": tarred(("g_1.pth", CONTENT), ("evil", (tarfile.SYMTYPE, "/tmp"))),
    "tar hard link": tarred(("g_1.pth", CONTENT), ("evil", (tarfile.LNKTYPE, "../../outside"))),
    "tar device": tarred(("g_1.pth", CONTENT), ("evil", (tarfile.FIFOTYPE, ""))),
    "truncated zip": zipped(("g_1.pth", CONTENT))[:-40],
    "damaged zip": zipped(("g_1.pth", CONTENT)).replace(CONTENT[:64], bytes(64)),
    "truncated tar": tarred(("g_1.pth", CONTENT))[:-40],
}


@pytest.mark.parametrize("content", ESCAPING.values(), ids=ESCAPING.keys())
def test_an_archive_that_would_escape_or_is_damaged_leaves_nothing(nowhere, tmp_path, content):
    packed = tmp_path / "packed"
    packed.write_bytes(content)
    with pytest.raises(InputError, match=r"packed: "):
        fetch.fetch("rfrnet", tmp_path / "deep" / "mine", packed)
    assert left_in(tmp_path) == ["deep", "mine", "packed"]


def bomb_zip(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("g_1.pth", bytes(100 << 20))


def bomb_of_many(path):
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(10_001):
            archive.writestr(f"{number}.txt", b"")


def bomb_tar(path):
    class Zeros(io.RawIOBase):
        def read(self, size=-1):
            return bytes(size)

    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        member = tarfile.TarInfo("g_1.pth")
        member.size = 100 << 20
        archive.addfile(member, Zeros())


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (bomb_zip, "far larger when it is unpacked"),
        (bomb_of_many, "far larger when it is unpacked"),
        (bomb_tar, "far larger when it is unpacked"),
        (lambda path: path.write_text("<!DOCTYPE html><title>Quota exceeded</title>"), "neither .* but a web page"),
        (lambda path: path.write_bytes(b""), "neither .* but an empty file"),
        (lambda path: path.mkdir(), "a folder. Name the zip or tar"),
        (lambda path: None, "no such file. Name the zip or tar"),
    ],
)
def test_a_file_that_is_not_an_archive_or_is_a_bomb_is_refused(nowhere, tmp_path, write, message):
    write(tmp_path / "packed")
    with pytest.raises(InputError, match=f"packed: {message}") as error:
        fetch.fetch("rfrnet", tmp_path / "mine", tmp_path / "packed")
    assert "\n" not in str(error.value) and left_in(tmp_path / "mine") == []


def test_weights_go_into_a_folder_and_are_verified_where_there_are_any(nowhere, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main(["weights", "fetch", "alexnet", "--to", str(tmp_path / "file")]) == 1
    assert f"{tmp_path / 'file'}: is a file, but weights are stored in a folder" in capsys.readouterr().err
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/other.pth").touch()
    for words, where in (([str(tmp_path / "folder")], str(tmp_path / "folder")), ([], "this machine")):
        assert main(["weights", "verify", *words]) == 1
        captured = capsys.readouterr()
        assert f"{where}: no known file was found" in captured.err and captured.out == ""


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_an_authors_archive_becomes_a_folder(nowhere, tmp_path, capsys, pack):
    packed, mine = tmp_path / "packed", tmp_path / "mine"
    packed.write_bytes(pack(("CelebA/readme.txt", b"x")))
    assert main(["weights", "fetch", "rfrnet", "--archive", str(packed), "--to", str(mine)]) == 1
    assert "contains readme.txt, but rfrnet needs g_*.pth" in capsys.readouterr().err and left_in(mine) == []
    packed.write_bytes(pack())
    assert main(["weights", "fetch", "rfrnet", "--archive", str(packed), "--to", str(mine)]) == 1
    assert "contains no file, but rfrnet needs g_*.pth" in capsys.readouterr().err and left_in(mine) == []
    packed.write_bytes(pack(("CelebA/g_350000.pth", CONTENT), ("CelebA/readme.txt", b"x")))
    assert main(["weights", "fetch", "rfrnet", "--archive", str(packed), "--to", str(mine)]) == 0
    assert (mine / "rfrnet" / "CelebA" / "g_350000.pth").read_bytes() == CONTENT
    assert "already there" in fetch.fetch("rfrnet", mine)


def test_a_downloaded_archive_and_the_file_in_it_are_both_checked(describe, server, tmp_path):
    packed = zipped(("big-lama/models/best.ckpt", CONTENT), ("big-lama/config.yaml", b"x"))
    server.answers["/big-lama.zip"] = packed
    right = File("big-lama/models/best.ckpt", sha256(CONTENT))
    archive = File("big-lama.zip", sha256(packed), url=f"{server.url}/big-lama.zip")
    for files, wrong in (((right._replace(sha256="0" * 64),), archive), ((right,), archive._replace(sha256="0" * 64))):
        describe("lama_big", files=files, archive=wrong)
        with pytest.raises(InputError, match="wrong content"):
            fetch.fetch("lama_big", tmp_path / "mine")
        assert left_in(tmp_path / "mine") == []
    describe("lama_big", files=(right,), archive=archive)
    fetch.fetch("lama_big", tmp_path / "mine")
    assert (tmp_path / "mine" / "lama_big" / right.name).read_bytes() == CONTENT
    assert not list(tmp_path.rglob("*.zip"))
