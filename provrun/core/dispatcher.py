"""Decide what a running job does next: what to claim, which agent gets how many tasks, what to record, when to end.

Pure: `Dispatcher.handle` takes an event and gives instructions; it knows no clock, process or database, so it can be
driven through millions of random histories. Work is handled in batches, because ten million tasks must cost little.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from itertools import groupby
from operator import attrgetter

from provrun.core.agents import Agent
from provrun.core.events import (
    AgentJoined,
    AgentLost,
    Claim,
    DrainWanted,
    Event,
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
    Verdict,
)
from provrun.core.messages import Key, Result
from provrun.core.records import Claimed, Policy
from provrun.core.retries import judge, unseen
from provrun.core.states import Outcome, State

AHEAD = 0.1  # seconds of work queued at an agent for each of its slots
LONG = 2.0  # seconds from which a task is not queued behind another: a round trip is nothing beside it
SHORTEST = 5e-5  # seconds: what even an empty task costs an agent
WINDOW = 3.0  # seconds of work claimed from the registry
MOST_CLAIMED = 10_000
MOST_UNRECORDED = 20_000  # beyond it the registry is too slow, and nothing more is claimed until it follows
POLL = 2.0  # seconds between looks for tasks that others have added or given back
MEMORY = 64  # results over which a measured duration is averaged


class Dispatcher:
    """Schedule the tasks of some maps over the agents of one job.

    ``policies`` are those of the maps; after ``max_fails`` tasks that failed for good nothing more is started.
    """

    def __init__(self, policies: Mapping[int, Policy], *, max_fails: int | None = None) -> None:
        self._policies = dict(policies)
        self._max_fails = max_fails
        self._agents: dict[int, Agent] = {}
        self._hungry: set[int] = set()
        self._ready: deque[list[Claimed]] = deque()
        self._nready = 0
        self._in_flight = 0
        self._unrecorded = 0
        self._durations: dict[int, float] = {}
        self._pace = 0.0
        self._slots = 0
        self._asked = 0
        self._dry = False
        self._grown = False
        self._unlooked = False
        self._repeats = False
        self._now = 0.0
        self._looked = 0.0
        self._failed = 0
        self._begun = False
        self._reason: str | None = None
        self._now_stop = False
        self.finished = False

    @property
    def in_flight(self) -> int:
        """Count the tasks that agents have."""
        return self._in_flight

    @property
    def stopping(self) -> bool:
        """Tell whether nothing more is started."""
        return self._reason is not None

    @property
    def starving(self) -> bool:
        """Tell whether slots are idle for want of tasks, which records under way may make ready."""
        return bool(self._unrecorded) and not self._nready and self._in_flight < self._slots

    def held(self, agent: int | None = None) -> Iterable[Claimed]:
        """Give the tasks that an agent has, or all agents have."""
        for number, each in self._agents.items():
            if agent is None or number == agent:
                yield from each.held.values()

    def claimed(self) -> Iterable[Claimed]:
        """Give all tasks that the job holds: those that agents have, and those that wait for one."""
        yield from self.held()
        for run in self._ready:
            yield from run

    def duration(self, map: int) -> float | None:
        """Give the measured seconds of a task of this map; None before the first has ended."""
        return self._durations.get(map)

    def handle(self, event: Event) -> list[Instruction]:
        """Take in what happened and give what is to be done about it."""
        out: list[Instruction] = []
        match event:
            case ResultsCame():
                self._results(event, out)
            case Recorded():
                self._recorded(event)
            case TasksClaimed():
                self._claimed(event, out)
            case TasksReturned():
                self._returned(event, out)
            case AgentJoined():
                self._joined(event, out)
            case AgentLost():
                self._lost(event, out)
            case TasksRevoked():
                self._revoked(event, out)
            case MapsSeen():
                self._seen(event, out)
            case DrainWanted():
                self._stop(event.reason, False, out)
            case StopWanted():
                self._stop(event.reason, True, out)
            case Tick():
                self._now = event.now
                if self._dry and self._now - self._looked >= POLL:
                    self._dry = False
        if not self.finished:
            self._advance(out)
        return out

    # What happened

    def _joined(self, event: AgentJoined, out: list[Instruction]) -> None:
        self._agents[event.agent] = Agent(event.slots)
        self._slots += event.slots
        self._begun = True
        if self._reason is None:
            self._hungry.add(event.agent)
            self._dry = False
        else:
            out.append(StopAgent(event.agent, self._now_stop))

    def _claimed(self, event: TasksClaimed, out: list[Instruction]) -> None:
        self._dry = len(event.tasks) < self._asked and not self._grown
        self._asked = 0
        self._grown = False
        if not event.tasks:
            return
        if self._reason is not None:
            out.append(Release(_keys(event.tasks)))
            return
        for _, tasks in groupby(event.tasks, key=attrgetter("map")):
            self._ready.append(list(tasks))
        self._nready += len(event.tasks)
        self._release_too_wide(out)  # an agent may have been lost since they were asked for

    def _results(self, event: ResultsCame, out: list[Instruction]) -> None:
        agent = self._agents.get(event.agent)
        if agent is None:
            return  # of an agent given up as lost: its attempts have been judged
        verdicts: list[Verdict] = []
        walls: dict[int, int] = {}
        ended: dict[int, int] = {}
        succeeded = State.SUCCEEDED
        for result in event.results:
            map = result.map
            task = agent.drop(map, result.index, result.number)
            if task is None:
                continue
            walls[map] = walls.get(map, 0) + result.wall
            ended[map] = ended.get(map, 0) + 1
            if result.outcome == 0:
                verdicts.append((task, result, succeeded, task.fails, task.limits))
            else:
                verdicts.append(self._verdict(task, result))
        if not verdicts:
            return
        for map, n in ended.items():
            self._learn(map, walls[map] / n * 1e-6, n)
        self._end(event.agent, verdicts, out)
        self._hungry.add(event.agent)
        if self._max_fails is not None and self._failed >= self._max_fails and self._reason is None:
            self._stop(f"{self._failed} tasks failed", False, out)

    def _returned(self, event: TasksReturned, out: list[Instruction]) -> None:
        agent = self._agents.get(event.agent)
        if agent is None:
            return
        tasks = [task for key in event.tasks if (task := agent.drop(*key)) is not None]
        if not tasks:
            return
        if event.started:
            # What ran was stopped at a person's wish: no fault of the task, which may run again.
            verdicts: list[Verdict] = [
                (task, unseen(task, Outcome.CANCELLED), State.PENDING, task.fails, task.limits) for task in tasks
            ]
            self._end(event.agent, verdicts, out)
        else:
            self._in_flight -= len(tasks)
            out.append(Release(_keys(tasks)))
            self._dry = False
            self._hungry.add(event.agent)

    def _lost(self, event: AgentLost, out: list[Instruction]) -> None:
        agent = self._agents.pop(event.agent, None)
        if agent is None:
            return
        self._hungry.discard(event.agent)
        self._slots -= agent.slots
        verdicts = [self._verdict(task, unseen(task, Outcome.LOST)) for task in agent.held.values()]
        if verdicts:
            self._end(event.agent, verdicts, out)
        self._release_too_wide(out)

    def _release_too_wide(self, out: list[Instruction]) -> None:
        """Give back tasks that were claimed for an agent with more slots than any has that is left."""
        widest = max((agent.slots for agent in self._agents.values()), default=0)
        wide = [run for run in self._ready if self._policies[run[0].map].cores > widest]
        for run in wide:
            self._ready.remove(run)
            self._nready -= len(run)
            out.append(Release(_keys(run)))

    def _revoked(self, event: TasksRevoked, out: list[Instruction]) -> None:
        revoked = set(event.tasks)
        unsent = [task for run in self._ready for task in run if (task.map, task.index, task.number) in revoked]
        if unsent:
            gone = set(_keys(unsent))
            runs = [[task for task in run if (task.map, task.index, task.number) not in gone] for run in self._ready]
            self._ready = deque(run for run in runs if run)
            self._nready -= len(unsent)
            out.append(Release(_keys(unsent)))
        for number, agent in self._agents.items():
            held = [key for key in revoked if (task := agent.held.get(key[:2])) is not None and task.number == key[2]]
            if held:
                out.append(KillTasks(number, sorted(held)))

    def _seen(self, event: MapsSeen, out: list[Instruction]) -> None:
        self._policies.update(event.policies)
        self._grown = bool(self._asked)  # a claim that is under way was asked for without them
        self._dry = False
        self._release_too_wide(out)

    def _recorded(self, event: Recorded) -> None:
        self._unrecorded -= event.attempts
        if event.promoted or self._repeats:
            self._dry = False
        if not self._unrecorded:
            self._repeats = False

    def _stop(self, reason: str, now: bool, out: list[Instruction]) -> None:
        if self._reason is not None and (self._now_stop or not now):
            return
        self._reason = self._reason or reason
        self._now_stop = now
        if self._nready:
            out.append(Release([key for run in self._ready for key in _keys(run)]))
            self._ready.clear()
            self._nready = 0
        self._hungry.clear()
        out.extend(StopAgent(number, now) for number in self._agents)

    # What to do

    def _verdict(self, task: Claimed, result: Result) -> Verdict:
        state, fails, limits = judge(Outcome(result.outcome), task.fails, task.limits, self._policies[task.map])
        if state is State.FAILED:
            self._failed += 1
        elif state is State.PENDING:
            self._repeats = True
        return task, result, state, fails, limits

    def _end(self, number: int, verdicts: list[Verdict], out: list[Instruction]) -> None:
        self._unlooked = True  # what has ended may have submitted tasks
        self._in_flight -= len(verdicts)
        self._unrecorded += len(verdicts)
        out.append(Record(number, verdicts))

    def _learn(self, map: int, seconds: float, n: int) -> None:
        weight = min(max(n, 8) / MEMORY, 1.0)
        known = self._durations.get(map)
        self._durations[map] = seconds if known is None else known + weight * (seconds - known)
        effort = max(seconds, SHORTEST) * self._policies[map].cores
        self._pace = effort if not self._pace else self._pace + weight * (effort - self._pace)

    def _advance(self, out: list[Instruction]) -> None:
        if self._reason is None:
            self._fill(out)
            self._claim(out)
            if self._begun and not self._agents:
                self._stop("no agent is left", False, out)
        if self._in_flight or self._unrecorded or self._asked:
            return
        if self._reason is None and (self._nready or not self._dry):
            return
        if self._reason is None and self._unlooked:
            self._dry = False
            self._claim(out)
            return
        self.finished = True
        out.append(Finish(self._reason or ""))

    def _fill(self, out: list[Instruction]) -> None:
        if not self._nready:
            return
        served = set()
        for number in self._hungry:
            agent = self._agents[number]
            while (tasks := self._portion(agent)) is not None:
                agent.take(tasks[0].map, tasks)
                self._in_flight += len(tasks)
                out.append(Send(number, tasks))
            if not self._nready:
                break
            if agent.held:
                served.add(number)  # its next result makes it hungry again; an idle one waits for tasks that fit it
        self._hungry -= served

    def _portion(self, agent: Agent) -> list[Claimed] | None:
        """Cut off what this agent gets now of the first waiting tasks that fit it; None when it has enough."""
        fitting = (place for place, run in enumerate(self._ready) if self._policies[run[0].map].cores <= agent.slots)
        place = next(fitting, None)
        if place is None:
            return None
        run = self._ready[place]
        n = min(self._room(agent, run[0].map), len(run))
        if n < 1:
            return None
        self._nready -= n
        if n == len(run):
            del self._ready[place]
            return run
        self._ready[place] = run[n:]
        return run[:n]

    def _room(self, agent: Agent, map: int) -> int:
        """Count the tasks of a map that an agent should be handed now.

        Its slots are always filled. Behind them it gets a second round, or `AHEAD` seconds of short tasks, when half
        of that has gone, so that a message carries many.
        """
        cores = self._policies[map].cores
        busy = 0
        load = 0.0
        for held, n in agent.counts.items():
            if n:
                units = n * self._policies[held].cores
                busy += units
                load += units * max(self._durations.get(held, LONG), SHORTEST)
        free = max(0, agent.slots - busy) // cores
        seconds = self._durations.get(map)
        if seconds is None or seconds >= LONG:
            return free
        each = max(seconds, SHORTEST) * cores
        most = max(2 * agent.slots // cores, int(AHEAD * agent.slots / each))
        room = max((2 * agent.slots - busy) // cores, int((AHEAD * agent.slots - load) / each))
        if busy > agent.slots and 2 * room < most:
            return 0
        if self._dry and len(self._agents) > 1:
            # Near the end large portions would leave other agents with nothing to do.
            room = min(room, -(-self._nready * agent.slots // (2 * self._slots)))
        return max(free, room)

    def _claim(self, out: list[Instruction]) -> None:
        if self._asked or self._dry or self._unrecorded >= MOST_UNRECORDED or not self._agents:
            return
        widest = max(agent.slots for agent in self._agents.values())
        maps = tuple(map for map, policy in self._policies.items() if policy.cores <= widest)
        rounds = 2 * self._slots
        window = max(rounds, min(MOST_CLAIMED, int(WINDOW * self._slots / self._pace))) if self._pace else rounds
        stock = self._nready + self._in_flight
        if stock > max(window // 2, self._slots + self._slots // 2):
            return
        if not maps and not self._unlooked:
            self._dry = True
            return
        self._unlooked = False
        self._asked = window - stock
        self._looked = self._now
        out.append(Claim(self._asked, maps))


def _keys(tasks: Iterable[Claimed]) -> list[Key]:
    return [(task.map, task.index, task.number) for task in tasks]
