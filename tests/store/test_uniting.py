"""Maps that two registries have: united, with every attempt once, and what is here stays."""

from __future__ import annotations

import random
from collections import Counter
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from fixtures.merged import MAPS, Elsewhere, come, end, executions, made_as, saved, tell_more, told
from fixtures.study import Study, ended, grid
from fixtures.told import fixed
from provrun.core.records import Dependency, DependencyKind
from provrun.store.plan import dump
from provrun.store.registry import Registry

MAPS_OF_TWO = ("scan", "obs", "sum", "cut")


def test_what_was_brought_goes_on_here_and_what_is_new_there_comes_later(
    study: Study, elsewhere: Elsewhere, tmp_path: Path
) -> None:
    other = elsewhere()
    tell_more(other)
    come(study, saved(other, tmp_path / "copy.sqlite"))
    study.submit("scan", [{"x": 50, "y": 1}])
    study.run(study.job(), "scan", "obs", "mean", "chunks", "all", "off", "grown")
    assert study.registry.check() == []
    other.submit("scan", [{"x": 51, "y": 1}, {"x": 50, "y": 1}])
    other.registry.rerun(other.id("scan"), [2])
    other.run(other.job(), "scan", "obs")
    end(other)
    before = executions(study)
    done = come(study, saved(other, tmp_path / "copy.sqlite"))
    scan = next(one for one in done if one.here == "scan")
    assert (scan.new, scan.tasks, scan.attempts) == (False, 1, 3)
    assert study.params("scan")[-2:] == [{"x": 50, "y": 1}, {"x": 51, "y": 1}]
    assert executions(study) == before | executions(other)
    # What is here counts: the rerun there is kept beside it.
    task = study.registry.task(study.id("scan"), 2)
    assert task is not None
    assert task.accepted < task.attempts
    assert made_as(study, "scan")[41, 2] == (other.registry.uuid, "scan", 42, 1)
    study.run(study.job(), *[name for name in MAPS if name != "more"])
    assert study.registry.check() == []


def test_two_that_worked_on_one_study_are_united(study: Study, elsewhere: Elsewhere, tmp_path: Path) -> None:
    other = elsewhere()
    for one, points in ((study, grid(x=6)), (other, [{"x": x} for x in range(9, 2, -1)])):
        one.submit("scan", points)
        one.submit("obs", grid(kind=2), on=[Dependency(upstream="scan", kind="each")])
        one.submit("sum", [{}], on=[Dependency(upstream="obs", kind="all")])
    job = study.job()
    study.succeed(job, study.claim(job, "scan", limit=2))
    study.run(job, "obs")
    study.fail(job, study.claim(job, "scan", limit=3))
    job = other.job()
    other.succeed(job, other.claim(job, "scan", limit=6))
    other.fail(job, other.claim(job, "scan", limit=1))
    other.run(job, "obs", "sum")
    end(other)
    end(study)
    done = come(study, saved(other, tmp_path / "copy.sqlite"))
    assert [(one.here, one.tasks, one.attempts) for one in done] == [("scan", 4, 7), ("obs", 8, 12), ("sum", 0, 0)]
    assert [point["x"] for point in study.params("scan")] == [0, 1, 2, 3, 4, 5, 9, 8, 7, 6]
    # 2 failed here and 3 there, 4 and 5 here failed and there did not.
    assert study.states("scan") == "ssffssssss"
    assert study.states("obs") == "ssss" + "wwww" + "ssss" + "ssss" * 2
    assert made_as(study, "scan")[4, 2] == (other.registry.uuid, "scan", 5, 1)
    assert made_as(study, "scan")[6, 1] == (other.registry.uuid, "scan", 0, 1)
    study.registry.retry(study.id("scan"), None, time=None, memory=None)
    study.run(study.job(), "scan", "obs", "sum")
    assert {study.states(name).strip("s") for name in ("scan", "obs", "sum")} == {""}
    assert study.registry.check() == []


def test_a_reduce_that_has_read_less_does_not_count(study: Study, elsewhere: Elsewhere, tmp_path: Path) -> None:
    other = elsewhere()
    for one, n in ((study, 4), (other, 3)):
        one.submit("scan", grid(x=n))
        one.submit("sum", [{}], on=[Dependency(upstream="scan", kind="all")])
        one.submit("by", [{}], on=[Dependency(upstream="scan", kind="group", by=("x",))])
    other.run(other.job(), "scan", "sum", "by")
    end(other)
    come(study, saved(other, tmp_path / "copy.sqlite"))
    assert (study.states("scan"), study.states("sum"), study.states("by")) == ("sssp", "w", "sssw")
    assert made_as(study, "sum") == {(0, 1): (other.registry.uuid, "sum", 0, 1)}
    study.run(study.job(), "scan", "sum", "by")
    task = study.registry.task(study.id("sum"), 0)
    assert task is not None
    assert (task.attempts, task.accepted) == (2, 2)


