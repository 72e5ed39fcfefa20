"""What a job gives while its database is away: kept in files, done once, whoever does it and however often."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, suppress
from multiprocessing import get_context
from pathlib import Path
from uuid import uuid4

import pytest

from fixtures.replicas import Group
from fixtures.runs import until
from fixtures.study import AT, Study, ended, grid
from provrun.core.code import CapturedCode, Code
from provrun.core.environment import Host
from provrun.core.records import Claimed, Context, JobRecord
from provrun.errors import DatabaseAway
from provrun.store import operations, outbox
from provrun.store.away import Patient
from provrun.store.folding import PATIENCE
from provrun.store.outbox import Outbox
from provrun.store.reads import Reads
from provrun.store.registry import Registry


@pytest.fixture
def job() -> str:
    return str(uuid4())


@pytest.fixture
def box(tmp_path: Path, job: str) -> Outbox:
    return Outbox(tmp_path / "log", job)


def results(study: Study, claimed: list[Claimed], context: int) -> operations.Record:
    job = study.registry.running_jobs()[0].id
    return operations.Record(job, tuple(ended(one, context) for one in claimed))


def started(study: Study, n: int = 4) -> list[Claimed]:
    study.submit("scan", grid(x=n))
    return study.claim(study.job(), "scan")


def put_results(study: Study, box: Outbox, claimed: list[Claimed]) -> None:
    """Put results into an outbox, one an entry, whose circumstances have no ids yet."""
    job = study.registry.running_jobs()[0].id
    context = Context(job=job, rank=0, node="n1", code=-1, environment=study.environment, host=-2)
    box.put(
        [
            (-1, operations.InternCode(CapturedCode(Code(kind="git", root="/study", commit="c" * 40)), AT)),
            (-2, operations.InternHost(Host(platform="away", cpu="x86", cores=1, memory=1))),
            (-3, operations.InternContext(context)),
            (0, results(study, claimed[:1], -3)),
        ]
    )
    for one in claimed[1:]:
        box.put([(0, results(study, [one], -3))])


def test_nothing_is_made_before_something_is_put_in(tmp_path: Path, box: Outbox) -> None:
    assert box.empty
    assert not box.folder.exists()
    assert list(outbox.left(tmp_path / "log")) == []


def test_what_was_put_in_is_recorded_under_ids_that_are_found_when_it_is(
    study: Study, box: Outbox, tmp_path: Path, job: str
) -> None:
    put_results(study, box, started(study))
    assert list(outbox.left(tmp_path / "log")) == [job]
    folded = outbox.fold(study.registry, tmp_path / "log", job)
    assert (folded.attempts, folded.stuck, study.states("scan")) == (4, None, "ssss")
    reads = Reads(study.registry.database)
    (context,) = {reads.attempts(study.id("scan"), n)[0].context for n in range(4)}
    known = reads.context(context)
    assert reads.code(known.code).code.commit == "c" * 40
    assert reads.host(known.host).platform == "away"


def test_each_entry_is_done_once_however_often_it_is_folded(
    study: Study, box: Outbox, tmp_path: Path, job: str
) -> None:
    claimed = started(study, 12)
    put_results(study, box, claimed[:6])
    assert outbox.fold(study.registry, tmp_path / "log", job).attempts == 6
    again = outbox.fold(study.registry, tmp_path / "log", job)
    assert again.attempts == 0
    assert sorted(again.ids) == [-3, -2, -1]  # which later entries need
    for one in claimed[6:]:
        box.put([(0, results(study, [one], -3))])
    assert outbox.fold(study.registry, tmp_path / "log", job).attempts == 6
    tallies = Reads(study.registry.database).tallies(study.id("scan"))
    assert [(one.attempts, one.accepted) for one in tallies] == [(12, 12)]


def _fold(url: str, folder: Path, job: str, ready: object) -> None:
    with closing(Registry.open(url)) as registry:
        ready.wait(30)  # type: ignore[attr-defined]  # a barrier
        outbox.fold(registry, folder, job)


def test_several_who_fold_at_once_do_each_entry_once(
    any_url: str, tmp_path: Path, box: Outbox, job: str
) -> None:
    with closing(Registry.create(any_url)) as registry:
        study = Study(registry)
        put_results(study, box, started(study, 30))
        spawn = get_context("spawn")
        ready = spawn.Barrier(3)
        folding = [spawn.Process(target=_fold, args=(any_url, tmp_path / "log", job, ready)) for _ in range(3)]
        for process in folding:
            process.start()
        for process in folding:
            process.join(60)
            assert process.exitcode == 0
        assert study.states("scan") == "s" * 30
        tallies = Reads(registry.database).tallies(study.id("scan"))
        assert [(one.attempts, one.accepted) for one in tallies] == [(30, 30)]
        assert registry.check() == []


def test_what_comes_before_a_damaged_entry_is_recorded_and_the_reason_told(
    study: Study, box: Outbox, tmp_path: Path, job: str
) -> None:
    put_results(study, box, started(study))
    (entry,) = [path for path in box.folder.iterdir() if path.name == f"{3:012d}"]
    entry.write_bytes(entry.read_bytes()[:-1])
    folded = outbox.fold(study.registry, tmp_path / "log", job)
    assert folded.attempts == 2
    assert folded.stuck is not None
    assert "entry 3" in folded.stuck
    assert study.states("scan") == "ssrr"


def test_closing_gives_back_what_a_lost_answer_had_claimed(
    study: Study, box: Outbox, tmp_path: Path, job: str
) -> None:
    claimed = started(study)
    put_results(study, box, claimed[:2])
    running = study.registry.running_jobs()[0].id
    box.put([(0, operations.CloseJob(running, "ended", "interrupted", AT))])
    outbox.fold(study.registry, tmp_path / "log", job)
    assert study.states("scan") == "sspp"
    assert study.registry.running_jobs() == []


# The registry as a manager uses it


class Switch:
    """A registry that can be cut off from its database: its connection is closed."""

    def __init__(self, url: str) -> None:
        self.registry = Registry.create(url)

    def cut(self) -> None:
        self.registry.database.close()


@pytest.fixture
def switch(postgres_url: str) -> Iterator[Switch]:
    made = Switch(postgres_url)
    yield made
    made.registry.close()


def test_a_connection_that_is_lost_is_made_anew_and_nobody_is_told(switch: Switch, tmp_path: Path) -> None:
    study = Study(switch.registry)
    study.submit("scan", grid(x=4))
    patient, told = Patient(switch.registry, tmp_path, "job"), list[str]()
    patient.tell = told.append
    job = patient.open_job(_job())
    scan, context = study.id("scan"), study.context(job)
    switch.cut()
    claimed = patient.claim(job, [scan], 2)
    switch.cut()
    assert patient.record(job, [ended(one, context) for one in claimed]) == 0
    assert (study.states("scan"), told, patient.away) == ("sspp", [], False)
    assert not patient.place.exists()


def test_what_a_lost_answer_has_claimed_is_given_back(switch: Switch, tmp_path: Path) -> None:
    study = Study(switch.registry)
    study.submit("scan", grid(x=4))
    patient = Patient(switch.registry, tmp_path, "job")
    job = patient.open_job(_job())
    assert len(patient.claim(job, [study.id("scan")], 1)) == 1
    # A claim that was committed, and of which the manager never heard.
    switch.registry.claim(job, [study.id("scan")], 2)
    switch.cut()
    assert sorted(patient.held(job)) == [(study.id("scan"), 0, 1)]
    assert study.states("scan") == "rppp"
    assert [task.number for task in patient.claim(job, [study.id("scan")], 3)] == [1, 1, 1]


def test_a_claim_says_that_the_database_is_away_and_a_record_is_kept(switch: Switch, tmp_path: Path) -> None:
    study = Study(switch.registry)
    study.submit("scan", grid(x=2))
    patient, told = Patient(switch.registry, tmp_path, "job"), list[str]()
    patient.tell = told.append
    job = patient.open_job(_job())
    claimed = patient.claim(job, [study.id("scan")], 1)
    name, renamed = _rename(switch)
    with pytest.raises(DatabaseAway):
        patient.claim(job, [study.id("scan")], 1)
    context = patient.intern_context(
        Context(job=job, rank=0, node="away", code=study.code, environment=study.environment, host=study.host)
    )
    assert context < 0
    patient.record(job, [ended(one, context) for one in claimed])
    assert patient.place.exists()
    _rename_back(switch, name, renamed)
    while patient.away:
        try:
            assert len(patient.claim(job, [study.id("scan")], 5)) == 1
        except DatabaseAway:
            continue
    assert study.states("scan") == "sr"
    assert [text.split(" (")[0].split(" after")[0] for text in told] == ["the database is away", "the database is back"]
    patient.close_job(job, "ended", "", AT)
    assert not patient.place.exists()


def test_a_database_that_goes_between_log_and_commit_is_not_waited_for(postgres_url: str, tmp_path: Path) -> None:
    Registry.create(postgres_url).close()
    with closing(Group(postgres_url, tmp_path, 0)) as group:
        study = Study(group.home)
        study.submit("scan", grid(x=3))
        patient = Patient(group.home, tmp_path / "log", "job")
        job = patient.open_job(_job())
        scan, context = study.id("scan"), study.context(job)
        claimed = patient.claim(job, [scan], 2)
        _cut_at_commit(postgres_url)
        began = time.monotonic()
        for one in claimed:
            # Each is in the log when the connection goes, and is done once, by whoever reads it there.
            assert patient.record(job, [ended(one, context)]) == 0
        assert time.monotonic() - began < PATIENCE / 2
        _cut_at_commit(postgres_url, no_more=True)
        until(lambda: _claimed(patient, job, scan) == [(scan, 2, 1)], "the last task is claimed")
        assert study.states("scan") == "ssr"
        reads = Reads(group.home.database)
        outcomes = [[one.outcome.word for one in reads.attempts(scan, index)] for index in range(3)]
        assert outcomes == [["succeeded"], ["succeeded"], []]
        assert group.home.check() == []
        patient.close_job(job, "ended", "", AT)


def _claimed(patient: Patient, job: int, map: int) -> list[tuple[int, int, int]]:
    with suppress(DatabaseAway):
        return [(one.map, one.index, one.number) for one in patient.claim(job, [map], 5)]
    return []


def _cut_at_commit(url: str, *, no_more: bool = False) -> None:
    """Let the server end a connection in each commit of a step in the log, or do so no more."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        if no_more:
            connection.execute("drop trigger cut on log")
            return
        connection.execute(
            "create function cut() returns trigger language plpgsql as"
            " $$ begin perform pg_terminate_backend(pg_backend_pid()); return null; end $$"
        )
        connection.execute(
            "create constraint trigger cut after update on log deferrable initially deferred"
            " for each row execute function cut()"
        )


def _job() -> JobRecord:
    return JobRecord(
        uuid="job", kind="local", state="running", user="me", node="n1", slots=2, ranks=1, started=AT
    )


def _rename(switch: Switch) -> tuple[str, str]:
    """Take the database away by giving it another name."""
    import psycopg

    database = switch.registry.database
    name = str(database.fetch("select current_database()")[0][0])
    switch.cut()
    with psycopg.connect(_server(switch), autocommit=True) as connection:
        connection.execute(f"alter database {name} rename to {name}_gone".encode())
    return name, f"{name}_gone"


def _rename_back(switch: Switch, name: str, renamed: str) -> None:
    import psycopg

    with psycopg.connect(_server(switch), autocommit=True) as connection:
        connection.execute(f"alter database {renamed} rename to {name}".encode())


def _server(switch: Switch) -> str:
    url = str(vars(switch.registry.database)["_url"])
    return url.rpartition("/")[0] + "/postgres"
