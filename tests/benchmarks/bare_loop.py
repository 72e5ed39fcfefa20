"""The limit of running recorded function tasks: two forked children, pipes, msgspec and raw sqlite3, nothing else.

It claims in batches of ten thousand, sends a hundred tasks a message and writes an attempt row and the task's state
for each, with a full sync per batch, as a hand-made program for this one purpose would. Prints tasks per second.
"""

from __future__ import annotations

import os
import select
import sqlite3
import struct
import sys
import time
from hashlib import sha256
from pathlib import Path

import msgspec

CLAIM, MESSAGE, AHEAD = 10_000, 100, 4
_encode, _decode = msgspec.msgpack.encode, msgspec.msgpack.decode


def noop(x: int) -> int:
    """Be the task."""
    return x


def child(reading: int, writing: int) -> None:
    """Run tasks until the pipe is closed."""
    while head := read(reading, 4):
        tasks = _decode(read(reading, struct.unpack("!I", head)[0]))
        results = []
        for index, params in tasks:
            began = time.time_ns()
            text = str(noop(**_decode_json(params)))
            ended = time.time_ns()
            digest = sha256(b"result\0" + text.encode()).digest()
            results.append((index, began // 1000, (ended - began) // 1000, text, digest))
        data = _encode(results)
        write(writing, struct.pack("!I", len(data)) + data)


_decode_json = msgspec.json.decode


def read(fd: int, size: int) -> bytes:
    """Read exactly so many bytes, or none at the end."""
    parts = []
    while size:
        part = os.read(fd, size)
        if not part:
            return b""
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def write(fd: int, data: bytes) -> None:
    """Write everything."""
    while data:
        data = data[os.write(fd, data) :]


def prepare(path: Path, tasks: int) -> sqlite3.Connection:
    """Make a database with pending tasks."""
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("pragma journal_mode=truncate")
    db.execute("pragma synchronous=full")
    db.execute("create table task(idx integer primary key, params text, state integer, attempts integer default 0)")
    db.execute("create index pending on task(idx) where state = 1")
    db.execute(
        "create table attempt(idx integer, number integer, started integer, wall integer, result text, digest blob,"
        " primary key(idx, number)) without rowid"
    )
    db.execute("begin")
    db.executemany("insert into task(idx, params, state) values(?, ?, 1)", ((i, f'{{"x":{i}}}') for i in range(tasks)))
    db.execute("commit")
    return db


def start() -> tuple[int, int]:
    """Fork a child and give the pipes to and from it."""
    (there, to), (back, fro) = os.pipe(), os.pipe()
    if os.fork() == 0:
        os.close(to)
        os.close(back)
        child(there, fro)
        os._exit(0)
    os.close(there)
    os.close(fro)
    return to, back


def run(db: sqlite3.Connection, children: list[tuple[int, int]], tasks: int) -> float:
    """Run all tasks and give the seconds it took."""
    began = time.perf_counter()
    ready: list[tuple[int, str]] = []
    last = -1
    waiting = dict.fromkeys((back for _, back in children), 0)
    to = {back: there for there, back in children}
    ended: list[tuple[int, int, int, str, bytes]] = []
    done = 0
    while done < tasks:
        if len(ready) < CLAIM // 4 and last < tasks - 1:
            db.execute("begin immediate")
            found = db.execute(
                "select idx, params from task where state = 1 and idx > ? order by idx limit ?", (last, CLAIM)
            ).fetchall()
            last = found[-1][0]
            db.execute("update task set state = 2, attempts = 1 where state = 1 and idx <= ?", (last,))
            db.execute("commit")
            ready += found
        for back in waiting:
            while waiting[back] < AHEAD and ready:
                message, ready = ready[:MESSAGE], ready[MESSAGE:]
                data = _encode(message)
                write(to[back], struct.pack("!I", len(data)) + data)
                waiting[back] += 1
        for back in select.select([back for back, n in waiting.items() if n], [], [])[0]:
            ended += _decode(read(back, struct.unpack("!I", read(back, 4))[0]))
            waiting[back] -= 1
        if len(ended) >= CLAIM // 2 or done + len(ended) == tasks:
            db.execute("begin immediate")
            db.executemany("insert into attempt values(?, 1, ?, ?, ?, ?)", ended)
            db.executemany("update task set state = 3 where idx = ?", ((one[0],) for one in ended))
            db.execute("commit")
            done += len(ended)
            ended = []
    return time.perf_counter() - began


if __name__ == "__main__":
    number = int(sys.argv[2])
    database = prepare(Path(sys.argv[1]) / "bare.sqlite", number)
    print(number / run(database, [start(), start()], number))
