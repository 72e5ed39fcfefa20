"""A page as text, in every format: RDF from one set of triples, PROV's own formats by `prov`, a drawing by us."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

from provrun.export import dot, rdf
from provrun.export.document import Built

Writer = Callable[[Built], Iterator[str]]


def _turtle(built: Built) -> Iterator[str]:
    return rdf.write_turtle(built.statements, built.page.namespaces)


def _trig(built: Built) -> Iterator[str]:
    iri = str(built.node.uri)
    return rdf.write_trig(built.statements, built.page.namespaces, iri, iri)


def _nt(built: Built) -> Iterator[str]:
    return rdf.write_nt(built.statements)


def _jsonld(built: Built) -> Iterator[str]:
    return rdf.write_jsonld(built.statements)


def _by_prov(name: str, **options: object) -> Writer:
    def write(built: Built) -> Iterator[str]:
        out = io.StringIO()
        built.page.document.serialize(out, format=name, **options)
        text = out.getvalue()
        yield text if text.endswith("\n") else text + "\n"

    return write


FORMATS: dict[str, Writer] = {
    "turtle": _turtle,
    "trig": _trig,
    "nt": _nt,
    "jsonld": _jsonld,
    "provn": _by_prov("provn"),
    "provjson": _by_prov("json", indent=1),
    "provxml": _by_prov("xml"),
    "dot": dot.write,
}
"""How to write a page, by the name of the format."""
