"""What a spawner is told when it starts."""

from __future__ import annotations

import msgspec

from provrun.core.messages import Joined

SOCKET = 3
"""The descriptor under which a spawner finds the agent's socket."""


class Setup(msgspec.Struct, frozen=True):
    """The job, the rank and the number of slots; ``project`` is the folder that holds ``.provrun``.

    ``node``, ``gpus`` and ``memory`` say what is there for tasks; ``host`` describes the machine for the record.
    """

    slots: int
    project: str
    job: str
    rank: int
    host: str = ""
    node: str = ""
    gpus: tuple[str, ...] = ()
    memory: int = 0

    @property
    def joined(self) -> Joined:
        """What its spawner says of itself first."""
        return Joined(self.slots, self.node, self.host, len(self.gpus), self.memory)
