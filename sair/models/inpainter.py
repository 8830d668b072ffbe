"""Define SAIR, LIIF and the variants between them, as one network with optional parts (paper, section 4).

    image, mask -> AppEncoder -> z        (appearance, one vector per pixel)
                  -> dense CLIP -> e -> SIR -> s   (semantics, completed inside the hole, at any coordinate)
    AIR: colour(p) = sum_q w_q * mlp([z_q, s_q, p - q])

Without ``semantic`` this is LIIF. With ``semantic`` but without ``sir`` it is the ablation NFS, and without ``encoder``
OUS. SAM's image encoder in place of the dense CLIP gives "SAM Encoder", EDSR in place of AppEncoder gives EDSR(w), and
LTE in place of AIR gives SemLTE.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sair.common.arguments import check_arguments
from sair.common.errors import InputError, near
from sair.common.pooling import average_pool
from sair.common.runtime import for_all
from sair.models import rendering
from sair.models.clip import dense_clip
from sair.models.encoders import ENCODERS
from sair.models.implicit import (
    FUNCTIONS,
    LocalImplicitFunction,
    Members,
    centres_of,
    coordinates,
    interpolate,
    neighbours,
    own_cells,
    pixel_size,
    rows_around,
)
from sair.models.published import read_published
from sair.models.rendering import Chunk
from sair.models.sam import DenseSAM

SEMANTIC_ENCODERS = {"clip": dense_clip, "sam": DenseSAM}


def _named(registry: dict[str, Any], description: dict[str, Any], *inputs: Any, **further: Any) -> Any:
    """Build ``{name: ..., arguments}`` from a registry."""
    name = description.get("name")
    if name not in registry:
        raise InputError(f"unknown part {name!r}. {near(str(name), registry)}")
    arguments = {key: value for key, value in description.items() if key != "name"}
    check_arguments(registry[name], arguments, f"part {name!r}")
    try:
        return registry[name](*inputs, **further, **arguments)
    except TypeError as error:
        raise InputError(f"part {name!r}: {error}.") from error


class Grids(NamedTuple):
    """The feature grids of masked images.

    image: (B, 3, H, W) in [-1, 1], holes at 0.
    appearance: (B, C, H, W).
    embeddings: (B, D, h, w), text-aligned, or None.
    """

    image: Tensor
    appearance: Tensor
    embeddings: Tensor | None


class SemanticImplicitRepresentation(nn.Module):
    """SIR, which gives the text-aligned embedding at any coordinate (paper, equation 4).

    Args:
        channels: size of an embedding.
        residual: the function adds to the interpolated embedding instead of replacing it; with ``zero_start`` it
            begins as plain interpolation.
        pool: the function's grid has cells that are means of ``pool`` x ``pool`` embeddings, so it sees further and
            less sharply. What it adds to keeps the embeddings' own grid.
        hidden, unfold, zero_start: same as in ``LocalImplicitFunction``.
    """

    def __init__(
        self,
        channels: int,
        hidden: Sequence[int] = (256, 256, 256),
        *,
        residual: bool = True,
        zero_start: bool = True,
        unfold: bool | Sequence[int] = False,
        pool: int = 1,
    ) -> None:
        super().__init__()
        if pool < 1:
            raise InputError(f"`sir`: a cell of {pool} x {pool} embeddings. `pool` is 1 or more.")
        self.residual, self.pool = residual, pool
        self.function = LocalImplicitFunction(channels, channels, hidden, unfold=unfold, zero_start=zero_start)

    def forward(self, embeddings: Tensor, coords: Tensor, rows: tuple[int, int] | None = None) -> Tensor:
        """Return the embeddings at coordinates, (B, C, h, w) and (B, Q, 2) -> (B, Q, C); ``rows``: see ``Members``."""
        height, width = embeddings.shape[-2:]
        members = neighbours(coords, height, width, rows=rows)
        completed = self._function(embeddings, members, coords)
        return completed + interpolate(embeddings, members) if self.residual else completed

    def _function(self, embeddings: Tensor, members: Members, coords: Tensor) -> Tensor:
        """Return the function's values, (B, Q, C), on its own grid."""
        if self.pool == 1:
            return self.function(embeddings, members)
        height, width = (-(-side // self.pool) for side in embeddings.shape[-2:])
        rows = None if members.rows is None else rows_around(*members.rows, embeddings.shape[-2], height)
        return self.function(average_pool(embeddings, (height, width)), neighbours(coords, height, width, rows=rows))


class ImplicitInpainter(nn.Module):
    """SAIR and its ablations.

    Args:
        encoder: ``{name: app, channels, blocks}`` or ``{name: edsr, channels, blocks}``; None leaves appearance out
            (OUS).
        semantic: the ``description`` of a trained ``CLIP`` or ``SAM``, whose image tower is used; None leaves
            semantics out (LIIF). Training fills it in from the checkpoint that the method's ``semantics`` names.
        sir: arguments of ``SemanticImplicitRepresentation``; None leaves the embeddings interpolated, not completed.
        air: the colour function, ``{name: liif, ...}`` or ``{name: lte, ...}`` with arguments of its class.
        lr: Adam's learning rate (paper: 1e-4).
        queries: number of pixels drawn from each training image in each step.
        hole_share: the part of them drawn from the hole; the rest is drawn from the whole image.
        align: weight of a term that pulls SIR's output at the queries towards the complete image's embedding: one minus
            the cosine. 0, the default, is the paper's loss.
        train_semantic: train the semantic encoder, too, by the same loss, instead of keeping it frozen. Its embeddings
            then need not stay near those of texts.
    """

    repeats_its_step = True  # ``sair.training.recorded``

    def __init__(
        self,
        *,
        encoder: dict[str, Any] | None,
        air: dict[str, Any],
        semantic: dict[str, Any] | None = None,
        sir: dict[str, Any] | None = None,
        lr: float = 1e-4,
        queries: int = 2304,
        hole_share: float = 0.5,
        align: float = 0.0,
        train_semantic: bool = False,
    ) -> None:
        super().__init__()
        self.encoder = None if encoder is None else _named(ENCODERS, encoder)
        self.semantic = self.sir = None
        if semantic is not None:
            self.semantic = _named(SEMANTIC_ENCODERS, semantic).requires_grad_(train_semantic)
            if sir is not None:
                check_arguments(SemanticImplicitRepresentation, sir, "`sir`")
                self.sir = SemanticImplicitRepresentation(self.semantic.channels, **sir)
        channels = 0 if self.encoder is None else self.encoder.channels
        extra = 0 if self.semantic is None else self.semantic.channels
        if channels + extra == 0:
            raise InputError("a method without `encoder` requires `semantics`: without both, the network has no input.")
        if align and self.sir is None:
            raise InputError("`align` is a loss on SIR's output and requires `sir`.")
        if train_semantic and self.semantic is None:
            raise InputError("`train_semantic` trains the semantic encoder and requires `semantics`.")
        if align < 0 or queries < 1 or not 0 <= hole_share <= 1:
            raise InputError(
                f"`align` is {align:g}, `queries` {queries} and `hole_share` {hole_share:g}; expected a weight of at "
                "least 0, at least 1 pixel, and a share from 0 to 1."
            )
        self.air = _named(FUNCTIONS, air, channels, 3, extra=extra)
        self.lr, self.queries, self.hole_share, self.align = lr, queries, hole_share, align
        self.train_semantic = train_semantic

    @staticmethod
    def read_authors_file(path: str | Path, parameters: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Read a checkpoint of LIIF's or LTE's authors (``sair convert``).

        Args:
            path: their ``.pth`` file.
            parameters: those of the method's file.

        Returns:
            The parameters of the network that the file describes, and its weights.

        Raises:
            InputError: another kind of file, or the file of another function than the method's.
        """
        if parameters.get("sir") or parameters["encoder"] is None:
            raise InputError("LIIF's and LTE's files are of methods without semantics. Name liif or lte.")
        described, weights = read_published(path)
        if described["air"]["name"] != parameters["air"]["name"]:
            raise InputError(f"{path}: a {described['air']['name']}. Name the method {described['air']['name']}.")
        return described, weights

    def load_semantic(self, dense: nn.Module) -> None:
        """Copy the weights of the image tower from a trained ``CLIP.dense`` or ``SAM.dense``."""
        assert self.semantic is not None, "built without `semantic`"
        self.semantic.load_state_dict(dense.state_dict(), strict=True)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Return the optimizers that ``training_step`` steps, by name."""
        trained = [p for p in self.parameters() if p.requires_grad]
        return {"sair": torch.optim.Adam(trained, lr=self.lr, betas=(0.9, 0.999))}

    def encode(self, images: Tensor, masks: Tensor) -> Grids:
        """Encode masked images.

        Args:
            images: (B, 3, H, W) in [0, 1]; pixels under the hole are ignored.
            masks: (B, 1, H, W), 1 = hole.
        """
        image = (images * 2 - 1) * (1 - masks)
        embeddings = None
        if self.semantic is not None:
            with torch.set_grad_enabled(self.train_semantic and torch.is_grad_enabled()):
                embeddings = self.semantic(images, masks)
        # Without an encoder, use an empty feature grid (0 channels) at image resolution.
        appearance = image[:, :0] if self.encoder is None else self.encoder(image, masks)
        return Grids(image, appearance, embeddings)

    def query(self, grids: Grids, members: Members, cell: Tensor) -> Tensor:
        """Return AIR's colours for prepared queries, (B, Q, 3) in [0, 1] (not clamped)."""
        image, appearance, embeddings = grids
        height, width = image.shape[-2:]

        def completed(index: Tensor) -> Tensor:
            assert embeddings is not None
            rows = None if members.rows is None else rows_around(*members.rows, height, embeddings.shape[-2])
            return self.semantics_at(embeddings, centres_of(index, height, width), rows)

        colours = self.air(appearance, members, cell, None if embeddings is None else completed).float()
        if self.air.adds_image:
            coords = coordinates(members, height, width)
            colours = colours + interpolate(image, neighbours(coords, height, width))
        return colours * 0.5 + 0.5

    def semantics_at(self, embeddings: Tensor, coords: Tensor, rows: tuple[int, int] | None = None) -> Tensor:
        """Return embeddings at any coordinate, completed by SIR or, without it, interpolated.

        Args:
            embeddings: (B, D, h, w), of ``encode``.
            coords: (B, Q, 2), (y, x) in [-1, 1].
            rows: the first and last row of ``embeddings`` that they reach; None if these are not known.

        Returns:
            (B, Q, D)
        """
        if self.sir is not None:
            return self.sir(embeddings, coords, rows)
        height, width = embeddings.shape[-2:]
        return interpolate(embeddings, neighbours(coords, height, width))

    def training_step(self, batch: dict[str, Any], step: Callable[[str, Tensor], None]) -> dict[str, Tensor]:
        """Take one step of the L1 loss on sampled pixels (paper, section 4.4)."""
        images, masks = batch["images"], batch["masks"]
        index = for_all(self._sample, masks)
        cell = pixel_size(images.shape[-2], images.shape[-1], images.device)
        grids = self.encode(images, masks)
        colours = self.query(grids, own_cells(index), cell)
        truth = images.flatten(2).gather(2, index[:, None].expand(-1, 3, -1)).transpose(1, 2)
        loss = colour = F.l1_loss(colours, truth)
        scalars = {}
        if self.align:
            assert grids.embeddings is not None
            scalars = {"colour": colour, "misalignment": self._misalignment(images, grids.embeddings, index)}
            loss = colour + self.align * scalars["misalignment"]
        step("sair", loss)
        return {"loss": loss, **scalars}

    def _misalignment(self, images: Tensor, embeddings: Tensor, index: Tensor) -> Tensor:
        """Return one minus the cosine between completed embeddings and those of the complete images."""
        assert self.semantic is not None
        height, width = images.shape[-2:]
        coords = centres_of(index, height, width)
        with torch.no_grad():
            clean = self.semantic(images)
            rows, columns = clean.shape[-2:]
            target = interpolate(clean, neighbours(coords, rows, columns))
        return 1 - F.cosine_similarity(self.semantics_at(embeddings, coords).float(), target, dim=-1).mean()

    def _sample(self, masks: Tensor) -> Tensor:
        """Draw cell numbers (B, Q), with replacement: ``hole_share`` of them from the hole, the rest from anywhere."""
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
        chunk: int | None = None,
    ) -> Tensor:
        """Render the images with their holes filled.

        Args:
            images: (B, 3, H, W) in [0, 1].
            masks: (B, 1, H, W), 1 = hole.
            size: height and width of the output, at any scale; None is the input's size.
            known: at the input's size, also render the known pixels; False copies them from the input, which costs
                only the hole's share of the time.
            chunk: number of values computed at once, which bounds the memory; None is the device's default.

        Returns:
            (B, 3, *size) in [0, 1]
        """
        on_cpu = images.device.type == "cpu"
        # On a CPU a batch takes as long as its images one by one, and their convolutions may round differently.
        group = 1 if on_cpu else max(1, rendering.ENCODED // images[0, 0].numel())
        chunk = chunk or (rendering.CHUNK_ON_CPU if on_cpu else rendering.CHUNK)
        pairs = zip(images.split(group), masks.split(group), strict=True)
        return torch.cat([self._render(*pair, size, known, chunk) for pair in pairs])

    def _render(self, images: Tensor, masks: Tensor, size: tuple[int, int] | None, known: bool, chunk: int) -> Tensor:
        """Render some images at once; arguments as in ``inpaint``."""
        grids = self.encode(images, masks)
        height, width = size or images.shape[-2:]
        cell = pixel_size(height, width, images.device)
        chunks: Iterable[Chunk]
        if known or size is not None:
            output = images.new_empty(len(images), 3, height * width)
            chunks = rendering.all_pixels(images, height, width, chunk if size is None else chunk // 4)
        else:
            output = images.flatten(2).clone()
            chunks = rendering.hole_pixels(masks.flatten(1) > 0, width, chunk)
        if size is None and self.air.upstream:  # the authors' look-up averages four cells there
            chunks = chain(chunks, rendering.last_row_and_column(images))
        for some in chunks:
            members = self._members(some, images, height, width, own=size is None and not some.four)
            colours = self.query(grids, members, cell).clamp(0, 1).transpose(1, 2)
            output.scatter_(2, some.pixels[:, None].expand(-1, 3, -1), colours)
        if not known and size is None:  # in images with smaller holes, known pixels were rendered, too
            output = torch.where(masks.flatten(2) > 0, output, images.flatten(2))
        return output.unflatten(2, (height, width))

    def _members(self, some: Chunk, images: Tensor, height: int, width: int, own: bool) -> Members:
        """Return the cells that determine pixels of a (height, width) output: a pixel's own cell or the four around."""
        if own:
            return own_cells(some.pixels, some.rows)
        rows, columns = images.shape[-2:]
        coords = centres_of(some.pixels, height, width)
        reached = rows_around(*some.rows, height, rows)
        return neighbours(coords, rows, columns, self.air.upstream, reached)
