"""What maps read from maps, and what only waited for others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from provrun.export.maps import MapNodes
from provrun.export.page import Page

if TYPE_CHECKING:
    from prov.identifier import QualifiedName

MOST_PAIRS = 64
DERIVATIONS = {
    "each": "ElementwiseDerivation", "group": "GroupedDerivation", "chunk": "GroupedDerivation",
    "all": "ReducedDerivation",
}


def add_flow(page: Page, downstream: MapNodes, by_name: Mapping[str, MapNodes]) -> None:
    """Say what each cohort of a map read of the maps it builds on; of those that are not on the page, nothing."""
    summary = downstream.summary
    for dependency in summary.map.dependencies:
        upstream = by_name.get(dependency.upstream)
        if upstream is None or upstream is downstream:
            continue
        if dependency.kind == "after":
            page.informed(downstream.activity, upstream.activity)
            continue
        if (upstream.summary.results or upstream.summary.reused) and _has_read(downstream, upstream):
            for name in _read_by_the_whole(downstream, upstream):
                page.used(downstream.activity, name)
        _add_reads(page, downstream, upstream, DERIVATIONS[dependency.kind])
    _add_submitters(page, downstream, {nodes.summary.map.id: nodes for nodes in by_name.values()})


def _add_submitters(page: Page, submitted: MapNodes, by_id: Mapping[int, MapNodes]) -> None:
    """Say which maps have tasks that submitted tasks of this one: it was begun by them, and derives nothing."""
    for number, submission in enumerate(submitted.summary.submissions):
        submitter = by_id.get(submission.by[0]) if submission.by is not None else None
        if submitter is None:
            continue
        page.informed(submitted.submission(number), submitter.activity)
        if submitter is not submitted:
            page.informed(submitted.activity, submitter.activity)


def _has_read(downstream: MapNodes, upstream: MapNodes) -> bool:
    read = upstream.summary.map.id
    return any(cohort.expected[read] for part in downstream.summary.parts for cohort in part.cohorts)


def _read_by_the_whole(downstream: MapNodes, upstream: MapNodes) -> list[QualifiedName]:
    """Name what a map as a whole read: all results or, where some came after its end, the parts that it read."""
    complete, ended = upstream.summary.complete, downstream.summary.ended
    if complete is None or ended is None or complete <= ended:
        return [upstream.results]
    read_map = upstream.summary.map.id
    read = {
        upstream.read_part(one) for part in downstream.summary.parts for cohort in part.cohorts
        for one in cohort.reads if one.map == read_map
    }
    return sorted(read, key=lambda name: name.localpart)


def _add_reads(page: Page, downstream: MapNodes, upstream: MapNodes, derivation: str) -> None:
    read_map = upstream.summary.map.id
    pairs: list[tuple[QualifiedName, QualifiedName | None, QualifiedName, dict[str, int]]] = []
    for part in downstream.summary.parts:
        found: Counter[QualifiedName] = Counter()
        expected = stale = 0
        for cohort in part.cohorts:
            expected += cohort.expected[read_map]
            stale += cohort.stale_reads[read_map]
            for read, n in cohort.reads.items():
                if read.map == read_map:
                    found[upstream.read_part(read)] += n
        made = downstream.results_of(part) if part.total("accepted") else None
        for name, n in sorted(found.items(), key=lambda item: item[0].localpart):
            about = {"membersRead": n, "membersExpected": expected} | ({"staleReads": stale} if stale else {})
            pairs.append((downstream.cohort(part), made, name, about))
    if len(pairs) > MOST_PAIRS:
        pairs = _united(pairs, upstream.results)
    for reader, result, source_name, said in pairs:
        page.used(reader, source_name, **said)
        if result is not None:
            page.derived(result, source_name, derivation)


def _united(
    pairs: list[tuple[QualifiedName, QualifiedName | None, QualifiedName, dict[str, int]]], union: QualifiedName
) -> list[tuple[QualifiedName, QualifiedName | None, QualifiedName, dict[str, int]]]:
    """Replace the parts that each cohort read by their union."""
    read: dict[QualifiedName, dict[str, int]] = {}
    made: dict[QualifiedName, QualifiedName | None] = {}
    for cohort, result, _, about in pairs:
        made[cohort] = result
        total = read.setdefault(cohort, about | {"membersRead": 0})
        total["membersRead"] += about["membersRead"]
    return [(cohort, made[cohort], union, about) for cohort, about in read.items()]
