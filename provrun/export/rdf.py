"""RDF with stable bytes: one sorted set of triples, written as Turtle, N-Triples, JSON-LD or TriG.

The triples are those of `prov`'s own encoding of the document, plus the shortcut (``prov:used`` beside
``prov:qualifiedUsage``) of every identified relation, which prov leaves out as soon as a relation has an identifier,
plus ``prov:wasRevisionOf``, which prov writes as a derivation only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from prov.model import ProvDocument

RDF_TYPE = "http://www.w3.org/1999/02/22-rdf-syntax-ns#type"
PROV = "http://www.w3.org/ns/prov#"
PAGE_DIGEST = "https://w3id.org/provrun/ns#pageDigest"
XSD = "http://www.w3.org/2001/XMLSchema#"
_SAFE_LOCAL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_-])?\Z")
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"}
_ESCAPED = re.compile(r'["\\\x00-\x1f\x7f]')


class Iri(NamedTuple):
    """The name of a node."""

    iri: str


class Literal(NamedTuple):
    """A value: lexical form and datatype (an IRI)."""

    text: str
    datatype: str


class Triple(NamedTuple):
    """One statement."""

    subject: str
    predicate: str
    object: Iri | Literal


def triples(document: ProvDocument) -> list[Triple]:
    """Encode a document of qualified relations as RDF: sorted, without duplicates, shortcuts included.

    Raises ``TypeError`` for a blank node: every node of a page has a name.
    """
    from prov.serializers.provrdf import ProvRDFSerializer
    from rdflib import BNode
    from rdflib import Literal as RdfLiteral

    found: set[Triple] = set()
    for part in (document, _shortcuts(document)):
        for subject, predicate, value, _ in ProvRDFSerializer(part).encode_document(part).quads():
            if isinstance(subject, BNode) or isinstance(value, BNode):
                raise TypeError(f"a blank node in the graph: {subject} {predicate} {value}")
            if isinstance(value, RdfLiteral):
                found.add(Triple(str(subject), str(predicate), _literal(str(value), value.datatype)))
            else:
                found.add(Triple(str(subject), str(predicate), Iri(str(value))))
    return in_order(found | _revisions(found))


def in_order(statements: Iterable[Triple]) -> list[Triple]:
    """Sort triples by subject, its types first, predicate and object."""
    return sorted(statements, key=_order)


def page_digest(statements: Iterable[Triple]) -> str:
    """Digest all triples but the one that states the digest.

    It is the SHA-256 of the canonical N-Quads of RDFC-1.0: as no node is blank, these are the sorted lines.
    """
    lines = {line for triple in statements if triple.predicate != PAGE_DIGEST for line in write_nt([triple])}
    whole = sha256()
    for line in sorted(lines):
        whole.update(line.encode())
    return whole.hexdigest()


def _revisions(found: set[Triple]) -> set[Triple]:
    """Give the shortcut of every qualified revision."""
    earlier = {t.subject: t.object for t in found if t.predicate == PROV + "entity"}
    return {
        Triple(t.subject, PROV + "wasRevisionOf", earlier[t.object.iri])
        for t in found
        if t.predicate == PROV + "qualifiedRevision" and isinstance(t.object, Iri)
    }


def _shortcuts(document: ProvDocument) -> ProvDocument:
    """Give the unidentified, unadorned twin of every identified relation."""
    from prov.model import ProvDocument, ProvRelation

    twins = ProvDocument()
    for namespace in document.namespaces:
        twins.add_namespace(namespace)
    for record in document.get_records(ProvRelation):
        if record.identifier is not None:
            twins.new_record(record.get_type(), None, record.formal_attributes[:2])
    return twins


def _literal(text: str, datatype: object) -> Literal:
    name = str(datatype) if datatype is not None else XSD + "string"
    return Literal(time_text(datetime.fromisoformat(text)) if name == XSD + "dateTime" else text, name)


def time_text(instant: datetime) -> str:
    """Write an instant as ``YYYY-MM-DDTHH:MM:SS.ddd+00:00``: every page and reader sees the same characters."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds")


def _order(triple: Triple) -> tuple[str, bool, str, tuple[str, ...]]:
    return triple.subject, triple.predicate != RDF_TYPE, triple.predicate, tuple(triple.object)


def quoted(text: str) -> str:
    """Quote a literal for N-Triples and Turtle."""
    return '"' + _ESCAPED.sub(lambda m: _ESCAPES.get(m[0], f"\\u{ord(m[0]):04X}"), text) + '"'


def write_nt(statements: Iterable[Triple]) -> Iterator[str]:
    """Write N-Triples, a line each."""
    for subject, predicate, value in statements:
        yield f"<{subject}> <{predicate}> {_full(value)} .\n"


