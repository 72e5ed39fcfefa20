"""Whether the registry is sound: everything it keeps twice must agree, and everything it refers to must be there."""

from __future__ import annotations

from collections.abc import Iterator

from provrun.core.canonical import digest_text
from provrun.core.records import REUSED
from provrun.core.states import Outcome, State
from provrun.store import flow, readiness
from provrun.store.database import BATCH, Database

MOST = 20  # problems of one kind that are told one by one
_ONE_MORE = bytes([*range(1, 256), 255])

_VISIBLE = "from task t join map m on m.id=t.map_id where m.state>0 and t.idx<m.size"

# What each query finds is wrong; its first columns are the name of the map and the index.
_TASKS = {
    "succeeded without an accepted attempt, or accepted without having succeeded":
        f"select m.name, t.idx {_VISIBLE} and (t.state=3)<>(t.accepted not in (0,-1))",
    "its accepted attempt is missing or did not succeed":
        f"select m.name, t.idx {_VISIBLE} and t.accepted not in (0,-1) and not exists (select 1 from attempt a where"
        f" a.map_id=t.map_id and a.idx=t.idx and a.number=t.accepted and a.outcome={int(Outcome.SUCCEEDED)})",
    "running without a live job":
        f"select m.name, t.idx {_VISIBLE} and t.state=2 and not exists"
        " (select 1 from job j where j.id=t.job_id and j.state='running')",
    "held by a job without running": f"select m.name, t.idx {_VISIBLE} and t.state<>2 and t.job_id is not null",
    "an attempt has a number that was never given": "select m.name, a.idx from attempt a join map m on m.id=a.map_id"
        " left join task t on t.map_id=a.map_id and t.idx=a.idx where t.attempts is null or a.number>t.attempts"
        f" or a.number<1 and a.number<>{REUSED}",
    "a reused result without the attempt that made it": "select m.name, a.idx from attempt a join map m on"
        f" m.id=a.map_id where a.number={REUSED} and not exists (select 1 from reused r join origin o on"
        " o.id=r.origin_id where r.map_id=a.map_id and r.idx=a.idx)",
    "an attempt's circumstances are missing": "select m.name, a.idx from attempt a join map m on m.id=a.map_id"
        " where not exists (select 1 from context x where x.id=a.context_id)",
    "an attempt that another registry made is missing": "select m.name, b.idx from brought b join map m on"
        " m.id=b.map_id where not exists (select 1 from attempt a where a.map_id=b.map_id and a.idx=b.idx and"
        " a.number=b.number)",
    "an artifact's attempt is missing": "select m.name, r.idx from artifact r join map m on m.id=r.map_id where not"
        " exists (select 1 from attempt a where a.map_id=r.map_id and a.idx=r.idx and a.number=r.number)",
}


def check(db: Database) -> list[str]:
    """Give the problems found in the registry, in words; none if it is sound. Reads everything, as of one moment."""
    with db.reading():
        return [*db.damage(), *found(db)]


def found(db: Database) -> list[str]:
    """Give the problems found in what the tables say, as the transaction that is open sees them."""
    return [*_tasks(db), *_sizes(db), *_counters(db), *_tallies(db), *_waiting(db), *_results(db)]


def _tasks(db: Database) -> Iterator[str]:
    for problem, sql in _TASKS.items():
        found = db.fetch(f"{sql} order by 1, 2 limit {MOST + 1}")
        yield from (f"{name}/{index}: {problem}" for name, index in found[:MOST])
        if len(found) > MOST:
            yield f"and more: {problem}"


def _sizes(db: Database) -> Iterator[str]:
    """Indices run from 0 without a gap, and each was submitted once."""
    for name, size, there, last, submitted in db.fetch(
        "select m.name, m.size, (select count(*) from task t where t.map_id=m.id and t.idx<m.size),"
        " (select coalesce(max(t.idx), -1) from task t where t.map_id=m.id and t.idx<m.size),"
        " (select coalesce(sum(s.added), 0) from submission s where s.map_id=m.id) from map m where m.state>0"
    ):
        if not size == there == last + 1 == submitted:
            yield f"{name}: {size} tasks are counted, {there} are there up to index {last}, {submitted} were submitted"


def _counters(db: Database) -> Iterator[str]:
    counted = db.fetch("select m.name, c.state, c.n from counter c join map m on m.id=c.map_id where c.n<>0")
    found = db.fetch(f"select m.name, t.state, count(*) {_VISIBLE} group by m.name, t.state")
    for name, state, n in sorted(set(counted) ^ set(found)):
        yield f"{name}: {n} tasks are {State(state).word}, counted or found, but not both"


