"""Maps that build on others: what they are made of, and when their tasks may run."""

from __future__ import annotations

import json

import pytest

from fixtures.study import AT, Study, grid
from provrun.core.records import Dependency, OnFailed
from provrun.core.states import Outcome, State
from provrun.errors import InvalidInput, NotFound, Refused
from provrun.store.reads import Reads
from provrun.store.registry import Registry


def each(upstream: str) -> Dependency:
    return Dependency(upstream=upstream, kind="each")


def group(upstream: str, *by: str, on_failed: OnFailed = "wait") -> Dependency:
    return Dependency(upstream=upstream, kind="group", by=by, on_failed=on_failed)


def chunk(upstream: str, n: int) -> Dependency:
    return Dependency(upstream=upstream, kind="chunk", chunk=n)


def whole(upstream: str, on_failed: OnFailed = "wait") -> Dependency:
    return Dependency(upstream=upstream, kind="all", on_failed=on_failed)


def after(upstream: str) -> Dependency:
    return Dependency(upstream=upstream, kind="after")


def test_each_makes_one_task_per_upstream_task_and_own_point_with_all_parameters(study: Study) -> None:
    study.submit("a", [{"x": 1}, {"x": 1.0}])
    study.submit("b", [{"k": "u"}, {"k": "v"}], on=[each("a")])
    assert [task.params for task in study.registry.tasks(study.id("b"))] == [
        '{"k":"u","x":1}', '{"k":"v","x":1}', '{"k":"u","x":1.0}', '{"k":"v","x":1.0}',
    ]
    assert study.states("b") == "wwww"
    job = study.job()
    study.succeed(job, study.claim(job, "a", limit=1))
    assert study.states("b") == "ppww"


def test_a_map_submitted_over_finished_tasks_is_ready_at_once(study: Study) -> None:
    study.submit("a", grid(x=2))
    job = study.job()
    study.succeed(job, study.claim(job, "a", limit=1))
    study.submit("b", [{}], on=[each("a")])
    assert study.states("b") == "pw"
    study.submit("c", [{}], on=[chunk("a", 1)])
    assert study.states("c") == "pw"
    study.submit("d", [{}], on=[group("a", "x")])
    assert study.states("d") == "pw"


def test_groups_come_in_order_of_first_appearance_and_wait_for_all_their_members(study: Study) -> None:
    study.submit("a", [{"L": 8, "s": 0}, {"L": 4, "s": 0}, {"L": 8, "s": 1}])
    study.submit("mean", [{}], on=[group("a", "L")])
    assert study.params("mean") == [{"L": 8}, {"L": 4}]
    job = study.job()
    assert study.succeed(job, study.claim(job, "a", limit=2)) == 1
    assert study.states("mean") == "wp"
    study.run(job, "a")
    assert study.states("mean") == "pp"


def test_groups_tell_values_of_different_types_apart(study: Study) -> None:
    study.submit("a", [{"x": 1}, {"x": 1.0}, {"x": "1"}, {"x": True}])
    assert study.submit("g", [{}], on=[group("a", "x")]).added == 4


def test_chunks_hold_so_many_tasks_and_the_last_one_the_rest(study: Study) -> None:
    study.submit("a", grid(x=5))
    study.submit("c", [{}], on=[chunk("a", 2)])
    assert study.params("c") == [{"chunk": 0}, {"chunk": 1}, {"chunk": 2}]
    job = study.job()
    study.succeed(job, study.claim(job, "a", limit=3))
    assert study.states("c") == "pww"


def test_a_reduce_waits_for_all_and_skips_failures_only_when_told_to(study: Study) -> None:
    study.submit("a", grid(x=3))
    study.submit("strict", [{}], on=[whole("a")])
    study.submit("lenient", [{}], on=[whole("a", "skip")])
    job = study.job()
    study.succeed(job, study.claim(job, "a", limit=2))
    assert (study.states("strict"), study.states("lenient")) == ("w", "w")
    study.fail(job, study.claim(job, "a"))
    assert (study.states("strict"), study.states("lenient")) == ("w", "p")
    study.registry.retry(study.id("a"), None, time=None, memory=None)
    assert (study.states("strict"), study.states("lenient")) == ("w", "w")
    study.run(job, "a")
    assert (study.states("strict"), study.states("lenient")) == ("p", "p")


