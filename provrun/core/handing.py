"""Handing waiting tasks to agents that have room for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from provrun.core.agents import Agents, Team
from provrun.core.durations import Ending
from provrun.core.events import Instruction, Send
from provrun.core.leaving import Leaving
from provrun.core.needs import NOTHING
from provrun.core.placing import Placing
from provrun.core.records import Claimed, Policy
from provrun.core.waiting import Lane


class Handing:
    """Fills the agents; ``in_flight`` counts the tasks they have, ``replan`` asks for new plans for wide tasks.

    ``started`` keeps when each was handed over, where the end of an allocation makes that matter.
    """

    def __init__(self, agents: Agents, placing: Placing, leaving: Leaving, ending: Ending) -> None:
        self._agents = agents
        self._placing = placing
        self._leaving = leaving
        self._ending = ending
        self.in_flight = 0
        self.replan = False
        self._started: dict[tuple[int, int], float] = {}

    def fill(self, out: list[Instruction]) -> None:
        """Hand over what there is room for."""
        now = self._ending.now
        lanes = self._placing.order(now)
        if not lanes:
            return
        if self.replan and (len(lanes) > 1 or lanes[0].needs.nodes):
            self._placing.plan(lanes)
        self.replan = False
        while any(self._place(lane, out) for lane in lanes if lane.n) and len(lanes) > 1:
            lanes = self._placing.order(now)
        if any(lane.n for lane in lanes):
            # The next result makes one hungry again; an idle one waits for tasks that fit it.
            agents = self._agents
            agents.hungry = {number for number in agents.hungry if not agents[number].held}

    def ended(self, n: int, tasks: Iterable[Claimed]) -> None:
        """Take note that agents have ``n`` tasks no longer."""
        self.in_flight -= n
        if self._ending.known:
            for task in tasks:
                self._started.pop((task.map, task.index), None)

    def ran(self, tasks: list[Claimed], policies: Mapping[int, Policy]) -> list[float | None]:
        """Give how long ago tasks were handed over; None for those that go on from where they were."""
        now = self._ending.now
        return [
            None if policies[task.map].checkpoint else now - self._started.get((task.map, task.index), now)
            for task in tasks
        ]

    def _place(self, lane: Lane, out: list[Instruction]) -> bool:
        """Hand over tasks of a lane, of its first priority alone; tell whether there were any."""
        if lane.needs.nodes:
            return self._place_team(lane, out)
        priority = lane.priority
        placed = False
        for number in self._agents.hungry:
            agent = self._agents[number]
            while lane.n and lane.priority == priority and (n := self._placing.room(agent, lane)) > 0:
                self._hand(number, lane, lane.cut(n), out)
                placed = True
            if not lane.n:
                break
        return placed

    def _place_team(self, lane: Lane, out: list[Instruction]) -> bool:
        numbers = self._placing.team(lane)
        if numbers is None:
            return False
        (task,) = lane.cut(1)
        team = Team(tuple(numbers), (task.map, task.index, task.number))
        for number in numbers:
            self._agents[number].team = team
        hosts = tuple(self._agents[number].node for number in numbers) if len(numbers) > 1 else ()
        self._hand(numbers[0], lane, [task], out, hosts)
        return True

    def _hand(
        self, number: int, lane: Lane, tasks: list[Claimed], out: list[Instruction], hosts: tuple[str, ...] = ()
    ) -> None:
        agent = self._agents[number]
        map = tasks[0].map
        agent.take(map, tasks, NOTHING if agent.team is not None else lane.needs)
        if agent.kept is lane:
            agent.kept = None
        self.in_flight += len(tasks)
        lane.since = self._ending.now
        self.replan = self.replan or not lane.n  # others may have the agents that were kept for it
        if self._ending.known:
            self._leaving.begun(map)
            self._started.update(((map, task.index), self._ending.now) for task in tasks)
        out.append(Send(number, tasks, hosts))
