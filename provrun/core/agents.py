"""The agents of a running job, as its dispatcher sees them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from provrun.core.messages import Key
from provrun.core.needs import NOTHING, Needs, needs_of_task
from provrun.core.records import Claimed, Policy

if TYPE_CHECKING:
    from provrun.core.waiting import Lane

PATIENCE = 20.0  # seconds after which agents that have not joined are not waited for


class Team:
    """The agents that one task of several nodes has to itself, the one that runs it first."""

    __slots__ = ("broken", "key", "numbers")

    def __init__(self, numbers: tuple[int, ...], key: Key) -> None:
        self.numbers = numbers
        self.key = key
        self.broken = False


class Agent:
    """One agent: ``held`` are the tasks it has, by (map, index), ``counts`` how many of each map.

    ``busy`` cores, ``gpus_busy`` and ``memory_busy`` bytes are what these tasks take, those that wait behind others
    included; ``larger`` are the bytes that single tasks take beyond what their map says. ``memory`` is 0 where it is
    not known. ``kept`` are the tasks for which it is being emptied, ``team`` is set while a task has it to itself.
    ``still`` tells that it got no task, and none of its tasks ended, since somebody set it.
    """

    __slots__ = (
        "busy", "counts", "gpus", "gpus_busy", "held", "kept", "larger", "memory", "memory_busy", "node", "slots",
        "still", "team", "warned",
    )  # fmt: skip

    def __init__(self, slots: int, node: str = "", gpus: int = 0, memory: int = 0) -> None:
        self.slots = slots
        self.node = node
        self.gpus = gpus
        self.memory = memory
        self.held: dict[tuple[int, int], Claimed] = {}
        self.counts: dict[int, int] = {}
        self.busy = 0
        self.gpus_busy = 0
        self.memory_busy = 0
        self.larger: dict[tuple[int, int], int] = {}
        self.kept: Lane | None = None
        self.team: Team | None = None
        self.warned = False
        self.still = False

    def take(self, map: int, tasks: list[Claimed], needs: Needs) -> None:
        """Note that it has been handed tasks of a map, each of which takes so much."""
        self.held.update({(map, task.index): task for task in tasks})
        self.counts[map] = self.counts.get(map, 0) + len(tasks)
        self._takes(len(tasks), needs)
        for task in tasks if needs.memory else ():
            more = needs_of_task(task, needs).memory - needs.memory
            if more:
                self.larger[map, task.index] = more
                self.memory_busy += more
        self.still = False

    def drop(self, map: int, index: int, number: int) -> Claimed | None:
        """Forget one held task and give it; None if the agent does not hold it under this number.

        What it took is given back by `free`.
        """
        task = self.held.get((map, index))
        if task is None or task.number != number:
            return None
        del self.held[map, index]
        if self.larger:
            self.memory_busy -= self.larger.pop((map, index), 0)
        return task

    def free(self, map: int, tasks: int, needs: Needs) -> None:
        """Note that tasks of a map take nothing any more."""
        left = self.counts[map] - tasks
        if left:
            self.counts[map] = left
        else:
            del self.counts[map]
        self._takes(-tasks, needs)
        self.still = False

    def count(self, needs: Mapping[int, Needs]) -> None:
        """Count again what its tasks take, when that has changed."""
        if self.team is None:
            self.busy = self.gpus_busy = 0
            self.memory_busy = sum(self.larger.values())
            for map, n in self.counts.items():
                self._takes(n, needs[map])

    def crowded(self, needs: Needs) -> bool:
        """Tell whether all its slots at such tasks would take more memory than there is."""
        return 0 < self.memory < self.slots // max(1, needs.cores) * needs.memory

    def _takes(self, tasks: int, needs: Needs) -> None:
        self.busy += tasks * needs.cores
        self.gpus_busy += tasks * needs.gpus
        self.memory_busy += tasks * needs.memory


class Expected:
    """The agents that a job waits for, so that what they alone can run is not given up; ``begun`` once one is there."""

    def __init__(self, agents: int) -> None:
        self._awaited = agents
        self._since: float | None = None

    @property
    def begun(self) -> bool:
        """Tell whether any agent has joined."""
        return self._since is not None

    @property
    def more(self) -> bool:
        """Tell whether some may still join."""
        return self._awaited > 0

    def joined(self, now: float) -> None:
        """Take note that one has joined."""
        self._awaited -= 1
        self._since = now if self._since is None else self._since

    def absent(self) -> None:
        """Take note that one will not join."""
        self._awaited -= 1

    def tick(self, now: float) -> None:
        """Let time pass: those that take too long are not waited for."""
        if self._since is not None and now - self._since > PATIENCE:
            self._awaited = 0


class Agents(dict[int, Agent]):
    """The agents of a job by their numbers; ``hungry`` are those that may have room, ``slots`` those of all."""

    def __init__(self) -> None:
        self.hungry: set[int] = set()
        self.slots = 0

    def join(self, number: int, agent: Agent) -> None:
        """Take in an agent."""
        self[number] = agent
        self.slots += agent.slots

    def lose(self, number: int) -> Agent | None:
        """Forget an agent and give it, if it was known."""
        agent = self.pop(number, None)
        if agent is not None:
            self.hungry.discard(number)
            self.slots -= agent.slots
        return agent

    def free(self, agent: Agent, map: int, tasks: int, needs: Needs) -> bool:
        """Note that tasks of a map take nothing any more; tell whether one of them had agents to itself."""
        if agent.team is None:
            agent.free(map, tasks, needs)
            return False
        agent.free(map, tasks, NOTHING)
        self.dissolve(agent.team)
        return True

    def unwarned(self, policies: Mapping[int, Policy]) -> list[int]:
        """Give those that have tasks with a checkpoint and have not been given before."""
        found = [
            number for number, agent in self.items()
            if not agent.warned and any(policies[map].checkpoint for map in agent.counts)
        ]  # fmt: skip
        for number in found:
            self[number].warned = True
        return found

    def feed_idle(self) -> None:
        """Let those with free slots, and no others, be looked at."""
        self.hungry = {number for number, agent in self.items() if agent.busy < agent.slots or not agent.held}

    def dissolve(self, team: Team) -> None:
        """Let other tasks have the agents of a team."""
        for number in team.numbers:
            if number in self:
                self[number].team = None
                self.hungry.add(number)
