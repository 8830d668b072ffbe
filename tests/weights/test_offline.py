"""Test that CLIP, SAM and Inception are read from one folder of weights, without a network."""

import json
import socket

import open_clip
import pytest
import torch
from helpers.weights import CONTENT, sha256

from sair import weights
from sair.common.errors import InputError
from sair.models.clip import CLIP, build_clip
from sair.models.sam import SAM, DenseSAM
from sair.weights import sources
from sair.weights.sources import known

SMALL_CLIP = {
    "embed_dim": 8,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 32, "patch_size": 16, "width": 16, "layers": 1, "head_width": 8},
    "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 8, "heads": 1, "layers": 1},
}
SMALL_SAM = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 2, "neck_chans": 8}


def torchscript(state, path):
    """Write a TorchScript archive with these names, in the form of OpenAI's files."""
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
    assert weights.file("inception").read_bytes() == CONTENT

    for path in mine.iterdir():
        path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(InputError, match=r"ViT-B-16\.pt: wrong content"):
        CLIP(architecture="sair-small", pretrained="openai")
    for named in ("sam_vit_b_01ec64.pth", mine / "sam_vit_b_01ec64.pth"):
        with pytest.raises(InputError, match=r"sam_vit_b_01ec64\.pth: wrong content"):
            SAM(architecture=SMALL_SAM, pretrained=str(named))
