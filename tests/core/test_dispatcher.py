"""What the dispatcher answers to single events."""

from __future__ import annotations

import pytest

from fixtures.dispatcher_world import World, result_of
from provrun.core.claims import MOST_UNRECORDED
from provrun.core.dispatcher import POLL, Dispatcher
from provrun.core.events import (
    AgentJoined,
    AgentLost,
    Claim,
    DrainWanted,
    Finish,
    Instruction,
    KillTasks,
    MapsSeen,
    Record,
    Recorded,
    Release,
    ResultsCame,
    Send,
    StopAgent,
    StopWanted,
    TasksClaimed,
    TasksReturned,
    TasksRevoked,
    Tick,
)
from provrun.core.records import Claimed, Policy
from provrun.core.states import Outcome, State


def claimed(index: int, *, map: int = 1, number: int = 1, fails: int = 0) -> Claimed:
    return Claimed(map, index, number, "{}", fails, None, None, None, None)


def key(task: Claimed) -> tuple[int, int, int]:
    return task.map, task.index, task.number


def warm(wall: int, slots: int = 2) -> Dispatcher:
    """A dispatcher with an idle agent that has measured tasks of ``wall`` microseconds and asked for more."""
    dispatcher = Dispatcher({1: Policy()})
    dispatcher.handle(AgentJoined(0, slots))
    tasks = [claimed(n) for n in range(slots)]
    dispatcher.handle(TasksClaimed(tasks))
    dispatcher.handle(ResultsCame(0, [result_of(task, wall=wall) for task in tasks]))
    dispatcher.handle(Tick(POLL))
    return dispatcher


def claims(instructions: list[Instruction]) -> list[Claim]:
    return [instruction for instruction in instructions if isinstance(instruction, Claim)]


def test_nothing_is_claimed_before_an_agent_is_there() -> None:
    dispatcher = Dispatcher({1: Policy()})
    assert dispatcher.handle(Tick(0.0)) == []
    assert dispatcher.handle(AgentJoined(0, 3)) == [Claim(6, (1,))]


def test_the_first_tasks_fill_the_slots_and_no_more_until_their_length_is_known() -> None:
    dispatcher = Dispatcher({1: Policy()})
    dispatcher.handle(AgentJoined(0, 2))
    tasks = [claimed(n) for n in range(4)]
    assert dispatcher.handle(TasksClaimed(tasks)) == [Send(0, tasks[:2])]


def test_many_short_tasks_go_in_one_message() -> None:
    dispatcher = warm(wall=10)
    sends = [i for i in dispatcher.handle(TasksClaimed([claimed(2 + n) for n in range(5000)])) if isinstance(i, Send)]
    assert [len(send.tasks) for send in sends] == [4000]


def test_an_agent_gets_more_when_half_of_its_short_tasks_have_ended() -> None:
    dispatcher = warm(wall=10)
    dispatcher.handle(TasksClaimed([claimed(2 + n) for n in range(5000)]))
    results = [result_of(claimed(2 + n), wall=10) for n in range(4000)]
    assert not any(isinstance(i, Send) for i in dispatcher.handle(ResultsCame(0, results[:1900])))
    (send,) = [i for i in dispatcher.handle(ResultsCame(0, results[1900:2100])) if isinstance(i, Send)]
    assert len(send.tasks) == 1000  # all that is left of the claim


def test_long_tasks_are_never_queued_behind_each_other() -> None:
    dispatcher = warm(wall=60_000_000)
    sends = [i for i in dispatcher.handle(TasksClaimed([claimed(2 + n) for n in range(10)])) if isinstance(i, Send)]
    assert [len(send.tasks) for send in sends] == [2]


