"""What must hold of every page; an export that breaks a law is refused by the law's name before anything is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from provrun.core.commitment import commit
from provrun.core.states import Outcome
from provrun.errors import ProvrunError
from provrun.export.document import Built
from provrun.export.summary import Summary

if TYPE_CHECKING:
    from prov.model import ProvRecord

LAWS: dict[str, Callable[[Sequence[Summary], Built], Iterator[str]]] = {}


class LawBroken(ProvrunError):
    """An export contradicts itself; the registry or provrun is at fault, so nothing is published."""

    code = "law-broken"


def _law(
    function: Callable[[Sequence[Summary], Built], Iterator[str]],
) -> Callable[[Sequence[Summary], Built], Iterator[str]]:
    LAWS[function.__name__.replace("_", "-")] = function
    return function


def require(summaries: Sequence[Summary], built: Built) -> None:
    """Check every law and refuse the page with the names of those broken."""
    broken = [f"{name}: {problem}" for name, law in LAWS.items() for problem in law(summaries, built)]
    if broken:
        raise LawBroken(
            "this export breaks laws of provenance, so nothing was written\n  " + "\n  ".join(broken), value=broken,
            next="provrun verify checks the registry; if it finds nothing, please report this as a bug",
        )


@_law
def planned_tasks_are_accounted_for(summaries: Sequence[Summary], built: Built) -> Iterator[str]:
    """Planned = succeeded + reused + failed + cancelled + not run."""
    for one in summaries:
        counts = one.counts()
        parts = sum(counts[name] for name in ("succeeded", "reused", "failed", "cancelled", "notRun"))
        if counts["planned"] != parts or counts["planned"] != one.map.total:
            yield f"{one.map.name}: {counts['planned']} planned, {parts} in all, {one.map.total} in the registry"


@_law
def cohorts_partition_attempts(summaries: Sequence[Summary], built: Built) -> Iterator[str]:
    """Attempts of cohorts add up to the map's; accepted ones to what succeeded."""
    for one in summaries:
        counts = one.counts()
        if one.attempts != counts["attempts"]:
            yield f"{one.map.name}: {one.attempts} attempts in cohorts, {counts['attempts']} in the map"
        if one.results != counts["succeeded"]:
            yield f"{one.map.name}: {one.results} accepted attempts, {counts['succeeded']} succeeded tasks"
        for part in one.parts:
            if part.total("tasks") > part.total("attempts") or part.total("accepted") > part.total("tasks"):
                yield f"{one.map.name} cohort {part.number}: more tasks than attempts, or more accepted than tasks"


@_law
def groups_partition_tasks(summaries: Sequence[Summary], built: Built) -> Iterator[str]:
    """Sizes of groups add up to the tasks planned, and positions count from 0 without a gap."""
    for one in summaries:
        size = sum(part.total("shown") for part in one.parts) + one.reused + one.census.unattempted
        if size != one.counts()["planned"]:
            yield f"{one.map.name}: {size} tasks in groups, {one.counts()['planned']} planned"
        positions = [part.position for part in one.parts if part.position is not None]
        if positions != list(range(len(positions))):
            yield f"{one.map.name}: groups at {positions}"


@_law
def commitments_agree_with_counts(summaries: Sequence[Summary], built: Built) -> Iterator[str]:
    """Trees hold the tasks that are counted, keys are those of the cohorts, and roots recompute."""
    for one in summaries:
        name, commitment, counts = one.map.name, one.commitment, one.counts()
        if commitment != commit(commitment.groups):
            yield f"{name}: its root is not that of its groups"
        sums = commitment.sums
        other = counts["cancelled"] + counts["notRun"]
        counted = (counts["planned"], counts["succeeded"], counts["reused"], counts["failed"], other)
        if sums[:5] != counted:
            yield f"{name}: {sums[:5]} tasks are committed to, {counted} are counted"
        if [group.key for group in commitment.groups] != one.grouping().groups:
            yield f"{name}: the groups committed to are not those of the page"
            continue
        for part in one.parts:
            if part.position is not None:
                group = commitment.groups[part.position].sums
                if (group.tasks, group.succeeded) != (part.total("shown"), part.total("accepted")):
                    yield f"{name} group {part.position}: {group.tasks} tasks are committed to, others are counted"
        for taken in one.taken:
            position = one.taken_position(taken.key)
            group = commitment.groups[position].sums
            if (group.tasks, group.reused) != (taken.tasks, taken.tasks):
                yield f"{name} group {position}: {group.reused} results are committed to as reused, others are counted"


@_law
def partitions_add_up(summaries: Sequence[Summary], built: Built) -> Iterator[str]:
    """The members of parts add up to those of the whole."""
    for collection, parts in _partitions(built).items():
        whole, added = _count(built, collection), sum(_count(built, part) for part in parts)
        if whole != added:
            yield f"{collection}: {whole} members, {added} in its parts"


@_law
def unsuccessful_cohorts_make_nothing(summaries: Sequence[Summary], built: Built) -> Iterator[str]:
    """Only attempts that succeeded bring results."""
    for one in summaries:
        for part in one.parts:
            if not part.succeeded and (part.total("accepted") or part.total("superseded")):
                yield f"{one.map.name} cohort {part.number}"
            if any((cohort.key.outcome is Outcome.SUCCEEDED) is not part.succeeded for cohort in part.cohorts):
                yield f"{one.map.name} cohort {part.number}: outcomes are mixed"


