"""What code ran: a version of a git repository as it really lay on disk, or a set of files."""

from __future__ import annotations

from typing import Literal

import msgspec

from provrun.core.canonical import digest


class Submodule(msgspec.Struct, frozen=True, array_like=True):
    """A repository inside the repository: ``tree`` is None when it is not checked out."""

    path: str
    commit: str | None
    tree: str | None
    dirty: bool


class Code(msgspec.Struct, frozen=True, kw_only=True):
    """A version of code.

    Of a repository: ``commit`` (40 hex digits, None before the first one) is where HEAD stood, ``tree`` (40 hex digits,
    the ``swh:1:dir`` identifier) is the git tree of the bytes that lay on disk, without any filter or line-end
    conversion: tracked files, and untracked source files. ``dirty`` says that they were not those of the commit;
    ``patch_digest`` is the SHA-256 of the patch from the commit's tree to them, and ``unpatched`` names changed files
    too large for it. ``untracked_counted`` untracked files are no code and were not read.

    Without a repository ``files_digest`` (64 hex digits) stands for paths and contents of the files named.

    ``root`` is the folder on the host that captured it; ``branch``, ``remote`` (without credentials) and ``root`` say
    where code was found, not what it was.
    """

    kind: Literal["git", "files"]
    root: str
    commit: str | None = None
    tree: str | None = None
    dirty: bool = False
    remote: str | None = None
    branch: str | None = None
    patch_digest: str | None = None
    unpatched: tuple[str, ...] = ()
    files_digest: str | None = None
    submodules: tuple[Submodule, ...] = ()
    untracked_counted: int = 0

    @property
    def digest(self) -> str:
        """Return the 64 hex digits that stand for what ran: equal wherever and however often it is captured.

        The commit counts: a dirty tree and the same tree once committed are two versions, of which only one can be
        found again in the repository.
        """
        if self.kind == "files":
            return digest("code", {"files": self.files_digest}).hex()
        inner = [[module.path, module.commit, module.tree] for module in self.submodules]
        return digest("code", {"commit": self.commit, "submodules": inner, "tree": self.tree}).hex()


class CapturedCode(msgspec.Struct, frozen=True):
    """A version of code with what cannot be found again elsewhere: the patch, as ``git apply`` takes it."""

    code: Code
    patch: bytes | None = None


def checkout_of(code: Code) -> str:
    """Give where, beneath the project, a version of a repository is checked out."""
    return f".provrun/checkouts/{code.tree}"
