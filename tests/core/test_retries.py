"""What becomes of a task after an attempt."""

from __future__ import annotations

import pytest

from provrun.core.records import Limits, Policy
from provrun.core.retries import judge
from provrun.core.states import Outcome, State

OWN_FAULT = [Outcome.EXIT, Outcome.SIGNAL, Outcome.EXCEPTION, Outcome.TIMEOUT, Outcome.MEMORY, Outcome.LAUNCHER]


def test_a_success_ends_the_task_and_keeps_its_failures_and_limits() -> None:
    assert judge(Outcome.SUCCEEDED, 2, Limits(time=3.0), Policy(retries=2)) == (State.SUCCEEDED, 2, Limits(time=3.0))


@pytest.mark.parametrize("outcome", OWN_FAULT)
def test_own_faults_use_up_retries_and_then_the_task_has_failed(outcome: Outcome) -> None:
    policy = Policy(retries=2)
    assert judge(outcome, 0, None, policy) == (State.PENDING, 1, None)
    assert judge(outcome, 1, None, policy) == (State.PENDING, 2, None)
    assert judge(outcome, 2, None, policy) == (State.FAILED, 3, None)


def test_without_retries_the_first_failure_is_the_last() -> None:
    assert judge(Outcome.EXIT, 0, None, Policy()) == (State.FAILED, 1, None)


def test_a_lost_attempt_never_uses_up_a_retry() -> None:
    assert judge(Outcome.LOST, 5, None, Policy(retries=0)) == (State.PENDING, 5, None)


def test_a_cancelled_attempt_cancels_the_task_and_is_not_its_fault() -> None:
    assert judge(Outcome.CANCELLED, 1, None, Policy(retries=9)) == (State.CANCELLED, 1, None)


def test_only_a_timeout_gets_more_time_and_it_grows_with_each_one() -> None:
    policy = Policy(retries=5, task_time=10.0, retry_time=2.0, task_memory=100, retry_memory=3.0)
    assert judge(Outcome.TIMEOUT, 0, None, policy)[2] == Limits(time=20.0)
    assert judge(Outcome.TIMEOUT, 1, Limits(time=20.0), policy)[2] == Limits(time=40.0)
    assert judge(Outcome.EXIT, 2, Limits(time=40.0), policy)[2] == Limits(time=40.0)


def test_only_a_memory_failure_gets_more_memory_and_keeps_its_own_time() -> None:
    policy = Policy(retries=5, task_time=10.0, retry_time=2.0, task_memory=100, retry_memory=1.5)
    assert judge(Outcome.MEMORY, 0, None, policy)[2] == Limits(memory=150)
    assert judge(Outcome.MEMORY, 1, Limits(time=20.0, memory=150), policy)[2] == Limits(time=20.0, memory=225)


def test_without_a_limit_or_a_factor_nothing_grows() -> None:
    assert judge(Outcome.TIMEOUT, 0, None, Policy(retries=1, retry_time=2.0))[2] is None
    assert judge(Outcome.MEMORY, 0, None, Policy(retries=1, task_memory=100))[2] is None


def test_the_last_failure_does_not_raise_limits() -> None:
    assert judge(Outcome.TIMEOUT, 1, None, Policy(retries=1, task_time=1.0, retry_time=2.0))[2] is None
