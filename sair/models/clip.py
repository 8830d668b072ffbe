"""Compute text-aligned embeddings with CLIP, of whole images and densely (paper, section 4.2).

Dense: MaskCLIP's read-out (Zhou et al., ECCV 2022). In the last block attention is replaced by its value path, so every
patch keeps its own content; the layers behind it are applied to every patch instead of to the class token. No weight
is added and the joint space is unchanged, so a patch can be compared with text. It works on any open_clip ViT: the
small one that a rule trains on the embedded faces, or ViT-B/16 with OpenAI's weights. Only config and weights differ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import open_clip
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sair import weights
from sair.common.errors import InputError
from sair.models.resizing import resize
from sair.weights.openai import clip_state

IGNORE_INDEX = -100  # label of pixels that the loss leaves out
OPENAI_FILE = "ViT-B-16.pt"
TEXTS = 256  # number of texts embedded at once
# Up to this number of tokens, a CPU computes attention by plain products. They are twice as fast as the fused kernel,
# but their memory grows with the square of the number of tokens.
PLAIN_ATTENTION = 1024
IN_A_SCENE = ("there is a {}", "there is the {}", "this is a {}", "this is the {}", "this is one {}")
# Sentences whose mean embedding represents a class. MaskCLIP (Zhou et al., ECCV 2022) takes the 80 that CLIP's authors
# published for ImageNet and five of its own. Four are enough for the small CLIP, which is trained with them.
PROMPTS = {
    "small": ("a photo of {}.", "{}.", "a photo of the {}.", "a close-up of the {}."),
    "maskclip": (
        *(template("{}") for template in open_clip.OPENAI_IMAGENET_TEMPLATES),
        *(f"{start} in the scene." for start in IN_A_SCENE),
    ),
}


class DenseCLIP(nn.Module):
    """The image tower of an open_clip ViT, read densely.

    Args:
        visual: open_clip's VisionTransformer.
        residual: keep the last block's residual connection around the value path, as MaskCLIP's code does.
        mlp: keep the last block's MLP, as MaskCLIP's code does.
        mean, std: CLIP's own input normalisation, three values each. (MaskCLIP's fork uses ImageNet's.)
    """

    mean: Tensor
    std: Tensor
    visual: Any  # open_clip's VisionTransformer

    def __init__(
        self,
        visual: nn.Module,
        residual: bool = True,
        mlp: bool = True,
        mean: Sequence[float] = open_clip.OPENAI_DATASET_MEAN,
        std: Sequence[float] = open_clip.OPENAI_DATASET_STD,
    ) -> None:
        super().__init__()
        self.visual, self.residual, self.mlp = visual, residual, mlp
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    @property
    def channels(self) -> int:
        """Return the size of an embedding."""
        return self.visual.proj.shape[1]

    def normalise(self, images: Tensor, masks: Tensor | None = None) -> Tensor:
        """Turn (B, 3, H, W) in [0, 1] into CLIP's input; holes become 0, which is CLIP's mean colour."""
        x = (images - self.mean) / self.std
        return x if masks is None else x * (1 - masks)

    def forward(self, images: Tensor, masks: Tensor | None = None) -> Tensor:
        """Return the dense embeddings of images.

        Args:
            images: (B, 3, H, W) in [0, 1], any size; the positional embedding is resized (bicubic) to the image's grid.
            masks: (B, 1, H, W), 1 = hole, shown to CLIP as its mean colour.

        Returns:
            (B, channels, ceil(H / patch), ceil(W / patch)), unit length
        """
        tokens, grid = self.trunk(images, masks)
        return self.read_densely(tokens).transpose(1, 2).unflatten(2, grid)

    def trunk(self, images: Tensor, masks: Tensor | None = None) -> tuple[Tensor, tuple[int, int]]:
        """Return the input of the last block, (B, 1 + h * w, width), the class token first; and (h, w)."""
        visual = self.visual
        x = self.normalise(images, masks)
        patch_height, patch_width = visual.patch_size
        x = F.pad(x, (0, -x.shape[-1] % patch_width, 0, -x.shape[-2] % patch_height))
        x = visual.conv1(x)
        batch, _, height, width = x.shape
        x = x.flatten(2).transpose(1, 2)
        x = torch.cat([visual.class_embedding.to(x.dtype).expand(batch, 1, -1), x], dim=1)
        x = visual.ln_pre(x + self._positions(height, width).to(x.dtype))
        for block in visual.transformer.resblocks[:-1]:
            x = _attend(block, x)
        return x, (height, width)

    def read_densely(self, tokens: Tensor) -> Tensor:
        """Apply the last block as MaskCLIP does: (B, 1 + N, width) -> (B, N, channels), unit length."""
        x, last = tokens[:, 1:], self.visual.transformer.resblocks[-1]
        width = x.shape[-1]
        # `in_proj` computes queries, keys and values, in this order: its last third gives the values.
        value = F.linear(last.ln_1(x), last.attn.in_proj_weight[-width:], last.attn.in_proj_bias[-width:])
        value = last.attn.out_proj(value)
        x = x + value if self.residual else value
        if self.mlp:
            x = x + last.mlp(last.ln_2(x))
        return self._project(x)

    def read_whole(self, tokens: Tensor) -> Tensor:
        """Apply CLIP's own last block: (B, 1 + N, width) -> the images' embeddings (B, channels), unit length."""
        return self._project(_attend(self.visual.transformer.resblocks[-1], tokens)[:, 0])

    def _project(self, x: Tensor) -> Tensor:
        return F.normalize((self.visual.ln_post(x) @ self.visual.proj).float(), dim=-1)

    def _positions(self, height: int, width: int) -> Tensor:
        """Return the positional embedding of the class token and a grid, (1 + height * width, width)."""
        table = self.visual.positional_embedding
        grid_height, grid_width = self.visual.grid_size
        if (height, width) == (grid_height, grid_width):
            return table
        grid = table[1:].T.unflatten(1, (grid_height, grid_width))[None]
        grid = resize(grid.float(), (height, width), "bicubic")
        return torch.cat([table[:1], grid[0].flatten(1).T.to(table.dtype)])


def _attend(block: Any, x: Tensor) -> Tensor:
    """Apply one of open_clip's residual attention blocks, (B, N, width) -> the same shape.

    The formula is that of the block's own ``forward``. ``nn.MultiheadAttention`` is avoided because it swaps the first
    two axes, and PyTorch computes a linear layer of swapped axes with one copy of the weights for each token.
    """
    attention, normed = block.attn, block.ln_1(x)
    qkv = F.linear(normed, attention.in_proj_weight, attention.in_proj_bias)
    q, k, v = qkv.unflatten(-1, (3, attention.num_heads, -1)).permute(2, 0, 3, 1, 4)
    if x.device.type == "cpu" and x.shape[1] <= PLAIN_ATTENTION:
        attended = (q * q.shape[-1] ** -0.5 @ k.transpose(-1, -2)).softmax(-1) @ v
    else:
        attended = F.scaled_dot_product_attention(q, k, v)
    x = x + block.ls_1(attention.out_proj(attended.transpose(1, 2).flatten(2)))
    return x + block.ls_2(block.mlp(block.ln_2(x)))


def build_clip(architecture: str | dict[str, Any]) -> open_clip.CLIP:
    """Build an untrained CLIP.

    Args:
        architecture: open_clip's name of one (``ViT-B-16-quickgelu``), or a model config like open_clip's.

    Raises:
        InputError: open_clip has no architecture of this name.
    """
    config = open_clip.get_model_config(architecture) if isinstance(architecture, str) else architecture
    if config is None:
        raise InputError(f"open_clip has no architecture {architecture!r}; see open_clip.list_models().")
    return open_clip.CLIP(**config)


def dense_clip(architecture: str | dict[str, Any], residual: bool = True, mlp: bool = True) -> DenseCLIP:
    """Build an untrained ``DenseCLIP`` without its text tower; arguments as in ``build_clip`` and ``DenseCLIP``."""
    return DenseCLIP(build_clip(architecture).visual, residual, mlp)


class CLIP(nn.Module):
    """A CLIP that can be trained on labelled images with captions, and read densely.

    Training contrasts two things with text: the whole image with its caption (Radford et al., 2021), and every pixel
    of the upsampled dense map with the names of the classes. Without the second part, the dense map of such a small
    model is not aligned with text at all.

    Args:
        architecture: see ``build_clip``.
        pretrained: a tag of open_clip or a weights file. Known weights (``openai`` for ViT-B/16) can come from any
            source of ``sair.weights``. None: train from random weights.
        residual, mlp: see ``DenseCLIP``.
        lr: Adam's learning rate.
        caption_weight: weight of the caption loss, relative to the pixel loss.
        temperature: fixed softmax temperature of the pixel loss.
        prompts: a key of ``PROMPTS``, ``small`` or ``maskclip``.

    ``description`` is what ``SEMANTIC_ENCODERS`` needs to build ``dense`` again.
    """

    def __init__(
        self,
        *,
        architecture: str | dict[str, Any],
        classes: Sequence[str] = (),
        pretrained: str | None = None,
        residual: bool = True,
        mlp: bool = True,
        lr: float = 5e-4,
        caption_weight: float = 0.2,
        temperature: float = 0.07,
        prompts: str = "small",
    ) -> None:
        super().__init__()
        if prompts not in PROMPTS:
            raise InputError(f"CLIP: prompts {prompts!r}: expected one of {', '.join(PROMPTS)}.")
        self.clip = build_clip(architecture)
        self.description = {"name": "clip", "architecture": architecture, "residual": residual, "mlp": mlp}
        if pretrained:
            _load_pretrained(self.clip, architecture, pretrained)
        self.dense = DenseCLIP(self.clip.visual, residual, mlp)
        self.classes, self.prompts = tuple(classes), PROMPTS[prompts]
        self.lr, self.caption_weight, self.temperature = lr, caption_weight, temperature
        self._tokenize = open_clip.SimpleTokenizer(context_length=self.clip.context_length)

    def text(self, prompts: Sequence[str]) -> Tensor:
        """Return the embeddings of texts, (K, channels), unit length."""
        tokens = self._tokenize(list(prompts)).to(self.clip.text_projection.device, non_blocking=True)
        return self.clip.encode_text(tokens, normalize=True).float()

    def class_embeddings(self, classes: Sequence[str] | None = None) -> Tensor:
        """Return one embedding per class, the mean over its prompts, (K, channels), unit length."""
        names = self.classes if classes is None else classes
        texts = [prompt.replace("{}", name) for name in names for prompt in self.prompts]
        # Computed in parts: 85 prompts for each of 150 classes at once would take gigabytes in the text tower.
        parts = [self.text(texts[start : start + TEXTS]) for start in range(0, len(texts), TEXTS)]
        return F.normalize(torch.cat(parts).unflatten(0, (len(names), len(self.prompts))).mean(1), dim=-1)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Return the optimizers that ``training_step`` steps, by name."""
        return {"clip": torch.optim.Adam(self.parameters(), lr=self.lr)}

    def training_step(self, batch: dict[str, Any], step: Callable[[str, Tensor], None]) -> dict[str, Tensor]:
        """Take one step on ``images`` (B, 3, H, W), ``labels`` (B, H, W) and ``captions`` (B strings)."""
        images, labels = batch["images"], batch["labels"]
        tokens, grid = self.dense.trunk(images)
        dense = self.dense.read_densely(tokens).transpose(1, 2).unflatten(2, grid)
        pixel = self._pixel_loss(dense, labels)
        caption = self._caption_loss(self.dense.read_whole(tokens), batch["captions"])
        loss = pixel + self.caption_weight * caption
        step("clip", loss)
        return {"loss": loss, "pixel": pixel, "caption": caption}

    def _pixel_loss(self, dense: Tensor, labels: Tensor) -> Tensor:
        text = self.class_embeddings()
        cosine = torch.einsum("bchw,kc->bkhw", dense, text)
        cosine = F.interpolate(cosine, labels.shape[-2:], mode="bilinear", align_corners=False)
        labels = labels.long()
        share = shares(labels, len(text))
        # Inverse square-root class weights: without weights rare classes (eyes) are lost, with full inverse weights
        # they are over-predicted.
        weight = share.clamp_min(1e-4).rsqrt()
        labels = labels.masked_fill(labels >= len(text), IGNORE_INDEX)
        return pixel_cross_entropy(cosine / self.temperature, labels, weight)

    def _caption_loss(self, images: Tensor, captions: Sequence[str]) -> Tensor:
        logits = self.clip.logit_scale.exp().clamp(max=100) * images @ self.text(captions).T
        target = torch.arange(len(logits), device=logits.device)
        return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def shares(labels: Tensor, classes: int) -> Tensor:
    """Return the share of each class among the labelled pixels, (classes,); labels from ``classes`` on are left out.

    ``bincount`` and selecting by a mask are avoided, because they wait for the device to return the size of the result.
    """
    flat = labels.flatten().clamp_max(classes)
    count = flat.new_zeros(classes + 1).scatter_add_(0, flat, torch.ones_like(flat))[:classes]
    return count / count.sum().clamp_min(1)


