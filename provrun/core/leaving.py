"""Which tasks a job leaves to others, and why: too long for what is left of its time, or too large for its nodes."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

from provrun.core.agents import Agent
from provrun.core.durations import Durations, Ending, need, need_of_map
from provrun.core.events import Left
from provrun.core.needs import Needs, describe_lack, describe_memory, fits, is_enough, needs_of
from provrun.core.records import Claimed, Policy
from provrun.core.units import format_duration
from provrun.core.waiting import Waiting, keys

MOST_AVOIDED = 5000  # tasks of one map that are left one by one; beyond it the map is left


class Leaving:
    """Judges tasks and remembers those that were left."""

    def __init__(
        self, policies: dict[int, Policy], agents: dict[int, Agent], durations: Durations, ending: Ending
    ) -> None:
        self._policies = policies
        self._agents = agents
        self._durations = durations
        self._ending = ending
        self._begun: dict[int, float] = {}
        self._own: set[int] = set()  # maps with tasks of which more is known than their map's durations
        self._maps: dict[int, Left] = {}
        self._lacking: dict[int, Left] = {}
        self._tasks: dict[int, dict[int, Left]] = {}

    def begun(self, map: int) -> None:
        """Take note that tasks of a map were handed over."""
        self._begun.setdefault(map, self._ending.now)

    def open(self, map: int) -> bool:
        """Tell whether tasks of a map may be claimed; note why when not."""
        why = self._why_map(map)
        if why is not None:
            self._maps[map] = why
        else:
            self._maps.pop(map, None)
        return why is None and len(self._tasks.get(map, ())) <= MOST_AVOIDED

    def sort(self, tasks: Iterable[Claimed]) -> tuple[list[Claimed], list[Claimed]]:
        """Divide tasks into those that can run and those that are left."""
        good: list[Claimed] = []
        bad: list[Claimed] = []
        plain: dict[int, bool] = {}
        for task in tasks:
            map = task.map
            if task.took is None and task.outlived is None and task.limits is None:
                if map not in plain:
                    plain[map] = self._why(task) is None
                (good if plain[map] else bad).append(task)
                continue
            self._own.add(map)
            why = self._why(task)
            if why is None:
                good.append(task)
            else:
                bad.append(task)
                self._tasks.setdefault(map, {})[task.index] = why
        return good, bad

    def sift(self, waiting: Waiting) -> list[Claimed]:
        """Take out what will not end in what is left of the allocation."""
        if not self._ending.known:
            return []
        _, left = self.sort(waiting.tasks())
        if left:
            gone = set(keys(left))
            waiting.remove(lambda task: (task.map, task.index, task.number) in gone)
        return left

    def avoided(self, maps: Iterable[int]) -> tuple[tuple[int, int], ...]:
        """Name the tasks of maps that must not be claimed again."""
        return tuple((map, index) for map in maps for index in self._tasks.get(map, ()))

    def lack(self, needs: Needs, maps: Iterable[int]) -> None:
        """Note that no agent can run tasks with such needs."""
        if not fits(needs, self._agents.values()):
            why = describe_lack(needs, self._agents.values())
            self._lacking.update((map, Left(map, None, why)) for map in maps)

    def late(self, waiting: Waiting) -> bool:
        """Tell whether tasks are left for want of time, as far as is known."""
        late = {left.map for left in self._maps.values() if left.late}
        if any(not waiting.lanes[waiting.needs[map]].exhausted for map in late):
            return True
        return any(left.late for tasks in self._tasks.values() for left in tasks.values())

    def all(self) -> list[Left]:
        """Give everything that was left."""
        maps = self._maps | self._lacking
        return [*maps.values(), *(left for tasks in self._tasks.values() for left in tasks.values())]

    def _running(self, map: int) -> float:
        return self._ending.now - self._begun[map] if map in self._begun else 0.0

    def _why_map(self, map: int) -> Left | None:
        policy = self._policies[map]
        if policy.task_memory is not None and not self._remembers(policy, policy.task_memory):
            return Left(map, None, describe_memory(policy.task_memory, self._agents.values()))
        left = self._ending.left
        if left == inf or (map in self._own and left > 0):
            return None
        if policy.checkpoint:
            return None if left > self._ending.lead else Left(map, None, _LATE, True)
        seconds = need_of_map(policy, self._durations.most(map), self._running(map))
        return None if seconds < left else Left(map, None, _LATE, True)

    def _why(self, task: Claimed) -> Left | None:
        policy = self._policies[task.map]
        memory = policy.task_memory if task.limits is None or task.limits.memory is None else task.limits.memory
        if memory is not None and not self._remembers(policy, memory):
            return Left(task.map, task.index, describe_memory(memory, self._agents.values()))
        left = self._ending.left
        if left == inf:
            return None
        if policy.checkpoint:
            return None if left > self._ending.lead else Left(task.map, task.index, _LATE, True)
        seconds = need(task, policy, self._durations.most(task.map), self._running(task.map))
        if seconds < left:
            return None
        if task.outlived is not None:
            past = format_duration(round(task.outlived))
            return Left(
                task.map, task.index,
                f"too long: an earlier attempt ran {past} without ending when its allocation ended,"
                f" and this one has {format_duration(max(0, round(left)))} left; it needs a longer allocation,"
                " or --checkpoint",
                True,
            )  # fmt: skip
        return Left(task.map, task.index, _LATE, True)

    def _remembers(self, policy: Policy, memory: int) -> bool:
        """Tell whether an agent has so much memory, of those that can run tasks of the map otherwise, if any can."""
        needs = needs_of(policy)
        agents = self._agents.values()
        able = [agent for agent in agents if is_enough(agent, needs._replace(memory=0))] or agents
        return any(not agent.memory or agent.memory >= memory for agent in able)


_LATE = "longer than what is left of the allocation"
