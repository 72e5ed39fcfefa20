"""Say what lies in a working tree: the git tree of the bytes on disk, and the patch that makes it from HEAD.

The tree is that of the tracked files as they lie there (deleted ones are absent, those a sparse checkout leaves out
stand as in the index) and of untracked source files, all without filters. A repository inside stands by the commit it
has checked out. Tracked files that tasks write (outputs, bytecode) stand as in HEAD: they are not what ran.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from provrun.core.code import Submodule
from provrun.record.blobs import SUBMODULE, Entry
from provrun.record.changes import CHANGE_LIMIT, PATCH_LIMIT, Change, find_changes
from provrun.record.conversions import find_converted
from provrun.record.files import StatCache
from provrun.record.listing import Listing, Status, parse_status
from provrun.record.place import Place, at, explained
from provrun.record.source import KeptOut
from provrun.record.urls import remote_of
from provrun.record.view import View

EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"

_STATUS = ("status", "--porcelain=v2", "-z", "--untracked-files=all", "--ignore-submodules=all", "--no-renames")
_DIFF = """
    diff-tree -r -p --binary --full-index --unified=3 --no-renames --no-color --no-ext-diff --no-textconv
    --diff-algorithm=myers --no-indent-heuristic --submodule=short --ignore-submodules=none
"""

Edits = Mapping[bytes, Entry | None]


@dataclass(frozen=True)
class Head:
    """Where HEAD stands: no commit before the first one, no branch when detached."""

    commit: str | None
    tree: str
    branch: str | None


@dataclass(frozen=True)
class Lying:
    """What lies in a working tree; ``patch`` is empty when that is what HEAD has, filters aside."""

    head: Head
    remote: str | None
    tree: str
    dirty: bool
    patch: bytes
    unpatched: tuple[str, ...]
    submodules: tuple[Submodule, ...]
    counted: int


@dataclass(frozen=True)
class Looking:
    """How to look: who reads HEAD, what is kept out, and which digests are known."""

    read_head: Callable[[View], Head]
    kept_out: KeptOut
    known: StatCache


@dataclass(frozen=True)
class Inner:
    """A repository inside a working tree: its path, its entry there, and what lies in it if it is checked out."""

    path: bytes
    entry: Entry | None
    lying: Lying | None


def look(place: Place, how: Looking, prefix: str = "") -> Lying:
    """Return what lies in a working tree; ``prefix`` is its path in the outermost one, with a slash at the end."""
    with explained(place.root), View(place, how.kept_out.ignore_lines(place.root)) as view:
        asked = view.start(*_STATUS)
        listed = view.start("ls-files", "-z", "-s", "-v")
        head = how.read_head(view)
        listing = Listing(listed.output())
        status = parse_status(asked.output())
        written = how.kept_out.beneath(place.root)

        inner = [*_submodules(view, listing, how, prefix), *_nested(view, status, how, prefix)]
        changes = find_changes(view, status, listing, written)
        converted = find_converted(view, status, listing, changes.found, how.known)
        found = [change for change in changes.found if change.path not in converted]
        fitting, large = _fit(view, found)

        edits = {change.path: change.now for change in fitting} | {change.path: change.head for change in large}
        edits |= changes.restored | {each.path: each.entry for each in inner}
        # Without edits the index is that of HEAD.
        base = _write_tree(view, edits) if edits else head.tree
        more = {change.path: change.now for change in large} | converted
        tree = _write_tree(view, more) if more else base

        below = [each.lying for each in inner if each.lying]
        patch = _patch(view, head.tree, base, prefix)
        modules = [_submodule(each, prefix) for each in inner if each.entry]
        return Lying(
            head=head,
            remote=remote_of(view.configuration.repository, head.branch),
            tree=tree,
            dirty=base != head.tree or bool(large) or any(lying.dirty for lying in below),
            patch=b"".join([patch, *(lying.patch for lying in below)]),
            unpatched=(
                *(prefix + shown(change.path) for change in large),
                *(name for lying in below for name in lying.unpatched),
            ),
            submodules=(*modules, *(module for lying in below for module in lying.submodules)),
            counted=changes.counted,
        )


def shown(path: bytes) -> str:
    """Return a path as text; bytes that are no UTF-8 are escaped."""
    return path.decode("utf-8", "backslashreplace")


def _submodules(view: View, listing: Listing, how: Looking, prefix: str) -> Iterator[Inner]:
    for path, commit in listing.submodules().items():
        folder = view.place.root / os.fsdecode(path)
        place = at(folder) if folder.is_dir() else None
        lying = look(place, how, f"{prefix}{shown(path)}/") if place else None
        here = lying.head.commit if lying else None
        yield Inner(path, (SUBMODULE, here or commit) if folder.is_dir() else None, lying)


def _nested(view: View, status: Status, how: Looking, prefix: str) -> Iterator[Inner]:
    """Yield the repositories that lie untracked in the working tree, but for other working trees of this one."""
    written = how.kept_out.beneath(view.place.root)
    for path in status.folders:
        place = at(view.place.root / os.fsdecode(path))
        if place and place.common != view.place.common and os.fsdecode(path) not in written:
            lying = look(place, how, f"{prefix}{shown(path)}/")
            if lying.head.commit:
                yield Inner(path, (SUBMODULE, lying.head.commit), lying)


def _submodule(inner: Inner, prefix: str) -> Submodule:
    commit = inner.entry[1] if inner.entry else None
    lying = inner.lying
    return Submodule(prefix + shown(inner.path), commit, lying.tree if lying else None, bool(lying and lying.dirty))


def _fit(view: View, changes: list[Change]) -> tuple[list[Change], list[Change]]:
    """Split changes into those that go into a patch and those too large for it."""
    sizes = view.sizes({id for change in changes for id in _ids(change)})

    def weight(change: Change) -> int:
        # What git lacks (a partial clone has not fetched it) can be in no patch.
        return (change.size or 0) + sum(sizes.get(id, PATCH_LIMIT + 1) for id in _ids(change))

    fitting, large, room = [], [], PATCH_LIMIT
    for size, change in sorted(((weight(change), change) for change in changes), key=lambda pair: pair[0]):
        if change.patchable and size <= min(room, CHANGE_LIMIT):
            room -= size
            fitting.append(change)
        else:
            large.append(change)
    return fitting, sorted(large, key=lambda change: change.path)


def _ids(change: Change) -> list[str]:
    """Return the contents of a change that git should have."""
    entries = (change.head, change.now if change.size is None else None)
    return [entry[1] for entry in entries if entry and entry[0] != SUBMODULE]


def _write_tree(view: View, edits: Edits) -> str:
    """Return the tree of the view's index after these edits."""
    removals_first = sorted(edits.items(), key=lambda edit: edit[1] is not None)
    lines = b"".join(_index_line(path, entry) for path, entry in removals_first)
    view.git("update-index", "--add", "--replace", "-z", "--index-info", stdin=lines)
    return view.git("write-tree", "--missing-ok").decode().strip()


def _index_line(path: bytes, entry: Entry | None) -> bytes:
    mode, id = entry or (0, "0" * 40)
    return b"%o %b\t%b\0" % (mode, id.encode(), path)


def _patch(view: View, before: str, after: str, prefix: str) -> bytes:
    if before == after:
        return b""
    return view.git(*_DIFF.split(), f"--src-prefix=a/{prefix}", f"--dst-prefix=b/{prefix}", before, after)
