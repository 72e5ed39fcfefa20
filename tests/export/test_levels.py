"""Tasks that wait for tasks of their own map: each level is a cohort of its own, which waited for the one below."""

from __future__ import annotations

from pathlib import Path

import msgspec
from rdflib import RDF, Graph, Namespace
from rdflib.term import Node

from fixtures import stranger
from fixtures.constraints import violations
from fixtures.expanded import compare
from fixtures.lab import Fate, Lab, xs
from fixtures.study import Study, grid
from provrun.core.records import Dependency
from provrun.project.pages.publishing import export
from provrun.project.pages.verifying import verify
from provrun.project.project import Project

PR = Namespace("https://w3id.org/provrun/ns#")
PROV = Namespace("http://www.w3.org/ns/prov#")


def local(node: Node | None) -> str:
    return str(node).rpartition("#")[2]


def test_tasks_of_one_cohort_do_not_wait_for_each_other(project: Project, study: Study, tmp_path: Path) -> None:
    study.submit("q", grid(x=4))
    first = Dependency(upstream="q", kind="after", upstream_tasks=((0, 2),))
    study.submit("q", [{"x": "second"}], distinct=True, on=[first])
    study.submit("q", [{"x": "third"}, {"x": "third"}], distinct=True, on=[
        Dependency(upstream="q", kind="after", upstream_tasks=((4, 5),))
    ])
    study.submit("q", [{"x": "free"}], distinct=True)
    job = study.job()
    while study.run(job, "q"):
        pass
    page, leaves = tmp_path / "page.nt", tmp_path / "leaves.jsonl"
    export(project, format="nt", path=page, leaves=leaves)
    assert verify(page, leaves=leaves).problems == []
    graph = Graph().parse(page, format="nt")
    assert violations(graph) == []
    levels = {
        int(str(graph.value(node, PR.level))): (local(node), int(str(graph.value(node, PR.attempts))))
        for node in graph.subjects(RDF.type, PR.Cohort)
    }
    assert {level: attempts for level, (_, attempts) in levels.items()} == {0: 5, 1: 1, 2: 2}
    informed = {(local(one), local(other)) for one, other in graph.subject_objects(PROV.wasInformedBy)}
    assert informed == {(levels[1][0], levels[0][0]), (levels[2][0], levels[1][0])}
    assert not any(local(one).startswith("results.q.") for cohort in levels.values()
                   for one in graph.objects(cohort, PROV.used))  # order, and nothing read
    assert compare(project, page, leaves) == 8
    export(project, path=tmp_path / "page.ttl", leaves=leaves)
    stranger.check(tmp_path / "page.ttl", leaves)


def test_nothing_has_waited_for_what_began_when_it_had_ended(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    lab.submit("q", xs(0, 1))
    lab.submit("q", xs("last"), on=[Dependency(upstream="q", kind="after", upstream_tasks=((0, 2),))])
    for _ in range(2):
        lab.run("q", lambda params, number: Fate(result=number, seconds=0.5))
    lab.commit = msgspec.structs.replace(lab.commit, commit="c" * 40, tree="d" * 40)
    lab.registry.rerun(lab.project.map("q").id, [0])
    lab.run("q", lambda params, number: Fate(result=number, seconds=0.5))
    page = tmp_path / "page.nt"
    export(lab.project, format="nt", path=page)
    graph = Graph().parse(page, format="nt")
    informed = {(local(one), local(other)) for one, other in graph.subject_objects(PROV.wasInformedBy)}
    assert ("cohort.q.1", "cohort.q.0") in informed
    assert ("cohort.q.1", "cohort.q.2") not in informed
    assert violations(graph) == []
    lab.close()
