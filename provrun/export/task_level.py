"""The task level: the page, and after it every attempt as an activity of its own, streamed task by task.

What is said of an attempt is what `ExemplarNodes` says. For RDF it is written as triples at once, since `prov` would
take milliseconds for each attempt; the tests compare both. PROV's own formats stand in `task_documents`.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import chain
from typing import TYPE_CHECKING, Generic, TypeVar

from provrun.core.history import Circumstances
from provrun.export import rdf
from provrun.export.exemplars import Exemplar, ExemplarNodes
from provrun.export.maps import MapNodes
from provrun.export.page import Page
from provrun.export.rdf import PROV, RDF_TYPE, XSD, Iri, Literal, Triple
from provrun.export.things import Things

if TYPE_CHECKING:
    from prov.identifier import QualifiedName

FORMATS = ("turtle", "trig", "nt", "jsonld")
"""The formats of RDF."""

T = TypeVar("T")


class TaskPage(Page, ABC, Generic[T]):
    """Says what a page says of one task after the other, and remembers none of them."""

    def __init__(self, page: Page) -> None:
        self.__dict__.update(page.__dict__)
        self._begin()

    def taken(self) -> T:
        """Give what has been said since the last time, and forget it."""
        found = self._said()
        self._begin()
        return found

    def digested(self, kind: str, hexadecimal: str) -> QualifiedName:
        """Name a thing by its digest; a clash is seen with the things of the page, not with those of other tasks."""
        local = f"{kind}.{hexadecimal[:16]}"
        if self._named.get(local, hexadecimal) != hexadecimal:
            raise ValueError(f"two digests begin alike: {local}")
        return self.r(local)

    def _begin(self) -> None:
        from prov.identifier import Namespace

        # A namespace of prov keeps every name it has ever given.
        self._r = Namespace("r", self.namespaces["r"])
        self._p = Namespace("p", self.namespaces["p"])

    @abstractmethod
    def _said(self) -> T: ...


class StatementPage(TaskPage[list[Triple]]):
    """Says it as sorted triples."""

    def _begin(self) -> None:
        super()._begin()
        self._statements: set[Triple] = set()

    def _said(self) -> list[Triple]:
        return rdf.in_order(self._statements)

    def activity(
        self, node: QualifiedName, types: Sequence[str], /, *, started: int | None = None, ended: int | None = None,
        **about: object,
    ) -> QualifiedName:
        from provrun.export.page import ended_at, started_at

        self._typed(node, "Activity", types, about)
        for name, moment in (
            ("startedAtTime", None if started is None else started_at(started)),
            ("endedAtTime", None if ended is None else ended_at(ended)),
        ):
            if moment is not None:
                self._say(node, PROV + name, _literal(moment))
        return node

    def entity(self, node: QualifiedName, types: Sequence[str], /, **about: object) -> QualifiedName:
        self._typed(node, "Entity", types, about)
        return node

    def used(self, activity: QualifiedName, entity: QualifiedName, **about: object) -> None:
        self._related("u", "Usage", "used", "entity", activity, entity, (), about)

    def generated(self, entity: QualifiedName, activity: QualifiedName) -> None:
        self._related("g", "Generation", "wasGeneratedBy", "activity", entity, activity, (), {})

    def derived(self, made: QualifiedName, source: QualifiedName, *types: str) -> None:
        self._related("d", "Derivation", "wasDerivedFrom", "entity", made, source, types, {})

    def associated(
        self, activity: QualifiedName, agent: QualifiedName, plan: QualifiedName | None = None, **about: object
    ) -> None:
        name = self._related("a", "Association", "wasAssociatedWith", "agent", activity, agent, (), about)
        if plan is not None:
            self._say(name, PROV + "hadPlan", Iri(plan.uri))

    def member(self, collection: QualifiedName, entity: QualifiedName) -> None:
        self._say(collection, PROV + "hadMember", Iri(entity.uri))

    def _related(
        self, kind: str, type: str, shortcut: str, role: str, left: QualifiedName, right: QualifiedName,
        types: Sequence[str], about: Mapping[str, object],
    ) -> QualifiedName:
        name = self._name(kind, left, right)
        self._say(left, PROV + shortcut, Iri(right.uri))
        self._say(left, PROV + f"qualified{type}", Iri(name.uri))
        self._typed(name, type, types, about)
        self._say(name, PROV + role, Iri(right.uri))
        return name

    def _typed(self, node: QualifiedName, type: str, types: Sequence[str], about: Mapping[str, object]) -> None:
        self._say(node, RDF_TYPE, Iri(PROV + type))
        for name, value in self._attributes(types, about):
            predicate = RDF_TYPE if name == self.prov["type"] else name.uri
            self._say(node, predicate, Iri(value.uri) if hasattr(value, "uri") else _literal(value))

    def _say(self, node: QualifiedName, predicate: str, value: Iri | Literal) -> None:
        self._statements.add(Triple(node.uri, predicate, value))


def _literal(value: object) -> Literal:
    if isinstance(value, bool):
        return Literal("true" if value else "false", XSD + "boolean")
    if isinstance(value, datetime):
        return Literal(rdf.time_text(value), XSD + "dateTime")
    if isinstance(value, str):
        return Literal(value, XSD + "string")
    return Literal(str(value.value), XSD + "integer")  # type: ignore[attr-defined]  # a number as `Page` wraps it


class _StreamedThings(Things):
    """The things of a page, and others said again whenever they are named: nothing of a task is remembered."""

    def __init__(self, things: Things, page: Page) -> None:
        self.__dict__.update(things.__dict__)
        self.page = page

    def first(self, name: QualifiedName) -> bool:
        return name.localpart not in self._there


def attempts_of(
    page: TaskPage[T], nodes: MapNodes, circumstances: Mapping[int, Circumstances], level: Callable[[int], int],
    tasks: Iterable[Exemplar],
) -> Iterator[T]:
    """Give what ``page`` says of each task of a map that has an ended attempt."""
    mine = copy.copy(nodes)
    mine.page = page
    mine.things = _StreamedThings(nodes.things, page)
    writer = ExemplarNodes(mine, circumstances.__getitem__, level)
    for task in tasks:
        if task.attempts:
            writer.add(task)
            yield page.taken()


def write(
    format: str, statements: Sequence[Triple], namespaces: Mapping[str, str], document: str,
    tasks: Iterable[list[Triple]],
) -> Iterator[str]:
    """Write the page, and after it what is said of each task; a name may stand as subject several times."""
    if format == "nt":
        yield from rdf.write_nt(statements)
        for some in tasks:
            yield from rdf.write_nt(some)
    elif format == "turtle":
        yield from rdf.write_turtle(statements, namespaces, whole=False)
        for some in tasks:
            yield from rdf.more_turtle(some, namespaces)
    elif format == "trig":
        yield from rdf.write_trig(statements, namespaces, document, document, tasks)
    else:
        yield from rdf.write_jsonld(chain(statements, chain.from_iterable(tasks)))