def test_after_only_waits_until_all_have_ended(study: Study) -> None:
    study.submit("a", grid(x=2))
    study.submit("b", grid(y=2), on=[after("a")])
    job = study.job()
    study.succeed(job, study.claim(job, "a", limit=1))
    assert study.states("b") == "ww"
    study.fail(job, study.claim(job, "a", limit=1))
    assert study.states("b") == "pp"


def test_tasks_of_one_map_wait_for_index_ranges_of_it(study: Study) -> None:
    study.submit("q", [{"line": n} for n in range(3)])
    wait = Dependency(upstream="q", kind="after", upstream_tasks=((0, 2),))
    study.submit("q", [{"line": 3}, {"line": 4}], on=[wait])
    assert study.states("q") == "pppww"
    job = study.job()
    study.succeed(job, study.claim(job, "q", limit=1))
    study.fail(job, study.claim(job, "q", limit=1))
    assert study.states("q") == "sfppp"
    study.registry.retry(study.id("q"), [1], time=None, memory=None)
    assert study.states("q") == "sppww"


def test_appending_grows_what_is_made_from_a_map_and_reopens_what_reads_all_of_it(study: Study) -> None:
    study.submit("a", grid(x=2, L=2))
    study.submit("b", [{"k": 0}], on=[each("a")])
    study.submit("mean", [{}], on=[group("b", "L")])
    study.submit("plot", [{}], on=[whole("mean")])
    job = study.job()
    study.run(job, "a", "b", "mean", "plot")
    assert [study.states(name) for name in ("a", "b", "mean", "plot")] == ["ssss", "ssss", "ss", "s"]
    added = study.submit("a", [{"x": 9, "L": 1}, {"x": 9, "L": 2}])
    assert added.grown == {"b": 2, "mean": 1}
    assert [study.states(name) for name in ("a", "b", "mean", "plot")] == ["sssspp", "ssssww", "sww", "w"]
    study.run(job, "a", "b", "mean", "plot")
    assert study.states("plot") == "s"
    task = study.registry.task(study.id("plot"), 0)
    assert task is not None and (task.attempts, task.accepted) == (2, 2)
    assert [one.outcome for one in Reads(study.registry.database).attempts(task.map, 0)] == [Outcome.SUCCEEDED] * 2


def test_new_own_points_are_crossed_with_all_there_is(study: Study) -> None:
    study.submit("a", grid(x=2))
    study.submit("b", [{"k": 0}], on=[each("a")])
    job = study.job()
    study.run(job, "a", "b")
    added = study.submit("b", [{"k": 0}, {"k": 1}], on=[each("a")])
    assert (added.added, added.existing, added.total) == (2, 1, 4)
    assert study.params("b") == [{"k": 0, "x": 0}, {"k": 0, "x": 1}, {"k": 1, "x": 0}, {"k": 1, "x": 1}]
    assert study.states("b") == "sspp"
    study.submit("a", [{"x": 2}])
    assert study.params("b")[4:] == [{"k": 0, "x": 2}, {"k": 1, "x": 2}]


def test_a_running_reduce_that_grows_ends_in_a_superseded_attempt_and_waits(study: Study) -> None:
    study.submit("a", grid(x=1))
    study.submit("sum", [{}], on=[whole("a")])
    job = study.job()
    study.run(job, "a")
    running = study.claim(job, "sum")
    study.submit("a", grid(x=2))
    assert study.states("sum") == "r"
    study.succeed(job, running)
    assert study.states("sum") == "w"
    study.run(job, "a", "sum")
    task = study.registry.task(study.id("sum"), 0)
    assert task is not None and (task.state, task.accepted) == (State.SUCCEEDED, 2)


def test_rerunning_takes_back_what_has_not_been_read_yet(study: Study) -> None:
    study.submit("a", grid(x=3))
    study.submit("b", [{}], on=[each("a")])
    job = study.job()
    study.run(job, "a")
    study.succeed(job, study.claim(job, "b", limit=1))
    running = study.claim(job, "b", limit=1)
    assert study.registry.rerun(study.id("a"), None) == 3
    assert (study.states("a"), study.states("b")) == ("ppp", "srw")
    study.succeed(job, running)
    assert study.states("b") == "sww"
    study.run(job, "a")
    assert study.states("b") == "spp"


