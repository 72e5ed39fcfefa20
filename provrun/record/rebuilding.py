"""Build a recorded version of code again: the tree of its commit and its patch, and nothing but that tree."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from provrun.core.code import CapturedCode
from provrun.errors import Refused
from provrun.record.blobs import read_entry
from provrun.record.place import Place, UnreadableRepository, explained, find
from provrun.record.source import is_written
from provrun.record.tree import EMPTY_TREE
from provrun.record.view import View


class CannotRebuild(Refused):
    """A recorded version of code cannot be had again exactly; the message says why."""


def differing(path: Path, versions: Sequence[CapturedCode]) -> set[str]:
    """Give the absolute paths of the files in which two versions of the repository around ``path`` differ.

    Raises `CannotRebuild` if one of them cannot be had again.
    """
    place = _place(path)
    with explained(place.root), View(place) as view:
        first, second = (rebuild(view, one) for one in versions)
        listed = view.git("diff-tree", "-r", "-z", "--name-only", "--no-renames", first, second)
    root = place.root.resolve()
    return {str(root / os.fsdecode(name)) for name in listed.split(b"\0") if name}


def check_out(path: Path, captured: CapturedCode, target: Path) -> None:
    """Write a recorded version of the repository around ``path`` into the folder ``target``, which is made.

    Raises `CannotRebuild` unless what lies there then is the recorded tree, byte by byte.
    """
    place = _place(path)
    with explained(place.root), View(place) as view:
        rebuild(view, captured)
        try:
            view.git("checkout-index", "--all", "--force", f"--prefix={target}/")
        except UnreadableRepository as error:
            raise _refusal(captured, error.message) from None
    target.mkdir(exist_ok=True)  # of a tree without a file
    if tree_of(target) != captured.code.tree:
        raise _refusal(captured, "this file system does not keep files as git has them")


def tree_of(folder: Path) -> str:
    """Give the id of the git tree of what lies in a folder, bytecode apart."""
    return _tree(os.fsencode(folder)) or EMPTY_TREE


def _tree(folder: bytes) -> str | None:
    entries: list[tuple[bytes, bytes]] = []
    for one in os.scandir(folder):
        if is_written(os.fsdecode(one.name)):
            continue
        if one.is_dir(follow_symlinks=False):
            inner = _tree(one.path)
            if inner is not None:
                entries.append((one.name + b"/", b"40000 %b\0%b" % (one.name, bytes.fromhex(inner))))
            continue
        found = read_entry(one.path)
        if found is not None:
            entries.append((one.name, b"%o %b\0%b" % (found.mode, one.name, bytes.fromhex(found.id))))
    if not entries:
        return None
    data = b"".join(line for _, line in sorted(entries))
    return hashlib.sha1(b"tree %d\0%b" % (len(data), data), usedforsecurity=False).hexdigest()


def rebuild(view: View, captured: CapturedCode) -> str:
    """Make the tree of a recorded version in a view, which has its objects and its index then; give its id.

    Raises `CannotRebuild` unless it is the recorded tree.
    """
    code = captured.code
    if code.kind != "git" or code.tree is None:
        raise _refusal(captured, "it is no version of a git repository")
    if code.unpatched:
        raise _refusal(captured, f"{', '.join(code.unpatched[:3])} had changed and was too large for the patch")
    if code.submodules:
        raise _refusal(captured, f"{code.submodules[0].path} is a repository of its own")
    try:
        view.git("read-tree", *([code.commit] if code.commit is not None else ["--empty"]))
    except UnreadableRepository:
        raise _refusal(captured, f"the repository has no commit {code.commit}") from None
    if captured.patch:
        try:
            view.git("apply", "--cached", "--whitespace=nowarn", "-", stdin=captured.patch)
        except UnreadableRepository as error:
            raise _refusal(captured, f"its patch does not apply ({error.message})") from None
    tree = view.git("write-tree", "--missing-ok").decode().strip()
    if tree != code.tree:
        raise _refusal(captured, "git converts files as it writes them (line ends, filters), so their bytes are others")
    return tree


def _place(path: Path) -> Place:
    place = find(path)
    if place is None:
        raise CannotRebuild(f"{path} lies in no git repository", value=str(path), next="git init, then submit again")
    return place


def _refusal(captured: CapturedCode, why: str) -> CannotRebuild:
    digest = captured.code.digest[:12]
    return CannotRebuild(
        f"code:{digest} cannot be had again exactly: {why}", value=digest, next=f"provrun code code:{digest}"
    )
