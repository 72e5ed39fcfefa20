"""What replicas of a log do when entries are damaged or lost, when they have parted, when their files are broken."""

from __future__ import annotations

import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from fixtures.replicas import Group, job_record, of
from fixtures.runs import PATIENCE, until
from fixtures.study import AT, grid
from provrun.core.states import State
from provrun.errors import Unavailable, Unsound
from provrun.store import entries, operations
from provrun.store.database import SqliteDatabase, connect
from provrun.store.registry import Registry
from provrun.store.replica import Replica
from provrun.store.replicas import Logs


def test_a_damaged_entry_is_waited_for_and_mended_by_who_has_it(group: Group) -> None:
    study = of(group.others[0])
    study.submit("scan", grid(x=2))
    path = group.loose(group.others[0].position)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert not group.others[1].fold()
    assert "damaged" in str(group.others[1].stuck)
    assert group.others[1].map_names() == []
    group.others[0]._mended_at = float("-inf")
    group.others[0].fold()
    assert path.read_bytes() == whole
    assert group.others[1].fold() and group.others[1].map_names() == ["scan"]


def test_a_log_is_not_closed_over_a_damaged_entry(group: Group) -> None:
    of(group.others[0]).submit("scan", grid(x=2))
    path = group.loose(group.others[0].position)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert not group.home.finish()
    assert group.home.position is not None
    path.write_bytes(whole)
    assert group.home.finish() and group.home.map_names() == ["scan"]
    group.others.clear()


def test_a_change_behind_a_damaged_entry_waits_and_then_says_so(sqlite_url: str, tmp_path: Path) -> None:
    Registry.create(sqlite_url).close()
    with closing(Group(sqlite_url, tmp_path, 1)) as group:
        of(group.others[0]).submit("scan", grid(x=2))
        path = group.loose(group.others[0].position)
        whole = path.read_bytes()
        path.write_bytes(bytes(len(whole)))
        with closing(
            Logs(tmp_path / "log", "late", tmp_path / "late").private(group.current, patience=0.3)
        ) as late:
            began = time.monotonic()
            with pytest.raises(Unavailable, match=r"entry \d+ of the log is damaged") as raised:
                of(late)
            assert time.monotonic() - began >= 0.3 and raised.value.next == "provrun recover"
            path.write_bytes(whole)
            assert late.fold() and late.map_names() == ["scan"]


def test_what_was_appended_is_done_though_the_database_could_not_commit(sqlite_url: str, tmp_path: Path) -> None:
    Registry.create(sqlite_url).close()
    logs = Logs(tmp_path / "log", "home", tmp_path)
    with closing(logs.registry(connect(sqlite_url, patience=0.2), patience=20)) as home:
        logs.open(home)
        study = of(home)
        study.submit("scan", grid(x=4))
        job = study.job()
        before = home.position
        assert before is not None
        # A reader that takes its time keeps a writer from its commit.
        reader = sqlite3.connect(tmp_path / "registry.sqlite", isolation_level=None, check_same_thread=False)
        reader.execute("begin")
        reader.execute("select * from task").fetchone()
        threading.Timer(1.5, reader.close).start()
        claimed = home.claim(job, [1], 3)
        assert [one.index for one in claimed] == [0, 1, 2]
        assert home.position == before + 1 and study.states("scan") == "rrrp"
        assert home.held(job) == [(1, 0, 1), (1, 1, 1), (1, 2, 1)]


def test_a_claim_that_another_process_of_the_host_has_taken_in_first_is_not_made_twice(group: Group) -> None:
    study = of(group.home)
    study.submit("scan", grid(x=4))
    job = study.job()
    first, second = group.others[0], group.private("host0")
    group.others.append(second)
    assert first.fold()
    assert isinstance(first.database, SqliteDatabase) and first.position is not None
    appended = group.log / f"{first.position + 1:012d}"
    first.database.run("pragma busy_timeout=50")
    # A reader that takes its time keeps a writer from its commit.
    reader = sqlite3.connect(first.database._path, isolation_level=None, check_same_thread=False)
    reader.execute("begin")
    reader.execute("select * from task").fetchone()
    with closing(reader), ThreadPoolExecutor(2) as threads:
        asked = threads.submit(lambda: first.claim(job, [1], 2))
        until(appended.exists, "the claim is appended")
        folded = threads.submit(second.fold)
        time.sleep(1.0)  # by then it holds the lock and waits for the reader to commit
        reader.rollback()
        assert folded.result(PATIENCE)
        try:
            assert [one.index for one in asked.result(PATIENCE)] == [0, 1]  # it was first again to take the lock
        except Unavailable as error:
            assert "was made" in str(error)
    assert group.home.fold() and study.states("scan") == "rrpp"


def test_a_hole_is_nothing_that_happened_and_is_remembered(group: Group) -> None:
    study = of(group.others[0])
    study.submit("scan", grid(x=2))
    job = study.job()
    study.claim(job, "scan", limit=1)
    lost = group.others[0].position
    study.claim(job, "scan", limit=1)
    assert lost is not None
    group.loose(lost).write_bytes(b"")
    group.others = [group.private("new")]
    assert not group.others[0].fold()
    log = group.others[0]._log
    assert log is not None
    log.declare_hole(lost, group.others[0]._place()[1])
    assert group.others[0].fold()
    rows = group.settle()
    assert rows["hole"] == [(group.current.uuid, lost)]
    # The second claim finds the first task where the first one has not happened.
    assert [(row[1], row[3]) for row in rows["task"]] == [(0, State.RUNNING), (1, State.PENDING)]


