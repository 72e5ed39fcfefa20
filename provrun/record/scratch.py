"""Private temporary folders that do not outlive their process for long, however it dies."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

_PREFIX = "provrun-view-"
_MATURE = 60.0  # seconds: by then a folder is locked by its owner


class Scratch:
    """A folder in ``folder`` (the system's for temporary files), locked as long as its process lives.

    Folders that dead processes left there are removed.
    """

    def __init__(self, folder: str | None = None) -> None:
        there = folder or tempfile.gettempdir()
        _sweep(there)
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=there))
        self._lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        with suppress(OSError):  # a file system without locks keeps what dead processes leave
            fcntl.flock(self._lock, fcntl.LOCK_EX)

    def __enter__(self) -> Scratch:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()

    def remove(self) -> None:
        """Remove the folder and all in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


@cache
def _sweep(folder: str) -> None:
    """Remove what dead processes of this user left in a folder; once in the life of a process is enough."""
    remove_leftovers(Path(folder), time.time() - _MATURE)


def remove_leftovers(folder: Path, before: float) -> None:
    """Remove scratch folders of this user that nobody holds and that were made before a time (seconds)."""
    with os.scandir(folder) as entries:
        found = [entry.path for entry in entries if entry.name.startswith(_PREFIX)]
    for path in found:
        try:
            held = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:  # gone meanwhile, or somebody else's
            continue
        try:
            state = os.fstat(held)
            if state.st_uid == os.geteuid() and state.st_mtime < before:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
        except OSError:  # its owner lives
            continue
        finally:
            os.close(held)
