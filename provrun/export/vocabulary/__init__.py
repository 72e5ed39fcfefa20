"""The vocabulary of pages: an ontology, shapes and a JSON-LD context, kept beside the code that writes its terms."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from typing import NamedTuple

PR = "https://w3id.org/provrun/ns#"
FILES = {"ontology": "provrun.ttl", "shapes": "shapes.ttl", "context": "context.jsonld"}
_PREFIXES = {
    PR: "pr:", "http://www.w3.org/ns/prov#": "prov:", "http://www.w3.org/2001/XMLSchema#": "xsd:",
}


class Term(NamedTuple):
    """A term as the ontology has it; ``kind`` is ``class``, ``object`` or ``data``, what is not said is empty."""

    name: str
    kind: str
    comment: str
    example: str
    parent: str
    domain: str
    range: str


def text(part: str) -> str:
    """Give a file of the vocabulary: ``ontology`` and ``shapes`` are Turtle, ``context`` is JSON-LD."""
    return (files(__name__) / FILES[part]).read_text(encoding="utf-8")


def version() -> str:
    """Give the version of the vocabulary."""
    from rdflib import OWL, Graph, URIRef

    graph = Graph().parse(data=text("ontology"), format="turtle")
    return str(graph.value(URIRef(PR.removesuffix("#")), OWL.versionInfo))


def terms() -> list[Term]:
    """Read all terms from the ontology: classes, then properties, each by name."""
    from rdflib import OWL, RDF, RDFS, SKOS, Graph, Namespace, URIRef
    from rdflib.term import Node

    graph = Graph().parse(data=text("ontology"), format="turtle")
    kinds = {OWL.Class: "class", OWL.ObjectProperty: "object", OWL.DatatypeProperty: "data"}
    namespace = Namespace(PR)

    def said(node: URIRef, predicate: URIRef) -> str:
        return ", ".join(sorted(_short(str(value)) for value in graph.objects(node, predicate)))

    def found() -> Iterator[Term]:
        kind: Node
        for kind, word in kinds.items():
            for node in graph.subjects(RDF.type, kind):
                if isinstance(node, URIRef) and node in namespace:
                    yield Term(
                        str(node).removeprefix(PR), word, str(graph.value(node, RDFS.comment)),
                        str(graph.value(node, SKOS.example)), said(node, RDFS.subClassOf), said(node, RDFS.domain),
                        said(node, RDFS.range),
                    )

    return sorted(found(), key=lambda term: (term.kind != "class", term.name.lower()))


def _short(iri: str) -> str:
    for start, prefix in _PREFIXES.items():
        if iri.startswith(start):
            return prefix + iri[len(start):]
    return iri


def context() -> dict[str, object]:
    """Make the JSON-LD context: every term under its own name, typed as the ontology has it."""
    made: dict[str, object] = {
        "@version": 1.1, "dcterms": "http://purl.org/dc/terms/", "pr": PR, "prov": "http://www.w3.org/ns/prov#",
        "xsd": "http://www.w3.org/2001/XMLSchema#",
    }
    for term in terms():
        about = {"@id": f"pr:{term.name}"}
        if term.kind == "object":
            about["@type"] = "@id"
        elif term.range.startswith("xsd:") and term.range != "xsd:string":
            about["@type"] = term.range
        made[term.name] = about if "@type" in about else about["@id"]
    return {"@context": made}
