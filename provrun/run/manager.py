"""The manager: the loop that joins the dispatcher, the agents, the keeper and the person at the terminal."""

from __future__ import annotations

import select
import time
from collections.abc import Callable

from provrun.core.dispatcher import Dispatcher
from provrun.core.events import (
    AgentAbsent,
    AgentJoined,
    AgentLost,
    Claim,
    DrainWanted,
    Event,
    Finish,
    Instruction,
    KillTasks,
    MapsSeen,
    RecallTasks,
    Record,
    Recorded,
    Release,
    Send,
    StopAgent,
    StopWanted,
    TasksClaimed,
    TasksReturned,
    TasksRevoked,
    Tick,
    WarnAgent,
)
from provrun.core.messages import (
    Failed,
    FromAgent,
    Joined,
    Key,
    Kill,
    Loaded,
    Recall,
    Results,
    Returned,
    RunMap,
    Start,
    Stop,
    Tasks,
    ToAgent,
    Warn,
)
from provrun.core.records import Claimed
from provrun.core.states import State
from provrun.run import keeper
from provrun.run.agent import AgentLost as AgentGone
from provrun.run.doubts import Doubts
from provrun.run.interrupts import Person
from provrun.run.keeper import Keeper
from provrun.run.links import Local, Remote
from provrun.run.progress import Progress

TICK = 0.2  # seconds between looks at the clock
LOOK = 2.0  # seconds between looks for tasks that somebody has cancelled
RATED = 1.0  # seconds over which the rate shown is measured
QUICK = 0.0002  # seconds after which a remote message is looked for while there is traffic
IDLE = 0.02  # and when there has been none for a while


class Left(Exception):
    """The third signal: everything is dropped as it is."""