@pytest.mark.parametrize(("wall", "limit"), [(10, 10_000), (1_000_000, 12), (60_000_000, 1)])
def test_short_tasks_are_claimed_by_the_thousands_and_long_ones_as_slots_need_them(wall: int, limit: int) -> None:
    dispatcher = Dispatcher({1: Policy()})
    dispatcher.handle(AgentJoined(0, 4))
    tasks = [claimed(n) for n in range(8)]
    dispatcher.handle(TasksClaimed(tasks))
    asked = claims(dispatcher.handle(ResultsCame(0, [result_of(task, wall=wall) for task in tasks[:4]])))
    assert asked == [Claim(limit, (1,))]


def test_near_the_end_one_agent_does_not_take_everything() -> None:
    dispatcher = Dispatcher({1: Policy()})
    dispatcher.handle(AgentJoined(0, 1))
    dispatcher.handle(AgentJoined(1, 1))
    dispatcher.handle(TasksClaimed([claimed(0), claimed(1)]))
    dispatcher.handle(ResultsCame(0, [result_of(claimed(0), wall=100)]))
    dispatcher.handle(TasksClaimed([claimed(2), claimed(3)]))
    (send, *_) = dispatcher.handle(TasksClaimed([claimed(n) for n in range(4, 104)]))
    assert isinstance(send, Send)
    assert len(send.tasks) <= 50


def test_a_wide_task_goes_to_an_agent_with_as_many_slots_and_waits_for_free_ones() -> None:
    dispatcher = Dispatcher({1: Policy(), 2: Policy(cores=3)})
    dispatcher.handle(AgentJoined(0, 2))
    assert dispatcher.handle(TasksClaimed([claimed(0), claimed(1)]))[0] == Send(0, [claimed(0), claimed(1)])
    assert dispatcher.handle(AgentJoined(1, 4)) == [Claim(3, (2,))]
    wide = [claimed(n, map=2) for n in range(2)]
    assert dispatcher.handle(TasksClaimed(wide))[0] == Send(1, wide[:1])
    out = dispatcher.handle(ResultsCame(1, [result_of(wide[0], wall=10**7)]))
    assert Send(1, wide[1:]) in out


def test_maps_wider_than_every_agent_are_not_claimed() -> None:
    dispatcher = Dispatcher({1: Policy(), 2: Policy(cores=5)})
    assert dispatcher.handle(AgentJoined(0, 4)) == [Claim(8, (1,))]


def test_wide_tasks_are_given_back_when_the_last_agent_that_fits_them_is_lost() -> None:
    dispatcher = Dispatcher({1: Policy(), 2: Policy(cores=3)})
    dispatcher.handle(AgentJoined(0, 3))
    dispatcher.handle(AgentJoined(1, 2))
    wide = [claimed(n, map=2) for n in range(2)]
    assert Claim(7, (1,)) in dispatcher.handle(TasksClaimed(wide))
    assert Release([key(wide[1])]) in dispatcher.handle(AgentLost(0))
    dispatcher.handle(TasksClaimed([]))
    assert Claim(4, (1,)) in dispatcher.handle(Recorded(1, 0))


def test_with_nothing_but_too_wide_maps_the_job_ends() -> None:
    assert Dispatcher({2: Policy(cores=5)}).handle(AgentJoined(0, 4)) == [Finish("")]


def test_nothing_to_claim_ends_the_job() -> None:
    dispatcher = Dispatcher({1: Policy()})
    dispatcher.handle(AgentJoined(0, 1))
    assert dispatcher.handle(TasksClaimed([])) == [Finish("")]


def test_the_job_does_not_end_before_its_last_result_is_recorded() -> None:
    dispatcher = Dispatcher({1: Policy()})
    dispatcher.handle(AgentJoined(0, 1))
    dispatcher.handle(TasksClaimed([claimed(0)]))
    (record,) = dispatcher.handle(ResultsCame(0, [result_of(claimed(0))]))
    assert isinstance(record, Record)
    assert dispatcher.handle(Tick(0.5)) == []
    (last,) = dispatcher.handle(Recorded(1, 0))
    assert isinstance(last, Claim)  # what has ended may have submitted tasks
    assert dispatcher.handle(TasksClaimed([])) == [Finish("")]


