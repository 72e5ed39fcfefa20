"""The log: a folder of immutable files that gives everything done to a registry one order, on any file system.

Entry N + 1 is appended with `link(2)`, which succeeds for one writer alone, whatever file system that is; the others
fold his entry in and try again. Readers open ``HEAD``, which says how far the log goes, and then the entries by their
numbers: a folder is never listed, since network file systems remember listings, and names that were not there, for
half a minute.

Eight consecutive entries become one file, eight of these another one, and so on: names and bytes follow from the
numbers alone, so that two who merge make the same file. The last entries stay loose, for two reasons: a writer that
was held up finds his number taken, and who has just applied an entry can mend it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from provrun.store import entries
from provrun.store.entries import Damaged, Entry
from provrun.store.log_files import FANOUT, HEAD, MOST_LEVELS, Beat, Head, LogFiles

WANTED = "wanted"
TEMPORARY = "~"  # in the names of files that are not yet what they will be
LEFT = 3600.0  # seconds after which such a file is nobody's any more
ALIVE = 120.0  # seconds without a sign of life after which a job has no entry to mend any more
DISTANCE = 32  # entries at the end of the log that stay loose


class Log(LogFiles):
    """One log as one replica uses it; ``name`` is the replica's own, ``writer`` says in entries who made them."""

    def __init__(self, folder: Path, name: str, writer: str) -> None:
        super().__init__(folder)
        self.writer = writer
        self._name = name

    @classmethod
    def create(cls, folder: Path, name: str, writer: str) -> tuple[Log, Entry]:
        """Begin a log in a new folder; give it with its first entry, which holds nothing."""
        folder.mkdir(parents=True, exist_ok=True)
        log = cls(folder, name, writer)
        first = log.append(0, entries.ZERO, _EMPTY) or next(log.read(0))
        return log, first

    # Writing

    def append(self, position: int, previous: bytes, body: bytes) -> Entry | None:
        """Append an entry behind the one of digest ``previous``; None if somebody else has been first."""
        entry = entries.make(position, previous, self.writer, body)
        new = self._temporary("new")
        self._write(new, entry.data)
        try:
            # Who says that the log goes further has seen an entry here: if its file was lost it will be mended.
            if self.head().is_beyond(position - 1) or not self._link(new, position):
                self._tail = max(self._tail, position)
                return None
            sync(self.folder)
            if position and self._is_freed(position):
                # We were held up so long that the number was used and merged away. Nobody believes what we put there.
                self._loose(position).unlink()
                self._tail = max(self._tail, position)
                return None
        finally:
            new.unlink(missing_ok=True)
        self._keep(entry)
        self._tail = max(self._tail, position)
        return entry

    def _link(self, new: Path, position: int) -> bool:
        loose = self._loose(position)
        try:
            loose.hardlink_to(new)
        except FileExistsError:
            # Over NFS the answer to a success may get lost, and the second try find what the first has made.
            with suppress(FileNotFoundError):
                return loose.samefile(new)
            return False
        return True

    def _there(self, position: int) -> bool:
        # Opened, not only asked for: what an NFS client remembers of a name may be old.
        try:
            with self._loose(position).open("rb"):
                return True
        except FileNotFoundError:
            return False

    def _is_freed(self, position: int) -> bool:
        """Tell whether the number of an entry may have been used and merged away before we took it.

        Files are unlinked in their order, so that it has not been as long as the one before is there. If that is
        missing and was not merged it is lost, which is no reason to take back what others may have read.
        """
        before = position - 1
        return not self._there(before) and (self.head().level(before) > 0 or self._covered(1, before // FANOUT))

    def _write(self, path: Path, data: bytes) -> None:
        """Write a new file to the disk; one of this name may be a leftover, which must not be written to."""
        path.unlink(missing_ok=True)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(fd)

    def _temporary(self, kind: str) -> Path:
        """Give a file for what is not yet what it will be; nobody else has one of its name, a dead process apart."""
        return self.folder / f"{kind}{TEMPORARY}{self._name}-{os.getpid()}"

    def _tidy(self) -> None:
        """Remove what processes have left that were killed; nothing depends on it."""
        now = self._temporary("now")
        now.touch()
        moment = now.stat().st_mtime
        now.unlink()
        for path in self.folder.glob(f"*{TEMPORARY}*"):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < moment - LEFT:
                    path.unlink()

    def _replace(self, path: Path, data: bytes, *, kind: str = "other") -> None:
        temporary = self._temporary(kind)
        self._write(temporary, data)
        temporary.replace(path)
        sync(self.folder)

    def announce(self, entry: Entry) -> None:
        """Say that the log goes as far as this entry, and merge what is far enough behind it.

        Only by whoever may append for this replica now; nothing is lost when it fails.
        """
        with suppress(OSError):
            head = self.head()
            if head.is_beyond(entry.position):
                return  # we were held up, others have gone on
            merged = self._merge(head, entry.position - DISTANCE + 1)
            if not self.head().is_beyond(entry.position):  # merging may have taken long
                self._say(Head(entry.position, entry.digest.hex(), merged))

    def _say(self, head: Head) -> None:
        temporary = self._temporary("head")
        temporary.write_bytes(msgspec.json.encode(head))  # a hint, for which no disk needs to be waited for
        temporary.replace(self.folder / HEAD)

    # Merging

    def _merge(self, head: Head, end: int) -> tuple[int, ...]:
        """Merge what is due of the first ``end`` entries; give how far each level goes."""
        merged = list(head.merged)
        level = 1
        while end >= FANOUT**level:
            size = FANOUT**level
            if len(merged) < level:
                merged.append(0)
            before = merged[level - 1]
            while merged[level - 1] + size <= end and self._merge_one(level, merged[level - 1] // size):
                merged[level - 1] += size
            if level > 1 and merged[level - 1] > before:
                self._tidy()
            end = merged[level - 1]
            level += 1
        return tuple(merged)

    def _merge_one(self, level: int, number: int) -> bool:
        target = self._merged(level, number)
        below = range(number * FANOUT, (number + 1) * FANOUT)
        sources = [self._merged(level - 1, n) if level > 1 else self._loose(n) for n in below]
        if not self._covered(level, number):
            temporary = self._temporary("merging")
            temporary.unlink(missing_ok=True)
            try:
                with temporary.open("xb") as file:
                    for data in self._sound(level, number):
                        file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
            except (Damaged, FileNotFoundError):
                temporary.unlink(missing_ok=True)
                return False  # whoever still has the bytes will mend it
            temporary.replace(target)
            sync(self.folder)
            if self._covered(level + 1, number // FANOUT):
                target.unlink(missing_ok=True)  # we were held up, others have gone on
        for source in sources:
            source.unlink(missing_ok=True)  # in their order: see `append`
        return True

    def _covered(self, level: int, number: int) -> bool:
        """Tell whether there is a file of this level or a higher one for what a merged file would hold."""
        for higher in range(level, level + MOST_LEVELS):
            if self._merged(higher, number).exists():
                return True
            number //= FANOUT
        return False

    def _sound(self, level: int, number: int) -> Iterator[bytes]:
        """Give the bytes of the entries that go into a merged file; what is damaged is mended if we have it."""
        size = FANOUT**level
        position = number * size
        while position < (number + 1) * size:
            try:
                for entry in self._file(level - 1, position):
                    yield entry.data
                    position += 1
            except (Damaged, FileNotFoundError):
                if position not in self._kept:
                    self.ask(position)
                    raise
                yield entries.read(self._kept[position], position).data
                position += 1

    # Mending

    def ask(self, position: int) -> None:
        """Ask whoever has the bytes of an entry to write it again."""
        with suppress(OSError):
            self._replace(self.folder / WANTED, msgspec.json.encode(position), kind="ask")

    def mend(self) -> bool:
        """Write an entry again that somebody asked for, and those after it: each that needs it and whose bytes we have.

        Who asks for one will ask for the others next, and would wait for each.
        """
        try:
            position = msgspec.json.decode((self.folder / WANTED).read_bytes(), type=int)
        except (OSError, msgspec.DecodeError):
            return False
        if position not in self._kept or self.head().level(position):
            return False
        with suppress(OSError):
            for each in sorted(one for one in self._kept if one >= position):
                # Looked at anew for each, for it may have been merged by now.
                if not self._is_sound(each) and not self.head().level(each):
                    self._replace(self._loose(each), self._kept[each], kind="mended")
            (self.folder / WANTED).unlink(missing_ok=True)
            return True
        return False

    def _is_sound(self, position: int) -> bool:
        try:
            entries.read(self._loose(position).read_bytes(), position)
        except (FileNotFoundError, Damaged):
            return False
        return True

    def declare_hole(self, position: int, previous: bytes) -> None:
        """Put nothing where an entry is that nobody can read, behind the entry of digest ``previous``.

        Only when all who might still have its bytes are gone.
        """
        head = self.head()
        level = head.level(position)
        size = FANOUT**level
        first = position - position % size
        kept: list[bytes] = []
        if level:
            with suppress(FileNotFoundError), self._merged(level, position // size).open("rb") as file:
                kept = list(entries.pieces(file))[:size]
        whole = []
        for n in range(size):
            try:
                entry = entries.read(kept[n] if n < len(kept) else b"", first + n)
            except Damaged:
                known = self._known_as(first + n, kept[n + 1 :], head)
                entry = entries.make_hole(first + n, previous, self.writer, known)
            if first + n >= position - 1:
                previous = entry.digest
            whole.append(entry.data)
        self._replace(self._merged(level, position // size) if level else self._loose(position), b"".join(whole))

    def _known_as(self, position: int, following: list[bytes], head: Head) -> bytes | None:
        """Give the digest by which others know an entry that is lost."""
        try:
            after = entries.read(following[0], position + 1) if following else self._one(position + 1)
        except Damaged:
            after = None
        if after is not None:
            return after.previous
        return bytes.fromhex(head.digest) if head.position == position else None

    def _one(self, position: int) -> Entry | None:
        stuck = self.stuck
        found = next(self.read(position), None)
        self.stuck = stuck
        return found

    # Jobs

    def holds(self, position: int, digest: bytes) -> bool:
        """Tell whether a certain entry stands at a position."""
        found = self._one(position)
        return found is not None and found.digest == digest

    def beat(self, job: str, position: int, at: int) -> None:
        """Say that a job lives, and how far it has folded the log in; nothing is lost when it fails."""
        with suppress(OSError):
            temporary = self.folder / f"beating-{job}"
            temporary.write_bytes(msgspec.json.encode(Beat(position, at)))
            temporary.replace(self.folder / f"beat-{job}")

    @property
    def anybody(self) -> bool:
        """Tell whether a job has given a sign of life lately, by the clock of the file system."""
        now = self._temporary("now")
        now.touch()
        try:
            moment = now.stat().st_mtime
            # Only here, where nothing else will do, is the folder listed.
            return any(path.stat().st_mtime > moment - ALIVE for path in self.folder.glob("beat-*"))
        except FileNotFoundError:
            return True  # one has gone at this moment, so somebody lives
        finally:
            now.unlink(missing_ok=True)

    def forget(self, job: str) -> None:
        """Take back the sign of life of a job that is over."""
        (self.folder / f"beat-{job}").unlink(missing_ok=True)

    def last_beat(self, job: str) -> Beat | None:
        """Give what a job said last; None if it has not said anything yet."""
        try:
            return msgspec.json.decode((self.folder / f"beat-{job}").read_bytes(), type=Beat)
        except (OSError, msgspec.DecodeError):
            return None


def sync(folder: Path) -> None:
    """Make sure that the names in a folder are on the disk."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError:
        pass  # some file systems do it by themselves and refuse to be told
    finally:
        os.close(fd)


_EMPTY = msgspec.msgpack.encode(())