class Manager:
    """Runs the tasks of some maps to the end; `run` gives the reason for which it ended, empty if nothing was left.

    ``io`` tells afterwards whether it was that something could not be written.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        keeper: Keeper,
        local: Local,
        *,
        remote: Remote | None = None,
        person: Person,
        progress: Progress,
        watch: Callable[[Progress], None],
        tell: Callable[[str], None],
        suspect: Callable[[int], None] | None = None,
    ) -> None:
        self._dispatcher = dispatcher
        self._keeper = keeper
        self._local = local
        self._remote = remote
        self._person = person
        self._progress = progress
        self._watch = watch
        self._tell = tell
        self._suspect = suspect
        self._level = 0
        self._total = progress.left
        self._rated = 0
        self._rated_at = 0.0
        # Rank and spawner of each agent by its number: one that takes another's place gets a new number.
        self._ranks: list[tuple[int, int]] = []
        self._current: dict[int, int] = {}
        self._maps: dict[int, RunMap] = {}
        self._sent_maps: set[tuple[int, int]] = set()
        self._sent_at: dict[int, float] = {}
        self._reason: str | None = None
        self._loss = ""
        self.io = False
        self._hurrying = False
        self._stopping = False
        self._doubts = Doubts()
        self._captured: set[int] = set()
        self._began = time.monotonic()
        self._epoll = select.epoll()
        self._writing = False

    def run(self) -> str:
        """Run until nothing is left that could run, or somebody or something stops it."""
        epoll = self._epoll
        for fd in (self._keeper.fileno(), self._person.fileno()):
            epoll.register(fd, select.EPOLLIN)
        self._handle(Tick(self._began), self._join_local())
        tick = 0.0
        look = self._began + LOOK
        pause = QUICK
        while self._reason is None:
            busy = bool(epoll.poll(pause if self._remote is not None else TICK))
            self._hear_keeper()
            self._hear_local()
            if self._remote is not None:
                heard = self._remote.receive()
                # All at once: looking for what to do next costs more than taking in one message.
                self._handle(*(event for rank, message in heard for event in self._hear(rank, message)))
                pause = QUICK if busy or heard else min(2 * pause, IDLE)
            self._obey_person()
            if self._dispatcher.stopping and not self._stopping:
                self._stopping = True
                self._keeper.order(keeper.NoMore())
            self._handle(*self._doubts.due(time.monotonic()))
            if self._dispatcher.starving != self._hurrying:
                self._hurrying = not self._hurrying
                self._keeper.order(keeper.Hurry(self._hurrying))
            now = time.monotonic()
            if now >= tick:
                tick = now + TICK
                self._handle(Tick(now))
                self._show(now)
                if self._remote is not None and self._suspect is not None:
                    for rank in self._remote.silent():
                        self._suspect(rank)
                if now >= look:
                    look = now + LOOK
                    self._keeper.order(keeper.Look())
        self._show(time.monotonic())
        # Why there is no agent any more is more than that there is none.
        return f"{self._reason}: {self._loss}" if self._loss and not self._current else self._reason

    @property
    def names(self) -> dict[int, str]:
        """Give the names of the maps that it has had tasks of."""
        return {map.map: map.name for map in self._maps.values()}

    # What is heard

    def _hear_keeper(self) -> None:
        for answer in self._keeper.answers():
            match answer:
                case keeper.Taken():
                    self._maps.update((map.map, map) for map in answer.maps)
                    self._handle(TasksClaimed(answer.tasks))
                case keeper.Kept():
                    self._count(answer)
                    self._handle(Recorded(answer.attempts, answer.promoted))
                case keeper.Held():
                    self._drop_revoked(answer.tasks)
                case keeper.Seen():
                    self._see(answer)
                case keeper.Told():
                    self._tell(answer.text)
                case keeper.Broken():
                    raise keeper.raised(answer.error) from answer.error

    def _see(self, seen: keeper.Seen) -> None:
        self._total += seen.grown
        if seen.policies:
            changed = {map.map: map for map in seen.changed}
            self._maps.update(changed)
            self._sent_maps = {sent for sent in self._sent_maps if sent[1] not in changed}
            self._handle(MapsSeen(seen.policies))

    def _drop_revoked(self, held: set[Key]) -> None:
        known = ((task.map, task.index, task.number) for task in self._dispatcher.claimed())
        revoked = [key for key in known if key not in held]
        if revoked:
            self._handle(TasksRevoked(revoked))

    def _hear_local(self) -> None:
        if 0 not in self._current:
            return  # given up
        agent = self._local.agent
        try:
            messages = agent.pump()
        except AgentGone as gone:
            self._replace_local(gone)
            return
        self._handle(*(event for message in messages for event in self._hear(0, message)))
        writing = agent.wants_write
        if writing != self._writing:
            self._writing = writing
            self._epoll.modify(agent.fileno(), select.EPOLLIN | (select.EPOLLOUT if writing else 0))

    def _replace_local(self, gone: AgentGone) -> None:
        self._epoll.unregister(self._local.agent.fileno())
        self._writing = False
        number = self._current.pop(0)
        goes_on = not self._dispatcher.stopping and not gone.io and self._local.replace()
        joined = [self._join_local()] if goes_on else []
        # At once: nothing must be handed to the new one in the name of the old one.
        self._handle(*joined, *self._lose(number, gone.message, gone.io))

    def _hear(self, rank: int, message: FromAgent) -> tuple[Event, ...]:
        number = self._current.get(rank)
        match message:
            case Results() if number is not None:
                return self._doubts.sort(number, message.results, time.monotonic())
            case Returned() if number is not None:
                return (TasksReturned(number, message.tasks, message.started, message.recalled),)
            case Joined() if rank != 0:
                return (self._join(rank, message),)
            case Loaded() if number is not None:
                self._keeper.order(keeper.Hello(number, rank, message))
            case Failed() if number is not None:
                del self._current[rank]
                return self._lose(number, f"rank {rank}: {message.reason}", message.io)
            case Failed():
                self._tell(f"rank {rank} takes no part: {message.reason}")
                return (AgentAbsent(),)
        return ()

    def _join(self, rank: int, message: Joined) -> Event:
        number = len(self._ranks)
        self._ranks.append((rank, message.spawner))
        self._current[rank] = number
        self._keeper.order(keeper.Hello(number, rank, message))
        return AgentJoined(number, message.slots, message.node, message.gpus, message.memory)

    def _join_local(self) -> Event:
        # Without waiting for its word: it reads what it is sent as soon as it can, and what it would say is known.
        self._epoll.register(self._local.agent.fileno(), select.EPOLLIN)
        return self._join(0, self._local.agent.joined)

    def _lose(self, number: int, reason: str, io: bool) -> tuple[Event, ...]:
        held = [(task.map, task.index, task.number) for task in self._dispatcher.held(number)]
        if not io:
            self._loss = reason
            self._tell(f"{reason}; tasks in flight that are lost and will run again: {len(held)}")
            return (AgentLost(number),)
        # No task's fault, and none can be kept as long as it is so.
        self.io = True
        self._tell(f"{reason}; tasks in flight that go back to pending: {len(held)}")
        return StopWanted(reason), TasksReturned(number, held, True), AgentLost(number)

    def _obey_person(self) -> None:
        if self._person.gone:
            return
        level = self._person.read()
        if self._person.gone:
            self._epoll.unregister(self._person.fileno())
        if level == self._level:
            return
        self._level = level
        if level == 1:
            self._tell(self._farewell())
            self._handle(DrainWanted(self._person.why))
        elif level == 2:
            self._tell("tasks that run go back to pending; once more leaves at once")
            self._doubts.stop()
            self._handle(StopWanted(self._person.why))
        else:
            raise Left

    def _farewell(self) -> str:
        n = self._dispatcher.in_flight
        if not n:
            return "nothing is in flight, ending"
        now = time.monotonic()
        longest = 0.0
        for map in {task.map for task in self._dispatcher.held()}:
            seconds = self._dispatcher.duration(map)
            if seconds is None:
                longest = -1.0
                break
            longest = max(longest, seconds - (now - self._sent_at[map]))
        remaining = "unknown time" if longest < 0 else f"about {longest:.1f} s"
        tasks = "task" if n == 1 else "tasks"
        return (
            f"starting nothing more; {n} {tasks} in flight, the longest needs {remaining} more;"
            " once more gives them back to pending"
        )

    # What is done

    def _handle(self, *events: Event) -> None:
        if events:
            for instruction in self._dispatcher.handle(*events):
                self._do(instruction)

    def _do(self, instruction: Instruction) -> None:
        match instruction:
            case Send():
                self._send_tasks(instruction.agent, instruction.tasks, instruction.hosts)
            case Record() | Claim():
                self._keeper.order(instruction)
            case Release():
                self._keeper.order(keeper.Release(instruction.tasks))
            case StopAgent():
                self._send(instruction.agent, Stop(instruction.now))
            case WarnAgent():
                self._send(instruction.agent, Warn(instruction.seconds))
            case KillTasks():
                self._send(instruction.agent, Kill(instruction.tasks))
            case RecallTasks():
                self._send(instruction.agent, Recall(instruction.tasks, instruction.most))
            case Finish():
                self._reason = instruction.reason

    def _send_tasks(self, number: int, tasks: list[Claimed], hosts: tuple[str, ...]) -> None:
        map = tasks[0].map
        if (number, map) not in self._sent_maps:
            self._sent_maps.add((number, map))
            self._send(number, self._maps[map])
        self._sent_at[map] = time.monotonic()
        starts = [
            Start(task.map, task.index, task.number, task.params, task.upstream, task.limits, task.reads, hosts)
            for task in tasks
        ]
        self._send(number, Tasks(starts))
        if map not in self._captured:
            # Only now: the first task must not wait until the code has been looked at.
            self._captured.add(map)
            self._local.agent.flush()
            self._keeper.order(keeper.Capture(map))

    def _send(self, number: int, message: ToAgent) -> None:
        rank, spawner = self._ranks[number]
        if rank == 0:
            self._local.agent.send(message)
        elif self._remote is not None:
            self._remote.send(rank, spawner, message)

    # What is shown

    def _count(self, kept: keeper.Kept) -> None:
        progress = self._progress
        states = kept.states
        progress.succeeded += states.get(State.SUCCEEDED, 0)
        progress.failed += states.get(State.FAILED, 0)
        progress.cancelled += states.get(State.CANCELLED, 0)
        progress.lost += kept.lost
        progress.noresult += kept.noresult
        progress.reused += kept.reused

    def _show(self, now: float) -> None:
        progress = self._progress
        seconds = now - self._began
        ended = progress.ended
        progress.in_flight = self._dispatcher.in_flight
        progress.left = max(0, self._total - ended)
        progress.draining = self._dispatcher.stopping
        if seconds - self._rated_at >= RATED:
            rate = (ended - self._rated) / (seconds - self._rated_at)
            progress.rate = rate if not self._rated_at else progress.rate + (rate - progress.rate) / 4
            self._rated, self._rated_at = ended, seconds
        progress.seconds = seconds
        self._watch(progress)
