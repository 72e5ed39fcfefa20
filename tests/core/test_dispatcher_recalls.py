"""What agents are asked to give back for idle slots of others, and what becomes of it."""

from __future__ import annotations

from collections import deque

from fixtures.dispatcher_world import World, result_of
from provrun.core.dispatcher import POLL
from provrun.core.events import (
    DrainWanted,
    Instruction,
    KillTasks,
    MapsSeen,
    RecallTasks,
    Release,
    ResultsCame,
    Send,
    TasksReturned,
    TasksRevoked,
    Tick,
)
from provrun.core.messages import Key
from provrun.core.recalling import PAUSE
from provrun.core.records import Policy
from provrun.core.states import Outcome, State

LOOK = 0.2


def queued(slots: int = 2) -> World:
    """Give a world in which agent 0 runs a task in each slot and has as many behind them, and agent 1 has just joined.

    Nothing is left in the registry.
    """
    world = World({1: Policy()}, {1: 3 * slots})
    world.tick(0.0)
    world.join(slots)
    world.answer_claim()
    world.end(0, slots, Outcome.SUCCEEDED, 10**6)
    while world.claim is not None:
        world.answer_claim()
    world.record()
    while world.claim is not None:
        world.answer_claim()
    agent = world.agents[0]
    assert (len(agent.running), len(agent.queue)) == (slots, slots)
    world.join(slots)
    while world.claim is not None:
        world.answer_claim()
    return world


def handled(world: World, event: Tick | TasksReturned) -> list[Instruction]:
    return world.dispatcher.handle(event)


def asked(world: World) -> set[Key]:
    """Let time pass until agent 0 has been asked, and give for what it has not started."""
    agent = world.agents[0]
    for _ in range(3):
        world.tick(LOOK)
        if agent.recalled is not None:
            queued = {(task.map, task.index, task.number) for task in agent.queue}
            return set([key for key in agent.recalled if key in queued][: agent.most])
    raise AssertionError("not asked")


def test_what_is_queued_behind_long_tasks_goes_to_idle_slots_as_the_same_attempts() -> None:
    world = queued()
    waiting = {(task.map, task.index, task.number) for task in world.agents[0].queue}
    assert asked(world) == waiting
    world.answer_recall(0)
    assert not world.agents[0].queue
    assert {(task.map, task.index, task.number) for task in world.agents[1].running} == waiting
    assert world.held >= waiting
    world.settle()
    assert all(task.accepted == [1] for task in world.tasks.values())


def test_no_more_is_asked_for_than_idle_slots_take_and_the_newest_first() -> None:
    world = queued(3)
    world.add(1, 2)
    world.tick(POLL)
    world.answer_claim()  # the two go to the agent that is idle
    assert len(world.agents[1].running) == 2
    newest = world.agents[0].queue[-1]
    assert asked(world) == {(newest.map, newest.index, newest.number)}


def test_an_agent_is_asked_once_at_a_time_and_not_soon_again_if_it_gives_nothing() -> None:
    world = queued()
    wanted = asked(world)
    assert not [i for i in handled(world, Tick(world.now + LOOK)) if isinstance(i, RecallTasks)]
    world.agents[0].recalled = []  # all of it has started meanwhile
    world.answer_recall(0)
    world.tick(PAUSE / 2)
    assert world.agents[0].recalled is None
    world.tick(PAUSE)
    assert wanted <= set(world.agents[0].recalled or ())


def test_short_tasks_of_an_agent_that_goes_on_are_let_be() -> None:
    world = World({1: Policy()}, {1: 200})
    world.tick(0.0)
    world.join(2)
    world.answer_claim()
    while len(world.agents[0].queue) < 10:
        world.end(0, 2, Outcome.SUCCEEDED, 5000)
        while world.claim is not None:
            world.answer_claim()
    for task in world.tasks.values():
        if task.state is State.PENDING:
            task.state = State.CANCELLED
    world.join(2)
    while world.agents[1].running:  # until nothing waits but at agent 0
        world.end(1, 2, Outcome.SUCCEEDED, 5000)
        while world.claim is not None or world.records:
            world.record() if world.claim is None else world.answer_claim()
    for _ in range(3):
        assert world.agents[0].queue
        assert not world.agents[1].running
        world.end(0, 1, Outcome.SUCCEEDED, 5000)  # it goes on
        world.tick(0.01)
        assert world.agents[0].recalled is None
    world.tick(LOOK)
    assert world.agents[0].recalled  # and now it does not


