"""Test lists of a split in the forms that tools and people write."""

import os
import unicodedata

import pytest

from sair.common.errors import InputError
from sair.data.lists import read_list

NAMES = ["1.png", "2.png", "s/3.jpg", "my photo (1).png", "#5.png", " lead.png", "é.png"]


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Return the folder data/images below the working folder, which is also the home folder."""
    for name in NAMES:
        path = tmp_path / "data/images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path / "data/images"


def listed(root, data, given=None):
    path = root.parent / "list.txt"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    given = root if given is None else given
    return [file.relative_to(given).as_posix() for file in read_list(path, [given / name for name in NAMES], given)]


@pytest.mark.parametrize(
    "text",
    [
        "1.png\ns/3.jpg",
        "1\ns/3\n",
        "./1.png\n./s/3.jpg\n",
        "s/../1.png\ns//3.jpg\n",
        "1.png\r\ns/3.jpg\r\n",
        "1.png\rs/3.jpg\r",
        "\ufeff1.png\ns/3.jpg\n",
        " 1.png \n\n\ts/3.jpg\t\n",
        "# test\n1.png\n  # more\ns/3.jpg\n",
        ".\\1.png\ns\\3.jpg\n",
        "images/1.png\nimages/s/3\n",
        "data/images/1.png\n./data/images/s/3.jpg\n",
        "~/data/images/1.png\n~/data/images/s/3.jpg\n",
        "ROOT/1.png\nROOT/s/3.jpg\n",
        "LINK/1.png\nLINK/s/3.jpg\n",
    ],
)
def test_a_name_may_be_written_in_many_ways(root, text):
    link = root.parent / "link"
    link.symlink_to(root)
    text = text.replace("ROOT", str(root)).replace("LINK", str(link))
    given = link if "link" in text else None
    assert listed(root, text, given) == ["1.png", "s/3.jpg"]
    relative = os.path.relpath(root)
    paths = [type(root)(relative) / name for name in NAMES]
    if given is None:  # the folder as a config names it
        assert read_list(root.parent / "list.txt", paths, type(root)(relative)) == [paths[0], paths[2]]


def test_unusual_names_are_accepted(root):
    assert listed(root, "#5.png\nmy photo (1).png\n lead.png\n") == ["#5.png", "my photo (1).png", " lead.png"]
    for form in ("NFC", "NFD"):
        assert listed(root, unicodedata.normalize(form, "é.png")) == ["é.png"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("1.png 0\n2.png 1\n", r"'1\.png 0' is more than a name.*remove labels"),
        ("1.png,cat\n", "is more than a name"),
        ("1.png\tcat dog\n", "is more than a name"),
        ("my photo (1).png 3\n", "is more than a name"),
        ("7.png\n", r"7\.png is not below .*images\. Correct the line"),
        ("../1.png\n", "is not below"),
        ("/elsewhere/1.png\n", "is not below"),
        ("1.jpg\n", r"1\.jpg is not below .*\. There is 1\.png: case, ending and leading zeros must .* Correct"),
        ("1.PNG\n", r"There is 1\.png: case, ending and leading zeros must be"),
        ("S/3\n", r"There is s/3\.jpg: case, ending and leading zeros must be"),
        ("images/S/3.JPG\n", r"There is s/3\.jpg: case, ending and leading zeros must be"),
        ("0001.png\n", r"There is 1\.png: case, ending and leading zeros must be"),
        ("1.png\n./1.png\n", r"names 1\.png twice"),
        ("1.png\n1\n", r"names 1\.png twice"),
        ("", "names no image"),
        ("# nothing\n", "names no image"),
        ("1.png\n".encode("utf-16"), "UTF-16"),
        ("1.png\n".encode("utf-16-le"), "UTF-16"),
        ("ä.png\n".encode("latin-1"), "is not UTF-8"),
    ],
)
def test_a_wrong_list_is_refused_with_the_remedy(root, data, message):
    with pytest.raises(InputError, match=message) as caught:
        listed(root, data)
    assert "list.txt" in str(caught.value)


def test_a_list_that_is_not_a_file_is_refused(root):
    for path in (root, root / "none.txt"):
        with pytest.raises(InputError, match="not a readable list of images"):
            read_list(path, [], root)
