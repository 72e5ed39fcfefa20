"""The order in which tasks run: priorities that come later, the end of the allocation, the end of the job."""

from __future__ import annotations

import pytest

from fixtures.dispatcher_world import World, result_of
from provrun.core.dispatcher import POLL, WALLTIME, Dispatcher
from provrun.core.durations import MARGIN, WARNING
from provrun.core.events import (
    AgentJoined,
    Claim,
    Finish,
    Record,
    Recorded,
    Release,
    ResultsCame,
    Send,
    StopAgent,
    TasksClaimed,
    TasksReturned,
    Tick,
    WarnAgent,
)
from provrun.core.records import Claimed, Limits, Policy
from provrun.core.states import Outcome, State

HOUR = 3600.0


def claimed(index: int, *, priority: int = 0, outlived: float | None = None, took: float | None = None) -> Claimed:
    return Claimed(1, index, 1, "{}", 0, None, None, None, None, priority, took, outlived)


def key(task: Claimed) -> tuple[int, int, int]:
    return task.map, task.index, task.number


def measured(policy: Policy, seconds: float, *, deadline: float, slots: int = 1) -> Dispatcher:
    """A dispatcher with an agent that has ended one task at second 0."""
    dispatcher = Dispatcher({1: policy}, deadline=deadline)
    dispatcher.handle(Tick(0.0))
    dispatcher.handle(AgentJoined(0, slots))
    dispatcher.handle(TasksClaimed([claimed(0)]))
    dispatcher.handle(ResultsCame(0, [result_of(claimed(0), wall=int(seconds * 1e6))]))
    dispatcher.handle(Recorded(1, 0))
    return dispatcher


def test_tasks_of_higher_priority_overtake_what_is_claimed_but_not_sent() -> None:
    world = World({1: Policy()}, {1: 20})
    world.tick(0.0)
    world.join(2)
    world.answer_claim()
    world.add(1, 3, priority=5)
    world.tick(POLL)
    assert world.claim is not None
    assert world.claim.above == 0
    while world.claim:
        world.answer_claim()
    for _ in range(2):
        world.end(0, 1, Outcome.SUCCEEDED, 10_000_000)
    assert {task.priority for task in world.agents[0].running} == {5}


def test_what_is_overtaken_by_many_goes_back() -> None:
    world = World({1: Policy()}, {1: 20})
    world.tick(0.0)
    world.join(2)
    world.answer_claim()
    for _ in range(5):
        world.add(1, 10, priority=5)
        world.tick(POLL)
        while world.claim:
            world.answer_claim()
    assert len(world.held) <= 10
    assert all(world.tasks[key[:2]].priority == 5 for key in world.held - set(world.owner))


def test_nothing_starts_that_would_not_end_in_time() -> None:
    dispatcher = measured(Policy(), 600.0, deadline=HOUR)
    dispatcher.handle(Tick(HOUR - MARGIN - 700.0))
    out = dispatcher.handle(TasksClaimed([claimed(1)]))
    assert Send(0, [claimed(1)]) in out
    dispatcher.handle(ResultsCame(0, [result_of(claimed(1), wall=600_000_000)]))
    out = dispatcher.handle(Tick(HOUR - MARGIN - 90.0))
    assert not any(isinstance(done, Claim) for done in out)
    # By what was recorded there are more; maps that have appeared may have shorter ones.
    assert dispatcher.handle(Recorded(1, 3)) == [Claim(1, ())]
    assert dispatcher.handle(TasksClaimed([])) == [Finish(WALLTIME)]
    (left,) = dispatcher.left()
    assert left.late
    assert (left.map, left.index) == (1, None)


def test_a_job_that_has_done_all_shortly_before_its_end_did_not_end_by_it() -> None:
    dispatcher = measured(Policy(), 600.0, deadline=HOUR)
    dispatcher.handle(Tick(HOUR - MARGIN - 700.0))
    dispatcher.handle(TasksClaimed([claimed(1)]))
    assert dispatcher.handle(TasksClaimed([])) == []  # no more of them
    dispatcher.handle(Tick(HOUR - MARGIN - 90.0))
    dispatcher.handle(ResultsCame(0, [result_of(claimed(1), wall=600_000_000)]))
    assert dispatcher.handle(Recorded(1, 0)) == [Claim(1, ())]
    assert dispatcher.handle(TasksClaimed([])) == [Finish("")]


def test_claimed_tasks_that_would_not_end_any_more_go_back() -> None:
    dispatcher = measured(Policy(), 600.0, deadline=HOUR)
    dispatcher.handle(TasksClaimed([claimed(1), claimed(2)]))
    assert Release([key(claimed(2))]) in dispatcher.handle(Tick(HOUR - MARGIN - 500.0))


@pytest.mark.parametrize(("limit", "starts"), [(100.0, True), (600.0, False)])
def test_of_tasks_that_were_never_seen_the_limit_is_what_counts(limit: float, starts: bool) -> None:
    dispatcher = Dispatcher({1: Policy(task_time=limit)}, deadline=HOUR)
    dispatcher.handle(Tick(0.0))
    dispatcher.handle(Tick(HOUR - MARGIN - 300.0))
    out = dispatcher.handle(AgentJoined(0, 1))
    assert any(isinstance(done, Claim) for done in out) is starts