def test_a_job_looks_once_more_after_its_last_task_has_ended() -> None:
    dispatcher = Dispatcher({1: Policy()})
    dispatcher.handle(AgentJoined(0, 1))
    dispatcher.handle(TasksClaimed([claimed(0)]))
    dispatcher.handle(ResultsCame(0, [result_of(claimed(0))]))
    assert [type(one) for one in dispatcher.handle(Recorded(1, 0))] == [Claim]
    # A map that the task has submitted, found by that very look.
    assert dispatcher.handle(MapsSeen({2: Policy()})) == []
    (again,) = dispatcher.handle(TasksClaimed([]))
    assert isinstance(again, Claim)
    assert again.maps == (1, 2)
    grown = claimed(0, map=2)
    assert dispatcher.handle(TasksClaimed([grown])) == [Send(0, [grown])]


def test_a_job_without_a_map_that_fits_still_looks_for_what_its_tasks_have_submitted() -> None:
    dispatcher = Dispatcher({1: Policy()})
    dispatcher.handle(AgentJoined(0, 1))
    dispatcher.handle(TasksClaimed([claimed(0)]))
    dispatcher.handle(MapsSeen({1: Policy(cores=2)}))
    dispatcher.handle(ResultsCame(0, [result_of(claimed(0))]))
    (look,) = dispatcher.handle(Recorded(1, 0))
    assert isinstance(look, Claim)
    assert look.maps == ()
    assert dispatcher.handle(TasksClaimed([])) == [Finish("")]


def test_a_changed_policy_holds_for_tasks_that_are_sent_from_then_on() -> None:
    dispatcher = Dispatcher({1: Policy()})
    dispatcher.handle(AgentJoined(0, 4))
    tasks = [claimed(n) for n in range(8)]
    assert dispatcher.handle(TasksClaimed(tasks)) == [Send(0, tasks[:4])]
    dispatcher.handle(MapsSeen({1: Policy(cores=4)}))
    results = [result_of(task, wall=10_000_000) for task in tasks[:4]]
    sends = [one for one in dispatcher.handle(ResultsCame(0, results)) if isinstance(one, Send)]
    assert sends == [Send(0, tasks[4:5])]


def test_tasks_that_have_become_too_wide_for_every_agent_are_given_back() -> None:
    dispatcher = Dispatcher({1: Policy()})
    dispatcher.handle(AgentJoined(0, 1))
    dispatcher.handle(TasksClaimed([claimed(0), claimed(1)]))
    assert dispatcher.handle(MapsSeen({1: Policy(cores=2)})) == [Release([key(claimed(1))])]


def test_what_became_pending_by_a_record_is_claimed() -> None:
    dispatcher = Dispatcher({1: Policy()})
    dispatcher.handle(AgentJoined(0, 1))
    dispatcher.handle(TasksClaimed([claimed(0)]))
    dispatcher.handle(ResultsCame(0, [result_of(claimed(0))]))
    (claim,) = dispatcher.handle(Recorded(1, 7))
    assert isinstance(claim, Claim)


def test_a_failure_with_a_retry_left_is_claimed_again_once_recorded() -> None:
    dispatcher = Dispatcher({1: Policy(retries=1)})
    dispatcher.handle(AgentJoined(0, 1))
    dispatcher.handle(TasksClaimed([claimed(0)]))
    (record,) = dispatcher.handle(ResultsCame(0, [result_of(claimed(0), Outcome.EXIT)]))
    assert isinstance(record, Record)
    assert [verdict[2:] for verdict in record.verdicts] == [(State.PENDING, 1, None)]
    (claim,) = dispatcher.handle(Recorded(1, 0))
    assert isinstance(claim, Claim)


