"""A page stays small: beyond the first ones things are summed, pooled or counted, and it says so."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
from rdflib import RDF, Graph, Namespace
from rdflib.term import Node

from export.test_tails import use_code
from fixtures.constraints import violations
from fixtures.study import AT, Study, ended, grid
from provrun.core.environment import Host
from provrun.core.records import Dependency
from provrun.core.states import Outcome, State
from provrun.project.pages.publishing import export
from provrun.project.pages.verifying import verify
from provrun.project.project import Project

PR = Namespace("https://w3id.org/provrun/ns#")
PROV = Namespace("http://www.w3.org/ns/prov#")


def local(node: Node | None) -> str:
    return str(node).rpartition("#")[2]


def published(project: Project, folder: Path) -> Graph:
    """Export, and have the page verified with its records."""
    page, leaves = folder / "page.ttl", folder / "leaves.jsonl"
    export(project, path=page, leaves=leaves)
    assert verify(page, leaves=leaves).problems == []
    return Graph().parse(page)


def test_over_64_pairs_of_cohorts_read_the_union(project: Project, study: Study, tmp_path: Path) -> None:
    study.submit("scan", grid(x=20))
    job = study.job()
    for number in range(20):
        use_code(study, number)
        study.succeed(job, study.claim(job, "scan", limit=1))
    study.submit("obs", grid(kind=4), on=[Dependency(upstream="scan", kind="each")])
    claimed = study.claim(job, "obs")
    for number in range(4):
        use_code(study, number)
        mine = claimed[number::4]
        study.succeed(job, mine)
    graph = published(project, tmp_path)
    readers = [node for node in graph.subjects(RDF.type, PR.Cohort) if local(node).startswith("cohort.obs.")]
    assert len(readers) == 4
    for reader in readers:
        results = [one for one in graph.objects(reader, PROV.used) if local(one).startswith("results.")]
        assert [local(one) for one in results] == ["results.scan"]
        (use,) = (u for u in graph.objects(reader, PROV.qualifiedUsage) if graph.value(u, PROV.entity) == results[0])
        assert str(graph.value(use, PR.membersRead)) == str(graph.value(use, PR.membersExpected)) == "20"
        (made,) = graph.subjects(PROV.wasGeneratedBy, reader)
        assert results[0] in set(graph.objects(made, PROV.wasDerivedFrom))
    assert violations(graph) == []


def test_submissions_after_the_sixteenth_are_summed(project: Project, study: Study, tmp_path: Path) -> None:
    for number in range(20):
        study.submit("scan", grid(x=number + 1), distinct=True, at=AT + number * 1_000_000)
    study.run(study.job(), "scan")
    graph = published(project, tmp_path)
    added = {
        local(node): (int(str(graph.value(node, PR.tasksAdded))), graph.value(node, PR.submissions))
        for node in graph.subjects(RDF.type, PR.Submission)
    }
    assert len(added) == 17
    assert {n for name, (n, _) in added.items() if name != "submission.scan.16"} == {1}
    count, several = added["submission.scan.16"]
    assert (count, str(several)) == (4, "4")


def test_machines_after_the_eighth_and_failures_after_the_sixteenth_are_counted(
    project: Project, study: Study, tmp_path: Path
) -> None:
    study.submit("scan", grid(x=20))
    job = study.job()
    claimed = study.claim(job, "scan")
    for number, one in enumerate(claimed):
        study.host = study.registry.intern_host(Host(platform="linux", cpu=f"cpu{number:02}", cores=2, memory=4))
        failed = ended(one, study.context(job), Outcome.EXIT, State.FAILED)
        failed = msgspec.structs.replace(failed, detail=number + 1)
        study.registry.record(job, [failed])
    graph = published(project, tmp_path)
    (cohort,) = graph.subjects(RDF.type, PR.Cohort)
    hosts = sorted(str(one) for one in graph.objects(cohort, PR.host))
    assert (len(hosts), hosts[0]) == (9, "and 12 more")
    failures = [json.loads(str(one)) for one in graph.objects(cohort, PR.failure)]
    assert len(failures) == 17
    assert {"rest": 4, "count": 4} in failures
