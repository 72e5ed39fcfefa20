"""Tails: what they pool, and that a task with several attempts in one is one task of it."""

from __future__ import annotations

from pathlib import Path

from rdflib import RDF, Graph, Namespace

from fixtures import stranger
from fixtures.study import AT, Study, grid
from provrun.core.code import CapturedCode, Code
from provrun.core.states import Outcome, State
from provrun.project.pages.publishing import export
from provrun.project.pages.verifying import verify
from provrun.project.project import Project

PR = Namespace("https://w3id.org/provrun/ns#")
PROV = Namespace("http://www.w3.org/ns/prov#")


def use_code(study: Study, number: int) -> None:
    code = Code(kind="git", root="/study", commit=f"{number:040x}", tree="b" * 40)
    study.code = study.registry.intern_code(CapturedCode(code), AT + number)


def test_a_task_with_several_attempts_in_a_tail_is_one_task_of_it(
    project: Project, study: Study, tmp_path: Path
) -> None:
    study.submit("scan", grid(x=190))
    job = study.job()
    for number in range(62):
        use_code(study, number)
        study.succeed(job, study.claim(job, "scan", limit=3))
    for number in range(62, 65):  # too rare to stay: the same two tasks fail again and again
        use_code(study, number)
        study.fail(job, study.claim(job, "scan", limit=2), again=True)
    use_code(study, 65)
    study.fail(job, study.claim(job, "scan", limit=1))
    use_code(study, 0)
    study.run(job, "scan")
    page, leaves = tmp_path / "page.ttl", tmp_path / "leaves.jsonl"
    export(project, path=page, leaves=leaves)
    graph = Graph().parse(page)
    (tail,) = graph.subjects(RDF.type, PR.TailCohort)
    said = {name: str(graph.value(tail, PR[name])) for name in ("attempts", "tasks", "recovery", "pooled")}
    assert said == {
        "attempts": "7", "tasks": "2", "recovery": '{"into":"cohort.scan.0","tasks":1}',
        "pooled": '{"cohorts":4,"pooled":["code","environment","inputs","level"]}',
    }
    read = {
        str(graph.value(use, PROV.entity)).rpartition("#")[2]: graph.value(use, PR.membersRead)
        for use in graph.objects(tail, PROV.qualifiedUsage)
    }
    assert str(read["params.scan"]) == "1"  # one of them stands elsewhere
    (group,) = (node for node in graph.objects(tail, PROV.used) if (node, PR.position, None) in graph)
    (described,) = graph.objects(group, PR.parameter)  # where those lie that failed for good
    assert {name: str(graph.value(described, PR[name])) for name in ("count", "minimum", "maximum")} == {
        "count": "1", "minimum": "186", "maximum": "186",
    }
    assert verify(page, leaves=leaves).problems == []
    stranger.check(page, leaves)


def test_a_tail_has_used_what_its_own_attempts_used(project: Project, study: Study, tmp_path: Path) -> None:
    study.submit("scan", grid(x=200))
    job = study.job()
    for number in range(62):
        use_code(study, number)
        study.succeed(job, study.claim(job, "scan", limit=3))
    for number, outcome, count in ((70, Outcome.SIGNAL, 5), (70, Outcome.EXIT, 1), (71, Outcome.SIGNAL, 1)):
        use_code(study, number)
        study.end(job, study.claim(job, "scan", limit=count), outcome, State.FAILED)
    page, leaves = tmp_path / "page.ttl", tmp_path / "leaves.jsonl"
    export(project, path=page, leaves=leaves)
    graph = Graph().parse(page)
    used = {
        str(graph.value(tail, PR.outcome)): (str(graph.value(tail, PR.attempts)), str(graph.value(tail, PR.wallSum)))
        for tail in graph.subjects(RDF.type, PR.TailCohort)
    }
    assert used == {"succeeded": ("3", "3000"), "unsuccessful": ("2", "2000")}
    assert verify(page, leaves=leaves).problems == []
