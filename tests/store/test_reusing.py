"""Results taken over from other maps: who made them stays known, whatever becomes of the map they are from."""

from __future__ import annotations

import pytest

from fixtures.replicas import Group
from fixtures.study import Study, grid
from provrun.core.records import REUSED, Dependency, Match, Origin, Origins, Sought
from provrun.core.states import State
from provrun.store.reads import Reads
from provrun.store.registry import Registry


def origins(study: Study, *names: str) -> list[Origins]:
    """Give maps as origins, with all circumstances under which their results were made."""
    reads = Reads(study.registry.database)
    found = []
    for name in names:
        contexts = tuple(tally.context for tally in reads.tallies(study.id(name)) if tally.accepted)
        found.append(Origins(study.id(name), contexts))
    return found


def take(study: Study, name: str, *names: str) -> list[int]:
    """Let a map take over what it can from others."""
    registry = study.registry
    matches = registry.matching(study.id(name), origins(study, *names))
    return list(registry.take_over(study.id(name), None, matches).tasks)


def made_by(study: Study, name: str) -> dict[int, tuple[str, int, int]]:
    reads = Reads(study.registry.database)
    found = reads.origins(study.id(name), range(1000))
    assert {origin.registry for origin in found.values()} <= {study.registry.uuid}
    return {index: (origin.map, origin.task, origin.attempt) for index, origin in found.items()}


def test_equal_tasks_take_over_and_the_others_run(study: Study) -> None:
    study.submit("scan", grid(x=5))
    study.run(study.job(), "scan")
    study.submit("more", [{"x": x} for x in range(3, 9)])
    assert take(study, "more", "scan") == [0, 1]
    assert study.states("more") == "sspppp"
    assert made_by(study, "more") == {0: ("scan", 3, 1), 1: ("scan", 4, 1)}
    task = study.registry.task(study.id("more"), 0)
    assert task is not None
    assert (task.attempts, task.accepted) == (0, REUSED)
    reads = Reads(study.registry.database)
    shown, origin = reads.shown(study.id("more"), 0), reads.shown(study.id("scan"), 3)
    assert shown is not None
    assert origin is not None
    assert shown.attempt is not None
    assert origin.attempt is not None
    same = ("context", "outcome", "started", "wall", "result", "result_digest")
    assert [getattr(shown.attempt, name) for name in same] == [getattr(origin.attempt, name) for name in same]
    (tally,) = reads.tallies(study.id("more"))
    assert (tally.attempts, tally.accepted, tally.taken, tally.reused, tally.wall) == (0, 2, 2, 2, 0)
    assert study.run(study.job(), "more") == 4


def test_what_is_reused_through_another_map_names_who_made_it_first(study: Study) -> None:
    study.submit("a", grid(x=3))
    study.run(study.job(), "a")
    study.submit("b", grid(x=3))
    assert take(study, "b", "a") == [0, 1, 2]
    study.submit("c", grid(x=4))
    assert take(study, "c", "b") == [0, 1, 2]
    assert made_by(study, "c") == {x: ("a", x, 1) for x in range(3)}
    study.registry.delete(study.id("a"))
    assert made_by(study, "c") == {x: ("a", x, 1) for x in range(3)}
    study.registry.delete(study.id("b"))
    assert study.states("c") == "sssp"
    assert [task.state for task in study.registry.tasks(study.id("c"))][:3] == [State.SUCCEEDED] * 3


def test_a_reused_task_that_is_run_again_is_executed_and_keeps_what_it_had(study: Study) -> None:
    study.submit("a", grid(x=2))
    study.run(study.job(), "a")
    study.submit("b", grid(x=2))
    take(study, "b", "a")
    assert study.registry.rerun(study.id("b"), [1]) == 1
    assert take(study, "b", "a") == []  # nobody who asks for a rerun wants the old result
    [claimed] = study.claim(study.job(), "b")
    assert (claimed.index, claimed.number) == (1, 1)
    study.registry.release(study.jobs, [(claimed.map, claimed.index, claimed.number)])
    study.run(study.job(), "b")
    reads = Reads(study.registry.database)
    assert [one.number for one in reads.attempts(study.id("b"), 1)] == [REUSED, 1]
    sums = [(t.attempts, t.accepted, t.taken, t.reused) for t in reads.tallies(study.id("b"))]
    assert sorted(sums) == [(0, 1, 2, 1), (1, 1, 0, 0)]


def test_what_has_changed_since_it_was_found_is_not_taken(study: Study) -> None:
    study.submit("a", grid(x=4))
    study.run(study.job(), "a")
    study.submit("b", grid(x=4))
    registry = study.registry
    matches = registry.matching(study.id("b"), origins(study, "a"))
    assert matches == [Match(x, study.id("a"), x, 1) for x in range(4)]
    registry.rerun(study.id("a"), [0])
    job = study.job()
    study.claim(job, "b", limit=2)
    registry.cancel(study.id("b"), [2])
    assert registry.take_over(study.id("b"), None, matches) == ((3,), 0)
    assert study.states("b") == "rrcs"
    # The job that holds the others may give them results, another may not.
    assert registry.take_over(study.id("b"), study.job(), matches).tasks == ()
    assert registry.take_over(study.id("b"), job, matches).tasks == (1,)
    assert study.states("b") == "rscs"
    study.succeed(job, study.claim(job, "b"))


def test_each_of_equal_tasks_stands_for_an_execution_of_its_own(study: Study) -> None:
    study.submit("a", [{"x": 1}] * 2, distinct=True)
    study.run(study.job(), "a")
    study.submit("b", [{"x": 1}] * 3, distinct=True)
    assert take(study, "b", "a") == [0, 1]
    assert made_by(study, "b") == {0: ("a", 0, 1), 1: ("a", 1, 1)}
    study.submit("c", [{"x": 1}] * 4, distinct=True)
    assert take(study, "c", "a") == [0, 1]
    assert take(study, "c", "b") == []  # these lead to the same attempts


