"""Where attempts run: what all of them on one agent share."""

from __future__ import annotations

import errno
import os
import resource
from contextlib import suppress

from provrun.run.declared import CannotStart
from provrun.run.files import Files
from provrun.run.folder import Folder, remove
from provrun.run.limits import MemoryWatch, OomKills
from provrun.run.loop import Loop
from provrun.run.reports import Reports
from provrun.run.seats import Seats
from provrun.run.setup import Setup
from provrun.run.versions import Versions

_OWN_DESCRIPTORS = 32  # of the spawner itself, and for looking at processes, digesting and forking
_EACH_SLOT = 6  # pipes of a command, or socket and tapes of a child, and those of a child that is on its way out
_MEMORY_FOLDER = "/dev/shm"  # writing a parameter file takes 8 us there and 170 us on ext4


class Descriptors:
    """How many file descriptors are left for tasks: who opens the last one can do nothing more, not even say so."""

    def __init__(self, slots: int) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = _OWN_DESCRIPTORS + slots * _EACH_SLOT
        if soft < wanted:
            soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            with suppress(OSError, ValueError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        self._left = soft - _OWN_DESCRIPTORS
        self._taken = 0

    def take(self, count: int) -> bool:
        """Take some, if there are any left; whoever is the only one always may."""
        if count > self._left and self._taken:
            return False
        self._left -= count
        self._taken += count
        return True

    def leave(self, count: int) -> None:
        """Give back what was closed."""
        self._left += count
        self._taken -= count


class Desk:
    """The private places of one slot, used again by one task after the other."""

    __slots__ = ("_folder", "_params", "_size", "folder", "params", "result", "variables")

    def __init__(self, folder: str, files: str) -> None:
        self.folder = folder
        self._folder = Folder(folder)
        self._put(files)

    def _put(self, files: str) -> None:
        self.params = files + ".params"
        self.result = files + ".result"
        self.variables = {
            b"PROVRUN_PARAMS": os.fsencode(self.params),
            b"PROVRUN_RESULT": os.fsencode(self.result),
            b"PROVRUN_TMPDIR": os.fsencode(self.folder),
        }
        self._params = self._size = -1

    def write_params(self, data: bytes) -> None:
        """Write the parameters of the next task to the file that was there for the last one; raise `CannotStart`."""
        try:
            self._write_params(data)
        except OSError:
            # Memory is full, perhaps of another task's files: disk will do.
            if self._params >= 0:
                os.close(self._params)
            self._put(self.folder)
            try:
                self._write_params(data)
            except OSError as error:
                text = f"cannot write its parameters to {self.params}: {error.strerror}"
                raise CannotStart(text, value=self.params) from None

    def _write_params(self, data: bytes) -> None:
        if self._params < 0 or not os.fstat(self._params).st_nlink:
            if self._params >= 0:  # a task has put another file in its place
                os.close(self._params)
            self._params = os.open(self.params, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        written = os.pwrite(self._params, data, 0)
        if written < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if len(data) != self._size:
            os.ftruncate(self._params, len(data))
            self._size = len(data)

    def clear(self) -> str | None:
        """Remove what a task left behind; give where it lies now if it is so much that this should be done aside."""
        return self._folder.set_aside()


class Site:
    """The surroundings of attempts: loop, reports, seats, environment, temporary folder."""

    def __init__(self, loop: Loop, reports: Reports, seats: Seats, setup: Setup) -> None:
        self.loop = loop
        self.reports = reports
        self.seats = seats
        self.descriptors = Descriptors(seats.slots)
        self.pack = reports.pack
        self.files = Files(reports.asides)
        self.versions = Versions(reports.asides)
        self.memory = MemoryWatch(loop)
        self.oom_kills = OomKills()
        self.project = setup.project
        self.node = setup.node
        self.environ = dict(os.environ)
        own = f"{folder_name(setup.job)}-{setup.rank}-{os.getpid()}"
        self._folder = f"{temporary()}/{own}"
        self._files = f"{memory_folder()}/{own}"
        for folder in {self._folder, self._files}:
            os.mkdir(folder, 0o700)
        self._desks: list[Desk] = []
        self._made = 0

    def workdir(self, text: str) -> str:
        """Give the absolute path of a map's folder."""
        return os.path.normpath(os.path.join(self.project, text))

    def take_desk(self) -> Desk:
        """Give a slot's private places to a task."""
        if self._desks:
            return self._desks.pop()
        self._made += 1
        return Desk(f"{self._folder}/{self._made}", f"{self._files}/{self._made}")

    def child_folder(self) -> str:
        """Give the path, but for a lane's number, of the private folder of the child on that lane."""
        return f"{self._folder}/child-"

    def leave_desk(self, desk: Desk) -> None:
        """Take them back, cleared."""
        left = desk.clear()
        if left is not None:
            self.reports.asides.run(lambda: remove(left), lambda _: None)
        self._desks.append(desk)

    def close(self) -> None:
        """Remove the temporary folders."""
        remove(self._folder)
        remove(self._files)


def temporary() -> str:
    """Give this host's folder for temporary files."""
    folder = os.environ.get("TMPDIR", "/tmp")
    return folder if os.access(folder, os.W_OK | os.X_OK) else "/tmp"


def memory_folder() -> str:
    """Give a folder in memory for small files, or the temporary one."""
    return _MEMORY_FOLDER if os.access(_MEMORY_FOLDER, os.W_OK | os.X_OK) else temporary()


def folder_name(job: str) -> str:
    """Give how the names of a job's temporary folders begin."""
    return f"provrun-{job}"


def sweep_folders(job: str, rank: int | None = None) -> None:
    """Remove the temporary folders of a job, or of one of its ranks, on this host."""
    start = f"{folder_name(job)}-" + ("" if rank is None else f"{rank}-")
    for parent in {temporary(), memory_folder()}:
        for name in os.listdir(parent):
            if name.startswith(start):
                remove(f"{parent}/{name}")
