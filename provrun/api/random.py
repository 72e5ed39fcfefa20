"""Random numbers of a task: the same whenever and wherever it runs again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provrun.errors import MissingExtra
from provrun.run import current

if TYPE_CHECKING:
    import numpy


def rng() -> numpy.random.Generator:
    """Give a numpy generator seeded from the key of the task that runs; outside of any from the system's entropy.

    Each call starts the same stream anew, so call it once in a task.
    """
    try:
        import numpy
    except ImportError as error:
        raise MissingExtra("data", "rng") from error
    return numpy.random.default_rng(None if current.key is None else int.from_bytes(current.key, "big"))