def _tallies(db: Database) -> Iterator[str]:
    kept = db.fetch(
        "select map_id, context_id, outcome, attempts, accepted, taken, reused from tally where attempts+taken<>0"
    )
    found = db.fetch(
        "select a.map_id, a.context_id, a.outcome, sum(case when a.number>0 then 1 else 0 end),"
        " sum(case when t.accepted=a.number then 1 else 0 end),"
        f" sum(case when a.number={REUSED} then 1 else 0 end),"
        f" sum(case when a.number={REUSED} and t.accepted=a.number then 1 else 0 end)"
        " from attempt a join task t on t.map_id=a.map_id and t.idx=a.idx group by a.map_id, a.context_id, a.outcome"
    )
    plain = {tuple(int(n) for n in row) for row in found}
    for map, context, outcome, n, accepted, taken, reused in sorted(set(kept) ^ plain):
        yield (
            f"map {map}: {n} attempts of context {context} {Outcome(outcome).word}, {accepted} accepted, {taken} taken"
            f" over, {reused} reused, counted or found, but not both"
        )


def _waiting(db: Database) -> Iterator[str]:
    """What is ready is pending, what is not is waiting, and what is missing was counted right."""
    for map, name in db.fetch("select id, name from map where state>0"):
        edges = flow.upstream(db, map)
        if not edges:
            continue
        ready, values = readiness.condition(db, map)
        for state, condition in ((State.WAITING, ready), (State.PENDING, f"not ({ready})")):
            found = db.fetch(
                f"select idx from task where state={int(state)} and map_id=? and {condition}"
                f" and idx<(select size from map where id=?) order by idx limit {MOST}",
                (map, *values, map),
            )
            yield from (f"{name}/{index}: {state.word}, but should not be" for (index,) in found)
        marks: dict[tuple[int, str], bytearray] = {}
        for edge in edges:
            if edge.kind in {"group", "chunk"} or edge.ranges is not None:
                key = (edge.upstream, edge.satisfied_sql)
                if key not in marks:
                    marks[key] = flow.unsatisfied(db, edge)
                yield from (_ranges if edge.ranges is not None else _parts)(db, name, edge, marks[key])


def _parts(db: Database, name: str, edge: flow.Edge, unsatisfied: bytearray) -> Iterator[str]:
    """Groups and chunks hold every upstream task once, and count those that are not as they must be."""
    held = bytearray(len(unsatisfied))
    parts = 0
    for number, text, size, missing in db.fetch(
        "select number, members, size, missing from part where map_id=?", (edge.map,)
    ):
        runs = flow.members_of(text)
        found = 0
        for first, step, count in runs:
            run = slice(first, first + step * count, step)
            found += sum(unsatisfied[run])
            held[run] = held[run].translate(_ONE_MORE)
        parts += 1
        if (size, missing) != (flow.length(runs), found):
            yield f"{name}: part {number} counts {size} members, {missing} missing, but {found} are"
    once = held.count(1)
    if once != len(held) or parts != edge.parts:
        yield f"{name}: {parts} parts hold {once} of {len(held)} upstream tasks once"


def _ranges(db: Database, name: str, edge: flow.Edge, unsatisfied: bytearray) -> Iterator[str]:
    found = sum(sum(unsatisfied[first:last]) for first, last in edge.upstream_ranges())
    kept = db.fetch("select missing from dependency where id=?", (edge.id,))[0][0]
    if found != kept:
        yield f"{name}: tasks {edge.first} to {edge.last} wait for {kept} others, but {found} have not ended"


def _results(db: Database) -> Iterator[str]:
    """Results are what their digests say."""
    key: tuple[int, int, int] = (-1, 0, 0)
    told = 0
    while page := db.fetch(
        "select map_id, idx, number, result, result_digest from attempt where (map_id, idx, number)>(?,?,?)"
        f" order by map_id, idx, number limit {BATCH}",
        key,
    ):
        for map, index, number, result, digest in page:
            wrong = (result is None) != (digest is None) or (
                result is not None and digest_text("result", result) != bytes(digest)
            )
            if wrong and told < MOST:
                told += 1
                yield f"map {map}: the result of {index}#{number} is not what its digest says"
        key = page[-1][:3]