@pytest.mark.parametrize("count", [9, 20])
@pytest.mark.parametrize("kind", ["all", "chunk"])
def test_equal_results_of_other_tasks_are_not_what_would_be_read(
    study: Study, elsewhere: Elsewhere, tmp_path: Path, kind: DependencyKind, count: int
) -> None:
    other = elsewhere()
    on = [Dependency(upstream="scan", kind=kind, chunk=count if kind == "chunk" else 0)]
    for one, points in ((study, grid(x=2 * count)), (other, grid(x=2 * count)[::-1])):
        one.submit("scan", points)
        one.submit("sum", [{}], on=on)
        job = one.job()
        context = one.context(job)
        claimed = [msgspec.structs.replace(task, params="{}") for task in one.claim(job, "scan")]
        one.registry.record(job, [ended(task, context) for task in claimed])
    other.run(other.job(), "sum")
    end(other)
    come(study, saved(other, tmp_path / "copy.sqlite"))
    assert len(made_as(study, "sum")) == (2 if kind == "chunk" else 1)
    assert set(study.states("sum")) == {"p"}


def test_a_new_map_counts_only_what_was_made_of_the_results_here(
    study: Study, elsewhere: Elsewhere, tmp_path: Path
) -> None:
    other = elsewhere()
    for one in (study, other):
        one.submit("scan", grid(x=3))
        one.run(one.job(), "scan")
    other.submit("scan", grid(x=5))
    other.submit("obs", grid(kind=2), on=[Dependency(upstream="scan", kind="each")])
    other.submit("sum", [{}], on=[Dependency(upstream="obs", kind="all")])
    other.run(other.job(), "scan", "obs", "sum")
    end(other)
    done = come(study, saved(other, tmp_path / "copy.sqlite"))
    assert [(one.here, one.new, one.attempts) for one in done] == [
        ("scan", False, 5), ("obs", True, 10), ("sum", True, 1),
    ]
    assert (study.states("scan"), study.states("obs"), study.states("sum")) == ("sssss", "pppppp" + "ssss", "w")
    study.run(study.job(), "obs", "sum")
    assert (study.states("obs"), study.states("sum")) == ("s" * 10, "s")


def test_a_new_map_waits_for_what_has_not_ended_here(study: Study, tmp_path: Path) -> None:
    study.submit("scan", grid(x=3))
    job = study.job()
    study.succeed(job, study.claim(job, "scan", limit=2))
    study.fail(job, study.claim(job, "scan"))
    end(study)
    path = saved(study, tmp_path / "copy.sqlite")
    with closing(Registry.open(f"sqlite:///{path}")) as registry:
        copy = Study(registry)
        copy.submit("sum", [{}], on=[Dependency(upstream="scan", kind="all", on_failed="skip")])
        copy.run(copy.job(), "sum")
        end(copy)
    study.registry.retry(study.id("scan"), None, time=None, memory=None)
    come(study, path)
    assert (study.states("scan"), study.states("sum")) == ("ssp", "w")
    study.run(study.job(), "scan", "sum")
    assert study.states("sum") == "s"


def test_a_new_map_keeps_its_names_if_all_that_it_reads_is_here(study: Study, tmp_path: Path) -> None:
    study.submit("scan", grid(x=3))
    study.run(study.job(), "scan")
    end(study)
    path = saved(study, tmp_path / "copy.sqlite")
    with closing(Registry.open(f"sqlite:///{path}")) as registry:
        copy = Study(registry)
        copy.submit("obs", grid(kind=2), on=[Dependency(upstream="scan", kind="each")])
        copy.submit("obs", grid(kind=3), on=[Dependency(upstream="scan", kind="each")])
        copy.run(copy.job(), "obs")
        end(copy)
        theirs = told(copy, "obs")
    come(study, path)
    assert told(study, "obs") == theirs


def test_a_copy_of_this_registry_that_went_on_comes_back(study: Study, tmp_path: Path) -> None:
    study.submit("scan", grid(x=4))
    job = study.job()
    study.succeed(job, study.claim(job, "scan", limit=1))
    end(study)
    path = saved(study, tmp_path / "copy.sqlite")
    with closing(Registry.open(f"sqlite:///{path}")) as registry:
        copy = Study(registry)
        job = copy.job()
        copy.succeed(job, copy.claim(job, "scan", limit=2))
        end(copy)
        theirs = executions(copy)
    job = study.job()
    study.fail(job, study.claim(job, "scan", limit=1))
    end(study)
    ours = executions(study)
    come(study, path)
    assert study.states("scan") == "sssp"
    # The same name was given twice: the second attempt gets another one and keeps that it was called so.
    assert made_as(study, "scan") == {(1, 2): (study.registry.uuid, "scan", 1, 1)}
    assert executions(study) == ours | theirs
    assert [one.changed for one in come(study, path)] == [0]


