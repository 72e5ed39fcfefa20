"""One pass over a map: cohorts partition its attempts, groups its tasks; everything a page says is counted here.

Memory is O(cohorts + parameters), and a few bytes a task of a map that others read.
"""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, cast

import msgspec

from provrun.core.canonical import decode
from provrun.core.cohorts import CohortKey, GroupKey, cohort_of, reused
from provrun.core.environment import Tool
from provrun.core.history import Circumstances, History, Reused, Tried
from provrun.core.records import REUSED
from provrun.core.states import Outcome, State
from provrun.export.parameters import Additions, Parameters

UNATTEMPTED = 0xFFFF


class Named(NamedTuple):
    """An attempt worth showing in full."""

    task: int
    number: int


class Cohort:
    """The ended attempts of one map under one key, counted."""

    def __init__(self, key: CohortKey) -> None:
        self.key = key
        self.succeeded = key.outcome is Outcome.SUCCEEDED
        self.contexts: set[int] = set()
        self.jobs: set[int] = set()
        self.hosts: set[str] = set()
        self.tools: set[Tool] = set()
        self.changed: Counter[str] = Counter()
        self.attempts = 0
        self.tasks = 0
        self.accepted = 0
        self.retried = 0
        self.superseded = 0
        self.repeated = 0
        self.shown = 0
        self.elsewhere = 0
        self.noresult = 0
        self.first: int | None = None
        self.last: int | None = None
        self.failures: Counter[tuple[str, int | None]] = Counter()
        self.recovered: Counter[CohortKey] = Counter()
        self.replaced: Counter[CohortKey] = Counter()
        self.alike: Counter[CohortKey] = Counter()
        self.reads: Counter[ReadPart] = Counter()
        self.expected: Counter[int] = Counter()
        self.stale_reads: Counter[int] = Counter()
        self.params: Parameters | None = None
        self.earliest: Named | None = None
        self.slowest: Named | None = None
        self.longest = -1
        self.members: list[Named] = []

    def add(self, history: History, attempt: Tried) -> None:
        """Count one attempt."""
        self.attempts += 1
        started = attempt.started
        if started is not None:
            if self.first is None or started < self.first:
                self.first = started
                self.earliest = Named(history.task, attempt.number)
            wall = attempt.wall or 0
            if self.last is None or started + wall > self.last:
                self.last = started + wall
            if wall > self.longest:
                self.longest = wall
                self.slowest = Named(history.task, attempt.number)
        if not self.succeeded:
            self.failures[self.key.outcome.word, attempt.detail] += 1
            if len(self.members) < 4:
                self.members.append(Named(history.task, attempt.number))


class Taken:
    """The tasks of one map that have results of attempts of another map, under one key, counted."""

    def __init__(self, key: GroupKey, around: Circumstances) -> None:
        self.key = key
        self.around = around
        self.tools: set[Tool] = set()
        self.tasks = 0
        self.noresult = 0
        self.first: int | None = None
        self.last: int | None = None

    def add(self, made: Tried) -> None:
        """Count one task, whose result this attempt made."""
        self.tasks += 1
        self.noresult += made.result_digest is None
        if made.started is not None:
            self.first = made.started if self.first is None else min(self.first, made.started)
            self.last = max(self.last or 0, made.started + (made.wall or 0))


class Several(NamedTuple):
    """The cohorts in which attempts of a task lie, that of the shown one, and those from which it recovered."""

    cohorts: frozenset[CohortKey]
    home: CohortKey
    recovered: frozenset[CohortKey]


class ReadPart(NamedTuple):
    """A part of an upstream map that a cohort read: ``kind`` is ``accepted``, ``superseded`` or ``reused``."""

    map: int
    kind: str
    key: CohortKey | GroupKey


