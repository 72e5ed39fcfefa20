"""What a job should claim next: enough for a few seconds of all its slots, for each kind of needs."""

from __future__ import annotations

from provrun.core.agents import Agents
from provrun.core.durations import SHORTEST
from provrun.core.events import Claim
from provrun.core.leaving import Leaving
from provrun.core.needs import Needs, fits
from provrun.core.waiting import Lane, Waiting

WINDOW = 3.0  # seconds of work claimed from the registry
MOST_CLAIMED = 10_000
MOST_UNRECORDED = 20_000  # or four for each slot: then the registry is too slow, and has to follow first


class Claiming:
    """Decides on claims, of which one is under way at a time.

    """

    def __init__(self, agents: Agents, waiting: Waiting, leaving: Leaving) -> None:
        self._agents = agents
        self._waiting = waiting
        self._leaving = leaving
        self._pace: dict[Needs, float] = {}
        self._peeked = 0
        self.asked: Claim | None = None
        self._lane: Lane | None = None

    def behind(self, unrecorded: int) -> bool:
        """Tell whether the registry is too slow for more claims."""
        return unrecorded >= max(MOST_UNRECORDED, 4 * self._agents.slots)

    def learn(self, needs: Needs, seconds: float, n: int) -> None:
        """Take in the mean seconds of tasks with these needs that ended."""
        seconds = max(seconds, SHORTEST)
        known = self._pace.get(needs)
        weight = min(max(n, 8) / 64, 1.0)
        self._pace[needs] = seconds if known is None else known + weight * (seconds - known)

    def open_lanes(self) -> list[Lane]:
        """Give the lanes of which something could be claimed and run."""
        return [
            lane for lane in self._waiting.lanes.values()
            if fits(lane.needs, self._agents.values()) and any(map(self._leaving.open, lane.maps))
        ]  # fmt: skip

    @property
    def possible(self) -> bool:
        """Tell whether a claim is under way, or the registry may have more."""
        return self.asked is not None or not all(lane.dry for lane in self.open_lanes())

    def stock(self, lane: Lane) -> int:
        """Count the waiting tasks that a lane should have."""
        needs = lane.needs
        share = len(self._agents) // needs.nodes if needs.nodes else self._agents.slots // needs.cores
        pace = self._pace.get(needs)
        if pace is None:
            return max(1, share)
        return max(1, min(MOST_CLAIMED, int(WINDOW * share / pace)))

    def next(self) -> Claim | None:
        """Give the claim to make now, if any: for the lane that has the least of what it should have."""
        found: tuple[float, Lane, int] | None = None
        # The widest first, which have to be there before their room is taken.
        for lane in sorted(self._waiting.lanes.values(), key=lambda lane: lane.needs, reverse=True):
            if lane.dry:
                continue
            stock = self.stock(lane)
            if lane.n > stock // 2 or (found is not None and lane.n / stock >= found[0]):
                continue
            if fits(lane.needs, self._agents.values()) and any(map(self._leaving.open, lane.maps)):
                found = lane.n / stock, lane, stock
        if found is None:
            return None
        _, lane, stock = found
        return self._ask(lane, stock + self._free(lane.needs) - lane.n, None)

    def peek(self) -> Claim | None:
        """Give a claim of tasks more urgent than what waits: they may have been added since."""
        lanes = [lane for lane in self.open_lanes() if lane.n]
        if not lanes or self.asked is not None:
            return None
        self._peeked += 1
        lane = lanes[self._peeked % len(lanes)]
        lowest = lane.lowest
        less = sum(len(run) for run in lane.runs if run[0].priority == lowest)
        return self._ask(lane, max(1, self.stock(lane) - (lane.n - less)), lowest)

    def look(self) -> Claim:
        """Give a claim that finds nothing but maps that have appeared."""
        self.asked, self._lane = Claim(self._agents.slots, ()), None
        return self.asked

    def _ask(self, lane: Lane, limit: int, above: int | None) -> Claim:
        maps = tuple(filter(self._leaving.open, lane.maps))
        self.asked = Claim(limit, maps, above, self._leaving.avoided(maps))
        self._lane = lane
        return self.asked

    def answered(self, n: int, *, complete: bool) -> None:
        """Take note that so many tasks came; ``complete``: what was asked for was all there was to ask for."""
        asked, lane = self.asked, self._lane
        self.asked = self._lane = None
        if asked is not None and lane is not None and asked.above is None:
            lane.dry = lane.exhausted = n < asked.limit and complete

    def _free(self, needs: Needs) -> int:
        if needs.nodes:
            return 0
        return sum(max(0, agent.slots - agent.busy) // needs.cores for agent in self._agents.values() if not agent.team)
