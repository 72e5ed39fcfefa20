"""Doubts: a task that was ended by a signal may have been ended with its allocation.

A scheduler that ends a job sends the same signal to its tasks and to its manager, and either may be heard of first. So
such ends wait a moment; if the job is told to stop meanwhile, they are its end and no fault of the tasks.
"""

from __future__ import annotations

import signal

from provrun.core.events import Event, ResultsCame, TasksReturned
from provrun.core.messages import Result
from provrun.core.states import Outcome

MOMENT = 0.5  # seconds by which signals of one ending may be apart
_SIGNALS = {signal.SIGTERM, signal.SIGKILL, signal.SIGINT, signal.SIGHUP}
_EXITS = {128 + number for number in _SIGNALS}  # what a shell makes of them


class Doubts:
    """Holds results back until it is clear whose doing they are."""

    def __init__(self) -> None:
        self._held: list[tuple[float, int, Result]] = []
        self._stopped = False

    def sort(self, agent: int, results: list[Result], now: float) -> tuple[Event, ...]:
        """Give the results that are beyond doubt as events, and hold back the others."""
        doubtful = [result for result in results if result.outcome and _is_doubtful(result)]
        if not doubtful:
            return (ResultsCame(agent, results),)
        self._held += [(now + MOMENT, agent, result) for result in doubtful]
        clear = [result for result in results if result not in doubtful]
        return (ResultsCame(agent, clear),) if clear else ()

    def stop(self) -> None:
        """From now on such ends are the doing of who stops the job."""
        self._stopped = True

    def due(self, now: float) -> list[Event]:
        """Give what has become clear by now."""
        if not self._held:
            return []
        due = [held for held in self._held if self._stopped or held[0] <= now]
        self._held = [held for held in self._held if not self._stopped and held[0] > now]
        if self._stopped:
            return [TasksReturned(agent, [(r.map, r.index, r.number)], started=True) for _, agent, r in due]
        return [ResultsCame(agent, [result]) for _, agent, result in due]


def _is_doubtful(result: Result) -> bool:
    if result.outcome == Outcome.SIGNAL:
        return result.detail in _SIGNALS
    return result.outcome == Outcome.EXIT and result.detail in _EXITS
