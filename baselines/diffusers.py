"""Run any inpainting pipeline of the library diffusers, from a folder or from Hugging Face's cache.

Only safetensors are read, no code of the model's repository runs, and nothing is downloaded: a model that is not on
this machine is reported with the command that fetches it.
"""

from __future__ import annotations

import csv
import hashlib
import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from baselines.parameters import FILLS, check_text, first_line, is_number, is_whole
from baselines.sizes import back, on_multiple, resized
from sair.common.errors import InputError, near
from sair.common.optional import not_installed, require
from sair.data.manifest import ManifestRow
from sair.data.samples import to_pixels
from sair.data.seeds import mix

EXTRA = "diffusers"
AUTO = "auto"
DTYPES = ("float32", "bfloat16", "float16")
CAPTION = "{caption}"
INDEX = "model_index.json"
OWN = ("prompt", "image", "mask_image", "height", "width", "generator", "output_type", "return_dict")


class Diffusers:
    """A pipeline that gets a prompt, an image and a mask.

    Images are filled one at a time. The noise of each depends on the parameter ``seed`` and on the image's row in the
    manifest, or without rows on its mask, so that an image has the same result in any batch and order.

    Args:
        model: a folder with ``model_index.json``, or the name of a model on Hugging Face, which must be in its cache.
        pipeline: ``auto`` for the class that diffusers' ``AutoPipelineForInpainting`` finds, or the name of a class of
            diffusers, such as ``FluxFillPipeline``.
        revision: commit of a model on Hugging Face.
        variant: ending of its files, such as ``fp16``.
        prompt: a text, or "" for none; ``{caption}`` stands for the caption of the image.
        captions: CSV file with the columns ``id`` and ``caption``; null: the dataset's own captions.
        negative_prompt: what the image should not show, for pipelines that take it.
        steps: number of denoising steps; null: the pipeline's default.
        guidance: ``guidance_scale``; null: the pipeline's default.
        strength: share of the noise that the hole starts with, in (0, 1]. What is under the hole is hidden, so less
            than 1 keeps some of ``fill``; null: the pipeline's default.
        dtype: ``float32``, ``bfloat16`` or ``float16``.
        seed: of the noise.
        size: shorter side in pixels to which the image is resized, and from which the result is resized back; null: its
            own.
        multiple: sides must be multiples of it; null: what the pipeline needs. Images are mirrored and cropped back.
        fill: colour under the hole: ``black``, ``grey`` or ``white``.
        offload: whether parts of the model are moved to the GPU only while they compute; it needs accelerate.
        options: further arguments of the pipeline's call, such as ``true_cfg_scale: 4``.

    Raises:
        InputError: a parameter is invalid, diffusers is not installed, or the model is missing or cannot be loaded.
    """

    def __init__(
        self,
        *,
        model: str,
        pipeline: str = AUTO,
        revision: str | None = None,
        variant: str | None = None,
        prompt: str = "",
        captions: str | None = None,
        negative_prompt: str | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        strength: float | None = 1.0,
        dtype: str = "float32",
        seed: int = 0,
        size: int | None = None,
        multiple: int | None = None,
        fill: str = "grey",
        offload: bool = False,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        _check_texts(model, pipeline, prompt)
        revision = _revision(revision)
        for key, value, allowed in (("dtype", dtype, DTYPES), ("fill", fill, tuple(FILLS))):
            if value not in allowed:
                raise InputError(f"{key}: {value!r}; expected {' or '.join(allowed)}.")
        for key, number in (("steps", steps), ("size", size), ("multiple", multiple)):
            if number is not None and not is_whole(number, 1):
                raise InputError(f"{key}: {number!r}; expected a whole number of at least 1.")
        if strength is not None and not (is_number(strength) and 0 < strength <= 1):
            raise InputError(f"strength: {strength!r}; expected a number above 0 and up to 1.")
        if guidance is not None and not is_number(guidance):
            raise InputError(f"guidance: {guidance!r}; expected a number, such as 7.5.")
        if not is_whole(seed):
            raise InputError(f"seed: {seed!r}; expected a whole number.")
        if strange := [key for key in options or {} if key in OWN]:
            raise InputError(f"options.{strange[0]}: the method sets it itself. Remove it.")
        self.prompt, self.seed, self.size, self.fill = prompt, seed, size, FILLS[fill]
        self._captions_file = captions
        self._captions = None if captions is None else _read_captions(Path(captions).expanduser())
        self._dtype, self._offload = getattr(torch, dtype), offload
        self._pipeline = _load(model, pipeline, self._dtype, revision=revision, variant=variant)
        given = {"num_inference_steps": steps, "guidance_scale": guidance, "negative_prompt": negative_prompt}
        self._arguments = _arguments(self._pipeline, given, strength, options or {})
        self.multiple = multiple or _multiple(self._pipeline)
        self._device: torch.device | None = None

    def __deepcopy__(self, memo: Any) -> Diffusers:
        """Return the object itself: a model may have many gigabytes, and filling an image changes nothing in it."""
        return self

    @staticmethod
    def missing(parameters: Mapping[str, Any]) -> list[str]:
        """Return what a method file with these parameters lacks on this machine: a library, or the model."""
        found = [text for module in ("diffusers", "transformers") for text in not_installed(module, EXTRA)]
        model, revision = check_text("model", parameters["model"]), _revision(parameters.get("revision"))
        return found if _index(model, revision) is not None else [*found, _how_to_get(model, revision)]

    @property
    def uses_captions(self) -> bool:
        """Whether the prompt contains the captions of the dataset."""
        return CAPTION in self.prompt and self._captions is None

    def parameter_count(self) -> int:
        """Return the number of weights of all parts of the pipeline."""
        parts = (part for part in self._pipeline.components.values() if isinstance(part, torch.nn.Module))
        return sum(weight.numel() for part in parts for weight in part.parameters())

    def inpaint(
        self, images: Tensor, masks: Tensor, rows: Sequence[ManifestRow] = (), captions: Sequence[str] = ()
    ) -> Tensor:
        """Fill the holes, one image at a time; see ``sair.methods.build.Inpainter``.

        Args:
            images, masks: same as there.
            rows: the rows of the manifest, whose ids the parameter ``captions`` refers to.
            captions: one per image, if the prompt contains the dataset's captions.

        Raises:
            InputError: an image has no caption, or the pipeline fails.
        """
        self._move(images.device)
        prompts = self._prompts(len(images), rows, captions)
        names = [row.prediction for row in rows] or [_digest(mask) for mask in masks]
        seeds = [mix("diffusers", self.seed, name) for name in names]
        return torch.cat(list(map(self._one, images.split(1), masks.split(1), prompts, seeds))).to(images)

    def _prompts(self, count: int, rows: Sequence[ManifestRow], captions: Sequence[str]) -> list[str]:
        if CAPTION not in self.prompt:
            return [self.prompt] * count
        if self._captions is not None and len(rows) == count:
            lost = [row.id for row in rows if row.id not in self._captions]
            if lost:
                raise InputError(
                    f"{self._captions_file}: no caption of the image {lost[0]}. Add a line, or remove `captions`."
                )
            captions = [self._captions[row.id] for row in rows]
        if len(captions) != count:
            raise InputError("prompt: contains {caption}, but these images have no captions. Write a fixed prompt.")
        return [self.prompt.replace(CAPTION, caption) for caption in captions]

    def _one(self, image: Tensor, mask: Tensor, prompt: str, seed: int) -> Tensor:
        image = image * (1 - mask) + self.fill * mask
        shape = (image.shape[-2], image.shape[-1])
        if self.size is not None:
            scale = self.size / min(shape)
            image, mask = resized(image, mask, (round(shape[0] * scale), round(shape[1] * scale)))
            image = image * (1 - mask) + self.fill * mask

        def fill(padded: Tensor, hole: Tensor) -> Tensor:
            return self._call(padded, hole, prompt, seed)

        return back(on_multiple(fill, image, mask, self.multiple), shape)

    def _call(self, image: Tensor, mask: Tensor, prompt: str, seed: int) -> Tensor:
        from PIL import Image

        height, width = image.shape[-2:]
        white = np.where(mask[0, 0].bool().cpu().numpy(), 255, 0).astype(np.uint8)  # white is repainted
        try:
            answer = self._pipeline(
                prompt=prompt,
                image=Image.fromarray(to_pixels(image[0])),
                mask_image=Image.fromarray(white),
                height=height,
                width=width,
                generator=torch.Generator("cpu").manual_seed(seed),  # on a CPU, so that a GPU gets the same noise
                output_type="np",
                **self._arguments,
            )
        except (ValueError, TypeError, RuntimeError) as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            name = type(self._pipeline).__name__
            raise InputError(
                f"{name} fails on an image of {width}x{height} pixels: {first_line(error)}. Check `size`, `multiple` "
                "and `options`."
            ) from error
        filled = torch.from_numpy(np.asarray(answer.images[0], dtype=np.float32)).permute(2, 0, 1)[None]
        return filled.clamp(0, 1).to(image.device)  # a value that is not finite stays so, and is refused

    def _move(self, device: torch.device) -> None:
        if device == self._device:
            return
        if self._offload and device.type == "cuda":
            self._pipeline.enable_model_cpu_offload(device=device)
        else:
            self._pipeline.to(device)
        self._device = device


def _load(model: str, pipeline: str, dtype: torch.dtype, **where: str | None) -> Any:
    """Return a pipeline with its weights.

    Raises:
        InputError: diffusers is not installed, there is no such class or model, or it cannot be loaded.
    """
    for module in ("diffusers", "transformers"):
        require(module, EXTRA)
    import diffusers
    import transformers

    place = _index(model, where["revision"])
    if place is None:
        raise InputError(f"{_how_to_get(model, where['revision'])}.")
    index = diffusers.DiffusionPipeline.load_config(str(place.parent))
    _refuse_foreign_code(model, index)
    chosen = diffusers.AutoPipelineForInpainting if pipeline == AUTO else getattr(diffusers, pipeline, None)
    if chosen is None:
        known = [name for name in dir(diffusers) if "Inpaint" in name or "Fill" in name]
        raise InputError(f"pipeline: diffusers {diffusers.__version__} has no {pipeline}. {near(pipeline, known)}")
    given: dict[str, Any] = {key: value for key, value in where.items() if value is not None}
    if "safety_checker" in index:  # it would replace some images by black ones
        given |= {"safety_checker": None, "requires_safety_checker": False}
    # Parts that the model leaves out must be named, for some classes.
    given |= {name: None for name, part in index.items() if isinstance(part, list) and part[0] is None}
    for library in (diffusers.logging, transformers.logging):
        library.set_verbosity_error()
        library.disable_progress_bar()
    try:
        loaded = chosen.from_pretrained(model, torch_dtype=dtype, use_safetensors=True, local_files_only=True, **given)
    except Exception as error:  # a model that does not fit fails in many ways
        raise InputError(
            f"model {model}: cannot be loaded as {pipeline} ({type(error).__name__}: {first_line(error)}). Expected "
            "all parts in safetensors; name a class of diffusers in `pipeline` if this is the wrong one."
        ) from None
    loaded.set_progress_bar_config(disable=True)
    return loaded


def _refuse_foreign_code(model: str, index: Mapping[str, Any]) -> None:
    """Refuse a model whose repository contains the classes of its parts, because their code would run."""
    import diffusers

    allowed = {"diffusers", "transformers", *dir(diffusers.pipelines)}
    parts = {name: part for name, part in index.items() if isinstance(part, list | tuple)}
    if strange := [name for name, part in parts.items() if part[0] is not None and part[0] not in allowed]:
        raise InputError(
            f"model {model}: refused: its part {strange[0]} is a class of its own code ({parts[strange[0]]}), which is "
            "not run. Use a model of classes of diffusers and transformers."
        )


def _arguments(pipeline: Any, given: Mapping[str, Any], strength: float | None, options: Mapping[str, Any]) -> Any:
    """Return the arguments of each call, all of which the pipeline takes.

    Raises:
        InputError: the pipeline does not inpaint, or does not take an argument.
    """
    known = inspect.signature(type(pipeline).__call__).parameters
    name = type(pipeline).__name__
    if "mask_image" not in known:
        raise InputError(f"pipeline: {name} takes no mask. Name a class that inpaints in `pipeline`.")
    chosen = {key: value for key, value in given.items() if value is not None} | dict(options)
    for key in chosen:
        if key not in known:
            raise InputError(f"{name} has no argument {key!r}. {near(key, known)}")
    if strength is not None and "strength" in known:
        chosen["strength"] = strength
    return chosen


def _multiple(pipeline: Any) -> int:
    """Return what the sides of a pipeline's images must be multiples of."""
    factors = [8]
    for name in ("image_processor", "mask_processor"):
        factor = getattr(getattr(getattr(pipeline, name, None), "config", None), "vae_scale_factor", None)
        factors += [factor] if factor else []
    factors.append(getattr(pipeline, "vae_scale_factor", 1) * getattr(pipeline, "patch_size", 1))
    return int(np.lcm.reduce(factors))


def _index(model: str, revision: str | None) -> Path | None:
    """Return the model's ``model_index.json`` in a folder or in Hugging Face's cache; None if it is not there."""
    path = Path(model).expanduser() / INDEX
    if path.is_file():
        return path
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(model, INDEX, revision=revision)
    except HFValidationError:  # not the name of a model, so it was meant as a folder
        return None
    return Path(found) if isinstance(found, str) else None


def _how_to_get(model: str, revision: str | None) -> str:
    if Path(model).expanduser().is_dir() or model.count("/") != 1 or model.startswith((".", "~", "/")):
        return f"{model}: no folder with {INDEX}, but it is the method's model (`model`)"
    at = f" --revision {revision}" if revision else ""
    return (
        f"the model {model} is not in Hugging Face's cache. Read its terms on https://huggingface.co/{model}, and "
        f"fetch it: hf download {model}{at}"
    )


def _read_captions(path: Path) -> dict[str, str]:
    try:
        with open(path, encoding="utf-8-sig", newline="") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a readable CSV of captions ({error}). Correct `captions`.") from None
    if not rows or any(row.get("id") is None or row.get("caption") is None for row in rows):
        raise InputError(f"{path}: expected the columns id and caption, and a row per image.")
    return {row["id"]: row["caption"] for row in rows}


def _check_texts(model: Any, pipeline: Any, prompt: Any) -> None:
    for key, value in (("model", model), ("pipeline", pipeline)):
        check_text(key, value)
    if prompt != "":
        check_text("prompt", prompt)


def _revision(value: Any) -> str | None:
    """Return a commit; YAML reads one of digits alone as a number."""
    return None if value is None else check_text("revision", value)


def _digest(mask: Tensor) -> str:
    return hashlib.sha256(mask.bool().cpu().numpy().tobytes()).hexdigest()
