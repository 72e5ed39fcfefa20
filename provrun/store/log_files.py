"""The files of a log, as they are read: which file an entry is in, and whether it is sound."""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from provrun.store import entries
from provrun.store.entries import Damaged, Entry

HEAD = "HEAD"
FANOUT = 8
MOST_LEVELS = 12
KEPT = 512  # entries whose bytes are kept to mend others' files: on a busy file system many come before one is missed
KEPT_BYTES = 1 << 26
PROBE = 10.0  # seconds between looks for an entry whose writer died before he could say so in HEAD


class Head(msgspec.Struct, frozen=True):
    """How far the log goes, at least; of the first ``merged[n]`` entries there are files of level n + 1 or higher."""

    position: int
    digest: str
    merged: tuple[int, ...] = ()

    def is_beyond(self, position: int) -> bool:
        """Tell whether somebody has said that the log goes further than a position."""
        return bool(self.digest) and self.position > position

    def level(self, position: int) -> int:
        """Give the level of the file that an entry is in; 0 if it has one of its own."""
        return next((level for level in range(len(self.merged), 0, -1) if position < self.merged[level - 1]), 0)


class Beat(msgspec.Struct, frozen=True):
    """How far a job has folded the log in; ``at`` microseconds since the epoch by the clock of the job's host."""

    position: int
    at: int


class Stuck(msgspec.Struct, frozen=True):
    """What keeps a reader from going on: an entry that is there, but not as it must be."""

    position: int
    reason: str

    def __str__(self) -> str:
        return f"entry {self.position} of the log {self.reason}"


class LogFiles:
    """The files of one log."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stuck: Stuck | None = None
        """Why the last `read` ended before the end of the log; None if it did not."""
        self._tail = -1
        self._probed_at = float("-inf")
        self._kept: dict[int, bytes] = {}
        self._kept_bytes = 0

    # Reading

    def head(self) -> Head:
        """Say how far the log goes; it may go further."""
        try:
            head = _heads.decode(self._opened(self.folder / HEAD))
        except (FileNotFoundError, msgspec.DecodeError):
            head = self._surveyed()
        self._tail = max(self._tail, head.position)
        return head

    @staticmethod
    def _opened(path: Path) -> bytes:
        """Read a file that others replace: an NFS server may have forgotten the old one in the middle of it."""
        for _ in range(3):
            try:
                return path.read_bytes()
            except OSError as error:
                if error.errno != errno.ESTALE:
                    raise
        return path.read_bytes()

    def _surveyed(self) -> Head:
        """Find out how far the log goes where a crash has taken HEAD."""
        last = -1
        merged: dict[int, int] = {}
        with suppress(FileNotFoundError):
            for path in self.folder.iterdir():
                level, _, number = path.name.rpartition(".")
                if number.isdigit() and (level.isdigit() or not level):
                    end = (int(number) + 1) * FANOUT ** int(level or 0)
                    last = max(last, end - 1)
                    for each in range(1, int(level or 0) + 1):
                        merged[each] = max(merged.get(each, 0), end)
        return Head(last, "", tuple(merged[level] for level in sorted(merged)))

    def read(self, start: int) -> Iterator[Entry]:
        """Give the entries from a position on, to the end or to the first that is not sound: see `stuck`."""
        self.stuck = None
        position = start
        while True:
            before = position
            for entry in self._some(position):
                self._keep(entry)
                yield entry
                position += 1
            if position == before:
                return

    @property
    def may_probe(self) -> bool:
        """Tell whether it is time to look for an entry that HEAD does not know of."""
        return time.monotonic() >= self._probed_at + PROBE

    def _some(self, position: int) -> Iterator[Entry]:
        """Give the entries that stand in one file, from a position on; none if that cannot be had now."""
        head = self.head()
        if position > self._tail:
            if not self.may_probe:
                return
            self._probed_at = time.monotonic()
        reason = "is missing" if position <= self._tail else None
        level = head.level(position)
        # What has been merged is not looked for among the loose: who comes late may have put something there. HEAD may
        # be an old one, so what is not where it says may have been merged since.
        for one in range(level, max(level, len(head.merged)) + 3):
            found = False
            try:
                for entry in self._file(one, position):
                    found = True
                    if position > self._tail:
                        self._tail, self._probed_at = position, float("-inf")
                    yield entry
                    position += 1
            except FileNotFoundError:
                continue
            except (OSError, Damaged) as error:
                reason = f"is damaged: {error}"
            if found:
                return
        if reason:
            self.stuck = Stuck(position, reason)

    def _file(self, level: int, position: int) -> Iterator[Entry]:
        """Give the entries of a file from a position on; raise `Damaged` at the first that is not sound."""
        if level == 0:
            yield entries.read(self._loose(position).read_bytes(), position)
            return
        size = FANOUT**level
        first = position - position % size
        with self._merged(level, position // size).open("rb") as file:
            n = 0
            for n, piece in enumerate(entries.pieces(file), 1):
                if first + n - 1 >= position:
                    yield entries.read(piece, first + n - 1)
            if n < size:
                raise Damaged(f"{n} of {size} entries are in the file of level {level}")

    def _loose(self, position: int) -> Path:
        return self.folder / f"{position:012d}"

    def _merged(self, level: int, number: int) -> Path:
        return self.folder / f"{level}.{number:012d}"

    def _keep(self, entry: Entry) -> None:
        """Keep the bytes of the last entries, to mend them for others."""
        self._kept_bytes += len(entry.data) - len(self._kept.pop(entry.position, b""))
        self._kept[entry.position] = entry.data
        while len(self._kept) > KEPT or (len(self._kept) > 1 and self._kept_bytes > KEPT_BYTES):
            self._kept_bytes -= len(self._kept.pop(next(iter(self._kept))))


_heads = msgspec.json.Decoder(Head)
