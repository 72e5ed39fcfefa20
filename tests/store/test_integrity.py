"""`check` finds what is wrong with a registry, and nothing in a sound one."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from fixtures.study import Study, grid
from provrun.core.records import Dependency
from provrun.errors import Unavailable
from provrun.store import integrity
from provrun.store.registry import Registry

DAMAGE = {
    "a counter is off": ("update counter set n=n+1 where state=1", "tasks are pending, counted or found"),
    "a task is gone": ("delete from task where map_id=1 and idx=2", "6 tasks are counted, 5 are there"),
    "an accepted attempt is gone": ("delete from attempt where map_id=1 and idx=0", "accepted attempt is missing"),
    "an accepted attempt failed": ("update attempt set outcome=1 where map_id=1 and idx=0", "did not succeed"),
    "a success has no accepted attempt": ("update task set accepted=0 where map_id=1 and idx=1", "without an accepted"),
    "a running task has no job": ("update task set job_id=null where state=2", "running without a live job"),
    "a running task's job is over": ("update job set state='lost'", "running without a live job"),
    "an attempt was never begun": ("update task set attempts=0 where map_id=1 and idx=0", "never given"),
    "a context is gone": ("update attempt set context_id=77 where map_id=1 and idx=0", "circumstances are missing"),
    "a result was edited": ("update attempt set result='2' where map_id=1 and idx=0", "not what its digest says"),
    "a digest was lost": ("update attempt set result_digest=null where map_id=1 and idx=0", "not what its digest says"),
    "a tally is off": ("update tally set attempts=attempts+1", "counted or found, but not both"),
    "a task waits for nothing": (
        "update task set state=0 where map_id=2 and state=1", "waiting, but should not be",
    ),
    "a task does not wait": ("update task set state=1 where map_id=2 and idx=5", "pending, but should not be"),
    "a part counts wrong": ("update part set missing=missing+1 where number=0", "part 0 counts"),
    "a part lost a member": ("update part set members='[[0,2,1]]', size=1 where number=0", "parts hold"),
}


@pytest.fixture
def used(any_registry: Registry) -> Registry:
    """A registry in the middle of a study."""
    study = Study(any_registry)
    study.submit("a", grid(x=3, g=2))
    study.submit("b", [{}], on=[Dependency(upstream="a", kind="each")])
    study.submit("c", [{}], on=[Dependency(upstream="a", kind="group", by=("g",))])
    job = study.job()
    study.succeed(job, study.claim(job, "a", limit=3))
    study.claim(job, "a", limit=1)
    return any_registry


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_found(used: Registry, damage: str) -> None:
    sql, said = DAMAGE[damage]
    database = used.database
    assert used.check() == []
    with pytest.raises(RuntimeError, match="put back"), database.writing():
        assert database.run(sql) > 0
        # `check` reads in a transaction of its own: look from inside this one instead.
        problems = integrity.found(database)
        assert any(said in one for one in problems), problems
        raise RuntimeError("put back")
    assert used.check() == []


def test_problems_name_the_task(used: Registry) -> None:
    with pytest.raises(RuntimeError, match="put back"), used.database.writing():
        used.database.run("update task set job_id=null where state=2")
        assert "a/3: running without a live job" in integrity.found(used.database)
        raise RuntimeError("put back")


def test_a_torn_file_is_found(tmp_path: Path) -> None:
    path = tmp_path / "registry.sqlite"
    with closing(Registry.create(f"sqlite:///{path}")) as registry:
        Study(registry).submit("scan", [{"x": n} for n in range(5000)])
    data = bytearray(path.read_bytes())
    middle = len(data) // 2 // 4096 * 4096
    data[middle : middle + 4096] = bytes(4096)
    path.write_bytes(data)
    with closing(Registry.open(f"sqlite:///{path}")) as registry:
        try:
            problems = registry.check()
        except Unavailable as error:
            problems = [error.message]
        assert problems != []
