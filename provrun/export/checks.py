"""What whoever has nothing but a published page can check of it; each check has a name, and lies are found by it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime

from provrun.core.canonical import digest
from provrun.core.cohorts import UNATTEMPTED, CohortKey, GroupKey, reused, tail
from provrun.core.merkle import BadSums, Sums, group_node, root_of, unpack
from provrun.core.states import Outcome
from provrun.export.page import DCTERMS
from provrun.export.rdf import page_digest
from provrun.export.view import Broken, Committed, Mapped, View, Wrong, short

Check = Callable[[View], Iterator[str]]
CHECKS: dict[str, Check] = {}


def _check(function: Check) -> Check:
    CHECKS[function.__name__.replace("_", "-")] = function
    return function


def wrong(view: View) -> Iterator[Wrong]:
    """Give all that does not hold of a page, in the order of the checks."""
    for name, check in CHECKS.items():
        try:
            for what in check(view):
                yield Wrong(name, what)
        except Broken as broken:
            yield broken.wrong


@_check
def page_digest_holds(view: View) -> Iterator[str]:
    """The page says of itself the digest that it has."""
    stated, found = view.text(view.document(), "pageDigest"), page_digest(view.triples)
    if stated != found:
        yield f"the page states {stated} and has {found}: it was changed"


@_check
def groups_make_the_map(view: View) -> Iterator[str]:
    """The tree over the groups of a map has the root and the sums that the map states."""
    for one in view.maps():
        if any(group.key is None or len(group.key) != 32 for group in one.groups):
            yield f"{one.name}: a group has no key"
            continue
        try:
            root = root_of(group_node(group.top, group.key or b"") for group in one.groups)
        except BadSums as error:
            yield f"{one.name}: {error}"
            continue
        if root.hash != one.commitment.root:
            yield f"{one.name}: its groups make the root {root.hash.hex()}, it states {one.commitment.root.hex()}"
        if unpack(root.sums) != one.commitment.sums:
            yield f"{one.name}: its groups add up to {_told(unpack(root.sums))}, it states {_told(one.commitment.sums)}"


@_check
def snapshot_holds(view: View) -> Iterator[str]:
    """The snapshot is the digest of the names and roots of the maps."""
    maps = [[one.name, one.commitment.root.hex()] for one in view.maps()]
    found, stated = digest("page", {"v": 1, "maps": maps}).hex(), view.text(view.document(), "snapshot")
    if found != stated:
        yield f"the maps make {found}, the page states {stated}"


@_check
def one_generation_each(view: View) -> Iterator[str]:
    """No entity is made by two activities, in either form of the relation."""
    makers: dict[str, set[str]] = {}
    for entity, activity in view.pairs("prov:wasGeneratedBy"):
        makers.setdefault(entity, set()).add(activity)
    for entity, relation in view.pairs("prov:qualifiedGeneration"):
        makers.setdefault(entity, set()).update(view.links(relation, "prov:activity"))
    for entity, found in sorted(makers.items()):
        if len(found) > 1:
            yield f"{short(entity)} by {' and '.join(short(one) for one in sorted(found))}"


@_check
def nothing_reused_is_made_here(view: View) -> Iterator[str]:
    """What was reused was made by attempts that are no part of a map of the page, and the rest by one that is."""
    here = set(view.typed("Cohort", "TailCohort", "Map"))
    for entity, activity in view.pairs("prov:wasGeneratedBy"):
        if entity in view.typed("ReusedResults") and (activity in here or activity not in view.typed("OriginCohort")):
            yield f"{short(entity)} is said to be reused, and made by {short(activity)}"
        if entity in view.typed("Results", "SupersededResults") and activity in view.typed("OriginCohort"):
            yield f"{short(entity)} is said to be made here, and made by {short(activity)}"
    for part, whole in view.pairs(DCTERMS + "isPartOf"):
        if part in view.typed("OriginCohort"):
            yield f"{short(part)} made what is reused, and is said to be part of {short(whole)}"


@_check
def keys_are_those_of_the_cohorts(view: View) -> Iterator[str]:
    """The key of a group is the digest of what its cohort says it shares: code, environment, inputs, level, outcome."""
    for one in view.maps():
        keys = {node: key_of(view, node) for node in one.cohorts}
        by_group: dict[str, list[str]] = {}
        for node in one.cohorts:
            leads = view.link(node, "commitment")
            if leads is not None:
                by_group.setdefault(leads, []).append(node)
        for group in one.groups:
            if group.kind in {"cohort", "tail"}:
                mine = by_group.get(group.node, [])
                if len(mine) != 1:
                    yield f"{short(group.node)} belongs to {len(mine)} cohorts"
                elif keys[mine[0]].digest() != group.key:
                    yield f"{short(mine[0])} does not have the key that {short(group.node)} states"
            elif group.kind == "reused":
                origins = [
                    node for node in view.backwards("commitment", group.node) if node in view.typed("OriginCohort")
                ]
                if len(origins) != 1:
                    yield f"{short(group.node)} belongs to {len(origins)} origin cohorts"
                elif origin_key(view, origins[0]).digest() != group.key:
                    yield f"{short(origins[0])} does not have the key that {short(group.node)} states"
            elif group.kind == "unattempted" and UNATTEMPTED.digest() != group.key:
                yield f"{short(group.node)} does not have the key of tasks without an attempt"


def key_of(view: View, cohort: str) -> GroupKey:
    """Give the key of a cohort from what the page says of it."""
    outcome = view.text(cohort, "outcome")
    if cohort in view.typed("TailCohort"):
        return tail(outcome == Outcome.SUCCEEDED.word)
    return cohort_key(view, cohort).group


def origin_key(view: View, cohort: str) -> GroupKey:
    """Give the key of a group of reused results from what the page says of who made them."""
    code, environment, inputs = _shared(view, cohort)
    registry, map = (view.text(cohort, name) or "" for name in ("originRegistry", "originMap"))
    return reused(registry, map, code, environment, inputs)


def cohort_key(view: View, cohort: str) -> CohortKey:
    """Give the key of a cohort that is no tail."""
    code, environment, inputs = _shared(view, cohort)
    word, level = view.text(cohort, "outcome"), view.number(cohort, "level")
    if word not in {outcome.word for outcome in Outcome} or level is None:
        raise Broken("keys-are-those-of-the-cohorts", f"{short(cohort)} has outcome {word} and level {level}")
    return CohortKey(code, environment, inputs, level, Outcome[word.upper()])


def _shared(view: View, cohort: str) -> tuple[str, str, tuple[str, ...]]:
    """Give the digests of the code, the environment and the shared inputs of a cohort."""
    plans = {
        plan for one in view.links(cohort, "prov:qualifiedAssociation") for plan in view.links(one, "prov:hadPlan")
    }
    environments = [node for node in view.links(cohort, "prov:used") if node in view.typed("Environment")]
    if len(plans) != 1 or len(environments) != 1:
        raise Broken(
            "each-cohort-has-one-plan",
            f"{short(cohort)} followed {len(plans)} plans in {len(environments)} environments",
        )
    listed = view.text(cohort, "sharedInputs")
    inputs = tuple(json.loads(listed)) if listed is not None else ()
    used = {
        view.text(node, "sha256") for node in view.links(cohort, "prov:used") if node in view.typed("InputFile")
    }
    if used != set(inputs):
        raise Broken("keys-are-those-of-the-cohorts", f"{short(cohort)} used other inputs than it names")
    return view.text(plans.pop(), "digest") or "", view.text(environments[0], "digest") or "", inputs


@_check
def counts_are_those_committed_to(view: View) -> Iterator[str]:
    """Counts of maps, cohorts and collections are those in the trees."""
    for one in view.maps():
        yield from _counts_of_map(view, one)
        for group in one.groups:
            yield from _counts_of_group(view, group)


def _counts_of_map(view: View, one: Mapped) -> Iterator[str]:
    counts = {
        name: view.number(one.node, name)
        for name in ("planned", "succeeded", "reused", "failed", "cancelled", "notRun", "attempts")
    }
    if None in counts.values():
        yield f"{one.name} lacks {', '.join(name for name, n in counts.items() if n is None)}"
        return
    sums = one.commitment.sums
    other = (counts["cancelled"] or 0) + (counts["notRun"] or 0)
    said = (counts["planned"], counts["succeeded"], counts["reused"], counts["failed"], other)
    if said != sums[:5]:
        yield f"{one.name} says {said}, its commitment {sums[:5]}"
    attempts = sum(view.number(node, "attempts") or 0 for node in one.cohorts)
    if attempts != counts["attempts"]:
        yield f"{one.name} says {counts['attempts']} attempts, its cohorts have {attempts}"
    accepted = sum(view.number(node, "accepted") or 0 for node in one.cohorts)
    if accepted != sums.succeeded:
        yield f"{one.name}: {sums.succeeded} tasks succeeded, its cohorts have {accepted} accepted attempts"


def _counts_of_group(view: View, group: Committed) -> Iterator[str]:
    sums = group.sums
    wanted = {"Parameters": sums.tasks, "Results": sums.succeeded, "ReusedResults": sums.reused}
    leading = view.backwards("commitment", group.node)
    for kind, count in wanted.items():
        typed = view.typed(kind)
        for node in leading:
            if node in typed and view.number(node, "memberCount") != count:
                yield f"{short(node)} has {view.number(node, 'memberCount')} members, {count} are committed to"
    if sums.succeeded and not any(node in view.typed("Results") for node in leading):
        yield f"{short(group.node)}: results of {sums.succeeded} tasks are not on the page"
    if sums.reused and not any(node in view.typed("ReusedResults") for node in leading):
        yield f"{short(group.node)}: reused results of {sums.reused} tasks are not on the page"
    for node in leading:
        accepted = view.number(node, "accepted")
        if node in view.typed("Cohort", "TailCohort") and accepted != sums.succeeded:
            yield f"{short(node)} has {accepted} accepted attempts, {sums.succeeded} are in its tree"
        if node in view.typed("OriginCohort") and view.number(node, "attempts") != sums.reused:
            yield f"{short(node)} has {view.number(node, 'attempts')} attempts, {sums.reused} results are reused"


@_check
def partitions_add_up(view: View) -> Iterator[str]:
    """The members of parts add up to those of the whole."""
    wholes: dict[str, int] = {}
    for whole, part in view.pairs("partitionedInto"):
        wholes[whole] = wholes.get(whole, 0) + (view.number(part, "memberCount") or 0)
    for whole, count in wholes.items():
        if view.number(whole, "memberCount") != count:
            yield f"{short(whole)} has {view.number(whole, 'memberCount')} members, its parts {count}"


@_check
def unsuccessful_cohorts_make_nothing(view: View) -> Iterator[str]:
    """Only attempts that succeeded bring results."""
    for entity, activity in view.pairs("prov:wasGeneratedBy"):
        outcome = view.text(activity, "outcome")
        if outcome is not None and outcome != Outcome.SUCCEEDED.word and activity in view.typed("Cohort", "TailCohort"):
            yield f"{short(activity)} ended as {outcome} and made {short(entity)}"


@_check
def nothing_uses_what_it_makes(view: View) -> Iterator[str]:
    """No activity uses what it generated."""
    made = {(activity, entity) for entity, activity in view.pairs("prov:wasGeneratedBy")}
    for activity, entity in view.pairs("prov:used"):
        if (activity, entity) in made:
            yield f"{short(activity)} uses {short(entity)}"


@_check
def parts_end_within_the_whole(view: View) -> Iterator[str]:
    """Times of cohorts lie inside their map's, those of attempts inside their cohort's."""
    for part, whole in view.pairs(DCTERMS + "isPartOf"):
        if part in view.typed("Submission"):
            continue
        start, end, first, last = (
            _time(view, node, name) for node in (part, whole) for name in ("prov:startedAtTime", "prov:endedAtTime")
        )
        if (start and first and start < first) or (end and last and end > last) or (start and end and end < start):
            yield f"{short(part)} is not within {short(whole)}"


def _time(view: View, node: str, name: str) -> datetime | None:
    found = view.text(node, name)
    try:
        return None if found is None else datetime.fromisoformat(found)
    except ValueError:
        raise Broken("parts-end-within-the-whole", f"{short(node)}: {found} is no time") from None


@_check
def nothing_derives_from_itself(view: View) -> Iterator[str]:
    """No cycle over derivations and revisions."""
    sources: dict[str, set[str]] = {}
    for name in ("prov:wasDerivedFrom", "prov:wasRevisionOf"):
        for made, source in view.pairs(name):
            sources.setdefault(made, set()).add(source)
    waiting = {made: set(found) for made, found in sources.items()}
    while free := {one for found in waiting.values() for one in found} - waiting.keys():
        for found in waiting.values():
            found.difference_update(free)
        done = [made for made, found in waiting.items() if not found]
        for made in done:
            del waiting[made]
    if any(waiting.values()):
        yield f"{', '.join(short(one) for one in sorted(waiting))} derive from each other"


@_check
def both_forms_agree(view: View) -> Iterator[str]:
    """What was used, made and answered for is said both in short and qualified, and alike."""
    for name, qualified, end in (
        ("prov:used", "prov:qualifiedUsage", "prov:entity"),
        ("prov:wasGeneratedBy", "prov:qualifiedGeneration", "prov:activity"),
        ("prov:wasAssociatedWith", "prov:qualifiedAssociation", "prov:agent"),
    ):
        long = {(node, to) for node, relation in view.pairs(qualified) for to in view.links(relation, end)}
        for node, to in sorted(long ^ set(view.pairs(name))):
            yield f"{short(node)} {name.removeprefix('prov:')} {short(to)} is said in one form only"


def _told(sums: Sums) -> str:
    return ", ".join(f"{value} {name}" for name, value in zip(sums._fields, sums, strict=True))
