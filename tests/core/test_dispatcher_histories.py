"""The dispatcher driven through random histories: whatever happens, the invariants of a job hold."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fixtures.dispatcher_world import Task, World
from provrun.core.events import DrainWanted, ResultsCame, StopWanted, TasksRevoked
from provrun.core.needs import needs_of
from provrun.core.records import Policy
from provrun.core.states import Outcome, State

POLICIES = {
    1: Policy(),
    2: Policy(cores=3, retries=2, task_time=1.0, retry_time=2.0),
    3: Policy(retries=1, task_memory=1000, retry_memory=1.5),
    4: Policy(cores=9),
    5: Policy(task_nodes=2, retries=1),
    6: Policy(gpus=1, ranks=2),
    7: Policy(checkpoint=True),
    8: Policy(task_memory=1000),
    9: Policy(task_memory=150),
    10: Policy(task_memory=400, cores=2),
}


class Histories(RuleBasedStateMachine):
    @initialize(
        counts=st.tuples(*[st.integers(0, 30) | st.just(0)] * len(POLICIES)),
        max_fails=st.none() | st.integers(1, 10),
        slots=st.integers(1, 6),
        deadline=st.none() | st.floats(1, 100),
    )
    def begin(self, counts: tuple[int, ...], max_fails: int | None, slots: int, deadline: float | None) -> None:
        self.world = World(
            POLICIES, dict(zip(POLICIES, counts, strict=True)), max_fails=max_fails, deadline=deadline
        )
        self.max_fails = max_fails
        self.world.tick(0.0)
        self.world.join(slots)

    @precondition(lambda self: self.world.joined < 4)
    @rule(slots=st.integers(1, 10), gpus=st.integers(0, 2), memory=st.sampled_from([0, 999, 1600]))
    def agent_joins(self, slots: int, gpus: int, memory: int) -> None:
        self.world.join(slots, gpus=gpus, memory=memory)

    @precondition(lambda self: self.world.claim)
    @rule(most=st.none() | st.integers(0, 20))
    def claim_is_answered(self, most: int | None) -> None:
        self.world.answer_claim(most)

    @precondition(lambda self: any(agent.running for agent in self.world.agents.values()))
    @rule(
        data=st.data(),
        n=st.integers(1, 10),
        outcome=st.sampled_from([*Outcome, *[Outcome.SUCCEEDED] * 10]),
        wall=st.sampled_from([1, 100, 10**5, 10**7]),
    )
    def attempts_end(self, data: st.DataObject, n: int, outcome: Outcome, wall: int) -> None:
        busy = [number for number, agent in self.world.agents.items() if agent.running]
        self.world.end(data.draw(st.sampled_from(busy)), n, outcome, wall)

    @precondition(lambda self: self.world.past)
    @rule(data=st.data(), n=st.integers(1, 5))
    def results_come_again_or_late(self, data: st.DataObject, n: int) -> None:
        number, result = data.draw(st.sampled_from(self.world.past[-20:]))
        now_held = {key[:2]: owner for key, owner in self.world.owner.items()}
        number = now_held.get((result.map, result.index), number)
        if (result.map, result.index, result.number) not in self.world.owner:
            self.world.handle(ResultsCame(number, [result] * n))

    @precondition(lambda self: self.world.agents)
    @rule(data=st.data(), slots=st.none() | st.integers(1, 10))
    def agent_is_lost_or_replaced(self, data: st.DataObject, slots: int | None) -> None:
        lost = data.draw(st.sampled_from(sorted(self.world.agents)))
        if slots is not None:
            self.world.join(slots)
        self.world.lose(lost)

    @precondition(lambda self: self.world.records)
    @rule()
    def registry_records(self) -> None:
        self.world.record()

    @precondition(lambda self: any(agent.draining for agent in self.world.agents.values()))
    @rule(data=st.data())
    def agent_gives_back(self, data: st.DataObject) -> None:
        draining = [number for number, agent in self.world.agents.items() if agent.draining]
        self.world.give_back(data.draw(st.sampled_from(draining)))

    @precondition(lambda self: any(agent.recalled is not None for agent in self.world.agents.values()))
    @rule(data=st.data())
    def agent_answers_a_recall(self, data: st.DataObject) -> None:
        asked = [number for number, agent in self.world.agents.items() if agent.recalled is not None]
        self.world.answer_recall(data.draw(st.sampled_from(asked)))

    @precondition(lambda self: self.world.held)
    @rule(data=st.data())
    def tasks_are_cancelled(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.world.held)))
        self.world.tasks[key[:2]].state = State.CANCELLED
        self.world.handle(TasksRevoked([key]))

    @rule(now=st.booleans())
    def person_stops(self, now: bool) -> None:
        self.world.handle(StopWanted("stopped") if now else DrainWanted("drained"))

    @rule(seconds=st.floats(0.01, 10) | st.just(100.0))
    def time_passes(self, seconds: float) -> None:
        self.world.tick(seconds)

    @rule(map=st.sampled_from(sorted(POLICIES)), n=st.integers(1, 20), priority=st.integers(-1, 2))
    def tasks_are_added(self, map: int, n: int, priority: int) -> None:
        self.world.add(map, n, priority)

    @invariant()
    def what_is_claimed_is_somewhere(self) -> None:
        if not hasattr(self, "world"):
            return
        running = {(t.map, t.index, t.attempts) for t in self.world.tasks.values() if t.state is State.RUNNING}
        assert running <= self.world.held
        assert self.world.dispatcher.in_flight == len(self.world.owner)

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        world = self.world
        world.settle()
        assert not world.held, "a claimed task neither recorded nor released"
        assert not world.owner
        assert not any(task.state is State.RUNNING for task in world.tasks.values())
        if world.finish == "" and not world.withheld:
            said = {(left.map, left.index) for left in world.dispatcher.left()}
            for task in world.tasks.values():
                if task.state is State.PENDING and not task.late:
                    assert {(task.map, None), (task.map, task.index)} & said, "an end with tasks that could run"
                    assert not self.could_run(task), "left for no reason"
        failed = sum(task.state is State.FAILED for task in world.tasks.values())
        if world.finish == f"{failed} tasks failed":
            assert self.max_fails is not None and failed >= self.max_fails

    def could_run(self, task: Task) -> bool:
        needs, policy = needs_of(POLICIES[task.map]), POLICIES[task.map]
        memory = (task.limits and task.limits.memory) or policy.task_memory or 0
        agents = self.world.agents_at_the_end
        able = [agent for agent in agents if agent.slots >= needs.cores and agent.gpus >= needs.gpus]
        enough = any(not agent.memory or agent.memory >= memory for agent in able)
        return len(able) >= max(1, needs.nodes) and enough


class Recalls(Histories):
    """Histories of few tasks that begin with some queued at one agent while another one is idle."""

    @initialize(
        slots=st.integers(1, 6), others=st.integers(1, 6), more=st.integers(0, 2), wide=st.integers(0, 2),
        wall=st.sampled_from([10**5, 10**6]), passed=st.floats(0.2, 0.5),
    )
    def begin(self, slots: int, others: int, more: int, wide: int, wall: int, passed: float) -> None:
        self.world = world = World(POLICIES, {1: 3 * slots + more, 2: wide})
        self.max_fails = None
        world.tick(0.0)
        world.join(slots)
        self.hand_out()
        world.end(0, slots, Outcome.SUCCEEDED, wall)
        self.hand_out()
        world.join(others)
        self.hand_out()
        for _ in range(2):
            world.tick(passed)

    @precondition(lambda self: self.world.joined < 8)
    @rule(slots=st.integers(1, 6))
    def another_agent_joins_in_a_lull(self, slots: int) -> None:
        self.hand_out()
        self.world.join(slots)
        self.hand_out()
        self.world.tick(0.2)

    @rule(n=st.integers(1, 20), priority=st.integers(-1, 2))
    def tasks_are_added(self, n: int, priority: int) -> None:
        self.world.add(1, n, priority)

    def hand_out(self) -> None:
        """Let the registry do all that it has to."""
        while self.world.claim is not None or self.world.records:
            if self.world.claim is not None:
                self.world.answer_claim()
            else:
                self.world.record()


Histories.TestCase.settings = settings(
    max_examples=150, stateful_step_count=60, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestHistories = Histories.TestCase
TestRecalls = Recalls.TestCase
TestRecalls.settings = Histories.TestCase.settings
