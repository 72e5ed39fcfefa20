"""Taking over results that attempts of other maps have made: looked for in bulk, and recorded with who made them.

A result that is taken over stands in ``attempt`` under the number `REUSED`, with the circumstances of the attempt that
made it, so that whoever reads results finds it like any other; ``reused`` names that attempt. Where the origin had
itself been taken over, the attempt that was executed is named.
"""

from __future__ import annotations

from collections.abc import Sequence

from provrun.core.records import REUSED, Match, Origins, Sought, TakenOver
from provrun.core.states import Outcome, State
from provrun.store import counting, lookups, readiness, rows, tallies
from provrun.store.counting import Shifts
from provrun.store.database import Database
from provrun.store.readiness import PAGE, Moves

_ATTEMPT = tuple(rows.ATTEMPT.split(", "))[3:]
_ARTIFACT = tuple(rows.ARTIFACT.split(", "))
# A task that has never begun, nor ever had a result that it gave up: who runs it again wants it executed.
_NEVER = f"not exists (select 1 from attempt n where n.map_id=t.map_id and n.idx=t.idx and n.number={REUSED})"
_RESULT = (
    "o.state=3 and +o.idx<(select size from map where id=o.map_id) and exists (select 1 from attempt a where"
    " a.map_id=o.map_id and a.idx=o.idx and a.number=o.accepted and coalesce(a.trail,'')=coalesce(w.trail,'')"
    " and a.context_id in ({contexts}))"
)


def matching(db: Database, map: int, origins: Sequence[Origins], sought: Sequence[Sought] | None = None) -> list[Match]:
    """Find for tasks of a map the results of other maps, made under given circumstances, that have equal parameters.

    ``sought`` are tasks with what they would read; None: all pending ones of a map that reads nothing. Of several
    results that of the first of ``origins`` is given. Changes nothing.
    """
    with db.aside():
        db.run("drop table if exists sought")
        db.run("create temp table sought(idx bigint primary key, params text not null, upstream bigint, trail text)")
        if sought is None:
            db.run(
                "insert into sought(idx, params) select t.idx, t.params from task t where t.state=1 and t.map_id=?"
                f" and t.attempts=0 and t.accepted=0 and +t.idx<? and {_NEVER}",
                (map, lookups.size(db, map)),
            )
        else:
            db.insert("sought", ("idx", "params", "upstream", "trail"), sought)
        if db.dialect == "sqlite":
            db.run("create index sought_params on sought(params)")
        else:
            db.run("analyze sought")
        db.run("drop table if exists match")
        db.run(
            "create temp table match(idx bigint primary key, map_id bigint, origin bigint, number bigint,"
            " unique(map_id, origin))"
        )
        stems = sought is not None and any(one.upstream is not None for one in sought)
        # One pass along what may be taken over, each looked up among what is sought; what stems from an upstream task
        # is found by that one's number. The cross join keeps SQLite to the order.
        tables, same = (
            ("sought w cross join task o", "o.upstream=w.upstream and o.params=w.params") if stems
            else ("task o cross join sought w", "w.params=o.params and o.upstream is null")
        )
        for one in origins:
            contexts = ",".join(str(int(context)) for context in one.contexts)
            db.run(
                f"insert into match(idx, map_id, origin, number) select w.idx, o.map_id, o.idx, o.accepted"
                f" from {tables} where {same} and o.map_id=?"
                f" and {_RESULT.format(contexts=contexts)} on conflict do nothing",
                (one.map,),
            )
        return [Match(*row) for row in db.fetch("select idx, map_id, origin, number from match order by idx")]


def take_over(db: Database, map: int, job: int | None, matches: Sequence[Match]) -> TakenOver:
    """Give tasks of a map results of others, as far as both are still as they were found.

    The tasks are pending, or held by ``job`` as their first attempt, which then was none.
    """
    with db.writing():
        _list(db, map, job, matches)
        _find_makers(db)
        _leave_repeats(db, map)
        taken = [row[0] for row in db.fetch("select idx from taking order by idx")]
        if not taken:
            return TakenOver((), 0)
        _copy(db, map)
        db.run(
            "insert into reused(map_id, idx, origin_id, origin_idx, origin_number) select ?, idx, origin_id,"
            " origin_idx, origin_number from taking",
            (map,),
        )
        _add_up(db, map)
        db.run(
            f"update task set state=3, accepted={REUSED}, attempts=0, fails=0, job_id=null where map_id=?"
            " and idx in (select idx from taking)",
            (map,),
        )
        shifts = Shifts()
        counting.move(shifts, map, State.PENDING if job is None else State.RUNNING, State.SUCCEEDED, len(taken))
        counting.apply(db, shifts)
        promoted = 0
        for start in range(0, len(taken), PAGE):
            page = taken[start : start + PAGE]
            promoted += readiness.moved(db, map, Moves(succeeded=page, ended=page))
        return TakenOver(tuple(taken), promoted)


