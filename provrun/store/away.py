"""A registry whose database may be away for a while: nothing that tasks give is lost, and no job ends by it.

What is recorded meanwhile goes into the job's outbox, claims are to be tried again. When the database is back the
outbox is folded in, what was claimed and never answered is given back, and all goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from provrun.errors import DatabaseAway, Unavailable
from provrun.store import operations, outbox
from provrun.store.outbox import Outbox, Step

if TYPE_CHECKING:
    from provrun.core.answers import Shown
    from provrun.core.code import CapturedCode
    from provrun.core.environment import Environment, Host
    from provrun.core.messages import RunMap
    from provrun.core.records import Claimed, Context, Ended, JobRecord, MapRecord, Match, TakenOver
    from provrun.store.registry import Registry

Result = TypeVar("Result")
Key = tuple[int, int, int]

FIRST_PAUSE = 0.25  # seconds between the first two looks whether the database is back
LONGEST_PAUSE = 5.0


class Patient:
    """The registry as the manager of one job uses it; see `ports.Claims`. ``job`` is its uuid, ``folder`` that of logs.

    Ids given while the database is away are negative, and are understood here ever after. Whoever uses it says by
    ``tell`` whom to tell that the database is away or back.
    """

    def __init__(self, registry: Registry, folder: Path, job: str) -> None:
        self._registry = registry
        self._folder = folder
        self._uuid = job
        self.tell: Callable[[str], None] = lambda text: None
        self._outbox = Outbox(folder, job)
        self._job: int | None = None
        self._mine: set[Key] = set()
        self._ids: dict[int, int] = {}
        self._unwritten: list[Step] = []
        self._names = 0
        self._kept = 0
        self._promoted = 0
        self._since: float | None = None
        self._told = False
        self._next_try = 0.0
        self._pause = FIRST_PAUSE

    @property
    def away(self) -> bool:
        """Tell whether the database is away, as far as is known."""
        return self._since is not None

    @property
    def place(self) -> Path:
        """Where the outbox lies."""
        return self._outbox.folder

    # Asking

    def ask(self, call: Callable[[], Result]) -> Result:
        """Ask the database something; `DatabaseAway` if it does not answer."""
        return self._ask(lambda registry: call())

    def _ask(self, call: Callable[[Registry], Result]) -> Result:
        """Ask the database; `DatabaseAway` if it does not answer, after one more try over a new connection."""
        if self._since is None:
            try:
                return call(self._registry)
            except Unavailable:
                self._since = self._next_try = time.monotonic()
                self._pause = FIRST_PAUSE
        if time.monotonic() < self._next_try:
            raise DatabaseAway("the database is away")
        try:
            self._registry.database.again()
            self._settle()
            answer = call(self._registry)
        except Unavailable as error:
            self._wait_longer()
            if not self._told:
                self._told = True
                self.tell(
                    f"the database is away ({error.message.splitlines()[0]}): what tasks give is kept in {self.place},"
                    " and nothing new is claimed until it is back"
                )
            raise DatabaseAway(error.message) from error
        self._welcome()
        return answer

    def _welcome(self) -> None:
        assert self._since is not None
        if self._told:
            self.tell(
                f"the database is back after {time.monotonic() - self._since:.0f} s; results that were kept and are"
                f" recorded now: {self._kept}"
            )
        self._since = None
        self._told = False
        self._kept = 0

    def _wait_longer(self) -> None:
        self._next_try = time.monotonic() + self._pause
        self._pause = min(LONGEST_PAUSE, 2 * self._pause)

    def _settle(self) -> None:
        """Fold the outbox in, name what was interned meanwhile, give back what a lost answer had claimed."""
        registry = self._registry
        if not self._outbox.empty:
            folded = outbox.fold(registry, self._folder, self._uuid)
            if folded.stuck:
                self.tell(f"{folded.stuck}: the tasks whose results it held run again")
            self._ids |= folded.ids
            self._promoted += folded.promoted
        for name, operation in self._unwritten:
            self._ids[name] = outbox.made(registry, outbox.with_ids(operation, self._ids))
        self._unwritten = []
        if self._job is not None:
            strays = [key for key in registry.held(self._job) if key not in self._mine]
            if strays:
                registry.release(self._job, strays)

    # Interning

    def _intern(self, operation: operations.Every) -> int:
        try:
            return self._ask(lambda registry: outbox.made(registry, outbox.with_ids(operation, self._ids)))
        except DatabaseAway:
            self._names -= 1
            self._unwritten.append((self._names, outbox.with_ids(operation, self._ids)))
            return self._names

    def intern_code(self, captured: CapturedCode, at: int) -> int:
        return self._intern(operations.InternCode(captured, at))

    def intern_environment(self, environment: Environment, at: int) -> int:
        return self._intern(operations.InternEnvironment(environment, at))

    def intern_host(self, host: Host) -> int:
        return self._intern(operations.InternHost(host))

    def intern_uses(self, uses: Mapping[str, object]) -> int:
        return self._intern(operations.InternUses(operations.uses_text(dict(uses))))

    def intern_inputs(self, inputs: Sequence[tuple[str, str, int]]) -> int:
        return self._intern(operations.InternInputs(tuple(inputs)))

    def intern_context(self, context: Context) -> int:
        return self._intern(operations.InternContext(context))

    def intern_contexts(self, contexts: Sequence[Context]) -> list[int]:
        return [self.intern_context(context) for context in contexts]

    # What a job gives

    def _give(self, operation: operations.Every, keys: Sequence[Key]) -> int:
        """Do an operation, or put it into the outbox; give how many tasks became pending."""
        promoted = 0
        try:
            done = self._ask(lambda registry: outbox.with_ids(operation, self._ids).on(registry))
            promoted = done if isinstance(done, int) else 0
        except DatabaseAway:
            self._outbox.put([*self._unwritten, (0, outbox.with_ids(operation, self._ids))])
            self._unwritten = []
            self._kept += len(keys) if isinstance(operation, operations.Record) else 0
        self._mine.difference_update(keys)
        promoted += self._promoted
        self._promoted = 0
        return promoted

    def record(self, job: int, ended: Sequence[Ended]) -> int:
        keys = [(one.map, one.index, one.number) for one in ended]
        return self._give(operations.Record(job, tuple(ended)), keys)

    def release(self, job: int, tasks: Sequence[Key]) -> None:
        self._give(operations.Release(job, tuple(tasks)), tasks)

    def close_job(self, job: int, state: str, reason: str, at: int) -> None:
        self._give(operations.CloseJob(job, state, reason, at), ())
        if self._since is None and not self._outbox.empty:
            outbox.remove(self._folder, self._uuid)

    # What a job takes

    def claim(
        self, job: int, maps: Sequence[int], limit: int, above: int | None = None,
        avoid: Sequence[tuple[int, int]] = (),
    ) -> list[Claimed]:
        claimed = self._ask(lambda registry: registry.claim(job, maps, limit, above, avoid))
        self._mine.update((task.map, task.index, task.number) for task in claimed)
        return claimed

    def take_over(self, map: int, job: int | None, matches: Sequence[Match]) -> TakenOver:
        taken = self._ask(lambda registry: registry.take_over(map, job, matches))
        self._mine.difference_update((map, index, 1) for index in taken.tasks)
        return taken

    def open_job(self, job: JobRecord) -> int:
        self._job = self._registry.open_job(job)
        return self._job

    def queue_job(self, job: JobRecord) -> int:
        return self._registry.queue_job(job)

    def held(self, job: int) -> list[Key]:
        return self._ask(lambda registry: registry.held(job))

    def select_maps(self, names: Sequence[str], *, submitted: bool = False) -> list[MapRecord]:
        return self._ask(lambda registry: registry.select_maps(names, submitted=submitted))

    def maps_stamp(self) -> object:
        return self._ask(lambda registry: registry.maps_stamp())

    def run_map(self, map: int) -> RunMap:
        return self._ask(lambda registry: registry.run_map(map))

    def submitted_code(self, map: int) -> tuple[int, CapturedCode]:
        return self._ask(lambda registry: registry.submitted_code(map))

    def read_by(self, map: int, index: int) -> list[tuple[MapRecord, Iterator[Shown]]]:
        return self._ask(lambda registry: registry.read_by(map, index))

    def running_jobs(self) -> list[JobRecord]:
        return self._ask(lambda registry: registry.running_jobs())

    def queued_jobs(self) -> list[JobRecord]:
        return self._ask(lambda registry: registry.queued_jobs())

    def abandon(self, job: int, at: int) -> int:
        return self._ask(lambda registry: registry.abandon(job, at))
