"""One measurement of the store in a process of its own: python store_loop.py VERB URL NUMBER; prints JSON.

``submit`` and ``work`` are what provrun does, ``insert`` and ``copy`` the databases' own best with the same rows in
the same table, ``raw`` the statements of a claim and of a record without anything around them.
"""

from __future__ import annotations

import json
import resource
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count, repeat
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from fixtures.study import AT, Study, ended
from provrun.core.records import MapSpec, Recipe
from provrun.core.space import Space, from_mapping
from provrun.store import ddl
from provrun.store.registry import Registry

BATCH = 5000


def space(number: int) -> Space:
    """Give a grid of so many points."""
    return from_mapping({"coupling": range(1000), "seed": range(number // 1000)})


def submit(url: str, number: int) -> dict[str, float]:
    """Submit a grid."""
    with closing(Registry.create(url)) as registry:
        study = Study(registry)
        began = time.perf_counter()
        grid = space(number)
        spec = MapSpec(name="scan", recipe=Recipe(kind="command", words=("run",)), workdir=".", own=grid.names)
        registry.submit(
            spec, grid.texts(), distinct=True, code=study.code, environment=study.environment, at=AT
        )
        return {"seconds": time.perf_counter() - began}


def work(url: str, number: int) -> dict[str, float]:
    """Claim and record so many tasks of a map that is there; what lies between is not counted."""
    with closing(Registry.open(url)) as registry:
        study = Study(registry)
        job = study.job()
        context = study.context(job)
        seconds = 0.0
        for _ in range(number // BATCH):
            began = time.perf_counter()
            claimed = study.claim(job, "scan", limit=BATCH)
            seconds += time.perf_counter() - began
            records = [ended(one, context) for one in claimed]
            began = time.perf_counter()
            registry.record(job, records)
            seconds += time.perf_counter() - began
        return {"seconds": seconds}


def _table(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("pragma journal_mode=truncate")
    connection.execute("pragma synchronous=full")
    for statement in ddl.statements("sqlite"):
        if " TABLE task " in statement or " ON task " in statement or " TABLE attempt " in statement:
            connection.execute(statement)
    return connection


def _rows(number: int) -> Iterator[tuple[object, ...]]:
    return zip(repeat(1), count(), space(number).texts(), repeat(1), repeat(0), strict=False)


def insert(url: str, number: int) -> dict[str, float]:
    """Insert the same rows into the same table by one executemany."""
    with closing(_table(url)) as connection:
        began = time.perf_counter()
        connection.execute("begin")
        connection.executemany("insert into task(map_id,idx,params,state,priority) values(?,?,?,?,?)", _rows(number))
        connection.execute("commit")
        return {"seconds": time.perf_counter() - began}


def raw(url: str, number: int) -> dict[str, float]:
    """Claim and record in the table that ``insert`` has filled, by the plainest statements."""
    with closing(sqlite3.connect(url, isolation_level=None)) as connection:
        connection.execute("pragma journal_mode=truncate")
        connection.execute("pragma synchronous=full")
        digest = b"x" * 32
        began = time.perf_counter()
        for _ in range(number // BATCH):
            connection.execute("begin immediate")
            found = connection.execute(
                "select idx, params from task indexed by ix_task_pending where state=1 and map_id=1 and priority=0"
                " order by idx limit ?",
                (BATCH,),
            ).fetchall()
            connection.executemany(
                "update task set state=2, job_id=1, attempts=1 where map_id=1 and idx=?", [(row[0],) for row in found]
            )
            connection.execute("commit")
            connection.execute("begin immediate")
            connection.executemany(
                "insert into attempt(map_id,idx,number,context_id,outcome,started,wall,cpu,max_rss,result,"
                "result_digest) values(1,?,1,1,0,?,1000,900,2048,?,?)",
                [(index, AT + index, f'{{"n":1,"of":{params}}}', digest) for index, params in found],
            )
            connection.executemany(
                "update task set state=3, accepted=1, job_id=null where map_id=1 and idx=?",
                [(row[0],) for row in found],
            )
            connection.execute("commit")
        return {"seconds": time.perf_counter() - began}


def copy(url: str, number: int) -> dict[str, float]:
    """Copy the same rows into a table like ``task`` of the registry that is there."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("create table peer (like task including all)")
        began = time.perf_counter()
        with (
            connection.cursor() as cursor,
            cursor.copy("copy peer(map_id,idx,params,state,priority) from stdin") as copying,
        ):
            for row in _rows(number):
                copying.write_row(row)
        seconds = time.perf_counter() - began
        connection.execute("drop table peer")
        return {"seconds": seconds}


VERBS: dict[str, Callable[[str, int], dict[str, float]]] = {
    "submit": submit, "work": work, "insert": insert, "raw": raw, "copy": copy,
}

if __name__ == "__main__":
    verb, url, number = sys.argv[1:]
    measured = VERBS[verb](url, int(number))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(measured | {"megabytes": peak}))
