"""Writers on several hosts of one SQLite file: one at a time, and no lock outlives whoever held it."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from provrun.errors import Unavailable
from provrun.store.database import SqliteDatabase
from provrun.store.host_lock import Holder, HostLock, is_gone, is_shared, myself
from provrun.store.registry import Registry

HOLD = """
import sys, time
from pathlib import Path
from provrun.store.host_lock import HostLock
with HostLock(Path(sys.argv[1]), 5).held():
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "registry.sqlite"
    Registry.create(f"sqlite:///{path}").close()
    return path


def names(file: Path) -> list[str]:
    """Give the names of the files of locks."""
    return sorted(path.name for path in file.parent.glob("*-writer*"))


def hold(file: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(file)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_one_holds_it_and_others_are_told_who(file: Path) -> None:
    process = hold(file)
    try:
        told = f"process {process.pid} on .* writes the registry"
        with pytest.raises(Unavailable, match=told), HostLock(file, 0.1).held():
            pytest.fail("it is held")
    finally:
        end(process)


def test_the_lock_of_a_killed_process_is_broken(file: Path) -> None:
    end(hold(file))
    assert "registry.sqlite-writer" in names(file)
    with HostLock(file, 0.1).held():
        pass
    assert names(file) == []


def test_the_lock_of_another_host_is_left_alone(file: Path) -> None:
    lock = file.with_name("registry.sqlite-writer")
    lock.write_bytes(msgspec.json.encode(Holder("login2", "other boot", 1, "1")))
    with pytest.raises(Unavailable, match="process 1 on login2"), HostLock(file, 0.1).held():
        pytest.fail("it is held")
    assert names(file) == ["registry.sqlite-writer"]


def test_only_what_can_be_known_makes_a_process_gone() -> None:
    me = myself()
    assert not is_gone(me, me)
    assert is_gone(msgspec.structs.replace(me, started="1"), me)
    assert is_gone(msgspec.structs.replace(me, boot="before"), me)
    assert not is_gone(msgspec.structs.replace(me, boot="other", host="other"), me)


def test_many_writers_count_right(file: Path) -> None:
    with closing(SqliteDatabase(file)) as database:
        database.run("create table n(n integer)")
        database.run("insert into n values(0)")

    writers = [subprocess.Popen([sys.executable, "-c", COUNT, str(file)]) for _ in range(4)]
    assert [writer.wait(60) for writer in writers] == [0] * 4
    with closing(SqliteDatabase(file)) as database:
        assert database.fetch("select n from n") == [(40,)]
    assert names(file) == []


COUNT = """
import sys
from contextlib import closing
from pathlib import Path
from provrun.store.database import SqliteDatabase
with closing(SqliteDatabase(Path(sys.argv[1]), shared=True)) as database:
    for _ in range(10):
        with database.writing():
            (n,) = database.fetch("select n from n")[0]
            database.run("update n set n=?", (n + 1,))
"""


def test_local_disks_are_not_locked(file: Path) -> None:
    assert not is_shared(Path("/proc/self/status"))
    with closing(SqliteDatabase(file, shared=False)) as database, database.writing():
        assert "registry.sqlite-writer" not in names(file)
