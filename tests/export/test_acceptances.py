"""Results of older code that a person holds to be valid, as a page tells it."""

from __future__ import annotations

from collections.abc import Callable

from rdflib import RDF, Graph, Literal, Namespace

from fixtures.constraints import violations
from fixtures.study import AT, Study, grid
from provrun.core.code import CapturedCode, Code

PR = Namespace("https://w3id.org/provrun/ns#")
PROV = Namespace("http://www.w3.org/ns/prov#")


def test_an_acceptance_names_results_code_person_reason_and_number(study: Study, write: Callable[..., str]) -> None:
    study.submit("scan", grid(x=3))
    job = study.job()
    study.run(job, "scan")
    context = study.context(job)
    newer = CapturedCode(Code(kind="git", root="/study", commit="c" * 40, tree="d" * 40))
    code = study.registry.intern_code(newer, AT + 1)
    held = study.registry.accept(
        study.id("scan"), [0, 2], contexts=[context], covers=[("code", "a.py", "e" * 64)], code=code, user="yv",
        reason="comments only", at=AT + 10_000_000,
    )
    assert held == 2
    text = write("turtle")
    page = Graph().parse(data=text, format="turtle")
    (acceptance,) = page.subjects(RDF.type, PR.Acceptance)
    assert violations(page) == []
    assert page.value(acceptance, PR.reason) == Literal("comments only")
    assert page.value(acceptance, PR.tasks) == Literal(2)
    used = set(page.objects(acceptance, PROV.used))
    (mine,) = (one for one in page.subjects(PR.digest, Literal(newer.code.digest)))
    (results,) = used - {mine}
    assert page.value(results, PROV.wasGeneratedBy) in set(page.subjects(RDF.type, PR.Cohort))
    (person,) = page.objects(acceptance, PROV.wasAssociatedWith)
    assert (person, RDF.type, PROV.Person) in page
    assert 'yv' not in text


def test_what_ran_again_since_is_no_longer_spoken_for(study: Study, write: Callable[..., str]) -> None:
    study.submit("scan", grid(x=2))
    first = study.job()
    study.run(first, "scan")
    context = study.context(first)
    map = study.id("scan")
    assert study.registry.accept(
        map, None, contexts=[context], covers=[("code", "a.py", None)], code=study.code, user="yv", reason="r", at=AT
    ) == 2
    study.registry.rerun(map, None)
    study.code = study.registry.intern_code(
        CapturedCode(Code(kind="git", root="/study", commit="c" * 40, tree="d" * 40)), AT
    )
    study.run(study.job(), "scan")
    assert "Acceptance" not in write("turtle")
