"""What this process is doing for provrun: importing a task's module, or running a function task.

The Python API looks here: while ``importing``, `submit`, `map`, `reduce`, `run` and `launch` do nothing, so that a
script needs no guard; ``key`` is the key of the task that runs, from which `rng` makes its generator.
"""

from __future__ import annotations

importing = False
"""Whether a module is being imported in order to run its functions as tasks."""

stoppable = False
"""Whether it is a script that is imported, which may be left at its first run."""

scripts: dict[str, str] = {}
"""Modules that stand for a script: their names, and the paths of the files by which their functions are found."""

checkpoint: str | None = None
"""The private folder of the function task that runs, if its map keeps checkpoints."""

key: bytes | None = None
"""The key of the function task that runs in this process, None outside of any."""


def warned() -> bool:
    """Tell whether the time of the job is up soon; a function child puts its own answer in this place."""
    return False


class Enough(BaseException):
    """Ends the import of a script where it would run its maps: what follows is for the process that runs them."""


def enough() -> None:
    """Leave the script that is being imported, if it is one."""
    if stoppable:
        raise Enough
