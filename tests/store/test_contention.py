"""Transactions that PostgreSQL undoes in favour of others are made again."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from fixtures.runs import until
from fixtures.study import Study, grid
from provrun.core.records import Claimed
from provrun.errors import Contended, Unavailable
from provrun.project.project import Project
from provrun.store.registry import Registry

WAITING = "select count(*) from pg_locks where not granted"


class Other:
    """Another connection, which locks the counters of one map and then wants those of another."""

    def __init__(self, url: str, first: int, second: int) -> None:
        self._connection = psycopg.connect(url)
        self._connection.execute("set deadlock_timeout='60s'")  # it is never the one that is undone
        self._second = second
        self._lock(first)

    def _lock(self, map: int) -> None:
        self._connection.execute("update counter set n=n where map_id=%s", (map,))

    def collide(self) -> None:
        """Want what the other has, who waits for us; and end when we have it."""
        self._lock(self._second)
        self._connection.commit()
        self._connection.close()


def deadlocked(url: str, act: Callable[[], list[Claimed]], maps: tuple[int, int]) -> list[Claimed]:
    """Let an act that locks the counters of two maps, one after the other, meet somebody who does so the other way."""
    other = Other(url, maps[1], maps[0])
    with ThreadPoolExecutor(1) as pool, psycopg.connect(url, autocommit=True) as watcher:
        running = pool.submit(act)
        until(lambda: (watcher.execute(WAITING).fetchone() or (0,))[0] > 0, "it waits for the other")
        other.collide()
        return running.result(30)


@pytest.fixture
def patient_url(postgres_url: str) -> str:
    """Give a database in which a deadlock is looked for after three seconds, when both sides have met."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        name = connection.info.dbname
        connection.execute(f"alter database {name} set deadlock_timeout='3s'".encode())
    return postgres_url


def test_a_claim_that_was_undone_for_a_deadlock_is_made_again(tmp_path: Path, patient_url: str) -> None:
    project = Project.create(tmp_path, patient_url)
    study = Study(project.registry)
    study.submit("a", grid(x=2))
    study.submit("b", grid(x=3))
    job, maps = study.job(), (study.id("a"), study.id("b"))
    claimed = deadlocked(patient_url, lambda: study.claim(job, "a", "b"), maps)
    assert len(claimed) == 5
    assert {task.number for task in claimed} == {1}
    assert project.registry.check() == []
    project.close()


def test_one_that_is_not_made_again_says_so_and_has_changed_nothing(patient_url: str) -> None:
    with closing(Registry.create(patient_url)) as registry:
        study = Study(registry)
        study.submit("a", grid(x=2))
        study.submit("b", grid(x=3))
        job, maps = study.job(), (study.id("a"), study.id("b"))
        with pytest.raises(Contended, match="deadlock detected") as found:
            deadlocked(patient_url, lambda: study.claim(job, "a", "b"), maps)
        assert isinstance(found.value, Unavailable)
        assert study.states("a") + study.states("b") == "ppppp"
        assert len(study.claim(job, "a", "b")) == 5
        assert registry.check() == []
