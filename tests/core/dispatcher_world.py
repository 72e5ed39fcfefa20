"""A world for the dispatcher: a registry, agents and a recorder in one process, obeying and checking instructions."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from provrun.core.dispatcher import Dispatcher
from provrun.core.events import (
    AgentJoined,
    AgentLost,
    Claim,
    Event,
    Finish,
    Key,
    KillTasks,
    Record,
    Recorded,
    Release,
    ResultsCame,
    Send,
    StopAgent,
    TasksClaimed,
    TasksReturned,
)
from provrun.core.messages import Result
from provrun.core.records import Claimed, Limits, Policy
from provrun.core.states import Outcome, State


def result_of(task: Claimed, outcome: Outcome = Outcome.SUCCEEDED, *, wall: int = 1000) -> Result:
    return Result(
        map=task.map, index=task.index, number=task.number, outcome=outcome, started=1, wall=wall, cpu=1, max_rss=1,
        rss_shared=False, detail=None, error=None, result="1", result_digest=b"1", log=None, artifacts=None,
        loaded=1, loaded_after=1,
    )


@dataclass
class Task:
    map: int
    index: int
    state: State = State.PENDING
    attempts: int = 0
    fails: int = 0
    limits: Limits | None = None
    accepted: list[int] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)

    def claimed(self) -> Claimed:
        return Claimed(
            map=self.map, index=self.index, number=self.attempts, params="{}", fails=self.fails, upstream=None,
            limits=self.limits, reads=None, trail=None,
        )


@dataclass
class Agent:
    slots: int
    queue: deque[Claimed] = field(default_factory=deque)
    running: list[Claimed] = field(default_factory=list)
    draining: bool = False
    stopped: bool = False

    def start(self, policies: dict[int, Policy]) -> None:
        """Start tasks in order of arrival while slots are free."""
        while self.queue and not self.draining:
            used = sum(policies[task.map].cores for task in self.running)
            if used + policies[self.queue[0].map].cores > self.slots:
                return
            self.running.append(self.queue.popleft())


class World:
    """Obey a dispatcher and check design invariants on every instruction."""

    def __init__(self, policies: dict[int, Policy], tasks: dict[int, int], *, max_fails: int | None = None) -> None:
        self.policies = policies
        self.dispatcher = Dispatcher(policies, max_fails=max_fails)
        self.tasks = {(map, index): Task(map, index) for map, n in tasks.items() for index in range(n)}
        self.agents: dict[int, Agent] = {}
        self.claim: Claim | None = None
        self.held: set[Key] = set()
        self.owner: dict[Key, int] = {}
        self.records: deque[Record] = deque()
        self.past: list[tuple[int, Result]] = []
        self.lost: dict[int, int] = {}
        self.finish: str | None = None
        self.joined = 0
        self.withheld = False

    def handle(self, event: Event) -> None:
        for instruction in self.dispatcher.handle(event):
            assert self.finish is None or isinstance(instruction, Release | StopAgent), "an instruction after the end"
            match instruction:
                case Claim():
                    assert self.claim is None, "two claims at once"
                    assert instruction.limit > 0
                    self.claim = instruction
                case Send():
                    self._sent(instruction)
                case Record():
                    self._ended(instruction)
                case Release():
                    for key in instruction.tasks:
                        assert key in self.held, "released what was not claimed, or twice"
                        assert key not in self.owner, "released what an agent has"
                        self.held.remove(key)
                        task = self.tasks[key[:2]]
                        if task.state is State.RUNNING:
                            task.state = State.PENDING
                            task.attempts -= 1
                case StopAgent():
                    agent = self.agents[instruction.rank]
                    agent.draining = True
                    agent.stopped = agent.stopped or instruction.now
                case KillTasks():
                    for key in instruction.tasks:
                        assert self.owner[key] == instruction.rank
                case Finish():
                    self.finish = instruction.reason

    def _sent(self, send: Send) -> None:
        agent = self.agents[send.rank]
        assert not agent.draining, "sent to an agent that was stopped"
        assert send.tasks
        for task in send.tasks:
            key = (task.map, task.index, task.number)
            assert key in self.held, "sent what was not claimed"
            assert key not in self.owner, "sent twice"
            assert self.policies[task.map].cores <= agent.slots, "a task wider than its agent"
            self.owner[key] = send.rank
        agent.queue.extend(send.tasks)
        queued = sum(self.policies[task.map].cores for task in (*agent.queue, *agent.running))
        assert queued <= 1002 * agent.slots, "more queued at an agent than a fraction of a second"
        agent.start(self.policies)

    def _ended(self, record: Record) -> None:
        for claimed, result, state, fails, limits in record.verdicts:
            key = (claimed.map, claimed.index, claimed.number)
            assert (result.map, result.index, result.number) == key
            assert key in self.held, "recorded what was not claimed, or twice"
            assert self.owner.pop(key) == record.rank
            outcome = Outcome(result.outcome)
            assert fails == claimed.fails + outcome.counts
            if state is State.FAILED:
                assert fails == self.policies[claimed.map].retries + 1
            assert limits == claimed.limits or outcome in (Outcome.TIMEOUT, Outcome.MEMORY)
        self.records.append(record)

    # What the world does

    def join(self, slots: int, rank: int | None = None) -> None:
        if rank is None:
            rank, self.joined = self.joined, self.joined + 1
        self.agents[rank] = Agent(slots)
        self.handle(AgentJoined(rank, slots))

    def answer_claim(self, most: int | None = None) -> None:
        claim, self.claim = self.claim, None
        assert claim is not None
        pending = [task for task in self.tasks.values() if task.state is State.PENDING and task.map in claim.maps]
        tasks = []
        self.withheld = most is not None and most < min(claim.limit, len(pending))
        for task in pending[: claim.limit if most is None else min(claim.limit, most)]:
            task.state = State.RUNNING
            task.attempts += 1
            tasks.append(task.claimed())
            self.held.add((task.map, task.index, task.attempts))
        self.handle(TasksClaimed(tasks))

    def end(self, rank: int, n: int, outcome: Outcome, wall: int) -> None:
        agent = self.agents[rank]
        results = [result_of(task, outcome, wall=wall) for task in agent.running[:n]]
        del agent.running[:n]
        agent.start(self.policies)
        self.past += [(rank, result) for result in results]
        self.handle(ResultsCame(rank, results))

    def lose(self, rank: int, replaced: bool) -> None:
        agent = self.agents.pop(rank)
        self.past += [(rank, result_of(task)) for task in (*agent.running, *agent.queue)]
        if replaced:
            self.lost[rank] = agent.slots
        self.handle(AgentLost(rank, replaced))

    def give_back(self, rank: int) -> None:
        """Let an agent obey its stop."""
        agent = self.agents[rank]
        unstarted = [(task.map, task.index, task.number) for task in agent.queue]
        agent.queue.clear()
        for key in unstarted:
            del self.owner[key]
        if unstarted:
            self.handle(TasksReturned(rank, unstarted, False))
        if agent.stopped and agent.running:
            stopped = [(task.map, task.index, task.number) for task in agent.running]
            agent.running.clear()
            self.handle(TasksReturned(rank, stopped, True))

    def record(self) -> None:
        record = self.records.popleft()
        promoted = 0
        for claimed, result, state, fails, limits in record.verdicts:
            self.held.remove((claimed.map, claimed.index, claimed.number))
            task = self.tasks[claimed.map, claimed.index]
            assert len(task.outcomes) < claimed.number, "an attempt number used twice"
            task.outcomes.append(Outcome(result.outcome))
            if state is State.SUCCEEDED:
                task.accepted.append(claimed.number)
                assert len(task.accepted) == 1, "two accepted attempts"
            if task.state is State.RUNNING:
                task.state, task.fails, task.limits = state, fails, limits
                promoted += state is State.PENDING
        self.handle(Recorded(len(record.verdicts), promoted))

    def settle(self, steps: int = 100_000) -> None:
        """Let everything that is under way come to its end; fail if the dispatcher stands still."""
        for _ in range(steps):
            if self.finish is not None and not self.claim:
                return
            if self.claim is not None:
                self.answer_claim()
            elif self.records:
                self.record()
            elif self.lost:
                rank, slots = self.lost.popitem()
                self.join(slots, rank)
            elif (rank := self._active()) is not None:
                if self.agents[rank].draining:
                    self.give_back(rank)
                if self.agents[rank].running:
                    self.end(rank, len(self.agents[rank].running), Outcome.SUCCEEDED, 1000)
            elif not self.joined or (not self.agents and not self.dispatcher.stopping):
                self.join(4)
            else:
                raise AssertionError("no progress and no end")
        raise AssertionError("no end")

    def _active(self) -> int | None:
        return next((rank for rank, agent in self.agents.items() if agent.running or agent.queue), None)
