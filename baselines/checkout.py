"""Check the code of an external program: a git repository at a declared commit."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sair.common.errors import InputError, near

REQUIRED = ("folder", "repository", "commit")
OPTIONAL = ("local_changes",)


@dataclass(frozen=True)
class Checkout:
    """A folder that contains a repository's code.

    Attributes:
        folder: where the repository is checked out.
        repository: where it can be cloned from.
        commit: the commit that must be checked out.
        local_changes: whether tracked files may differ from that commit.
    """

    folder: str
    repository: str
    commit: str
    local_changes: bool = False

    @classmethod
    def of(cls, given: Any) -> Checkout:
        """Check the ``checkout`` of a method's file.

        Raises:
            InputError: a key is missing, unknown or has a wrong value.
        """
        if not isinstance(given, Mapping):
            raise InputError(f"checkout: {given!r}; expected the keys {', '.join(REQUIRED)}.")
        for key in given:
            if key not in (*REQUIRED, *OPTIONAL):
                raise InputError(f"checkout.{key}: unknown key. {near(str(key), (*REQUIRED, *OPTIONAL))}")
        for key in REQUIRED:
            value = given.get(key)
            if not isinstance(value, str) or not value or value.startswith("-"):
                found = f"is {value!r}" if key in given else "is missing"
                raise InputError(f"checkout.{key}: {found}; expected a text, in quotes if it looks like a number.")
        if not isinstance(given.get("local_changes", False), bool):
            raise InputError(f"checkout.local_changes: {given['local_changes']!r}; expected true or false.")
        return cls(**given)

    def checked(self) -> Path:
        """Return the folder's absolute path if the declared commit is checked out in it.

        Raises:
            InputError: no folder, no git repository, another commit, or local changes that are not declared.
        """
        folder = Path(self.folder).expanduser().resolve()
        checkout = f"git -C {self.folder} checkout {self.commit}"
        if not folder.is_dir():
            raise InputError(
                f"{self.folder}: the program's code is not there. Get it: git clone {self.repository} {self.folder} && "
                f"{checkout}"
            )
        top = self._git(folder, "rev-parse", "--show-toplevel")
        if Path(top).resolve() != folder:
            raise InputError(
                f"{self.folder}: not the top of a git repository, so its commit cannot be checked. Clone it: git clone "
                f"{self.repository} {self.folder} && {checkout}"
            )
        head = self._git(folder, "rev-parse", "HEAD")
        # Resolve the commit, which may be shortened or a tag. One that is unknown here is certainly not checked out.
        wanted = self._git(folder, "rev-parse", "--quiet", "--verify", f"{self.commit}^{{commit}}", fails="")
        if wanted != head:
            raise InputError(
                f"{self.folder}: commit {head[:12]} is checked out, but `checkout.commit` is {self.commit}. Get it: "
                f"git -C {self.folder} fetch && {checkout}"
            )
        changed = self._git(folder, "status", "--porcelain", "--untracked-files=no").splitlines()
        if changed and not self.local_changes:
            raise InputError(
                f"{self.folder}: {len(changed)} files differ from commit {self.commit[:12]}, such as "
                f"{changed[0].split(maxsplit=1)[-1]}. Undo it (git -C {self.folder} checkout .), or declare it: "
                "`local_changes: true` in `checkout`."
            )
        return folder

    def _git(self, folder: Path, *arguments: str, fails: str | None = None) -> str:
        """Return what git prints. If git fails, return ``fails``, or raise an InputError if that is None."""
        # In a hook, or if the user has set GIT_DIR, git would use another repository than the folder's.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        try:
            done = subprocess.run(
                ["git", "-C", str(folder), *arguments],
                env=environment,
                capture_output=True,
                text=True,
                errors="replace",
            )
        except FileNotFoundError:
            raise InputError(
                f"{self.folder}: git, which checks the declared commit, is not installed. Install it."
            ) from None
        if done.returncode == 0:
            return done.stdout.strip()
        if fails is not None:
            return fails
        said = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[0]
        raise InputError(
            f"{self.folder}: git cannot tell which commit is checked out ({said}). Expected a clone of "
            f"{self.repository} at {self.commit}."
        )
