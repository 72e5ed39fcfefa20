"""Cohorts partition the ended attempts of a map, groups its tasks: their keys, their order, and what is pooled."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from provrun.core.canonical import digest, encode
from provrun.core.states import Outcome

if TYPE_CHECKING:
    from provrun.core.history import Circumstances, History, Tried

MOST_COHORTS = 64
KEPT_COHORTS = MOST_COHORTS - 2
UNSUCCESSFUL = "unsuccessful"
"""The outcome of the tail in which unsuccessful cohorts are pooled."""

T = TypeVar("T")


class CohortKey(NamedTuple):
    """What the attempts of a cohort share; digests in hex, ``inputs`` those of the shared inputs, in their order."""

    code: str
    environment: str
    inputs: tuple[str, ...]
    level: int
    outcome: Outcome

    @property
    def group(self) -> GroupKey:
        """Give the key of the group of tasks that stand in this cohort."""
        return GroupKey("cohort", self.code, self.environment, self.inputs, self.level, None, self.outcome.word)

    def canonical(self) -> str:
        """Write the key as canonical text, by which cohorts are ordered."""
        return self.group.canonical()


class GroupKey(NamedTuple):
    """What the tasks of a group share. ``kind``: ``cohort``, ``reused``, ``tail`` or ``unattempted``.

    ``inputs`` is None only where nothing is said of them (tails, unattempted); ``origin`` is (registry, map) of what
    was reused.
    """

    kind: str
    code: str | None = None
    environment: str | None = None
    inputs: tuple[str, ...] | None = None
    level: int | None = None
    origin: tuple[str, str] | None = None
    outcome: str | None = None

    def value(self) -> dict[str, object]:
        """Give the key as the value that is digested."""
        return {
            "code": self.code, "environment": self.environment,
            "inputs": None if self.inputs is None else list(self.inputs), "kind": self.kind, "level": self.level,
            "origin": None if self.origin is None else list(self.origin), "outcome": self.outcome,
        }

    def canonical(self) -> str:
        """Write the key as canonical text."""
        return encode(self.value())

    def digest(self) -> bytes:
        """Give the 32 bytes that stand for the key in a commitment."""
        return digest("group", self.value())


UNATTEMPTED = GroupKey("unattempted")
"""The key of the group of tasks without an ended attempt."""


def tail(succeeded: bool) -> GroupKey:
    """Give the key of the group of a tail."""
    return GroupKey("tail", outcome=Outcome.SUCCEEDED.word if succeeded else UNSUCCESSFUL)


def reused(registry: str, map: str, code: str, environment: str, inputs: tuple[str, ...]) -> GroupKey:
    """Give the key of a group of tasks whose results were made by attempts of another map."""
    return GroupKey("reused", code, environment, inputs, None, (registry, map), Outcome.SUCCEEDED.word)


def cohort_of(attempt: Tried, around: Circumstances, level: int) -> CohortKey:
    """Give the key of an attempt's cohort."""
    return CohortKey(around.code, around.environment, around.inputs, level, attempt.outcome)


def key_of(history: History, circumstances: Callable[[int], Circumstances], level: int) -> CohortKey | GroupKey:
    """Give the key of what a task stands in: the cohort of its shown attempt, or the group of its reused result."""
    if history.reused is not None:
        made, origin = history.reused.made, history.reused.origin
        around = circumstances(made.context)
        return reused(origin.registry, origin.map, around.code, around.environment, around.inputs)
    shown = history.shown
    return UNATTEMPTED if shown is None else cohort_of(shown, circumstances(shown.context), level)


class Grouping:
    """In which group each task of a map lies, and at which position each group stands.

    ``groups`` are the keys by position. Reused groups come after those of cohorts, the unattempted last.
    """

    def __init__(
        self, published: Sequence[tuple[Sequence[CohortKey], bool, bool]], *, reused: Iterable[GroupKey] = (),
        unattempted: bool,
    ) -> None:
        """``published`` are cohorts in order: the keys of each, whether it is a tail, whether tasks stand in it."""
        self.groups: list[GroupKey] = []
        self._positions: dict[CohortKey | GroupKey, int] = {}
        for keys, pooled, shown in published:
            if shown:
                position = self._add(tail(keys[0].outcome is Outcome.SUCCEEDED) if pooled else keys[0].group)
                for key in keys:
                    self._positions[key] = position
        for origin in sorted(reused, key=GroupKey.canonical):
            self._add(origin)
        if unattempted:
            self._add(UNATTEMPTED)

    def _add(self, key: GroupKey) -> int:
        self._positions[key] = len(self.groups)
        self.groups.append(key)
        return len(self.groups) - 1

    def position(self, key: CohortKey | GroupKey) -> int:
        """Give the position of the group of a cohort's, or of reused or unattempted, tasks."""
        return self._positions[key]


def ordered(
    cohorts: Iterable[T], *, key: Callable[[T], CohortKey], first: Callable[[T], int | None]
) -> list[T]:
    """Order cohorts by their first start in microseconds, those without one last, then by the text of their key."""
    return sorted(cohorts, key=lambda c: (first(c) is None, first(c) or 0, key(c).canonical()))


def pooled(
    in_order: Sequence[T], *, key: Callable[[T], CohortKey], attempts: Callable[[T], int]
) -> list[tuple[tuple[T, ...], bool]]:
    """Give published cohorts, in order: all as they are up to 64, beyond that the 62 largest and at most two tails."""
    if len(in_order) <= MOST_COHORTS:
        return [((cohort,), False) for cohort in in_order]
    largest = sorted(in_order, key=lambda c: (-attempts(c), key(c).canonical()))[:KEPT_COHORTS]
    kept = {key(cohort) for cohort in largest}
    rest = [cohort for cohort in in_order if key(cohort) not in kept]
    tails = [
        tuple(c for c in rest if (key(c).outcome is Outcome.SUCCEEDED) is succeeded) for succeeded in (True, False)
    ]
    whole = [((cohort,), False) for cohort in in_order if key(cohort) in kept]
    return whole + [(tail, True) for tail in tails if tail]
