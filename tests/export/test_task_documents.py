"""The task level in PROV's own formats: `prov` reads what it would have written of the whole document."""

from __future__ import annotations

import gc
import io
import json
import tracemalloc
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from prov.model import ProvDocument
from rdflib import RDF, Graph, Namespace

from export.test_reused import tell_reuse
from export.test_task_level import by_prov, streamed
from fixtures.lab import Fate, Lab, xs
from fixtures.merged import tell_more
from fixtures.study import Study, grid
from fixtures.told import tell_all
from provrun.core.records import Dependency
from provrun.errors import UsageError
from provrun.export import rdf, task_documents
from provrun.export import task_level as streams
from provrun.project.pages import task_level
from provrun.project.pages.publishing import export, summarised
from provrun.project.project import Project

PROV = Namespace("http://www.w3.org/ns/prov#")
PR = Namespace("https://w3id.org/provrun/ns#")
FORMATS = {"provn": "provn", "provjson": "json", "provxml": "xml"}
T = TypeVar("T")


def tell_files(root: Path) -> Project:
    """Have tasks that share files of their own, make files, have no result and are read nevertheless."""
    lab = Lab(root)
    for number in range(3):
        (root / f"in{number}").write_text(str(number))
    (root / "in3").write_text("0")  # the content of another
    (root / "in4").write_text("all")

    def decide(params: dict[str, object], number: int) -> Fate:
        x = int(str(params["x"]))
        return Fate(
            result=None if x == 2 else {"y": "\u2028\x01\ufffe\"<&>]]>"}, inputs=[f"in{x % 4}", "in4"],
            outputs={"plot": (f"plot{x}", b"%d" % x)},
        )

    lab.submit("scan", xs(*range(8)))
    lab.run("scan", decide)
    lab.submit("obs", [{"kind": 0}, {"kind": 1}], on=[Dependency(upstream="scan", kind="each")])
    lab.run("obs", lambda params, number: Fate(result=1))
    lab.registry.rerun(lab.project.map("scan").id, [0, 2])
    lab.run("scan", decide)
    return lab.project


def _told(tell: Callable[[Study], None]) -> Callable[[Path], Project]:
    def tell_of(root: Path) -> Project:
        project = Project.create(root)
        tell(Study(project.registry))
        return project

    return tell_of


HISTORIES = {
    "all": _told(tell_all), "more": _told(tell_more), "reuse": _told(tell_reuse), "files": tell_files,
}


@pytest.fixture(params=HISTORIES)
def lived(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Project]:
    project = HISTORIES[request.param](tmp_path)
    yield project
    project.close()