def _list(db: Database, map: int, job: int | None, matches: Sequence[Match]) -> None:
    """List in a temporary table what can be taken over."""
    db.run("drop table if exists taking")
    db.run(
        "create temp table taking(idx bigint primary key, map_id bigint not null, origin bigint not null,"
        " number bigint not null, origin_id bigint, origin_idx bigint, origin_number bigint)"
    )
    db.insert("taking", ("idx", "map_id", "origin", "number"), matches)
    held, values = ("t.state=1 and t.attempts=0", ()) if job is None else (
        "t.state=2 and t.attempts=1 and t.job_id=?", (job,)
    )
    db.run(
        "delete from taking where not exists (select 1 from task t where t.map_id=? and t.idx=taking.idx"
        f" and t.idx<? and t.accepted=0 and {held} and {_NEVER})",
        (map, lookups.size(db, map), *values),
    )
    db.run(
        "delete from taking where not exists (select 1 from task o join attempt a on a.map_id=o.map_id and a.idx=o.idx"
        " and a.number=o.accepted where o.map_id=taking.map_id and o.idx=taking.origin and o.state=3"
        " and o.accepted=taking.number)"
    )


def _copy(db: Database, map: int) -> None:
    for table, columns in (("attempt", _ATTEMPT), ("artifact", _ARTIFACT)):
        db.run(
            f"insert into {table}(map_id, idx, number, {','.join(columns)}) select ?, k.idx, {REUSED},"
            f" {','.join(f'a.{column}' for column in columns)} from taking k join {table} a"
            " on a.map_id=k.map_id and a.idx=k.origin and a.number=k.number",
            (map,),
        )


def _find_makers(db: Database) -> None:
    """Find which attempts made what is listed: the attempt itself, or the one that it had been taken over from."""
    for column in ("origin_id", "origin_idx", "origin_number"):
        db.run(
            f"update taking set {column}=(select r.{column} from reused r where r.map_id=taking.map_id"
            f" and r.idx=taking.origin) where number={REUSED}"
        )
    uuid = db.fetch("select uuid from registry")[0][0]
    for other, name in db.fetch(
        "select distinct m.id, m.name from taking k join map m on m.id=k.map_id where k.number>0 order by m.id"
    ):
        found = db.one("select id from origin where registry=? and map=?", (uuid, name))
        origin = int(found[0]) if found else db.insert_one("origin", ("registry", "map"), (uuid, name))
        db.run(
            "update taking set origin_id=?, origin_idx=origin, origin_number=number where map_id=? and number>0",
            (origin, other),
        )


def _leave_repeats(db: Database, map: int) -> None:
    """Take off the list what another task of the map has: of equal tasks each stands for an execution of its own."""
    same = "s.origin_id=taking.origin_id and s.origin_idx=taking.origin_idx and s.origin_number=taking.origin_number"
    db.run(f"delete from taking where exists (select 1 from reused s where s.map_id=? and {same})", (map,))
    db.run("drop table if exists first_taking")
    db.run(
        "create temp table first_taking as select min(idx) as idx from taking group by origin_id, origin_idx,"
        " origin_number"
    )
    db.run("delete from taking where idx not in (select idx from first_taking)")


def _add_up(db: Database, map: int) -> None:
    """Count what is taken over as results of the map that took it none of its time."""
    for context, n, noresult in db.fetch(
        "select a.context_id, count(*), sum(case when a.result_digest is null then 1 else 0 end) from taking k"
        f" join attempt a on a.map_id=? and a.idx=k.idx and a.number={REUSED} group by a.context_id order by 1",
        (map,),
    ):
        tallies.add_reused(db, map, context, Outcome.SUCCEEDED, int(n), int(noresult))
