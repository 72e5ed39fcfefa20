"""The functions of a study whose runs are killed: each execution tells the witness of itself before it works."""

from __future__ import annotations

import fcntl
import os
import subprocess
import time
from pathlib import Path

LARGE = 70_000  # characters of a result that is kept in a pack

def attend() -> int:
    """Tell the witness that this attempt begins, and whether an earlier one of the same task still lives.

    The lock that says so is inherited by what the attempt leaves behind.
    """
    attempt = os.environ["PROVRUN_ATTEMPT"]
    _tell(f"began {attempt}")
    lock = os.open(_beside("locks"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        _tell(f"overlaps {attempt}")
    return lock


def psi(seed: int) -> dict[str, int]:
    """Fail the first time, leave a process behind, or take long, each for some seeds."""
    lock = attend()
    if seed % 10 == 3 and _first():
        os.close(lock)
        raise ValueError(seed)
    if seed % 10 == 5:
        subprocess.Popen(["sleep", "60"], pass_fds=[lock])
    time.sleep(0.01 * (seed % 6) if seed % 25 else 0.5)
    os.close(lock)
    return {"value": 3 * seed}


def norm(value: int, kind: int) -> object:
    """Be so short that many go in one message; some results are so large that they are kept in a pack."""
    os.close(attend())
    return value + kind if value % 10 else f"{value + kind} {'x' * LARGE}"


def total(rows: list[dict[str, object]]) -> list[list[object]]:
    """Give what was read: index, attempt and result of each task."""
    os.close(attend())
    return [[row["index"], row["attempt"], str(row["result"])[:20]] for row in rows]


def _tell(line: str) -> None:
    with Path(os.environ["WITNESS"]).open("a") as file:
        file.write(line + "\n")


def _beside(folder: str) -> Path:
    return Path(f"{os.environ['WITNESS']}.{folder}") / os.environ["PROVRUN_TASK"].replace("/", "-")


def _first() -> bool:
    try:
        _beside("failed").mkdir()
    except FileExistsError:
        return False
    return True
