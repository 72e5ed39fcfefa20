"""The store: submitting a grid, claiming and recording, beside the databases' own best with the same rows."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from figures import Figure

HERE = Path(__file__).parent
POINTS = 1_000_000
TASKS = 200_000
SIZES = (10_000, 100_000, 1_000_000)
ROUNDS = 3


def measure() -> Iterator[Figure]:
    """Measure in turns, so that whatever else the machine does falls on all of them."""
    yield from _sqlite()
    yield from _flat()
    yield from _postgres()


def _sqlite() -> Iterator[Figure]:
    submitted, inserted, worked, bare, memory = [], [], [], [], []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as name:
            registry, peer = Path(name) / "registry.sqlite", Path(name) / "peer.sqlite"
            done = _loop("submit", f"sqlite:///{registry}", POINTS)
            submitted.append(done["seconds"])
            memory.append(done["megabytes"])
            size = registry.stat().st_size / POINTS
            inserted.append(_loop("insert", peer, POINTS)["seconds"])
            worked.append(TASKS / _loop("work", f"sqlite:///{registry}", TASKS)["seconds"])
            bare.append(TASKS / _loop("raw", peer, TASKS)["seconds"])
    points = f"{POINTS:,} points"
    yield Figure(f"submit {points}", min(submitted), "s", min(inserted), "executemany", at_most=1.5)
    yield Figure(f"submit {points}: memory", max(memory), "MiB", at_most=150)
    yield Figure(f"submit {points}: disk per task", size, "bytes", at_most=150)
    yield Figure("claim and record, SQLite", max(worked), "tasks/s", max(bare), "raw sqlite3", at_least=0.7)


def _flat() -> Iterator[Figure]:
    """Measure time and disk per task for growing numbers of tasks."""
    seconds, disk = {}, {}
    for tasks in SIZES:
        best = []
        for _ in range(ROUNDS if tasks < SIZES[-1] else 1):
            with tempfile.TemporaryDirectory() as name:
                registry = Path(name) / "registry.sqlite"
                _loop("submit", f"sqlite:///{registry}", tasks)
                best.append(_loop("work", f"sqlite:///{registry}", tasks)["seconds"] / tasks)
                disk[tasks] = registry.stat().st_size / tasks
        seconds[tasks] = min(best)
    few, many = SIZES[1], SIZES[2]
    of = f"{few:,} tasks"
    yield Figure(f"claim and record each of {many:,}", seconds[many] * 1e6, "us", seconds[few] * 1e6, of, at_most=1.3)
    yield Figure(f"disk of each of {many:,} run", disk[many], "bytes", disk[few], of, at_most=1.1)


def _postgres() -> Iterator[Figure]:
    sys.path.insert(0, str(HERE.parent))
    from fixtures.postgres import running_cluster

    with running_cluster() as cluster:
        import psycopg

        submitted, copied, worked = [], [], []
        for round in range(ROUNDS):
            with psycopg.connect(cluster.url("postgres"), autocommit=True) as connection:
                connection.execute(f"create database bench_{round}".encode())
            url = cluster.url(f"bench_{round}")
            submitted.append(_loop("submit", url, POINTS)["seconds"])
            copied.append(_loop("copy", url, POINTS)["seconds"])
            worked.append(TASKS / _loop("work", url, TASKS)["seconds"])
    yield Figure(f"submit {POINTS:,} points, PostgreSQL", min(submitted), "s", min(copied), "COPY", at_most=2)
    yield Figure("claim and record, PostgreSQL", max(worked), "tasks/s", at_least=10_000)


def _loop(verb: str, url: object, number: int) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, str(HERE / "store_loop.py"), verb, str(url), str(number)],
        check=True, capture_output=True, text=True,
    )
    measured: dict[str, float] = json.loads(done.stdout)
    return measured
