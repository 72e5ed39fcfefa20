"""What becomes of the tasks of a running job whose attempts end, well or not."""

from __future__ import annotations

from collections.abc import Mapping

from provrun.core.events import Verdict
from provrun.core.messages import Result
from provrun.core.records import Claimed, Policy
from provrun.core.retries import judge, unseen
from provrun.core.states import Outcome, State

FEW = 64  # tasks lost with an agent (or two for each slot), beyond which its death says nothing about any of them
LOSSES = 3  # deaths of agents at which a task was among few before it is run alone
KILLER = (
    "each time it ran its agent died, {times} times in all and the last time with nothing else on it;"
    " it is not tried again"
)
WALLTIME = "its allocation ended while it ran"


class Judge:
    """Gives verdicts; ``failed`` counts tasks that failed for good, ``repeats`` tells that some will run again."""

    def __init__(self, policies: Mapping[int, Policy]) -> None:
        self._policies = policies
        self.failed = 0
        self.repeats = False

    def ended(self, task: Claimed, result: Result) -> Verdict:
        """Judge an attempt of which an agent has told."""
        state, fails, limits = judge(Outcome(result.outcome), task.fails, task.limits, self._policies[task.map])
        if state is State.FAILED:
            self.failed += 1
        elif state is State.PENDING:
            self.repeats = True
        return task, result, state, fails, limits

    def lost(self, tasks: list[Claimed], slots: int, *, by_itself: bool) -> list[Verdict]:
        """Judge the tasks that an agent of so many slots had when it died; ``by_itself``: one task had it for itself.

        How many there were is kept as detail where it says something: a task that is there again and again is run
        alone, and fails if its agent dies then, too. A loss is no fault of any other.
        """
        if by_itself and len(tasks) == 1 and tasks[0].losses >= LOSSES:
            (task,) = tasks
            self.failed += 1
            result = unseen(task, Outcome.SIGNAL, error=KILLER.format(times=task.losses + 1))
            return [(task, result, State.FAILED, task.fails + 1, task.limits)]
        detail = len(tasks) if len(tasks) <= max(FEW, 2 * slots) else None
        return [self.ended(task, unseen(task, Outcome.LOST, detail=detail)) for task in tasks]

    def stopped(self, task: Claimed, seconds: float | None) -> Verdict:
        """Judge an attempt that was stopped by no fault of its task; ``seconds``: how long, if the walltime came."""
        self.repeats = True
        if seconds is None:
            result = unseen(task, Outcome.CANCELLED)
        else:
            result = unseen(task, Outcome.CANCELLED, seconds=seconds, error=WALLTIME)
        return task, result, State.PENDING, task.fails, task.limits
