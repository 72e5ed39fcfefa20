"""Decide what a running job does next: what to claim, which agent gets how many tasks, what to record, when to end.

Pure: `Dispatcher.handle` takes events and gives instructions; it knows no clock, process or database, so it can be
driven through millions of random histories. Work is handled in batches, because ten million tasks must cost little.

What it decides by stands beside it: `needs` (of tasks), `agents`, `durations` (and the end of the allocation),
`claims`, `waiting` (tasks not handed over yet), `placing` and `handing` (what goes where), `recalling` (what shall come
back from there), `leaving` (what is not run here), `judging` (what becomes of what ended).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from provrun.core.agents import Agent, Agents, Expected
from provrun.core.claims import Claiming
from provrun.core.durations import Durations, Ending
from provrun.core.events import (
    AgentAbsent,
    AgentJoined,
    AgentLost,
    DrainWanted,
    Event,
    Finish,
    Instruction,
    KillTasks,
    Left,
    MapsSeen,
    Record,
    Recorded,
    Release,
    ResultsCame,
    StopAgent,
    StopWanted,
    TasksClaimed,
    TasksReturned,
    TasksRevoked,
    Tick,
    Verdict,
    WarnAgent,
)
from provrun.core.handing import Handing
from provrun.core.judging import Judge
from provrun.core.leaving import Leaving
from provrun.core.placing import Placing
from provrun.core.recalling import Recalling
from provrun.core.records import Claimed, Policy
from provrun.core.states import State
from provrun.core.waiting import Waiting, divide, keys

POLL = 2.0  # seconds between looks for tasks that others have added or given back
WALLTIME = "walltime"
"""The reason of a job that ended because its allocation did."""


class Dispatcher:
    """Schedule the tasks of some maps over the agents of one job.

    ``policies`` are those of the maps; after ``max_fails`` tasks that failed for good nothing more is started.
    ``agents`` are expected to join. ``deadline`` is when the allocation ends, on the clock of `Tick`.
    """

    def __init__(
        self, policies: Mapping[int, Policy], *, max_fails: int | None = None, agents: int = 1,
        deadline: float | None = None,
    ) -> None:
        self._policies: dict[int, Policy] = {}
        self._max_fails = max_fails
        self._expected = Expected(agents)
        self._agents = Agents()
        self._waiting = Waiting()
        self._durations = Durations()
        self._ending = Ending(deadline)
        self._leaving = Leaving(self._policies, self._agents, self._durations, self._ending)
        self._placing = Placing(self._agents, self._waiting, self._durations, self._ending)
        self._claims = Claiming(self._agents, self._waiting, self._leaving)
        self._handing = Handing(self._agents, self._placing, self._leaving, self._ending)
        self._recalling = Recalling(self._agents, self._waiting, self._durations, self._ending)
        self._judge = Judge(self._policies)
        self._unrecorded = 0
        self._grown = False
        self._unlooked = False
        self._looked = 0.0
        self._reason: str | None = None
        self._now_stop = False
        self.finished = False
        self._learn(policies)

    @property
    def in_flight(self) -> int:
        """Count the tasks that agents have."""
        return self._handing.in_flight

    @property
    def stopping(self) -> bool:
        """Tell whether nothing more is started."""
        return self._reason is not None

    @property
    def starving(self) -> bool:
        """Tell whether slots are idle for want of tasks, which records under way may make ready."""
        return bool(self._unrecorded) and self._handing.in_flight < self._agents.slots and not self._waiting.n

    def held(self, agent: int | None = None) -> Iterable[Claimed]:
        """Give the tasks that an agent has, or all agents have."""
        for number, each in self._agents.items():
            if agent is None or number == agent:
                yield from each.held.values()

    def claimed(self) -> Iterable[Claimed]:
        """Give all tasks that the job holds: those that agents have, and those that wait for one."""
        yield from self.held()
        yield from self._waiting.tasks()

    def left(self) -> list[Left]:
        """Give the tasks that were not run because they do not fit this job or its time, as far as it came to them."""
        return self._leaving.all()

    def duration(self, map: int) -> float | None:
        """Give the measured seconds of a task of this map; None before the first has ended."""
        return self._durations.mean.get(map)

    def handle(self, *events: Event) -> list[Instruction]:
        """Take in what happened and give what is to be done about it."""
        out: list[Instruction] = []
        for event in events:
            self._happened(event, out)
        if not self.finished:
            self._advance(out)
        return out

    # What happened

    def _happened(self, event: Event, out: list[Instruction]) -> None:
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
            case AgentAbsent():
                self._expected.absent()
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
                self._tick(event.now, out)

    def _tick(self, now: float, out: list[Instruction]) -> None:
        self._handing.replan = True
        self._ending.tick(now)
        self._expected.tick(now)
        if now - self._looked >= POLL:
            self._looked = now
            self._waiting.moisten(known=False)
            if self._reason is None and not self._claims.behind(self._unrecorded):
                urgent = self._claims.peek()
                if urgent is not None:
                    out.append(urgent)
        if self._ending.near and not self._ending.over and self._reason is None:
            out.extend(WarnAgent(number, self._ending.left) for number in self._agents.unwarned(self._policies))
        self._release(self._leaving.sift(self._waiting), out)
        if len(self._agents) > 1 and self._reason is None and not self._waiting.n and not self._claims.possible:
            self._recalling.ask(out)

    def _joined(self, event: AgentJoined, out: list[Instruction]) -> None:
        self._agents.join(event.agent, Agent(event.slots, event.node, event.gpus, event.memory))
        self._expected.joined(self._ending.now)
        self._handing.replan = True
        if self._reason is None:
            self._agents.hungry.add(event.agent)
            self._waiting.moisten()
        else:
            out.append(StopAgent(event.agent, self._now_stop))

    def _claimed(self, event: TasksClaimed, out: list[Instruction]) -> None:
        self._claims.answered(len(event.tasks), complete=not self._grown)
        self._grown = False
        if not event.tasks:
            return
        if self._reason is not None:
            self._release(event.tasks, out)
            return
        tasks, left = self._leaving.sort(event.tasks)
        self._release(left, out)
        for lane in self._waiting.add(tasks, self._ending.now):
            over = lane.cut_back(2 * self._claims.stock(lane) + self._agents.slots)
            if over:
                lane.dry = False
                self._release(over, out)
        # An agent may have been lost since they were asked for.
        self._release(self._waiting.unfit(self._agents.values()), out)
        self._look_everywhere()

    def _results(self, event: ResultsCame, out: list[Instruction]) -> None:
        agent = self._agents.get(event.agent)
        if agent is None:
            return  # of an agent given up as lost: its attempts have been judged
        verdicts: list[Verdict] = []
        ended: dict[int, list[int]] = {}
        succeeded = State.SUCCEEDED
        broken = agent.team is not None and agent.team.broken
        for result in event.results:
            map = result.map
            task = agent.drop(map, result.index, result.number)
            if task is None:
                continue
            wall = result.wall
            sums = ended.get(map)
            if sums is None:
                ended[map] = [1, wall, wall * wall]
            else:
                sums[0] += 1
                sums[1] += wall
                sums[2] += wall * wall
            if result.outcome == 0:
                verdicts.append((task, result, succeeded, task.fails, task.limits))
            elif broken:
                verdicts += self._judge.lost([task], 1, by_itself=True)
            else:
                verdicts.append(self._judge.ended(task, result))
        if not verdicts:
            return
        for map, (n, walls, squares) in ended.items():
            self._durations.learn(map, n, walls * 1e-6, squares * 1e-12)
            self._claims.learn(self._waiting.needs[map], walls / n * 1e-6, n)
            self._free(agent, map, n)
        self._end(event.agent, verdicts, out)
        self._agents.hungry.add(event.agent)
        if self._max_fails is not None and self._judge.failed >= self._max_fails and self._reason is None:
            self._stop(f"{self._judge.failed} tasks failed", False, out)

    def _returned(self, event: TasksReturned, out: list[Instruction]) -> None:
        agent = self._agents.get(event.agent)
        if agent is None:
            return
        again = self._recalling.answered(event) if self._reason is None else set()
        tasks = [task for key in event.tasks if (task := agent.drop(*key)) is not None]
        if not tasks:
            return
        for task in tasks:
            self._free(agent, task.map, 1)
        if event.started:
            # What ran was stopped at a person's wish or by the walltime: no fault of the task, which may run again.
            ran = self._handing.ran(tasks, self._policies) if self._reason == WALLTIME else [None] * len(tasks)
            self._end(event.agent, list(map(self._judge.stopped, tasks, ran)), out)
        else:
            self._handing.ended(len(tasks), tasks)
            back, rest = divide(tasks, again)
            if rest:
                self._release(rest, out)
                self._waiting.moisten()
            if back:
                # For idle slots, not to be queued once more behind something.
                self._waiting.add(back, self._ending.now)
                self._release(self._waiting.unfit(self._agents.values()), out)
                self._agents.feed_idle()
                return
        self._agents.hungry.add(event.agent)

    def _lost(self, event: AgentLost, out: list[Instruction]) -> None:
        agent = self._agents.lose(event.agent)
        if agent is None:
            return
        self._handing.replan = True
        self._recalling.lost(event.agent)
        team = agent.team
        tasks = list(agent.held.values())
        if tasks:
            self._placing.beware()
            self._end(event.agent, self._judge.lost(tasks, agent.slots, by_itself=team is not None), out)
        if team is not None:
            lead = team.numbers[0]
            if lead == event.agent:
                self._agents.dissolve(team)
            elif not team.broken:
                team.broken = True
                out.append(KillTasks(lead, [team.key]))
        self._release(self._waiting.unfit(self._agents.values()), out)

    def _release(self, tasks: list[Claimed], out: list[Instruction]) -> None:
        if tasks:
            self._waiting.returned(tasks)
            out.append(Release(keys(tasks)))

    def _revoked(self, event: TasksRevoked, out: list[Instruction]) -> None:
        revoked = set(event.tasks)
        self._release(self._waiting.remove(lambda task: (task.map, task.index, task.number) in revoked), out)
        for number, agent in self._agents.items():
            held = [key for key in revoked if (task := agent.held.get(key[:2])) is not None and task.number == key[2]]
            if held:
                self._recalling.revoked(held)
                out.append(KillTasks(number, sorted(held)))

    def _seen(self, event: MapsSeen, out: list[Instruction]) -> None:
        self._learn(event.policies)
        self._grown = self._claims.asked is not None  # a claim that is under way was asked for without them
        self._waiting.moisten()
        self._release(self._waiting.unfit(self._agents.values()), out)

    def _recorded(self, event: Recorded) -> None:
        self._unrecorded -= event.attempts
        if event.promoted or self._judge.repeats:
            self._waiting.moisten()
        if not self._unrecorded:
            self._judge.repeats = False

    def _stop(self, reason: str, now: bool, out: list[Instruction]) -> None:
        if self._reason is not None and (self._now_stop or not now):
            return
        self._reason = self._reason or reason
        self._now_stop = now
        self._release(self._waiting.clear(), out)
        self._agents.hungry.clear()
        out.extend(StopAgent(number, now) for number in self._agents)

    # What is kept in mind

    def _learn(self, policies: Mapping[int, Policy]) -> None:
        self._policies.update(policies)
        self._waiting.learn(policies, self._ending.now)
        for agent in self._agents.values():
            agent.count(self._waiting.needs)
        self._handing.replan = True

    def _free(self, agent: Agent, map: int, tasks: int) -> None:
        if self._agents.free(agent, map, tasks, self._waiting.needs[map]):
            self._handing.replan = True

    def _look_everywhere(self) -> None:
        """Let agents be looked at that had room for none of the tasks there were."""
        self._handing.replan = True
        if len(self._waiting.lanes) > 1 and self._reason is None:
            self._agents.hungry.update(self._agents)

    def _end(self, number: int, verdicts: list[Verdict], out: list[Instruction]) -> None:
        self._unlooked = True  # what has ended may have submitted tasks
        self._handing.ended(len(verdicts), (verdict[0] for verdict in verdicts))
        self._unrecorded += len(verdicts)
        out.append(Record(number, verdicts))

    # What to do

    def _advance(self, out: list[Instruction]) -> None:
        if self._reason is None:
            if self._ending.over:
                self._stop(WALLTIME, True, out)
            else:
                self._handing.fill(out)
                self._claim(out)
            if self._expected.begun and not self._agents:
                self._stop("no agent is left", False, out)
        if self._handing.in_flight or self._unrecorded or self._claims.asked:
            return
        if self._reason is None:
            open_lanes = self._claims.open_lanes()
            if self._waiting.n or not all(lane.dry for lane in open_lanes):
                return
            if self._unlooked:
                self._waiting.moisten()
                self._claim(out)
                return
            if self._hoping():
                return
            for needs, lane in self._waiting.lanes.items():
                self._leaving.lack(needs, lane.maps)
        if self._reason is None:
            self._reason = WALLTIME if self._leaving.late(self._waiting) else ""
        self.finished = True
        out.append(Finish(self._reason))

    def _hoping(self) -> bool:
        """Tell whether who has not joined yet may be able to run what nobody can who has."""
        return self._expected.more and self._waiting.lacking(self._agents.values())

    def _claim(self, out: list[Instruction]) -> None:
        if self._claims.asked or self._claims.behind(self._unrecorded) or not self._agents or self._hoping():
            return  # small tasks must not take the nodes that large ones need before all have joined
        claim = self._claims.next()
        if claim is None:
            if not self._unlooked or self._handing.in_flight or self._unrecorded or self._claims.open_lanes():
                return
            claim = self._claims.look()
        self._unlooked = False
        self._looked = self._ending.now
        out.append(claim)
