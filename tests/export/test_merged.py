"""Pages of maps that were merged: valid, with every number as the records have it, and no revision that was none."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from rdflib import RDF, Graph, Literal, Namespace

from fixtures import stranger
from fixtures.constraints import violations
from fixtures.merged import come, end, saved
from fixtures.study import Study, ended, grid
from fixtures.told import fixed
from provrun.core.records import Dependency
from provrun.project.pages.publishing import export
from provrun.project.pages.verifying import verify
from provrun.project.project import Project
from provrun.store.registry import Registry

PR = Namespace("https://w3id.org/provrun/ns#")
PROV = Namespace("http://www.w3.org/ns/prov#")
HOUR = 3_600_000_000


def live(study: Study, first: int, last: int, later: int, *, fails: int = 0) -> None:
    """Run a study of three stages at a time of its own; the first few attempts fail and are tried again."""
    study.submit("scan", grid(x=last)[first:])
    study.submit("obs", grid(kind=2), on=[Dependency(upstream="scan", kind="each")])
    study.submit("by", [{}], on=[Dependency(upstream="obs", kind="group", by=("kind",))])
    study.submit("all", [{}], on=[Dependency(upstream="scan", kind="all"), Dependency(upstream="by", kind="after")])
    job = study.job()
    if fails:
        study.fail(job, study.claim(job, "scan", limit=fails), again=True)
    run(study, job, later)
    end(study)


def run(study: Study, job: int, later: int) -> None:
    """Run all there is, each stage after the one it builds on."""
    context = study.context(job)
    for stage, name in enumerate(("scan", "obs", "by", "all"), 1):
        while claimed := study.claim(job, name):
            at = later + stage * HOUR // 10
            done = [msgspec.structs.replace(one, started=one.started + at) for one in
                    (ended(one, context) for one in claimed) if one.started is not None]
            study.registry.record(job, done)


@pytest.mark.parametrize("n", [8, 30])
@pytest.mark.parametrize("order", ["older first", "newer first"])
@pytest.mark.parametrize("again", [False, True])
def test_the_page_of_a_study_of_two_registries_is_valid(
    project: Project, study: Study, write: Callable[..., str], tmp_path: Path, n: int, order: str, again: bool
) -> None:
    with closing(Registry.create(f"sqlite:///{tmp_path / 'other.sqlite'}")) as registry:
        other = Study(registry)
        other.code = fixed(other)
        mine, theirs = (0, HOUR) if order == "older first" else (HOUR, 0)
        live(study, 0, n, mine)
        live(other, n // 2, n + 3, theirs, fails=2)
        other_uuid = registry.uuid
        come(study, saved(other, tmp_path / "copy.sqlite"))
    if again:
        run(study, study.job(), 2 * HOUR)
        end(study)
    page = Graph().parse(data=write("turtle"), format="turtle")
    assert violations(page) == []
    (scan,) = page.subjects(PR.name, Literal("scan"))
    (said,) = page.objects(scan, PR.madeElsewhere)
    assert json.loads(said) == {"registry": other_uuid, "map": "scan", "attempts": n + 3 - n // 2 + 2}
    superseded = set(page.subjects(RDF.type, PR.SupersededResults))
    assert superseded
    # What ran here before was not revised by what came, nor what came later by what was here.
    assert bool(superseded & set(page.objects(None, PROV.wasRevisionOf))) == again
    export(project, path=tmp_path / "page.ttl", leaves=tmp_path / "leaves.jsonl")
    stranger.check(tmp_path / "page.ttl", tmp_path / "leaves.jsonl")
    assert verify(tmp_path / "page.ttl", leaves=tmp_path / "leaves.jsonl").problems == []
