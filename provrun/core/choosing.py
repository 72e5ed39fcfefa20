"""Choose the shape of batch jobs: how many, of how many nodes with how many slots, for how long.

Of the shapes that the queue and the user allow, those are good whose slots find work nearly to the end; of these the
one is taken whose results are there first, when every node that a job waits for is taken to cost `WAIT` seconds. So
work spreads over more nodes as it grows, and neither over so many nor for so long that a scheduler finds no gap for it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import msgspec

from provrun.core.durations import MARGIN, MARGIN_SHARE, SPREADS
from provrun.core.forecast import Forecast, Machine, forecast, least
from provrun.core.reasons import reasons
from provrun.core.shape import TAIL, Queue, Shape, Wishes, rounded
from provrun.core.units import format_duration
from provrun.core.workload import Work, critical
from provrun.errors import NothingLeft, UsageError

WAIT = 900.0  # seconds that waiting for a node is taken to cost
NEAR = 1.01  # of the makespan that the longest task sets is as good as it can be
DOUBT = 2.0  # standard errors by which a tail may be worse than the sample says
STARTUP = 10.0  # seconds until the slots of a batch job work
FILLED = 0.95  # of an area that is too small for all that is left is filled with tasks
SHORTEST = 300.0  # seconds below which no job asks for time: schedulers gain nothing by it
MOST_NODES = 512  # where a queue does not say how many it has
TRIED = 60  # shapes that are forecast at most
ALL = 64  # numbers of nodes up to which each one is tried

ANY = Wishes()
_M = 60.0


class _Candidate(msgspec.Struct):
    """A shape under examination; ``cost`` is what counts among good ones."""

    machine: Machine
    time: float
    rounds: int
    done: float
    cost: float
    forecast: Forecast
    tail: float
    bound: float
    tier: int


def choose(works: Sequence[Work], queue: Queue, wishes: Wishes = ANY, *, startup: float = STARTUP) -> Shape:
    """Choose a shape for these maps, upstream first; raise `UsageError` when no shape can do what is wished."""
    works = [work for work in works if work.tasks]
    if not works:
        raise NothingLeft("nothing is left to do", next="provrun status")
    _check(works, queue, wishes, startup)
    within, part = _within(works, queue, wishes)
    chooser = _Chooser(within, queue, wishes, startup, max(work.worst for work in works))
    best = chooser.best()
    machine, found, slots = best.machine, best.forecast, best.machine.total * best.rounds
    shape = Shape(
        nodes=machine.nodes, slots=machine.slots, time=best.time, jobs=machine.jobs, makespan=found.makespan,
        utilisation=found.utilisation(slots, startup), tail_idle=best.tail, tail_bound=best.bound,
        core_hours=machine.total * best.time / 3600,
        used_core_hours=min(found.held + slots * startup, slots * best.time) / 3600,
        rounds=best.rounds, done=best.done * part, good=best.tier < 3,
    )
    return msgspec.structs.replace(shape, reasons=reasons(shape, works, queue, wishes, startup, chooser.wider))


def _within(works: Sequence[Work], queue: Queue, wishes: Wishes) -> tuple[list[Work], float]:
    """Give the tasks for which an area is enough, and which part of all they are."""
    part = 1.0
    if wishes.area is not None:
        busy = sum(work.seconds * work.width(wishes.slots or queue.cores) for work in works)
        part = min(1.0, FILLED * wishes.area * 3600 / busy)
    if part == 1.0:
        return list(works), part
    return [
        msgspec.structs.replace(
            work, tasks=max(1, int(work.tasks * part)), ready=None if work.ready is None else int(work.ready * part)
        ) for work in works
    ], part


def margin(works: Sequence[Work]) -> float:
    """Give the factor by which the time asked for exceeds the one foreseen: the more, the less has been measured."""
    factors = [
        2.0 if not work.durations.measured else 1.5 if work.durations.measured < min(20, work.tasks) else 1.25
        for work in works
    ]
    return max(factors)


class _Chooser:
    """Looks for the best shape."""

    def __init__(
        self, works: Sequence[Work], queue: Queue, wishes: Wishes, startup: float, longest: float
    ) -> None:
        self.works, self.queue, self.wishes, self.startup = works, queue, wishes, startup
        self._critical = critical(works)
        self._longest = longest
        self._margin = margin(works)
        self._aim = TAIL * (1 - max(_doubt(work) for work in works))
        # Where tasks take the same time it matters whether they come in whole rounds; else fewer slots idle less.
        self._varied = all(work.durations.spread > 0.3 * work.durations.mean for work in works)
        self._cores = max(work.cores for work in works)
        self._gangs = any(work.nodes for work in works)
        self._widest = max(1, *(work.nodes for work in works))
        self.wider: tuple[Machine, float] | None = None
        """The quickest shape that was given up for its idle tail, and this."""

    def best(self) -> _Candidate:
        """Give the best shape of all that are allowed."""
        machines = sorted(self._machines(), key=lambda each: (self._least_cost(each), each.total))
        best: _Candidate | None = None
        tried = 0
        poor: list[tuple[float, Machine]] = []
        too_many = math.inf
        for machine in machines:
            if best is not None and (self._least_cost(machine) > best.cost * (1 + 1e-9) or tried >= TRIED):
                break
            least_tail = self._least_tail(machine)
            if least_tail > TAIL or tried >= TRIED or machine.total >= too_many:
                poor.append((least_tail, machine))
                if self.wider is None and least_tail > TAIL:
                    self.wider = machine, least_tail
                continue
            tried += 1
            found = self._examined(machine)
            if found.tier:
                poor.append((found.tail, machine))
                if self.wider is None:
                    self.wider = machine, found.tail
                if self._varied and found.tail > 1.3 * TAIL:
                    # With fewer slots the tail is shorter, but by no more than in proportion.
                    too_many = min(too_many, machine.total * 1.3 * TAIL / found.tail)
            elif best is None or (found.cost, machine.total) < (best.cost, best.machine.total):
                best = found
        if best is not None:
            return best
        return self._least_poor(poor)

    def _least_poor(self, machines: list[tuple[float, Machine]]) -> _Candidate:
        """Give the best of shapes that all leave slots idle: within the longest task's bound, else the least idle."""
        machines.sort(key=lambda each: each[0])
        found = [self._examined(machine) for _, machine in machines[:TRIED]]
        return min(found, key=lambda each: (each.tier, each.done < 1, each.tail, each.cost))

    def _machines(self) -> Iterator[Machine]:
        """Give the machines that limits and wishes allow."""
        queue, wishes = self.queue, self.wishes
        room = sum(work.tasks * work.cores for work in self.works if not work.nodes)
        gangs = sum(work.tasks * work.nodes for work in self.works)
        all_nodes = max(queue.nodes or MOST_NODES, wishes.nodes or 1)
        per_job = min(all_nodes, queue.most_nodes or all_nodes)
        most_jobs = queue.most_jobs or all_nodes
        least_slots = self._most_slots() if queue.exclusive else self._cores
        fixed = (wishes.jobs or 1) * (wishes.nodes or self._widest) * (wishes.slots or least_slots)
        seen = set()
        for total in _ladder(min(all_nodes, max(room + gangs, wishes.nodes or 1, wishes.jobs or 1))):
            jobs = wishes.jobs or -(-total // (wishes.nodes or per_job))
            nodes = wishes.nodes or max(1, total // jobs)
            if not self._widest <= nodes <= (wishes.nodes or per_job) or jobs > (wishes.jobs or most_jobs):
                continue
            for slots in self._slots(jobs * nodes, room):
                machine = Machine(jobs, nodes, slots)
                if machine not in seen and machine.total <= max(room + gangs * slots, fixed) and self._allowed(machine):
                    seen.add(machine)
                    yield machine

    def _slots(self, nodes: int, room: int) -> Iterator[int]:
        """Give numbers of slots a node worth trying: all cores, and those that divide the tasks into whole rounds."""
        if self.wishes.slots:
            yield self.wishes.slots
            return
        most = self._most_slots()
        if self.queue.exclusive:
            yield most  # what is not asked for is nobody else's either
            return
        full = max(self._cores, most if self._gangs else min(most, room // nodes))
        yield full
        if nodes == 1:
            yield from range(full - 1, self._cores - 1, -1)
            return
        main = max(self.works, key=lambda work: work.seconds * work.cores)
        for turns in range(1, 13):
            slots = -(-main.tasks // (turns * nodes)) * main.cores
            if self._cores <= slots < full:
                yield slots
        for eighths in range(7, 0, -1):
            yield max(self._cores, full * eighths // 8)

    def _most_slots(self) -> int:
        """Count the slots a node has room for, by its cores and by the memory of tasks."""
        most = self.queue.cores
        if self.queue.memory:
            for work in self.works:
                if work.memory:
                    most = min(most, max(1, self.queue.memory // work.memory) * work.cores)
        return most

    def _allowed(self, machine: Machine) -> bool:
        queue, wishes = self.queue, self.wishes
        if queue.most_cores and machine.total > queue.most_cores:
            return False
        return wishes.area is None or machine.total * self._shortest() <= wishes.area * 3600 * (1 + 1e-9)

    def _shortest(self) -> float:
        """Give the seconds that a job has to have: the wish, else what the longest task needs."""
        if self.wishes.time:
            return self.wishes.time
        need = self.startup + self._longest
        return min(need, self.queue.most_time) if self.queue.most_time else need

    def _least_cost(self, machine: Machine) -> float:
        makespan, _ = least(self.works, machine, self._critical)
        return self._cost(machine, makespan, 1, 1.0)

    def _least_tail(self, machine: Machine) -> float:
        makespan, idle = least(self.works, machine, self._critical)
        return idle * makespan / (makespan + self.startup)

    def _cost(self, machine: Machine, makespan: float, rounds: int, done: float) -> float:
        waited = WAIT * machine.nodes * machine.jobs
        # What an area does not reach has to be done some time: as dear as ten times its time.
        return makespan + rounds * (self.startup + waited) + 10 * (1 - done) * makespan

    def _examined(self, machine: Machine) -> _Candidate:
        """Forecast a shape, and find the time to ask for."""
        found = forecast(self.works, machine)
        time, rounds, done = self._time(machine, found.makespan)
        slots = machine.total * rounds
        drained = (rounds - 1) * machine.total * self._drain(time)
        if drained:
            found = msgspec.structs.replace(found, held=found.held + drained)
        if done < 1:
            cut = time - self.startup
            found = Forecast(cut, machine.total * max(cut - self._drain(time), 0.0), machine.total * cut)
        tail = found.tail_idle(slots, self.startup)
        least_makespan, _ = least(self.works, machine, self._critical)
        bound = self._least_tail(machine)
        risked = found.tail_risked(slots, self.startup)
        if risked <= TAIL:
            tier = 0 if risked <= self._aim else 1
        elif self._critical >= least_makespan * (1 - 1e-9) and found.makespan <= NEAR * self._critical:
            tier = 2
        else:
            tier = 3
        cost = self._cost(machine, found.makespan, rounds, done)
        return _Candidate(machine, time, rounds, done, cost, found, tail, bound, tier)

    def _drain(self, time: float) -> float:
        """Give the seconds a slot is idle before the end of a job of this time whose work goes on in the next.

        The dispatcher starts nothing that might not end in time.
        """
        waited = max(work.durations.mean / 2 + SPREADS * work.durations.spread for work in self.works)
        return min(waited + self._end(time), time / 4)

    def _end(self, time: float) -> float:
        """Give the seconds that the dispatcher keeps free at the end of a job of this time."""
        return min(MARGIN, MARGIN_SHARE * time)

    def _time(self, machine: Machine, makespan: float) -> tuple[float, int, float]:
        """Give the time to ask for, the number of rounds, and the part of the work that is done."""
        wishes, most = self.wishes, self.queue.most_time
        longest = self.startup + self._longest
        # The last task has to be started when there seems to be time enough for it.
        last = SPREADS * max(work.durations.spread for work in self.works)
        need = max(
            self.startup + makespan * self._margin, self.startup + makespan + last + MARGIN, longest * 1.1 + MARGIN,
            SHORTEST,
        )
        time = wishes.time or rounded(need)
        if most and not wishes.time:
            time = min(time, most)
        if wishes.area is not None and not wishes.time:
            within = wishes.area * 3600 / machine.total
            if time > within:
                time = max(math.floor(within / _M) * _M or within, min(longest, within))
        usable = max(time - self.startup - self._drain(time), 1e-3)
        if makespan + self.startup <= time:
            return time, 1, 1.0
        if wishes.area is not None:
            return time, 1, min(1.0, usable / makespan)
        return time, math.ceil(makespan / usable), 1.0


def _doubt(work: Work) -> float:
    """Give the part of the tail idle allowed that is kept in reserve, for few tasks tell little of a tail."""
    durations = work.durations
    if durations.known or not durations.measured or durations.measured >= work.tasks:
        return 0.0
    return min(0.5, DOUBT * min(1.0, durations.spread / durations.mean) / math.sqrt(durations.measured))


def _ladder(most: int) -> list[int]:
    """Give numbers of nodes: each up to 64, then steps of a sixteenth, and the last."""
    numbers = list(range(1, min(most, ALL) + 1))
    while numbers[-1] < most:
        numbers.append(min(most, numbers[-1] + numbers[-1] // 16))
    return numbers


def _check(works: Sequence[Work], queue: Queue, wishes: Wishes, startup: float) -> None:
    """Refuse wishes that no shape can fulfil."""
    cores = max(work.cores for work in works)
    widest = max(work.nodes for work in works)
    if wishes.slots and wishes.slots < cores:
        raise UsageError(
            f"a task takes {cores} cores, more than {wishes.slots} slots", value=wishes.slots, next=f"--slots {cores}"
        )
    if not wishes.slots and queue.cores < cores:
        raise UsageError(
            f"a task takes {cores} cores, more than the {queue.cores} of a node", value=cores,
            next="--queue of larger nodes, or --slots if its nodes are larger",
        )
    if wishes.nodes and wishes.nodes < widest:
        raise UsageError(
            f"a task takes {widest} nodes, more than {wishes.nodes}", value=wishes.nodes, next=f"--nodes {widest}"
        )
    for wish, limit, option, what in (
        (wishes.nodes, queue.most_nodes or queue.nodes, "--nodes", "nodes"),
        (wishes.jobs, queue.most_jobs, "--jobs", "jobs of a user"),
        (wishes.time, queue.most_time, "--time", "seconds"),
    ):
        if wish and limit and wish > limit:
            raise UsageError(
                f"{option} {wish:g}: {queue.name or 'the queue'} allows {limit:g} {what}", value=wish,
                next=f"{option} {limit:g}",
            )
    least_slots = wishes.slots or (queue.cores if queue.exclusive else cores)
    fixed = (wishes.jobs or 1) * (wishes.nodes or max(1, widest)) * least_slots
    if queue.most_cores and fixed > queue.most_cores:
        raise UsageError(
            f"{fixed:,} slots: {queue.name or 'the queue'} allows {queue.most_cores:,} cores of a user", value=fixed,
            next="fewer --nodes, --slots or --jobs",
        )
    if wishes.area is not None:
        time = wishes.time or min(startup + max(work.worst for work in works), queue.most_time or math.inf)
        least_area = fixed * time / 3600
        if least_area > wishes.area * (1 + 1e-9):
            raise UsageError(
                f"--area {wishes.area:g}: the smallest shape, {fixed:,} slots for {format_duration(time)}, is"
                f" {least_area:.3g} core-hours", value=wishes.area, next=f"--area {least_area:.3g}",
            )
