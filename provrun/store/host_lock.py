"""The lock under which several hosts write one SQLite file: a name on the file system they share.

The locks that SQLite itself takes are often not seen from other hosts there. `link(2)` is atomic on all of them. The
file names its holder; one whose process is gone is broken by the host that can know it. Local disks need none of this.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

import msgspec

from provrun.errors import StorageFailed, Unavailable

SHARED = frozenset(
    ("nfs", "nfs4", "lustre", "beegfs", "gpfs", "ceph", "cifs", "smb3", "afs", "panfs", "orangefs", "pvfs2", "9p",
     "fuse.sshfs", "fuse.ceph-fuse", "fuse.glusterfs", "fuse.mfs", "fuse.daosfs", "wekafs")
)
POLL = 0.02
_numbers = count(1)


class Holder(msgspec.Struct, frozen=True):
    """Who writes: a process by its host, boot, number and start; ``file`` is the other name of the lock."""

    host: str
    boot: str
    pid: int
    started: str
    file: str = ""


def is_shared(path: Path) -> bool:
    """Tell whether a file lies on a file system that other hosts may write to."""
    place = str(path.resolve())
    best, kind = "", ""
    with suppress(OSError):
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            before, _, after = line.partition(" - ")
            point = before.split(" ")[4].encode().decode("unicode_escape")
            if len(point) >= len(best) and (place == point or place.startswith(point.rstrip("/") + "/")):
                best, kind = point, after.split(" ")[0]
    return kind in SHARED


class HostLock:
    """A lock beside a file, held for one transaction at a time."""

    def __init__(self, path: Path, patience: float) -> None:
        self._path = path
        self._lock = path.with_name(f"{path.name}-writer")
        self._patience = patience
        me = myself()
        # Each connection of a process has its own.
        self._me = msgspec.structs.replace(me, file=f"{self._lock.name}.{me.host}.{me.pid}.{next(_numbers)}")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep out all others; `Unavailable` names who holds the lock for too long."""
        mine = self._take()
        try:
            # A file that another host has written is looked at anew when it is opened.
            os.close(os.open(self._path, os.O_RDONLY | os.O_CLOEXEC))
            yield
        finally:
            # Only what is ours: somebody may have thought that we are gone.
            with suppress(FileNotFoundError):
                if self._lock.samefile(mine):
                    self._lock.unlink()
            mine.unlink(missing_ok=True)

    def _take(self) -> Path:
        mine = self._lock.with_name(self._me.file)
        end = time.monotonic() + self._patience
        try:
            mine.unlink(missing_ok=True)
            mine.write_bytes(msgspec.json.encode(self._me))
            while True:
                with suppress(FileExistsError):
                    self._lock.hardlink_to(mine)
                # Over a network the answer to a success may get lost.
                with suppress(FileNotFoundError):
                    if self._lock.samefile(mine):
                        return mine
                holder = self._holder()
                if holder is not None and is_gone(holder, self._me):
                    self._break(holder)
                elif time.monotonic() > end:
                    mine.unlink(missing_ok=True)
                    who = f"process {holder.pid} on {holder.host}" if holder is not None else "somebody"
                    raise Unavailable(
                        f"{who} writes the registry", value=str(self._lock),
                        next=f"if it is gone for good, remove {self._lock}",
                    )
                else:
                    time.sleep(POLL)
        except OSError as error:
            raise StorageFailed(f"locking the registry failed: {error}", value=str(self._lock)) from error

    def _holder(self) -> Holder | None:
        try:
            return msgspec.json.decode(self._lock.read_bytes(), type=Holder)
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    def _break(self, holder: Holder) -> None:
        """Remove the lock of a process that is gone; one of several who try succeeds, and takes no other's."""
        aside = self._lock.with_name(f"{self._me.file}.broken")
        with suppress(FileNotFoundError):
            self._lock.rename(aside)
            if msgspec.json.decode(aside.read_bytes(), type=Holder) != holder:
                with suppress(FileExistsError):
                    self._lock.hardlink_to(aside)  # it was somebody else's by now
            aside.unlink()
        if holder.file.startswith(self._lock.name):
            self._lock.with_name(Path(holder.file).name).unlink(missing_ok=True)


def myself() -> Holder:
    """Name this process."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return Holder(os.uname().nodename, boot, os.getpid(), _started(os.getpid()) or "")


def is_gone(holder: Holder, me: Holder) -> bool:
    """Tell whether a process does not exist any more, as far as this host can know."""
    if holder.boot != me.boot:
        return holder.host == me.host  # the host has been started anew
    return _started(holder.pid) != holder.started


def _started(pid: int) -> str | None:
    """Give the start time of a process as the kernel counts; None if there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" else fields[19]
