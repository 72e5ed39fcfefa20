"""How long tasks take, as far as a running job has seen, and what that means for the end of its allocation."""

from __future__ import annotations

from math import inf, sqrt

from provrun.core.records import Claimed, Policy

MEMORY = 64  # results over which a measured duration is averaged
SHORTEST = 5e-5  # seconds: what even an empty task costs an agent
SPREADS = 3.0  # standard deviations above the mean that a task is expected to take at most
STRETCH = 1.1  # a task that did not end within some time is not tried again with less than that much of it
WARNING = 60.0  # seconds before the end at which tasks that can save where they are hear of it
WARNING_SHARE = 0.1  # and at most this share of the allocation
MARGIN = 30.0  # seconds that are kept for what has to be recorded at the end
MARGIN_SHARE = 0.05  # and at most this share of the allocation
MARGIN_LEAST = 1.0


class Durations:
    """Measured seconds of tasks, map by map."""

    def __init__(self) -> None:
        self.mean: dict[int, float] = {}
        self._square: dict[int, float] = {}

    def learn(self, map: int, n: int, total: float, squares: float) -> None:
        """Take in tasks that ended: how many, the sum of their seconds, the sum of the squares."""
        mean, square = total / n, squares / n
        known = self.mean.get(map)
        if known is None:
            self.mean[map], self._square[map] = mean, square
        else:
            weight = min(max(n, 8) / MEMORY, 1.0)
            self.mean[map] = known + weight * (mean - known)
            self._square[map] += weight * (square - self._square[map])

    def most(self, map: int) -> float | None:
        """Give the seconds that a task takes at most, nearly always; None before the first has ended."""
        mean = self.mean.get(map)
        if mean is None:
            return None
        return mean + SPREADS * sqrt(max(0.0, self._square[map] - mean * mean))


class Ending:
    """The end of an allocation: ``at`` on the clock of the ticks, None for a job that nothing ends.

    The first tick is the beginning of what it measures shares of.
    """

    def __init__(self, at: float | None) -> None:
        self._at = at
        self._stop = inf
        self.lead = 0.0
        self.left = inf
        self.now = 0.0

    def tick(self, now: float) -> None:
        """Let time pass."""
        self.now = now
        if self._at is None:
            return
        if self._stop == inf:
            span = max(0.0, self._at - now)
            self._stop = self._at - min(MARGIN, max(MARGIN_LEAST, MARGIN_SHARE * span))
            self.lead = min(WARNING, WARNING_SHARE * span)
        self.left = self._stop - now

    @property
    def known(self) -> bool:
        """Tell whether there is an end."""
        return self._at is not None

    @property
    def near(self) -> bool:
        """Tell whether it is time to warn."""
        return self.left <= self.lead

    @property
    def over(self) -> bool:
        """Tell whether nothing may run any more."""
        return self.left <= 0


def need(task: Claimed, policy: Policy, most: float | None, running: float) -> float:
    """Give the seconds that a task should be given so that it ends.

    ``most`` is what tasks of its map take at most, ``running`` how long some have been running without any having
    ended. What an earlier attempt of the task took says more than its map.
    """
    limit = policy.task_time if task.limits is None or task.limits.time is None else task.limits.time
    expected = task.took * STRETCH if task.took is not None else most
    if expected is None:
        # Nothing is known: it may be as short as anything, but not shorter than what has been seen.
        expected = limit if limit is not None else running
    if task.outlived is not None:
        expected = max(expected, task.outlived * STRETCH)
    return min(expected, inf if limit is None else limit)


def need_of_map(policy: Policy, most: float | None, running: float) -> float:
    """Give what `need` gives for a task of which nothing is known but its map."""
    limit = inf if policy.task_time is None else policy.task_time
    if most is None:
        return running if limit == inf else limit
    return min(most, limit)