def read(text: str, format: str) -> ProvDocument:
    """Have prov read a text; what it would refuse some day is wrong now."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return ProvDocument.deserialize(io.BytesIO(text.encode()), format=FORMATS[format])


@pytest.mark.parametrize("format", FORMATS)
def test_prov_reads_what_it_says_of_the_whole_document(lived: Project, format: str) -> None:
    whole = by_prov(lived).page.document.unified()
    found = read(streamed(lived, format), format).unified()
    assert len(found.get_records()) > 100
    assert found == whole


@pytest.mark.parametrize("format", FORMATS)
def test_a_reader_of_rdf_finds_the_same_relations(lived: Project, format: str) -> None:
    document = read(streamed(lived, format), format)
    graph = Graph().parse(data=streamed(lived, "nt"), format="nt")
    relations = {
        "used": PROV.used, "wasGeneratedBy": PROV.wasGeneratedBy, "wasDerivedFrom": PROV.wasDerivedFrom,
        "hadMember": PROV.hadMember, "wasAssociatedWith": PROV.wasAssociatedWith,
        "wasInformedBy": PROV.wasInformedBy, "wasAttributedTo": PROV.wasAttributedTo,
        "actedOnBehalfOf": PROV.actedOnBehalfOf,
    }
    said: dict[str, set[tuple[str, str]]] = {name: set() for name in relations}
    for record in document.get_records():
        name = record.get_type().localpart
        kind = {"Usage": "used", "Generation": "wasGeneratedBy", "Derivation": "wasDerivedFrom",
                "Membership": "hadMember", "Association": "wasAssociatedWith", "Communication": "wasInformedBy",
                "Attribution": "wasAttributedTo", "Delegation": "actedOnBehalfOf"}.get(name)
        if kind is not None:
            (_, left), (_, right), *_ = record.formal_attributes
            said[kind].add((left.uri, right.uri))
    for name, predicate in relations.items():
        assert said[name] == {(str(s), str(o)) for s, o in graph.subject_objects(predicate)}, name
    assert len(said["used"]) > 50
    activities = {str(one) for one in graph.subjects(RDF.type, PR.Attempt)}
    assert activities <= {record.identifier.uri for record in document.get_records() if record.identifier}


def test_the_same_statements_as_rdf_come_from_what_prov_reads(lived: Project) -> None:
    document = read(streamed(lived, "provjson"), "provjson").unified()
    lines = "".join(sorted(rdf.write_nt(rdf.triples(document)))).split("\n")
    assert set(lines) == set(streamed(lived, "nt").split("\n"))


def test_every_name_is_a_key_once_in_prov_json(lived: Project) -> None:
    def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
        assert len(dict(pairs)) == len(pairs)
        return dict(pairs)

    kinds = json.loads(streamed(lived, "provjson"), object_pairs_hook=once)
    assert {"prefix", "entity", "activity", "used", "hadMember"} <= set(kinds)


@pytest.mark.parametrize("format", FORMATS)
def test_the_same_registry_gives_the_same_bytes(lived: Project, format: str) -> None:
    assert streamed(lived, format) == streamed(lived, format)


def test_what_does_not_fit_into_memory_is_sorted_all_the_same(project: Project, study: Study) -> None:
    study.submit("scan", grid(x=100))
    study.run(study.job(), "scan")
    whole = streamed(project, "provjson")
    summaries, built = summarised(project, exemplars=False)
    tasks = list(task_level.documents(project, summaries, built))
    for held in (1, 3000):  # more runs than are open at once, and few
        pieces = task_documents.write("provjson", built.page.document, tasks, held=held)
        assert "".join(pieces) == whole


def test_two_files_whose_names_clash_are_refused(project: Project, study: Study) -> None:
    study.submit("scan", grid(x=2))
    study.run(study.job(), "scan")
    summaries, built = summarised(project, exemplars=False)
    tasks = list(task_level.documents(project, summaries, built))
    for number, task in enumerate(tasks):
        task.entity("r:file.0123456789abcdef", {"pr:sha256": f"0123456789abcdef{number}"})
    with pytest.raises(ValueError, match=r"begin alike: r:file\.0123456789abcdef"):
        list(task_documents.write("provjson", built.page.document, tasks))


@pytest.mark.parametrize("format", task_level.FORMATS)
def test_memory_does_not_grow_with_tasks(tmp_path: Path, format: str) -> None:
    lab = Lab(tmp_path)
    for x in range(250):
        (tmp_path / f"in{x}").write_text(str(x))

    def decide(params: dict[str, object], number: int) -> Fate:
        return Fate(result=params, inputs=[f"in{params['x']}"], outputs={"o": ("out", b"o")})

    lab.submit("scan", xs(*range(250)))
    lab.run("scan", decide)
    summaries, built = summarised(lab.project, exemplars=False)
    held: list[int] = []

    def measured(tasks: Iterator[T]) -> Iterator[T]:
        for number, task in enumerate(tasks):
            if number % 50 == 49:
                gc.collect()
                held.append(tracemalloc.get_traced_memory()[0])
            yield task

    if format in task_documents.FORMATS:
        tasks = measured(task_level.documents(lab.project, summaries, built))
        pieces = task_documents.write(format, built.page.document, tasks, folder=tmp_path, held=50_000)
    else:
        said = measured(task_level.statements(lab.project, summaries, built))
        pieces = streams.write(format, built.statements, built.page.namespaces, str(built.node.uri), said)
    tracemalloc.start()
    try:
        for _ in pieces:
            pass
    finally:
        tracemalloc.stop()
        lab.close()
    assert len(held) == 5
    # Names that are remembered would be kilobytes a task.
    assert max(held) - held[0] < 200_000, held


def test_temporary_files_have_no_name_that_a_kill_could_leave(project: Project, study: Study, tmp_path: Path) -> None:
    study.submit("scan", grid(x=3))
    study.run(study.job(), "scan")
    folder = tmp_path / "out"
    folder.mkdir()
    summaries, built = summarised(project, exemplars=False)
    tasks = task_level.documents(project, summaries, built)
    pieces = task_documents.write("provjson", built.page.document, tasks, folder=folder, held=1)
    assert next(pieces)
    opened = [str(one.readlink()) for one in Path("/proc/self/fd").iterdir() if one.is_symlink()]
    assert any(path.startswith(str(folder)) for path in opened)
    assert list(folder.iterdir()) == []
    pieces.close()


@pytest.mark.parametrize("format", ["dot", "crate"])
def test_what_makes_no_sense_of_tasks_is_refused(project: Project, study: Study, tmp_path: Path, format: str) -> None:
    study.submit("scan", grid(x=3))
    with pytest.raises(UsageError, match="of cohorts"):
        export(project, format=format, path=tmp_path / "graph", tasks=True)
    assert not (tmp_path / "graph").exists()


def test_collections_have_as_many_members_as_they_say(lived: Project) -> None:
    graph = Graph().parse(data=streamed(lived, "nt"), format="nt")
    made = set(graph.subjects(RDF.type, PR.Results)) | set(graph.subjects(RDF.type, PR.SupersededResults))
    parts = {node for node in made if graph.value(node, PR.partitionedInto) is None}
    counted = {node: len(set(graph.objects(node, PROV.hadMember))) for node in parts}
    assert counted == {node: int(str(graph.value(node, PR.memberCount))) for node in parts}
    files = set(graph.subjects(RDF.type, PR.OutputFile))
    outputs = lived.registry.database.one("select count(*) from artifact where role = 'output'")
    assert outputs == (len(files),)
