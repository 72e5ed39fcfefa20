"""The task level: every attempt as an activity of its cohort, streamed, and just what prov would say."""

from __future__ import annotations

from collections.abc import Callable

import pyoxigraph
import pytest
from rdflib import RDF, Graph, Namespace

from fixtures.study import Study
from fixtures.told import tell
from provrun.core.levels import levels
from provrun.export.document import Built, Told, build
from provrun.export.rdf import write_nt
from provrun.project.pages import publishing
from provrun.project.pages.publishing import export, summarised
from provrun.project.project import Project
from provrun.store.reads import Reads
from provrun.store.summaries import Summaries

PR = Namespace("https://w3id.org/provrun/ns#")
PROV = Namespace("http://www.w3.org/ns/prov#")
DCTERMS = Namespace("http://purl.org/dc/terms/")
FORMATS = {"turtle": "turtle", "nt": "nt", "jsonld": "json-ld"}
Write = Callable[..., str]


def streamed(project: Project, format: str) -> str:
    chunks: list[str] = []
    export(project, format=format, write=chunks.append, tasks=True)
    return "".join(chunks)


def by_prov(project: Project) -> Built:
    """Give the page with every task shown in full, as prov encodes it."""
    summaries, _ = summarised(project, exemplars=False)
    reads, sums = Reads(project.registry.database), Summaries(project.registry.database)
    names = {one.map.id: one.map.name for one in summaries}
    told = []
    for one in summaries:
        every = [publishing.exemplar(reads, one.map, index, names) for index in range(one.map.total)]
        level = levels(one.map.name, one.map.dependencies, one.map.total)
        told.append(Told(one, [task for task in every if task.attempts], level))
    known = publishing._known(reads, sums, None)
    leaves = publishing._leaves([one.map for one in summaries])
    return build(project.registry.uuid, told, known, sums.circumstances(), leaves=leaves)


def test_what_is_streamed_is_what_prov_would_say_of_every_task(project: Project, study: Study) -> None:
    tell(study)
    assert set(streamed(project, "nt").splitlines(keepends=True)) == set(write_nt(by_prov(project).statements))


def test_every_attempt_is_part_of_a_cohort_of_the_page(project: Project, study: Study, write: Write) -> None:
    tell(study)
    page = Graph().parse(data=write("turtle"), format="turtle")
    graph = Graph().parse(data=streamed(project, "turtle"), format="turtle")
    attempts = set(graph.subjects(RDF.type, PR.Attempt))
    cohorts = set(page.subjects(RDF.type, PR.Cohort))
    ended = sum(int(str(page.value(node, PR.attempts))) for node in cohorts)
    assert len(attempts) == ended > 40
    assert {graph.value(node, DCTERMS.isPartOf) for node in attempts} == cohorts
    counted = {cohort: len(set(graph.subjects(DCTERMS.isPartOf, cohort)) & attempts) for cohort in cohorts}
    assert all(counted[cohort] == int(str(page.value(cohort, PR.attempts))) for cohort in cohorts)
    stated = set(page) - set(page.triples((None, PR.pageDigest, None)))
    assert stated <= set(graph)  # the page itself, and the attempts it shows
    assert set(graph.triples((None, PR.pageDigest, None))) == set()


@pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated")
def test_all_formats_say_the_same_and_the_same_again(project: Project, study: Study) -> None:
    tell(study)
    graphs = [set(Graph().parse(data=streamed(project, one), format=rdf)) for one, rdf in FORMATS.items()]
    assert graphs[0] == graphs[1] == graphs[2]
    quads = list(pyoxigraph.parse(streamed(project, "trig"), format=pyoxigraph.RdfFormat.TRIG))
    lines = {f"{quad.subject} {quad.predicate} {quad.object} .\n" for quad in quads}
    assert lines == {
        f"{quad.subject} {quad.predicate} {quad.object} .\n"
        for quad in pyoxigraph.parse(streamed(project, "nt"), format=pyoxigraph.RdfFormat.N_TRIPLES)
    }
    (document,) = {quad.subject for quad in quads if isinstance(quad.graph_name, pyoxigraph.DefaultGraph)}
    assert {quad.graph_name for quad in quads if quad.subject != document} == {document}
    assert streamed(project, "turtle") == streamed(project, "turtle")
