"""What a spawner is told when it starts."""

from __future__ import annotations

import msgspec

SOCKET = 3
"""The descriptor under which a spawner finds the agent's socket."""


class Setup(msgspec.Struct, frozen=True):
    """The job, the rank and the number of slots; ``project`` is the folder that holds ``.provrun``."""

    slots: int
    project: str
    job: str
    rank: int
    host: str = ""
