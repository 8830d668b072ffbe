"""What a notebook needs: load a method, fill holes with it, score the result, compare two methods.

Everything here is also a name of the package itself: ``sair.load``, ``sair.score``, ``sair.compare``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from sair.common import runtime
from sair.common.errors import InputError
from sair.common.images import read_mask, read_rgb
from sair.data.samples import to_tensor
from sair.evaluation.checks import same_size
from sair.evaluation.folders import score_folders
from sair.evaluation.metrics import SSIM_WINDOW, Lpips
from sair.evaluation.pairs import LpipsQueue, Target, network_of, score_pair
from sair.inference.predict import to_pixels
from sair.inference.single import check_sizes, render
from sair.methods import loading
from sair.methods.build import Inpainter
from sair.reporting import comparison

ImageLike = np.ndarray | Image.Image | Tensor | str | Path


class Filled(np.ndarray):
    """An array with the whole prediction beside it, of the same shape, in ``raw``."""

    raw: np.ndarray | None = None


class Method(NamedTuple):
    """A method that is ready to fill holes.

    network: the object that does it, in evaluation mode.
    spec: its specification: name, label, class, parameters and so on (``sair.methods.spec.load_spec``).
    image_size: side in pixels of the images that it was trained on; None for a method without a checkpoint.
    device: where it computes.
    """

    network: Inpainter
    spec: dict[str, Any]
    image_size: int | None
    device: torch.device

    def inpaint(self, image: ImageLike, mask: ImageLike, *, size: int | None = None, hole: str = "white") -> Any:
        """Fill the hole of an image; known pixels stay exactly as they are.

            >>> import numpy as np, sair
            >>> image = np.full((32, 32, 3), 100, np.uint8)
            >>> mask = np.zeros((32, 32), bool)
            >>> mask[8:16, 8:16] = True
            >>> image[mask] = 255  # never seen by the method
            >>> filled = sair.load("mean_fill").inpaint(image, mask)
            >>> filled[10, 10].tolist(), filled.raw.shape
            ([100, 100, 100], (32, 32, 3))

        Args:
            image: a NumPy array (H, W, 3), uint8 or float in [0, 1]; a Pillow image in RGB or grey; a torch tensor
                (3, H, W) or (B, 3, H, W), uint8 or float in [0, 1]; or the path of an image file.
            mask: of any of these kinds with one channel or none, and two values, of which the larger one is the hole;
                a single value is all hole or, if it is 0, no hole.
            size: the shorter side that the method is shown; None is that of its training
                (``sair.inference.single.render``).
            hole: for a mask that is a path, what marks the hole in it (``sair.common.images.read_mask``).

        Returns:
            What was filled, of the kind and type of ``image`` (a Pillow image for a path). Its attribute ``raw`` is the
            method's whole prediction, known pixels included.

        Raises:
            InputError: a kind, size or range that is not one of these, a mask that is not binary, or no hole.
        """
        check_sizes(size, 1.0)
        found = _read(image)
        masks = _read_mask(mask, hole).to(found.images)
        if masks.shape[-2:] != found.images.shape[-2:] or len(masks) not in (1, len(found.images)):
            raise InputError(
                f"mask of {tuple(masks.shape)}, but image of {tuple(found.images.shape)}. Give each image a mask of "
                "its height and width; resize masks with nearest neighbour."
            )
        masks = masks.expand(len(found.images), -1, -1, -1)
        if not masks.flatten(1).any(1).all():
            raise InputError("the mask has no hole: the larger of its two values marks the hole. Check the polarity.")
        shown = self.image_size if size is None else size
        raw = render(self.network, self.spec, found.images.to(self.device), masks.to(self.device), shown)
        raw = raw.to(found.images)
        filled = found.back(raw, masks)
        filled.raw = found.back(raw, torch.ones_like(masks))
        return filled


def load(source: str | Path | Mapping[str, Any], *, device: str = "auto", preset: str = "mini") -> Method:
    """Load a method with its weights.

        >>> import sair
        >>> sair.load("biharmonic").spec["label"]
        'Biharmonic'

    Args:
        source: a checkpoint, such as ``results/faces/sair/seed0/checkpoint.safetensors``, or the name of a method of
            ``config/methods`` that needs no training.
        device: ``auto``, ``cpu`` or ``cuda``.
        preset: size of a method that is given by name.

    Raises:
        InputError: no such method or file, or a checkpoint that may not be built (``sair.methods.trust``).
    """
    network, spec, image_size = loading.load(source, preset=preset)
    target = runtime.device(device)
    if isinstance(network, torch.nn.Module):
        network.to(target)
    return Method(network, spec, image_size, target)


def score(
    truth: ImageLike,
    prediction: ImageLike,
    mask: ImageLike | None = None,
    *,
    hole: str = "white",
    lpips: Lpips | bool = True,
) -> dict[str, float] | pd.DataFrame:
    """Score one image, or a folder of images, by the conventions of docs/metrics.md.

        >>> import numpy as np, sair
        >>> truth = np.full((32, 32, 3), 100, np.uint8)
        >>> {name: round(value, 4) for name, value in sair.score(truth, truth + 5, lpips=False).items()}
        {'psnr': 34.1514, 'ssim': 0.9988, 'l1': 0.0196, 'lpips': nan}

    Args:
        truth, prediction: two images of one size, of any kind that ``Method.inpaint`` takes; or two folders.
        mask: the hole, for the hole-only measures; for folders a folder of masks, or one mask file for all.
        hole: for masks that are files, what marks the hole.
        lpips: a network to use again (``sair.evaluation.metrics.Lpips``), True for one on the CPU that is built once,
            False to leave it ``nan``.

    Returns:
        For one image psnr (dB), ssim, l1, lpips and, with a mask, psnr_hole, ssim_hole, l1_hole; images of less than 31
        pixels have no LPIPS (``nan``). For folders a data frame with one row per image
        (``sair.evaluation.folders.score_folders``).

    Raises:
        InputError: images of different sizes or less than 11 pixels, or files that do not belong together.
    """
    folders = [isinstance(path, str | Path) and Path(path).expanduser().is_dir() for path in (truth, prediction)]
    if all(folders):
        return score_folders(truth, prediction, mask, hole, lpips=lpips, show=False)
    first, second = (_one(image, name) for image, name in ((truth, "ground truth"), (prediction, "prediction")))
    same_size(Path("prediction"), second, Path("ground truth"), first, "give both one size")
    if min(first.shape[:2]) < SSIM_WINDOW:
        raise InputError(f"images of {first.shape[1]}x{first.shape[0]} pixels: SSIM needs {SSIM_WINDOW} on each side.")
    holes = None
    if mask is not None:
        holes = _read_mask(mask, hole)[0, 0].bool().cpu().numpy()
        same_size(Path("mask"), holes, Path("ground truth"), first, "resize masks with nearest neighbour")
    scores: dict[str, float] = {**score_pair(first, second, holes)}
    queue = LpipsQueue(_lpips() if lpips is True else network_of(lpips), 1)
    queue.put(first, [Target(second, scores, "lpips")])
    queue.finish()
    order = [name for name in ("psnr", "ssim", "l1", "lpips", "psnr_hole", "ssim_hole", "l1_hole") if name in scores]
    return {name: float(scores[name]) for name in order}


def compare(
    variant: pd.DataFrame | str | Path | Sequence[str | Path],
    reference: pd.DataFrame | str | Path | Sequence[str | Path],
    least: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """Compare two methods on the same images, paired and corrected for the number of measures (docs/metrics.md).

        >>> import numpy as np, pandas as pd, sair
        >>> ids, rng = [f"image{k}" for k in range(50)], np.random.default_rng(0)
        >>> before = pd.DataFrame({"id": ids, "psnr": 30 + rng.normal(size=50)})
        >>> after = before.assign(psnr=before.psnr + 0.5 + 0.1 * rng.normal(size=50))
        >>> found = sair.compare(after, before, least={"psnr": 0.2})
        >>> found[["bucket", "metric", "difference", "outcome"]].round(2).values.tolist()
        [['all', 'psnr', 0.5, 'improved']]

    Args:
        variant, reference: scores of both, as ``score`` returns them for folders, or score files, one per seed.
        least: by measure, what training with another seed moves by itself; smaller differences are none, and nothing is
            decided for a measure without a value. None: every size counts, for methods that are not trained.

    Returns:
        One row per bucket and measure: difference (variant minus reference), low and high (95 % interval), p, n,
        clusters, adjusted_p, outcome (``improved``, ``worse`` or ``no difference``) and, for the last, the reason.

    Raises:
        InputError: they are of different images, or have no measure in common.
    """
    with tempfile.TemporaryDirectory() as folder:
        paths = [_as_file(scores, Path(folder, name)) for name, scores in (("b", reference), ("a", variant))]
        verdicts = comparison.compare(*paths, least)
    columns = ["bucket", "metric", *verdicts[0].difference._fields, "adjusted_p", "outcome", "reason"]
    return pd.DataFrame([[*v[:2], *v.difference, *v[3:]] for v in verdicts], columns=columns).rename(
        columns={"mean": "difference"}
    )


@cache
def _lpips() -> Lpips:
    return Lpips()


def _as_file(scores: Any, path: Path) -> Any:
    """Return score files as they are, and a data frame as a file: there is one reader, which checks."""
    if not isinstance(scores, pd.DataFrame):
        return scores
    scores.to_csv(path, index=False)
    return path


# --------------------------------------------------------------------------------------------------------------------
# Kinds of images


class _Read(NamedTuple):
    """Images as float (B, 3, H, W) in [0, 1], and what makes of a prediction and masks the kind that came in."""

    images: Tensor
    back: Callable[[Tensor, Tensor], Any]


def _read(image: ImageLike) -> _Read:
    if isinstance(image, str | Path):
        image = Image.fromarray(read_rgb(image))
    if isinstance(image, Image.Image):
        if image.mode not in ("RGB", "L"):
            raise InputError(f"a Pillow image of the mode {image.mode}: expected RGB or L. Convert it first.")
        pixels = np.array(image.convert("RGB"))
        return _Read(to_tensor(pixels)[None], lambda raw, masks: Image.fromarray(_composite8(pixels, raw[0], masks[0])))
    if isinstance(image, np.ndarray):
        if image.ndim != 3 or image.shape[2] != 3:
            raise InputError(
                f"an array of the shape {image.shape}: expected (H, W, 3). Stack a grey image three times."
            )
        if image.dtype == np.uint8:
            return _Read(to_tensor(image)[None], lambda raw, masks: _composite8(image, raw[0], masks[0]).view(Filled))
        floats = _in_range(torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None], image.dtype)
        return _Read(
            floats.float(), lambda raw, masks: _composite(floats, raw, masks)[0].permute(1, 2, 0).numpy().view(Filled)
        )
    if isinstance(image, Tensor):
        if image.ndim not in (3, 4) or image.shape[-3] != 3:
            raise InputError(f"a tensor of the shape {tuple(image.shape)}: expected (3, H, W) or (B, 3, H, W).")
        batch = image if image.ndim == 4 else image[None]
        if image.dtype == torch.uint8:
            floats = batch.float() / 255
            return _Read(
                floats,
                lambda raw, masks: _composite(batch, (raw.clamp(0, 1) * 255).round().byte(), masks).view_as(image),
            )
        floats = _in_range(batch, image.dtype)
        return _Read(floats.float(), lambda raw, masks: _composite(floats, raw, masks).view_as(image))
    raise InputError(
        f"an image of the type {type(image).__name__}: expected a NumPy array, a Pillow image, a torch tensor or a "
        "path."
    )


def _in_range(images: Tensor, kind: Any) -> Tensor:
    if not images.is_floating_point():
        raise InputError(f"an image of {kind}: expected uint8, or floats in [0, 1].")
    if not torch.isfinite(images).all() or images.min() < 0 or images.max() > 1:
        least, most = float(images.min()), float(images.max())
        raise InputError(
            f"an image of {kind} with values from {least:g} to {most:g}: expected floats in [0, 1]. Divide by the "
            "largest value of the format."
        )
    return images


def _composite8(pixels: np.ndarray, raw: Tensor, mask: Tensor) -> np.ndarray:
    return np.where(mask[0].bool().cpu().numpy()[..., None], to_pixels(raw), pixels)


def _composite(images: Tensor, raw: Tensor, masks: Tensor) -> Tensor:
    return torch.where(masks.bool(), raw.to(images), images)


def _read_mask(mask: ImageLike, hole: str) -> Tensor:
    """Return a mask as float (B, 1, H, W), 1 = hole."""
    if isinstance(mask, str | Path):
        mask = read_mask(mask, hole)
    if isinstance(mask, Image.Image):
        if mask.mode not in ("1", "L"):
            raise InputError(f"a mask as a Pillow image of the mode {mask.mode}: expected 1 or L.")
        mask = np.array(mask)
    if isinstance(mask, np.ndarray):
        mask = torch.from_numpy(np.ascontiguousarray(mask[..., 0] if mask.ndim == 3 and mask.shape[2] == 1 else mask))
    if not isinstance(mask, Tensor):
        raise InputError(
            f"a mask of the type {type(mask).__name__}: expected an array, a Pillow image, a tensor or a path."
        )
    values = torch.unique(mask).tolist()
    if not (set(values) <= {0, 1} or set(values) <= {0, 255}):
        raise InputError(
            f"a mask with values such as {values[:4]}: expected 0 and 1, or 0 and 255. Threshold it first."
        )
    if mask.ndim not in (2, 3, 4) or (mask.ndim > 2 and mask.shape[-3] != 1):
        raise InputError(f"a mask of the shape {tuple(mask.shape)}: expected one channel, (H, W) or (B, 1, H, W).")
    return (mask > 0).float().reshape(-1, 1, *mask.shape[-2:])


def _one(image: ImageLike, name: str) -> np.ndarray:
    """Return one image as uint8 (H, W, 3)."""
    images = _read(image).images
    if len(images) != 1:
        raise InputError(f"{name}: {len(images)} images; score them one by one, or two folders.")
    return to_pixels(images[0])
