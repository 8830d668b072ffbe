"""Test atomic writing: the whole file exists, or an error states the cause."""

import os

import pytest

from sair.common.errors import InputError
from sair.common.files import atomic, write_text


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("file/x.csv", "part of its path is a file"),
        ("file/y/x.csv", "part of its path is a file"),
        ("folder", "a folder has this name"),
        ("pipe", "a device or a pipe"),
        ("a" * 252 + ".csv", "at most 255 bytes"),
        ("é" * 126 + ".csv", "at most 255 bytes"),
        ("b" * 256 + "/x.csv", "at most 255 bytes"),
    ],
)
def test_a_file_that_cannot_be_written_is_an_error_with_its_cause(tmp_path, name, message):
    (tmp_path / "file").write_text("kept")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match=message) as caught:
        write_text(tmp_path / name, "text")
    assert str(caught.value).startswith(f"{tmp_path / name}: cannot be written")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder", "pipe"]
    assert (tmp_path / "pipe").is_fifo()


def test_the_working_folder_cannot_be_written_as_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("", "."):
        with pytest.raises(InputError, match="a folder has this name"):
            write_text(name, "text")


@pytest.mark.parametrize("name", ["a" * 251 + ".csv", "é" * 125 + ".csv", "a" * 255, "[x]*?.csv"])
def test_a_name_of_the_largest_length_is_written(tmp_path, name):
    write_text(tmp_path / name, "text")
    with pytest.raises(InputError), atomic(tmp_path / name) as temporary:
        assert len(os.fsencode(temporary.name)) <= 255 and temporary.name.endswith((tmp_path / name).suffix)
        temporary.write_text("half")
        raise OSError(28, "No space left on device")
    assert [path.name for path in tmp_path.iterdir()] == [name] and (tmp_path / name).read_text() == "text"


def test_leftover_files_with_long_names_or_brackets_are_removed(tmp_path):
    for name in ("a" * 251 + ".csv", "[x].csv"):
        with atomic(tmp_path / name) as temporary:
            left = temporary.with_name(temporary.name.replace(f".{os.getpid()}.", ".999999999."))
            left.write_text("half")
            temporary.write_text("whole")
        assert left.exists()
        write_text(tmp_path / name, "text")
        assert not left.exists()
