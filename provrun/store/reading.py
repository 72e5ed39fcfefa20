"""What claimed tasks read: the results that flow in, and the trail that says which attempts made them.

A result that is taken back after a claim marks the running task that reads it, so the trail of an accepted attempt is
true even though it is put together after the claim has been committed.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from itertools import islice
from json.encoder import encode_basestring
from typing import NamedTuple

from provrun.core.answers import Shown
from provrun.core.records import REUSED, MapRecord
from provrun.core.states import State
from provrun.store import flow, lookups
from provrun.store.database import BATCH, Database
from provrun.store.flow import Edge
from provrun.store.reads_tasks import TaskReads

Flows = tuple[str | None, str | None]
"""Of a claimed task: what flows in, and its trail (see `core.records.Claimed`)."""

MOST_LISTED = 16  # upstream attempts that a trail names one by one


class _Made(NamedTuple):
    """What an upstream task has made."""

    number: int
    upstream: int | None
    text: str


def flowing(db: Database, map: int, tasks: Sequence[tuple[int, int | None]]) -> list[Flows]:
    """Give for tasks (index, upstream number) of a map what they read."""
    edges = [edge for edge in flow.upstream(db, map) if edge.reads]
    if not edges:
        return [(None, None)] * len(tasks)
    each = next((edge for edge in edges if edge.kind == "each"), None)
    pieces: list[list[str]] = [[] for _ in tasks]
    trails: list[list[str]] = [[] for _ in tasks]
    if each is not None:
        _follow(db, each, [upstream for _, upstream in tasks], pieces, trails)
    for edge in edges:
        if edge is not each:
            known: dict[int | None, list[str]] = {}
            for (_, upstream), trail in zip(tasks, trails, strict=True):
                number = upstream if edge.drives else None
                if number not in known:
                    known[number] = _trail(db, edge, number)
                trail.extend(known[number])
    return [
        (f'{{"each":{{{",".join(piece)}}}}}' if each is not None else None, f"[{','.join(trail)}]")
        for piece, trail in zip(pieces, trails, strict=True)
    ]


def read_by(db: Database, map: int, index: int) -> list[tuple[MapRecord, Iterator[Shown]]]:
    """Give the maps a task reads many tasks of, each with a stream of these tasks, succeeded ones only, by index."""
    upstream = db.fetch("select upstream from task where map_id=? and idx=?", (map, index))[0][0]
    reads = TaskReads(db)
    found = []
    for edge in flow.upstream(db, map):
        if edge.kind == "all":
            shown = reads.stream(edge.upstream, state=State.SUCCEEDED)
        elif edge.kind == "chunk":
            first, _, n = flow.part_members(db, map, upstream)[0]
            shown = reads.stream(edge.upstream, state=State.SUCCEEDED, start=first, stop=first + n)
        elif edge.kind == "group":
            members = flow.spread(flow.part_members(db, map, upstream))
            shown = (one for one in reads.picked(edge.upstream, members) if one.task.state is State.SUCCEEDED)
        else:
            continue
        found.append((lookups.map_by_id(db, edge.upstream), shown))
    return found


def _follow(
    db: Database, edge: Edge, upstream: list[int | None], pieces: list[list[str]], trails: list[list[str]]
) -> None:
    """Add what the upstream task of each task has made, and the one that task stems from, and so on."""
    workdir = _workdir(db, edge.map)
    above: Edge | None = edge
    while above is not None:
        name = db.fetch("select name from map where id=?", (above.upstream,))[0][0]
        made = _made(db, above.upstream, sorted({index for index in upstream if index is not None}), workdir)
        for place, index in enumerate(upstream):
            one = made.get(index) if index is not None else None
            if one is not None:
                pieces[place].append(f"{encode_basestring(name)}:{one.text}")
                trails[place].append(f"[{above.upstream},{index},{one.number}]")
            upstream[place] = one.upstream if one is not None else None
        above = next((one for one in flow.upstream(db, above.upstream) if one.kind == "each"), None)


def _made(db: Database, map: int, indices: Sequence[int], workdir: str) -> dict[int, _Made]:
    scope, values = db.among("t.idx", indices)
    found = db.fetch(
        "select t.idx, t.upstream, t.accepted, a.result from task t join attempt a"
        f" on a.map_id=t.map_id and a.idx=t.idx and a.number=t.accepted where t.map_id=? and {scope}",
        (map, *values),
    )
    scope, values = db.among("r.idx", indices)
    outputs: dict[int, list[str]] = {}
    blobs: dict[int, list[str]] = {}
    from_folder = _workdir(db, map)
    for index, role, artifact, digest, path, place, job in db.fetch(
        "select r.idx, r.role, r.name, r.digest, r.path, r.place, j.uuid from artifact r"
        " join task t on t.map_id=r.map_id and t.idx=r.idx and t.accepted=r.number"
        " join attempt a on a.map_id=r.map_id and a.idx=r.idx and a.number=r.number"
        " join context x on x.id=a.context_id join job j on j.id=x.job_id"
        f" where r.map_id=? and {scope} order by r.idx, r.role, r.name",
        (map, *values),
    ):
        if role == "output" and path is not None:
            shown = encode_basestring(_seen_from(workdir, from_folder, path))
            outputs.setdefault(index, []).append(f"{encode_basestring(artifact)}:{shown}")
        elif role == "result" and place is not None:
            where = f"[{encode_basestring(job)},{encode_basestring(place)}]"
            blobs.setdefault(index, []).append(f'"{bytes(digest).hex()}":{where}')
    return {
        index: _Made(
            number, upstream,
            f'{{"result":{result or "null"},"outputs":{{{",".join(outputs.get(index, ()))}}}'
            f',"blobs":{{{",".join(dict.fromkeys(blobs.get(index, ())))}}}}}',
        )
        for index, upstream, number, result in found
    }


def _workdir(db: Database, map: int) -> str:
    return str(db.fetch("select workdir from map where id=?", (map,))[0][0])


def _seen_from(workdir: str, folder: str, path: str) -> str:
    """Give a path relative to a map's folder as another map finds it, whose tasks start in ``workdir``."""
    if folder == workdir or posixpath.isabs(path):
        return path
    whole = posixpath.join(folder, path)
    return whole if posixpath.isabs(folder) != posixpath.isabs(workdir) else posixpath.relpath(whole, workdir)