def test_what_comes_back_while_a_job_drains_goes_back_to_the_registry() -> None:
    world = queued()
    wanted = asked(world)
    world.handle(DrainWanted("drained"))
    world.answer_recall(0)
    assert not world.held & wanted
    assert not world.agents[1].running
    world.settle()


def test_what_was_cancelled_meanwhile_runs_nowhere() -> None:
    world = queued()
    first, second = sorted(asked(world))
    world.tasks[first[:2]].state = State.CANCELLED
    out = world.dispatcher.handle(TasksRevoked([first]))
    assert out == [KillTasks(0, [first])]
    out = handled(world, TasksReturned(0, [first, second], False, recalled=True))
    assert Release([first]) in out
    assert [[task.index for task in i.tasks] for i in out if isinstance(i, Send)] == [[second[1]]]


def test_a_recall_of_a_lost_agent_is_over_and_its_late_answer_is_not_heard() -> None:
    world = queued()
    wanted = asked(world)
    world.lose(0)
    assert handled(world, TasksReturned(0, sorted(wanted), False, recalled=True)) == []
    world.settle()
    assert all(len(task.accepted) == 1 for task in world.tasks.values())


def test_what_ended_before_its_recall_was_heard_is_recorded_once() -> None:
    world = queued()
    wanted = asked(world)
    agent = world.agents[0]
    world.end(0, 2, Outcome.SUCCEEDED, 10**6)  # those behind start
    results = [result_of(task) for task in agent.running]
    agent.running.clear()
    world.answer_recall(0)
    assert len(wanted) == 2
    assert not world.agents[1].running
    world.handle(ResultsCame(0, results))
    world.settle()
    assert all(task.accepted == [1] for task in world.tasks.values())


def test_what_fits_nowhere_any_more_when_it_comes_back_is_released() -> None:
    world = queued()
    wanted = sorted(asked(world))
    world.dispatcher.handle(MapsSeen({1: Policy(cores=3)}))
    assert Release(wanted) in handled(world, TasksReturned(0, wanted, False, recalled=True))


def test_an_agent_that_starts_tasks_in_another_order_gives_back_an_older_one() -> None:
    world = queued()
    agent = world.agents[0]
    agent.running, agent.queue = list(agent.queue), deque(agent.running)
    older = {(task.map, task.index, task.number) for task in agent.queue}
    assert asked(world) == older
    world.answer_recall(0)
    assert {(task.map, task.index, task.number) for task in world.agents[1].running} == older


def test_of_short_tasks_a_slot_takes_several_at_once() -> None:
    world = World({1: Policy()}, {1: 200})
    world.tick(0.0)
    world.join(2)
    world.answer_claim()
    while len(world.agents[0].queue) < 10:
        world.end(0, 2, Outcome.SUCCEEDED, 5000)
        while world.claim is not None:
            world.answer_claim()
    world.join(2)
    while world.agents[1].running:  # until nothing waits but at agent 0, where two long ones run
        world.end(1, 2, Outcome.SUCCEEDED, 5000)
        while world.claim is not None or world.records:
            world.record() if world.claim is None else world.answer_claim()
    before = len(world.agents[0].queue)
    assert len(asked(world)) == before > 2
    world.answer_recall(0)
    while world.agents[1].running:
        world.end(1, 2, Outcome.SUCCEEDED, 5000)
    while world.records:
        world.record()
    unended = [task for task in world.tasks.values() if not task.accepted]
    assert len(unended) == len(world.agents[0].running) == 2
