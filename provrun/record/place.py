"""Find the repository that a folder lies in, by looking at files only: no git runs, no configuration is read."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from provrun.errors import ProvrunError

_SMALL = 1 << 16


class UnreadableRepository(ProvrunError):
    """There is a repository, and its state cannot be read."""

    code = "repository"


class NoGit(ProvrunError):
    """The git program is missing, and the code lies in a repository."""

    code = "no-git"


@contextmanager
def explained(root: Path) -> Iterator[None]:
    """Turn a denied permission met while the repository at ``root`` is read into `UnreadableRepository`."""
    try:
        yield
    except PermissionError as error:
        raise UnreadableRepository(
            f"the repository in {root} cannot be read: {error.strerror}: {error.filename}",
            value=str(error.filename),
            next="ask its owner for read permission, or work in a clone of your own",
        ) from None


@dataclass(frozen=True)
class Place:
    """Where a working tree and its repository lie.

    ``gitdir`` holds HEAD and the index of this working tree, ``common`` the objects and references, which linked
    working trees share.
    """

    root: Path
    gitdir: Path
    common: Path


def find(path: Path) -> Place | None:
    """Return the innermost repository whose working tree holds ``path``, or None.

    Raises `UnreadableRepository` for a bare repository, for the inside of a git directory and for a damaged one.
    """
    start = path.resolve()
    if not start.is_dir():
        start = start.parent
    for folder in (start, *start.parents):
        place = at(folder)
        if place is not None:
            return place
        if _is_gitdir(folder):
            inside = folder.name == ".git" or "modules" in folder.parts or "worktrees" in folder.parts
            what = "is the inside of a repository" if inside else "is a bare repository, which has no files to run"
            raise UnreadableRepository(f"{folder} {what}", value=str(folder), next="work in a checkout of it")
    return None


def at(root: Path) -> Place | None:
    """Return the repository whose working tree begins at ``root``, or None if there is none."""
    mark = root / ".git"
    with explained(root), suppress(FileNotFoundError, NotADirectoryError):
        mode = mark.stat().st_mode
        if stat.S_ISDIR(mode):
            gitdir = mark
            if not any(mark.iterdir()):
                return None
        elif stat.S_ISREG(mode):
            gitdir = _follow(mark)
        else:
            return None
        common = _common(gitdir)
        if not _is_gitdir(gitdir):
            raise UnreadableRepository(
                f"the repository in {root} is damaged: {gitdir} is no git directory",
                value=str(gitdir),
                next=f"run `git -C '{root}' status` and mend what it says, or clone anew",
            )
        return Place(root, gitdir, common)
    return None


def read_small(path: Path, limit: int = _SMALL) -> bytes:
    """Return the first ``limit`` bytes of a regular file; a pipe or device in its place is refused, not waited for."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise UnreadableRepository(f"{path} is not a regular file", value=str(path), next="remove it")
        return file.read(limit)


def _follow(mark: Path) -> Path:
    """Return the git directory that a ``.git`` file names."""
    text = read_small(mark)
    target = Path(os.fsdecode(text.removeprefix(b"gitdir:").strip()))
    gitdir = (mark.parent / target).resolve()
    if not text.startswith(b"gitdir:") or not gitdir.is_dir():
        raise UnreadableRepository(
            f"{mark} points to no repository",
            value=str(target),
            next="if the repository has moved, run `git worktree repair` in it; else remove the file",
        )
    return gitdir


def _common(gitdir: Path) -> Path:
    """Return the git directory that holds objects and references."""
    try:
        target = os.fsdecode(read_small(gitdir / "commondir").strip())
    except FileNotFoundError:
        return gitdir
    return (gitdir / target).resolve()


def _is_gitdir(folder: Path) -> bool:
    if not (os.path.lexists(folder / "HEAD")):
        return False
    common = _common(folder)
    return (common / "objects").is_dir() and (common / "refs").is_dir()