def test_the_registry_declares_a_hole_when_nobody_lives_who_has_the_entry(group: Group) -> None:
    study = of(group.others[0])
    study.submit("scan", grid(x=2))
    assert group.home.fold()
    lost = group.others[0].position
    assert lost is not None
    lost += 1
    job = group.others[0].open_job(job_record("job-0", AT))
    study.claim(job, "scan", limit=1)
    group.loose(lost).unlink()
    group.others.clear()
    with pytest.raises(Unavailable, match="a job lives that may still have it"):
        group.home.heal(patience=0.1)
    (group.log / "beat-job-0").unlink()
    away = group.private("new")
    with pytest.raises(Unavailable, match="is missing") as raised:
        away.heal(patience=0.1)
    assert raised.value.next == "provrun recover, where the log was opened"
    assert group.logs.check() == [f"entry {lost} of the log is missing"]
    assert group.home.heal(patience=0.1) == [lost]
    # The claim of a job that has not happened is nobody's.
    assert study_states(group.home) == "pp" and group.home.running_jobs() == []
    assert away.fold() and study_states(away) == "pp"
    assert group.logs.check() == [f"entry {lost} of the log was lost and is a hole"]
    group.others = [away]
    group.settle()


def study_states(replica: Replica) -> str:
    return "".join(task.state.word[0] for task in replica.tasks(1))


def test_a_plan_is_renewed_when_what_comes_after_it_cannot_be_read(group: Group) -> None:
    study = of(group.others[0])
    study.submit("scan", grid(x=50))
    job = study.job()
    for _ in range(50):
        study.claim(job, "scan", limit=1)
    group.settle()
    assert not group.logs.renew_plan(group.home)
    [merged, *_] = [name for name in group.files() if name.startswith("1.")]
    (group.log / merged).write_bytes(b"")
    assert group.logs.check() != []
    assert group.logs.renew_plan(group.home)
    current = group.logs.current()
    assert current is not None and group.logs.check() == []
    assert [name for name in group.files() if name.startswith("plan")] == [f"plan-{current.position}.sqlite"]
    group.current = current
    group.others.append(group.private("new"))
    study.claim(job, "scan", limit=1)
    group.settle()


def test_a_private_replica_that_went_another_way_begins_anew(group: Group) -> None:
    study = of(group.others[0])
    study.submit("scan", grid(x=2))
    lost = group.others[0]
    position, digest = lost._place()
    bogus = entries.make(position + 1, digest, "zombie", operations.written([operations.Pause(1, True)]))
    with lost.database.writing():
        lost._do(bogus)
        lost._stand(bogus.position, bogus.digest)
    other = of(group.others[1])
    other.submit("scan", grid(x=3))
    other.submit("more", grid(x=3))
    assert lost.fold()
    group.settle()
    assert not lost.maps()[0].paused


def test_a_registry_that_went_another_way_says_so(sqlite_url: str, tmp_path: Path) -> None:
    Registry.create(sqlite_url).close()
    group = Group(sqlite_url, tmp_path, 1)
    of(group.others[0]).submit("scan", grid(x=2))
    group.home.fold()
    with group.home.database.writing():
        group.home._stand(group.home._place()[0], bytes(32))
    of(group.others[0]).submit("scan", grid(x=3))
    with pytest.raises(Unsound, match="parted"):
        group.home.fold()
    for one in group.replicas:
        one.close()


def test_the_last_manager_of_a_host_takes_its_replica_away(group: Group) -> None:
    scratch = group.folder / "scratch-node"
    first, second, asking = (group.private("node") for _ in range(3))
    for replica in (first, second):
        of(replica).job()
    assert len(list(scratch.glob("*/*/replica.sqlite"))) == 1
    first.close()
    assert asking.fold() and list(scratch.glob("*/*/replica.sqlite")) != []
    asking.close()
    assert list(scratch.glob("*/*/replica.sqlite")) != []
    second.close()
    assert list(scratch.glob("*/*")) == []
    with closing(group.private("node")) as again:
        assert again.fold()
    # One that only asks leaves it to those who ask next.
    assert len(list(scratch.glob("*/*/replica.sqlite"))) == 1


def test_a_replica_with_a_broken_file_begins_anew(group: Group) -> None:
    of(group.others[0]).submit("scan", grid(x=2))
    [path] = (group.folder / "scratch-host0").glob("*/*/replica.sqlite")
    group.others[0].close()
    path.write_bytes(b"no database" * 1000)
    group.others[0] = group.private("host0")
    assert group.others[0].fold() and group.others[0].map_names() == ["scan"]


def test_a_damaged_plan_is_not_used(group: Group) -> None:
    with (group.log / "plan-0.sqlite").open("r+b") as file:
        file.seek(5000)
        file.write(b"damage")
    with pytest.raises(Unavailable, match="plan of the log is damaged"):
        group.private("new")


