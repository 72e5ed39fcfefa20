"""Every format, read back by readers that were not written here."""

from __future__ import annotations

import io
import re
from collections.abc import Callable

import pyoxigraph
import pytest
from prov.constants import PROV, PROV_MEMBERSHIP
from prov.model import ProvDocument
from rdflib import XSD, Dataset, Graph, Literal, URIRef
from rdflib.compare import isomorphic
from rdflib.term import Node

from fixtures.constraints import violations
from fixtures.study import Study, grid
from fixtures.told import fixed, tell

# rdflib's own readers use what rdflib deprecates.
pytestmark = [
    pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings(r"ignore:Dataset\.\w+ is deprecated:DeprecationWarning"),
]
Write = Callable[..., str]
RDF = {"turtle": "turtle", "nt": "nt", "jsonld": "json-ld"}


def graph(write: Write, format: str = "turtle") -> Graph:
    return Graph().parse(data=write(format), format=RDF[format])


def test_every_rdf_format_holds_the_same_triples(study: Study, write: Write) -> None:
    tell(study)
    turtle = graph(write)
    assert len(turtle) > 500
    assert isomorphic(turtle, graph(write, "nt"))
    assert isomorphic(turtle, graph(write, "jsonld"))
    dataset = Dataset()
    dataset.parse(data=write("trig"), format="trig")
    together = Graph()
    for subject, predicate, value, _ in dataset.quads():
        together.add((subject, predicate, value))
    assert isomorphic(turtle, together)


@pytest.mark.parametrize("format", ["turtle", "nt", "jsonld", "trig"])
def test_two_readers_of_rdf_agree_triple_by_triple(study: Study, write: Write, format: str) -> None:
    tell(study)
    forms = {
        "turtle": pyoxigraph.RdfFormat.TURTLE, "nt": pyoxigraph.RdfFormat.N_TRIPLES,
        "jsonld": pyoxigraph.RdfFormat.JSON_LD, "trig": pyoxigraph.RdfFormat.TRIG,
    }
    text = write(format)
    dataset = Dataset()
    dataset.parse(data=text, format={**RDF, "trig": "trig"}[format])
    one = {(s.n3(), p.n3(), _exact(o)) for s, p, o, _ in dataset.quads()}
    other = {(str(q.subject), str(q.predicate), str(q.object)) for q in pyoxigraph.parse(text, format=forms[format])}
    assert len(one) > 500
    assert one == other


def _exact(node: Node) -> str:
    """Write an object as N-Triples has it: a string without its datatype."""
    if isinstance(node, Literal) and node.datatype is not None and node.datatype != XSD.string:
        return f"{Literal(str(node)).n3()}^^<{node.datatype}>"
    return Literal(str(node)).n3() if isinstance(node, Literal) else node.n3()


def test_trig_keeps_the_page_in_its_own_graph_and_what_it_says_of_itself_outside(study: Study, write: Write) -> None:
    tell(study)
    dataset = Dataset()
    dataset.parse(data=write("trig"), format="trig")
    outside = {subject for subject, _, _ in dataset.default_graph if isinstance(subject, URIRef)}
    named = [one for one in dataset.graphs() if one.identifier != dataset.default_graph.identifier]
    assert [str(one) for one in outside] == [str(named[0].identifier)]
    assert len(named) == 1


def test_prov_reads_the_same_document_from_each_of_its_own_formats(study: Study, write: Write) -> None:
    tell(study)
    documents = [
        ProvDocument.deserialize(io.StringIO(write(format)), format=name).unified()
        for format, name in (("provjson", "json"), ("provn", "provn"))
    ]
    xml = ProvDocument.deserialize(io.BytesIO(write("provxml").encode()), format="xml").unified()
    assert documents[0] == documents[1] == xml
    assert len(documents[0].get_records()) > 100


def test_prov_reads_turtle_and_finds_every_node_of_the_document(study: Study, write: Write) -> None:
    tell(study)
    ours = ProvDocument.deserialize(io.StringIO(write("provjson")), format="json")
    read = ProvDocument.deserialize(io.StringIO(write("turtle")), format="rdf", rdf_format="turtle")
    named = {str(r.identifier.uri) for r in ours.get_records() if r.is_element() and r.identifier}
    assert named <= {str(r.identifier.uri) for r in read.get_records() if r.identifier}