def _full(value: Iri | Literal) -> str:
    if isinstance(value, Iri):
        return f"<{value.iri}>"
    return quoted(value.text) + ("" if value.datatype == XSD + "string" else f"^^<{value.datatype}>")


class Prefixes:
    """Shorten IRIs; only prefixes that were used are declared."""

    def __init__(self, namespaces: Mapping[str, str]) -> None:
        self._namespaces = sorted(namespaces.items(), key=lambda item: -len(item[1]))
        self._used: dict[str, str] = {}

    def short(self, iri: str) -> str:
        """Give ``prefix:local`` where that is safe in Turtle without escapes, else ``<iri>``."""
        for prefix, start in self._namespaces:
            if iri.startswith(start) and _SAFE_LOCAL.match(iri, len(start)):
                self._used[prefix] = start
                return f"{prefix}:{iri[len(start):]}"
        return f"<{iri}>"

    def value(self, value: Iri | Literal) -> str:
        """Write an object."""
        if isinstance(value, Iri):
            return self.short(value.iri)
        if value.datatype == XSD + "string":
            return quoted(value.text)
        if value.datatype == XSD + "integer":
            return value.text
        return f"{quoted(value.text)}^^{self.short(value.datatype)}"

    def declarations(self) -> str:
        """Declare what `short` has used so far."""
        return "".join(f"@prefix {prefix}: <{iri}> .\n" for prefix, iri in sorted(self._used.items()))

    def declarations_of_all(self) -> str:
        """Declare whatever `short` may use."""
        self._used.update(self._namespaces)
        return self.declarations()


def _blocks(statements: Iterable[Triple], prefixes: Prefixes, indent: str = "") -> Iterator[str]:
    for subject, about in groupby(statements, key=lambda triple: triple.subject):
        lines = []
        for predicate, same in groupby(about, key=lambda triple: triple.predicate):
            verb = "a" if predicate == RDF_TYPE else prefixes.short(predicate)
            lines.append(f"{verb} {', '.join(prefixes.value(triple.object) for triple in same)}")
        yield f"{indent}{prefixes.short(subject)} " + f" ;\n{indent}    ".join(lines) + " .\n"


def write_turtle(
    statements: Iterable[Triple], namespaces: Mapping[str, str], *, whole: bool = True
) -> Iterator[str]:
    """Write Turtle: a block for each subject, declared prefixes are those in use; all, if the text is not whole yet."""
    prefixes = Prefixes(namespaces)
    blocks = list(_blocks(statements, prefixes))
    yield prefixes.declarations() if whole else prefixes.declarations_of_all()
    for block in blocks:
        yield "\n" + block


def more_turtle(statements: Iterable[Triple], namespaces: Mapping[str, str]) -> Iterator[str]:
    """Write more of a Turtle text whose prefixes are declared."""
    for block in _blocks(statements, Prefixes(namespaces)):
        yield "\n" + block


def write_trig(
    statements: Iterable[Triple], namespaces: Mapping[str, str], graph: str, outside: str,
    more: Iterable[Sequence[Triple]] | None = None,
) -> Iterator[str]:
    """Write TriG: the triples about ``outside`` in the default graph, all others in the named ``graph``.

    ``more`` are further triples of that graph, written as they come.
    """
    listed = list(statements)
    prefixes = Prefixes(namespaces)
    default = list(_blocks((t for t in listed if t.subject == outside), prefixes))
    named = list(_blocks((t for t in listed if t.subject != outside), prefixes, indent="    "))
    name = prefixes.short(graph)
    yield prefixes.declarations() if more is None else prefixes.declarations_of_all()
    for block in default:
        yield "\n" + block
    yield f"\n{name} {{\n"
    yield "\n".join(named)
    for some in more or ():
        for block in _blocks(some, prefixes, indent="    "):
            yield "\n" + block
    yield "}\n"


def write_jsonld(statements: Iterable[Triple]) -> Iterator[str]:
    """Write expanded JSON-LD: typed literals, no context to fetch; an object whenever another subject follows."""
    separator = "[\n"
    for subject, about in groupby(statements, key=lambda triple: triple.subject):
        node: dict[str, object] = {"@id": subject}
        for predicate, same in groupby(about, key=lambda triple: triple.predicate):
            values = [triple.object for triple in same]
            if predicate == RDF_TYPE:
                node["@type"] = [value.iri for value in values if isinstance(value, Iri)]
            else:
                node[predicate] = [_expanded(value) for value in values]
        yield separator + json.dumps(node, ensure_ascii=False)
        separator = ",\n"
    yield "\n]\n" if separator != "[\n" else "[]\n"


def _expanded(value: Iri | Literal) -> dict[str, str]:
    if isinstance(value, Iri):
        return {"@id": value.iri}
    if value.datatype == XSD + "string":
        return {"@value": value.text}
    return {"@value": value.text, "@type": value.datatype}
