"""What a page says, looked up by node and term."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import cast

from provrun.export.page import DCTERMS, PR
from provrun.export.rdf import PROV, RDF_TYPE, Iri, Triple

_NUMBERS = re.compile(r"(\d+)")
EXECUTIONS = ("Cohort", "TailCohort", "OriginCohort")


class Facts:
    """The statements of a page, by subject and predicate; terms without prefix are of the provrun vocabulary."""

    def __init__(self, triples: Iterable[Triple]) -> None:
        self._by_subject: dict[str, dict[str, list[Iri | str]]] = defaultdict(lambda: defaultdict(list))
        self._by_type: dict[str, list[str]] = defaultdict(list)
        for subject, predicate, value in triples:
            self._by_subject[subject][predicate].append(value if isinstance(value, Iri) else value.text)
            if predicate == RDF_TYPE and isinstance(value, Iri):
                self._by_type[value.iri].append(subject)

    def of(self, *kinds: str) -> list[str]:
        """Give the nodes of some types, in the order of their names, numbers by value."""
        found = {node for kind in kinds for node in self._by_type.get(_whole(kind), ())}
        return sorted(found, key=lambda node: [int(part) if part.isdigit() else part for part in _NUMBERS.split(node)])

    def is_a(self, node: str, *kinds: str) -> bool:
        """Tell whether a node has one of some types."""
        types = self._by_subject[node].get(RDF_TYPE, ()) if node in self._by_subject else ()
        return any(Iri(_whole(kind)) in types for kind in kinds)

    def texts(self, node: str, term: str) -> list[str]:
        """Give all values of a term."""
        if node not in self._by_subject:
            return []
        return [value for value in self._by_subject[node].get(_whole(term), ()) if isinstance(value, str)]

    def text(self, node: str, term: str) -> str | None:
        """Give the value of a term."""
        return next(iter(self.texts(node, term)), None)

    def number(self, node: str, term: str) -> int:
        """Give the value of a term that is a count; 0 where it is not said."""
        return int(self.text(node, term) or 0)

    def nodes(self, node: str, term: str) -> list[str]:
        """Give the nodes that a term leads to."""
        if node not in self._by_subject:
            return []
        return [value.iri for value in self._by_subject[node].get(_whole(term), ()) if isinstance(value, Iri)]

    def node(self, node: str, term: str) -> str | None:
        """Give the node that a term leads to."""
        return next(iter(self.nodes(node, term)), None)

    @cached_property
    def page(self) -> str:
        """The node under which the page speaks of itself."""
        return next(node for node in self.of("prov:Bundle") if self.text(node, "snapshot"))

    @cached_property
    def maps(self) -> list[MapFacts]:
        """The maps of the page, those that others build on first."""
        found = {node: self._map(node) for node in self.of("Map")}
        ordered: dict[str, MapFacts] = {}

        def add(node: str) -> None:
            if node in ordered:
                return
            one = found[node]
            for other in self.nodes(node, "prov:wasInformedBy"):
                if other in found and other not in ordered and node not in self.nodes(other, "prov:wasInformedBy"):
                    add(other)
            for name in one.reads:
                add(next(other for other, facts in found.items() if facts.name == name))
            ordered[node] = one

        for node in sorted(found, key=lambda node: (found[node].started is None, found[node].started, node)):
            add(node)
        return list(ordered.values())

    def _map(self, node: str) -> MapFacts:
        return MapFacts(
            node=node, name=self.text(node, "name") or "", plan=self.plan(node),
            counts={
                term: self.number(node, term)
                for term in ("planned", "succeeded", "reused", "failed", "cancelled", "notRun", "attempts", "noResult")
            },
            started=self.text(node, "prov:startedAtTime"), ended=self.text(node, "prov:endedAtTime"),
            reads=[name for name in self.upstream(node) if name != self.text(node, "name")],
        )

    @cached_property
    def executions(self) -> list[Execution]:
        """All cohorts of the page, those of other maps' results that are reused here included."""
        found = [self._execution(node) for node in self.of(*EXECUTIONS)]
        order = {one.name: place for place, one in enumerate(self.maps)}
        return sorted(found, key=lambda one: order.get(one.map or "", len(order)))

    def _execution(self, node: str) -> Execution:
        whole = self.node(node, "dcterms:isPartOf")
        origin = self.is_a(node, "OriginCohort")
        return Execution(
            node=node, whole=whole, map=self.text(whole, "name") if whole else self.text(node, "originMap"),
            origin=origin,
            tail=self.is_a(node, "TailCohort"), outcome=self.text(node, "outcome") or ("succeeded" if origin else ""),
            attempts=self.number(node, "attempts"), plan=self.plan(node),
            environments=[one for one in self.nodes(node, "prov:used") if self.is_a(one, "Environment")],
            started=self.text(node, "prov:startedAtTime"), ended=self.text(node, "prov:endedAtTime"),
            failures=[cast("dict[str, object]", json.loads(one)) for one in self.texts(node, "failure")],
        )

    def plan(self, node: str) -> str | None:
        """Give the plan that an activity followed."""
        associations = self.nodes(node, "prov:qualifiedAssociation")
        return next((plan for one in associations for plan in self.nodes(one, "prov:hadPlan")), None)

    def recipe(self, plan: str | None) -> str | None:
        """Write a command as words, a function as its entry point."""
        if plan is None:
            return None
        template = self.text(plan, "template")
        if template is None:
            return self.text(plan, "entryPoint")
        return " ".join(word if word and " " not in word else f"'{word}'" for word in json.loads(template))

    def made(self, node: str) -> list[str]:
        """Give the collections of results that an activity generated."""
        kinds = ("Results", "SupersededResults", "ReusedResults")
        return [one for one in self.of(*kinds) if node in self.nodes(one, "prov:wasGeneratedBy")]

    def upstream(self, node: str) -> list[str]:
        """Name the maps whose results an activity used."""
        found: dict[str, None] = {}
        for used in self.nodes(node, "prov:used"):
            maker = self.node(used, "prov:wasGeneratedBy")
            if maker is not None:
                whole = maker if self.is_a(maker, "Map") else self.node(maker, "dcterms:isPartOf")
                name = self.text(whole, "name") if whole else None
                if name is not None:
                    found[name] = None
        return list(found)

    def parameters(self, node: str) -> list[ParameterFacts]:
        """Give what is known of the parameters that an activity used; of a cohort, those of its own group alone."""
        whole = self.node(node, "dcterms:isPartOf")
        others = set(self.nodes(whole, "prov:used")) if whole is not None else set()
        used = [one for one in self.nodes(node, "prov:used") if one not in others]
        collections = [one for one in used if self.is_a(one, "Parameters")]
        for collection in collections:
            found = [ParameterFacts(one, self.text(one, "name") or "", self._values(one))
                     for one in self.nodes(collection, "parameter")]
            if found:
                return sorted(found)
        return []

    def _values(self, parameter: str) -> str:
        values = self.text(parameter, "values")
        if values is not None:
            return values
        distinct = self.text(parameter, "distinct") or f"at least {self.text(parameter, 'distinctAtLeast')}"
        least, most = self.text(parameter, "minimum"), self.text(parameter, "maximum")
        between = f" from {least} to {most}" if least is not None and most is not None else ""
        return f"{distinct} distinct values{between}"

    @cached_property
    def declared(self) -> list[str]:
        """Say which results of older code a person holds to be valid, and why."""
        said = []
        for node in self.of("Acceptance"):
            codes = [one for one in self.nodes(node, "prov:used") if self.is_a(one, "CodeVersion")]
            code = next((f" at {self.revision(one)}" for one in codes), "")
            tasks, maps = self.number(node, "tasks"), ", ".join(self.upstream(node))
            said.append(
                f"{maps}: {tasks} result{'s' if tasks != 1 else ''} of older code "
                f"{'are' if tasks != 1 else 'is'} held to agree with the code{code}: {self.text(node, 'reason')}"
            )
        return said

    def revision(self, plan: str) -> str:
        """Name a version of code in a few characters; ``+`` says that it had changes that were not committed."""
        members = self.number(plan, "memberCount")
        if members:
            return f"{members} versions"
        commit = self.text(plan, "commit")
        name = commit.rpartition(":")[2][:12] if commit else (self.text(plan, "digest") or "")[:12]
        return name + (" +" if self.text(plan, "dirty") == "true" else "")

    @cached_property
    def last(self) -> str:
        """The latest instant on the page: it changes with the state, and not with the time of the export."""
        times = [
            text for node in self.of("prov:Activity") for term in ("prov:startedAtTime", "prov:endedAtTime")
            for text in self.texts(node, term)
        ]
        return max(times, default="1970-01-01T00:00:00.000+00:00")


