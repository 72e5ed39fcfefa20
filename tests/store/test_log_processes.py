"""Processes on several hosts that share a log, and those that are killed or stopped in the middle of what they do."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from fixtures.log_processes import start
from fixtures.replicas import Group
from fixtures.study import AT, Study, grid
from provrun.core.records import Dependency
from provrun.core.states import State
from provrun.store.log_files import LogFiles
from provrun.store.registry import Registry


@pytest.fixture
def group(any_url: str, tmp_path: Path) -> Iterator[Group]:
    Registry.create(any_url).close()
    made = Group(any_url, tmp_path, 0)
    yield made
    made.close()


def manager(group: Group, host: str, names: str, batch: int) -> subprocess.Popen[str]:
    return start("work", group.folder / "log", host, group.folder / f"scratch-{host}", names, batch)


def go(process: subprocess.Popen[str]) -> int:
    """Let a process begin once it is ready; give its job."""
    assert process.stdin is not None and process.stdout is not None
    job = int(process.stdout.readline().split()[1])
    process.stdin.write("\n")
    process.stdin.flush()
    return job


def words(process: subprocess.Popen[str]) -> list[str]:
    return process.communicate(timeout=120)[0].split()


def test_managers_on_several_hosts_share_a_plan_and_what_builds_on_it(group: Group) -> None:
    study = Study(group.home)
    study.submit("scan", grid(x=300))
    study.submit("each", [{"k": 1}], on=[Dependency(upstream="scan", kind="each")])
    study.submit("all", [{"k": 1}], on=[Dependency(upstream="each", kind="all")])
    managers = [manager(group, f"host{n}", "scan,each,all", 12) for n in range(3)]
    for one in managers:
        go(one)
    said = [words(one) for one in managers]
    counted = Counter(word for one in said for word in one)
    assert set(counted.values()) == {1} and len(counted) == 601
    assert sum(bool(one) for one in said) > 1
    group.others = [group.private("host0"), group.private("fresh")]
    group.settle()
    assert all(map.counts[State.SUCCEEDED] == map.total for map in group.home.maps())
    assert group.home.check() == []
    assert len(group.files()) < 100


def test_killing_managers_at_any_moment_loses_and_repeats_nothing_recorded(group: Group) -> None:
    tasks = 400
    Study(group.home).submit("scan", grid(x=tasks))
    chance = random.Random(7)
    recorded: Counter[str] = Counter()
    for n in range(8):
        process = manager(group, f"host{n % 2}", "scan", 3)
        job = go(process)
        assert process.stdout is not None
        # What was printed was recorded before. The kill falls anywhere into what comes after.
        recorded.update(process.stdout.readline().split())
        time.sleep(chance.uniform(0, 0.08))
        process.kill()
        recorded.update(words(process))
        group.home.abandon(job, AT)
        assert group.home.check() == []
    process = manager(group, "host0", "scan", 50)
    go(process)
    recorded.update(words(process))
    assert max(recorded.values()) == 1
    group.others = [group.private("host0"), group.private("host1"), group.private("fresh")]
    rows = group.settle()
    assert group.home.check() == []
    accepted = Counter(row[1] for row in rows["attempt"] if row[4] == 0)
    assert len(accepted) == tasks and set(accepted.values()) == {1}
    assert len(group.files()) < 100


def test_a_manager_that_was_stopped_and_abandoned_is_superseded_when_it_wakes(group: Group) -> None:
    Study(group.home).submit("scan", grid(x=400))
    sleeper, other = manager(group, "host0", "scan", 5), manager(group, "host1", "scan", 20)
    job = go(sleeper)
    assert sleeper.stdout is not None
    first = sleeper.stdout.readline().split()
    os.kill(sleeper.pid, signal.SIGSTOP)
    group.home.abandon(job, AT)
    go(other)
    done = words(other)
    os.kill(sleeper.pid, signal.SIGCONT)
    late = words(sleeper)
    assert late[-1] == "over"
    rows = group.settle()
    accepted = Counter(row[1] for row in rows["task"] if row[3] == State.SUCCEEDED and row[6] > 0)
    assert len(accepted) == 400 and group.home.check() == []
    assert len(first) == 5 and len(done) >= 380
    # Whatever it had in hand when it was stopped was run by the other one, under another number.
    twice = {row[1] for row in rows["attempt"] if row[2] == 2}
    assert {f"1/{index}" for index in twice} <= set(done)


def test_every_entry_in_the_log_of_many_writers_follows_the_one_before(group: Group) -> None:
    Study(group.home).submit("scan", grid(x=120))
    managers = [manager(group, f"host{n}", "scan", 2) for n in range(3)]
    for one in managers:
        go(one)
    for one in managers:
        words(one)
    chain = list(LogFiles(group.log).read(0))
    assert [entry.position for entry in chain] == list(range(len(chain)))
    assert all(after.previous == before.digest for before, after in pairwise(chain))
    assert len({entry.writer for entry in chain}) == 4  # the submitter, who began it, and three managers


def vandalise(group: Group, chance: random.Random) -> None:
    """Cut, empty, zero or replace one of the last entries, as a failing file system might."""
    assert group.home.position is not None
    # Only what somebody has who lives: the registry itself, which looks now and then.
    names = [name for name in group.files() if name.isdigit() and int(name) <= group.home.position]
    path = group.log / chance.choice(names[-10:])
    other = group.log / chance.choice(names)
    try:
        whole = path.read_bytes()
        ways = [whole[: chance.randrange(len(whole))], b"", bytes(len(whole)), other.read_bytes(), None]
        way = chance.choice(ways)
        if way is None:
            path.unlink()
        else:
            path.write_bytes(way)
    except (FileNotFoundError, ValueError):
        pass  # merged, or damaged already


def test_what_is_damaged_while_managers_work_is_mended_by_them(group: Group) -> None:
    Study(group.home).submit("scan", grid(x=150))
    chance = random.Random(3)
    managers = [manager(group, f"host{n}", "scan", 3) for n in range(3)]
    for one in managers:
        go(one)
    damaged = 0
    end = time.monotonic() + 60
    while any(one.poll() is None for one in managers) and time.monotonic() < end:
        time.sleep(0.15)
        group.home.fold()
        vandalise(group, chance)
        damaged += 1
    said = [words(one) for one in managers]
    assert [one.returncode for one in managers] == [0, 0, 0]
    assert damaged > 0
    counted = Counter(word for one in said for word in one)
    assert set(counted.values()) == {1} and len(counted) == 150
    assert group.home.heal(patience=0.1) == []
    assert group.home.check() == []
    # What was damaged last, and nobody has read since, is mended when a new replica asks for it.
    late = group.private("late")
    until = time.monotonic() + 30
    while not late.fold() and time.monotonic() < until:
        time.sleep(0.2)
        group.home.fold()
    group.others = [late]
