"""A running command, and what became of it."""

from __future__ import annotations

from typing import NamedTuple

from provrun.core.messages import Key, Start
from provrun.core.records import Artifact
from provrun.core.states import Outcome
from provrun.errors import ProvrunError
from provrun.run.binding import Names
from provrun.run.capture import HEAD, Capture
from provrun.run.loop import Timer
from provrun.run.processes import kill_tree
from provrun.run.recipes import CommandRecipe
from provrun.run.seats import Seat
from provrun.run.site import Desk
from provrun.run.uses import Uses

_WHOLE = 1 << 26  # how much of stdout is kept where all of it is the result


class Scarce(ProvrunError):
    """The system has none left of what a process needs, which it may have when another one has ended."""


class Spent(NamedTuple):
    """What a process has used: wait status, microseconds, KiB."""

    status: int
    wall: int
    cpu: int
    max_rss: int


class Attempt:
    """One running command.

    ``returned`` when it is given back however it ends, ``warned`` the processes that were told that its time is up.
    """

    names: Names
    uses: Uses
    spent: Spent

    def __init__(self, recipe: CommandRecipe, start: Start, desk: Desk, seat: Seat) -> None:
        self.recipe = recipe
        self.start = start
        self.desk = desk
        self.seat = seat
        self.artifacts: list[Artifact] = []
        self.outputs: dict[str, str] = {}
        self.time, self.memory = recipe.policy.limits(start)
        whole = recipe.run.recipe.result in ("stdout-json", "stdout-text")
        self.out = Capture(_WHOLE if whole else HEAD)
        self.err = Capture()
        self.out_fd = self.err_fd = -1
        self.pid = 0
        self.started = 0
        self.begun = 0.0
        self.why: Outcome | None = None
        self.returned = False
        self.warned: set[int] | None = None
        self.peak = 0
        self.timers: list[Timer] = []

    @property
    def key(self) -> Key:
        """Name the attempt."""
        return self.start.key

    @property
    def name(self) -> bytes:
        """Give what stands in its $PROVRUN_ATTEMPT."""
        return f"{self.recipe.run.name}/{self.start.index}#{self.start.number}".encode()

    def exceeded_memory(self, kib: int) -> None:
        """End it: its processes hold so many KiB together."""
        self.why = Outcome.MEMORY
        self.peak = kib
        kill_tree(self.pid)
