"""Recorded versions of code, checked out of the repository where they can be had."""

from __future__ import annotations

import os
import re
import subprocess
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from provrun.core.code import CapturedCode, Code
from provrun.errors import ProvrunError
from provrun.record.place import find
from provrun.record.rebuilding import CannotRebuild, check_out
from provrun.record.view import find_git

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_URL = re.compile(r"(https?|ssh|git|file)://[^\s]+|[\w.-]+@[\w.-]+:[^\s]+")
_ID = re.compile(r"[0-9a-f]{40}")  # git takes other words for options, and a folder is named after a tree
_SECONDS = 600


class Checkouts:
    """Checks versions of code out into a folder; ``patches`` are uncommitted changes by their digest.

    ``repository`` is where to find them instead of where the page says: a folder or an address. ``tell`` hears of each
    place before anything is had from there.
    """

    def __init__(
        self, folder: Path, repository: str | None, patches: Mapping[str, bytes], tell: Callable[[str], object]
    ) -> None:
        self._folder = folder
        self._tell = tell
        self._repository = repository
        self._patches = patches
        self._cloned: dict[str, Path] = {}
        self._made: dict[str, Path | CannotRebuild] = {}

    def of(self, code: Code) -> Path:
        """Give a folder that holds a version of code; `CannotRebuild` if it cannot be had exactly as it was."""
        found = self._made.get(code.digest)
        if found is None:
            try:
                found = self._check_out(code)
            except CannotRebuild as error:
                found = error
            self._made[code.digest] = found
        if isinstance(found, CannotRebuild):
            raise found
        return found

    def _check_out(self, code: Code) -> Path:
        if code.kind != "git" or code.tree is None:
            raise CannotRebuild("its code lay in no git repository", value=code.digest[:12])
        if not all(_ID.fullmatch(one) for one in (code.tree, code.commit) if one is not None):
            raise CannotRebuild("the page names no commit and tree of git", value=code.digest[:12])
        patch = None
        if code.patch_digest is not None:
            patch = self._patches.get(code.patch_digest)
            if patch is None or sha256(patch).hexdigest() != code.patch_digest:
                raise CannotRebuild(
                    "it ran with changes that were not committed, and they are not here", value=code.digest[:12],
                    next="give the crate, which has them, instead of the page",
                )
        target = self._folder / f"code-{code.tree}"
        if not target.is_dir():
            check_out(self._place(code), CapturedCode(code, patch), target)
        return target

    def _place(self, code: Code) -> Path:
        """Give a local repository that has the commit."""
        where = self._repository or code.remote
        if where is None:
            raise CannotRebuild(
                "the page does not say where its repository is", value=code.digest[:12],
                next="--repository DIR or ADDRESS",
            )
        if where not in self._cloned:
            self._tell(f"code comes from {where}")
            local = Path(where).expanduser()
            if local.is_dir() and (local / ".git").exists():
                self._cloned[where] = local
            else:
                self._cloned[where] = self._clone(where, local)
        place = self._cloned[where]
        if place.parent == self._folder and code.commit is not None:
            self._fetch(place, code.commit)
        return place

    def _clone(self, where: str, local: Path) -> Path:
        if not local.is_dir() and not _URL.fullmatch(where):
            raise CannotRebuild(f"{where} is no repository", value=where, next="--repository DIR or ADDRESS")
        target = self._folder / f"repository-{len(self._cloned)}"
        self._git("clone", "--quiet", "--no-checkout", "--", where, str(target), about=where)
        return target

    def _fetch(self, place: Path, commit: str) -> None:
        """Get a commit that no branch or tag leads to any more, if the repository still gives it."""
        if self._run("-C", str(place), "cat-file", "-e", f"{commit}^{{commit}}").returncode:
            self._run("-C", str(place), "fetch", "--quiet", "origin", commit)

    def _git(self, *words: str, about: str) -> None:
        done = self._run(*words)
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            raise CannotRebuild(
                f"cannot clone {about}: {said[-1] if said else 'git failed'}", value=about,
                next="--repository DIR or ADDRESS says where else it is",
            )

    def _run(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        # A person's own settings count, for they may hold what opens the repository; nobody is asked for anything.
        environ = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
        safe = ["-c", "protocol.ext.allow=never", "-c", f"core.hooksPath={os.devnull}", "-c", "core.fsmonitor=false"]
        try:
            return subprocess.run(
                [find_git(), *safe, *words], env=environ, stdin=subprocess.DEVNULL, capture_output=True, check=False,
                timeout=_SECONDS,
            )
        except subprocess.TimeoutExpired as error:
            raise CannotRebuild(f"git {words[0]} took longer than {_SECONDS} s", value=words[-1]) from error


def local_repository(folder: Path) -> str | None:
    """Give the repository that a folder lies in, by its path; None outside of any."""
    try:
        place = find(folder)
    except ProvrunError:
        return None
    return None if place is None else str(place.root)
