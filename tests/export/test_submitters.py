"""What a page says of tasks that tasks have submitted."""

from __future__ import annotations

from collections.abc import Callable

from rdflib import RDF, Graph, Namespace

from fixtures.study import Study, grid
from provrun.core.records import Dependency, Submitter

PR = Namespace("https://w3id.org/provrun/ns#")
PROV = Namespace("http://www.w3.org/ns/prov#")
Write = Callable[..., str]


def grown(study: Study) -> None:
    """Let a task of ``seed`` submit twice to ``leaf`` and once to its own map."""
    study.submit("seed", grid(x=2))
    job = study.job()
    claimed = study.claim(job, "seed")
    uuid = study.registry.running_jobs()[0].uuid
    attempt = Submitter(uuid, "seed", 0, claimed[0].number)
    study.submit("leaf", grid(y=3), on=[Dependency(upstream="seed", kind="after")], by=attempt)
    study.submit("leaf", grid(y=5), on=[Dependency(upstream="seed", kind="after")], by=attempt)
    study.submit("seed", grid(x=3), by=attempt)
    study.succeed(job, claimed)
    study.run(job, "seed")
    study.run(job, "leaf")


def local(node: object) -> str:
    return str(node).rpartition("#")[2]


def informed(page: Graph) -> set[tuple[str, str]]:
    return {(local(later), local(earlier)) for later, earlier in page.subject_objects(PROV.wasInformedBy)}


def test_a_map_is_informed_by_the_map_whose_tasks_submitted_to_it(study: Study, write: Write) -> None:
    grown(study)
    page = Graph().parse(data=write("turtle"), format="turtle")
    assert informed(page) == {
        ("map.leaf", "map.seed"), ("submission.leaf.0", "map.seed"), ("submission.leaf.1", "map.seed"),
        ("submission.seed.1", "map.seed"),
    }


def test_submitting_is_no_derivation(study: Study, write: Write) -> None:
    grown(study)
    page = Graph().parse(data=write("turtle"), format="turtle")
    derived = [
        (local(made), local(source)) for made, source in page.subject_objects(PROV.wasDerivedFrom)
        if "leaf" in local(made) and "seed" in local(source)
    ]
    assert derived == []
    assert len(list(page.subjects(RDF.type, PR.Submission))) == 4


def test_a_submitter_that_is_not_on_the_page_is_not_named(study: Study, write: Write) -> None:
    study.submit("seed", grid(x=1))
    job = study.job()
    claimed = study.claim(job, "seed")
    attempt = Submitter(study.registry.running_jobs()[0].uuid, "seed", 0, 1)
    study.submit("leaf", grid(y=3), by=attempt)
    study.succeed(job, claimed)
    study.run(job, "leaf")
    page = Graph().parse(data=write("turtle", "leaf"), format="turtle")
    assert informed(page) == set()
