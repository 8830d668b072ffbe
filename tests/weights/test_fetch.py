"""Test `sair weights fetch`: what is downloaded and copied, what is refused, and that one folder is then enough."""

import pytest
import yaml
from helpers.weights import CONTENT, left_in, sha256

from sair import weights
from sair.commands.cli import main
from sair.common.errors import InputError
from sair.methods.origins import merge
from sair.pipeline.project import Project
from sair.weights import fetch, sources
from sair.weights.sources import File


def test_a_download_gets_its_name_only_when_it_is_complete_and_correct(nowhere, server, tmp_path):
    path, seen = tmp_path / "new" / "good.pth", []
    server.halfway = lambda: seen.append(path.exists())
    assert fetch.download(f"{server.url}/good.pth", path, sha256(CONTENT)) == sha256(CONTENT)
    assert path.read_bytes() == CONTENT and seen == [False]
    assert left_in(tmp_path) == ["good.pth", "new"]


@pytest.mark.parametrize(
    ("name", "digest", "error", "message"),
    [
        ("good.pth", "0" * 64, InputError, f"wrong content, sha256 {sha256(CONTENT)}, expected 0000"),
        ("cut.pth", sha256(CONTENT), fetch.Unreachable, f"broke off after {len(CONTENT) // 2} of {len(CONTENT)} bytes"),
        ("cut.pth", None, fetch.Unreachable, "broke off"),
        ("nothing.pth", sha256(CONTENT), fetch.Unreachable, "404"),
    ],
)
def test_a_failed_download_leaves_no_file(nowhere, server, tmp_path, name, digest, error, message):
    with pytest.raises(error, match=message):
        fetch.download(f"{server.url}/{name}", tmp_path / name, digest)
    assert left_in(tmp_path) == []


def test_the_first_source_that_has_a_file_gives_it(describe, server, tmp_path):
    absent = File("first.pth", sha256(CONTENT), cache="torch", url=f"{server.url}/nothing.pth")
    describe("inception", files=(absent, absent._replace(name="good.pth", url=f"{server.url}/good.pth")))
    path = weights.file("inception")
    assert path == tmp_path / "hub" / "checkpoints" / "good.pth" and path.read_bytes() == CONTENT
    assert weights.file("inception") == path
    assert server.asked == ["/nothing.pth", "/good.pth"], "the second time it is there"


def test_the_error_for_a_missing_file_lists_every_source(describe, server):
    describe("inception", files=(File("cut.pth", sha256(CONTENT), cache="torch", url=f"{server.url}/cut.pth"),))
    with pytest.raises(
        InputError, match=r"(?s)not found.*1\. folder of weights.*2\. torch hub.*3\. download.*broke off"
    ):
        weights.file("inception")


def test_a_file_on_the_machine_is_copied_and_the_folder_is_then_enough(describe, nowhere, tmp_path):
    describe("sam", files=(File("sam.pth", sha256(CONTENT), cache="torch"),))
    cached = tmp_path / "hub" / "checkpoints" / "sam.pth"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(CONTENT)
    assert main(["weights", "fetch", "sam", "--to", str(tmp_path / "mine")]) == 0
    cached.unlink()
    nowhere.setenv(sources.ENVIRONMENT, str(tmp_path / "mine"))
    assert weights.file("sam") == tmp_path / "mine" / "sam.pth"
    assert left_in(tmp_path / "mine") == ["sam.pth"]
    assert "already there" in fetch.fetch("sam", tmp_path / "mine")


@pytest.mark.parametrize("place", ["mine", "hub/checkpoints"])
def test_a_wrong_file_is_neither_used_nor_copied_nor_replaced(describe, server, tmp_path, place):
    describe("sam", files=(File("good.pth", sha256(CONTENT), cache="torch", url=f"{server.url}/good.pth"),))
    path = tmp_path / place / "good.pth"
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(InputError, match=r"good\.pth: wrong content"):
        fetch.fetch("sam", tmp_path / "mine")
    assert path.read_bytes() == CONTENT[:-1] and server.asked == []
    assert left_in(tmp_path / "mine") == (["good.pth"] if place == "mine" else [])


def test_each_name_is_tried_and_a_failure_is_the_exit_status(describe, server, tmp_path, capsys):
    describe("inception", files=(File("good.pth", sha256(CONTENT), url=f"{server.url}/good.pth"),))
    assert main(["weights", "fetch", "rfrnet", "inceptoin", "inception", "--to", str(tmp_path / "mine")]) == 1
    said = capsys.readouterr().err
    assert "can only be downloaded with a browser, from https://drive.google.com" in said and "terms: MIT" in said
    assert "Did you mean inception" in said
    assert left_in(tmp_path / "mine") == ["good.pth"]


def test_a_config_needs_weights_for_scores_losses_and_encoders(config):
    with open("config/paper.yaml", encoding="utf-8") as stream:
        paper = Project(merge(config, yaml.safe_load(stream)), "workflow/schemas/config.schema.yaml")
    assert sources.needed(paper.encoders.values()) == ["alexnet", "lpips", "vgg16", "clip", "sam"]
    mini = Project(config, "workflow/schemas/config.schema.yaml")
    assert sources.needed(mini.encoders.values()) == ["alexnet", "lpips", "vgg16"]