class Standing:
    """Where each task of a map that others read stands: number and cohort of its accepted attempt."""

    def __init__(self) -> None:
        self.keys: list[CohortKey | GroupKey] = []
        self._positions: dict[CohortKey | GroupKey, int] = {}
        self._number = array("i")
        self._position = array("H")
        self._older: dict[tuple[int, int], int] = {}
        self.begun: dict[CohortKey | GroupKey, int | None] = {}
        """When the first attempt of a cohort or group began, once all are counted."""

    def add(self, number: int, key: CohortKey | GroupKey | None) -> None:
        """Add the next task; ``number`` 0 and no key where it has no accepted attempt, the group's if it is reused."""
        self._number.append(number)
        self._position.append(UNATTEMPTED if key is None else self._intern(key))

    def add_older(self, index: int, number: int, key: CohortKey) -> None:
        """Add a successful attempt that no longer counts."""
        self._older[index, number] = self._intern(key)

    def accepted(self, index: int) -> CohortKey | GroupKey | None:
        """Give the cohort of a task's accepted attempt, or the group of its reused result."""
        position = self._position[index]
        return None if position == UNATTEMPTED else self.keys[position]

    def read(self, index: int, number: int) -> tuple[str, CohortKey | GroupKey] | None:
        """Give the part of the map in which an attempt lies that was read."""
        key = self.accepted(index)
        if key is not None and self._number[index] == number:
            return kind_of(key), key
        position = self._older.get((index, number))
        return None if position is None else ("superseded", self.keys[position])

    def __len__(self) -> int:
        return len(self._number)

    def _intern(self, key: CohortKey | GroupKey) -> int:
        position = self._positions.get(key)
        if position is None:
            position = self._positions[key] = len(self.keys)
            self.keys.append(key)
        return position