@_law
def each_cohort_has_one_plan(summaries: Sequence[Summary], built: Built) -> Iterator[str]:
    """Exactly one code, through an agent."""
    plans: dict[str, list[object]] = {}
    for activity, _, plan in (_ends(record, 3) for record in _records(built, "Association")):
        plans.setdefault(activity, []).append(plan)
    for activity, types in _typed(built).items():
        if types & {"pr:Cohort", "pr:TailCohort", "pr:OriginCohort", "pr:Attempt"}:
            found = plans.get(activity, [])
            if len(found) != 1 or found[0] == "None":
                yield f"{activity} has {len(found)} plans"


@_law
def nothing_reused_is_made_here(summaries: Sequence[Summary], built: Built) -> Iterator[str]:
    """Reused results are made by the attempts of an origin cohort, which is part of no map, and by nothing else."""
    typed = _typed(built)
    for entity, activity in (_ends(record, 2) for record in _records(built, "Generation")):
        if ("pr:ReusedResults" in typed[entity]) is not ("pr:OriginCohort" in typed[activity]):
            yield f"{entity} by {activity}"
    for record in _records(built, "Activity"):
        if "pr:OriginCohort" in typed[str(record.identifier)]:
            yield from (
                f"{record.identifier} is part of {value}"
                for name, value in record.attributes if str(name) == "dcterms:isPartOf"
            )


@_law
def one_generation_each(summaries: Sequence[Summary], built: Built) -> Iterator[str]:
    """No entity is made by two activities."""
    seen: dict[str, str] = {}
    for entity, activity in (_ends(record, 2) for record in _records(built, "Generation")):
        if seen.setdefault(entity, activity) != activity:
            yield f"{entity} by {seen[entity]} and {activity}"


@_law
def nothing_uses_what_it_makes(summaries: Sequence[Summary], built: Built) -> Iterator[str]:
    """No activity uses what it generated."""
    made = {tuple(_ends(record, 2)) for record in _records(built, "Generation")}
    for activity, entity in (_ends(record, 2) for record in _records(built, "Usage")):
        if (entity, activity) in made:
            yield f"{activity} uses {entity}"


@_law
def parts_end_within_the_whole(summaries: Sequence[Summary], built: Built) -> Iterator[str]:
    """Times of cohorts lie inside their map's, and no activity ends before it starts."""
    times: dict[str, tuple[datetime | None, datetime | None]] = {}
    for record in _records(built, "Activity"):
        formal = {name.localpart: value for name, value in record.formal_attributes}
        start, end = formal.get("startTime"), formal.get("endTime")
        times[str(record.identifier)] = (start, end)
        if start is not None and end is not None and end < start:
            yield f"{record.identifier} ends before it starts"
    for record in _records(built, "Activity"):
        for whole in (str(value) for name, value in record.attributes if str(name) == "dcterms:isPartOf"):
            if "submission." in str(record.identifier):
                continue
            start, end = times[str(record.identifier)]
            first, last = times[whole]
            if (start and first and start < first) or (end and last and end > last):
                yield f"{record.identifier} is not within {whole}"


@_law
def nothing_derives_from_itself(summaries: Sequence[Summary], built: Built) -> Iterator[str]:
    """No cycle over derivations and revisions."""
    sources: dict[str, set[str]] = {}
    for made, source in (_ends(record, 2) for record in _records(built, "Derivation")):
        sources.setdefault(made, set()).add(source)
    done: set[str] = set()
    for start in sorted(sources):
        path: list[tuple[str, Iterator[str]]] = [(start, iter(sorted(sources[start])))]
        open_: set[str] = {start}
        while path:
            node, rest = path[-1]
            following = next(rest, None)
            if following is None:
                path.pop()
                open_.discard(node)
                done.add(node)
            elif following in open_:
                yield f"{following} derives from itself"
            elif following not in done:
                open_.add(following)
                path.append((following, iter(sorted(sources.get(following, ())))))


@_law
def every_name_is_declared(summaries: Sequence[Summary], built: Built) -> Iterator[str]:
    """Whatever a relation names is a node of the page."""
    declared = set(_typed(built))
    for record in built.page.document.get_records():
        if record.is_relation():
            for end in record.args[:3]:
                if end is not None and hasattr(end, "localpart") and str(end) not in declared:
                    yield f"{end} in {record}"


def _records(built: Built, kind: str) -> Iterator[ProvRecord]:
    return (r for r in built.page.document.get_records() if r.get_type().localpart == kind)


def _ends(record: ProvRecord, count: int) -> list[str]:
    return [str(value) for value in record.args[:count]]


def _typed(built: Built) -> dict[str, set[str]]:
    return {
        str(record.identifier): {str(type_) for type_ in record.get_asserted_types()}
        for record in built.page.document.get_records()
        if record.is_element()
    }


def _partitions(built: Built) -> dict[str, list[str]]:
    return {
        str(record.identifier): parts
        for record in _records(built, "Entity")
        if (parts := [str(value) for name, value in record.attributes if str(name) == "pr:partitionedInto"])
    }


def _count(built: Built, node: str) -> int:
    for record in _records(built, "Entity"):
        if str(record.identifier) == node:
            return sum(int(str(v.value)) for name, v in record.attributes if str(name) == "pr:memberCount")
    return -1
