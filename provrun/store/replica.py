"""A replica: what `Registry` has, each change through the log where one is open; see `following`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from provrun.store import operations
from provrun.store.database import LogIsOpen
from provrun.store.following import Follower

if TYPE_CHECKING:
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
    from provrun.store.accepting import Cover


class Replica(Follower):
    """A registry, changed directly as long as no log is open, and through the log as long as one is."""

    # Changes

    def intern_code(self, captured: CapturedCode, at: int) -> int:
        return self._change(operations.InternCode(captured, at))

    def intern_environment(self, environment: Environment, at: int) -> int:
        return self._change(operations.InternEnvironment(environment, at))

    def intern_host(self, host: Host) -> int:
        return self._change(operations.InternHost(host))

    def intern_uses(self, uses: Mapping[str, object]) -> int:
        return self._change(operations.InternUses(operations.uses_text(dict(uses))))

    def intern_inputs(self, inputs: Sequence[tuple[str, str, int]]) -> int:
        return self._change(operations.InternInputs(tuple(inputs)))

    def intern_context(self, context: Context) -> int:
        return self._change(operations.InternContext(context))

    def intern_contexts(self, contexts: Sequence[Context]) -> list[int]:
        return self._change(operations.InternContexts(tuple(contexts)))

    def submit(
        self, spec: MapSpec, texts: Iterable[str], *, distinct: bool, code: int, environment: int, at: int,
        by: Submitter | None = None,
    ) -> Added:
        if self._log is None:
            try:
                # As a stream. Where a log is open this is found out before the first of them is taken.
                return self._direct.submit(
                    spec, texts, distinct=distinct, code=code, environment=environment, at=at, by=by
                )
            except LogIsOpen as found:
                self._attach(found.uuid)
        return self._through(
            operations.Submit(
                operations.without_recipe(spec), operations.recipe_text(spec.recipe), operations.packed(texts),
                distinct, code, environment, at, by,
            )
        )

    def queue_job(self, job: JobRecord) -> int:
        return self._change(operations.QueueJob(job))

    def open_job(self, job: JobRecord) -> int:
        id = self._change(operations.OpenJob(job))
        self._live(id, job.uuid)
        return id

    def close_job(self, job: int, state: str, reason: str, at: int) -> None:
        self._change(operations.CloseJob(job, state, reason, at))
        self._die(job)
        self.settle()

    def abandon(self, job: int, at: int) -> int:
        return self._change(operations.Abandon(job, at))

    def claim(
        self, job: int, maps: Sequence[int], limit: int, above: int | None = None,
        avoid: Sequence[tuple[int, int]] = (),
    ) -> list[Claimed]:
        return self._change(operations.Claim(job, tuple(maps), limit, above, tuple(avoid)))

    def record(self, job: int, ended: Sequence[Ended]) -> int:
        return self._change(operations.Record(job, tuple(ended)))

    def release(self, job: int, tasks: Sequence[tuple[int, int, int]]) -> None:
        self._change(operations.Release(job, tuple(tasks)))

    def take_over(self, map: int, job: int | None, matches: Sequence[Match]) -> TakenOver:
        return self._change(operations.TakeOver(map, job, tuple(matches)))

    def retry(self, map: int, tasks: Iterable[int] | None, *, time: float | None, memory: float | None) -> int:
        return self._change(operations.Retry(map, _listed(tasks), time, memory))

    def rerun(self, map: int, tasks: Iterable[int] | None) -> int:
        return self._change(operations.Rerun(map, _listed(tasks)))

    def accept(
        self, map: int, tasks: Iterable[int] | None, *, contexts: Sequence[int], covers: Sequence[Cover],
        code: int, user: str, reason: str, at: int,
    ) -> int:
        return self._change(
            operations.Accept(map, _listed(tasks), tuple(contexts), tuple(covers), code, user, reason, at)
        )

    def cancel(self, map: int, tasks: Iterable[int] | None) -> int:
        return self._change(operations.Cancel(map, _listed(tasks)))

    def pause(self, map: int, paused: bool) -> None:
        self._change(operations.Pause(map, paused))

    def set_policy(self, map: int, policy: Policy) -> None:
        self._change(operations.SetPolicy(map, policy))

    def set_recipe(self, map: int, recipe: Recipe, own: Sequence[str]) -> None:
        self._change(operations.SetRecipe(map, operations.recipe_text(recipe), tuple(own)))

    def set_tags(self, map: int, tags: Mapping[str, str]) -> None:
        self._change(operations.SetTags(map, dict(tags)))

    def set_priority(self, map: int, tasks: Iterable[int] | None, priority: int) -> int:
        return self._change(operations.SetPriority(map, _listed(tasks), priority))

    def delete(self, map: int) -> int:
        return self._change(operations.Delete(map))

    # Lookups: in what has been folded in by now

    def running_jobs(self) -> list[JobRecord]:
        self._look()
        return super().running_jobs()

    def queued_jobs(self) -> list[JobRecord]:
        self._look()
        return super().queued_jobs()

    def held(self, job: int) -> list[tuple[int, int, int]]:
        self._look()
        return super().held(job)

    def select_maps(self, names: Sequence[str], *, submitted: bool = False) -> list[MapRecord]:
        self._look()
        return super().select_maps(names, submitted=submitted)

    def maps_stamp(self) -> object:
        self._look()
        return super().maps_stamp()

    def run_map(self, map: int) -> RunMap:
        self._look()
        return super().run_map(map)

    def matching(self, map: int, origins: Sequence[Origins], sought: Sequence[Sought] | None = None) -> list[Match]:
        self._look()
        return super().matching(map, origins, sought)

    def find_map(self, name: str) -> MapRecord | None:
        self._look()
        return super().find_map(name)

    def map_names(self) -> list[str]:
        self._look()
        return super().map_names()

    def maps(self) -> list[MapRecord]:
        self._look()
        return super().maps()

    def task(self, map: int, index: int) -> TaskRecord | None:
        self._look()
        return super().task(map, index)

    def tasks(self, map: int, state: State | None = None, start: int = 0) -> Iterator[TaskRecord]:
        self._look()
        return super().tasks(map, state, start)


def _listed(tasks: Iterable[int] | None) -> tuple[int, ...] | None:
    return None if tasks is None else tuple(tasks)