def pixel_cross_entropy(logits: Tensor, labels: Tensor, weight: Tensor) -> Tensor:
    """Return the weighted mean cross entropy of logits (B, K, H, W) and labels (B, H, W), ``IGNORE_INDEX`` left out.

    Pixels are laid out as rows, because CUDA has a deterministic kernel for (N, K) but none for (B, K, H, W).
    """
    rows = logits.movedim(1, -1).flatten(0, -2)
    return F.cross_entropy(rows, labels.flatten(), weight, ignore_index=IGNORE_INDEX)


def _load_pretrained(clip: open_clip.CLIP, architecture: str | dict[str, Any], pretrained: str) -> None:
    """Fill a CLIP from a weights file or from open_clip's source of a tag; strictly, and without running a pickle."""
    file: str | Path | None = weights.resolve(pretrained, architecture)
    config = open_clip.get_pretrained_cfg(architecture, pretrained) if isinstance(architecture, str) else {}
    try:
        if isinstance(file, Path) and file.name == OPENAI_FILE:
            clip.load_state_dict(clip_state(file), strict=True)
        else:
            file = file or (open_clip.download_pretrained(config) if config else pretrained)
            open_clip.load_checkpoint(clip, str(file), strict=True, weights_only=True)
    except Exception as error:  # every hub, cache and file format fails in its own way
        raise InputError(
            f"CLIP weights {pretrained!r} cannot be loaded into {architecture!r} ({type(error).__name__}: {error}). "
            "Name a .safetensors or .pt file of this architecture in `pretrained`, or go online once to fetch it."
        ) from None
