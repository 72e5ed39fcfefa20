"""What a page says of one map: its cohorts in order, rare ones pooled, and the groups its tasks fall into."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from provrun.core.answers import AcceptanceRecord, SubmissionRecord
from provrun.core.cohorts import CohortKey, Grouping, GroupKey, ordered, pooled
from provrun.core.commitment import NO_TASKS, MapCommitment
from provrun.core.history import Use
from provrun.core.records import MapRecord
from provrun.core.states import State
from provrun.export.census import Census, Cohort, Named, Several, Taken
from provrun.export.parameters import Parameters, merged

MOST_SUBMISSIONS = 16


@dataclass(frozen=True)
class Part:
    """A published cohort: one cohort, or a tail of many; ``position`` is that of its group, None without one."""

    number: int
    cohorts: tuple[Cohort, ...]
    tail: bool
    use: Use
    position: int | None
    twice: Mapping[str, int] = field(default_factory=dict)
    """Of counts of distinct tasks what the cohorts of a tail count more than once."""
    recovered_twice: Mapping[CohortKey, int] = field(default_factory=dict)

    @property
    def first(self) -> Cohort:
        """The cohort itself; of a tail, one of its members."""
        return self.cohorts[0]

    @property
    def succeeded(self) -> bool:
        """Tell whether its attempts succeeded."""
        return self.first.succeeded

    def total(self, name: str) -> int:
        """Add up a count over its cohorts."""
        return sum(int(getattr(cohort, name)) for cohort in self.cohorts) - self.twice.get(name, 0)

    @property
    def recovered(self) -> Counter[CohortKey]:
        """Count the tasks that recovered, by the cohort into which they did."""
        found = Counter[CohortKey]()
        for cohort in self.cohorts:
            found.update(cohort.recovered)
        found.subtract(self.recovered_twice)
        return found

    @property
    def params(self) -> Parameters | None:
        """Give statistics of the parameters of an unsuccessful cohort's, or tail's, group."""
        found = [cohort.params for cohort in self.cohorts if cohort.params is not None]
        return merged(found) if found else None

    @property
    def started(self) -> int | None:
        """The earliest start, in microseconds."""
        return min((c.first for c in self.cohorts if c.first is not None), default=None)

    @property
    def ended(self) -> int | None:
        """The latest end, in microseconds."""
        return max((c.last for c in self.cohorts if c.last is not None), default=None)


@dataclass
class Summary:
    """Everything a page says of one map."""

    map: MapRecord
    census: Census
    parts: list[Part]
    submissions: list[SubmissionRecord]
    exemplars: list[Named] = field(default_factory=list)
    own_inputs: tuple[int, int] = (0, 0)
    acceptances: Sequence[AcceptanceRecord] = ()
    commitment: MapCommitment = NO_TASKS
    folder: str | None = None
    """Where its tasks start, relative to the root of the repository; None outside of any."""
    brought: Sequence[tuple[str, str, int]] = ()
    """How many attempts have been made in maps of other registries: uuid of the registry, map, number."""

    def __post_init__(self) -> None:
        self.by_key: dict[CohortKey, Part] = {c.key: part for part in self.parts for c in part.cohorts}

    @property
    def taken(self) -> list[Taken]:
        """What was reused, in the order of the groups."""
        return sorted(self.census.taken.values(), key=lambda one: one.key.canonical())

    def taken_position(self, key: GroupKey) -> int:
        """Give the position of a group of reused results."""
        return self._shown + [one.key for one in self.taken].index(key)

    def grouping(self) -> Grouping:
        """Say in which group each task lies; positions are those of the parts."""
        return Grouping(
            [([c.key for c in part.cohorts], part.tail, part.position is not None) for part in self.parts],
            reused=self.census.taken, unattempted=self.census.unattempted > 0,
        )

    @property
    def _shown(self) -> int:
        """Count the cohorts in which tasks stand."""
        return sum(part.position is not None for part in self.parts)

    @property
    def unattempted_position(self) -> int | None:
        """The position of the group of tasks without an ended attempt, which is the last."""
        if not self.census.unattempted:
            return None
        return self._shown + len(self.census.taken)

    @property
    def attempts(self) -> int:
        """Count the ended attempts."""
        return sum(part.total("attempts") for part in self.parts)

    @property
    def results(self) -> int:
        """Count the tasks with an accepted result that was made here."""
        return sum(part.total("accepted") for part in self.parts)

    @property
    def reused(self) -> int:
        """Count the tasks with a result that was made elsewhere."""
        return sum(one.tasks for one in self.census.taken.values())

    @property
    def started(self) -> int | None:
        """When the first attempt began, in microseconds."""
        return min((part.started for part in self.parts if part.started is not None), default=None)

    @property
    def ended(self) -> int | None:
        """When the last attempt ended, in microseconds; None while a task runs.

        A map goes on at least until what it reuses was there: else it would have used what did not exist.
        """
        ends = [part.ended for part in self.parts if part.ended is not None]
        if self.census.states[State.RUNNING] or not ends:
            return None
        return max([*ends, *(one.last for one in self.taken if one.last is not None)])

    @property
    def complete(self) -> int | None:
        """The time before which not all parts of the results can have been there, in microseconds."""
        starts = [part.started for part in self.parts if part.total("accepted")]
        starts += [one.first for one in self.taken]
        return max((start for start in starts if start is not None), default=None)

    def counts(self) -> dict[str, int]:
        """Give the counts of tasks as they stand on the page."""
        states = self.census.states
        return {
            "planned": sum(states.values()),
            "succeeded": states[State.SUCCEEDED] - self.reused,
            "reused": self.reused,
            "failed": states[State.FAILED],
            "cancelled": states[State.CANCELLED],
            "notRun": states[State.WAITING] + states[State.PENDING] + states[State.RUNNING],
            "attempts": self.attempts,
            "deleted": 0,
            "noResult": sum(part.total("noresult") for part in self.parts) + sum(one.noresult for one in self.taken),
        }


def bundled(submissions: Sequence[SubmissionRecord]) -> list[Sequence[SubmissionRecord]]:
    """Give submissions as a page lists them: the first 16 each by itself, all others together."""
    shown, rest = submissions[:MOST_SUBMISSIONS], submissions[MOST_SUBMISSIONS:]
    return [[one] for one in shown] + ([rest] if rest else [])


def additions(submissions: Sequence[SubmissionRecord]) -> list[int]:
    """Give the first index of each part of `bundled`, if the map grew after its first submission; else none."""
    grew = sum(one.added > 0 for one in submissions) > 1
    return [part[0].first for part in bundled(submissions)] if grew else []


def pool(cohorts: Iterable[Cohort]) -> list[tuple[tuple[Cohort, ...], bool]]:
    """Give published cohorts in order, and of each whether it is a tail of many."""
    in_order = ordered(cohorts, key=lambda c: c.key, first=lambda c: c.first)
    return pooled(in_order, key=lambda c: c.key, attempts=lambda c: c.attempts)


def counted_twice(
    cohorts: Sequence[Cohort], several: Mapping[Several, int]
) -> tuple[Counter[str], Counter[CohortKey]]:
    """Give what the cohorts of a tail count more than once: of counts of tasks, and of those that recovered."""
    pooled = {cohort.key for cohort in cohorts}
    twice, recovered = Counter[str](), Counter[CohortKey]()
    for one, tasks in several.items():
        if mine := one.cohorts & pooled:
            twice["tasks"] += tasks * (len(mine) - 1)
            twice["elsewhere"] += tasks * (len(mine - {one.home}) - (one.home not in pooled))
        if came := one.recovered & pooled:
            recovered[one.home] += tasks * (len(came) - 1)
    return twice, recovered


def choose_exemplars(parts: Sequence[Part], most: int = 8) -> list[Named]:
    """Choose attempts to show in full: first and slowest of each cohort, unsuccessful ones where they are few."""
    chosen: dict[int, Named] = {}
    wanted: list[Named | None] = [part.first.earliest for part in parts] + [part.first.slowest for part in parts]
    for part in parts:
        if not part.succeeded and part.total("attempts") <= 3:
            wanted += [named for cohort in part.cohorts for named in cohort.members]
    for named in wanted:
        if named is not None and len(chosen) < most:
            chosen.setdefault(named.task, named)
    return list(chosen.values())
