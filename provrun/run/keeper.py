"""The keeper: the thread that claims from the registry and records into it, so that a commit never stops the manager.

It takes orders of any number at once: what has gathered while one transaction was being written goes into the next.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue

import msgspec

from provrun.core.code import CapturedCode
from provrun.core.environment import Environment, Host
from provrun.core.events import Claim, Record, Verdict, ended_as
from provrun.core.messages import Joined, Key, Loaded, RunMap
from provrun.core.records import Claimed, Ended, MapRecord, Policy
from provrun.core.states import Outcome, State
from provrun.errors import DatabaseAway, JobOver, ProvrunError
from provrun.ports import Claims, Recorder
from provrun.run.appearing import Appearing
from provrun.run.contexts import Contexts
from provrun.run.taking import Reusable, take, with_rows

MANY = 5000  # attempts that are worth a transaction
MOST = 10_000  # attempts in one transaction
LINGER, LONGEST = 0.2, 5.0  # seconds between transactions while nobody waits, five times as long as one takes


class Release(msgspec.Struct, frozen=True):
    tasks: list[Key]


class Hello(msgspec.Struct, frozen=True):
    """What an agent said of itself."""

    agent: int
    rank: int
    message: Joined | Loaded


class Hurry(msgspec.Struct, frozen=True):
    """Slots are idle, so record at once: more tasks may become ready by it; or no more so."""

    on: bool


class Look(msgspec.Struct, frozen=True):
    """Look which tasks the job holds in the registry."""


class NoMore(msgspec.Struct, frozen=True):
    """Nothing more is started: a claim that waits is answered with nothing."""


class Capture(msgspec.Struct, frozen=True):
    """Capture the code of a map and its software."""

    map: int


class Captured(msgspec.Struct, frozen=True):
    map: int
    code: CapturedCode
    environment: Environment
    host: Host


class Broken(msgspec.Struct, frozen=True):
    """Something failed for good; the manager gives up and raises it."""

    error: Exception


class Close(msgspec.Struct, frozen=True):
    """Close the job when all that has been ordered is done."""

    state: str
    reason: str


class Leave(msgspec.Struct, frozen=True):
    """Stop where it is: what can be recorded is, and the job stays as it stands."""


Order = Claim | Record | Release | Hello | Hurry | Look | NoMore | Capture | Captured | Broken | Close | Leave


class Taken(msgspec.Struct, frozen=True):
    """Tasks claimed, and what agents need to know of maps that had none before."""

    tasks: list[Claimed]
    maps: list[RunMap]


class Kept(msgspec.Struct, frozen=True):
    """Attempts recorded, or results reused: how many, how many tasks became pending, how the others ended."""

    attempts: int
    promoted: int
    states: dict[State, int]
    lost: int
    noresult: int
    reused: int = 0


class Held(msgspec.Struct, frozen=True):
    """The tasks the job holds; all that was taken before this answer and is not among them was taken away."""

    tasks: set[Key]


class Seen(msgspec.Struct, frozen=True):
    """Maps that have appeared or are run otherwise now: their policies, and what agents must know anew of known ones.

    ``grown`` counts the tasks that there are more of than at the last look.
    """

    policies: dict[int, Policy]
    changed: list[RunMap]
    grown: int


class Told(msgspec.Struct, frozen=True):
    """Something the user should know."""

    text: str


Answer = Taken | Kept | Held | Seen | Told | Broken


class Keeper:
    """Runs the orders of a manager on the registry; `fileno` is readable when there are answers.

    ``names`` are those of the maps that were asked for (none: all of them), ``maps`` the maps there were at the start.
    ``rows`` gives the files with the rows that a task of a reduce reads, by the names of the maps they are of.
    ``forget`` removes checkpoints of tasks: by map name and index, those up to a number; ``reusable``: see `taking`.
    """

    def __init__(
        self,
        registry: Claims,
        job: int,
        names: Sequence[str],
        maps: list[MapRecord],
        recorder: Recorder,
        rows: Callable[[Claimed], Mapping[str, str]],
        forget: Callable[[Mapping[tuple[str, int], int]], None],
        reusable: Reusable,
    ) -> None:
        self._registry = registry
        self._reusable = reusable
        self._rows = rows
        self._forget = forget
        self._job = job
        self._recorder = recorder
        self._orders: SimpleQueue[Order] = SimpleQueue()
        self._answers: deque[Answer] = deque()
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._captures: SimpleQueue[int | None] = SimpleQueue()
        self._contexts = Contexts(registry, job, maps, self._captures.put, self._tell, recorder.differing)
        self._waiting: list[tuple[int, Verdict]] = []
        self._uncaptured: list[tuple[int, Verdict]] = []
        self._wanted: Claim | None = None
        self._claimed: list[Claimed] = []
        self._no_more = False
        self._released: list[Key] = []
        self._hurry = False
        self._end: Close | Leave | None = None
        self._due = 0.0
        self._maps: dict[int, RunMap] = {}
        self._appearing = Appearing(registry, names, maps)
        self._threads = [
            threading.Thread(target=self._guarded, args=(work,), name=f"provrun-{work.__name__}", daemon=True)
            for work in (self._keep, self._capture)
        ]

    # The manager's side

    def start(self) -> None:
        """Begin to obey orders."""
        for thread in self._threads:
            thread.start()

    def order(self, order: Order) -> None:
        """Hand over something to do."""
        self._orders.put(order)

    def fileno(self) -> int:
        """Give the descriptor to poll."""
        return self._bell

    def answers(self) -> list[Answer]:
        """Give the answers that are there."""
        try:
            os.eventfd_read(self._bell)
        except BlockingIOError:
            return []
        given = []
        while self._answers:
            given.append(self._answers.popleft())
        return given

    def tell(self, text: str) -> None:
        """Tell the person something, from the thread that writes."""
        self._tell(text)

    def join(self, timeout: float | None = None) -> None:
        """Wait for the end of the thread that writes."""
        self._threads[0].join(timeout)

    # The thread's side

    def _answer(self, answer: Answer) -> None:
        self._answers.append(answer)
        os.eventfd_write(self._bell, 1)

    def _tell(self, text: str) -> None:
        self._answer(Told(text))

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # a thread's error must reach the manager, whatever it is
            self._answer(Broken(error))

    def _capture(self) -> None:
        """Look at code and software, in a thread of its own: a large repository takes its time."""
        recorder = self._recorder
        host: Host | None = None
        while (map := self._captures.get()) is not None:
            code = recorder.capture_code(map)
            host = host or recorder.capture_host()
            self._orders.put(Captured(map, code, recorder.capture_environment(map), host))

    def _keep(self) -> None:
        while self._end is None:
            if not self._waiting:
                self._take(self._orders.get())
            self._gather()
            self._act()

    def _gather(self) -> None:
        """Take in what else is there; without anybody waiting, give a transaction the time to become large."""
        while not self._orders.empty() or self._may_wait():
            with suppress(Empty):
                self._take(self._orders.get(timeout=max(0.0, self._due - time.monotonic())))

    def _may_wait(self) -> bool:
        urgent = self._hurry or self._wanted is not None or self._released or self._end is not None
        return not urgent and 0 < len(self._waiting) < MANY and time.monotonic() < self._due

    def _take(self, order: Order) -> None:
        match order:
            case Record():
                self._waiting += [(order.agent, verdict) for verdict in order.verdicts]
            case Claim():
                self._wanted = order
            case Release():
                self._released += order.tasks
            case Hurry():
                self._hurry = order.on
            case Hello():
                self._greet(order)
            case Look():
                with suppress(DatabaseAway):
                    self._look_for_maps()
                    self._answer(Held(set(self._registry.held(self._job))))
            case NoMore():
                self._no_more = True
            case Capture():
                self._contexts.capture(order.map)
            case Captured():
                self._contexts.host(order.host)
                self._contexts.captured(order.map, order.code, order.environment, _now(), time.monotonic())
                self._waiting, self._uncaptured = self._uncaptured + self._waiting, []
            case Close() | Leave():
                self._end = order
            case Broken():
                raise order.error

    def _act(self) -> None:
        """Carry out what has gathered: what is released first may be claimed, and claims do not wait for records."""
        if self._released:
            self._registry.release(self._job, self._released)
            self._released = []
        over: JobOver | None = None
        if self._wanted is not None and self._end is None:
            try:
                self._claim(self._wanted)
            except JobOver as error:
                over = error
            except DatabaseAway:
                pass  # tried again at the next order: there is one every few seconds
            else:
                self._wanted = None
        if self._waiting and (over is not None or not self._may_wait()):
            self._record()
        if over is not None:
            raise over  # what it had to tell is written down; what it holds is others' by now
        if self._end is not None:
            self._captures.put(None)
        if isinstance(self._end, Close):
            self._registry.close_job(self._job, self._end.state, self._end.reason, _now())

    def _greet(self, hello: Hello) -> None:
        if isinstance(hello.message, Joined):
            self._contexts.joined(hello.agent, hello.rank, hello.message)
        else:
            self._contexts.loaded(hello.agent, hello.message, time.monotonic())

    def _look_for_maps(self) -> None:
        """Tell of maps that have appeared, and of those that are run otherwise."""
        found = self._appearing.look()
        if found is None:
            return
        if found.maps:
            self._contexts.learn(found.maps)
            self._recorder.learn(found.maps)
        changed = [self._run_map(map.id) for map in found.maps if map.id in self._maps]
        self._maps.update((map.map, map) for map in changed)
        # Not before: the database may go away in the midst of it.
        self._appearing.take_in(found)
        if found.maps or found.grown:
            self._answer(Seen({map.id: map.policy for map in found.maps}, changed, found.grown))

    def _claim(self, claim: Claim) -> None:
        if self._no_more:
            if self._claimed:
                self._registry.release(self._job, [(task.map, task.index, task.number) for task in self._claimed])
                self._claimed = []
            self._answer(Taken([], []))
            return
        self._look_for_maps()
        if not self._claimed:  # else the database went away before all was known that the tasks need
            take(
                self._registry, self._job, claim, self._claimed, self._reusable,
                lambda taken: self._answer(Kept(0, taken.promoted, {}, 0, 0, len(taken.tasks))),
            )
        tasks = self._claimed
        new = [self._run_map(map) for map in sorted({task.map for task in tasks} - self._maps.keys())]
        self._maps.update((map.map, map) for map in new)
        tasks = [with_rows(task, self._rows(task)) if self._maps[task.map].reduces else task for task in tasks]
        self._claimed = []
        self._answer(Taken(tasks, new))

    def _run_map(self, map: int) -> RunMap:
        return self._contexts.pinned(self._registry.run_map(map))

    def _record(self) -> None:
        ready: list[Ended] = []
        ran = [(v[1].map, agent, v[1].loaded, v[1].loaded_after) for agent, v in self._waiting]
        contexts = self._contexts.resolve(ran)
        for waiting, key in zip(self._waiting, ran, strict=True):
            context = contexts.get(key)
            if context is None:
                self._uncaptured.append(waiting)
            else:
                ready.append(ended_as(waiting[1], context))
        self._waiting, began = [], time.monotonic()
        for start in range(0, len(ready), MOST):
            self._write(ready[start : start + MOST])
        self._due = (now := time.monotonic()) + min(LONGEST, max(LINGER, 5 * (now - began)))

    def _write(self, ended: list[Ended]) -> None:
        promoted = self._registry.record(self._job, ended)
        self._forget_checkpoints(ended)
        states: dict[State, int] = {}
        for one in ended:
            states[one.state] = states.get(one.state, 0) + 1
        lost = sum(one.outcome is Outcome.LOST for one in ended)
        noresult = sum(one.state is State.SUCCEEDED and one.result_digest is None for one in ended)
        self._answer(Kept(len(ended), promoted, states, lost, noresult))

    def _forget_checkpoints(self, ended: list[Ended]) -> None:
        keeping = {map.id: map.name for map in self._appearing.maps if map.policy.checkpoint}
        if keeping:
            done = {
                (keeping[one.map], one.index): one.number for one in ended if one.map in keeping and one.state in _DONE
            }
            if done:
                self._forget(done)


_DONE = (State.SUCCEEDED, State.CANCELLED)


def _now() -> int:
    return time.time_ns() // 1000


def raised(error: Exception) -> Exception:
    """Give the error to raise in the manager's thread for one of the keeper's."""
    return error if isinstance(error, ProvrunError | OSError) else RuntimeError(f"the keeper failed: {error!r}")
