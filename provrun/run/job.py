"""Who owns a job: a lock on a file, held by its manager as long as it lives, and how others tell that it is over.

A lock alone could be held by a leftover that inherited it, a pid alone could be given to another process: a job is
running only if its lock is taken and the process that took it is still the same one of the same boot. Hosts that can
see neither see that the file's time moves on.
"""

from __future__ import annotations

import fcntl
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Self

from provrun.core.records import JobRecord
from provrun.run.processes import read_process

JOBS = "jobs"
BEAT = 20.0  # seconds between two signs of life


class Ownership:
    """The lock of a running job; leave its context when the last task is recorded."""

    def __init__(self, folder: Path, uuid: str) -> None:
        self.path = folder / JOBS / f"{uuid}.lock"
        self.path.parent.mkdir(exist_ok=True)
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._ended = threading.Event()
        self._beating = threading.Thread(target=self._beat, name="beat", daemon=True)
        self._beating.start()

    def _beat(self) -> None:
        while not self._ended.wait(BEAT):
            with suppress(OSError):
                os.utime(self._fd)  # by the clock of the file system

    @property
    def record(self) -> dict[str, object]:
        """What the registry keeps, so that others can tell when the job is over."""
        process = read_process(os.getpid())
        return {
            "lock": self.path.name,
            "host": os.uname().nodename,
            "boot": boot_id(),
            "pid": os.getpid(),
            "pid_started": process.started if process else None,
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        """Say that the job is over."""
        self._ended.set()
        self._beating.join()
        self.path.unlink(missing_ok=True)
        os.close(self._fd)


def is_over(job: JobRecord, folder: Path) -> bool | None:
    """Tell whether a local job's manager is gone; None when this host cannot know, being another one."""
    owner = job.owner
    if owner.get("boot") != boot_id():
        # The same host after a restart runs nothing of before; another host's processes cannot be seen from here.
        return True if owner.get("host") == os.uname().nodename else None
    if not held(folder / JOBS / str(owner.get("lock"))):
        return True
    pid = owner.get("pid")
    process = read_process(pid) if isinstance(pid, int) else None
    return process is None or process.state == "Z" or process.started != owner.get("pid_started")


def forget(job: JobRecord, folder: Path) -> None:
    """Remove the lock file of a job that is over."""
    (folder / JOBS / str(job.owner.get("lock"))).unlink(missing_ok=True)


def boot_id() -> str:
    """Name this boot of this host."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def held(path: Path) -> bool:
    """Tell whether somebody holds the lock of a file."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(fd)
