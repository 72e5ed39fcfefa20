"""A reduce that was reopened and has not run again yet."""

from __future__ import annotations

from collections.abc import Callable

from rdflib import RDF, Graph, Literal, Namespace

from fixtures.study import Study, grid
from provrun.core.records import Dependency

PR = Namespace("https://w3id.org/provrun/ns#")
PROV = Namespace("http://www.w3.org/ns/prov#")


def test_the_old_result_of_a_reopened_reduce_is_superseded_by_nothing_yet(
    study: Study, write: Callable[..., str]
) -> None:
    study.submit("scan", grid(x=3))
    study.submit("mean", [{}], on=[Dependency(upstream="scan", kind="all")])
    job = study.job()
    study.run(job, "scan")
    study.run(job, "mean")
    study.submit("scan", grid(x=4))

    page = Graph().parse(data=write("turtle"), format="turtle")
    (superseded,) = page.subjects(RDF.type, PR.SupersededResults)
    assert page.value(superseded, PR.memberCount) == Literal(1)
    assert list(page.subjects(PROV.wasRevisionOf, superseded)) == []
    assert list(page.objects(superseded, PROV.wasGeneratedBy)) == [
        cohort for cohort in page.subjects(RDF.type, PR.Cohort) if page.value(cohort, PR.accepted) == Literal(0)
    ]
