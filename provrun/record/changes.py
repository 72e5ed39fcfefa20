"""Find what in a working tree is not as in HEAD, and name it as git would."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from provrun.record.blobs import FILE, LINK, PROGRAM, SUBMODULE, Entry, Found, read_entry, write_blob
from provrun.record.listing import Listing, Status, Tracked
from provrun.record.source import SOURCE_LIMIT, Written, is_source
from provrun.record.view import View

CHANGE_LIMIT = 16 << 20
"""Bytes of a file, before and after together, beyond which its change is left out of the patch."""
PATCH_LIMIT = 64 << 20
"""The same of all files that a patch is made of; the smallest come first."""

_MARK = b"pyvenv.cfg"  # lies in the top folder of a virtual environment


@dataclass(frozen=True)
class Change:
    """A path that is not as in HEAD: its entries there and on disk (None: nothing).

    ``size`` is that of the file on disk, None if its content was already git's; ``patchable`` says that git has it.
    """

    path: bytes
    head: Entry | None
    now: Entry | None
    size: int | None = 0
    patchable: bool = True


@dataclass
class Changes:
    """All that is not as in HEAD.

    ``restored`` are tracked files that tasks write, with their entries in HEAD; ``counted`` untracked files are no
    code.
    """

    found: list[Change] = field(default_factory=list)
    restored: dict[bytes, Entry | None] = field(default_factory=dict)
    counted: int = 0


def find_changes(view: View, status: Status, listing: Listing, written: Written) -> Changes:
    """Return what is not as in HEAD; the bytes of changed files are written into the view.

    Submodules are left to the caller.
    """
    changes = Changes()
    reader = _Reader(view)
    tracked = {item.path: item for item in status.tracked if not _is_submodule(item)}
    for item in list(_unwatched(view, listing, tracked)):
        tracked[item.path] = item
    untracked = set(status.untracked)
    for item in tracked.values():
        name = os.fsdecode(item.path)
        if written.holds_tracked(name):
            changes.restored[item.path] = item.head
        elif item.path in untracked:
            pass  # taken out of the index, and still there: one change, told below
        elif item.same:
            changes.found.append(Change(item.path, item.head, item.index, None))
        elif item.deleted:
            changes.found.append(Change(item.path, item.head, None))
        else:
            reader.want(item.path, item.head, item.index)
    environments = tuple(path.removesuffix(_MARK) for path in status.untracked if path.endswith(b"/" + _MARK))
    for path in status.untracked:
        name = os.fsdecode(path)
        if path in changes.restored:
            continue
        head = tracked[path].head if path in tracked else None
        if name not in written:
            if is_source(name) and not path.startswith(environments) and reader.size(path) <= SOURCE_LIMIT:
                reader.want(path, head, None)
                continue
            changes.counted += 1
        if head is not None:
            changes.found.append(Change(path, head, None))
    changes.found.extend(reader.read())
    return changes


def _unwatched(view: View, listing: Listing, tracked: dict[bytes, Tracked]) -> Iterator[Tracked]:
    """Yield files that differ from the index though git was told not to look."""
    root = view.place.root
    for path, entry, may_be_absent in listing.unwatched():
        found = None if _beyond_link(root, path) else read_entry(view.root + path)
        now = _entry(view, found, entry)
        if now == entry or (now is None and may_be_absent):
            continue
        head = tracked[path].head if path in tracked else entry
        yield Tracked(path, head, entry, deleted=now is None, same=False)


class _Reader:
    """Reads changed files, the smallest first, as long as their bytes fit into a patch."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._wanted: list[tuple[int, bytes, Entry | None, Entry | None]] = []

    def size(self, path: bytes) -> int:
        """Return the size in bytes of a file or link; 0 if it is gone."""
        try:
            return os.lstat(self._view.root + path).st_size
        except OSError:
            return 0

    def want(self, path: bytes, head: Entry | None, index: Entry | None) -> None:
        self._wanted.append((self.size(path), path, head, index))

    def read(self) -> Iterable[Change]:
        room = PATCH_LIMIT
        for _, path, head, index in sorted(self._wanted, key=lambda item: item[:2]):
            found = read_entry(self._view.root + path, CHANGE_LIMIT)
            kept = found is None or (found.data is not None and found.size <= room)
            if found is not None and kept:
                write_blob(self._view.path / "objects", found)
                room -= found.size
            now = _entry(self._view, found, index)
            if now is not None or head is not None:
                yield Change(path, head, now, found.size if found else 0, kept)


def _entry(view: View, found: Found | None, index: Entry | None) -> Entry | None:
    """Return what a tree says of a file; on a file system without modes and links these are the index's."""
    if found is None:
        return None
    mode = found.mode
    if not view.flags["filemode"] and mode in (FILE, PROGRAM):
        mode = index[0] if index and index[0] in (FILE, PROGRAM) else FILE
    if not view.flags["symlinks"] and index and index[0] == LINK:
        mode = LINK
    return mode, found.id


def _is_submodule(item: Tracked) -> bool:
    return item.index is not None and item.index[0] == SUBMODULE


def _beyond_link(root: Path, path: bytes) -> bool:
    return any((root / folder).is_symlink() for folder in Path(os.fsdecode(path)).parents)
