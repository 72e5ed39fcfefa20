"""The vocabulary: each term that an export can write is there, documented, and agrees with PROV-O and with pages."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pyshacl
import pytest
from owlrl import DeductiveClosure, OWLRL_Semantics
from rdflib import OWL, RDF, RDFS, Graph, Literal, Namespace, URIRef

from fixtures.parts import standard
from fixtures.study import Study, grid
from fixtures.told import tell, tell_all
from provrun.core.records import Policy
from provrun.export.reading import read_turtle
from provrun.export.recipes import applied
from provrun.export.view import View
from provrun.export.vocabulary import FILES, terms, text
from provrun.project.pages.publishing import export
from provrun.project.project import Project

ROOT = Path(__file__).parents[2]
EXPORT = ROOT / "provrun" / "export"
PR = Namespace("https://w3id.org/provrun/ns#")
PROV = Namespace("http://www.w3.org/ns/prov#")
DCTERMS = Namespace("http://purl.org/dc/terms/")
Write = Callable[..., str]

# pyshacl and owlrl use what rdflib deprecates.
pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning")]

ADDS = {"entity", "activity", "agent", "used", "associated", "revision", "say", "_parameters"}
ABOUT = {"counts", "_figures", "_statistics"}  # functions that return what is said of a node
NO_TERMS = {"started", "ended", "other_attributes"}


def written_by(source: Path) -> Iterator[str]:
    """Give every term that a module of the exporter names."""
    tree = ast.parse(source.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr in ADDS:
                yield from (word.arg for word in node.keywords if word.arg and not word.arg.startswith("dcterms_"))
            if node.func.attr in {"entity", "activity", "agent"}:
                lists = [part for argument in node.args for part in ast.walk(argument) if isinstance(part, ast.List)]
                yield from (text for one in lists for text in strings(one))
            if node.func.attr == "derived":
                yield from (text for argument in node.args[2:] for text in strings(argument))
        if isinstance(node, ast.FunctionDef) and node.name in ABOUT:
            yield from (
                key.value
                for one in ast.walk(node) if isinstance(one, ast.Return) and isinstance(one.value, ast.Dict)
                for key in one.value.keys if isinstance(key, ast.Constant)
            )
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in {"_pooled"}:
            yield from strings(node.args[1])
    # What is said of a relation is collected first: {"membersRead": n}.
    yield from re.findall(r'"(members\w+|stale\w+)": \w+', source.read_text())
    yield from re.findall(r'PR \+ "(\w+)"', source.read_text())
    yield from re.findall(r"\.say\(\S+ (\w+)=", source.read_text())


def strings(node: ast.AST) -> list[str]:
    return [one.value for one in ast.walk(node) if isinstance(one, ast.Constant) and isinstance(one.value, str)]


def known() -> set[str]:
    return {term.name for term in terms()}


def shaped(page: Graph) -> tuple[bool, str]:
    valid, _, told = pyshacl.validate(page, shacl_graph=Graph().parse(data=text("shapes"), format="turtle"))
    return bool(valid), str(told)


@pytest.mark.parametrize("source", sorted(EXPORT.glob("*.py")), ids=lambda source: source.stem)
def test_every_term_that_the_exporter_names_is_in_the_ontology(source: Path) -> None:
    named = {name for name in written_by(source) if not name.startswith("prov:")} - NO_TERMS
    assert named <= known(), f"add to {FILES['ontology']}, then make docs: {sorted(named - known())}"


def test_the_search_for_terms_finds_those_that_pages_have(study: Study, write: Write) -> None:
    tell_all(study)
    page = Graph().parse(data=write("nt"), format="nt")
    on_page = {str(p).removeprefix(PR) for _, p, _ in page if p in PR}
    on_page |= {str(kind).removeprefix(PR) for kind in page.objects(None, RDF.type) if str(kind).startswith(PR)}
    assert len(on_page) > 60
    assert on_page <= known()
    found = {name for source in EXPORT.glob("*.py") for name in written_by(source)}
    assert on_page <= found, "the search above overlooks some"


def test_each_term_is_named_explained_and_has_an_example_that_uses_it() -> None:
    graph = Graph().parse(data=text("ontology"), format="turtle")
    prefixes = "".join(f"@prefix {name}: <{iri}> .\n" for name, iri in graph.namespaces() if name)
    prefixes += "@prefix p: <urn:uuid:p#> .\n@prefix r: <urn:uuid:r#> .\n"
    for term in terms():
        node = PR[term.name]
        assert graph.value(node, RDFS.label), term
        assert term.comment.endswith("."), term
        example = term.example if term.example.endswith(" .") else f"p:node {term.example} ."
        found = Graph().parse(data=prefixes + example, format="turtle")
        assert any(node in triple for triple in found) or term.name == "Export", term


def test_pages_made_from_the_ontology_are_up_to_date() -> None:
    context = f"provrun/export/vocabulary/{FILES['context']}"
    for name, file in (("vocabulary", "docs/reference/vocabulary.md"), ("context", context)):
        made = subprocess.run(
            [sys.executable, ROOT / ".ci" / "reference-page", name], check=True, capture_output=True, text=True
        ).stdout
        assert (ROOT / file).read_text() == made, "make docs writes it anew"
    for file in FILES.values():
        assert (ROOT / "docs" / "vocabulary" / file).read_text() == (EXPORT / "vocabulary" / file).read_text(), file


def test_the_context_expands_short_names_to_the_terms() -> None:
    document = {**json.loads(text("context")), "@id": "urn:x#m", "@type": "Map", "planned": 3, "name": "scan"}
    read = Graph().parse(data=json.dumps(document), format="json-ld")
    assert (URIRef("urn:x#m"), RDF.type, PR.Map) in read
    assert read.value(URIRef("urn:x#m"), PR.planned) == Literal(3)


def test_pages_with_every_state_have_the_shapes(study: Study, write: Write, project: Project, tmp_path: Path) -> None:
    tell_all(study)
    valid, told = shaped(Graph().parse(data=write("turtle"), format="turtle"))
    assert valid, told
    (tmp_path / "gap.pdf").write_bytes(b"figure")
    export(project, ["scan"], path=tmp_path / "page.ttl", figures=[tmp_path / "gap.pdf"])
    valid, told = shaped(Graph().parse(tmp_path / "page.ttl"))
    assert valid, told


def test_a_map_says_what_its_tasks_need_and_their_limits_where_it_has_any(study: Study, write: Write) -> None:
    study.submit("plain", grid(x=2))
    study.submit("wide", grid(x=2))
    needs = Policy(cores=4, ranks=8, task_nodes=2, gpus=1, task_time=1.5, task_memory=1 << 30)
    study.registry.set_policy(study.id("wide"), needs)
    page = Graph().parse(data=write("turtle"), format="turtle")
    assert shaped(page)[0]
    names = ("cores", "ranks", "taskNodes", "gpus", "timeLimit", "memoryLimit")
    said = {name: [page.value(_one(page, "Map", name=name), PR[one]) for one in names] for name in ("plain", "wide")}
    assert said["plain"] == [None] * 6
    assert [int(str(value)) for value in said["wide"]] == [4, 8, 2, 1, 1_500_000, 1 << 30]
    view = View(read_turtle(write("turtle")))
    assert {one.name: applied(view, one).policy for one in view.maps()} == {"plain": Policy(), "wide": needs}


def _one(page: Graph, kind: str, **about: str) -> URIRef:
    nodes = sorted(node for node in page.subjects(RDF.type, PR[kind]) if isinstance(node, URIRef))
    return next(n for n in nodes if all(str(page.value(n, PR[name])) == value for name, value in about.items()))


FAULTS: dict[str, Callable[[Graph], object]] = {
    "a count off by one": lambda page: page.set((_one(page, "Map", name="scan"), PR.planned, Literal(42))),
    "a negative count": lambda page: page.set((_one(page, "Cohort"), PR.attempts, Literal(-1))),
    "a count that is text": lambda page: page.set((_one(page, "Results"), PR.memberCount, Literal("3"))),
    "an outcome of no kind": lambda page: page.set((_one(page, "Cohort"), PR.outcome, Literal("fine"))),
    "a cohort of no map": lambda page: page.remove((_one(page, "Cohort"), DCTERMS.isPartOf, None)),
    "results of a failure": lambda page: page.set(
        (_one(page, "Results"), PROV.wasGeneratedBy, _one(page, "Cohort", outcome="exit"))
    ),
    "a second generator": lambda page: page.add((_one(page, "Results"), PROV.wasGeneratedBy, _one(page, "Map"))),
    "code without a tree's name": lambda page: page.set((_one(page, "CodeVersion"), PR.tree, Literal("b" * 40))),
    "a digest cut short": lambda page: page.set((_one(page, "Environment"), PR.digest, Literal("ab"))),
    "more accepted than tried": lambda page: page.set((_one(page, "Cohort"), PR.accepted, Literal(10**6))),
    "a snapshot twice": lambda page: page.add((next(page.subjects(PR.snapshot)), PR.snapshot, Literal("0" * 64))),
    "an end before the start": lambda page: page.set((
        _one(page, "Cohort"), PROV.endedAtTime,
        Literal("2001-01-01T00:00:00.000+00:00", datatype="http://www.w3.org/2001/XMLSchema#dateTime"),
    )),
}


def test_a_fault_that_is_planted_breaks_a_shape(study: Study, write: Write) -> None:
    tell(study)
    honest = write("nt")
    for fault, plant in FAULTS.items():
        page = Graph().parse(data=honest, format="nt")
        plant(page)
        assert not shaped(page)[0], fault


def clashes(*graphs: Graph) -> list[str]:
    together = Graph()
    for graph in graphs:
        together += graph
    DeductiveClosure(OWLRL_Semantics).expand(together)
    said = URIRef("http://www.daml.org/2002/03/agents/agent-ont#error")
    return [str(value) for value in together.objects(None, said)]


def test_owl_rl_finds_no_clash_with_prov_o_and_finds_one_that_is_planted(study: Study, write: Write) -> None:
    study.submit("scan", grid(x=3))
    job = study.job()
    study.fail(job, study.claim(job, "scan", limit=1))
    study.run(job, "scan")
    page = Graph().parse(data=write("turtle"), format="turtle")
    ontology = Graph().parse(data=text("ontology"), format="turtle")
    prov = Graph().parse(standard("prov-o.ttl"), format="turtle")
    assert clashes(page, ontology, prov) == []
    page.add((_one(page, "Map"), RDF.type, PR.CodeVersion))
    assert clashes(page, ontology, prov)


def test_the_ontology_is_versioned() -> None:
    graph = Graph().parse(data=text("ontology"), format="turtle")
    (ontology,) = graph.subjects(RDF.type, OWL.Ontology)
    assert str(graph.value(ontology, OWL.versionIRI)).endswith(f"/{graph.value(ontology, OWL.versionInfo)}")
