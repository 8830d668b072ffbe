"""Test `sair weights list` and `verify`, the doctor's view of encoders, and the list of known files."""

import open_clip
from helpers.weights import CONTENT, sha256

from sair.commands import doctor
from sair.commands.cli import main
from sair.weights import sources
from sair.weights.cards import card_files, read_card
from sair.weights.sources import File, known


def test_verify_distinguishes_right_wrong_and_unknown_files(describe, tmp_path, capsys):
    describe("inception", files=(File("good.pth", sha256(CONTENT)),))
    (tmp_path / "rfrnet").mkdir()
    (tmp_path / "rfrnet" / "g_1.pth").write_bytes(b"nobody knows")
    (tmp_path / "good.pth").write_bytes(CONTENT)
    assert main(["weights", "verify", str(tmp_path)]) == 0
    right, unknown = capsys.readouterr().out.splitlines()
    assert right.startswith("ok") and sha256(CONTENT) in right
    assert unknown.startswith("unknown") and sha256(b"nobody knows") in unknown and "cannot be checked" in unknown
    (tmp_path / "good.pth").write_bytes(CONTENT[1:])
    assert main(["weights", "verify", str(tmp_path)]) == 1
    wrong = capsys.readouterr().out.splitlines()[0]
    assert wrong.startswith("WRONG") and sha256(CONTENT[1:]) in wrong and sha256(CONTENT) in wrong
    assert main(["weights", "verify", str(tmp_path / "nothing")]) == 1


def test_the_list_shows_where_a_file_is_or_how_to_get_it(nowhere, tmp_path, capsys):
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    (tmp_path / "hub" / "checkpoints" / known()["sam"].files[0].name).write_bytes(b"not opened")
    assert main(["weights", "list"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "torch hub's cache" in lines["sam"] and "Apache-2.0" in lines["sam"]
    assert "sair weights fetch inception" in lines["inception"] and "95.6 MB" in lines["inception"]
    assert "by hand: https://drive.google.com" in lines["misf"]


def test_the_doctor_finds_encoders_by_the_same_sources(describe, nowhere, tmp_path):
    openai = {"architecture": "ViT-B-16-quickgelu", "pretrained": "openai"}
    missing = doctor._pretrained("weights clip", openai)
    assert (
        missing.state == doctor.MISSING
        and "sair weights fetch clip" in missing.description
        and "MIT" in missing.description
    )
    (tmp_path / "ViT-B-16.pt").write_bytes(CONTENT)
    nowhere.setenv(sources.ENVIRONMENT, str(tmp_path))
    assert doctor._pretrained("weights clip", openai).state == doctor.WRONG
    describe("clip", files=(File("ViT-B-16.pt", sha256(CONTENT)),))
    found = doctor._pretrained("weights clip", openai)
    assert found.state == doctor.OK and "folder of weights" in found.description


def test_known_facts_are_consistent():
    for name, facts in known().items():
        assert facts.licence and facts.page.startswith("https://") and facts.use, name
        for one in (*facts.files, *((facts.archive,) if facts.archive else ())):
            assert one.sha256 is None or len(one.sha256) == 64, name
            assert one.url is None or one.sha256, f"{name}: what is downloaded can be judged"
    # What the publishers themselves say of a hash: its head in the file's name, or all of it in the address.
    for name in ("alexnet", "vgg16", "inception"):
        file = known()[name].files[0]
        assert file.name.endswith(f"-{file.sha256[:8]}.pth")
    assert f"/{known()['clip'].files[0].sha256}/" in known()["clip"].files[0].url
    openai = open_clip.get_pretrained_cfg("ViT-B-16-quickgelu", "openai")
    assert openai["url"] == known()["clip"].files[0].url and openai["hf_hub"] in known()["clip"].files[1].cache
    listed = [name for card in map(read_card, card_files()) for name in card["weights"]]
    assert sorted(listed) == sorted(name for name, facts in known().items() if facts.authors)
    assert all(read_card(name)["code"]["licence"] for name in card_files())
