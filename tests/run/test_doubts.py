"""A task ended by a signal may have been ended with its allocation: that is judged a moment later."""

from __future__ import annotations

import signal

import msgspec

from provrun.core.events import ResultsCame, TasksReturned
from provrun.core.messages import Result
from provrun.core.states import Outcome
from provrun.run.doubts import MOMENT, Doubts


def result(index: int, outcome: Outcome, detail: int | None = None) -> Result:
    return Result(
        map=1, index=index, number=1, outcome=outcome, started=1, wall=1, cpu=None, max_rss=None, rss_shared=False,
        detail=detail, error=None, result=None, result_digest=None, log=None, artifacts=None, loaded=0, loaded_after=0,
    )


GOOD = result(0, Outcome.SUCCEEDED)
EXITED = result(1, Outcome.EXIT, 1)
ENDED = result(2, Outcome.SIGNAL, signal.SIGTERM)
SHELL = result(3, Outcome.EXIT, 128 + signal.SIGTERM)
CRASHED = result(4, Outcome.SIGNAL, signal.SIGSEGV)


def test_what_no_scheduler_does_is_judged_at_once() -> None:
    doubts = Doubts()
    assert doubts.sort(7, [GOOD, EXITED, CRASHED], 0.0) == (ResultsCame(7, [GOOD, EXITED, CRASHED]),)
    assert doubts.due(MOMENT) == []


def test_an_end_by_a_signal_is_the_tasks_own_when_nothing_more_comes_of_it() -> None:
    doubts = Doubts()
    assert doubts.sort(7, [GOOD, ENDED, SHELL], 0.0) == (ResultsCame(7, [GOOD]),)
    assert doubts.due(MOMENT / 2) == []
    assert doubts.due(MOMENT) == [ResultsCame(7, [ENDED]), ResultsCame(7, [SHELL])]
    assert doubts.due(2 * MOMENT) == []


def test_an_end_by_a_signal_before_or_after_the_job_is_told_to_end_is_no_fault_of_the_task() -> None:
    doubts = Doubts()
    assert doubts.sort(7, [ENDED], 0.0) == ()
    doubts.stop()
    assert doubts.sort(8, [SHELL, EXITED], 0.1) == (ResultsCame(8, [EXITED]),)
    assert doubts.due(0.1) == [TasksReturned(7, [(1, 2, 1)], started=True), TasksReturned(8, [(1, 3, 1)], started=True)]


def test_equal_results_are_told_apart_by_what_they_are() -> None:
    doubts = Doubts()
    again = msgspec.structs.replace(ENDED, index=9)
    assert doubts.sort(7, [ENDED, again], 0.0) == ()
    assert len(doubts.due(MOMENT)) == 2
