"""Put random weights where published ones are missing, for comparisons of two implementations of one network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

from sair.common.files import file_sha256
from sair.evaluation.metrics import clipscore
from sair.weights import networks
from sair.weights.sources import File, entry, known, local

State = dict[str, Tensor]
CAPTION = "a photo"  # any text: to which side of it the random images of CLIP lie


@contextmanager
def in_place(entries: Iterable[str], folder: Path) -> Iterator[list[str]]:
    """Yield the names of the entries of ``sair weights`` that are missing, while random files stand in for them.

    The files have the format, keys and shapes of the published ones, and the project finds them as it finds those.

    Args:
        entries: names of entries.
        folder: where the random files are written.
    """
    missing = [name for name in dict.fromkeys(entries) if name in MAKERS and not local(entry(name))]
    random = {name: _written(name, folder / f"{name}.pth") for name in missing}
    try:
        with mock.patch.dict(known(), random):
            yield missing
    finally:  # what was read from the random files is not to be taken for published weights
        networks._load.cache_clear()
        clipscore._network.cache_clear()


def _written(name: str, path: Path) -> Any:
    """Write random weights of an entry, and return the entry with this file as its only one."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        MAKERS[name](path)
    # A path that is absolute stays as it is below the folder of weights.
    return entry(name)._replace(files=(File(str(path.resolve()), file_sha256(path)),))


def _of_torchvision(architecture: str, path: Path) -> None:
    import torchvision

    torch.save(getattr(torchvision.models, architecture)(weights=None).state_dict(), path)


def _inception(path: Path, **options: Any) -> None:
    from torchvision.models import inception_v3

    network = inception_v3(weights=None, init_weights=False, **options)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)  # so that features are of the order of one
    torch.save(network.state_dict(), path)


def _dists(path: Path) -> None:
    torch.save({name: torch.rand(1, 1475, 1, 1) for name in ("alpha", "beta")}, path)


def _dinov2(path: Path) -> None:
    import timm

    state = timm.create_model("vit_large_patch14_dinov2", num_classes=0, img_size=518).state_dict()
    for key, value in state.items():
        if key.endswith("gamma"):
            value.fill_(0.1)  # as they start, the blocks have next to no effect
        elif key in ("cls_token", "pos_embed"):
            value.normal_(std=0.5)
    torch.save(state | {"mask_token": torch.zeros(1, 1024)}, path)


@torch.no_grad()
def _clip(architecture: str, path: Path) -> None:
    """Write a CLIP as OpenAI does: a TorchScript archive of half-precision weights."""
    import open_clip

    clip: Any = open_clip.create_model(f"{architecture}-quickgelu", load_weights=False).eval()
    side = clip.visual.image_size[0]
    image, text = clip.encode_image(torch.zeros(1, 3, side, side)), clip.encode_text(open_clip.tokenize([CAPTION]))
    state = {key: value.half() for key, value in clip.state_dict().items()}
    if float(nn.functional.cosine_similarity(image, text)) < 0:
        state["text_projection"] *= -1  # a CLIP score is cut at 0, where any two implementations are equal
    torch.jit.save(torch.jit.script(_tree(state)), path)


def _tree(state: State) -> nn.Module:
    """Return a module without a forward function whose state is the given one."""
    root = nn.Module()
    for key, value in state.items():
        *names, leaf = key.split(".")
        module = root
        for name in names:
            if name not in module._modules:
                module.add_module(name, nn.Module())
            child = module._modules[name]
            assert child is not None
            module = child
        module.register_buffer(leaf, value)
    return root


MAKERS: dict[str, Callable[[Path], None]] = {
    "alexnet": partial(_of_torchvision, "alexnet"),
    "vgg16": partial(_of_torchvision, "vgg16"),
    "squeezenet": partial(_of_torchvision, "squeezenet1_1"),
    "dists": _dists,
    "inception": partial(_inception, num_classes=1008, aux_logits=False),
    "inception_torchvision": _inception,
    "clip_b32": partial(_clip, "ViT-B-32"),
    "clip_l14": partial(_clip, "ViT-L-14"),
    "clip_l14_336": partial(_clip, "ViT-L-14-336"),
    "dinov2_l14": _dinov2,
}
