"""What is known of one task, looked up as far as an explanation asks for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import islice

import msgspec

from provrun.core.answers import AcceptanceRecord, ContextRecord, DependencyRecord, Part, Shown
from provrun.core.records import REUSED, AttemptRecord, JobRecord, MapRecord, Origin, satisfying
from provrun.core.states import Outcome, State
from provrun.query.staleness import Change
from provrun.query.view import View

FEW = 5  # so many things are named before the rest is counted
LOOKED_AT = 2_000  # upstream tasks whose states are looked up one by one


class Facts:
    """A task, its attempts, what it builds on and what works on it."""

    def __init__(self, view: View, map: MapRecord, shown: Shown) -> None:
        self.view = view
        self.map = map
        self.shown = shown
        self.task = shown.task
        self.ref = f"{map.name}/{shown.task.index}"

    @cached_property
    def submitter(self) -> str | None:
        """The attempt that submitted the task; None if a person did."""
        return self.view.submitter(self.map, self.task.index)

    @cached_property
    def attempts(self) -> list[AttemptRecord]:
        """The ended attempts, by number."""
        return [one for one in self.view.reads.attempts(self.map.id, self.task.index) if one.number != REUSED]

    @cached_property
    def made_as(self) -> dict[int, Origin]:
        """What the attempts that were made in another registry are called there, by number."""
        return self.view.reads.brought(self.map.id, self.task.index)

    @cached_property
    def origin(self) -> Origin | None:
        """The attempt of another map that made the result, if it was reused."""
        attempt = self.shown.attempt
        return self.view.origin(attempt) if attempt is not None else None

    @property
    def last(self) -> AttemptRecord | None:
        """The attempt that ended last."""
        return self.attempts[-1] if self.attempts else None

    @property
    def ended(self) -> AttemptRecord:
        """The attempt that stands for the task, of which there is one."""
        assert self.shown.attempt is not None
        return self.shown.attempt

    @property
    def context(self) -> ContextRecord:
        """The circumstances of the attempt that stands for the task."""
        return self.view.contexts[self.ended.context]

    @cached_property
    def changes(self) -> tuple[Change, ...]:
        """What makes the accepted result stale."""
        return self.view.staleness(self.map).of_task(self.shown)

    @cached_property
    def acceptance(self) -> AcceptanceRecord | None:
        """By whose word the result holds although its code has changed."""
        return self.view.staleness(self.map).acceptance(self.shown)

    @cached_property
    def drift(self) -> tuple[str, str] | None:
        """The code the task was submitted with last before its attempt began, and the one that ran, if that differs."""
        if self.shown.attempt is None or self.origin is not None:
            return None
        started = self.ended.started or 0
        submissions = [one for one in self.view.reads.submissions(self.map.id) if not started or one.at <= started]
        ran = self.context.code
        return (submissions[-1].code, ran) if submissions and submissions[-1].code != ran else None

    @cached_property
    def jobs(self) -> list[JobRecord]:
        """The jobs that run now."""
        return self.view.running_jobs()

    @cached_property
    def queued(self) -> list[JobRecord]:
        """The jobs that wait in the queue of a scheduler."""
        return self.view.queued_jobs()

    @cached_property
    def holder(self) -> JobRecord | None:
        """The job that holds the task."""
        return next((job for job in self.view.reads.jobs() if job.id == self.task.job), None)

    @property
    def lost(self) -> int:
        """How many attempts were lost with their job or node."""
        return sum(attempt.outcome is Outcome.LOST for attempt in self.attempts)

    @property
    def retries_left(self) -> int:
        """How many failures of its own the task may have still."""
        return max(0, self.map.policy.retries - self.task.fails)

    @cached_property
    def waits(self) -> list[Wait]:
        """What a waiting task waits for."""
        return [wait for wait in self.needs if wait.missing]

    @cached_property
    def needs(self) -> list[Wait]:
        """What the task needs, there or not."""
        records = self.view.reads.upstreams(self.map.id)
        return [Wait(self.view, self, record) for record in records if self._concerned(record)]

    def history(self) -> list[str]:
        """Tell the ended attempts, one line each."""
        from provrun.query.labels import attempt_line

        return [attempt_line(f"{self.ref}#{attempt.number}", attempt) for attempt in self.attempts]

    def printed(self, lines: int = 10) -> list[str]:
        """Give the last lines of what the attempt that stands for the task printed: stderr, else stdout."""
        captured = self.view.captured(self.ended)
        name, text = ("stderr", captured.err) if captured.err.strip() else ("stdout", captured.out)
        tail = text.decode(errors="replace").rstrip().splitlines()[-lines:]
        return [f"the end of its {name}:", *(f"  {line}" for line in tail)] if tail else ["it printed nothing"]

    def _concerned(self, record: DependencyRecord) -> bool:
        only = record.dependency.tasks
        return only is None or only[0] <= self.task.index < only[1]


class Wait:
    """One dependency of a waiting task: the upstream tasks it needs and those it still lacks."""

    def __init__(self, view: View, facts: Facts, record: DependencyRecord) -> None:
        self._view = view
        self._task = facts.task
        self._record = record
        self.dependency = record.dependency
        self.map = view.map_by_id(record.upstream)
        self._wanted = satisfying(self.dependency.kind, self.dependency.on_failed)

    @cached_property
    def part(self) -> Part | None:
        """The group or chunk the task reads."""
        if self.dependency.kind not in ("group", "chunk") or self._task.upstream is None:
            return None
        return self._view.reads.part(self._task.map, self._task.upstream)

    @cached_property
    def missing(self) -> int:
        """How many upstream tasks are not yet as the task needs them."""
        if self.dependency.kind == "each":
            return sum(1 for _, state in self._states() if state not in self._wanted)
        if self.part is not None:
            return self.part.missing
        if self._record.missing is not None:
            return self._record.missing
        missing = self.map.total - sum(self.map.counts.get(state, 0) for state in self._wanted)
        return missing if self.map.total else 1

    def skipped(self, attempt: AttemptRecord | None) -> int:
        """Give how many upstream tasks an attempt with an accepted result did without: they had failed."""
        if attempt is None or self.dependency.on_failed != "skip" or self._task.accepted != attempt.number:
            return 0
        trail = msgspec.json.decode(attempt.trail or "[]", type=list[tuple[int, int, int | str]])
        mine = [entry for entry in trail if entry[0] == self._record.upstream]
        # What it reads has not grown since, else the task had been opened again.
        return self.of - sum(count if isinstance(digest, str) else 1 for _, count, digest in mine)

    @cached_property
    def of(self) -> int:
        """How many upstream tasks the task needs."""
        if self.dependency.kind == "each":
            return 1
        if self.part is not None:
            return self.part.size
        if self.dependency.upstream_tasks:
            return sum(last - first for first, last in self.dependency.upstream_tasks)
        return self.map.total

    def in_state(self, *states: State) -> list[int]:
        """Give a few of the upstream tasks the task needs that are in one of these states."""
        if self.part is None and self.dependency.kind != "each" and not self.dependency.upstream_tasks:
            found = [index for state in states for index in self._view.reads.first_in(self.map.id, state, FEW)]
            return sorted(found)[:FEW]
        return list(islice((index for index, state in self._states() if state in states), FEW))

    @cached_property
    def hopeless(self) -> list[int]:
        """A few upstream tasks that ended without what the task needs: without a person nothing will change."""
        return self.in_state(*({State.FAILED, State.CANCELLED} - set(self._wanted)))

    def _states(self) -> Iterable[tuple[int, State]]:
        indices = list(islice(self._indices(), LOOKED_AT))
        return self._view.reads.states(self.map.id, indices).items()

    def _indices(self) -> Iterator[int]:
        if self.dependency.kind == "each":
            assert self._task.upstream is not None
            yield self._task.upstream
        elif self.part is not None:
            for first, step, count in self.part.members:
                yield from range(first, first + step * count, step)
        else:
            for first, last in self.dependency.upstream_tasks:
                yield from range(first, last)
