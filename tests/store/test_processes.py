"""Several processes on one registry, and processes that die in the middle of what they do."""

from __future__ import annotations

import subprocess
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

from fixtures.store_processes import start
from fixtures.study import AT, Study, grid
from provrun.core.states import State
from provrun.store.registry import Registry


def go(process: subprocess.Popen[str]) -> None:
    """Let a process begin once it is ready."""
    assert process.stdin is not None and process.stdout is not None
    process.stdout.readline()
    process.stdin.write("\n")
    process.stdin.flush()


def finish(*processes: subprocess.Popen[str]) -> list[list[str]]:
    """Wait for processes and give the words each has said."""
    said = [process.communicate(timeout=60)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes)
    return said


def kill(process: subprocess.Popen[str]) -> list[str]:
    """End a process as a power cut would; give what it said to have done."""
    process.kill()
    return process.communicate(timeout=60)[0].split()


def test_several_managers_run_each_task_once(any_registry: Registry, any_url: str) -> None:
    Study(any_registry).submit("scan", grid(x=1500))
    managers = [start("work", any_url, "scan", 40) for _ in range(3)]
    for manager in managers:
        go(manager)
    said = finish(*managers)
    assert Counter(word for words in said for word in words) == Counter(str(index) for index in range(1500))
    [map] = any_registry.maps()
    assert map.counts[State.SUCCEEDED] == 1500
    assert any_registry.database.fetch("select count(*), max(number) from attempt") == [(1500, 1)]


def test_concurrent_submissions_of_one_map_add_each_point_once(any_registry: Registry, any_url: str) -> None:
    submitters = [start("submit", any_url, "scan", 0, 3000), start("submit", any_url, "scan", 1000, 4000)]
    for submitter in submitters:
        go(submitter)
    added = [int(words[0]) for words in finish(*submitters)]
    assert sum(added) == 4000 and sorted(added) in ([1000, 3000], [1000, 3000])
    texts = [task.params for task in any_registry.tasks(1)]
    assert sorted(texts) == sorted(f'{{"x":{value}}}' for value in range(4000))


def staged(registry: Registry) -> int:
    """Count the tasks that a submission has written but not shown."""
    found = registry.database.fetch(
        "select count(*) from task t join map m on m.id=t.map_id where m.state=0 or t.idx>=m.size"
    )
    return int(found[0][0])


def kill_while_staging(registry: Registry, submitter: subprocess.Popen[str]) -> None:
    go(submitter)
    deadline = time.monotonic() + 30
    while not staged(registry):
        assert time.monotonic() < deadline
        time.sleep(0.002)
    assert kill(submitter) == []
    assert staged(registry)


def test_a_submission_that_died_is_invisible_and_can_be_made_again(any_registry: Registry, any_url: str) -> None:
    kill_while_staging(any_registry, start("submit", any_url, "scan", 0, 2_000_000))
    assert (any_registry.map_names(), any_registry.maps(), any_registry.find_map("scan")) == ([], [], None)
    assert any_registry.check() == []
    added = Study(any_registry).submit("scan", grid(x=10))
    assert (added.added, added.total) == (10, 10)
    assert staged(any_registry) == 0


def test_an_extension_that_died_leaves_the_map_as_it_was(any_registry: Registry, any_url: str) -> None:
    study = Study(any_registry)
    study.submit("scan", grid(x=10))
    kill_while_staging(any_registry, start("submit", any_url, "scan", 0, 300_000))
    assert any_registry.check() == []
    assert study.states("scan") == "p" * 10
    job = study.job()
    assert len(study.claim(job, "scan")) == 10
    assert study.submit("scan", grid(x=12)).added == 2
    assert staged(any_registry) == 0
    assert len(study.claim(job, "scan")) == 2


def test_a_map_appears_whole_or_not_at_all(any_registry: Registry, any_url: str) -> None:
    submitter = start("submit", any_url, "scan", 0, 100_000)
    go(submitter)
    seen: list[int] = []
    while submitter.poll() is None or not seen:
        map = any_registry.find_map("scan")
        if map is not None:
            assert sum(1 for _ in any_registry.tasks(map.id)) == map.total
            seen.append(map.total)
    finish(submitter)
    assert set(seen) == {100_000}


def test_killing_managers_loses_and_repeats_nothing_recorded(any_registry: Registry, any_url: str) -> None:
    tasks = 20_000
    Study(any_registry).submit("scan", [{"x": value} for value in range(tasks)])
    recorded: Counter[str] = Counter()
    for batches in (0, 1, 4, 9):
        manager = start("work", any_url, "scan", 50)
        go(manager)
        assert manager.stdout is not None
        # What was printed was recorded before. Far more is left than it could do until the signal comes.
        for _ in range(batches):
            recorded.update(manager.stdout.readline().split())
        recorded.update(kill(manager))
        [job] = any_registry.running_jobs()
        any_registry.abandon(job.id, AT)
        assert any_registry.check() == []
    manager = start("work", any_url, "scan", 5000)
    go(manager)
    recorded.update(finish(manager)[0])
    assert max(recorded.values()) == 1
    [map] = any_registry.maps()
    assert map.counts[State.SUCCEEDED] == tasks
    outcomes = any_registry.database.fetch("select outcome, count(*) from attempt group by outcome order by outcome")
    assert outcomes[0] == (0, tasks)


def test_a_submission_of_a_large_map_lets_a_manager_work(any_registry: Registry, any_url: str) -> None:
    study = Study(any_registry)
    study.submit("small", grid(x=400))
    job = study.job()
    submitter = start("submit", any_url, "large", 0, 300_000)
    go(submitter)
    done = 0
    while submitter.poll() is None and (claimed := study.claim(job, "small", limit=10)):
        study.succeed(job, claimed)
        done += len(claimed)
    assert done >= 50
    finish(submitter)


def test_a_reader_finds_a_sound_registry_where_a_writer_died(sqlite_url: str) -> None:
    with closing(Registry.create(sqlite_url)) as registry:
        Study(registry).submit("scan", grid(x=3))
    writer = start("die", sqlite_url, "scan")
    go(writer)
    assert writer.stdout is not None and writer.stdout.readline() == "written\n"
    kill(writer)
    journal = Path(f"{sqlite_url.removeprefix('sqlite:///')}-journal")
    assert journal.stat().st_size > 0
    with closing(Registry.open(sqlite_url, readonly=True)) as reader:
        assert [task.priority for task in reader.tasks(1)] == [0, 0, 0]
        assert reader.check() == []


def test_a_registry_is_open_to_a_reader_while_another_writes(any_registry: Registry, any_url: str) -> None:
    study = Study(any_registry)
    study.submit("scan", grid(x=5))
    with closing(Registry.open(any_url, readonly=True)) as reader, any_registry.database.writing():
        any_registry.database.run("update task set priority=7")
        assert [task.priority for task in reader.tasks(1)] == [0] * 5
