"""Which tasks go to which agent: the order of lanes, the agents kept free for wide tasks, the room at each agent."""

from __future__ import annotations

from math import inf

from provrun.core.agents import Agent, Agents
from provrun.core.durations import SHORTEST, Durations, Ending
from provrun.core.needs import is_enough
from provrun.core.waiting import Lane, Waiting

AHEAD = 0.1  # seconds of work queued at an agent for each of its slots
LONG = 2.0  # seconds from which a task is not queued behind another: a round trip is nothing beside it
CAUTION = 10.0  # seconds after an agent's death in which nothing is queued: the fewer it has, the fewer are suspect
AGING = 60.0  # seconds without a start after which a lane goes before wider ones of the same priority


class Placing:
    """Knows what the agents have and what waits, and says what fits where."""

    def __init__(
        self, agents: Agents, waiting: Waiting, durations: Durations, ending: Ending
    ) -> None:
        self._agents = agents
        self._waiting = waiting
        self._needs = waiting.needs
        self._durations = durations
        self._ending = ending
        self._cautious = -CAUTION

    def beware(self) -> None:
        """Take note that an agent has died."""
        self._cautious = self._ending.now

    def order(self, now: float) -> list[Lane]:
        """Give the lanes with tasks, in the order in which they may take slots.

        Larger priority first, then who has waited long, then the widest: small tasks fill what wide ones leave, not
        the other way round. Tasks that want an agent to themselves because they may kill it come last.
        """
        lanes = [lane for lane in self._waiting.lanes.values() if lane.n]
        if len(lanes) > 1:
            lanes.sort(key=lambda lane: _rank(lane, now))
        for place, lane in enumerate(lanes):
            lane.place = place
        return lanes

    def plan(self, lanes: list[Lane]) -> None:
        """Keep agents free for the first task of each lane that fits nowhere now, the first lanes first.

        One agent is emptied at a time for each lane (as many as one task takes): when it has run one such task, what
        that leaves is wide enough for the next.
        """
        agents = self._agents
        before = {number: agent.kept for number, agent in agents.items()}
        for agent in agents.values():
            agent.kept = None
        for lane in lanes:
            if lane.needs.nodes:
                self._keep_whole(lane, before)
            elif len(lanes) > 1 and self._is_wide(lane) and not any(self._could(a, lane) for a in agents.values()):
                self._keep_part(lane)

    def _keep_whole(self, lane: Lane, before: dict[int, Lane | None]) -> None:
        needs = lane.needs
        able = [
            number for number, agent in self._agents.items()
            if agent.team is None and agent.kept is None and is_enough(agent, needs)
        ]  # fmt: skip
        if len(able) >= needs.nodes:
            able.sort(key=lambda number: (before[number] is not lane, self._agents[number].busy))
            for number in able[: needs.nodes]:
                self._agents[number].kept = lane

    def _keep_part(self, lane: Lane) -> None:
        needs = lane.next
        able = [
            agent for agent in self._agents.values()
            if agent.team is None and agent.kept is None and is_enough(agent, needs)
        ]  # fmt: skip
        if able:
            min(able, key=lambda agent: (agent.busy - agent.slots, agent.gpus_busy, agent.memory_busy)).kept = lane

    def _is_wide(self, lane: Lane) -> bool:
        """Tell whether a free slot of some agent may be too little for a task."""
        needs = lane.needs
        return needs.cores > 1 or needs.gpus > 0 or any(agent.crowded(needs) for agent in self._agents.values())

    def _could(self, agent: Agent, lane: Lane) -> bool:
        needs = lane.next
        free = agent.slots - agent.busy >= needs.cores and agent.gpus - agent.gpus_busy >= needs.gpus
        spacious = not agent.memory or agent.memory - agent.memory_busy >= needs.memory
        return free and spacious and agent.team is None and (agent.kept is None or agent.kept is lane)

    def team(self, lane: Lane) -> list[int] | None:
        """Give the agents of a task that takes whole ones, once they are empty."""
        kept = [number for number, agent in self._agents.items() if agent.kept is lane]
        ready = len(kept) >= lane.needs.nodes and not any(self._agents[number].held for number in kept)
        return kept if ready else None

    def room(self, agent: Agent, lane: Lane) -> int:
        """Count the tasks of the first run of a lane that an agent should be handed now.

        Its slots are always filled. Behind them it gets a second round, or `AHEAD` seconds of short tasks, when half
        of that has gone, so that a message carries many.
        """
        if agent.team is not None:
            return 0
        needs = lane.next
        slots = agent.slots
        gpus = agent.gpus - agent.gpus_busy
        memory = agent.memory - agent.memory_busy
        kept = agent.kept
        if kept is not None and kept is not lane and kept.n and kept.place < lane.place:
            if kept.needs.nodes:
                return 0
            # What such tasks have there already is theirs when they end.
            own = sum(agent.counts.get(map, 0) for map in kept.maps)
            if gpus >= kept.needs.gpus:  # else slots are not what it waits for
                slots -= max(0, 1 - own) * kept.needs.cores
            gpus -= max(0, 1 - own) * kept.needs.gpus
            memory -= max(0, 1 - own) * kept.next.memory
        cores = needs.cores
        free = max(0, slots - agent.busy) // cores
        if needs.gpus:
            free = max(0, min(free, gpus // needs.gpus))
        if needs.memory and agent.memory:
            free = min(free, max(0, memory // needs.memory))
            if agent.crowded(needs) or any(self._needs[map] != lane.needs for map in agent.counts):
                return free  # what waits behind others may start beside larger ones
        if needs.gpus:
            return free
        seconds = self._durations.mean.get(lane.runs[0][0].map)
        if kept is not None or seconds is None or seconds >= LONG:
            return free
        return max(free, self._behind(agent, lane, seconds))

    def _behind(self, agent: Agent, lane: Lane, seconds: float) -> int:
        slots, busy, cores = agent.slots, agent.busy, lane.needs.cores
        if slots < cores or self._ending.left < 4 * seconds + AHEAD or self._ending.now < self._cautious + CAUTION:
            return 0
        each = max(seconds, SHORTEST) * cores
        mean = self._durations.mean
        load = sum(
            n * self._needs[held].cores * max(mean.get(held, LONG), SHORTEST) for held, n in agent.counts.items()
        )
        most = max(2 * slots // cores, int(AHEAD * slots / each))
        room = max((2 * slots - busy) // cores, int((AHEAD * slots - load) / each))
        if busy > slots and 2 * room < most:
            return 0
        if lane.dry and len(self._agents) > 1:
            # Near the end large portions would leave other agents with nothing to do.
            if lane.n * cores < self._agents.slots and seconds > AHEAD:
                return 0
            room = min(room, -(-lane.n * slots // (2 * self._agents.slots)))
        return room


def _rank(lane: Lane, now: float) -> tuple[int, int, float, bool, int, int, int, int]:
    needs = lane.needs
    aged = now - lane.since > AGING
    return (
        -lane.priority, not aged, lane.since if aged else inf, needs.nodes == 1, -needs.nodes, -needs.cores,
        -needs.gpus, -needs.memory,
    )  # fmt: skip
