"""The document under construction: named nodes and qualified relations of W3C PROV-DM, nothing anonymous.

Every relation is qualified and has a name; the shortcuts of PROV-O are added when RDF is written.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import NAMESPACE_URL, uuid5

from provrun.core.canonical import digest

if TYPE_CHECKING:
    from prov.identifier import QualifiedName

PR = "https://w3id.org/provrun/ns#"
DCTERMS = "http://purl.org/dc/terms/"
PAGE = "https://w3id.org/provrun/page/"
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def printable(text: str) -> str:
    """Escape as ``\\uXXXX`` what XML 1.0 forbids."""
    return _FORBIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def started_at(micros: int) -> datetime:
    """Give an instant in UTC, rounded down to the millisecond."""
    return datetime.fromtimestamp(micros // 1000 / 1000, UTC)


def ended_at(micros: int) -> datetime:
    """Give an instant in UTC, rounded up to the millisecond."""
    return datetime.fromtimestamp(-(-micros // 1000) / 1000, UTC)


def page_uuid(maps: Sequence[tuple[str, str]]) -> tuple[str, str]:
    """Give the snapshot digest (hex) of maps [(name, root)] and the UUID of the page that shows it."""
    snapshot = digest("page", {"v": 1, "maps": [list(pair) for pair in maps]}).hex()
    return snapshot, str(uuid5(NAMESPACE_URL, PAGE + snapshot))


class Page:
    """A PROV document with two namespaces: ``r:`` names what never changes, ``p:`` what is true of this page."""

    def __init__(self, registry: str, uuid: str, *, base: str | None = None) -> None:
        from prov.constants import PROV, XSD
        from prov.model import Literal, ProvDocument

        self._literal = Literal
        self._integer = XSD["integer"]
        self.prov = PROV
        self.document = ProvDocument()
        starts = (f"{base}{registry}#", f"{base}{uuid}#") if base else (f"urn:uuid:{registry}#", f"urn:uuid:{uuid}#")
        self._r = self.document.add_namespace("r", starts[0])
        self._p = self.document.add_namespace("p", starts[1])
        self._pr = self.document.add_namespace("pr", PR)
        self._dcterms = self.document.add_namespace("dcterms", DCTERMS)
        self.namespaces = {
            "r": starts[0], "p": starts[1], "pr": PR, "dcterms": DCTERMS, "prov": PROV.uri, "xsd": XSD.uri,
            "foaf": "http://xmlns.com/foaf/0.1/",
        }
        self._named: dict[str, str] = {}
        self._informed: set[QualifiedName] = set()

    def r(self, local: str) -> QualifiedName:
        """Name what never changes."""
        return self._r[local]

    def p(self, local: str) -> QualifiedName:
        """Name what is true of this page."""
        return self._p[local]

    def digested(self, kind: str, hexadecimal: str) -> QualifiedName:
        """Name a thing by the first 16 digits of its digest; `ValueError` when two things would share the name."""
        local = f"{kind}.{hexadecimal[:16]}"
        if self._named.setdefault(local, hexadecimal) != hexadecimal:
            raise ValueError(f"two digests begin alike: {local}")
        return self._r[local]

    def activity(
        self, node: QualifiedName, types: Sequence[str], /, *, started: int | None = None, ended: int | None = None,
        **about: object,
    ) -> QualifiedName:
        """Add an activity; times in microseconds."""
        times = (None if started is None else started_at(started), None if ended is None else ended_at(ended))
        self.document.activity(node, *times, other_attributes=self._attributes(types, about))
        return node

    def entity(self, node: QualifiedName, types: Sequence[str], /, **about: object) -> QualifiedName:
        """Add an entity; ``types`` without prefix are of the provrun vocabulary."""
        self.document.entity(node, self._attributes(types, about))
        return node

    def say(self, node: QualifiedName, **about: object) -> None:
        """Say more of a node that is there."""
        (record,) = self.document.get_record(node)
        record.add_attributes(self._attributes((), about))

    def agent(self, node: QualifiedName, types: Sequence[str], /, **about: object) -> QualifiedName:
        """Add an agent."""
        self.document.agent(node, self._attributes(types, about))
        return node

    def used(self, activity: QualifiedName, entity: QualifiedName, **about: object) -> None:
        """Say that an activity used an entity."""
        self.document.used(activity, entity, None, self._name("u", activity, entity), self._attributes((), about))

    def generated(self, entity: QualifiedName, activity: QualifiedName) -> None:
        """Say that an entity was made by an activity."""
        self.document.wasGeneratedBy(entity, activity, None, self._name("g", entity, activity))

    def derived(self, made: QualifiedName, source: QualifiedName, *types: str) -> None:
        """Say that an entity was made from another."""
        self.document.wasDerivedFrom(
            made, source, identifier=self._name("d", made, source), other_attributes=self._attributes(types, {})
        )

    def revision(self, newer: QualifiedName, older: QualifiedName, **about: object) -> None:
        """Say that an entity is a revision of another."""
        self.document.wasDerivedFrom(
            newer, older, identifier=self._name("v", newer, older),
            other_attributes=self._attributes(["prov:Revision"], about),
        )

    def associated(
        self, activity: QualifiedName, agent: QualifiedName, plan: QualifiedName | None = None, **about: object
    ) -> None:
        """Say that an agent was responsible for an activity, following a plan."""
        self.document.wasAssociatedWith(
            activity, agent, plan, self._name("a", activity, agent), self._attributes((), about)
        )

    def attributed(self, entity: QualifiedName, agent: QualifiedName) -> None:
        """Say that an entity is due to an agent."""
        self.document.wasAttributedTo(entity, agent, self._name("t", entity, agent))

    def informed(self, later: QualifiedName, earlier: QualifiedName) -> None:
        """Say that an activity waited for another, or was begun by it, without reading from it; once for each pair."""
        name = self._name("i", later, earlier)
        if name not in self._informed:
            self._informed.add(name)
            self.document.wasInformedBy(later, earlier, name)

    def delegated(self, agent: QualifiedName, person: QualifiedName) -> None:
        """Say that an agent acted on behalf of another."""
        self.document.actedOnBehalfOf(agent, person, None, self._name("b", agent, person))

    def member(self, collection: QualifiedName, entity: QualifiedName) -> None:
        """Say that an entity belongs to a collection."""
        self.document.hadMember(collection, entity)

    def _name(self, kind: str, left: QualifiedName, right: QualifiedName) -> QualifiedName:
        return self._p[f"{kind}.{left.localpart}.{right.localpart}"]

    def _attributes(self, types: Sequence[str], about: Mapping[str, object]) -> list[tuple[QualifiedName, object]]:
        listed: list[tuple[QualifiedName, object]] = [(self.prov["type"], self._type(name)) for name in types]
        for key, value in about.items():
            name = self._dcterms[key.removeprefix("dcterms_")] if key.startswith("dcterms_") else self._pr[key]
            values = value if isinstance(value, list) else [value]
            listed += [(name, self._value(each)) for each in values if each is not None]
        return listed

    def _type(self, name: str) -> QualifiedName:
        return self.prov[name.removeprefix("prov:")] if name.startswith("prov:") else self._pr[name]

    def _value(self, value: object) -> object:
        if isinstance(value, bool):
            return value
        if isinstance(value, int):
            # prov turns Python ints into xsd:int or xsd:long by their size.
            return self._literal(str(value), self._integer)
        return printable(value) if isinstance(value, str) else value