class Census:
    """The counts of one map."""

    def __init__(
        self, circumstances: Mapping[int, Circumstances], level: Callable[[int], int], upstream: Mapping[int, Standing],
        members: Callable[[int], Iterable[int]], *, read_by_others: bool, additions: Sequence[int] = (),
    ) -> None:
        """``members`` gives the upstream indices of a group or chunk by its number.

        ``additions`` are the first indices of what submissions added, if that is to be told apart.
        """
        self._circumstances = circumstances
        self._level = level
        self._upstream = upstream
        self._members = members
        self._keys: dict[tuple[int, Outcome, int], Cohort] = {}
        self.cohorts: dict[CohortKey, Cohort] = {}
        self.taken: dict[GroupKey, Taken] = {}
        self.states: Counter[State] = Counter()
        self.standing = Standing() if read_by_others else None
        self.params = Parameters()
        self.additions = Additions(additions) if additions else None
        self.unattempted = 0
        self.unattempted_params = Parameters()
        self.noresult = 0
        self.several: Counter[Several] = Counter()
        """The tasks that have attempts in several cohorts, counted."""

    def count(self, histories: Iterable[History]) -> None:
        """Count every task of the map, in the order of their indices."""
        for history in histories:
            self._count(history)
        if self.standing is not None:
            self.standing.begun = {
                **{key: one.first for key, one in self.cohorts.items()},
                **{key: one.first for key, one in self.taken.items()},
            }

    def _count(self, history: History) -> None:
        self.states[history.state] += 1
        params = _params(history.params)
        self.params.add(params)
        if self.additions is not None:
            self.additions.add(history.task, params)
        if history.reused is not None:
            self._count_reused(history.reused)
            return
        shown = history.shown
        if shown is None:
            self.unattempted += 1
            self.unattempted_params.add(params)
            if self.standing is not None:
                self.standing.add(0, None)
            return
        level = self._level(history.task)
        home = self._cohort(shown, level)
        accepted = shown.number == history.accepted
        home.shown += 1
        if accepted:
            home.accepted += 1
            home.noresult += shown.result_digest is None
        if not home.succeeded:
            home.params = home.params or Parameters()
            home.params.add(params)
        if self.standing is not None:
            self.standing.add(shown.number if accepted else 0, home.key if accepted else None)
        if len(history.attempts) == 1:  # as nearly all have
            home.add(history, shown)
            home.tasks += 1
            if home.succeeded and not accepted:
                self._count_other(history, shown, home, home, shown)
            if shown.trail is not None:
                self._count_reads(home, shown, history)
        else:
            self._count_each(history, home, shown, level)

    def _count_each(self, history: History, home: Cohort, shown: Tried, level: int) -> None:
        """Count several attempts of one task; ``home`` is the cohort of the one that is shown."""
        accepted = shown.number == history.accepted
        seen: set[CohortKey] = set()
        recovered: set[CohortKey] = set()
        for attempt in history.attempts:
            cohort = home if attempt is shown else self._cohort(attempt, level)
            cohort.add(history, attempt)
            if attempt is not shown or (cohort.succeeded and not accepted):
                self._count_other(history, attempt, cohort, home, shown)
            if cohort.key not in seen:
                seen.add(cohort.key)
                cohort.tasks += 1
                if cohort is not home:
                    cohort.elsewhere += 1
                    if accepted and not cohort.succeeded and _came_after(shown, attempt):
                        cohort.recovered[home.key] += 1
                        recovered.add(cohort.key)
            if attempt.trail is not None:
                self._count_reads(cohort, attempt, history)
        if len(seen) > 1:
            self.several[Several(frozenset(seen), home.key, frozenset(recovered))] += 1

    def _count_reused(self, found: Reused) -> None:
        around, origin = self._circumstances[found.made.context], found.origin
        key = reused(origin.registry, origin.map, around.code, around.environment, around.inputs)
        taken = self.taken.get(key)
        if taken is None:
            taken = self.taken[key] = Taken(key, around)
        taken.add(found.made)
        taken.tools.update(around.tools)
        if self.standing is not None:
            self.standing.add(REUSED, key)

    def _count_other(self, history: History, attempt: Tried, cohort: Cohort, home: Cohort, shown: Tried) -> None:
        if attempt.number < history.attempts[-1].number:
            cohort.retried += 1
        if cohort.succeeded:
            cohort.superseded += 1
            if shown.number == history.accepted:
                alike = attempt.result_digest == shown.result_digest
                cohort.repeated += alike
                if _came_after(shown, attempt):
                    cohort.replaced[home.key] += 1
                    cohort.alike[home.key] += alike
            if self.standing is not None:
                self.standing.add_older(history.task, attempt.number, cohort.key)

    def _cohort(self, attempt: Tried, level: int) -> Cohort:
        """Find the cohort of an attempt, by its context first: contexts are few."""
        found = self._keys.get((attempt.context, attempt.outcome, level))
        if found is None:
            around = self._circumstances[attempt.context]
            key = cohort_of(attempt, around, level)
            found = self.cohorts.setdefault(key, Cohort(key))
            found.contexts.add(attempt.context)
            found.jobs.add(around.job)
            found.hosts.add(around.host)
            found.tools.update(around.tools)
            self._keys[attempt.context, attempt.outcome, level] = found
        around = self._circumstances[attempt.context]
        if around.code_after is not None:
            found.changed[around.code_after] += 1
        return found

    def _count_reads(self, cohort: Cohort, attempt: Tried, history: History) -> None:
        for map, first, second in json.loads(attempt.trail or "[]"):
            standing = self._upstream.get(map)
            if standing is None:
                continue
            if isinstance(second, str):
                self._count_many(cohort, map, standing, int(first), history, attempt.started)
                continue
            cohort.expected[map] += 1
            part = standing.read(first, second)
            if part is not None:
                cohort.reads[ReadPart(map, *part)] += 1
                cohort.stale_reads[map] += part[0] == "superseded"
            elif second == REUSED:
                cohort.stale_reads[map] += 1  # the task has been executed since

    def _count_many(
        self, cohort: Cohort, map: int, standing: Standing, read: int, history: History, started: int | None
    ) -> None:
        """Count what a long reduce read: its members, as many as it said, by where they stand.

        It has read nothing of what had not begun when it did.
        """
        chosen = range(len(standing)) if history.upstream is None else self._members(history.upstream)
        found = Counter(key for key in map_accepted(standing, chosen) if key is not None)
        for key in [key for key in found if _is_later(standing.begun.get(key), started)]:
            del found[key]
        cohort.expected[map] += read
        for key, n in found.items():
            cohort.reads[ReadPart(map, kind_of(key), key)] += n
        # Fewer or more than it read: some of them were run again or added since.
        cohort.stale_reads[map] += abs(read - sum(found.values()))


def _is_later(begun: int | None, started: int | None) -> bool:
    return begun is not None and started is not None and begun > started


def _came_after(shown: Tried, attempt: Tried) -> bool:
    """Tell whether the attempt that counts may have replaced another one: of two registries it need not have."""
    return shown.number > attempt.number and not _is_later(attempt.started, shown.started)


def _params(text: str) -> dict[str, object]:
    """Read parameters; most have nothing in them for which JSON has no word."""
    return cast("dict[str, object]", decode(text) if '"$' in text else msgspec.json.decode(text))


def kind_of(key: CohortKey | GroupKey) -> str:
    """Say whether a result that counts was made here."""
    return "reused" if isinstance(key, GroupKey) else "accepted"


def map_accepted(standing: Standing, indices: Iterable[int]) -> Iterable[CohortKey | GroupKey | None]:
    """Give the cohorts in which the accepted attempts of some tasks lie."""
    return (standing.accepted(index) for index in indices)
