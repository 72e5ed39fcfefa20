"""The agents of a running job, as its dispatcher sees them."""

from __future__ import annotations

from provrun.core.records import Claimed


class Agent:
    """One agent: ``held`` are the tasks it has, by (map, index), ``counts`` how many of each map."""

    __slots__ = ("counts", "held", "slots")

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.held: dict[tuple[int, int], Claimed] = {}
        self.counts: dict[int, int] = {}

    def take(self, map: int, tasks: list[Claimed]) -> None:
        """Note that it has been handed tasks of a map."""
        self.held.update({(map, task.index): task for task in tasks})
        self.counts[map] = self.counts.get(map, 0) + len(tasks)

    def drop(self, map: int, index: int, number: int) -> Claimed | None:
        """Forget one held task and give it; None if the agent does not hold it under this number."""
        task = self.held.get((map, index))
        if task is None or task.number != number:
            return None
        del self.held[map, index]
        self.counts[map] -= 1
        return task
