"""What replicas of a log do when they meet each other, damage, a registry in use, an end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from shutil import rmtree

import pytest

from fixtures.replicas import Group, close_and_be_killed, job_record, of
from fixtures.study import AT, Study, ended, grid
from provrun.core.records import Dependency
from provrun.errors import JobOver, Refused, Unavailable
from provrun.store import operations
from provrun.store.database import LogIsOpen, connect
from provrun.store.plan import dump
from provrun.store.registry import Registry
from provrun.store.replicas import Logs


def test_each_task_is_claimed_by_one_replica_and_readiness_crosses_them(group: Group) -> None:
    here, there = of(group.others[0]), of(group.others[1])
    here.submit("scan", grid(x=6))
    there.submit("sum", [{"k": 1}], on=[Dependency(upstream="scan", kind="all")])
    one, two = here.job(), there.job()
    first, second = here.claim(one, "scan", limit=3), there.claim(two, "scan", limit=10)
    assert [task.index for task in first + second] == [0, 1, 2, 3, 4, 5]
    here.succeed(one, first)
    assert here.claim(one, "sum") == []
    there.succeed(two, second)
    [reduce] = here.claim(one, "sum")
    assert reduce.number == 1
    here.succeed(one, [reduce])
    group.settle()
    assert group.home.check() == []


def test_a_call_that_changes_nothing_appends_nothing(group: Group) -> None:
    study = of(group.others[0])
    study.submit("scan", grid(x=2))
    job = study.job()
    before = group.others[0].position
    again = of(group.others[1])
    assert group.others[1].claim(again.job(), [study.id("scan")], 0) == []
    group.others[1].fold()
    assert again.code == study.code and group.others[1].position == before + 1  # its job alone
    assert group.others[0].claim(job, [], 5) == []
    assert group.others[0].position == before + 1


def test_a_call_that_is_refused_has_no_effect_anywhere(group: Group) -> None:
    study = of(group.others[0])
    study.submit("scan", grid(x=2))
    before = group.others[0].position
    with pytest.raises(Refused, match="another one"):
        of(group.others[1]).submit("scan", grid(x=2), word="walk")
    with pytest.raises(Refused, match="builds on"):
        study.submit("sum", [{}], on=[Dependency(upstream="scan", kind="all")])
        group.others[1].delete(study.id("scan"))
    group.settle()
    assert group.home.position == before + 1
    assert group.home.map_names() == ["scan", "sum"]


def test_an_operation_that_fails_where_it_is_folded_in_is_passed_over(group: Group) -> None:
    study = of(group.others[0])
    study.submit("scan", grid(x=2))
    log, (position, digest) = group.home._log, group.others[0]._place()
    assert log is not None
    wrong = operations.written([operations.SetRecipe(99, operations.recipe_text(_recipe(study)), ())])
    entry = log.append(position + 1, digest, wrong)
    assert entry is not None
    log.announce(entry)
    study.submit("scan", grid(x=4))
    group.settle()
    assert study.states("scan") == "pppp"


def _recipe(study: Study):  # type: ignore[no-untyped-def]
    record = study.registry.find_map("scan")
    assert record is not None
    return record.recipe


def test_an_abandoned_job_claims_nothing_and_what_it_records_late_is_superseded(group: Group) -> None:
    sleeper, other = of(group.others[0]), of(group.others[1])
    sleeper.submit("scan", grid(x=3))
    job = sleeper.job()
    claimed = sleeper.claim(job, "scan", limit=2)
    assert group.others[1].abandon(job, AT) == 2
    second = other.job()
    again = other.claim(second, "scan")
    other.succeed(second, again)
    with pytest.raises(JobOver, match="lost"):
        group.others[0].claim(job, [sleeper.id("scan")], 5)
    sleeper.succeed(job, claimed)
    group.others[0].close_job(job, "ended", "", AT)
    rows = group.settle()
    accepted = {row[1]: row[6] for row in rows["task"]}
    assert accepted == {0: 2, 1: 2, 2: 1}
    assert len(rows["attempt"]) == 5
    assert next(row for row in rows["job"] if row[0] == job)[3] == "lost"
    assert group.home.check() == []


def test_a_registry_in_use_goes_on_through_the_log_that_is_opened(sqlite_url: str, tmp_path: Path) -> None:
    Registry.create(sqlite_url).close()
    logs = Logs(tmp_path / "log", "home", tmp_path)
    with closing(logs.registry(connect(sqlite_url))) as before, closing(logs.registry(connect(sqlite_url))) as opener:
        study = of(before)
        study.submit("scan", grid(x=2))
        job = study.job()
        assert before.position is None
        current = logs.open(opener)
        assert logs.open(opener) == current
        claimed = study.claim(job, "scan")
        assert (before.position, len(claimed)) == (1, 2)
        study.succeed(job, claimed)
        study.submit("scan", grid(x=3))
        with closing(Registry.open(sqlite_url)) as direct, pytest.raises(LogIsOpen):
            direct.pause(1, True)
        with closing(Logs(tmp_path / "log", "away", tmp_path).private(current)) as away:
            assert away.fold() and [task.state.word for task in away.tasks(1)] == ["succeeded"] * 2 + ["pending"]


def test_a_log_waits_for_a_submission_to_end(sqlite_url: str, tmp_path: Path) -> None:
    Registry.create(sqlite_url).close()
    logs = Logs(tmp_path / "log", "home", tmp_path)
    begun, go_on = threading.Event(), threading.Event()

    def texts() -> Iterator[str]:
        begun.set()
        assert go_on.wait(20)
        yield from (f'{{"x":{n}}}' for n in range(5))

    def submit() -> None:
        with closing(logs.registry(connect(sqlite_url))) as registry:
            study = Study(registry)
            spec = _spec("scan")
            registry.submit(
                spec, texts(), distinct=True, code=study.code, environment=study.environment, at=AT
            )

    submitter = threading.Thread(target=submit)
    submitter.start()
    assert begun.wait(20)
    opened: list[object] = []

    def opening() -> None:
        with closing(logs.registry(connect(sqlite_url))) as opener:
            opened.append(logs.open(opener))

    opener = threading.Thread(target=opening)
    opener.start()
    opener.join(0.3)
    assert not opened
    go_on.set()
    submitter.join()
    opener.join()
    current = logs.current()
    assert current is not None
    with closing(Logs(tmp_path / "log", "away", tmp_path).private(current)) as away:
        assert len(list(away.tasks(1))) == 5


def _spec(name: str):  # type: ignore[no-untyped-def]
    from provrun.core.records import MapSpec, Recipe

    return MapSpec(name=name, recipe=Recipe(kind="command", words=("run",)), workdir=".", own=("x",), user="me")


def test_opening_that_was_cut_short_is_finished_by_the_next(sqlite_url: str, tmp_path: Path) -> None:
    Registry.create(sqlite_url).close()
    logs = Logs(tmp_path / "log", "home", tmp_path)
    with closing(logs.registry(connect(sqlite_url))) as opener:
        current = logs.open(opener)
    (tmp_path / "log" / "current").unlink()
    (tmp_path / "log" / current.uuid / "plan-0.sqlite").unlink()
    with closing(logs.registry(connect(sqlite_url))) as next_one:
        study = of(next_one)
        study.submit("scan", grid(x=1))
    found = logs.current()
    assert found is not None and found.uuid == current.uuid
    with closing(Logs(tmp_path / "log", "away", tmp_path).private(found)) as away:
        assert away.fold() and away.map_names() == ["scan"]


def test_the_last_job_closes_the_log(group: Group) -> None:
    study = of(group.others[0])
    study.submit("scan", grid(x=1))
    [one, two] = [
        group.others[n].open_job(job_record(f"job-{n}", group.current.opened + 1)) for n in range(2)
    ]
    assert not group.home.settle()
    assert group.log.joinpath("beat-job-0").exists()
    group.others[0].close_job(one, "ended", "", AT)
    assert not group.log.joinpath("beat-job-0").exists()
    assert not group.home.settle()
    group.others[1].close_job(two, "ended", "", AT)
    assert group.home.settle()
    assert group.home.position is None and group.logs.current() is None and not group.log.exists()
    for one_of_them in group.others:
        with pytest.raises(Unavailable, match="closed"):
            one_of_them.pause(1, True)
    group.home.pause(1, True)
    group.others.clear()
    assert group.home.maps()[0].paused


def test_an_entry_that_went_with_its_log_is_not_waited_for(group: Group) -> None:
    of(group.home).submit("scan", grid(x=1))
    for entry in group.log.glob("0*"):
        entry.unlink()
    assert not group.others[0].fold()
    assert group.others[0].stuck is not None
    rmtree(group.log)
    with pytest.raises(Unavailable, match="closed"):
        group.others[0].pause(1, True)
    assert group.others[0].over
    group.others.clear()


def test_what_is_left_of_logs_whose_opening_or_removal_was_cut_short_goes_with_the_next_one(group: Group) -> None:
    group.others.clear()
    left = [group.logs.folder / name for name in ("0a1b-left", "0a1b-left.gone")]
    for folder in left:
        folder.mkdir()
        (folder / "wanted").touch()
    assert group.home.finish()
    current = group.logs.open(group.home)
    assert [path.name for path in group.logs.folder.iterdir() if path.is_dir()] == [current.uuid]


def test_a_log_that_no_job_has_used_stays_open(group: Group) -> None:
    of(group.home).submit("scan", grid(x=1))
    assert not group.home.settle()
    assert group.home.finish() and group.logs.current() is None
    group.others.clear()


def test_a_log_is_not_closed_over_a_job_that_came_since_somebody_looked(group: Group) -> None:
    first = group.others[0].open_job(job_record("job-0", group.current.opened + 1))
    group.others[0].close_job(first, "ended", "", group.current.opened + 2)
    assert group.home.fold() and group.home.idle  # so says the look, and then another one begins
    second = group.others[1].open_job(job_record("job-1", group.current.opened + 3))
    assert not group.home.finish()
    assert group.logs.current() is not None and [job.id for job in group.home.running_jobs()] == [second]
    group.others[1].close_job(second, "ended", "", group.current.opened + 4)
    assert group.home.settle() and group.logs.current() is None
    group.others.clear()


@pytest.mark.parametrize("known", [True, False])
def test_a_replica_that_is_opened_when_its_log_has_ended_changes_nothing(group: Group, known: bool) -> None:
    if known:
        close_and_be_killed(group.home, group.log)
    else:
        assert group.home.finish()
    with pytest.raises(Unavailable, match="closed"):
        group.others[0].fold()
    with closing(group.private("host0")) as late:
        assert late.over
        with pytest.raises(Unavailable, match="closed"):
            late.open_job(job_record("late", AT))
        assert late.database.fetch("select uuid from job") == []
    group.others.clear()


def test_who_learns_of_the_end_of_a_log_removes_it_though_another_one_closed_it(group: Group) -> None:
    close_and_be_killed(group.home, group.log)
    assert group.logs.current() is not None
    assert group.home.settle()
    assert group.logs.current() is None and not group.log.exists()
    group.others.clear()


def test_a_registry_whose_log_was_closed_and_followed_by_another_goes_on_through_that(
    group: Group, sqlite_url: str
) -> None:
    with closing(Logs(group.logs.folder, "home").registry(connect(sqlite_url))) as idle:
        assert idle.position == 0
        assert group.home.finish()
        group.current = group.logs.open(group.home)
        of(idle).submit("scan", grid(x=2))
        assert group.home.fold() and group.home.map_names() == ["scan"]
        assert idle.position == group.home.position is not None
    group.others.clear()


def test_a_replica_is_shared_by_the_processes_of_a_host(group: Group) -> None:
    with closing(group.private("host0")) as second:
        of(second).submit("scan", grid(x=2))
        assert group.others[0].map_names() == ["scan"]
        assert [path.name for path in (group.folder / "scratch-host0").iterdir()] != []
        assert second.position == group.others[0].position


def test_values_of_users_go_through_the_log_as_they_are(group: Group) -> None:
    uses = {"files": {}, "defaults": {"n": 2**80, "x": float("nan"), "f": 1.0, "i": 1}}
    number = group.others[0].intern_uses(uses)
    assert group.others[1].intern_uses(uses) == number
    from provrun.core.records import MapSpec, Recipe

    study = of(group.others[0])
    recipe = Recipe(kind="function", function="f.py:f", bound={"n": 2**80, "f": 1.0})
    spec = MapSpec(name="scan", recipe=recipe, workdir=".", own=("x",), user="me")
    texts = ['{"x":"line\\nbreak"}', '{"x":1e400}', '{"x":"ü"}']
    for replica in group.others:
        added = replica.submit(
            spec, texts, distinct=False, code=study.code, environment=study.environment, at=AT
        )
    assert (added.added, added.existing) == (0, 3)
    group.settle()
    [record] = group.home.maps()
    assert record.recipe == recipe
    assert [task.params for task in group.home.tasks(record.id)] == texts


def test_large_submissions_are_packed() -> None:
    texts = [f'{{"x":{n}}}' for n in range(300_000)]
    pack = operations.packed(texts)
    assert len(pack) < len(texts) * 5
    assert list(operations.unpacked(pack)) == texts
    assert list(operations.unpacked(operations.packed([]))) == []


def test_every_operation_is_written_and_read_as_it_is(group: Group) -> None:
    study = of(group.others[0])
    study.submit("scan", grid(x=2))
    job = study.job()
    [one, _] = study.claim(job, "scan")
    made = ended(one, study.context(job))
    for operation in (
        operations.Record(job, (made,)), operations.Cancel(1, None), operations.Cancel(1, (1, 2)),
        operations.SetTags(1, {"a": "b"}), operations.Retry(1, None, 2.0, None), operations.CloseLog(),
    ):
        assert operations.read(operations.written([operation])) == (operation,)


def test_dumps_tell_databases_apart(group: Group) -> None:
    of(group.home).submit("scan", grid(x=2))
    before = dump(group.home.database)
    group.home.pause(1, True)
    assert dump(group.home.database)["map"] != before["map"]
    assert set(before) >= {"task", "attempt", "log", "hole", "alembic_version"}
