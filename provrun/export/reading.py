"""A published page read back: quickly where it looks as we write it, else by rdflib or prov.

The quick reader knows a part of Turtle (N-Triples included). Whatever it accepts means what Turtle says it means; of
everything else it knows nothing, and a whole parser reads the page.
"""

from __future__ import annotations

import re
from pathlib import Path
from warnings import catch_warnings, simplefilter

from provrun.errors import ProvrunError
from provrun.export.rdf import RDF_TYPE, XSD, Iri, Literal, Triple

_RDF = {
    ".ttl": "turtle", ".nt": "nt", ".jsonld": "json-ld", ".trig": "trig", ".nq": "nquads", ".rdf": "xml", ".n3": "n3",
}
_PROV = {".provn": "provn", ".json": "json", ".xml": "xml"}
_TOKEN = re.compile(
    r"""(?P<space>[ \n\r\t]+)
    |<(?P<iri>[A-Za-z][A-Za-z0-9+.-]*:[^\x00-\x20<>"{}|^`\\]*)>
    |(?P<name>[a-z]+:[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_-])?)(?=[\s;,])
    |(?P<declared>@prefix[ ]+(?P<prefix>[a-z]+):[ ]+<(?P<start>[A-Za-z][A-Za-z0-9+.-]*:[^\x00-\x20<>"{}|^`\\]*)>[ ]\.\n)
    |(?P<a>a)(?=[ ])
    |"(?P<text>(?:[^"\\\n\r]|\\[btnfr"\\]|\\u[0-9A-Fa-f]{4})*)"(?!")
    |(?P<integer>[+-]?[0-9]+)(?=[ ;,\n])
    |(?P<mark>\^\^|[.;,])
    """,
    re.VERBOSE,
)
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|(.))")
_PLAIN = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", '"': '"', "\\": "\\"}


class NotRead(ProvrunError):
    """A file is no page that can be read."""

    code = "not-read"


class _Unknown(Exception):
    """Something that the quick reader does not know."""


def read_page(path: Path) -> list[Triple]:
    """Read the triples of a page in any format, graph names left out; `NotRead` if that cannot be done."""
    suffix = path.suffix.lower()
    try:
        data = path.read_bytes()
    except OSError as error:
        raise NotRead(f"cannot read {path}: {error.strerror}", value=str(path)) from error
    if suffix not in _RDF and suffix not in _PROV:
        raise NotRead(
            f"the name {path.name} does not say which format it has", value=str(path),
            next=f"name it with one of {', '.join([*_RDF, *_PROV])}",
        )
    if suffix in {".ttl", ".nt"}:
        try:
            return read_turtle(data.decode())
        except (_Unknown, UnicodeDecodeError):
            pass
    try:
        found = _by_prov(data, _PROV[suffix]) if suffix in _PROV else _by_rdflib(data, _RDF[suffix])
    except Exception as error:
        raise NotRead(f"{path} is no page: {error}", value=str(path)) from error
    if not found:
        raise NotRead(f"{path} is no page: it says nothing", value=str(path))
    return found


def read_turtle(text: str) -> list[Triple]:
    """Read Turtle as we write it; any other raises an exception."""
    return list(_Quick(text).triples())


class _Quick:
    def __init__(self, text: str) -> None:
        self._text = text
        self._place = 0
        self._prefixes: dict[str, str] = {}
        self._kind = ""
        self._found: re.Match[str] | None = None
        self._next()

    def triples(self) -> set[Triple]:
        found: set[Triple] = set()
        while self._kind != "end":
            if self._kind == "declared":
                self._prefixes[self._group("prefix")] = self._group("start")
                self._next()
                continue
            subject = self._node()
            while True:
                predicate = RDF_TYPE if self._kind == "a" else self._node(step=False)
                self._next()
                found.add(Triple(subject, predicate, self._object()))
                while self._mark(","):
                    found.add(Triple(subject, predicate, self._object()))
                if not self._mark(";"):
                    break
            if not self._mark("."):
                raise _Unknown
        return found

    def _next(self) -> None:
        while True:
            if self._place == len(self._text):
                self._kind, self._found = "end", None
                return
            found = _TOKEN.match(self._text, self._place)
            if found is None:
                raise _Unknown
            self._place = found.end()
            kind = found.lastgroup or ""
            if kind != "space":
                self._kind, self._found = "declared" if found["declared"] else kind, found
                return

    def _group(self, name: str) -> str:
        assert self._found is not None
        return self._found[name]

    def _mark(self, mark: str) -> bool:
        if self._kind == "mark" and self._group("mark") == mark:
            self._next()
            return True
        return False

    def _node(self, *, step: bool = True) -> str:
        if self._kind == "iri":
            found = self._group("iri")
        elif self._kind == "name":
            prefix, _, local = self._group("name").partition(":")
            if prefix not in self._prefixes:
                raise _Unknown
            found = self._prefixes[prefix] + local
        else:
            raise _Unknown
        if step:
            self._next()
        return found

    def _object(self) -> Iri | Literal:
        if self._kind == "integer":
            value = Literal(self._group("integer"), XSD + "integer")
            self._next()
            return value
        if self._kind != "text":
            return Iri(self._node())
        text = _ESCAPE.sub(_unescaped, self._group("text"))
        self._next()
        return Literal(text, self._node() if self._mark("^^") else XSD + "string")


def _unescaped(found: re.Match[str]) -> str:
    if found[1] is None:
        return _PLAIN[found[2]]
    character = chr(int(found[1], 16))
    if "\ud800" <= character <= "\udfff":
        raise _Unknown
    return character


def _by_rdflib(data: bytes, format: str) -> list[Triple]:
    import rdflib

    kept = rdflib.NORMALIZE_LITERALS
    # It would write times anew, and a page would not be what was published.
    rdflib.NORMALIZE_LITERALS = False
    try:
        with catch_warnings():
            simplefilter("ignore", DeprecationWarning)  # its readers use what it deprecates itself
            dataset = rdflib.Dataset(default_union=True)
            dataset.parse(data=data, format=format)
            return list({_triple(subject, predicate, value) for subject, predicate, value, _ in dataset.quads()})
    finally:
        rdflib.NORMALIZE_LITERALS = kept


def _triple(subject: object, predicate: object, value: object) -> Triple:
    import rdflib

    if isinstance(subject, rdflib.BNode) or isinstance(value, rdflib.BNode):
        raise TypeError("it has nodes without a name")
    if isinstance(value, rdflib.Literal):
        if value.language is not None:
            raise TypeError("it has text in a language")
        return Triple(str(subject), str(predicate), Literal(str(value), str(value.datatype or XSD + "string")))
    return Triple(str(subject), str(predicate), Iri(str(value)))


def _by_prov(data: bytes, format: str) -> list[Triple]:
    import io

    from prov.model import ProvDocument

    from provrun.export.rdf import triples

    stream = io.BytesIO(data) if format == "xml" else io.StringIO(data.decode())
    return triples(ProvDocument.deserialize(stream, format=format))