def test_a_result_told_twice_counts_once() -> None:
    dispatcher = Dispatcher({1: Policy()})
    dispatcher.handle(AgentJoined(0, 1))
    dispatcher.handle(TasksClaimed([claimed(0)]))
    result = result_of(claimed(0))
    (record,) = dispatcher.handle(ResultsCame(0, [result, result]))
    assert isinstance(record, Record)
    assert len(record.verdicts) == 1
    assert dispatcher.handle(ResultsCame(0, [result])) == []


def test_a_result_of_an_earlier_attempt_does_not_count() -> None:
    dispatcher = Dispatcher({1: Policy()})
    dispatcher.handle(AgentJoined(0, 1))
    dispatcher.handle(TasksClaimed([claimed(0, number=2)]))
    assert dispatcher.handle(ResultsCame(0, [result_of(claimed(0, number=1))])) == []
    assert dispatcher.in_flight == 1


def test_tasks_of_a_lost_agent_are_lost_and_its_late_results_do_not_count() -> None:
    dispatcher = Dispatcher({1: Policy()})
    dispatcher.handle(AgentJoined(0, 1))
    dispatcher.handle(AgentJoined(1, 1))
    dispatcher.handle(TasksClaimed([claimed(0), claimed(1)]))
    (record, *_) = dispatcher.handle(AgentLost(1))
    assert isinstance(record, Record)
    assert [(v[1].outcome, v[2]) for v in record.verdicts] == [(Outcome.LOST, State.PENDING)]
    late = result_of(record.verdicts[0][0])
    assert not any(isinstance(i, Record) for i in dispatcher.handle(ResultsCame(1, [late])))


def test_without_any_agent_the_job_ends_and_says_so() -> None:
    dispatcher = Dispatcher({1: Policy()})
    dispatcher.handle(AgentJoined(0, 1))
    dispatcher.handle(TasksClaimed([claimed(0), claimed(1)]))
    out = dispatcher.handle(AgentLost(0))
    assert Release([key(claimed(1))]) in out
    assert dispatcher.handle(Recorded(1, 0)) == [Finish("no agent is left")]


def test_an_agent_that_takes_the_place_of_another_goes_on_with_its_tasks() -> None:
    dispatcher = Dispatcher({1: Policy()})
    dispatcher.handle(AgentJoined(0, 1))
    dispatcher.handle(TasksClaimed([claimed(0)]))
    dispatcher.handle(AgentJoined(1, 1))
    dispatcher.handle(AgentLost(0))
    assert dispatcher.handle(TasksClaimed([])) == []
    assert dispatcher.handle(Recorded(1, 0)) == [Claim(2, (1,))]


def test_a_drain_gives_back_what_did_not_start_and_waits_for_what_did() -> None:
    dispatcher = Dispatcher({1: Policy()})
    dispatcher.handle(AgentJoined(0, 1))
    dispatcher.handle(TasksClaimed([claimed(0), claimed(1)]))
    assert dispatcher.handle(DrainWanted("interrupted")) == [Release([key(claimed(1))]), StopAgent(0, False)]
    assert dispatcher.handle(DrainWanted("again")) == []
    dispatcher.handle(ResultsCame(0, [result_of(claimed(0))]))
    assert dispatcher.handle(Recorded(1, 3)) == [Finish("interrupted")]


def test_tasks_claimed_while_draining_go_straight_back() -> None:
    dispatcher = Dispatcher({1: Policy()})
    dispatcher.handle(AgentJoined(0, 1))
    dispatcher.handle(DrainWanted("interrupted"))
    assert dispatcher.handle(TasksClaimed([claimed(0)])) == [Release([key(claimed(0))]), Finish("interrupted")]


