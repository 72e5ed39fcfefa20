"""What this process is doing for provrun: importing a task's module, or running a function task.

The Python API looks here: while ``importing``, `submit`, `map`, `reduce`, `run` and `launch` do nothing, so that a
script needs no guard; ``key`` is the key of the task that runs, from which `rng` makes its generator.
"""

from __future__ import annotations

importing = False
"""Whether a module is being imported in order to run its functions as tasks."""

key: bytes | None = None
"""The key of the function task that runs in this process, None outside of any."""
