"""Capture the version of code that lies in a folder."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from provrun.core.canonical import digest
from provrun.core.code import CapturedCode, Code
from provrun.errors import NotFound
from provrun.record.files import StatCache, digest_file
from provrun.record.place import UnreadableRepository, find
from provrun.record.source import KeptOut
from provrun.record.tree import EMPTY_TREE, Head, Looking, look, shown
from provrun.record.view import View

_environment = threading.Lock()


def capture(
    path: Path, *, exclude: Sequence[str] = (), files: Sequence[Path] = (), known: StatCache | None = None
) -> CapturedCode:
    """Return the version of the code in the folder ``path``, as it lies on disk.

    ``exclude`` are files that are no code because tasks or provrun write them (see `source.KeptOut`); ``files`` stand
    for the code where there is no repository; ``known`` saves reading large files of repositories with filters again.

    Nothing that the repository configures is run, nothing is written into it, and no network is used. Raises
    `UnreadableRepository` for a bare or damaged repository, `NoGit` without git, `NotFound` for files that are not
    there.
    """
    place = find(path)
    if place is None:
        return capture_files(path, files)
    lying = look(place, Looking(_read_head, KeptOut(exclude, path), known or StatCache()))
    code = Code(
        kind="git",
        root=shown(os.fsencode(place.root)),
        commit=lying.head.commit,
        tree=lying.tree,
        dirty=lying.dirty,
        remote=lying.remote,
        branch=lying.head.branch,
        patch_digest=sha256(lying.patch).hexdigest() if lying.patch else None,
        unpatched=lying.unpatched,
        submodules=lying.submodules,
        untracked_counted=lying.counted,
    )
    return CapturedCode(code, lying.patch or None)


def capture_files(path: Path, files: Sequence[Path]) -> CapturedCode:
    """Return the version of code outside of any repository: the files named, by path beneath ``path`` and content."""
    root = path.resolve()
    contents = [[shown(os.fsencode(os.path.relpath(file.resolve(), root))), _content(file)] for file in set(files)]
    together = digest("files", sorted(contents)).hex()
    return CapturedCode(Code(kind="files", root=shown(os.fsencode(root)), files_digest=together))


def _content(file: Path) -> str:
    try:
        return digest_file(file)[0]
    except OSError as error:
        raise NotFound(f"{file} is code and cannot be read: {error.strerror}", value=str(file)) from None


def _read_head(view: View) -> Head:
    with _without_git_variables(view.program):
        import git

        repository = git.Repo(view.path, expand_vars=False)
        try:
            repository.git.update_environment(**view.environ)
            branch = None if repository.head.is_detached else repository.head.reference.name
            if view.commit is None:
                return Head(None, EMPTY_TREE, branch)
            commit = repository.head.commit
            return Head(commit.hexsha, commit.tree.hexsha, branch)
        except (git.GitError, ValueError, OSError) as error:
            raise UnreadableRepository(
                f"HEAD of the repository in {view.place.root} cannot be read: {error}",
                value=str(view.place.root),
                next=f"run `git -C '{view.place.root}' fsck` and mend what it finds",
            ) from error
        finally:
            repository.close()


@contextmanager
def _without_git_variables(program: str) -> Iterator[None]:
    """Take away variables of git, which GitPython would follow to other repositories; they are back at the end.

    When it is imported GitPython runs git, and keeps to the program it has found.
    """
    with _environment:
        taken = {key: os.environ.pop(key) for key in list(os.environ) if key.startswith("GIT_")}
        os.environ["GIT_PYTHON_GIT_EXECUTABLE"] = program
        try:
            yield
        finally:
            del os.environ["GIT_PYTHON_GIT_EXECUTABLE"]
            os.environ.update(taken)
