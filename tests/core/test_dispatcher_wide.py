"""Wide tasks, tasks of several nodes, GPUs and tasks that kill their agent: who gets which slots, and that all end."""

from __future__ import annotations

import pytest

from fixtures.dispatcher_world import World
from provrun.core.dispatcher import Dispatcher
from provrun.core.events import AgentAbsent, AgentJoined, AgentLost, Claim, Finish, TasksClaimed, Tick
from provrun.core.judging import LOSSES
from provrun.core.messages import Key
from provrun.core.placing import AGING, CAUTION
from provrun.core.records import Limits, Policy
from provrun.core.states import Outcome, State

LONG = 10_000_000  # microseconds


def answer(world: World) -> None:
    while world.claim:
        world.answer_claim()


def running(world: World, map: int) -> list[Key]:
    tasks = [task for agent in world.agents.values() for task in agent.running]
    return [(task.map, task.index, task.number) for task in tasks if task.map == map]


def end_one(world: World, number: int = 0) -> None:
    """End the task that has been running longest on an agent, and answer what is claimed."""
    world.end(number, 1, Outcome.SUCCEEDED, LONG)
    answer(world)


def begun(policies: dict[int, Policy], tasks: dict[int, int], *agents: int) -> World:
    world = World(policies, tasks, agents=len(agents))
    world.tick(0.0)
    for slots in agents:
        world.join(slots)
    answer(world)
    return world


def test_the_widest_go_first_and_small_ones_fill_what_they_leave() -> None:
    world = begun({1: Policy(), 2: Policy(cores=3)}, {1: 100, 2: 10}, 4)
    assert len(running(world, 2)) == 1
    assert len(running(world, 1)) == 1


def test_a_wide_task_that_comes_later_gets_the_next_slots_that_become_free() -> None:
    world = begun({1: Policy(), 2: Policy(cores=3)}, {1: 100, 2: 0}, 4)
    assert len(running(world, 1)) == 4
    world.add(2, 1)
    world.tick(3.0)  # time to look for tasks that have been added
    answer(world)
    for left in (3, 2, 1):
        assert not running(world, 2)
        end_one(world)
        assert len(running(world, 1)) == left, "a slot that a wide task waits for went to a small one"
    assert len(running(world, 2)) == 1


def test_small_tasks_are_not_starved_by_wide_ones() -> None:
    world = begun({1: Policy(), 2: Policy(cores=4)}, {1: 100, 2: 100}, 4)
    ended = 0
    while not running(world, 1):
        world.tick(10.0)
        answer(world)
        end_one(world)
        ended += 1
    assert ended <= AGING / 10.0 + 2
    while not running(world, 2):
        world.tick(10.0)
        end_one(world)


def test_a_task_waits_for_as_many_ranks_as_it_has_and_for_its_gpus() -> None:
    world = World({1: Policy(ranks=3), 2: Policy(gpus=1)}, {1: 5, 2: 5})
    world.tick(0.0)
    world.join(8, gpus=2)
    answer(world)
    assert len(running(world, 1)) == 2
    assert len(running(world, 2)) == 2


def test_tasks_that_need_gpus_are_left_where_there_are_none() -> None:
    dispatcher = Dispatcher({1: Policy(gpus=2)})
    assert dispatcher.handle(AgentJoined(0, 8, gpus=1)) == [Finish("")]
    (left,) = dispatcher.left()
    assert left.why == "in need of 2 GPUs on a node, and the largest number there is 1"


def test_a_task_of_several_nodes_has_them_to_itself() -> None:
    world = begun({1: Policy(), 2: Policy(task_nodes=2)}, {1: 100, 2: 1}, 2, 2, 2)
    ((key, team),) = world.teams.items()
    assert key == (2, 0, 1)
    assert len(team) == 2
    assert sum(len(agent.running) for number, agent in world.agents.items() if number not in team) == 2
    (lead,) = [number for number in team if world.agents[number].running]
    end_one(world, lead)
    assert len(running(world, 1)) == 6


def test_nodes_are_emptied_for_a_task_that_comes_later() -> None:
    world = begun({1: Policy(), 2: Policy(task_nodes=2)}, {1: 100, 2: 0}, 1, 1, 1)
    world.add(2, 1)
    world.tick(3.0)
    answer(world)
    for _ in range(3):
        assert len(running(world, 1)) >= 1, "more nodes are kept free than it needs"
        for number in [number for number, agent in world.agents.items() if agent.running]:
            if not world.teams:
                end_one(world, number)
    assert list(world.teams) == [(2, 0, 1)]


def test_a_task_loses_with_any_of_its_nodes_and_runs_again_on_others() -> None:
    world = begun({2: Policy(task_nodes=2)}, {2: 1}, 1, 1, 1)
    ((key, team),) = world.teams.items()
    lead = world.owner[key]
    world.lose((team - {lead}).pop())
    assert world.agents[lead].killed == {key}
    world.end(lead, 1, Outcome.SUCCEEDED, LONG)  # it ends as cancelled
    world.record()
    answer(world)
    assert list(world.teams) == [(2, 0, 2)]
    world.settle()
    assert world.tasks[2, 0].outcomes == [Outcome.LOST, Outcome.SUCCEEDED]


