"""Run any ONNX graph that fills holes, with onnxruntime.

Exports of one network differ in inputs, ranges, sizes and the polarity of the mask, so a method's file declares all of
them. The graph is data: no code of the file runs, and no custom operators are loaded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from baselines.parameters import FILLS, check_text, first_line, is_number, is_whole
from baselines.sizes import back, by_tiles, on_multiple, resized
from sair.common.errors import InputError
from sair.common.optional import not_installed, require

EXTRA = "onnx"
KINDS = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}


class Onnx:
    """A graph that gets an image and a mask, or both as one tensor, and returns the filled image.

    Args:
        model: the ``.onnx`` file.
        joined: whether the graph has one input with four channels, the image and then the mask.
        inputs: names of the inputs, ``{image, mask}``; null: a mask is what has one channel or "mask" in its name.
        layout: order of the axes of all tensors: ``nchw`` or ``nhwc``.
        channels: order of the colours: ``rgb`` or ``bgr``.
        image_range: the values that stand for black and white in the input: [0, 1], [-1, 1] or [0, 255], for example.
        output_range: the same for the output.
        hole, known: the values of the mask in the hole and outside, such as 1 and 0, or 0 and 255.
        fill: colour under the hole in the image: ``black``, ``grey`` or ``white``.
        size: side of the square images that the graph needs; null: any.
        fit: how other images are brought to ``size``: ``resize``, or ``tile`` for tiles with some ``overlap``.
        overlap: width in pixels of the strip that two tiles share.
        multiple: sides must be multiples of it; an image is mirrored at the bottom and right, and cropped back.

    Raises:
        InputError: a parameter is invalid, onnxruntime is not installed, or the file is no graph with such inputs.
    """

    def __init__(
        self,
        *,
        model: str,
        joined: bool = False,
        inputs: Mapping[str, str] | None = None,
        layout: str = "nchw",
        channels: str = "rgb",
        image_range: Sequence[float] = (0, 1),
        output_range: Sequence[float] = (0, 1),
        hole: float = 1,
        known: float = 0,
        fill: str = "black",
        size: int | None = None,
        fit: str = "resize",
        overlap: int = 64,
        multiple: int = 1,
    ) -> None:
        for key, value, allowed in (
            ("joined", joined, (True, False)),
            ("layout", layout, ("nchw", "nhwc")),
            ("channels", channels, ("rgb", "bgr")),
            ("fill", fill, tuple(FILLS)),
            ("fit", fit, ("resize", "tile")),
        ):
            if value not in allowed or type(value) is not type(allowed[0]):  # 1 == True
                raise InputError(f"{key}: {value!r}; expected {' or '.join(map(str, allowed)).lower()}.")
        self.ranges = [_range("image_range", image_range), _range("output_range", output_range)]
        if not (is_number(hole) and is_number(known)) or hole == known:
            raise InputError(f"hole: {hole!r}, known: {known!r}; expected two different numbers, such as 1 and 0.")
        for key, number, least in (("size", size, 1), ("multiple", multiple, 1), ("overlap", overlap, 0)):
            if number is not None and not is_whole(number, least):
                raise InputError(f"{key}: {number!r}; expected a whole number of at least {least}.")
        if size is not None and fit == "tile" and overlap >= size:
            raise InputError(f"overlap: {overlap} of tiles of {size} pixels; expected less than the size.")
        self.joined, self.last, self.bgr = joined, layout == "nhwc", channels == "bgr"
        self.hole, self.known, self.fill = hole, known, FILLS[fill]
        self.size, self.fit, self.overlap, self.multiple = size, fit, overlap, multiple
        self.path = Path(check_text("model", model)).expanduser()
        self._session, self._providers = self._open(["CPUExecutionProvider"]), ["CPUExecutionProvider"]
        self._names = self._named(inputs)

    @staticmethod
    def missing(parameters: Mapping[str, Any]) -> list[str]:
        """Return what a method file with these parameters lacks on this machine: onnxruntime, or the graph."""
        path = Path(check_text("model", parameters["model"])).expanduser()
        lacking = not_installed("onnxruntime", EXTRA)
        return (
            lacking if path.is_file() else [*lacking, f"{path}: no such file, but it is the method's graph (`model`)"]
        )

    def parameter_count(self) -> None:
        """Return None: the number of weights is not known here."""

    def inpaint(self, images: Tensor, masks: Tensor) -> Tensor:
        """Fill the holes, one image at a time; see ``sair.methods.build.Inpainter``.

        Raises:
            InputError: the graph fails on an image, or returns something else than an image of its size.
        """
        self._move(images.device)
        images = images * (1 - masks) + self.fill * masks
        pairs = zip(images.split(1), masks.split(1), strict=True)
        return torch.cat([self._any_size(image, mask) for image, mask in pairs]).to(images)

    def __deepcopy__(self, memo: Any) -> Onnx:
        """Return the object itself: a session cannot be copied, and filling an image changes nothing in it."""
        return self

    def _any_size(self, image: Tensor, mask: Tensor) -> Tensor:
        if self.size is None:
            return on_multiple(self._run, image, mask, self.multiple)
        if self.fit == "tile":
            return by_tiles(self._run, image, mask, self.size, self.overlap)
        small, hole = resized(image, mask, (self.size, self.size))
        small = small * (1 - hole) + self.fill * hole
        return back(self._run(small, hole), (image.shape[-2], image.shape[-1]))

    def _run(self, image: Tensor, mask: Tensor) -> Tensor:
        """Return the graph's prediction, (1, 3, H, W) in [0, 1], of an image of a size that it accepts."""
        (low, high), (black, white) = self.ranges
        pixels = image.flip(1) if self.bgr else image
        feeds = {"image": pixels * (high - low) + low, "mask": mask * (self.hole - self.known) + self.known}
        if self.joined:
            feeds = {"image": torch.cat([feeds["image"], feeds["mask"]], 1)}
        given = {self._names[role][0]: self._array(value, self._names[role][1]) for role, value in feeds.items()}
        try:
            answer = np.asarray(self._session.run(None, given)[0])
        except Exception as error:  # onnxruntime's errors have no common base but Exception
            shape = " and ".join(f"{name} {list(value.shape)}" for name, value in given.items())
            raise InputError(
                f"{self.path}: the graph fails on {shape}: {first_line(error)}. Check `size`, `multiple` and `layout`."
            ) from None
        if answer.ndim == 4 and self.last:
            answer = answer.transpose(0, 3, 1, 2)
        if answer.shape != tuple(image.shape):
            raise InputError(
                f"{self.path}: the first output has the shape {list(answer.shape)} for an image of "
                f"{list(image.shape)}. Check `layout`, `size` and `multiple`."
            )
        prediction = (torch.from_numpy(answer.astype(np.float32)) - black) / (white - black)
        prediction = prediction.flip(1) if self.bgr else prediction
        return prediction.clamp(0, 1).to(image.device)  # a value that is not finite stays so, and is refused

    def _array(self, value: Tensor, kind: Any) -> np.ndarray:
        array = value.float().cpu().numpy()
        if kind is np.uint8:
            array = array.round()
        array = array.astype(kind)
        return np.ascontiguousarray(array.transpose(0, 2, 3, 1) if self.last else array)

    def _open(self, providers: list[str]) -> Any:
        require("onnxruntime", EXTRA)
        import onnxruntime

        if not self.path.is_file():
            raise InputError(f"{self.path}: no such file. Expected the graph of the method (`model`), an .onnx file.")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3  # errors only
        try:
            return onnxruntime.InferenceSession(str(self.path), options, providers=providers)
        except Exception as error:  # same as in `_run`
            raise InputError(
                f"{self.path}: not an ONNX graph that onnxruntime {onnxruntime.__version__} can run "
                f"({first_line(error)}). Fetch it again, or install a newer onnxruntime."
            ) from None

    def _move(self, device: torch.device) -> None:
        """Open the graph again on a GPU if the images are there and this onnxruntime can use one."""
        import onnxruntime

        wanted = ["CPUExecutionProvider"]
        if device.type == "cuda" and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
            wanted.insert(0, "CUDAExecutionProvider")
        if wanted != self._providers:
            self._session, self._providers = self._open(wanted), wanted

    def _named(self, inputs: Mapping[str, str] | None) -> dict[str, tuple[str, Any]]:
        """Return the name and NumPy type of the graph's inputs by their role, ``image`` and ``mask``."""
        found = {node.name: node for node in self._session.get_inputs()}
        roles = ("image",) if self.joined else ("image", "mask")
        shown = ", ".join(f"{name} {node.shape} {node.type}" for name, node in found.items())
        if len(found) != len(roles):
            raise InputError(
                f"{self.path}: the graph has the inputs {shown}; expected {len(roles)} (`joined: "
                f"{str(self.joined).lower()}`). A graph with four channels in one input needs `joined: true`."
            )
        named = self._guessed(found) if inputs is None else dict(inputs)
        if named.keys() != set(roles) or set(named.values()) != found.keys():
            raise InputError(
                f"{self.path}: the graph has the inputs {shown}. Name them: `inputs: {{{': ..., '.join(roles)}: ...}}`."
            )
        for role, name in named.items():
            self._check(role, found[name])
        return {role: (name, KINDS[found[name].type]) for role, name in named.items()}

    def _guessed(self, found: Mapping[str, Any]) -> dict[str, str]:
        """Return the names of the inputs by their role; of too few roles if they cannot be told apart."""
        axis = 3 if self.last else 1
        masks = [name for name, node in found.items() if len(node.shape) == 4 and node.shape[axis] == 1]
        masks = masks or [name for name in found if "mask" in name.lower()]
        if self.joined or len(masks) != 1:
            return {"image": next(iter(found))}
        return {"image": next(name for name in found if name != masks[0]), "mask": masks[0]}

    def _check(self, role: str, node: Any) -> None:
        """Refuse an input of a type, number of channels or size that the parameters do not fit."""
        if node.type not in KINDS or len(node.shape) != 4:
            raise InputError(
                f"{self.path}: the input {node.name} is a {node.type} of the shape {node.shape}; expected four axes of "
                f"{', '.join(KINDS)}."
            )
        order = [0, 3, 1, 2] if self.last else [0, 1, 2, 3]
        _, channels, *sides = (node.shape[axis] for axis in order)
        expected = 1 if role == "mask" else 4 if self.joined else 3
        other = node.shape[1 if self.last else 3]  # where the channels would be in the other layout
        if channels != expected and (isinstance(channels, int) or other == expected):
            raise InputError(
                f"{self.path}: the input {node.name} has the shape {node.shape}, but the {role} has {expected} "
                "channels. Check `layout`, `joined` and `inputs`."
            )
        fixed = {side for side in sides if isinstance(side, int)}
        if fixed and fixed != {self.size}:
            raise InputError(
                f"{self.path}: the input {node.name} has the shape {node.shape}, which fixes the size of images, but "
                f"`size` is {self.size or 'null'}. Write `size: {max(fixed)}`."
            )
        if node.type == "tensor(uint8)" and role == "image" and self.ranges[0] != (0, 255):
            raise InputError(f"{self.path}: the image is of 8 bits. Write `image_range: [0, 255]`.")


def _range(key: str, value: Any) -> tuple[float, float]:
    if not isinstance(value, list | tuple) or len(value) != 2 or not all(map(is_number, value)) or value[0] == value[1]:
        raise InputError(f"{key}: {value!r}; expected the values of black and white, such as [0, 1] or [-1, 1].")
    return value[0], value[1]
