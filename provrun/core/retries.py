"""What becomes of a task after an attempt: another try, with larger limits where that may help, or the end."""

from __future__ import annotations

from provrun.core.messages import Result
from provrun.core.records import Claimed, Limits, Policy
from provrun.core.states import Event, Outcome, State, after

_SUCCEEDED = after(State.RUNNING, Event.SUCCEEDED)
_RETURNED = after(State.RUNNING, Event.RETURNED)
_CANCELLED = after(State.RUNNING, Event.CANCELLED)
_RETRIED = after(State.RUNNING, Event.RETRIED)
_FAILED = after(State.RUNNING, Event.FAILED)


def judge(outcome: Outcome, fails: int, limits: Limits | None, policy: Policy) -> tuple[State, int, Limits | None]:
    """Decide a running task's next state, its count of own failures and its own limits.

    ``fails`` and ``limits`` are those before this attempt. Only outcomes that are the task's own fault use up
    retries; a lost attempt never does.
    """
    if outcome is Outcome.SUCCEEDED:
        return _SUCCEEDED, fails, limits
    if outcome is Outcome.LOST:
        return _RETURNED, fails, limits
    if outcome is Outcome.CANCELLED:
        return _CANCELLED, fails, limits
    if fails >= policy.retries:
        return _FAILED, fails + 1, limits
    return _RETRIED, fails + 1, escalated(outcome, limits, policy)


def escalated(outcome: Outcome, limits: Limits | None, policy: Policy) -> Limits | None:
    """Give the limits of the next attempt: larger in what this one ran into, if the map says by how much."""
    own = limits or Limits()
    time = own.time if own.time is not None else policy.task_time
    memory = own.memory if own.memory is not None else policy.task_memory
    if outcome is Outcome.TIMEOUT and policy.retry_time is not None and time is not None:
        return Limits(time=time * policy.retry_time, memory=own.memory)
    if outcome is Outcome.MEMORY and policy.retry_memory is not None and memory is not None:
        return Limits(time=own.time, memory=int(memory * policy.retry_memory))
    return limits


def unseen(
    task: Claimed, outcome: Outcome, *, seconds: float = 0.0, detail: int | None = None, error: str | None = None
) -> Result:
    """Make the result of an attempt whose agent could not tell; ``started`` 0 stands for not known."""
    return Result(
        map=task.map, index=task.index, number=task.number, outcome=outcome, started=0, wall=int(seconds * 1e6),
        cpu=None, max_rss=None, rss_shared=False, detail=detail, error=error, result=None, result_digest=None,
        log=None, artifacts=None, loaded=0, loaded_after=0,
    )
