"""The registry: what submissions, runs and changes ask of the database; questions go to `reads.Reads`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from provrun.store import (
    accepting,
    changes,
    claiming,
    ddl,
    integrity,
    interning,
    jobs,
    lookups,
    migrations,
    reading,
    recording,
    reusing,
    submitting,
)
from provrun.store.database import Database, connect

if TYPE_CHECKING:
    from provrun.core.answers import Shown
    from provrun.core.code import CapturedCode
    from provrun.core.environment import Environment, Host
    from provrun.core.messages import RunMap
    from provrun.core.records import (
        Added,
        Claimed,
        Context,
        Ended,
        JobRecord,
        MapRecord,
        MapSpec,
        Match,
        Origins,
        Policy,
        Recipe,
        Sought,
        Submitter,
        TakenOver,
        TaskRecord,
    )
    from provrun.core.states import State


class Registry:
    """One connection to a registry; used by one thread at a time. The statements stand in the modules around."""

    def __init__(self, database: Database) -> None:
        self.database = database
        database.guarded = True

    @classmethod
    def create(cls, url: str) -> Registry:
        """Make an empty registry at ``url`` and open it; refuse if there is one."""
        from uuid import uuid4

        database = connect(url, create=True)
        try:
            with database.writing():
                migrations.require_none(database, url)
                for statement in ddl.statements(database.dialect):
                    database.run(statement)
                database.insert("registry", ("id", "uuid"), [(1, str(uuid4()))])
        except BaseException:
            database.close()
            raise
        return cls(database)

    @classmethod
    def open(cls, url: str, *, readonly: bool = False) -> Registry:
        """Open the registry at ``url``; `Unavailable` if there is none, or one of another revision."""
        database = connect(url, readonly=readonly)
        try:
            migrations.require_head(database, url)
        except BaseException:
            database.close()
            raise
        return cls(database)

    @property
    def uuid(self) -> str:
        """The registry's own name, unique in the world."""
        return str(self.database.fetch("select uuid from registry")[0][0])

    def close(self) -> None:
        """Close the connection."""
        self.database.close()

    def check(self) -> list[str]:
        """Give the problems found in the registry, in words; none if it is sound."""
        return integrity.check(self.database)

    # Interning

    def intern_code(self, captured: CapturedCode, at: int) -> int:
        return interning.code(self.database, captured, at)

    def intern_environment(self, environment: Environment, at: int) -> int:
        return interning.environment(self.database, environment, at)

    def intern_host(self, host: Host) -> int:
        return interning.host(self.database, host)

    def intern_uses(self, uses: Mapping[str, object]) -> int:
        return interning.uses(self.database, uses)

    def intern_inputs(self, inputs: Sequence[tuple[str, str, int]]) -> int:
        return interning.inputs(self.database, inputs)

    def intern_context(self, context: Context) -> int:
        return interning.context(self.database, context)

    def intern_contexts(self, contexts: Sequence[Context]) -> list[int]:
        with self.database.writing():
            return [interning.context(self.database, context) for context in contexts]

    # Submissions

    def submit(
        self, spec: MapSpec, texts: Iterable[str], *, distinct: bool, code: int, environment: int, at: int,
        by: Submitter | None = None,
    ) -> Added:
        return submitting.submit(
            self.database, spec, texts, distinct=distinct, code=code, environment=environment, at=at, by=by
        )

    # Claims

    def queue_job(self, job: JobRecord) -> int:
        return jobs.queue_job(self.database, job)

    def open_job(self, job: JobRecord) -> int:
        return jobs.open_job(self.database, job)

    def close_job(self, job: int, state: str, reason: str, at: int) -> None:
        jobs.close_job(self.database, job, state, reason, at)

    def running_jobs(self) -> list[JobRecord]:
        return jobs.running_jobs(self.database)

    def queued_jobs(self) -> list[JobRecord]:
        return jobs.queued_jobs(self.database)

    def abandon(self, job: int, at: int) -> int:
        return jobs.abandon(self.database, job, at)

    def held(self, job: int) -> list[tuple[int, int, int]]:
        return jobs.held(self.database, job)

    def select_maps(self, names: Sequence[str], *, submitted: bool = False) -> list[MapRecord]:
        return lookups.select_maps(self.database, names, submitted=submitted)

    def maps_stamp(self) -> object:
        return lookups.maps_stamp(self.database)

    def run_map(self, map: int) -> RunMap:
        return lookups.run_map(self.database, map)

    def submitted_code(self, map: int) -> tuple[int, CapturedCode]:
        return lookups.submitted_code(self.database, map)

    def claim(
        self, job: int, maps: Sequence[int], limit: int, above: int | None = None,
        avoid: Sequence[tuple[int, int]] = (),
    ) -> list[Claimed]:
        return claiming.claim(self.database, job, maps, limit, above, avoid)

    def record(self, job: int, ended: Sequence[Ended]) -> int:
        return recording.record(self.database, job, ended)

    def release(self, job: int, tasks: Sequence[tuple[int, int, int]]) -> None:
        claiming.release(self.database, job, tasks)

    def read_by(self, map: int, index: int) -> list[tuple[MapRecord, Iterator[Shown]]]:
        return reading.read_by(self.database, map, index)

    # Reuse

    def matching(self, map: int, origins: Sequence[Origins], sought: Sequence[Sought] | None = None) -> list[Match]:
        return reusing.matching(self.database, map, origins, sought)

    def take_over(self, map: int, job: int | None, matches: Sequence[Match]) -> TakenOver:
        return reusing.take_over(self.database, map, job, matches)

    # Changes

    def retry(self, map: int, tasks: Iterable[int] | None, *, time: float | None, memory: float | None) -> int:
        return changes.retry(self.database, map, tasks, time=time, memory=memory)

    def rerun(self, map: int, tasks: Iterable[int] | None) -> int:
        return changes.rerun(self.database, map, tasks)

    def accept(
        self, map: int, tasks: Iterable[int] | None, *, contexts: Sequence[int], covers: Sequence[accepting.Cover],
        code: int, user: str, reason: str, at: int,
    ) -> int:
        return accepting.accept(
            self.database, map, tasks, contexts=contexts, covers=covers, code=code, user=user, reason=reason, at=at
        )

    def cancel(self, map: int, tasks: Iterable[int] | None) -> int:
        return changes.cancel(self.database, map, tasks)

    def pause(self, map: int, paused: bool) -> None:
        changes.pause(self.database, map, paused)

    def set_policy(self, map: int, policy: Policy) -> None:
        changes.set_policy(self.database, map, policy)

    def set_recipe(self, map: int, recipe: Recipe, own: Sequence[str]) -> None:
        changes.set_recipe(self.database, map, recipe, own)

    def set_tags(self, map: int, tags: Mapping[str, str]) -> None:
        changes.set_tags(self.database, map, tags)

    def set_priority(self, map: int, tasks: Iterable[int] | None, priority: int) -> int:
        return changes.set_priority(self.database, map, tasks, priority)

    def delete(self, map: int) -> int:
        return changes.delete(self.database, map)

    # Lookups

    def find_map(self, name: str) -> MapRecord | None:
        return lookups.find_map(self.database, name)

    def map_names(self) -> list[str]:
        return lookups.map_names(self.database)

    def maps(self) -> list[MapRecord]:
        return lookups.maps(self.database)

    def task(self, map: int, index: int) -> TaskRecord | None:
        return lookups.task(self.database, map, index)

    def tasks(self, map: int, state: State | None = None, start: int = 0) -> Iterator[TaskRecord]:
        return lookups.tasks(self.database, map, state, start)