def test_a_claimed_task_comes_with_what_it_reads_and_who_made_it(study: Study, any_registry: Registry) -> None:
    study.submit("a", grid(x=2))
    study.submit("b", [{"k": 5}], on=[each("a")])
    study.submit("c", [{}], on=[each("b"), whole("a")])
    job = study.job()
    study.run(job, "a", "b")
    second = study.claim(job, "c")[1]
    assert second.reads is not None and second.trail is not None
    assert json.loads(second.reads)["each"] == {
        "a": {"result": {"of": {"x": 1}, "n": 1}, "outputs": {}, "blobs": {}},
        "b": {"result": {"of": {"k": 5, "x": 1}, "n": 1}, "outputs": {}, "blobs": {}},
    }
    a, b = study.id("a"), study.id("b")
    assert json.loads(second.trail) == [[b, 1, 1], [a, 1, 1], [a, 0, 1], [a, 1, 1]]


def test_the_trail_of_a_large_reduce_is_a_count_and_a_digest(study: Study, any_registry: Registry) -> None:
    from provrun.core.canonical import digest

    study.submit("a", grid(x=20))
    study.submit("sum", [{}], on=[whole("a")])
    job = study.job()
    study.run(job, "a")
    [claimed] = study.claim(job, "sum")
    reads, a = Reads(any_registry.database), study.id("a")
    read = [[n, 1, (reads.attempts(a, n)[0].result_digest or b"").hex()] for n in range(20)]
    assert claimed.trail is not None
    assert json.loads(claimed.trail) == [[study.id("a"), 20, digest("reads", read).hex()]]


def test_a_reduce_streams_the_tasks_it_reads_by_index(study: Study, any_registry: Registry) -> None:
    study.submit("a", grid(x=3, L=2))
    study.submit("mean", [{}], on=[group("a", "L")])
    study.submit("part", [{}], on=[chunk("a", 4)])
    job = study.job()
    study.run(job, "a")
    [(record, shown)] = any_registry.read_by(study.id("mean"), 1)
    assert record.name == "a"
    assert [(one.task.index, one.attempt and one.attempt.number) for one in shown] == [(1, 1), (3, 1), (5, 1)]
    [(_, shown)] = any_registry.read_by(study.id("part"), 1)
    assert [one.task.index for one in shown] == [4, 5]


def test_building_on_a_map_that_is_not_there_stores_nothing(study: Study) -> None:
    with pytest.raises(NotFound, match="no map named ghost"):
        study.submit("b", [{}], on=[each("ghost")])
    assert study.registry.map_names() == []


def test_a_parameter_of_its_own_and_of_its_upstream_is_refused(study: Study) -> None:
    study.submit("a", grid(x=1))
    with pytest.raises(InvalidInput, match="x is a parameter"):
        study.submit("b", [{"x": 1}], on=[each("a")])
    assert study.registry.map_names() == ["a"]


def test_other_dependencies_under_the_same_name_are_refused(study: Study) -> None:
    study.submit("a", grid(x=1))
    study.submit("b", [{}], on=[each("a")])
    with pytest.raises(Refused, match="builds on each a became builds on all a"):
        study.submit("b", [{}], on=[whole("a")])


def test_a_task_that_must_run_again_waits_when_what_it_follows_was_taken_up_again(study: Study) -> None:
    study.submit("a", grid(x=1))
    study.submit("b", grid(y=3), on=[after("a")])
    job = study.job()
    study.run(job, "a")
    failing, given_back, _ = study.claim(job, "b")
    study.registry.rerun(study.id("a"), None)
    assert study.states("b") == "rrr"
    assert study.fail(job, [failing], again=True) == 0
    study.registry.release(job, [(given_back.map, given_back.index, given_back.number)])
    study.registry.abandon(job, AT)
    assert study.states("b") == "www"
    study.run(study.job(), "a")
    assert study.states("b") == "ppp"
