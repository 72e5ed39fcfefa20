"""A whole page: maps in the order of their flow, and the document that speaks of itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from provrun.core.history import Circumstances
from provrun.export import rdf
from provrun.export.exemplars import Exemplar, ExemplarNodes
from provrun.export.flow import add_flow
from provrun.export.maps import MapNodes
from provrun.export.page import Page, page_uuid
from provrun.export.rdf import PAGE_DIGEST, page_digest
from provrun.export.summary import Summary
from provrun.export.things import Known, Things

if TYPE_CHECKING:
    from prov.identifier import QualifiedName

PROFILE = "https://w3id.org/provrun/profile/1"


@dataclass(frozen=True)
class Figure:
    """A file that its author says was made from the exported results."""

    name: str
    sha256: str
    size: int


@dataclass(frozen=True)
class Told:
    """What is known of one map: its summary and the tasks shown in full."""

    summary: Summary
    exemplars: Sequence[Exemplar]
    level: Callable[[int], int]


@dataclass
class Built:
    """A page and the name under which it speaks of itself; ``digest`` is that of all it says, once it is sealed."""

    page: Page
    node: QualifiedName
    snapshot: str
    digest: str = ""
    maps: Mapping[str, MapNodes] = field(default_factory=dict)
    _statements: list[rdf.Triple] | None = None

    @property
    def statements(self) -> list[rdf.Triple]:
        """The page as sorted triples."""
        if self._statements is None:
            self._statements = rdf.triples(self.page.document)
        return self._statements

    def seal(self) -> None:
        """Let the page state its own digest, after which nothing can be added."""
        self._statements = None
        self.digest = page_digest(self.statements)
        self.page.say(self.node, pageDigest=self.digest)
        stated = rdf.Triple(str(self.node.uri), PAGE_DIGEST, rdf.Literal(self.digest, rdf.XSD + "string"))
        self._statements = rdf.in_order([*self.statements, stated])


def build(
    registry: str, told: Sequence[Told], known: Known, circumstances: Mapping[int, Circumstances], *,
    figures: Sequence[Figure] = (), leaves: Sequence[str] = (), revises: str | None = None, base: str | None = None,
    tasks: bool = False,
) -> Built:
    """Build the page of some maps, upstream first; ``leaves`` name the maps whose results figures are made from.

    With ``tasks`` all attempts are to follow, so that what tails pool is named one by one as well.
    """
    snapshot, uuid = page_uuid([(one.summary.map.name, one.summary.commitment.root.hash.hex()) for one in told])
    page = Page(registry, uuid, base=base)
    things = Things(page, known)
    nodes = {
        one.summary.map.name: MapNodes(page, things, one.summary, place) for place, one in enumerate(told)
    }
    for one in told:
        mine = nodes[one.summary.map.name]
        mine.add()
        add_flow(page, mine, nodes)
        shown = ExemplarNodes(mine, circumstances.__getitem__, one.level)
        for exemplar in one.exemplars:
            shown.add(exemplar)
        if tasks:
            _name_pooled(things, one.summary)
    things.revisions()
    for number, figure in enumerate(figures):
        name = page.entity(
            page.p(f"figure.{number}"), ["Figure"], name=figure.name, sha256=figure.sha256, size=figure.size
        )
        page.attributed(name, things.person)
        for map in leaves:
            if nodes[map].summary.results or nodes[map].summary.reused:
                page.derived(name, nodes[map].results)
    node = _itself(page, things, snapshot, revises)
    return Built(page, node, snapshot, maps=nodes)


def _name_pooled(things: Things, summary: Summary) -> None:
    for cohort in (one for part in summary.parts if part.tail for one in part.cohorts):
        things.code(cohort.key.code)
        things.environment(cohort.key.environment)
        things.inputs(cohort.key.inputs)


def _itself(page: Page, things: Things, snapshot: str, revises: str | None) -> QualifiedName:
    """Add what the document says of itself; an export only reads, so it has no time of its own."""
    node = page.entity(page.p("page"), ["prov:Bundle"], snapshot=snapshot, profile=PROFILE)
    export = page.activity(page.p("export"), ["Export"])
    page.associated(export, things.provrun, version=things.known.version)
    page.generated(node, export)
    page.attributed(node, things.person)
    if revises is not None:
        from prov.identifier import Namespace

        start, _, local = revises.rpartition("#")
        older = Namespace("older", f"{start}#")[local]
        page.entity(older, ["prov:Bundle"])
        page.revision(node, older)
    return node
