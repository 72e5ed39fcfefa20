"""What is left to do: how many tasks of which maps, how long they take, what they wait for."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

ENOUGH = 20  # measured tasks from which the longest of many more is guessed
LEAST_TOP = 6  # of the longest tasks of a sample tell of its tail
SHORT_TAIL, LONG_TAIL = -1.0, 0.2  # shapes of tails: of equal likelihood up to an end, longer than exponential
Flow = Literal["gradual", "all"]


class Sample(msgspec.Struct, frozen=True):
    """How long tasks of a map take: some of their seconds, ascending, never empty; ``most`` is their limit.

    ``measured`` tells how many tasks have been measured, 0 if the sample is an assumption. ``known``: every task that
    is left has run before, so that the longest can start first.
    """

    seconds: tuple[float, ...]
    measured: int = 0
    most: float | None = None
    known: bool = False

    @classmethod
    def of(cls, seconds: Iterable[float], *, most: float | None = None, known: bool = False) -> Sample:
        """Take measured seconds in any order."""
        sample = tuple(sorted(seconds))
        return cls(sample, len(sample), most, known)

    @property
    def mean(self) -> float:
        """Give the mean seconds of a task."""
        return sum(self.seconds) / len(self.seconds)

    @property
    def spread(self) -> float:
        """Give the standard deviation in seconds."""
        mean = self.mean
        return math.sqrt(sum((each - mean) ** 2 for each in self.seconds) / len(self.seconds))

    def quantile(self, part: float) -> float:
        """Give the seconds within which this part of the tasks ends, between 0 and 1."""
        place = part * (len(self.seconds) - 1)
        below = int(place)
        if below >= len(self.seconds) - 1:
            return self.seconds[-1]
        return self.seconds[below] + (place - below) * (self.seconds[below + 1] - self.seconds[below])

    @property
    def worst(self) -> float:
        """Give the seconds of the longest task measured."""
        return self.seconds[-1]

    def longest(self, tasks: int) -> float:
        """Give the seconds that the longest of so many tasks takes on the mean.

        Of more tasks than have been measured it is longer than the longest of these where the sample has a tail.
        """
        if tasks < len(self.seconds):
            return self.drawn(tasks)[-1]
        last = self.worst
        if ENOUGH <= self.measured < tasks:
            last = max(last, self._far(tasks))
        return last if self.most is None else max(min(last, self.most), self.seconds[0])

    def _far(self, tasks: int) -> float:
        """Guess the longest of many tasks from what the longest tenth of the sample exceeds the others by.

        The excess over a high threshold has a generalised Pareto distribution, whose two moments give it.
        """
        n = len(self.seconds)
        top = max(LEAST_TOP, n // 10)
        threshold = self.seconds[-top - 1]
        excess = [each - threshold for each in self.seconds[-top:]]
        mean = sum(excess) / top
        variance = sum((each - mean) ** 2 for each in excess) / (top - 1)
        if not variance:
            return self.worst
        tail = min(max((1 - mean * mean / variance) / 2, SHORT_TAIL), LONG_TAIL)
        scale = mean * (1 - tail)
        beyond = 1.78 * tasks * top / n  # the mean of the largest of so many
        return threshold + scale * (math.log(beyond) if abs(tail) < 1e-6 else (beyond**tail - 1) / tail)

    def drawn(self, tasks: int, of: int | None = None) -> list[float]:
        """Give durations that stand for so many tasks, ascending, evenly over the distribution and with its mean.

        ``of`` tasks there are, when these stand for more.
        """
        if tasks == len(self.seconds) == (of or tasks):
            return list(self.seconds)
        n = len(self.seconds)
        if tasks < n:
            drawn = [self.quantile((place + 0.5) / tasks) for place in range(tasks)]
            last = math.inf
        else:
            drawn = [self.seconds[(2 * place + 1) * n // (2 * tasks)] for place in range(tasks)]
            last = self.longest(of or tasks)
            # The longest measured one stands for some that are longer, evenly over the tail.
            beyond = max(1.0, 0.56 * tasks / n)
            for place in range(1, int(beyond) + 1):
                part = 1 - math.log(place) / math.log(beyond) if place > 1 else 1.0
                drawn[-place] = self.worst + (last - self.worst) * part
        total = sum(drawn)
        factor = self.mean * tasks / total if total else 1.0
        return [min(each * factor, last) for each in drawn]


class Reads(msgspec.Struct, frozen=True):
    """That tasks of a map wait for tasks of another: for all of them, or for more and more as these end."""

    map: str
    flow: Flow = "all"


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """The tasks of one map that are left: ``ready`` of them (default: all) wait for nothing.

    A task takes ``cores`` slots of a node, or all slots of ``nodes`` nodes; ``memory`` in bytes.
    """

    name: str
    tasks: int
    durations: Sample
    cores: int = 1
    nodes: int = 0
    memory: int = 0
    ready: int | None = None
    reads: tuple[Reads, ...] = ()

    @property
    def seconds(self) -> float:
        """Give the seconds that all tasks take one after another."""
        return self.tasks * self.durations.mean

    @property
    def longest(self) -> float:
        """Give the seconds that the longest task takes on the mean."""
        return self.durations.longest(self.tasks)

    @property
    def worst(self) -> float:
        """Give the seconds that the longest task may take."""
        return max(self.durations.worst, self.longest)

    def width(self, slots: int) -> int:
        """Count the slots that a task takes where each node has so many."""
        return self.nodes * slots if self.nodes else self.cores

    def together(self, nodes: int, slots: int) -> int:
        """Count the tasks that run at once on so many nodes of so many slots."""
        return nodes // self.nodes if self.nodes else nodes * (slots // self.cores)


def critical(works: Sequence[Work]) -> float:
    """Give the seconds below which no number of slots comes: the longest chain of tasks that wait for each other."""
    chains: dict[str, float] = {}
    for work in works:  # upstream first
        chains[work.name] = work.longest + max((chains.get(reads.map, 0.0) for reads in work.reads), default=0.0)
    return max(chains.values(), default=0.0)
