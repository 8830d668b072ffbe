"""Test listing a folder: which files are images, which are ignored, and which cause a warning or an error."""

import os
import unicodedata

import pytest
from PIL import Image

from sair.common.errors import InputError
from sair.common.listing import find, image_id, images_by_id, list_images


def touch(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def names(folder):
    return [path.relative_to(folder).as_posix() for path in list_images(folder)]


def test_hidden_files_are_ignored_below_the_folder_but_not_above_it(tmp_path, capsys):
    folder = tmp_path / ".cache/set"
    hidden = [".ipynb_checkpoints/a-checkpoint.png", ".thumbnails/a.png", "x/.git/b.png", "._a.png", ".DS_Store"]
    touch(*(folder / name for name in ("a.png", "x/b.JPG", "__MACOSX/._a.png", "@eaDir/a.png", *hidden)))
    assert names(folder) == ["a.png", "x/b.JPG"]
    assert capsys.readouterr().err == ""


def test_linked_folders_are_followed_and_loops_end(tmp_path):
    folder = tmp_path / "set"
    touch(folder / "a.png", tmp_path / "real/1.png", tmp_path / "real/deep/2.png")
    for link, target in {"first": "real", "second": "real"}.items():
        (folder / link).symlink_to(tmp_path / target)
    (tmp_path / "real/deep/up").symlink_to(tmp_path / "real")
    (folder / "self").symlink_to(folder)
    (folder / "file.png").symlink_to(tmp_path / "real/1.png")
    linked = [f"{link}/{name}" for link in ("first", "second") for name in ("1.png", "deep/2.png")]
    assert names(folder) == ["a.png", "file.png", *linked]
    (tmp_path / "link").symlink_to(folder)
    assert len(list_images(tmp_path / "link")) == 6
    (tmp_path / "only").mkdir()
    (tmp_path / "only/s").symlink_to(tmp_path / "real")
    assert names(tmp_path / "only") == ["s/1.png", "s/deep/2.png"]


@pytest.mark.parametrize("name", ["b.png", "folder", "sub/c.jpg"])
def test_a_broken_link_is_named(tmp_path, name):
    touch(tmp_path / "set/a.png", tmp_path / "set/sub/a.png")
    (tmp_path / "set" / name).symlink_to(tmp_path / "gone")
    with pytest.raises(InputError, match=rf"{name}: a link to .*gone, which does not exist"):
        list_images(tmp_path / "set")


def test_files_that_are_not_read_are_named_once(tmp_path, capsys):
    unread = ["b.avif", "c.tga", "d.HEIC", "e.png.bak", "f", "g.npy"]
    touch(*(tmp_path / name for name in ("a.png", "list.txt", "scores.csv", "Thumbs.db", *unread)))
    assert names(tmp_path) == names(tmp_path) == ["a.png"]
    warning = capsys.readouterr().err
    assert warning.count("warning") == 1 and f"6 files are not read and left out: {', '.join(unread)}" in warning
    (tmp_path / "a.png").unlink()
    with pytest.raises(InputError, match=r"no images in it .*not read: b\.avif, c\.tga"):
        list_images(tmp_path)


def test_every_ending_that_is_listed_can_be_read(tmp_path):
    from sair.common.images import read_rgb

    endings = ["png", "jpg", "jpeg", "jpe", "jfif", "bmp", "dib", "tif", "tiff", "webp", "gif"]
    endings += ["ppm", "pgm", "pbm", "pnm", "PNG", "Jpg"]
    for number, ending in enumerate(endings):
        Image.new("L", (4, 4), 255).convert("1" if ending == "pbm" else "L").save(tmp_path / f"{number}.{ending}")
    assert all((read_rgb(path) == 255).all() for path in list_images(tmp_path))
    assert len(list_images(tmp_path)) == len(endings)


def test_a_path_that_is_not_a_folder_is_refused(tmp_path):
    touch(tmp_path / "a.png")
    for folder, message in (("a.png", "is a file, expected a folder"), ("none", "no such folder")):
        with pytest.raises(InputError, match=message):
            list_images(tmp_path / folder)
    os.mkdir(tmp_path / "b.png")
    touch(tmp_path / "b.png/c.png")
    assert names(tmp_path) == ["a.png", "b.png/c.png"], "a folder may be named like an image"
    os.mkfifo(tmp_path / "d.png")
    assert names(tmp_path) == ["a.png", "b.png/c.png"], "reading does not wait for something that is not a file"


def test_a_name_that_is_not_utf8_is_refused(tmp_path):
    touch(tmp_path / "a.png")
    with open(os.fsencode(tmp_path) + b"/\xff.png", "wb"):
        pass
    with pytest.raises(InputError, match="not UTF-8"):
        list_images(tmp_path)


@pytest.mark.parametrize("mark", ["\r", "\n", "\t", "\x7f", "\u2028"])
def test_a_name_with_a_line_break_is_refused(tmp_path, mark):
    touch(tmp_path / f"a{mark}b.png")
    with pytest.raises(InputError, match="control character"):
        list_images(tmp_path)


def test_ids_are_composed_and_unique(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))
    touch(tmp_path / f"x/{decomposed}.png")
    assert list(images_by_id(tmp_path)) == [f"x/{composed}"]
    assert image_id(tmp_path / f"x/{decomposed}.png", tmp_path) == f"x/{composed}"
    touch(tmp_path / f"x/{composed}.png")
    with pytest.raises(InputError, match=r"have the same id.*differ only in how accented characters are written"):
        images_by_id(tmp_path)
    (tmp_path / f"x/{decomposed}.png").rename(tmp_path / f"x/{composed}.jpg")
    with pytest.raises(InputError, match=r"have the same id, 'x/é'\. Expected one"):
        images_by_id(tmp_path)
    touch(tmp_path / f"{composed}/a.png", tmp_path / f"{decomposed}/a.png")
    with pytest.raises(InputError, match="composed or decomposed"):
        images_by_id(tmp_path)


def test_a_file_is_found_under_its_other_spelling(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))
    touch(tmp_path / decomposed / f"{decomposed}.png")
    assert find(tmp_path / composed / f"{composed}.png") == tmp_path / decomposed / f"{decomposed}.png"
    assert find(tmp_path / "none/a.png") == tmp_path / "none/a.png"
