"""`sair weights`: what is downloaded, copied, unpacked and verified, what is refused, and that one folder is enough."""

import hashlib
import io
import json
import socket
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import open_clip
import pytest
import torch
import yaml

from sair import weights
from sair.commands import doctor
from sair.commands.cli import main
from sair.common.errors import InputError
from sair.methods.origins import merge
from sair.models.clip import CLIP, build_clip
from sair.models.sam import SAM, DenseSAM
from sair.pipeline.project import Project
from sair.weights import fetch, sources
from sair.weights.sources import File, known

CONTENT = bytes(range(256)) * 64
SMALL_CLIP = {
    "embed_dim": 8,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 32, "patch_size": 16, "width": 16, "layers": 1, "head_width": 8},
    "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 8, "heads": 1, "layers": 1},
}
SMALL_SAM = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 2, "neck_chans": 8}


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def left_in(folder):
    return sorted(path.name for path in folder.rglob("*")) if folder.exists() else []


@pytest.fixture
def server():
    """A server on this machine: ``answers`` by path, the paths it was ``asked`` for, what it calls ``halfway``."""

    class Server(ThreadingHTTPServer):
        answers, asked, halfway = {"/good.pth": CONTENT, "/cut.pth": CONTENT}, [], staticmethod(lambda: None)

        @property
        def url(self):
            return f"http://127.0.0.1:{self.server_port}"

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.asked.append(self.path)
            if self.path not in self.server.answers:
                self.send_error(404)
                return
            content = self.server.answers[self.path]
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2])
            self.server.halfway()
            if self.path != "/cut.pth":
                self.wfile.write(content[len(content) // 2 :])

        def log_message(self, *args):
            pass

    with Server(("127.0.0.1", 0), Handler) as served:
        thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield served
        served.shutdown()
        thread.join()


@pytest.fixture
def describe(nowhere):
    """Give an entry other facts than the published ones, whose files no test has."""

    def change(name, **facts):
        nowhere.setitem(known(), name, known()[name]._replace(**facts))

    return change


# --------------------------------------------------------------------------------------------------------------------
# Downloads


def test_a_download_has_its_name_only_when_it_is_whole_and_right(nowhere, server, tmp_path):
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
def test_what_does_not_arrive_whole_and_right_leaves_nothing(nowhere, server, tmp_path, name, digest, error, message):
    with pytest.raises(error, match=message):
        fetch.download(f"{server.url}/{name}", tmp_path / name, digest)
    assert left_in(tmp_path) == []


def test_the_first_source_that_has_a_file_gives_it(describe, server, tmp_path):
    absent = File("first.pth", sha256(CONTENT), cache="torch", url=f"{server.url}/nothing.pth")
    describe("inception", files=(absent, absent._replace(name="good.pth", url=f"{server.url}/good.pth")))
    path = weights.inception_file()
    assert path == tmp_path / "hub" / "checkpoints" / "good.pth" and path.read_bytes() == CONTENT
    assert weights.inception_file() == path
    assert server.asked == ["/nothing.pth", "/good.pth"], "the second time it is there"


def test_a_file_that_is_nowhere_names_every_source(describe, server):
    describe("inception", files=(File("cut.pth", sha256(CONTENT), cache="torch", url=f"{server.url}/cut.pth"),))
    with pytest.raises(InputError, match=r"(?s)nowhere.*1\. folder of weights.*2\. torch hub.*3\. download.*broke off"):
        weights.inception_file()


# --------------------------------------------------------------------------------------------------------------------
# Into one folder


def test_what_is_on_the_machine_is_copied_and_the_folder_is_then_enough(describe, nowhere, tmp_path):
    describe("sam", files=(File("sam.pth", sha256(CONTENT), cache="torch"),))
    cached = tmp_path / "hub" / "checkpoints" / "sam.pth"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(CONTENT)
    assert main(["weights", "fetch", "sam", "--to", str(tmp_path / "mine")]) == 0
    cached.unlink()
    nowhere.setenv(sources.ENVIRONMENT, str(tmp_path / "mine"))
    assert weights.file("sam") == tmp_path / "mine" / "sam.pth"
    assert left_in(tmp_path / "mine") == ["sam.pth"]
    assert "is there" in fetch.fetch("sam", tmp_path / "mine")


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
    assert "only a browser can fetch it, from https://drive.google.com" in said and "terms: MIT" in said
    assert "Did you mean inception" in said
    assert left_in(tmp_path / "mine") == ["good.pth"]


def test_a_config_needs_what_it_scores_trains_and_encodes_with(config):
    with open("config/paper.yaml", encoding="utf-8") as stream:
        paper = Project(merge(config, yaml.safe_load(stream)), "workflow/schemas/config.schema.yaml")
    assert sources.needed(paper.encoders.values()) == ["alexnet", "lpips", "vgg16", "clip", "sam"]
    mini = Project(config, "workflow/schemas/config.schema.yaml")
    assert sources.needed(mini.encoders.values()) == ["alexnet", "lpips", "vgg16"]


# --------------------------------------------------------------------------------------------------------------------
# Archives


def zipped(*members):
    """A zip of (name, content) pairs; a content that is a string is the target of a symbolic link."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in members:
            member = zipfile.ZipInfo(name)
            member.create_system, member.external_attr = 3, (0o120777 if isinstance(content, str) else 0o100644) << 16
            archive.writestr(member, content)
    return packed.getvalue()


def tarred(*members):
    """A tar of (name, content) pairs, where the content may be a tarfile type and a link's target."""
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
def test_an_archive_that_is_none_or_a_bomb_is_refused(nowhere, tmp_path, write, message):
    write(tmp_path / "packed")
    with pytest.raises(InputError, match=f"packed: {message}") as error:
        fetch.fetch("rfrnet", tmp_path / "mine", tmp_path / "packed")
    assert "\n" not in str(error.value) and left_in(tmp_path / "mine") == []


def test_weights_go_into_a_folder_and_are_verified_where_there_are_any(nowhere, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main(["weights", "fetch", "alexnet", "--to", str(tmp_path / "file")]) == 1
    assert f"{tmp_path / 'file'}: a file, but weights go into a folder" in capsys.readouterr().err
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/other.pth").touch()
    for words, where in (([str(tmp_path / "folder")], str(tmp_path / "folder")), ([], "this machine")):
        assert main(["weights", "verify", *words]) == 1
        captured = capsys.readouterr()
        assert f"{where}: none of the known files is here" in captured.err and captured.out == ""


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_an_authors_archive_becomes_a_folder(nowhere, tmp_path, capsys, pack):
    packed, mine = tmp_path / "packed", tmp_path / "mine"
    packed.write_bytes(pack(("CelebA/readme.txt", b"x")))
    assert main(["weights", "fetch", "rfrnet", "--archive", str(packed), "--to", str(mine)]) == 1
    assert "holds readme.txt, but g_*.pth is wanted" in capsys.readouterr().err and left_in(mine) == []
    packed.write_bytes(pack(("CelebA/g_350000.pth", CONTENT), ("CelebA/readme.txt", b"x")))
    assert main(["weights", "fetch", "rfrnet", "--archive", str(packed), "--to", str(mine)]) == 0
    assert (mine / "rfrnet" / "CelebA" / "g_350000.pth").read_bytes() == CONTENT
    assert "is there" in fetch.fetch("rfrnet", mine)


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


# --------------------------------------------------------------------------------------------------------------------
# List, verify, doctor


def test_verify_tells_right_wrong_and_unknown_apart(describe, tmp_path, capsys):
    describe("inception", files=(File("good.pth", sha256(CONTENT)),))
    (tmp_path / "rfrnet").mkdir()
    (tmp_path / "rfrnet" / "g_1.pth").write_bytes(b"nobody knows")
    (tmp_path / "good.pth").write_bytes(CONTENT)
    assert main(["weights", "verify", str(tmp_path)]) == 0
    right, unknown = capsys.readouterr().out.splitlines()
    assert right.startswith("ok") and sha256(CONTENT) in right
    assert unknown.startswith("unknown") and sha256(b"nobody knows") in unknown and "cannot be judged" in unknown
    (tmp_path / "good.pth").write_bytes(CONTENT[1:])
    assert main(["weights", "verify", str(tmp_path)]) == 1
    wrong = capsys.readouterr().out.splitlines()[0]
    assert wrong.startswith("WRONG") and sha256(CONTENT[1:]) in wrong and sha256(CONTENT) in wrong
    assert main(["weights", "verify", str(tmp_path / "nothing")]) == 1


def test_the_list_says_where_a_file_is_or_how_to_get_it(nowhere, tmp_path, capsys):
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
    assert missing.state == doctor.MISSING and "sair weights fetch clip" in missing.said and "MIT" in missing.said
    (tmp_path / "ViT-B-16.pt").write_bytes(CONTENT)
    nowhere.setenv(sources.ENVIRONMENT, str(tmp_path))
    assert doctor._pretrained("weights clip", openai).state == doctor.WRONG
    describe("clip", files=(File("ViT-B-16.pt", sha256(CONTENT)),))
    found = doctor._pretrained("weights clip", openai)
    assert found.state == doctor.OK and "folder of weights" in found.said


def test_what_is_known_is_consistent():
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
    assert {path.parent.name for path in sources.CARDS.glob("*/card.yaml")} == {
        name.partition("_")[0] for name, facts in known().items() if facts.authors
    }


# --------------------------------------------------------------------------------------------------------------------
# Offline


def torchscript(state, path):
    """A TorchScript archive of these names, as OpenAI's files are."""
    root = torch.nn.Module()
    for name, value in state.items():
        module = root
        *parents, last = name.split(".")
        for parent in parents:
            if not hasattr(module, parent):
                module.add_module(parent, torch.nn.Module())
            module = getattr(module, parent)
        module.register_buffer(last, value)
    torch.jit.save(torch.jit.script(root), path)


@torch.no_grad()
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_clip_sam_and_inception_work_from_one_folder_without_a_network(describe, nowhere, tmp_path):
    def offline(*args):
        raise OSError("no network")

    nowhere.setattr(socket.socket, "connect", offline)
    mine = tmp_path / "mine"
    mine.mkdir()
    nowhere.setenv(sources.ENVIRONMENT, str(mine))
    (tmp_path / "sair-small.json").write_text(json.dumps(SMALL_CLIP))
    open_clip.add_model_config(tmp_path / "sair-small.json")

    torch.manual_seed(0)
    clip, sam = build_clip("sair-small").half(), DenseSAM(SMALL_SAM)
    numbers = {"input_resolution": 32, "context_length": 8, "vocab_size": 49408}
    torchscript({**clip.state_dict(), **{name: torch.tensor(n) for name, n in numbers.items()}}, mine / "ViT-B-16.pt")
    torch.save({f"image_encoder.{k}": v for k, v in sam.visual.state_dict().items()}, mine / "sam_vit_b_01ec64.pth")
    (mine / known()["inception"].files[0].name).write_bytes(CONTENT)
    for name in ("clip", "sam", "inception"):
        file = known()[name].files[0]
        describe(name, files=(file._replace(sha256=sha256((mine / file.name).read_bytes())),))
    describe("clip", pretrained=("sair-small/openai",))

    loaded = CLIP(architecture="sair-small", pretrained="openai").clip.state_dict()
    assert all(torch.equal(loaded[name], value.float()) for name, value in clip.state_dict().items())
    assert loaded["visual.proj"].dtype == torch.float32
    encoder = SAM(architecture=SMALL_SAM, pretrained="weights/sam_vit_b_01ec64.pth").dense
    assert torch.equal(encoder.visual.state_dict()["pos_embed"], sam.visual.state_dict()["pos_embed"])
    assert weights.inception_file().read_bytes() == CONTENT

    for path in mine.iterdir():
        path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(InputError, match=r"ViT-B-16\.pt: wrong content"):
        CLIP(architecture="sair-small", pretrained="openai")
    for named in ("sam_vit_b_01ec64.pth", mine / "sam_vit_b_01ec64.pth"):
        with pytest.raises(InputError, match=r"sam_vit_b_01ec64\.pth: wrong content"):
            SAM(architecture=SMALL_SAM, pretrained=str(named))
