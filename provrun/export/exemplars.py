"""A few attempts of each map in full, so that a reader sees what the counts are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from provrun.core.cohorts import CohortKey, cohort_of
from provrun.core.history import Circumstances, Tried
from provrun.core.records import Artifact
from provrun.core.states import Outcome
from provrun.export.maps import MapNodes

if TYPE_CHECKING:
    from prov.identifier import QualifiedName

MOST_BYTES = 1024


@dataclass(frozen=True)
class Exemplar:
    """One task in full: its parameters, all its ended attempts and what each read and made.

    ``params`` are None where they are not known whole. ``reads`` gives for each attempt number the attempts whose
    results it read of maps on the page, as (map name, index, number): of a reused result the one that made it.
    """

    task: int
    params: str | None
    accepted: int
    attempts: Sequence[Tried]
    results: dict[int, str | None]
    artifacts: dict[int, Sequence[Artifact]]
    reads: dict[int, Sequence[tuple[str, int, int]]]


class ExemplarNodes:
    """Adds exemplars of one map to its page; `places` are the circumstances of contexts."""

    def __init__(
        self, nodes: MapNodes, places: Callable[[int], Circumstances], level: Callable[[int], int]
    ) -> None:
        self._nodes = nodes
        self._places = places
        self._level = level

    def add(self, exemplar: Exemplar) -> None:
        """Add one task with all its ended attempts."""
        nodes, page = self._nodes, self._nodes.page
        shown = next((a for a in exemplar.attempts if a.number == exemplar.accepted), exemplar.attempts[-1])
        for attempt in exemplar.attempts:
            name = page.r(f"{nodes.name}.{exemplar.task}.{attempt.number}")
            params = page.r(f"{name.localpart}.params")
            around = self._places(attempt.context)
            key = cohort_of(attempt, around, self._level(exemplar.task))
            part = nodes.part(key)
            page.activity(
                name, ["Attempt"], started=attempt.started,
                ended=None if attempt.started is None else attempt.started + (attempt.wall or 0),
                dcterms_isPartOf=nodes.cohort(part), index=exemplar.task, number=attempt.number,
                outcome=attempt.outcome.word, detail=attempt.detail, wall=attempt.wall,
                accepted=attempt.number == exemplar.accepted,
            )
            page.entity(params, ["TaskParameters"], value=_short(exemplar.params))
            page.used(name, params)
            page.associated(name, nodes.things.provrun, nodes.things.code(around.code))
            page.used(name, nodes.things.environment(around.environment))
            sources = [params, *self._inputs(name, around, exemplar.artifacts.get(attempt.number, ()))]
            sources += self._reads(name, exemplar.reads.get(attempt.number, ()))
            # The whole holds every task; the group only those whose shown attempt lies in it.
            group = part.position if attempt is shown else None
            page.member(nodes.params if group is None else nodes.params_of(part), params)
            if attempt.outcome is Outcome.SUCCEEDED:
                self._result(name, attempt, exemplar, sources, accepted=attempt.number == exemplar.accepted)

    def _inputs(
        self, name: QualifiedName, around: Circumstances, artifacts: Sequence[Artifact]
    ) -> list[QualifiedName]:
        things = self._nodes.things
        found = things.inputs(around.inputs)
        found += [things.file(one.digest.hex(), one.size) for one in artifacts if one.role == "input"]
        for file in dict.fromkeys(found):
            self._nodes.page.used(name, file)
        return list(dict.fromkeys(found))

    def _reads(self, name: QualifiedName, reads: Sequence[tuple[str, int, int]]) -> list[QualifiedName]:
        page = self._nodes.page
        found = []
        for map, index, number in reads:
            result = page.r(f"{map}.{index}.{number}.result")
            if self._nodes.things.first(result):
                page.entity(result, ["Result"])
            page.used(name, result)
            found.append(result)
        return found

    def _result(
        self, name: QualifiedName, attempt: Tried, exemplar: Exemplar, sources: Sequence[QualifiedName], *,
        accepted: bool,
    ) -> None:
        nodes, page = self._nodes, self._nodes.page
        result = page.r(f"{name.localpart}.result")
        value = exemplar.results.get(attempt.number)
        nodes.things.first(result)
        page.entity(
            result, ["Result"], digest=None if attempt.result_digest is None else attempt.result_digest.hex(),
            value=_short(value),
        )
        page.generated(result, name)
        for source in sources:
            page.derived(result, source)
        part = nodes.part(self._key(attempt, exemplar.task))
        page.member(nodes.results_of(part) if accepted else nodes.superseded_of(part), result)
        for one in exemplar.artifacts.get(attempt.number, ()):
            if one.role == "output":
                output = page.r(f"{name.localpart}.output.{one.name}")
                page.entity(output, ["OutputFile"], name=one.name, sha256=one.digest.hex(), size=one.size)
                page.generated(output, name)

    def _key(self, attempt: Tried, task: int) -> CohortKey:
        return cohort_of(attempt, self._places(attempt.context), self._level(task))


def _short(text: str | None) -> str | None:
    return text if text is not None and len(text.encode()) <= MOST_BYTES else None