def test_what_waited_for_a_reused_result_may_run_and_reads_it(study: Study) -> None:
    study.submit("a", grid(x=3))
    study.run(study.job(), "a")
    study.submit("b", grid(x=3))
    study.submit("each", grid(y=2), on=[Dependency(upstream="b", kind="each")])
    study.submit("all", [{}], on=[Dependency(upstream="b", kind="all")])
    matches = study.registry.matching(study.id("b"), origins(study, "a"))
    assert study.registry.take_over(study.id("b"), None, matches).promoted == 7
    job = study.job()
    claimed = study.claim(job, "each", "all")
    b = study.id("b")
    assert claimed[0].trail == f"[[{b},0,{REUSED}]]"
    assert claimed[-1].trail == f"[[{b},0,{REUSED}],[{b},1,{REUSED}],[{b},2,{REUSED}]]"
    assert '"result":{"n":1,"of":{"x":0}}' in (claimed[0].reads or "")
    study.succeed(job, claimed)
    # Growth upstream opens the reduce again, and a reused result counts like any other.
    study.submit("b", grid(x=4))
    assert study.states("all") == "w"
    study.run(study.job(), "b")
    assert study.states("all") == "p"
    study.run(study.job(), "each", "all")


def test_dependent_tasks_take_over_what_has_read_the_same(study: Study) -> None:
    study.submit("a", grid(x=3))
    study.run(study.job(), "a")
    on = [Dependency(upstream="a", kind="each")]
    study.submit("b", grid(y=2), on=on)
    study.run(study.job(), "b")
    study.registry.rerun(study.id("a"), [2])
    study.run(study.job(), "a")
    study.submit("c", grid(y=3), on=on)
    job = study.job()
    claimed = study.claim(job, "c")
    sought = [Sought(one.index, one.params, one.upstream, one.trail) for one in claimed]
    matches = study.registry.matching(study.id("c"), origins(study, "b"), sought)
    assert [(one.task, one.origin) for one in matches] == [(0, 0), (1, 1), (3, 2), (4, 3)]
    assert study.registry.take_over(study.id("c"), job, matches).tasks == (0, 1, 3, 4)
    assert study.states("c") == "ssrssrrrr"
    study.succeed(job, [one for one in claimed if one.index not in (0, 1, 3, 4)])


def test_reduces_take_over_what_has_read_the_same(study: Study) -> None:
    study.submit("a", grid(x=40))
    study.run(study.job(), "a")
    for name in ("b", "c"):
        study.submit(name, [{}], on=[Dependency(upstream="a", kind="all")])
        study.submit(f"{name}-chunks", [{}], on=[Dependency(upstream="a", kind="chunk", chunk=20)])
    study.run(study.job(), "b", "b-chunks")
    for name in ("", "-chunks"):
        map = study.id(f"c{name}")
        tasks = list(study.registry.tasks(map))
        trails = Reads(study.registry.database).trails(map, [(task.index, task.upstream) for task in tasks])
        sought = [
            Sought(task.index, task.params, task.upstream, trail) for task, trail in zip(tasks, trails, strict=True)
        ]
        matches = study.registry.matching(map, origins(study, f"b{name}"), sought)
        assert len(study.registry.take_over(map, None, matches).tasks) == len(tasks)


def test_a_deleted_map_leaves_nothing_of_what_it_had_taken_over(study: Study, any_registry: Registry) -> None:
    study.submit("a", grid(x=2))
    study.run(study.job(), "a")
    study.submit("b", grid(x=2))
    take(study, "b", "a")
    assert Reads(any_registry.database).reusing("a", 1, 5) == [(study.id("b"), 1)]
    any_registry.delete(study.id("b"))
    for table in ("reused", "attempt", "tally"):
        assert any_registry.database.fetch(f"select count(*) from {table} where map_id=?", (study.ids["b"],)) == [(0,)]


def test_a_registry_that_lost_an_origin_is_unsound(tmp_path: object) -> None:
    registry = Registry.create(f"sqlite:///{tmp_path}/registry.sqlite")
    study = Study(registry)
    study.submit("a", grid(x=1))
    study.run(study.job(), "a")
    study.submit("b", grid(x=1))
    take(study, "b", "a")
    assert registry.check() == []
    registry.database.run("delete from reused")
    assert registry.check() == ["b/0: a reused result without the attempt that made it"]
    registry.close()


@pytest.mark.parametrize("seed", range(3))
def test_replicas_agree_on_what_was_taken_over(group: Group, seed: int) -> None:
    group.random.seed(seed)
    study = Study(group)  # type: ignore[arg-type]
    study.submit("a", grid(x=6))
    study.run(study.job(), "a")
    study.submit("b", [{"x": x} for x in range(3, 9)])
    study.submit("each", grid(y=2), on=[Dependency(upstream="b", kind="each")])
    reads = Reads(group.home.database)
    assert group.home.fold()
    contexts = tuple(tally.context for tally in reads.tallies(study.id("a")))
    matches = group.matching(study.id("b"), [Origins(study.id("a"), contexts)])
    assert group.take_over(study.id("b"), None, matches).tasks == (0, 1, 2)
    assert group.take_over(study.id("b"), None, matches).tasks == ()
    held = group.settle()
    assert len(held["reused"]) == 3
    assert reads.origins(study.id("b"), [0]) == {0: Origin(group.home.uuid, "a", 3, 1)}
    study.run(study.job(), "b", "each")
