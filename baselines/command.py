"""Any program as a method: it gets a folder of pictures and one of masks, and leaves a folder of filled pictures.

The program runs where it likes, in a conda environment of its own if it needs one. What it is given is declared in its
own terms (which colour marks the hole, what lies under it, what size), so that nothing has to be guessed; what it
leaves is checked picture by picture.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sair.data.samples import to_tensor
from sair.files import InputError, refuse
from sair.images import read_rgb, write_png

LAST_LINES = 15  # of a failed program's output that the error shows
FILLS = {"black": 0.0, "grey": 0.5, "white": 1.0}


class Command:
    """A program over folders.

    Args:
        command: the command line, a list of words. ``{images}``, ``{masks}`` and ``{output}`` stand for the folders,
            ``{checkout}`` for the absolute path of ``checkout.folder``.
        hole: colour of the hole in the masks that the program wants, ``white`` or ``black``.
        fill: colour under the hole in its pictures: ``black``, ``grey``, ``white``.
        size: side of the square pictures that it is shown; None shows them as they are. Its answers are brought back.
        image_name, mask_name, output_name: how it names its files; ``{id}`` is the picture's number.
        together: masks lie in the pictures' folder.
        environment: name of a conda environment to run it in.
        checkout: ``{folder, repository, commit}`` of the program's code, which must be there before it can run, and
            in whose folder it is run.
        timeout: seconds after which it is stopped.
        batch: pictures that one call of the program gets.
    """

    def __init__(
        self,
        *,
        command: Sequence[str],
        hole: str = "white",
        fill: str = "black",
        size: int | None = None,
        image_name: str = "{id}.png",
        mask_name: str = "{id}.png",
        output_name: str = "{id}.png",
        together: bool = False,
        environment: str | None = None,
        checkout: Mapping[str, str] | None = None,
        timeout: float = 3600,
        batch: int = 512,
    ) -> None:
        if hole not in ("white", "black"):
            raise InputError(f"hole {hole!r}: expected white or black.")
        if fill not in FILLS:
            raise InputError(f"fill {fill!r}: expected one of {', '.join(FILLS)}.")
        if together and image_name == mask_name:
            raise InputError("`together` puts pictures and masks into one folder: give them different names.")
        self.command, self.hole, self.fill, self.size = list(command), hole, FILLS[fill], size
        self.names = {"image": image_name, "mask": mask_name, "output": output_name}
        self.together, self.environment, self.checkout = together, environment, checkout
        self.timeout, self.batch = timeout, batch

    def inpaint(self, images: Tensor, masks: Tensor) -> Tensor:
        """Have the program fill the holes; see ``sair.methods.Inpainter``.

        Raises:
            InputError: its code is not there, it fails, takes too long, leaves a picture out, leaves one too many, or
                leaves one of another size or that cannot be read.
        """
        with tempfile.TemporaryDirectory(prefix="sair-") as folder:
            root = Path(folder)
            folders = {"images": root / "images", "masks": root / ("images" if self.together else "masks")}
            folders["output"] = root / "output"
            for path in folders.values():
                path.mkdir(exist_ok=True)
            self._write(images, masks, folders)
            self._run(folders)
            answers = self._read(len(images), folders["output"])
        if self.size is None:
            return answers  # of another size, the harness refuses it
        return F.interpolate(answers, images.shape[-2:], mode="bicubic", align_corners=False).clamp(0, 1)

    def _name(self, kind: str, number: int) -> str:
        return self.names[kind].format(id=f"{number:05d}")

    def _write(self, images: Tensor, masks: Tensor, folders: Mapping[str, Path]) -> None:
        if self.size is not None:
            shape = (self.size, self.size)
            images = F.interpolate(images, shape, mode="bilinear", align_corners=False, antialias=True)
            # A reduced pixel that touches the hole at all is hole: its colour is mixed with the fill.
            masks = (F.interpolate(masks, shape, mode="area") > 0).float()
        images = images * (1 - masks) + self.fill * masks
        for number, (image, mask) in enumerate(zip(images, masks, strict=True)):
            pixels = (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
            white = mask[0].bool().cpu().numpy() == (self.hole == "white")
            write_png(folders["images"] / self._name("image", number), pixels)
            write_png(folders["masks"] / self._name("mask", number), np.where(white, 255, 0).astype(np.uint8))

    def _run(self, folders: Mapping[str, Path]) -> None:
        places = {name: str(path) for name, path in folders.items()}
        where = None
        if self.checkout is not None:
            where = self._checked_out()
            places["checkout"] = str(where)
        words = [word.format(**places) for word in self.command]
        if self.environment is not None:
            words = ["conda", "run", "--no-capture-output", "-n", self.environment, *words]
        shown = shlex.join(words)
        with tempfile.TemporaryFile() as log:
            try:
                process = subprocess.Popen(
                    words, cwd=where, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
                )
            except OSError as error:
                raise InputError(f"the command {shown!r} cannot be started: {error}.") from None
            try:
                status = process.wait(self.timeout)
            except subprocess.TimeoutExpired:
                raise InputError(
                    f"the command {shown!r} was stopped after {self.timeout:g} seconds. Raise `timeout`, or lower "
                    "`batch`."
                ) from None
            finally:
                _stop(process)
            if status != 0:
                log.seek(0)
                lines = log.read().decode(errors="replace").splitlines()[-LAST_LINES:]
                raise InputError("\n".join([f"the command {shown!r} ended with status {status}:", *lines]))

    def _checked_out(self) -> Path:
        folder = Path(self.checkout["folder"]).resolve()
        if not folder.is_dir():
            repository, commit = self.checkout["repository"], self.checkout["commit"]
            raise InputError(
                f"{self.checkout['folder']}: the program's code is not there. Get it: git clone {repository} "
                f"{self.checkout['folder']} && git -C {self.checkout['folder']} checkout {commit}"
            )
        return folder

    def _read(self, count: int, output: Path) -> Tensor:
        wanted = [self._name("output", number) for number in range(count)]
        found = {str(path.relative_to(output)) for path in output.rglob("*") if path.is_file()}
        faults = [f"the program left no {name}" for name in wanted if name not in found]
        faults += [f"the program left {name}, which nobody asked for" for name in sorted(found - set(wanted))]
        refuse(faults)
        answers = [to_tensor(read_rgb(output / name)) for name in wanted]
        sizes = {tuple(answer.shape) for answer in answers}
        if len(sizes) > 1:
            raise InputError(f"the program left pictures of different sizes: {sorted(s[1:] for s in sizes)}.")
        answers = torch.stack(answers)
        if self.size is not None and answers.shape[-2:] != (self.size, self.size):
            raise InputError(f"the program left pictures of {tuple(answers.shape[-2:])}, not of {self.size} (`size`).")
        return answers


def _stop(process: subprocess.Popen) -> None:
    """End a program with all its children."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
