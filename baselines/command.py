"""Run any program as a method: it gets a folder of images and one of masks, and writes a folder of filled images.

The program can run in its own environment, such as a conda environment. The method's file declares the program's input
(colour of the hole, content under it, size), so that nothing has to be guessed. Its output is checked image by image.
"""

from __future__ import annotations

import difflib
import math
import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from baselines.checkout import Checkout
from baselines.parameters import FILLS, is_number, is_whole
from baselines.sizes import back, resized
from sair.common.errors import InputError, refuse
from sair.common.images import read_rgb, write_png
from sair.common.listing import IMAGES, list_output, normal
from sair.common.signals import on_sigterm
from sair.data.samples import to_pixels, to_tensor

LAST_LINES = 15  # number of lines of a failed program's output that the error shows
FOLDERS = ("images", "masks", "output", "checkout")
KNOWN = (*FOLDERS, "seed")
# ${images} is left to the shell; {{images}} stands for the literal {images}.
PLACEHOLDER = re.compile(r"(?<!\$)(\{?)\{(\w+)\}(\}?)")


class Command:
    """A program over folders.

    Args:
        command: the command line, a list of words. ``{images}``, ``{masks}`` and ``{output}`` stand for the folders,
            ``{checkout}`` for the absolute path of ``checkout.folder``, ``{seed}`` for the seed. All other braces are
            passed on to the program.
        hole: colour of the hole in the masks that the program expects, ``white`` or ``black``.
        fill: colour under the hole in its images: ``black``, ``grey``, ``white``.
        size: side of the square images that it gets; None: their own size. Its output is resized back.
        image_name, mask_name, output_name: names of its files; ``{id}`` is the number of the image.
        together: whether the masks are in the folder of the images.
        environment: name of a conda environment to run it in.
        checkout: the program's code, ``{folder, repository, commit}`` (``baselines.checkout.Checkout``). The folder
            must exist; the program runs in it.
        needs: files that must exist before it starts, such as its weights; ``{checkout}`` is replaced.
        seed: of a program that is stochastic; with several ``samples`` each has another one.
        timeout: seconds after which it is stopped.
        batch: images per call of the program.

    Raises:
        InputError: a parameter is invalid; the message names it.
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
        checkout: Mapping[str, Any] | None = None,
        needs: Sequence[str] = (),
        seed: int = 0,
        timeout: float = 3600,
        batch: int = 512,
    ) -> None:
        if hole not in ("white", "black"):
            raise InputError(f"hole {hole!r}: expected white or black.")
        if not isinstance(fill, str) or fill not in FILLS:
            raise InputError(f"fill {fill!r}: expected one of {', '.join(FILLS)}.")
        if together and image_name == mask_name:
            raise InputError("`together` puts images and masks into one folder: give them different names.")
        if not isinstance(together, bool):
            raise InputError(f"together: {together!r}; expected true or false.")
        if environment is not None and not (isinstance(environment, str) and environment):
            raise InputError(f"environment: {environment!r}; expected the name of a conda environment, or null.")
        if not is_number(timeout) or not 0 < timeout < math.inf:
            raise InputError(f"timeout: {timeout!r}; expected a positive number of seconds.")
        _check_count("batch", batch)
        if size is not None:
            _check_count("size", size)
        self.command, self.hole, self.fill, self.size = _words(command), hole, FILLS[fill], size
        self.names = {"image": image_name, "mask": mask_name, "output": output_name}
        for kind, name in self.names.items():
            _check_name(f"{kind}_name", name, batch)
        self.together, self.environment = together, environment
        self.checkout = None if checkout is None else Checkout.of(checkout)
        if self.checkout is None and any("checkout" in _placeholders(word) for word in self.command):
            raise InputError("command: has {checkout}, but no `checkout` is given. Give its folder and commit.")
        self.needs, self.seed = _paths(needs), seed
        self.timeout, self.batch = timeout, batch

    @staticmethod
    def missing(parameters: Mapping[str, Any]) -> list[str]:
        """Return what a method file with these parameters lacks on this machine: code, files, conda or the program.

        Whether the conda environment exists is not looked up; conda reports it when the program is started.
        """
        program = Command(**parameters)
        where, found = None, []
        if program.checkout is not None:
            try:
                where = program.checkout.checked()
            except InputError as error:
                found.append(str(error))
        found += program._needed(where)
        if program.environment is not None:
            if shutil.which("conda") is None:
                found.append(f"conda is not installed, but the program runs in its environment {program.environment}")
        elif shutil.which(program.command[0]) is None:
            found.append(f"the program {program.command[0]} is not on the PATH. Install it, or name its `environment`")
        return found

    def _needed(self, where: Path | None) -> list[str]:
        """Return a message for each file of ``needs`` that is missing; ``where`` is the checkout, if it is there."""
        folder = str(where) if where is not None else "" if self.checkout is None else self.checkout.folder
        paths = [Path(_filled(path, {"checkout": folder})).expanduser() for path in self.needs]
        return [f"{path}: no such file, but the program needs it (`needs`)" for path in paths if not path.exists()]

    def parameter_count(self) -> None:
        """Return None: the number of weights is not known here."""

    def inpaint(self, images: Tensor, masks: Tensor) -> Tensor:
        """Have the program fill the holes; see ``sair.methods.build.Inpainter``.

        Raises:
            InputError: its code is missing or of another commit, the program fails or takes too long, or an image is
                missing, unexpected, unreadable or of another size.
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
            return answers  # the harness refuses another size
        return back(answers, (images.shape[-2], images.shape[-1]))

    def _name(self, kind: str, number: int) -> str:
        return _filled(self.names[kind], {"id": f"{number:05d}"})

    def _write(self, images: Tensor, masks: Tensor, folders: Mapping[str, Path]) -> None:
        if self.size is not None:
            images, masks = resized(images, masks, (self.size, self.size))
        images = images * (1 - masks) + self.fill * masks
        for number, (image, mask) in enumerate(zip(images, masks, strict=True)):
            pixels = to_pixels(image)
            white = mask[0].bool().cpu().numpy() == (self.hole == "white")
            write_png(folders["images"] / self._name("image", number), pixels)
            write_png(folders["masks"] / self._name("mask", number), np.where(white, 255, 0).astype(np.uint8))

    def _run(self, folders: Mapping[str, Path]) -> None:
        places = {name: str(path) for name, path in folders.items()} | {"seed": str(self.seed)}
        where = None
        if self.checkout is not None:
            where = self.checkout.checked()
            places["checkout"] = str(where)
        refuse([f"{message}. The method's card names where to get it." for message in self._needed(where)])
        words = [_filled(word, places) for word in self.command]
        if self.environment is not None:
            words = ["conda", "run", "--no-capture-output", "-n", self.environment, *words]
        shown = shlex.join(words)
        with tempfile.TemporaryFile() as log:
            try:
                # Without an input, a program that asks a question ends at once instead of waiting for `timeout`.
                process = subprocess.Popen(
                    words,
                    cwd=where,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except (OSError, ValueError) as error:  # ValueError: a word contains a null character
                raise InputError(f"the command {shown!r} cannot be started: {error}.") from None
            try:
                with on_sigterm(_leave):
                    status = process.wait(self.timeout)
            except subprocess.TimeoutExpired:
                message = f"was stopped after {self.timeout:g} seconds. Raise `timeout`, or lower `batch`"
                raise InputError(_failed(shown, message, log)) from None
            finally:
                _stop(process)
            if status != 0:
                ended = f"ended with status {status}" if status > 0 else f"was ended by {_signal(-status)}"
                raise InputError(_failed(shown, ended, log))

    def _read(self, count: int, output: Path) -> Tensor:
        wanted = [self._name("output", number) for number in range(count)]
        # The program may also write logs and other files, but an unexpected image is a fault.
        found = {normal(path.relative_to(output).as_posix()) for path in list_output(output)}
        faults = [f"the program did not write {name}" for name in wanted if name not in found]
        faults += [f"the program wrote {name}, which was not expected" for name in sorted(found - set(wanted))]
        refuse(faults)
        answers = [to_tensor(read_rgb(output / name)) for name in wanted]
        sizes = {tuple(answer.shape) for answer in answers}
        if len(sizes) > 1:
            raise InputError(f"the program wrote images of different sizes: {sorted(s[1:] for s in sizes)}.")
        batch = torch.stack(answers)
        if self.size is not None and batch.shape[-2:] != (self.size, self.size):
            raise InputError(f"the program wrote images of {tuple(batch.shape[-2:])}, not of {self.size} (`size`).")
        return batch


def _placeholders(text: str) -> list[str]:
    return [name for before, name, after in PLACEHOLDER.findall(text) if not (before and after)]


def _filled(text: str, values: Mapping[str, str]) -> str:
    """Replace placeholders by their values; braces around anything else stay."""

    def put(match: re.Match[str]) -> str:
        before, name, after = match.groups()
        if before and after:
            return f"{{{name}}}" if _like(name, KNOWN) else match[0]
        return before + values.get(name, f"{{{name}}}") + after

    return PLACEHOLDER.sub(put, text)


def _like(name: str, known: Sequence[str]) -> list[str]:
    return difflib.get_close_matches(name, known, cutoff=0.6)


def _words(command: Any) -> list[str]:
    """Check a command line and return its words."""
    if isinstance(command, str) or not isinstance(command, Sequence) or not command:
        raise InputError(f"command: {command!r}; expected a list of words, such as [python, test.py, '{{images}}'].")
    for word in command:
        if not isinstance(word, str):
            raise InputError(f"command: {word!r} is no text; write it in quotes, '{word}'.")
        for name in _placeholders(word):
            if name not in KNOWN and (meant := _like(name, KNOWN)):
                raise InputError(
                    f"command: {{{name}}} is no placeholder. Did you mean {' or '.join(f'{{{m}}}' for m in meant)}? If "
                    f"the program expects these braces, write {{{{{name}}}}}."
                )
    return list(command)


def _paths(needs: Any) -> list[str]:
    """Check the paths of files that a program needs and return them."""
    if not isinstance(needs, list | tuple) or not all(isinstance(path, str) for path in needs):
        raise InputError(f"needs: {needs!r}; expected a list of paths.")
    return list(needs)


def _check_name(key: str, name: Any, batch: int) -> None:
    if not isinstance(name, str):
        raise InputError(f"{key}: {name!r}; expected a file name such as '{{id}}.png'.")
    places = _placeholders(name)
    if unknown := [place for place in places if place != "id"]:
        raise InputError(f"{key}: {name!r} has {{{unknown[0]}}}; the only placeholder of a name is {{id}}.")
    if batch > 1 and not places:
        raise InputError(
            f"{key}: {name!r} has no {{id}}, so all images would have one name. Add {{id}}, or `batch: 1`."
        )
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not IMAGES.fullmatch(path.suffix) or path.name.startswith("."):
        raise InputError(f"{key}: {name!r}; expected the name of an image inside its folder, such as '{{id}}.png'.")


def _check_count(key: str, value: Any) -> None:
    if not is_whole(value, 1):
        raise InputError(f"{key}: {value!r}; expected a whole number of at least 1.")


def _failed(shown: str, ended: str, log: IO[bytes]) -> str:
    """Return a message on a program that failed, with the last lines that it printed."""
    log.seek(0)
    lines = log.read().decode(errors="replace").splitlines()[-LAST_LINES:]
    message = f"the command {shown!r} {ended}"
    return "\n".join([f"{message}:", *lines]) if lines else f"{message}. It printed nothing."


def _signal(number: int) -> str:
    """Return the name of a signal, with its usual cause where there is one."""
    causes = {signal.SIGKILL: ", often for lack of memory: lower `batch`", signal.SIGSEGV: ", a crash"}
    try:
        return signal.Signals(number).name + causes.get(signal.Signals(number), "")
    except ValueError:  # a real-time signal
        return f"signal {number}"


def _leave() -> None:
    """End this process after its program: a program in a session of its own gets no signal of a job that is ended."""
    raise SystemExit(128 + signal.SIGTERM)


def _stop(process: subprocess.Popen) -> None:
    """End a program with all its children, also those that it left behind."""
    with suppress(ProcessLookupError, PermissionError):  # nothing of it is left, as macOS also says
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