def test_who_has_not_joined_yet_may_be_what_a_task_needs() -> None:
    dispatcher = Dispatcher({1: Policy(task_nodes=2)}, agents=3)
    assert dispatcher.handle(AgentJoined(0, 1)) == []
    assert [type(done) for done in dispatcher.handle(AgentJoined(1, 1))] == [Claim]


@pytest.mark.parametrize("event", [AgentAbsent(), Tick(1000.0)])
def test_who_does_not_join_is_not_waited_for(event: AgentAbsent | Tick) -> None:
    dispatcher = Dispatcher({1: Policy(task_nodes=2)}, agents=2)
    dispatcher.handle(Tick(0.0))
    assert dispatcher.handle(AgentJoined(0, 1)) == []
    assert dispatcher.handle(event) == [Finish("")]
    assert [left.why for left in dispatcher.left()] == ["in need of 2 nodes, and this job has 1"]


def test_tasks_with_more_memory_than_any_node_has_are_left_for_larger_ones() -> None:
    world = World({1: Policy(task_memory=1000, retries=3, retry_memory=2.0)}, {1: 1})
    world.tick(0.0)
    world.join(1, memory=2500)
    answer(world)
    for _ in range(2):
        world.end(0, 1, Outcome.MEMORY, LONG)
        world.record()
        answer(world)
    world.settle()
    assert world.finish == ""
    assert world.tasks[1, 0].state is State.PENDING
    assert world.tasks[1, 0].limits == Limits(memory=4000)
    (left,) = world.dispatcher.left()
    assert (left.map, left.index) == (1, 0)
    assert left.why == "in need of 3.91K of memory, and the largest node has 2.44K"


def test_tasks_are_side_by_side_only_as_far_as_their_memory_goes() -> None:
    world = World({1: Policy(task_memory=1000), 2: Policy()}, {1: 20, 2: 20})
    world.tick(0.0)
    world.join(4, memory=2500)
    answer(world)
    assert (len(running(world, 1)), len(running(world, 2))) == (2, 2)
    world.tasks[1, 0].priority = 0
    end_one(world)
    assert (len(running(world, 1)), len(running(world, 2))) == (2, 2)
    world.settle()
    assert world.finish == ""


def test_small_tasks_leave_memory_to_a_large_one_that_waits() -> None:
    world = World({1: Policy(task_memory=500), 2: Policy(task_memory=2000)}, {1: 40, 2: 0})
    world.tick(0.0)
    world.join(4, memory=2500)
    answer(world)
    assert len(running(world, 1)) == 4
    world.add(2, 1)
    world.tick(3.0)
    answer(world)
    for left in (3, 2, 1):
        assert not running(world, 2)
        end_one(world)
        assert len(running(world, 1)) == left, "memory that a large task waits for went to a small one"
    assert len(running(world, 2)) == 1


def test_a_task_that_kills_its_agent_is_run_alone_and_fails() -> None:
    world = begun({1: Policy(retries=5)}, {1: 12}, 3)
    deaths = 0
    while world.tasks[1, 0].state is not State.FAILED:
        (number,) = world.agents
        while not any(key[:2] == (1, 0) for key in running(world, 1)):
            world.end(number, 1, Outcome.SUCCEEDED, LONG)
            world.record()
            answer(world)
        if world.tasks[1, 0].losses == LOSSES:
            assert len(world.agents[number].running) == 1, "it takes others along"
        world.join(3)
        world.lose(number)
        while world.records:
            world.record()
        answer(world)
        deaths += 1
    assert deaths == LOSSES + 1
    world.settle()
    assert {task.state for task in world.tasks.values() if task.index} == {State.SUCCEEDED}
    assert world.tasks[1, 0].outcomes == [*[Outcome.LOST] * LOSSES, Outcome.SIGNAL]


def test_many_tasks_lost_with_their_agent_are_under_no_suspicion() -> None:
    world = begun({1: Policy()}, {1: 10_000}, 30)
    world.end(0, 1, Outcome.SUCCEEDED, 10)
    answer(world)
    assert len(world.agents[0].queue) > 1000
    world.join(30)
    world.lose(0)
    assert not any(task.losses for task in world.tasks.values())
    world.settle()


def test_after_a_death_nothing_is_queued_for_a_while_so_that_few_are_suspect() -> None:
    world = begun({1: Policy()}, {1: 10_000}, 30)
    world.end(0, 1, Outcome.SUCCEEDED, 10)
    answer(world)
    world.join(30)
    world.lose(0)
    while world.records:
        world.record()
    world.tick(1.0)
    answer(world)
    assert len(world.agents[1].running) == 30
    assert not world.agents[1].queue
    world.tick(CAUTION)
    world.end(1, 1, Outcome.SUCCEEDED, 10)
    assert len(world.agents[1].queue) > 1000
    world.settle()


def test_the_last_agent_takes_the_job_along() -> None:
    dispatcher = Dispatcher({1: Policy()})
    dispatcher.handle(AgentJoined(0, 1))
    dispatcher.handle(TasksClaimed([]))
    assert dispatcher.handle(AgentLost(0)) == []
