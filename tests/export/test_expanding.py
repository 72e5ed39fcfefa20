"""`expand`: a page and one record give the graph of that task, the one that an export of all tasks has."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec import structs

from export.test_task_documents import lived  # noqa: F401
from fixtures.expanded import attempts, compare
from fixtures.study import Study, grid
from fixtures.told import tell
from provrun.cli.main import main
from provrun.core.leaves import Record
from provrun.core.records import Dependency
from provrun.core.states import Outcome, State
from provrun.export.expanding import expand
from provrun.export.page import PR
from provrun.export.rdf import Iri
from provrun.export.reading import read_page
from provrun.export.view import Broken, View
from provrun.project.pages.publishing import export
from provrun.project.pages.verifying import prove
from provrun.project.project import Project


def test_a_page_and_a_record_give_the_graph_of_the_task(lived: Project, tmp_path: Path) -> None:  # noqa: F811
    page, leaves = tmp_path / "page.nt", tmp_path / "leaves.jsonl"
    export(lived, format="nt", path=page, leaves=leaves)
    assert compare(lived, page, leaves) > 10


def test_parameters_that_a_record_lacks_are_not_said_of_attempts_that_ended_before_they_read_anything(
    project: Project, study: Study, tmp_path: Path
) -> None:
    job = study.job()
    study.submit("a", grid(x=2))
    study.run(job, "a")
    study.submit("b", grid(c=1), on=[Dependency(upstream="a", kind="each")])
    claimed = [structs.replace(one, trail=None) for one in study.claim(job, "b")]
    study.end(job, claimed, Outcome.LAUNCHER, State.FAILED)
    page, leaves = tmp_path / "page.nt", tmp_path / "leaves.jsonl"
    export(project, format="nt", path=page, leaves=leaves)
    assert compare(project, page, leaves) == 4


def test_a_record_of_another_page_is_refused(lived: Project, tmp_path: Path) -> None:  # noqa: F811
    page, leaves = tmp_path / "page.nt", tmp_path / "leaves.jsonl"
    export(lived, format="nt", path=page, leaves=leaves)
    view = View(read_page(page))
    record = next(one for one in map(Record, leaves.read_bytes().splitlines()) if attempts(one))
    record.fields["map"] = "nowhere"
    with pytest.raises(Broken, match="no map nowhere"):
        expand(view, record)


def test_verify_writes_the_graph_of_a_member_if_all_holds(
    project: Project, study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tell(study)
    page, proof, graph = (tmp_path / name for name in ("page.ttl", "proof.json", "graph.nt"))
    export(project, path=page)
    prove("scan/12", page, proof, folder=tmp_path)
    assert main(["verify", str(page), "--member", str(proof), "--expand", str(graph)]) == 0
    written = read_page(graph)
    name = f"urn:uuid:{project.registry.uuid}#scan.12"
    assert {t.subject for t in written if t.object == Iri(PR + "Attempt")} == {f"{name}.1", f"{name}.2"}
    graph.unlink()
    lie = json.loads(proof.read_bytes())
    lie["position"] += 1
    proof.write_text(json.dumps(lie))
    assert main(["verify", str(page), "--member", str(proof), "--expand", str(graph)]) == 6
    assert not graph.exists()
    assert main(["verify", str(page), "--expand", str(graph)]) == 2
    assert "of which task?" in capsys.readouterr().err
