"""Jobs: queued when a scheduler has them, opened when a manager starts, closed when it ends, abandoned when it died."""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter

from provrun.core.environment import Host
from provrun.core.records import Context, JobRecord
from provrun.core.states import Outcome, State
from provrun.errors import Refused
from provrun.store import counting, interning, readiness, rows, tallies
from provrun.store.counting import Shifts
from provrun.store.database import Database

_COLUMNS = (
    "uuid", "kind", "state", "user_name", "node", "slots", "ranks", "started", "ended", "reason", "owner"
)


def queue_job(db: Database, job: JobRecord) -> int:
    """Enter a job that a scheduler is to start, or what is known of one that has not started; give its id."""
    with db.writing():
        found = db.one("select id, state from job where uuid=?", (job.uuid,))
        if found is None:
            return _enter(db, job)
        if found[1] == "queued":
            db.run("update job set owner=? where id=?", (rows.text(job.owner), found[0]))
    return int(found[0])


def open_job(db: Database, job: JobRecord) -> int:
    """Enter a job, or let one that is queued run, and give its id; refuse one that was cancelled or has run."""
    with db.writing():
        found = db.one("select id, state, owner from job where uuid=?", (job.uuid,))
        if found is None:
            return _enter(db, job)
        if found[1] != "queued":
            raise Refused(f"job {found[0]} is not queued any more: it is {found[1]}", value=job.uuid)
        # What is known of it at the scheduler stays.
        owner = {**rows.owner(found[2]), **job.owner}
        db.run(
            "update job set state=?, user_name=?, node=?, slots=?, ranks=?, started=?, owner=? where id=?",
            (job.state, job.user, job.node, job.slots, job.ranks, job.started, rows.text(owner), found[0]),
        )
    return int(found[0])


def _enter(db: Database, job: JobRecord) -> int:
    return db.insert_one(
        "job", _COLUMNS,
        (job.uuid, job.kind, job.state, job.user, job.node, job.slots, job.ranks, job.started, job.ended, job.reason,
         rows.text(job.owner)),
    )


def close_job(db: Database, job: int, state: str, reason: str, at: int) -> None:
    """Say how and when a job ended; one that was abandoned stays lost."""
    with db.writing():
        db.run("update job set state=?, reason=?, ended=? where id=? and state<>'lost'", (state, reason, at, job))


def running_jobs(db: Database) -> list[JobRecord]:
    """Give the jobs that have not been closed."""
    return [rows.job_record(row) for row in db.fetch(f"select {rows.JOB} from job where state='running' order by id")]


def queued_jobs(db: Database) -> list[JobRecord]:
    """Give the jobs that a scheduler has and no manager has opened."""
    return [rows.job_record(row) for row in db.fetch(f"select {rows.JOB} from job where state='queued' order by id")]


def held(db: Database, job: int) -> list[tuple[int, int, int]]:
    """Give the tasks a job holds as (map, index, number); whatever else it believes to hold was revoked."""
    return [
        (row[0], row[1], row[2])
        for row in db.fetch("select map_id, idx, attempts from task where state=2 and job_id=?", (job,))
    ]


def abandon(db: Database, job: int, at: int) -> int:
    """Close a job that is over: its running tasks get a lost attempt and are pending again; give their number."""
    db.claimed.clear()
    with db.writing():
        lost = db.fetch("select map_id, idx, attempts from task where state=2 and job_id=? order by 1, 2", (job,))
        contexts = {map: _lost_context(db, job, map) for map in {row[0] for row in lost}}
        db.insert(
            "attempt", ("map_id", "idx", "number", "context_id", "outcome", "rss_shared"),
            [(*row, contexts[row[0]], int(Outcome.LOST), 0) for row in lost],
        )
        db.run("update task set state=1, job_id=null, accepted=0 where state=2 and job_id=?", (job,))
        shifts = Shifts()
        for map, _, _ in lost:
            counting.move(shifts, map, State.RUNNING, State.PENDING)
        counting.apply(db, shifts)
        for map, rows_of_map in groupby(lost, itemgetter(0)):
            some = list(rows_of_map)
            tallies.add_unmeasured(db, map, contexts[map], Outcome.LOST, len(some))
            # What they wait for may have been taken back while they ran.
            readiness.block(db, map, db.among("idx", [row[1] for row in some]))
        db.run("update job set state='lost', ended=? where id=? and state='running'", (at, job))
    return len(lost)


def _lost_context(db: Database, job: int, map: int) -> int:
    """Give the circumstances of attempts that left no word: those the job last reported, else as it was submitted."""
    found = db.one("select max(id) from context where job_id=?", (job,))
    if found and found[0] is not None:
        return int(found[0])
    node, code, environment = db.fetch(
        "select j.node, m.code_id, m.environment_id from job j, map m where j.id=? and m.id=?", (job, map)
    )[0]
    unknown = interning.host(db, Host(platform="unknown", cpu="unknown", cores=0, memory=0))
    return interning.context(
        db, Context(job=job, rank=0, node=node, code=code, environment=environment, host=unknown)
    )