def test_what_came_through_a_third_registry_is_known(study: Study, elsewhere: Elsewhere, tmp_path: Path) -> None:
    first, second = elsewhere(), elsewhere()
    first.submit("scan", grid(x=3))
    first.run(first.job(), "scan")
    end(first)
    come(second, saved(first, tmp_path / "first.sqlite"), scan="old")
    come(study, saved(second, tmp_path / "second.sqlite"))
    assert made_as(study, "old")[1, 1] == (first.registry.uuid, "scan", 1, 1)
    assert [one.attempts for one in come(study, tmp_path / "first.sqlite", scan="old")] == [0]


def test_what_was_cancelled_there_is_still_to_run_here(study: Study, elsewhere: Elsewhere, tmp_path: Path) -> None:
    other = elsewhere()
    for one, n in ((study, 3), (other, 4)):
        one.submit("scan", grid(x=n))
    job = other.job()
    other.succeed(job, other.claim(job, "scan", limit=1))
    other.registry.cancel(other.id("scan"), None)
    end(other)
    come(study, saved(other, tmp_path / "copy.sqlite"))
    assert study.states("scan") == "sppc"


def test_a_result_that_was_given_up_here_does_not_come_back(
    study: Study, elsewhere: Elsewhere, tmp_path: Path
) -> None:
    other = elsewhere()
    other.submit("scan", grid(x=2))
    other.run(other.job(), "scan")
    end(other)
    path = saved(other, tmp_path / "copy.sqlite")
    come(study, path)
    study.registry.rerun(study.id("scan"), [0])
    assert [one.changed for one in come(study, path)] == [0]
    assert study.states("scan") == "ps"


@pytest.mark.parametrize("seed", range(6))
def test_whatever_two_registries_did_all_of_it_is_there_once(
    study: Study, elsewhere: Elsewhere, tmp_path: Path, seed: int
) -> None:
    draw = random.Random(seed)
    others = [elsewhere(), elsewhere()]
    for one in (study, *others):
        live(one, draw)
    for step in range(3):
        for n, other in enumerate(others):
            ours, theirs = executions(study), executions(other)
            had = {name: study.states(name) for name in MAPS_OF_TWO}
            path = saved(other, tmp_path / f"{n}.sqlite")
            come(study, path)
            assert study.registry.check() == []
            made = Counter(one[0:5] for one in executions(study))
            assert set(made.values()) <= {1}
            assert made == Counter(one[0:5] for one in ours | theirs)
            for name, states in had.items():
                now = study.states(name)
                assert len(now) >= len(states)
                if name == "scan":
                    assert all(after == "s" for before, after in zip(states, now, strict=False) if before == "s")
            before = dump(study.registry.database)
            come(study, path)
            assert dump(study.registry.database) == before
        if step < 2:
            for one in (study, *others):
                go_on(one, draw)
    for name in MAPS_OF_TWO:
        study.registry.retry(study.id(name), None, time=None, memory=None)
    study.run(study.job(), *MAPS_OF_TWO)
    assert {study.states(name).strip("s") for name in MAPS_OF_TWO} == {""}


def live(study: Study, draw: random.Random) -> None:
    points = grid(x=12)
    study.submit("scan", draw.sample(points, draw.randint(1, 8)))
    study.submit("obs", grid(kind=2), on=[Dependency(upstream="scan", kind="each")])
    study.submit("sum", [{}], on=[Dependency(upstream="obs", kind="group", by=("kind",))])
    study.submit("cut", [{}], on=[Dependency(upstream="scan", kind="chunk", chunk=3)])
    go_on(study, draw)


def go_on(study: Study, draw: random.Random) -> None:
    if draw.random() < 0.5:
        study.submit("scan", draw.sample(grid(x=15), 3))
    if draw.random() < 0.3:
        study.code = fixed(study)
    job = study.job()
    for _ in range(draw.randint(1, 5)):
        claimed = study.claim(job, *draw.sample(MAPS_OF_TWO, 2), limit=draw.randint(1, 9))
        good = [one for one in claimed if draw.random() < 0.7]
        bad = [one for one in claimed if one not in good]
        study.succeed(job, good)
        study.fail(job, bad, again=draw.random() < 0.5)
    if draw.random() < 0.5:
        done = [n for n, state in enumerate(study.states("scan")) if state == "s"]
        study.registry.rerun(study.id("scan"), done[:1])
    end(study)
