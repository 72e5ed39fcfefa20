"""Tasks that a job has claimed and not yet handed to an agent, in lanes: one for each kind of needs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import groupby

from provrun.core.agents import Agent
from provrun.core.judging import LOSSES
from provrun.core.messages import Key
from provrun.core.needs import Needs, alone, fits, needs_of, needs_of_task
from provrun.core.records import Claimed, Policy


def keys(tasks: Iterable[Claimed]) -> list[Key]:
    """Name attempts."""
    return [(task.map, task.index, task.number) for task in tasks]


def divide(tasks: Iterable[Claimed], wanted: Collection[Key]) -> tuple[list[Claimed], list[Claimed]]:
    """Divide attempts into those that are wanted and the others."""
    yes: list[Claimed] = []
    no: list[Claimed] = []
    for task in tasks:
        (yes if (task.map, task.index, task.number) in wanted else no).append(task)
    return yes, no


class Lane:
    """The waiting tasks with the same needs, in runs of one map and priority: larger priority first, then as they came.

    ``maps`` are those that have such tasks. ``dry`` tells that the registry had no more of them when it was asked last,
    ``exhausted`` that nothing has happened since by which this job knows of more. ``since`` is when one of its tasks
    was handed over last, or the first began to wait, ``place`` its rank among all lanes now, the first being 0.
    """

    def __init__(self, needs: Needs) -> None:
        self.needs = needs
        self.maps: list[int] = []
        self.runs: list[list[Claimed]] = []
        self.n = 0
        self.dry = False
        self.exhausted = False
        self.since = 0.0
        self.place = 0

    @property
    def next(self) -> Needs:
        """Give what its first task takes, if it has one."""
        return needs_of_task(self.runs[0][0], self.needs) if self.n else self.needs

    @property
    def priority(self) -> int:
        """Give the priority of its first task."""
        return self.runs[0][0].priority

    @property
    def lowest(self) -> int:
        """Give the priority of its last task."""
        return self.runs[-1][0].priority

    def add(self, tasks: list[Claimed]) -> None:
        """Put tasks behind those of the same priority."""
        for (_, priority), some in groupby(tasks, _run_of):
            place = len(self.runs)
            while place and self.runs[place - 1][0].priority < priority:
                place -= 1
            self.runs.insert(place, list(some))
        self.n += len(tasks)

    def cut(self, n: int) -> list[Claimed]:
        """Take the first ``n`` tasks of the first run."""
        run = self.runs[0]
        self.n -= min(n, len(run))
        if n >= len(run):
            return self.runs.pop(0)
        self.runs[0] = run[n:]
        return run[:n]

    def cut_back(self, most: int) -> list[Claimed]:
        """Take tasks of lower priority than the first off the end until at most so many are left."""
        off: list[Claimed] = []
        while self.n > most and self.lowest < self.priority:
            run = self.runs.pop()
            over = min(self.n - most, len(run))
            off += run[len(run) - over :]
            if over < len(run):
                self.runs.append(run[: len(run) - over])
            self.n -= over
        return off

    def remove(self, wanted: Callable[[Claimed], bool]) -> list[Claimed]:
        """Take out the tasks that are wanted."""
        out = [task for run in self.runs for task in run if wanted(task)]
        if out:
            kept = ([task for task in run if not wanted(task)] for run in self.runs)
            self.runs = [run for run in kept if run]
            self.n -= len(out)
        return out

    def clear(self) -> list[Claimed]:
        """Take out everything."""
        out = [task for run in self.runs for task in run]
        self.runs = []
        self.n = 0
        return out


class Waiting:
    """All lanes; knows the needs of maps from their policies."""

    def __init__(self) -> None:
        self.lanes: dict[Needs, Lane] = {}
        self.needs: dict[int, Needs] = {}

    def learn(self, policies: Mapping[int, Policy], now: float) -> None:
        """Take in the policies of maps; what waits with other needs than before changes its lane."""
        needs = {map: needs_of(policy) for map, policy in policies.items()}
        moved = self.remove(lambda task: task.map in needs and needs[task.map] != self.needs[task.map])
        self.needs.update(needs)
        for lane in self.lanes.values():
            lane.maps = []
        for map, some in self.needs.items():
            self._lane(some, now).maps.append(map)
        self.add(moved, now)

    def add(self, tasks: list[Claimed], now: float) -> list[Lane]:
        """Let tasks wait and give the lanes they wait in; one that may kill its agent waits for one of its own."""
        found: dict[Needs, list[Claimed]] = {}
        for task in tasks:
            needs = self.needs[task.map]
            found.setdefault(needs if task.losses < LOSSES else alone(needs), []).append(task)
        for needs, some in found.items():
            lane = self._lane(needs, now)
            if not lane.n:
                lane.since = now
            lane.add(some)
        return [self.lanes[needs] for needs in found]

    def _lane(self, needs: Needs, now: float) -> Lane:
        lane = self.lanes.get(needs)
        if lane is None:
            lane = self.lanes[needs] = Lane(needs)
            lane.since = now
        return lane

    @property
    def n(self) -> int:
        """Count the tasks that wait."""
        return sum(lane.n for lane in self.lanes.values())

    def tasks(self) -> Iterator[Claimed]:
        """Give the tasks that wait."""
        for lane in self.lanes.values():
            for run in lane.runs:
                yield from run

    def remove(self, wanted: Callable[[Claimed], bool]) -> list[Claimed]:
        """Take out the tasks that are wanted."""
        return [task for lane in self.lanes.values() for task in lane.remove(wanted)]

    def clear(self) -> list[Claimed]:
        """Take out everything."""
        return [task for lane in self.lanes.values() for task in lane.clear()]

    def unfit(self, agents: Collection[Agent]) -> list[Claimed]:
        """Take out what none of these agents can run."""
        lanes = [lane for lane in self.lanes.values() if lane.n and not fits(lane.needs, agents)]
        return [task for lane in lanes for task in lane.clear()]

    def lacking(self, agents: Collection[Agent]) -> bool:
        """Tell whether there are maps with tasks that none of these agents can run."""
        return any(lane.maps and not fits(lane.needs, agents) for lane in self.lanes.values())

    def moisten(self, *, known: bool = True) -> None:
        """Take for possible (or ``known``) that the registry has more tasks of every lane."""
        for lane in self.lanes.values():
            lane.dry = False
            lane.exhausted = lane.exhausted and not known

    def returned(self, tasks: Iterable[Claimed]) -> None:
        """Take note that the registry gets tasks back."""
        for map in {task.map for task in tasks}:
            self.lanes[self.needs[map]].exhausted = False


def _run_of(task: Claimed) -> tuple[int, int]:
    return task.map, task.priority