def test_a_stop_after_a_drain_ends_what_runs_and_it_is_pending_again() -> None:
    dispatcher = Dispatcher({1: Policy()})
    dispatcher.handle(AgentJoined(0, 2))
    dispatcher.handle(TasksClaimed([claimed(0), claimed(1)]))
    dispatcher.handle(DrainWanted("interrupted"))
    assert dispatcher.handle(StopWanted("stopped")) == [StopAgent(0, True)]
    assert dispatcher.handle(TasksReturned(0, [key(claimed(1))], False)) == [Release([key(claimed(1))])]
    (record,) = dispatcher.handle(TasksReturned(0, [key(claimed(0))], True))
    assert isinstance(record, Record)
    assert [(v[1].outcome, *v[2:4]) for v in record.verdicts] == [(Outcome.CANCELLED, State.PENDING, 0)]


def test_cancelled_tasks_are_ended_where_they_run_and_dropped_where_they_wait() -> None:
    dispatcher = Dispatcher({1: Policy()})
    dispatcher.handle(AgentJoined(0, 1))
    dispatcher.handle(TasksClaimed([claimed(0), claimed(1)]))
    keys = [key(claimed(0)), key(claimed(1))]
    assert dispatcher.handle(TasksRevoked(keys))[:2] == [Release(keys[1:]), KillTasks(0, keys[:1])]


def test_enough_failures_drain_the_job() -> None:
    dispatcher = Dispatcher({1: Policy()}, max_fails=2)
    dispatcher.handle(AgentJoined(0, 2))
    dispatcher.handle(TasksClaimed([claimed(n) for n in range(4)]))
    dispatcher.handle(ResultsCame(0, [result_of(claimed(0), Outcome.EXIT)]))
    assert not dispatcher.stopping
    out = dispatcher.handle(ResultsCame(0, [result_of(claimed(1), Outcome.SIGNAL)]))
    assert StopAgent(0, False) in out
    assert dispatcher.stopping


def test_an_agent_that_joins_a_draining_job_is_stopped() -> None:
    dispatcher = Dispatcher({1: Policy()})
    dispatcher.handle(AgentJoined(0, 1))
    dispatcher.handle(TasksClaimed([claimed(0)]))
    dispatcher.handle(DrainWanted("interrupted"))
    assert dispatcher.handle(AgentJoined(1, 1)) == [StopAgent(1, False)]


def test_while_tasks_run_the_registry_is_asked_again_now_and_then() -> None:
    dispatcher = Dispatcher({1: Policy()})
    dispatcher.handle(AgentJoined(0, 2))
    dispatcher.handle(TasksClaimed([claimed(0)]))
    assert dispatcher.handle(Tick(POLL / 2)) == []
    (claim,) = dispatcher.handle(Tick(POLL))
    assert isinstance(claim, Claim)


def test_nothing_is_claimed_while_the_registry_is_far_behind() -> None:
    dispatcher = Dispatcher({1: Policy()})
    instructions = dispatcher.handle(AgentJoined(0, 2))
    given = unrecorded = 0
    while claim := next((i for i in instructions if isinstance(i, Claim)), None):
        tasks = [claimed(given + n) for n in range(claim.limit)]
        given += claim.limit
        instructions = dispatcher.handle(TasksClaimed(tasks))
        while sent := [result_of(t, wall=10) for i in instructions if isinstance(i, Send) for t in i.tasks]:
            unrecorded += len(sent)
            instructions = [i for i in instructions if isinstance(i, Claim)]
            instructions += dispatcher.handle(ResultsCame(0, sent))
    assert MOST_UNRECORDED <= unrecorded <= MOST_UNRECORDED + 15_000
    assert any(isinstance(i, Claim) for i in dispatcher.handle(Recorded(unrecorded // 2, 0)))


@pytest.mark.parametrize("agents", [1, 3])
def test_a_whole_job_runs_every_task_once(agents: int) -> None:
    world = World({1: Policy(), 2: Policy(cores=2)}, {1: 3000, 2: 500})
    for _ in range(agents):
        world.join(4)
    world.settle()
    assert world.finish == ""
    assert {tuple(task.accepted) for task in world.tasks.values()} == {(1,)}
