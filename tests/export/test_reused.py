"""Reused results on a page: attributed to the attempts that made them, counted apart, committed to, and no lie more."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pyshacl
import pytest
from rdflib import RDF, Graph, Namespace

from fixtures import stranger
from fixtures.crates import Validator, validator  # noqa: F401
from fixtures.lies import Page
from fixtures.study import Study, grid
from fixtures.told import fixed
from provrun.core.records import Dependency, Origins, Sought
from provrun.export.document import Built
from provrun.export.laws import LawBroken, require
from provrun.export.page import PR as VOCABULARY
from provrun.export.rdf import PROV as PROV_IRI
from provrun.export.rdf import Iri
from provrun.export.reading import read_page
from provrun.export.summary import Summary
from provrun.export.vocabulary import text
from provrun.project.pages.crating import export_crate
from provrun.project.pages.publishing import export, summarised
from provrun.project.pages.verifying import prove, verify
from provrun.project.project import Project
from provrun.store.reads import Reads
from provrun.store.registry import Registry

PR = Namespace("https://w3id.org/provrun/ns#")
PROV = Namespace("http://www.w3.org/ns/prov#")
DCTERMS = Namespace("http://purl.org/dc/terms/")
pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning")]


def reuse(study: Study, name: str, other: str) -> int:
    """Let a map take over all it can from another; give how much that was."""
    registry = study.registry
    map, reads = study.id(name), Reads(registry.database)
    contexts = tuple(tally.context for tally in reads.tallies(study.id(other)) if tally.accepted)
    pending = [task for task in registry.tasks(map) if task.state.word == "pending"]
    trails = reads.trails(map, [(task.index, task.upstream) for task in pending])
    sought = [Sought(one.index, one.params, one.upstream, trail) for one, trail in zip(pending, trails, strict=True)]
    matches = registry.matching(map, [Origins(study.id(other), contexts)], sought)
    return len(registry.take_over(map, None, matches).tasks)


def tell_reuse(study: Study) -> None:
    """Run a scan under two versions of code, take most of it over into another map, and build on that one."""
    study.submit("scan", grid(x=6))
    job = study.job()
    study.succeed(job, study.claim(job, "scan", limit=4))
    first, study.code = study.code, fixed(study)
    study.run(study.job(), "scan")
    study.code = first
    study.submit("more", [{"x": x} for x in range(2, 9)], reuse=True)
    assert reuse(study, "more", "scan") == 4
    job = study.job()
    study.succeed(job, study.claim(job, "more", limit=2))
    study.submit("obs", grid(y=2), on=[Dependency(upstream="more", kind="each")])
    study.submit("sum", [{}], on=[Dependency(upstream="more", kind="all", on_failed="skip")])
    study.run(study.job(), "obs")
    study.submit("again", grid(y=3), on=[Dependency(upstream="more", kind="each")], reuse=True)
    assert reuse(study, "again", "obs") == 12
    study.submit("third", [{"x": x} for x in range(2, 4)], reuse=True)
    assert reuse(study, "third", "more") == 2


def loaded(path: Path) -> Graph:
    return Graph().parse(path, format="nt" if path.suffix == ".nt" else "turtle")


def number(graph: Graph, node: object, name: str) -> int:
    return int(str(graph.value(node, PR[name])))  # type: ignore[arg-type]


def test_reused_results_are_said_to_be_made_by_who_made_them(project: Project, study: Study, tmp_path: Path) -> None:
    tell_reuse(study)
    path = tmp_path / "page.ttl"
    export(project, path=path)
    page = loaded(path)
    maps = {str(page.value(node, PR.name)): node for node in page.subjects(RDF.type, PR.Map)}
    counts = {
        name: tuple(number(page, node, one) for one in ("planned", "succeeded", "reused", "notRun", "attempts"))
        for name, node in maps.items()
    }
    assert counts["scan"] == (6, 6, 0, 0, 6)
    assert counts["more"] == (7, 2, 4, 1, 2)
    assert counts["again"] == (21, 0, 12, 9, 0)
    assert counts["third"] == (2, 0, 2, 0, 0)
    origins = list(page.subjects(RDF.type, PR.OriginCohort))
    made = sorted((str(page.value(one, PR.originMap)), number(page, one, "attempts")) for one in origins)
    # What was reused twice leads to its first maker.
    assert made == [("obs", 12), ("scan", 2), ("scan", 2), ("scan", 2)]
    assert {str(page.value(one, PR.originRegistry)) for one in origins} == {project.registry.uuid}
    for one in origins:
        assert page.value(one, DCTERMS.isPartOf) is None
        (results,) = page.subjects(PROV.wasGeneratedBy, one)
        assert page.value(results, RDF.type) in (PR.ReusedResults, PROV.Collection, PROV.Entity)
        assert (results, RDF.type, PR.ReusedResults) in page
        assert number(page, results, "memberCount") == number(page, one, "attempts")
        assert list(page.objects(results, PROV.wasDerivedFrom)) == []
        (plan,) = (page.value(each, PROV.hadPlan) for each in page.objects(one, PROV.qualifiedAssociation))
        assert (plan, RDF.type, PR.CodeVersion) in page
    reused = set(page.subjects(RDF.type, PR.ReusedResults))
    assert {len(reused & set(page.objects(maps[name], PROV.used))) for name in ("more", "again", "third")} == {2, 1}
    (reader,) = (one for one in page.subjects(RDF.type, PR.Cohort) if (one, DCTERMS.isPartOf, maps["obs"]) in page)
    assert len(reused & set(page.objects(reader, PROV.used))) == 2
    read = [
        number(page, use, "membersRead") for use in page.objects(reader, PROV.qualifiedUsage)
        if page.value(use, PROV.entity) in reused
    ]
    assert sum(read) == 8


def test_a_page_with_reused_results_obeys_the_shapes(project: Project, study: Study, tmp_path: Path) -> None:
    tell_reuse(study)
    export(project, path=tmp_path / "page.ttl")
    shapes = Graph().parse(data=text("shapes"), format="turtle")
    page = loaded(tmp_path / "page.ttl")
    valid, _, told = pyshacl.validate(page, shacl_graph=shapes)
    assert valid, told
    origin = next(page.subjects(RDF.type, PR.OriginCohort))
    page.add((origin, DCTERMS.isPartOf, next(page.subjects(RDF.type, PR.Map))))
    valid, _, _ = pyshacl.validate(page, shacl_graph=shapes)
    assert not valid


def test_strangers_find_the_records_of_reused_tasks_committed_to(
    project: Project, study: Study, tmp_path: Path
) -> None:
    tell_reuse(study)
    page, leaves, proof = (tmp_path / name for name in ("page.ttl", "leaves.jsonl", "proof.json"))
    export(project, path=page, leaves=leaves)
    assert verify(page, leaves=leaves).problems == []
    stranger.check(page, leaves)
    records = [json.loads(line) for line in leaves.read_text().splitlines()]
    found = {(one["map"], one["index"]): one for one in records if one["origin"] is not None}
    assert len(found) == 4 + 12 + 2
    one = found["more", 0]
    assert (one["state"], one["attempt"], one["attempts"], one["wall_us"]) == ("succeeded", None, 0, None)
    uuid = project.registry.uuid
    assert one["origin"] == {"registry": uuid, "map": "scan", "index": 2, "attempt": 1}
    assert found["third", 1]["origin"] == {"registry": uuid, "map": "scan", "index": 3, "attempt": 1}
    assert one["result"] == next(r["result"] for r in records if (r["map"], r["index"]) == ("scan", 2))
    assert found["again", 0]["reads"][0]["list"] == [[0, None, one["result"]]]
    for task in ("more/3", "again/1"):
        prove(task, page, proof, folder=project.root)
        assert verify(page, member=proof).problems == []
    proof.write_text(proof.read_text().replace('\\"map\\":\\"obs\\"', '\\"map\\":\\"scan\\"'))
    assert verify(page, member=proof).problems != []


def test_both_databases_give_the_same_page(tmp_path: Path, postgres_url: str) -> None:
    pages = []
    for number, url in enumerate((None, postgres_url)):
        folder = tmp_path / str(number)
        folder.mkdir()
        project = Project.create(folder, url)
        project.registry.database.run("update registry set uuid='11111111-2222-3333-4444-555555555555'")
        tell_reuse(Study(project.registry))
        export(project, path=folder / "page.ttl", leaves=folder / "leaves.jsonl")
        pages.append([(folder / name).read_bytes() for name in ("page.ttl", "leaves.jsonl")])
        project.close()
    assert pages[0] == pages[1]


def test_a_page_stays_true_when_reused_tasks_run_again_and_origins_are_gone(
    project: Project, study: Study, tmp_path: Path
) -> None:
    tell_reuse(study)
    registry: Registry = study.registry
    registry.rerun(study.id("more"), [0, 3])
    study.run(study.job(), "more")
    registry.delete(study.id("scan"))
    page, leaves = tmp_path / "page.ttl", tmp_path / "leaves.jsonl"
    export(project, path=page, leaves=leaves)
    assert verify(page, leaves=leaves).problems == []
    graph = loaded(page)
    made = {str(graph.value(one, PR.originMap)) for one in graph.subjects(RDF.type, PR.OriginCohort)}
    assert made == {"scan", "obs"}
    stale = {number(graph, use, "staleReads") for use in graph.subjects(PR.staleReads, None)}
    assert stale == {4}, "two tasks of obs for each of two that ran again"


Lie = Callable[[list[Summary], Built], None]


def _claim_as_made_here(summaries: list[Summary], built: Built) -> None:
    page = built.page
    page.generated(page.p("reused.more.1"), page.p("cohort.more.0"))


def _make_here_what_is_made_there(summaries: list[Summary], built: Built) -> None:
    page = built.page
    page.generated(page.entity(page.p("results.extra"), ["Results"], memberCount=1), page.p("origin.more.1"))


def _reuse_one_more(summaries: list[Summary], built: Built) -> None:
    (more,) = (one for one in summaries if one.map.name == "more")
    more.taken[0].tasks += 1


@pytest.mark.parametrize(
    ("law", "lie"),
    [
        ("nothing-reused-is-made-here", _claim_as_made_here),
        ("nothing-reused-is-made-here", _make_here_what_is_made_there),
        ("one-generation-each", _claim_as_made_here),
        ("commitments-agree-with-counts", _reuse_one_more),
        ("groups-partition-tasks", _reuse_one_more),
    ],
)
def test_an_export_that_lies_about_reuse_is_refused(project: Project, study: Study, law: str, lie: Lie) -> None:
    tell_reuse(study)
    summaries, built = summarised(project)
    require(summaries, built)
    lie(summaries, built)
    with pytest.raises(LawBroken) as refused:
        require(summaries, built)
    assert any(problem.startswith(f"{law}: ") for problem in refused.value.value)  # type: ignore[attr-defined, union-attr]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("reused")
    project = Project.create(folder)
    tell_reuse(Study(project.registry))
    page, leaves = folder / "page.nt", folder / "leaves.jsonl"
    export(project, format="nt", path=page, leaves=leaves)
    project.close()
    return page, leaves


def _generated_here(page: Page) -> None:
    """Claim that reused results were made by attempts of the map that reuses them, in both forms."""
    generation = page.get("reused.more.1", "prov:qualifiedGeneration").object
    assert isinstance(generation, Iri)
    for old in (page.get("reused.more.1", "prov:wasGeneratedBy"), _activity_of(page, generation.iri)):
        page.triples.remove(old)
        page.triples.add(old._replace(object=Iri(page.node("cohort.more.0"))))


def _activity_of(page: Page, generation: str) -> object:
    (found,) = (t for t in page.triples if t.subject == generation and t.predicate == PROV_IRI + "activity")
    return found


def _part_of_a_map(page: Page) -> None:
    mine = [t for t in page.triples if t.subject == page.node("cohort.more.0")]
    (whole,) = (t for t in mine if t.predicate.endswith("isPartOf"))
    page.triples.add(whole._replace(subject=page.node("origin.more.1")))


def _made_by_the_origin(page: Page) -> None:
    """Claim that own results were made elsewhere: the type of the collection alone is changed."""
    node = page.node("reused.more.1")
    page.triples = {
        t._replace(object=Iri(VOCABULARY + "Results"))
        if t.subject == node and t.object == Iri(VOCABULARY + "ReusedResults") else t
        for t in page.triples
    }


def _another_plan(page: Page) -> None:
    planned = [t for t in page.triples if t.predicate == PROV_IRI + "hadPlan"]
    plans = sorted({t.object for t in planned if "code." in str(t.object)}, key=str)
    (mine,) = (t for t in planned if "a.origin.more.1." in t.subject)
    page.triples.remove(mine)
    page.triples.add(mine._replace(object=next(plan for plan in plans if plan != mine.object)))


LIES: list[tuple[str, Callable[[Page], None]]] = [
    ("nothing-reused-is-made-here", _generated_here),
    ("nothing-reused-is-made-here", _part_of_a_map),
    ("nothing-reused-is-made-here", _made_by_the_origin),
    ("keys-are-those-of-the-cohorts", _another_plan),
    ("keys-are-those-of-the-cohorts", lambda page: page.set("origin.more.1", "originMap", "obs")),
    ("keys-are-those-of-the-cohorts", lambda page: page.set("origin.more.1", "originRegistry", "another")),
    ("counts-are-those-committed-to", lambda page: page.raise_("origin.more.1", "attempts")),
    ("counts-are-those-committed-to", lambda page: page.raise_("reused.more.1", "memberCount")),
    ("counts-are-those-committed-to", lambda page: page.raise_("map.more", "reused")),
    ("counts-are-those-committed-to", lambda page: page.forget("reused.more.1")),
    ("sums", lambda page: page.raise_("commitment.more.1", "reused")),
]


@pytest.mark.parametrize(("check", "lie"), LIES, ids=[f"{number}-{one[0]}" for number, one in enumerate(LIES)])
def test_a_lie_about_reuse_is_found_by_name(
    published: tuple[Path, Path], tmp_path: Path, check: str, lie: Callable[[Page], None]
) -> None:
    page = Page(read_page(published[0]))
    lie(page)
    page.seal()
    found = verify(page.write(tmp_path / "page.nt")).problems
    assert any(problem.startswith(f"{check}: ") for problem in found), found


RECORDS: list[tuple[str, str, str]] = [
    ("leaves-make-the-roots", '"origin":{"attempt":1,"index":2', '"origin":{"attempt":2,"index":2'),
    ("leaves-belong-to-their-groups", '"origin":{"attempt":1,"index":2,"map":"scan"',
     '"origin":{"attempt":1,"index":2,"map":"obs"'),
    ("leaves-are-the-records", '"wall_us":null', '"wall_us":-1'),
]


@pytest.mark.parametrize(("check", "old", "new"), RECORDS, ids=[one[0] for one in RECORDS])
def test_a_lie_in_the_record_of_a_reused_task_is_found(
    published: tuple[Path, Path], tmp_path: Path, check: str, old: str, new: str
) -> None:
    page, leaves = published
    lines = leaves.read_text().splitlines(keepends=True)
    place = next(n for n, line in enumerate(lines) if '"map":"more"' in line and '"origin":{' in line and old in line)
    lines[place] = lines[place].replace(old, new)
    lied = tmp_path / "leaves.jsonl"
    lied.write_text("".join(lines))
    assert any(problem.startswith(f"{check}: ") for problem in verify(page, leaves=lied).problems)


def test_a_crate_says_of_reused_results_which_map_made_them(
    project: Project, study: Study, tmp_path: Path, validator: Validator  # noqa: F811
) -> None:
    tell_reuse(study)
    crate = export_crate(project, path=tmp_path / "crate").path
    assert crate is not None
    graph = json.loads((crate / "ro-crate-metadata.json").read_text())["@graph"]
    names = sorted(str(one["name"]) for one in graph if one["@type"] == "CreateAction" and "reused" in one["name"])
    reused = "executions whose results are reused"
    assert names == [f"obs: 12 {reused}", *[f"scan: 2 {reused}"] * 3]
    assert verify(crate).problems == []
    required = [issue for issue in validator.issues(crate) if "author" not in issue.lower()]
    assert [issue for issue in required if "Action" in issue or "instrument" in issue] == []


