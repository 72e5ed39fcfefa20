"""Forecast what a shape of jobs brings: list scheduling of the tasks that are left, played through in virtual time.

Millions of tasks are not played one by one: what the slots do before the last few rounds is a division, and many slots
are stood for by some hundreds. What matters for a shape is the end, when slots find nothing to do any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush, heapreplace
from statistics import fmean, pstdev

import msgspec

from provrun.core.workload import Work, critical

ROUNDS = 10  # tasks per slot that are played through
MOST_SLOTS = 512  # slots that are played through
MOST_TASKS = 6_000
FEW = 2_000  # tasks that are always played one by one
ORDERS = 6  # of the tasks, at least


class Forecast(msgspec.Struct, frozen=True):
    """What is to be expected: ``makespan`` seconds from the first task's start to the last one's end.

    ``busy`` and ``held`` are slot-seconds that tasks use and that jobs hold their slots, from the start of tasks;
    ``scatter`` is the standard deviation of ``held`` when tasks come in other orders.
    """

    makespan: float
    busy: float
    held: float
    scatter: float = 0.0

    def utilisation(self, slots: int, startup: float) -> float:
        """Give the part of what is held, start-up of jobs included, that tasks use."""
        return self.busy / max(self.held + slots * startup, 1e-9)

    def tail_idle(self, slots: int, startup: float) -> float:
        """Give the part of what is held that slots find nothing to do, on the mean."""
        return (self.held - self.busy) / max(self.held + slots * startup, 1e-9)

    def tail_risked(self, slots: int, startup: float) -> float:
        """Give the tail idle that five of six orders of the tasks stay below."""
        return (self.held + self.scatter - self.busy) / max(self.held + slots * startup, 1e-9)


class Machine(msgspec.Struct, frozen=True):
    """``jobs`` jobs, each of ``nodes`` nodes with ``slots`` slots."""

    jobs: int
    nodes: int
    slots: int

    @property
    def total(self) -> int:
        """Count all slots."""
        return self.jobs * self.nodes * self.slots


def forecast(works: Sequence[Work], machine: Machine) -> Forecast:
    """Forecast what comes of these maps, upstream first, on the mean; every task must fit the machine."""
    pieces, small = _pieces(works, machine)
    # The fewer tasks, the more the end depends on their order.
    seeds = range(1, 1 + max(ORDERS, min(40, FEW // sum(len(piece.durations) for piece in pieces))))
    bulk = sum(piece.bulk for piece in pieces)
    if len(pieces) == 1 and not pieces[0].work.nodes and small.jobs == 1:
        ends = [_played_simply(pieces[0], small, seed) for seed in seeds]
    else:
        ends = [_Play(pieces, small, seed).run() for seed in seeds]
    makespan = fmean(end for end, _ in ends)
    larger = machine.total / small.total
    held = [held * larger for _, held in ends]
    busy = sum(piece.seconds * piece.work.width(machine.slots) for piece in pieces)
    return Forecast(bulk + makespan, busy, max(machine.total * bulk + fmean(held), busy), pstdev(held))


def least(works: Sequence[Work], machine: Machine, chain: float | None = None) -> tuple[float, float]:
    """Give makespan and tail idle (start-up apart) that no order of the tasks can undercut.

    ``chain`` is what `critical` gives, when it is known.
    """
    busy = sum(work.seconds * work.width(machine.slots) for work in works)
    makespan = max(busy / machine.total, critical(works) if chain is None else chain)
    for work in works:
        makespan = max(makespan, work.seconds / max(1, machine.jobs * work.together(machine.nodes, machine.slots)))
    return makespan, 1 - busy / (machine.total * makespan) if makespan else 0.0


class _Piece(msgspec.Struct):
    """The tasks of a map that are played, by the seconds they take; the others take ``bulk`` seconds of all.

    ``seconds`` is what all tasks take one after another.
    """

    work: Work
    durations: list[float]
    bulk: float
    seconds: float


def _pieces(works: Sequence[Work], machine: Machine) -> tuple[list[_Piece], Machine]:
    """Take out whole rounds of many tasks, and let some hundreds of slots stand for thousands."""
    lanes = [machine.jobs * work.together(machine.nodes, machine.slots) for work in works]
    tasks = [
        work.tasks - (max(0, work.tasks // at_once - ROUNDS) * at_once if work.tasks > FEW else 0)
        for work, at_once in zip(works, lanes, strict=True)
    ]
    small, part = machine, 1.0
    nodes = machine.jobs * machine.nodes
    if machine.total > MOST_SLOTS and sum(tasks) > MOST_TASKS and nodes > 1:
        fewer = max(1, *(work.nodes for work in works), MOST_SLOTS // machine.slots)
        small = Machine(1, min(nodes, fewer), machine.slots)
        part = small.nodes / nodes
    pieces = []
    for work, n, at_once in zip(works, tasks, lanes, strict=True):
        durations = work.durations.drawn(max(1, round(n * part)), n)
        played = sum(durations) * n / len(durations)
        bulk = max(0.0, work.seconds - played) if n < work.tasks else 0.0
        pieces.append(_Piece(work, durations, bulk / at_once, played + bulk))
    return pieces, small


def _played_simply(piece: _Piece, machine: Machine, seed: int) -> tuple[float, float]:
    """Play one map in one job: each task goes where one ends first."""
    lanes = [0.0] * piece.work.together(machine.nodes, machine.slots)
    for seconds in _ordered(piece, seed):
        heapreplace(lanes, lanes[0] + seconds)
    return max(lanes), max(lanes) * machine.total


def _ordered(piece: _Piece, seed: int) -> list[float]:
    """Give durations in the order in which tasks start."""
    if piece.work.durations.known:
        return piece.durations[::-1]
    durations = piece.durations.copy()
    shuffle(durations, seed)
    return durations


class _Queue:
    """The tasks of one map that have not been started, the next one last."""

    __slots__ = ("cores", "done", "durations", "ended", "free", "nodes", "readers", "reads", "ready", "tasks")

    def __init__(self, piece: _Piece, seed: int) -> None:
        work = piece.work
        self.durations = _ordered(piece, seed)[::-1]
        self.tasks = len(self.durations)
        self.cores, self.nodes = work.cores, work.nodes
        ready = work.tasks if work.ready is None else work.ready
        self.free = self.ready = self.tasks * ready // work.tasks if work.reads else self.tasks
        self.reads = work.reads
        self.readers: list[_Queue] = []
        self.ended = 0

    def startable(self) -> bool:
        return self.free > 0

    def start(self) -> float:
        self.free -= 1
        return self.durations.pop()

    def release(self, queues: dict[str, _Queue]) -> bool:
        """Make ready what no longer waits; tell whether that is something."""
        part = 1.0
        for reads in self.reads:
            upstream = queues.get(reads.map)
            if upstream is not None and upstream.ended < upstream.tasks:
                part = min(part, upstream.ended / upstream.tasks if reads.flow == "gradual" else 0.0)
        ready = max(self.ready, int(self.tasks * part))
        more = ready - self.ready
        self.ready = ready
        self.free += more
        return more > 0


class _Play:
    """One course of events: nodes take the widest tasks that are ready, else the first."""

    def __init__(self, pieces: Sequence[_Piece], machine: Machine, seed: int) -> None:
        self._machine = machine
        self._queues = {piece.work.name: _Queue(piece, seed) for piece in pieces}
        for queue in self._queues.values():
            for reads in queue.reads:
                if reads.map in self._queues:
                    self._queues[reads.map].readers.append(queue)
            queue.release(self._queues)
        self._order = sorted(self._queues.values(), key=lambda queue: (-queue.nodes, -queue.cores))
        self._ganged = any(queue.nodes for queue in self._order)
        self._idle = [machine.slots] * (machine.jobs * machine.nodes)
        self._ends: list[tuple[float, int, int, int, _Queue, tuple[int, ...]]] = []
        self._n = 0
        self._now = 0.0

    def run(self) -> tuple[float, float]:
        """Give the makespan and the slot-seconds held by all jobs."""
        machine = self._machine
        ends, idle = self._ends, self._idle
        last = [0.0] * machine.jobs
        self._fill_all()
        waits = any(queue.reads for queue in self._order)
        while ends:
            self._now, _, node, cores, queue, gang = heappop(ends)
            last[node // machine.nodes] = self._now
            for each in gang:
                idle[each] = machine.slots
            if not gang:
                idle[node] += cores
            queue.ended += 1
            released = [reader for reader in queue.readers if reader.release(self._queues)]
            if released:
                self._fill_all()
            elif self._ganged:
                self._fill_all(gang or (node,))
            else:
                self._fill(node)
        # Where tasks wait for others, a job cannot know that it has had its last one.
        if waits:
            last = [self._now] * machine.jobs
        return self._now, sum(last) * machine.nodes * machine.slots

    def _fill_all(self, nodes: Sequence[int] | None = None) -> None:
        if self._ganged:
            self._gangs()
        for node in range(len(self._idle)) if nodes is None else nodes:
            self._fill(node)

    def _fill(self, node: int) -> None:
        idle = self._idle
        for queue in self._order:
            if queue.nodes:
                per_job = self._machine.nodes
                if queue.startable() and node % per_job < per_job // queue.nodes * queue.nodes:
                    return  # the node is kept for the wide ones
                continue
            while queue.startable() and idle[node] >= queue.cores:
                idle[node] -= queue.cores
                self._n += 1
                heappush(self._ends, (self._now + queue.start(), self._n, node, queue.cores, queue, ()))
            if not idle[node]:
                return

    def _gangs(self) -> None:
        slots, per_job = self._machine.slots, self._machine.nodes
        for queue in self._order:
            if not queue.nodes:
                return
            for first in range(0, len(self._idle), per_job):
                whole = [node for node in range(first, first + per_job) if self._idle[node] == slots]
                while queue.startable() and len(whole) >= queue.nodes:
                    gang = tuple(whole[: queue.nodes])
                    del whole[: queue.nodes]
                    for node in gang:
                        self._idle[node] = 0
                    self._n += 1
                    heappush(self._ends, (self._now + queue.start(), self._n, gang[0], slots, queue, gang))


def shuffle(items: list[float], seed: int) -> None:
    """Bring items into an order that depends on the seed alone."""
    state = seed * 0x9E3779B97F4A7C15 + 1
    for place in range(len(items) - 1, 0, -1):
        state = (state * 6364136223846793005 + 1442695040888963407) & 0xFFFFFFFFFFFFFFFF
        other = (state >> 33) * (place + 1) >> 31
        items[place], items[other] = items[other], items[place]