def _trail(db: Database, edge: Edge, number: int | None) -> list[str]:
    """Name the upstream attempts that a reduce reads; many of them by their number and a digest.

    The digest is that of [[index, attempt, result digest or null], ...] with the tag ``reads``; the attempt is null for
    a reused result.
    """
    whole = [(0, 1, lookups.size(db, edge.upstream))]
    runs = whole if number is None else flow.part_members(db, edge.map, number)
    listed: list[str] = []
    hashed = sha256(b"reads\0[")
    count = 0
    for index, attempt, digest in _accepted(db, edge.upstream, flow.spread(runs)):
        if count < MOST_LISTED:
            listed.append(f"[{edge.upstream},{index},{attempt}]")
        result = "null" if digest is None else f'"{bytes(digest).hex()}"'
        by = "null" if attempt == REUSED else attempt
        hashed.update(f"{',' if count else ''}[{index},{by},{result}]".encode())
        count += 1
    if count <= MOST_LISTED:
        return listed
    hashed.update(b"]")
    return [f'[{edge.upstream},{count},"{hashed.hexdigest()}"]']


def _accepted(db: Database, map: int, indices: Iterable[int]) -> Iterator[tuple[int, int, bytes | None]]:
    remaining = iter(indices)
    while page := list(islice(remaining, BATCH)):
        scope, values = db.among("t.idx", page)
        found = db.fetch(
            "select t.idx, t.accepted, a.result_digest from task t join attempt a"
            " on a.map_id=t.map_id and a.idx=t.idx and a.number=t.accepted"
            f" where t.map_id=? and {scope} order by t.idx",
            (map, *values),
        )
        yield from ((row[0], row[1], row[2]) for row in found)