def test_reading_rdf_prov_adds_the_twins_of_relations_and_nothing_else(study: Study, write: Write) -> None:
    tell(study)
    ours = ProvDocument.deserialize(io.StringIO(write("provjson")), format="json").unified()
    read = ProvDocument.deserialize(io.StringIO(write("turtle")), format="rdf", rdf_format="turtle").unified()

    def told(document: ProvDocument, *, named: bool) -> set[str]:
        shortcut = PROV["wasRevisionOf"]  # which prov keeps as an attribute
        records = (record for record in document.get_records() if (record.identifier is not None) is named)
        return {
            str((
                record.get_type(), record.identifier,
                sorted((str(name), str(value)) for name, value in record.attributes if name != shortcut),
            ))
            for record in records if named or record.get_type() != PROV_MEMBERSHIP
        }

    assert told(ours, named=True) == told(read, named=True)
    assert told(ours, named=False) == set()
    twins = {
        (record.get_type(), tuple(record.formal_attributes[:2]))
        for record in ours.get_records() if record.is_relation() and record.identifier is not None
    }
    added = [one for one in read.get_records() if one.is_relation() and one.identifier is None]
    added = [one for one in added if one.get_type() != PROV_MEMBERSHIP]
    assert len(added) > 100
    assert {(one.get_type(), tuple(one.formal_attributes[:2])) for one in added} <= twins


def test_a_page_is_valid_by_prov_constraints(study: Study, write: Write) -> None:
    tell(study)
    assert violations(graph(write)) == []


@pytest.mark.parametrize(
    ("planted", "found"),
    [
        ("p:cohort.scan.0 prov:used p:results.scan.0 .", "one form only"),
        ("p:map.scan prov:wasGeneratedBy p:map.obs .", "is no Entity"),
        ("p:results.scan prov:wasGeneratedBy p:map.obs .", "has two of"),
        ("p:params.scan prov:wasDerivedFrom p:params.scan .", "derives from itself"),
        ('p:map.scan prov:endedAtTime "2001-01-01T00:00:00.000+00:00"^^xsd:dateTime .', "must precede"),
        ("p:results.scan.0 prov:wasDerivedFrom p:results.scan .", "strictly precedes itself"),
    ],
)
def test_the_checker_of_constraints_finds_what_is_wrong(study: Study, write: Write, planted: str, found: str) -> None:
    tell(study)
    damaged = Graph().parse(data=write() + "\n" + planted, format="turtle")
    assert any(found in problem for problem in violations(damaged))


def test_the_same_registry_gives_the_same_bytes_in_every_format(study: Study, write: Write) -> None:
    tell(study)
    for format in ("turtle", "trig", "nt", "jsonld", "provn", "provjson", "provxml", "dot"):
        assert write(format) == write(format)


def test_times_have_milliseconds_and_a_zone_and_there_are_no_blank_nodes(study: Study, write: Write) -> None:
    tell(study)
    text = write("nt")
    times = re.findall(r'"([^"]*)"\^\^<http://www.w3.org/2001/XMLSchema#dateTime>', text)
    assert times
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", time) for time in times)
    assert "_:" not in text
    assert "XMLSchema#int>" not in text
    assert "XMLSchema#double" not in text


def test_every_prefix_that_is_declared_is_used(study: Study, write: Write) -> None:
    tell(study)
    text = write("turtle")
    for prefix in re.findall(r"@prefix (\w+):", text):
        assert re.search(rf"[\s^]{prefix}:", text.split("\n\n", 1)[1]), prefix


def test_names_users_chose_that_no_format_may_hold_are_escaped(study: Study, write: Write) -> None:
    study.submit("odd", [{"a b": "\x01\ufffe\"<&>", "c": "\u2028"}, {"a b": "x", "c": "y"}])
    study.run(study.job(), "odd")
    assert isomorphic(graph(write), graph(write, "nt"))
    ProvDocument.deserialize(io.BytesIO(write("provxml").encode()), format="xml")
    assert "\x01" not in write("provjson")


@pytest.mark.parametrize("size", [40, 4000])
def test_a_map_of_three_cohorts_takes_less_than_20_kb_whatever_its_size(
    study: Study, write: Write, size: int
) -> None:
    study.submit("scan", grid(x=size))
    job = study.job()
    study.succeed(job, study.claim(job, "scan", limit=size // 2))
    study.fail(job, study.claim(job, "scan", limit=5))
    study.code = fixed(study)
    while claimed := study.claim(job, "scan", limit=1000):
        study.succeed(job, claimed)
    text = write("turtle")
    blocks = [block for block in text.split("\n\n") if not re.match(r"(r:scan|p:[a-z]+\.scan\.\d+\.\d+[. ])", block)]
    assert text.count("a prov:Activity, pr:Cohort") == 3
    assert len("\n\n".join(blocks).encode()) < 20_000
