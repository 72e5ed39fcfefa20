"""What a page says, and what it keeps to itself."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from rdflib import RDF, Graph, Namespace, URIRef
from rdflib.term import Node

from fixtures.constraints import violations
from fixtures.study import AT, Study, grid
from fixtures.told import fixed, tell
from provrun.core.code import CapturedCode, Code
from provrun.core.merkle import sample
from provrun.core.records import Dependency
from provrun.errors import UsageError
from provrun.project.pages.publishing import export
from provrun.project.pages.verifying import verify
from provrun.project.project import Project

PR = Namespace("https://w3id.org/provrun/ns#")
PROV = Namespace("http://www.w3.org/ns/prov#")
Write = Callable[..., str]


def graph(write: Write) -> Graph:
    return Graph().parse(data=write("turtle"), format="turtle")


def said(page: Graph, node: URIRef, name: str) -> str | None:
    value = page.value(node, PR[name])
    return None if value is None else str(value)


def of_map(page: Graph, kind: str, map: str) -> list[URIRef]:
    found = [node for node in page.subjects(RDF.type, PR[kind]) if f".{map}" in str(node)]
    return sorted(node for node in found if isinstance(node, URIRef))


def test_a_map_counts_its_tasks_and_attempts(study: Study, write: Write) -> None:
    tell(study)
    page = graph(write)
    scan = of_map(page, "Map", "scan")[0]
    wanted = {"planned": "41", "succeeded": "39", "failed": "2", "cancelled": "0", "notRun": "0", "attempts": "46"}
    assert {name: said(page, scan, name) for name in wanted} == wanted


def test_cohorts_part_attempts_by_code_and_outcome(study: Study, write: Write) -> None:
    tell(study)
    page = graph(write)
    cohorts = {
        tuple(said(page, node, name) for name in ("outcome", "attempts", "tasks", "accepted"))
        for node in of_map(page, "Cohort", "scan")
    }
    assert cohorts == {("succeeded", "12", "12", "10"), ("exit", "5", "5", "0"), ("succeeded", "29", "29", "29")}


def test_failures_say_what_happened_and_where_the_tasks_recovered(study: Study, write: Write) -> None:
    tell(study)
    page = graph(write)
    failed = next(node for node in of_map(page, "Cohort", "scan") if said(page, node, "outcome") == "exit")
    assert said(page, failed, "failure") == '{"class":"exit","count":5,"detail":1}'
    assert said(page, failed, "recovery") == '{"into":"cohort.scan.1","tasks":3}'
    assert not list(page.subjects(PROV.wasGeneratedBy, failed))


def test_a_rerun_replaces_results_and_says_how_many_came_out_the_same(study: Study, write: Write) -> None:
    tell(study)
    page = graph(write)
    older = of_map(page, "SupersededResults", "scan")[0]
    assert (str(page.value(older, PR.memberCount)), said(page, older, "sameDigest")) == ("2", "0")
    newer = list(page.subjects(PROV.wasRevisionOf, older))
    assert len(newer) == 1


def test_each_cohort_follows_one_code_and_a_fix_revises_the_code_before(study: Study, write: Write) -> None:
    tell(study)
    page = graph(write)
    codes = {str(page.value(node, PR.commit)): node for node in page.subjects(RDF.type, PR.CodeVersion)}
    assert set(codes) == {"swh:1:rev:" + "a" * 40, "swh:1:rev:" + "c" * 40}
    assert (codes["swh:1:rev:" + "c" * 40], PROV.wasRevisionOf, codes["swh:1:rev:" + "a" * 40]) in page
    for node in of_map(page, "Cohort", "scan"):
        followed = page.objects(node, PROV.qualifiedAssociation)
        plans = [plan for one in followed for plan in page.objects(one, PROV.hadPlan)]
        assert len(plans) == 1


def test_parameters_are_told_by_kind_range_and_values(study: Study, write: Write) -> None:
    tell(study)
    page = graph(write)
    found = list(page.objects(of_map(page, "Parameters", "scan")[0], PR.parameter))
    x, y = (node for name in "xy" for node in found if isinstance(node, URIRef) and said(page, node, "name") == name)
    assert [said(page, x, name) for name in ("count", "distinct", "minimum", "maximum")] == ["41", "11", "0", "99"]
    assert said(page, y, "nonFinite") == "1"
    assert said(page, y, "values") == '[0,1,2,3,{"$float":"nan"}]'


def test_maps_that_read_maps_say_how_many_members_they_read(study: Study, write: Write) -> None:
    tell(study)
    page = graph(write)
    read = [
        (str(page.value(usage, PR.membersRead)), str(page.value(usage, PR.membersExpected)))
        for node in of_map(page, "Cohort", "obs")
        for usage in page.objects(node, PROV.qualifiedUsage)
        if page.value(usage, PR.membersRead) is not None
    ]
    assert sum(int(n) for n, _ in read) == int(read[0][1])
    note = of_map(page, "Map", "note")[0]
    assert (note, PROV.wasInformedBy, of_map(page, "Map", "scan")[0]) in page


def test_folders_and_users_of_this_machine_stay_out(project: Project, study: Study, write: Write) -> None:
    for number, remote in enumerate(("/home/me/repo", "file:///home/me/repo", "https://host/repo", "git@host:me/repo")):
        code = Code(kind="git", root="/home/me/study", commit=f"{number}" * 40, tree="b" * 40, remote=remote)
        study.code = study.registry.intern_code(CapturedCode(code), AT + number)
        study.submit(f"m{number}", grid(x=2))
        study.run(study.job(), f"m{number}")
    text = write()
    assert "/home/me" not in text
    assert str(project.root) not in text
    assert os.uname().nodename not in text
    assert "https://host/repo" in text
    assert "git@host:me/repo" in text


def test_cohorts_beyond_64_are_pooled_in_tails(study: Study, write: Write) -> None:
    study.submit("scan", grid(x=200))
    job = study.job()
    for number in range(70):
        code = Code(kind="git", root="/study", commit=f"{number:040x}", tree="b" * 40)
        study.code = study.registry.intern_code(CapturedCode(code), AT + number)
        claimed = study.claim(job, "scan", limit=2 if number < 60 else 1)
        (study.fail if number % 10 == 9 else study.succeed)(job, claimed)
    page = graph(write)
    assert len(of_map(page, "Cohort", "scan")) == 62
    tails = of_map(page, "TailCohort", "scan")
    assert {said(page, node, "outcome") for node in tails} == {"succeeded", "unsuccessful"}
    assert sum(int(said(page, node, "attempts") or 0) for node in tails) == 8


def test_the_same_state_gives_the_same_bytes_from_both_databases(tmp_path: Path, postgres_url: str) -> None:
    pages = []
    for url in (None, postgres_url):
        project = Project.create(tmp_path / ("a" if url is None else "b"), url)
        project.registry.database.run("update registry set uuid='11111111-2222-3333-4444-555555555555'")
        tell(Study(project.registry))
        leaves = project.root / "leaves.jsonl"
        chunks: list[str] = []
        export(project, write=chunks.append, leaves=leaves)
        pages.append(("".join(chunks), leaves.read_bytes()))
        project.close()
    assert pages[0] == pages[1]


def test_an_earlier_page_is_revised_by_name(project: Project, study: Study, tmp_path: Path) -> None:
    study.submit("scan", grid(x=2))
    export(project, path=tmp_path / "old.ttl")
    study.run(study.job(), "scan")
    export(project, path=tmp_path / "new.ttl", revises=tmp_path / "old.ttl")
    old, new = Graph().parse(tmp_path / "old.ttl"), Graph().parse(tmp_path / "new.ttl")
    before = next(old.subjects(PR.snapshot))
    assert list(new.objects(next(new.subjects(PR.snapshot)), PROV.wasRevisionOf)) == [before]


def test_a_figure_derives_from_the_results_by_its_authors_word(
    project: Project, study: Study, tmp_path: Path
) -> None:
    study.submit("scan", grid(x=2))
    study.run(study.job(), "scan")
    (tmp_path / "gap.pdf").write_bytes(b"figure")
    export(project, path=tmp_path / "page.ttl", figures=[tmp_path / "gap.pdf"])
    page = Graph().parse(tmp_path / "page.ttl")
    figure = next(page.subjects(RDF.type, PR.Figure))
    assert str(page.value(figure, PR.name)) == "gap.pdf"
    assert [str(one).rpartition("#")[2] for one in page.objects(figure, PROV.wasDerivedFrom)] == ["results.scan"]
    assert list(page.objects(figure, PROV.wasAttributedTo))


@pytest.mark.parametrize("size", [1, 3])
def test_exemplars_are_few_and_told_in_full(study: Study, write: Write, size: int) -> None:
    study.submit("scan", grid(x=50))
    job = study.job()
    study.succeed(job, study.claim(job, "scan", limit=20))
    study.fail(job, study.claim(job, "scan", limit=size))
    study.code = fixed(study)
    study.run(job, "scan")
    page = graph(write)
    attempts = list(page.subjects(RDF.type, PR.Attempt))
    assert 3 <= len(attempts) <= 8
    assert sum(said(page, node, "outcome") == "exit" for node in attempts if isinstance(node, URIRef)) == size




@pytest.mark.parametrize("limit", [0, 13])
def test_exemplars_beyond_the_first_and_the_slowest_are_drawn_from_the_root(
    project: Project, study: Study, tmp_path: Path, limit: int
) -> None:
    study.submit("scan", grid(x=60))
    job = study.job()
    study.fail(job, study.claim(job, "scan", limit=limit) if limit else [])
    study.code = fixed(study)
    study.succeed(job, study.claim(job, "scan", limit=40))
    done = export(project, path=tmp_path / "page.ttl", leaves=tmp_path / "leaves.jsonl")
    assert done.path is not None
    records = [json.loads(line) for line in (tmp_path / "leaves.jsonl").read_bytes().splitlines()]
    page = Graph().parse(done.path)
    (whole,) = page.objects(of_map(page, "Map", "scan")[0], PR.commitment)
    root = bytes.fromhex(str(page.value(whole, PR.root)))
    drawn = [records[position] for position in sample(root, b"", len(records))]
    succeeded = [record["index"] for record in drawn if record["state"] == "succeeded"]
    shown = {int(str(page.value(node, PR["index"]))) for node in page.subjects(RDF.type, PR.Attempt)}
    assert len(shown) == 8
    chosen = {0, limit} | {limit + 39}  # of each cohort the first; all take the same time
    assert shown - chosen <= set(succeeded[:8]) and len(shown - chosen) >= 5


def test_a_task_of_many_attempts_does_not_make_more_than_eight_exemplars(study: Study, write: Write) -> None:
    study.submit("scan", grid(x=5))
    job = study.job()
    for _ in range(11):
        study.fail(job, study.claim(job, "scan", limit=1), again=True)
    study.run(job, "scan")
    attempts = list(graph(write).subjects(RDF.type, PR.Attempt))
    assert 1 <= len(attempts) <= 8


def test_a_map_has_not_used_what_came_after_its_end(study: Study, write: Write) -> None:
    study.submit("scan", grid(x=4))
    study.submit("obs", [{}], on=[Dependency(upstream="scan", kind="each")])
    for name in ("scan", "obs"):
        study.run(study.job(), name)
    (used,) = _used_by_the_whole(graph(write))
    assert str(used).endswith("#results.scan")
    study.code = fixed(study)
    study.submit("scan", grid(x=2000))
    job = study.job()
    study.succeed(job, study.claim(job, "scan", limit=2000)[-3:])  # tasks of this study begin by their numbers
    page = graph(write)
    (used,) = _used_by_the_whole(page)
    assert str(used).endswith("#results.scan.0")
    assert violations(page) == []


def _used_by_the_whole(page: Graph) -> list[Node]:
    (obs,) = of_map(page, "Map", "obs")
    return [node for node in page.objects(obs, PROV.used) if "results" in str(node)]


def test_maps_follow_what_they_build_on_and_else_their_names_however_they_are_named(
    study: Study, write: Write
) -> None:
    study.submit("zeta", grid(x=1))
    study.submit("alpha", grid(y=1), on=[Dependency(upstream="zeta", kind="each")])
    study.submit("gamma", grid(x=1))
    study.submit("beta", grid(x=1))
    page = graph(write)
    places = {int(said(page, node, "position") or 0): said(page, node, "name") for node in of_map(page, "Map", "")}
    assert [places[n] for n in range(4)] == ["beta", "gamma", "zeta", "alpha"]
    assert write("turtle", "gamma", "alpha", "beta") == write("turtle", "beta", "gamma", "alpha") == write("turtle")


def test_names_begin_with_the_address_that_is_configured(
    project: Project, study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(study)
    monkeypatch.setenv("PROVRUN_EXPORT_BASE", "https://example.org/runs/")
    found = Project.find(tmp_path)
    page, leaves = tmp_path / "page.ttl", tmp_path / "leaves.jsonl"
    export(found, path=page, leaves=leaves)
    assert verify(page, leaves=leaves).problems == []
    nodes = {str(node) for node in Graph().parse(page).subjects()}
    start = f"https://example.org/runs/{project.registry.uuid}#"
    assert {f"{start}person", f"{start}scan.0.1"} <= nodes
    assert all(node.startswith("https://example.org/runs/") for node in nodes)
    found.close()


@pytest.mark.parametrize("base", ["runs", "https://example.org/#", "https://example.org/a b/", "<x:y>"])
def test_an_address_that_makes_no_names_is_refused(
    project: Project, study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, base: str
) -> None:
    tell(study)
    monkeypatch.setenv("PROVRUN_EXPORT_BASE", base)
    found = Project.find(tmp_path)
    with pytest.raises(UsageError, match="export_base"):
        export(found, path=tmp_path / "page.ttl")
    assert not (tmp_path / "page.ttl").exists()
    found.close()
