"""Submissions that attempts of tasks have made: what is kept of them, and which maps they lead to."""

from __future__ import annotations

import pytest

from fixtures.study import Study, grid
from provrun.core.records import Dependency, Submitter
from provrun.store.reads import Reads
from provrun.store.registry import Registry


def begun(study: Study, name: str = "seed") -> Submitter:
    """Give the attempt of a task that runs now."""
    study.submit(name, grid(x=2))
    job = study.job()
    (claimed,) = study.claim(job, name, limit=1)
    uuid = next(one.uuid for one in study.registry.running_jobs() if one.id == job)
    return Submitter(uuid, name, claimed.index, claimed.number)


def test_a_submission_names_the_attempt_that_made_it(study: Study, any_registry: Registry) -> None:
    attempt = begun(study)
    study.submit("leaf", grid(y=3), by=attempt)
    study.submit("leaf", grid(y=5))
    reads = Reads(any_registry.database)
    leaf, seed = study.id("leaf"), study.id("seed")
    assert [one.by for one in reads.submissions(leaf)] == [(seed, 0, 1), None]
    assert [of.by if (of := reads.submission_of(leaf, n)) else None for n in (0, 2, 3, 4)] == [
        (seed, 0, 1), (seed, 0, 1), None, None,
    ]
    assert [(map, one.first, one.added) for map, one in reads.submitted_by(seed, 0)] == [(leaf, 0, 3)]
    assert reads.submitted_by(seed, 0, 2) == []
    assert reads.submitted_by(seed, 1) == []
    assert (reads.submitters(leaf), reads.submitted_maps(seed)) == ([(seed, 3)], [(leaf, 3)])


@pytest.mark.parametrize("wrong", ["job", "map", "index", "number"])
def test_an_attempt_that_this_registry_does_not_know_is_not_named(
    study: Study, any_registry: Registry, wrong: str
) -> None:
    attempt = begun(study)
    others = {"job": "0" * 36, "map": "other", "index": 7, "number": 2}
    given = {name: getattr(attempt, name) for name in others} | {wrong: others[wrong]}
    study.submit("leaf", grid(y=3), by=Submitter(**given))
    assert [one.by for one in Reads(any_registry.database).submissions(study.id("leaf"))] == [None]


def test_growth_of_what_builds_on_a_map_is_due_to_the_same_attempt(study: Study, any_registry: Registry) -> None:
    attempt = begun(study)
    study.submit("leaf", grid(y=1))
    study.submit("fit", [{}], on=[Dependency(upstream="leaf", kind="each")])
    study.submit("leaf", grid(y=3), by=attempt)
    by = [one.by for one in Reads(any_registry.database).submissions(study.id("fit"))]
    assert by == [None, (study.id("seed"), 0, 1)]


def test_maps_that_tasks_have_submitted_are_selected_with_those_of_the_tasks(study: Study) -> None:
    attempt = begun(study)
    study.submit("other", grid(x=1))
    study.submit("base", grid(x=1))
    study.submit("leaf", [{}], on=[Dependency(upstream="base", kind="each")], by=attempt)
    registry = study.registry
    assert [map.name for map in registry.select_maps(["seed"])] == ["seed"]
    assert [map.name for map in registry.select_maps(["seed"], submitted=True)] == ["seed", "base", "leaf"]
    assert [map.name for map in registry.select_maps(["leaf"], submitted=True)] == ["base", "leaf"]
    assert {map.name for map in registry.select_maps([], submitted=True)} == {"seed", "other", "base", "leaf"}


def test_the_stamp_of_the_maps_tells_when_there_is_something_to_look_at(study: Study) -> None:
    registry = study.registry
    stamps = [registry.maps_stamp()]
    study.submit("scan", grid(x=2))
    stamps.append(registry.maps_stamp())
    study.submit("scan", grid(x=3))
    stamps.append(registry.maps_stamp())
    registry.pause(study.id("scan"), True)
    stamps.append(registry.maps_stamp())
    assert len({str(stamp) for stamp in stamps}) == 4
    study.run(study.job(), "scan")
    assert registry.maps_stamp() == stamps[-1]


def test_deleting_the_map_of_a_submitter_leaves_what_it_has_submitted(study: Study, any_registry: Registry) -> None:
    attempt = begun(study)
    study.submit("leaf", grid(y=3), by=attempt)
    any_registry.cancel(study.id("seed"), None)
    any_registry.delete(study.id("seed"))
    reads = Reads(any_registry.database)
    assert [(one.added, one.by) for one in reads.submissions(study.id("leaf"))] == [(3, None)]
