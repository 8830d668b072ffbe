"""SAIR, LIIF and everything between them: one assembly whose parts a YAML switches on and off (paper, section 4).

    picture, mask -> AppEncoder -> z        (appearance, one vector a pixel)
                  -> dense CLIP -> e -> SIR -> s   (semantics, completed inside the hole, at any coordinate)
    AIR: colour(p) = sum_q w_q * mlp([z_q, s_q, p - q])

Without ``semantic`` this is LIIF; with ``semantic`` but without ``sir`` it is the ablation NFS.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sair.models.clip import DenseCLIP, build_clip
from sair.models.encoders import ENCODERS
from sair.models.implicit import (
    FUNCTIONS,
    LocalImplicitFunction,
    Members,
    coordinates,
    interpolate,
    neighbours,
    own_cells,
    pixel_centres,
)


class Grids(NamedTuple):
    """What a masked picture is encoded to.

    picture: (B, 3, H, W) in [-1, 1], holes at 0.
    appearance: (B, C, H, W).
    embeddings: (B, D, h, w), text-aligned, or None.
    """

    picture: Tensor
    appearance: Tensor
    embeddings: Tensor | None


class SemanticImplicitRepresentation(nn.Module):
    """SIR: the text-aligned embedding at any coordinate (paper, equation 4).

    Args:
        channels: size of an embedding.
        residual: the function adds to the interpolated embedding instead of replacing it; with ``zero_start`` it
            begins as plain interpolation.
        function: further arguments of ``LocalImplicitFunction``.
    """

    def __init__(self, channels: int, residual: bool = True, zero_start: bool = True, **function: Any) -> None:
        super().__init__()
        self.residual = residual
        self.function = LocalImplicitFunction(channels, channels, zero_start=zero_start, **function)

    def forward(self, embeddings: Tensor, coords: Tensor) -> Tensor:
        """(B, C, h, w) and (B, Q, 2) -> (B, Q, C)."""
        members = neighbours(coords, *embeddings.shape[-2:])
        completed = self.function(embeddings, members)
        return completed + interpolate(embeddings, members) if self.residual else completed


class ImplicitInpainter(nn.Module):
    """SAIR and its ablations.

    Args:
        encoder: ``{name: app, channels, blocks}`` or ``{name: edsr, channels, blocks}``.
        semantic: the dense CLIP's ``{architecture, residual, mlp}``; None leaves semantics out (LIIF). Its weights
            come from the trained CLIP's checkpoint and stay frozen.
        sir: arguments of ``SemanticImplicitRepresentation``; None leaves the embeddings interpolated, not completed.
        air: the colour function, ``{name: liif, ...}`` or ``{name: lte, ...}`` with arguments of its class.
        lr: Adam's learning rate (paper: 1e-4).
        queries: pixels a training picture is asked for at each step.
        hole_share: the part of them drawn from the hole; the rest is drawn from the whole picture.
    """

    def __init__(
        self,
        *,
        encoder: dict[str, Any],
        air: dict[str, Any],
        semantic: dict[str, Any] | None = None,
        sir: dict[str, Any] | None = None,
        lr: float = 1e-4,
        queries: int = 2304,
        hole_share: float = 0.5,
    ) -> None:
        super().__init__()
        encoder = dict(encoder)
        self.encoder = ENCODERS[encoder.pop("name")](**encoder)
        self.semantic = self.sir = None
        extra = 0
        if semantic is not None:
            semantic = dict(semantic)
            self.semantic = DenseCLIP(build_clip(semantic.pop("architecture")).visual, **semantic)
            self.semantic.requires_grad_(False)
            extra = self.semantic.channels
            if sir is not None:
                self.sir = SemanticImplicitRepresentation(extra, **sir)
        air = dict(air)
        self.air = FUNCTIONS[air.pop("name")](self.encoder.channels, 3, extra=extra, **air)
        self.lr, self.queries, self.hole_share = lr, queries, hole_share

    def load_semantic(self, state: dict[str, Tensor]) -> None:
        """Take the frozen image tower from a trained ``CLIP``'s state."""
        prefix = "clip.visual."
        tower = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        self.semantic.visual.load_state_dict(tower, strict=True)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """The optimisers that ``training_step`` steps, by name."""
        trained = [p for p in self.parameters() if p.requires_grad]
        return {"sair": torch.optim.Adam(trained, lr=self.lr, betas=(0.9, 0.999))}

    def encode(self, images: Tensor, masks: Tensor) -> Grids:
        """Feature grids of masked pictures.

        Args:
            images: (B, 3, H, W) in [0, 1]; what is under the hole is not looked at.
            masks: (B, 1, H, W), 1 = hole.
        """
        picture = (images * 2 - 1) * (1 - masks)
        embeddings = None
        if self.semantic is not None:
            with torch.no_grad():
                embeddings = self.semantic(images, masks)
        return Grids(picture, self.encoder(picture, masks), embeddings)

    def query(self, grids: Grids, members: Members, cell: Tensor) -> Tensor:
        """Colours that AIR gives to prepared queries, (B, Q, 3) in [0, 1] (not clamped)."""
        picture, appearance, embeddings = grids
        centres = pixel_centres(*appearance.shape[-2:], device=appearance.device)

        def semantics(index: Tensor) -> Tensor:
            coords = F.embedding(index, centres)
            if self.sir is not None:
                return self.sir(embeddings, coords)
            return interpolate(embeddings, neighbours(coords, *embeddings.shape[-2:]))

        colours = self.air(appearance, members, cell, None if embeddings is None else semantics).float()
        if self.air.adds_picture:
            coords = coordinates(members, *picture.shape[-2:])
            colours = colours + interpolate(picture, neighbours(coords, *picture.shape[-2:]))
        return colours * 0.5 + 0.5

    def training_step(self, batch: dict[str, Any], step: Callable[[str, Tensor], None]) -> dict[str, Tensor]:
        """One step of the L1 loss on sampled pixels (paper, section 4.4)."""
        images, masks = batch["images"], batch["masks"]
        index = self._sample(masks)
        cell = 2 / images.new_tensor(images.shape[-2:])
        colours = self.query(self.encode(images, masks), own_cells(index), cell)
        truth = images.flatten(2).gather(2, index[:, None].expand(-1, 3, -1)).transpose(1, 2)
        loss = F.l1_loss(colours, truth)
        step("sair", loss)
        return {"loss": loss}

    def _sample(self, masks: Tensor) -> Tensor:
        """Cell numbers (B, Q), with replacement: ``hole_share`` of them from the hole, the rest from anywhere."""
        batch, pixels = masks.shape[0], masks[0].numel()
        inside = round(self.queries * self.hole_share)
        in_hole = torch.multinomial(masks.flatten(1).float() + 1e-9, inside, replacement=True)
        anywhere = torch.randint(pixels, (batch, self.queries - inside), device=masks.device)
        return torch.cat([in_hole, anywhere], dim=1)

    @torch.no_grad()
    def inpaint(
        self,
        images: Tensor,
        masks: Tensor,
        size: tuple[int, int] | None = None,
        *,
        known: bool = True,
        chunk: int = 16384,
    ) -> Tensor:
        """Render the pictures, holes filled.

        Args:
            images: (B, 3, H, W) in [0, 1].
            masks: (B, 1, H, W), 1 = hole.
            size: height and width of the output, at any scale; None is the input's size.
            known: at the input's size, also render the known pixels; False copies them from the input, which costs
                only the hole's share of the time.
            chunk: queries answered at once; bounds the memory.

        Returns:
            (B, 3, *size) in [0, 1]
        """
        pairs = zip(images.split(1), masks.split(1), strict=True)
        return torch.cat([self._render(image, mask, size, known, chunk) for image, mask in pairs])

    def _render(self, image: Tensor, mask: Tensor, size: tuple[int, int] | None, known: bool, chunk: int) -> Tensor:
        grids = self.encode(image, mask)
        height, width = size or image.shape[-2:]
        cell = 2 / image.new_tensor([height, width])
        centres = pixel_centres(height, width, device=image.device)
        if size is None and not known:
            output, wanted = image.flatten(2).clone(), mask.flatten().nonzero()[:, 0]
        else:
            output, wanted = image.new_empty(1, 3, height * width), torch.arange(height * width, device=image.device)
        for part in wanted.split(chunk):
            part_of_grid = self._members(centres[part][None], part[None], image.shape[-2:], size is None)
            output[..., part] = self.query(grids, part_of_grid, cell).clamp(0, 1).transpose(1, 2)
        return output.unflatten(2, (height, width))

    def _members(self, coords: Tensor, index: Tensor, grid: tuple[int, int], own: bool) -> Members:
        if own and not self.air.upstream:
            return own_cells(index)
        return neighbours(coords, *grid, self.air.upstream)