def test_tasks_that_save_where_they_are_start_until_shortly_before_the_end_and_hear_of_it() -> None:
    dispatcher = measured(Policy(checkpoint=True), 1e6, deadline=HOUR)
    dispatcher.handle(Tick(HOUR - MARGIN - WARNING - 10))
    assert Send(0, [claimed(1)]) in dispatcher.handle(TasksClaimed([claimed(1)]))
    (warning,) = [i for i in dispatcher.handle(Tick(HOUR - MARGIN - 50)) if isinstance(i, WarnAgent)]
    assert warning == WarnAgent(0, pytest.approx(50))
    assert not any(isinstance(i, WarnAgent) for i in dispatcher.handle(Tick(HOUR - MARGIN - 49)))
    out = dispatcher.handle(TasksReturned(0, [key(claimed(1))], True))
    (record,) = [i for i in out if isinstance(i, Record)]
    assert record.verdicts[0][2] is State.PENDING
    dispatcher.handle(Recorded(1, 0))
    assert dispatcher.handle(TasksClaimed([])) == [Finish(WALLTIME)]


def test_what_runs_when_the_time_is_over_is_given_back_and_its_time_is_kept() -> None:
    dispatcher = measured(Policy(), 600.0, deadline=HOUR)
    dispatcher.handle(Tick(100.0))
    dispatcher.handle(TasksClaimed([claimed(1)]))
    assert dispatcher.handle(Tick(HOUR - MARGIN)) == [StopAgent(0, True)]
    (record,) = dispatcher.handle(TasksReturned(0, [key(claimed(1))], True))
    assert isinstance(record, Record)
    ((_, result, state, fails, _),) = record.verdicts
    assert (Outcome(result.outcome), state, fails) == (Outcome.CANCELLED, State.PENDING, 0)
    assert result.wall == int((HOUR - MARGIN - 100.0) * 1e6)
    assert dispatcher.handle(Recorded(1, 0)) == [Finish(WALLTIME)]


def test_a_task_longer_than_any_allocation_is_left_and_named() -> None:
    world: World | None = None
    outlived = None
    hops = 0
    while True:
        world = World({1: Policy()}, {1: 1}, deadline=HOUR)
        world.tasks[1, 0].outlived = outlived
        world.tick(0.0)
        world.join(1)
        while world.claim:
            world.answer_claim()
        if not world.agents[0].running:
            break
        world.tick(HOUR - MARGIN)
        world.settle()
        hops += 1
        outlived = world.tasks[1, 0].outlived
    assert hops == 1
    assert world is not None
    world.settle()
    assert world.finish == WALLTIME
    (left,) = world.dispatcher.left()
    assert (left.map, left.index) == (1, 0)
    assert left.why.startswith("too long: an earlier attempt ran 59m30s")


def test_a_limit_says_more_than_an_attempt_without_an_end() -> None:
    world = World({1: Policy()}, {1: 1}, deadline=HOUR)
    world.tasks[1, 0].outlived = HOUR
    world.tasks[1, 0].limits = Limits(time=60.0)
    world.tick(0.0)
    world.join(1)
    world.answer_claim()
    assert len(world.agents[0].running) == 1


def test_of_a_task_that_ran_before_its_own_time_counts() -> None:
    dispatcher = measured(Policy(), 10.0, deadline=HOUR, slots=2)
    dispatcher.handle(Tick(HOUR - MARGIN - 100.0))
    long, short = claimed(1, took=200.0), claimed(2, took=20.0)
    out = dispatcher.handle(TasksClaimed([long, short]))
    assert Release([key(long)]) in out
    assert Send(0, [short]) in out
    asked = [i for i in dispatcher.handle(ResultsCame(0, [result_of(short)])) if isinstance(i, Claim)]
    assert [claim.avoid for claim in asked] == [((1, 1),)] * len(asked)


def test_a_job_with_time_left_ends_without_a_reason() -> None:
    world = World({1: Policy(), 2: Policy(checkpoint=True)}, {1: 50, 2: 50}, deadline=HOUR)
    world.tick(0.0)
    world.join(4)
    world.settle()
    assert world.finish == ""
    assert {task.state for task in world.tasks.values()} == {State.SUCCEEDED}


def test_near_the_end_nothing_is_queued_while_other_slots_are_free() -> None:
    dispatcher = Dispatcher({1: Policy()}, agents=2)
    dispatcher.handle(AgentJoined(0, 4))
    dispatcher.handle(TasksClaimed([claimed(n) for n in range(8)]))
    dispatcher.handle(ResultsCame(0, [result_of(claimed(n), wall=300_000) for n in range(8)]))
    dispatcher.handle(TasksClaimed([claimed(n) for n in range(10, 15)]))
    out = dispatcher.handle(AgentJoined(1, 4))
    assert sum(len(i.tasks) for i in out if isinstance(i, Send) and i.agent == 1) == 1
