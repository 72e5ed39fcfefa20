"""Read what git prints about the index and the working tree."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from provrun.record.blobs import SUBMODULE, Entry

_RECORD = re.compile(rb"(.) ([0-7]{6}) ([0-9a-f]{40}) ([0-3])\t(.*)", re.DOTALL)
_ENTRY = re.compile(rb"(?<=\0). (1[02][0-7]{4}) ([0-9a-f]{40}) 0\t([^\0]*)", re.DOTALL)


@dataclass(frozen=True)
class Tracked:
    """A tracked path that is not the same in HEAD, index and working tree.

    ``head`` and ``index`` are what these hold (None: nothing); ``deleted`` says that no file lies there, ``same``
    that the file is the index's.
    """

    path: bytes
    head: Entry | None
    index: Entry | None
    deleted: bool
    same: bool


@dataclass(frozen=True)
class Status:
    """What ``git status --porcelain=v2`` says; ``folders`` are untracked repositories."""

    tracked: list[Tracked] = field(default_factory=list)
    untracked: list[bytes] = field(default_factory=list)
    folders: list[bytes] = field(default_factory=list)


def parse_status(text: bytes) -> Status:
    """Return what ``git status --porcelain=v2 -z`` printed."""
    status = Status()
    for line in text.split(b"\0"):
        kind = line[:2]
        if kind == b"? ":
            (status.folders if line.endswith(b"/") else status.untracked).append(line[2:].rstrip(b"/"))
        elif kind == b"1 ":
            _, marks, _, head, index, _, head_id, index_id, path = line.split(b" ", 8)
            there = Tracked(path, _entry(head, head_id), _entry(index, index_id), marks[1:] == b"D", marks[1:] == b".")
            status.tracked.append(there)
        elif kind == b"u ":
            _, _, _, _, ours, _, _, _, ours_id, _, path = line.split(b" ", 10)
            status.tracked.append(Tracked(path, _entry(ours, ours_id), None, False, False))
    return status


class Listing:
    """The index, as ``git ls-files -z -s -v`` prints it; searched as bytes, because there may be 10^5 lines."""

    def __init__(self, text: bytes) -> None:
        self._text = b"\0" + text

    def submodules(self) -> dict[bytes, str]:
        """Return the paths of submodules with the commits the index has for them."""
        return {path: id for _, mode, id, _, path in self._around(b" 160000 ") if mode == SUBMODULE}

    def unwatched(self) -> Iterator[tuple[bytes, Entry, bool]]:
        """Yield what git was told not to look at: path, entry, and whether it need not be checked out."""
        for mark in (b"\0h ", b"\0S ", b"\0s "):
            for tag, mode, id, stage, path in self._around(mark):
                if stage == 0 and mode != SUBMODULE:
                    yield path, (mode, id), tag in b"Ss"

    def attribute_files(self) -> list[bytes]:
        """Return the paths of the tracked ``.gitattributes``."""
        found = [path for *_, path in self._around(b".gitattributes\0")]
        return [path for path in found if path.rpartition(b"/")[2] == b".gitattributes"]

    @cached_property
    def files(self) -> dict[bytes, Entry]:
        """All files and links with their entries."""
        return {path: (int(mode, 8), id.decode()) for mode, id, path in _ENTRY.findall(self._text)}

    def _around(self, needle: bytes) -> Iterator[tuple[bytes, int, str, int, bytes]]:
        at = self._text.find(needle)
        while at >= 0:
            start = at if needle[:1] == b"\0" else self._text.rfind(b"\0", 0, at)
            end = self._text.index(b"\0", start + 1)
            yield _fields(self._text[start + 1 : end])
            at = self._text.find(needle, end)


def _fields(line: bytes) -> tuple[bytes, int, str, int, bytes]:
    match = _RECORD.fullmatch(line)
    if match is None:
        raise ValueError(f"git ls-files printed {line!r}")
    tag, mode, id, stage, path = match.groups()
    return tag, int(mode, 8), id.decode(), int(stage), path


def _entry(mode: bytes, id: bytes) -> Entry | None:
    return None if mode == b"000000" else (int(mode, 8), id.decode())