def _whole(term: str) -> str:
    prefix, colon, local = term.partition(":")
    if not colon:
        return PR + term
    return {"prov": PROV, "dcterms": DCTERMS}[prefix] + local


@dataclass(frozen=True)
class MapFacts:
    """One map: its counts and the maps it reads."""

    node: str
    name: str
    plan: str | None
    counts: dict[str, int]
    started: str | None
    ended: str | None
    reads: list[str]


@dataclass(frozen=True)
class Execution:
    """One cohort: executions that share their circumstances; ``map`` is that of which they are, on the page or not."""

    node: str
    whole: str | None
    map: str | None
    origin: bool
    tail: bool
    outcome: str
    attempts: int
    plan: str | None
    environments: list[str]
    started: str | None
    ended: str | None
    failures: list[dict[str, object]]

    @property
    def succeeded(self) -> bool:
        """Tell whether the executions succeeded."""
        return self.outcome == "succeeded"

    @property
    def name(self) -> str:
        """Say what it is, with the number of executions."""
        executions = "1 execution" if self.attempts == 1 else f"{self.attempts} executions"
        where = f"{self.map}: " if self.map else ""
        if self.origin:
            return f"{where}{executions} whose results are reused"
        return f"{where}{executions} that succeeded" if self.succeeded else f"{where}{executions} that did not succeed"

    @property
    def error(self) -> str:
        """Say what went wrong, and how often."""
        said = []
        for one in self.failures:
            if "class" not in one:
                said.append(f"{one.get('count')} in other ways")
                continue
            detail = f" {one['detail']}" if one.get("detail") is not None else ""
            said.append(f"{one['class']}{detail}: {one['count']}")
        return "; ".join(said) or self.outcome


@dataclass(frozen=True, order=True)
class ParameterFacts:
    """One parameter and its values in words."""

    node: str
    name: str
    values: str
