"""Cores and GPUs of tasks: each has its own, whoever else runs on the node."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

from fixtures.agents import Driver
from fixtures.launchers import Launcher
from fixtures.parts import lacking
from fixtures.runs import Runs, finished
from provrun.core.messages import Result
from provrun.core.records import Policy, Recipe
from provrun.core.states import Outcome
from provrun.run.node import find_gpus, lowest_run, node_memory, node_name, share, units
from provrun.run.seats import Seat, Seats

SHOW = (
    "import json,os,time; e=os.environ; time.sleep(0.2);"
    "print(json.dumps({'cpus': sorted(os.sched_getaffinity(0)), 'gpus': e.get('CUDA_VISIBLE_DEVICES'),"
    "'rocr': e.get('ROCR_VISIBLE_DEVICES'), 'threads': e['OMP_NUM_THREADS'], 'cores': e['PROVRUN_CORES'],"
    "'held': [int(line.rpartition('-')[2]) for line in open('/proc/net/unix')"
    " if f'@provrun-{os.getuid()}-cpu-' in line]}))"
)
FUNCTION = """\
import os, threading, time

def f(x):
    time.sleep(0.2)
    return {"cpus": sorted(os.sched_getaffinity(0)), "gpus": os.environ.get("CUDA_VISIBLE_DEVICES"), "pid": os.getpid()}
"""
ALL = sorted(os.sched_getaffinity(0))


def topology(folder: Path, *places: tuple[int, int]) -> str:
    """Write what the kernel would tell of CPUs: package and core of each."""
    for number, (package, core) in enumerate(places):
        there = folder / f"cpu{number}" / "topology"
        there.mkdir(parents=True)
        (there / "physical_package_id").write_text(f"{package}\n")
        (there / "core_id").write_text(f"{core}\n")
    return str(folder)


def enumerate_packages() -> list[tuple[int, int]]:
    return [(0, 0), (0, 4), (0, 1), (0, 5), (1, 2), (1, 6), (1, 3), (1, 7)]


def pair() -> None:
    if len(ALL) < 2:
        lacking("two cores")


def test_a_unit_is_a_core_with_its_hardware_threads_where_there_are_enough(tmp_path: Path) -> None:
    # Numbered as common machines do: the second threads of all cores after the first ones.
    system = topology(tmp_path, (0, 0), (0, 1), (1, 0), (1, 1), (0, 0), (0, 1), (1, 0), (1, 1))
    assert units(4, range(8), system) == [(0, [0, 4]), (0, [1, 5]), (1, [2, 6]), (1, [3, 7])]
    assert units(8, range(8), system) == [(p, [n]) for p, n in enumerate_packages()]
    assert units(2, [2, 3, 6], system) == [(1, [2, 6]), (1, [3])]
    assert units(9, range(8), system) == []
    assert units(2, [0, 1], str(tmp_path / "nothing")) == [(0, [0]), (0, [1])]


def test_neighbours_of_one_package_are_chosen_where_there_are_any() -> None:
    packages = [0, 0, 0, 1, 1, 1]
    assert lowest_run(packages, [True] * 6, 3) == [0, 1, 2]
    assert lowest_run(packages, [True, False, True, True, True, True], 3) == [3, 4, 5]
    assert lowest_run(packages, [False, False, True, True, True, False], 2) == [3, 4]
    assert lowest_run(packages, [True, False, True, True, False, True], 2) == [0, 2]
    assert lowest_run(packages, [True, False, False, False, False, False], 2) == [0]


@pytest.mark.parametrize(
    ("environ", "gpus"),
    [
        ({"PROVRUN_GPUS": "3,5", "CUDA_VISIBLE_DEVICES": "0"}, ("3", "5")),
        ({"CUDA_VISIBLE_DEVICES": "GPU-1a, MIG-2b"}, ("GPU-1a", "MIG-2b")),
        ({"CUDA_VISIBLE_DEVICES": ""}, ()),
        ({"CUDA_VISIBLE_DEVICES": "NoDevFiles"}, ()),
        ({"ROCR_VISIBLE_DEVICES": "1"}, ("1",)),
        ({}, ("0", "1", "10")),
    ],
)
def test_gpus_are_those_the_scheduler_left_visible_else_those_of_the_node(
    tmp_path: Path, environ: dict[str, str], gpus: tuple[str, ...]
) -> None:
    for name in ("nvidia0", "nvidia10", "nvidia1", "nvidiactl", "nvidia-uvm", "null"):
        (tmp_path / name).touch()
    assert find_gpus(environ, str(tmp_path)) == gpus


@pytest.mark.parametrize(
    ("environ", "groups", "limits", "memory"),
    [
        ({}, "0::/\n", {"memory.max": "4096\n"}, 4096),
        ({}, "0::/job_7/step_0\n", {"job_7/memory.max": "8192\n", "job_7/step_0/memory.max": "max\n"}, 8192),
        ({}, "9:cpu:/\n8:memory:/slurm\n", {"memory/slurm/memory.limit_in_bytes": "2048\n"}, 2048),
        ({}, "8:memory:/\n", {"memory/memory.limit_in_bytes": f"{2**63 - 4096}\n"}, None),
        ({"SLURM_MEM_PER_NODE": "1"}, "", {}, 2**20),
        ({"SLURM_MEM_PER_NODE": "0"}, "", {}, None),
        ({"SLURM_MEM_PER_CPU": "1", "SLURM_CPUS_ON_NODE": "3"}, "", {}, 3 * 2**20),
    ],
)
def test_memory_is_what_this_process_may_have_of_that_of_the_node(
    tmp_path: Path, environ: dict[str, str], groups: str, limits: dict[str, str], memory: int | None
) -> None:
    for path, content in {"proc/self/cgroup": groups, **{f"sys/fs/cgroup/{k}": v for k, v in limits.items()}}.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(content)
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert node_memory(environ, str(tmp_path)) == (memory or whole)


def pinned(seats: Seats) -> Seat:
    """Take two cores, when no other test has them."""
    for _ in range(200):
        seat = seats.take(2, 0)
        if seat.cpus:
            return seat
        seats.leave(seat)
        time.sleep(0.05)
    raise AssertionError("the cores are never free")


@pytest.mark.parametrize(
    ("environ", "mine"),
    [
        ({}, ("a", "b", "c")),
        ({"MPI_LOCALRANKID": "0", "MPI_LOCALNRANKS": "2"}, ("a", "c")),
        ({"OMPI_COMM_WORLD_LOCAL_RANK": "1", "OMPI_COMM_WORLD_LOCAL_SIZE": "2"}, ("b",)),
        ({"SLURM_LOCALID": "2", "SLURM_STEP_TASKS_PER_NODE": "4(x3)"}, ("c",)),
        ({"SLURM_LOCALID": "0", "SLURM_TASKS_PER_NODE": "2"}, ("a", "b", "c")),
    ],
)
def test_ranks_of_one_node_divide_its_gpus(environ: dict[str, str], mine: tuple[str, ...]) -> None:
    assert share(("a", "b", "c"), environ) == mine


def test_gpu_tasks_of_a_run_over_mpi_have_gpus_of_their_own(runs: Runs, mpich: Launcher) -> None:
    runs.submit("t", ["sh", "-c", 'sleep 0.3; echo "[$CUDA_VISIBLE_DEVICES]"'], 8, gpus=1)
    code, _, said = finished(runs.start("--mpi", "2", "-j", "2", PROVRUN_GPUS="0,1"), timeout=60)
    assert code == 0, said
    spans: dict[str | None, list[tuple[int, int]]] = {}
    for index in range(8):
        (attempt,) = runs.attempts("t", index)
        assert attempt.started is not None and attempt.wall is not None
        spans.setdefault(attempt.result, []).append((attempt.started, attempt.started + attempt.wall))
    assert spans.keys() == {"[0]", "[1]"}
    assert all(before[1] - 20_000 <= after[0] for each in spans.values() for before, after in pairwise(sorted(each)))


def test_cores_that_another_run_has_taken_are_not_taken_twice(tmp_path: Path) -> None:
    pair()
    mine, other = Seats(2, cpus=ALL[:2]), Seats(2, cpus=ALL[:2])
    seat = pinned(mine)
    assert seat.cpus == tuple(ALL[:2])
    assert other.take(2, 0).cpus == ()  # it runs, wherever the kernel finds room
    mine.leave(seat)
    again = Seats(2, cpus=ALL[:2])
    again.leave(pinned(again))


def test_cores_of_a_run_that_was_killed_are_free_again() -> None:
    pair()
    take = f"import sys\nfrom provrun.run.seats import Seats\nseats = Seats(2, cpus={ALL[:2]})\n"
    wait = "while not seats.take(2, 0).cpus:\n    seats.free = 2\nprint('taken', flush=True)\nsys.stdin.read()"
    words = [sys.executable, "-c", take + wait]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "taken\n"
        assert Seats(2, cpus=ALL[:2]).take(2, 0).cpus == ()
        process.kill()
    seats = Seats(2, cpus=ALL[:2])
    seats.leave(pinned(seats))


def test_a_process_is_started_on_its_cores_and_others_are_moved_with_all_their_threads() -> None:
    seats, one = Seats(len(ALL)), Seat(1, (ALL[0],))
    words = ["sh", "-c", "grep Cpus_allowed_list /proc/self/status"]
    started: list[subprocess.Popen[str]] = []

    def start() -> int:
        started.append(subprocess.Popen(words, stdout=subprocess.PIPE, text=True))
        return started[0].pid

    seats.pinned(one, start)
    assert started[0].communicate()[0].split()[-1] == str(ALL[0])
    assert sorted(os.sched_getaffinity(0)) == ALL
    threads = "import threading,time; threading.Thread(target=time.sleep, args=(60,)).start(); print(1, flush=True)"
    with subprocess.Popen([sys.executable, "-c", threads], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        seats.pin(process.pid, one)
        tasks = [int(task.name) for task in Path(f"/proc/{process.pid}/task").iterdir()]
        assert [os.sched_getaffinity(task) for task in tasks] == [{ALL[0]}] * 2
        process.kill()


def test_a_command_of_several_cores_is_pinned_and_one_of_one_core_is_not(driver: Driver) -> None:
    pair()
    for _ in range(50):  # another test may have the cores
        (wide,) = driver.values(driver.command(sys.executable, "-c", SHOW, policy=Policy(cores=2)))
        if len(wide["cpus"]) == 2 and set(wide["cpus"]) <= set(wide["held"]):
            break
    else:
        raise AssertionError(wide)
    (narrow,) = driver.values(driver.command(sys.executable, "-c", SHOW))
    assert (wide["threads"], wide["cores"]) == ("2", "2")
    assert (narrow["cpus"], narrow["threads"]) == (ALL, "1")
    assert sorted(os.sched_getaffinity(driver.agent.pid)) == ALL


def test_nothing_is_pinned_where_slots_are_more_than_cores(workplace: Path, no_strays: None) -> None:
    driver = Driver(workplace, slots=len(ALL) + 1)
    try:
        (wide,) = driver.values(driver.command(sys.executable, "-c", SHOW, policy=Policy(cores=2)))
        assert wide["cpus"] == ALL
    finally:
        driver.close()


def test_a_function_of_several_cores_is_pinned_with_all_its_threads(driver: Driver, workplace: Path) -> None:
    pair()
    (workplace / "work.py").write_text(FUNCTION)
    results = driver.function("work.py:f", [{"x": x} for x in range(3)], policy=Policy(cores=2))
    assert [len(value["cpus"]) for value in driver.values(results)] == [2, 2, 2]


def test_ranks_take_cores_and_share_them_among_their_threads(workplace: Path, no_strays: None) -> None:
    driver = Driver(workplace, slots=4, environ={**os.environ, "PROVRUN_LAUNCHER": "env N={ranks}"})
    try:
        words = (sys.executable, "-c", SHOW)
        (hybrid,) = driver.values(driver.command(*words, policy=Policy(cores=4, ranks=2)))
        (flat,) = driver.values(driver.command(*words, policy=Policy(ranks=3)))
        assert (hybrid["threads"], hybrid["cores"]) == ("2", "4")
        assert (flat["threads"], flat["cores"]) == ("1", "3")
    finally:
        driver.close()


def overlapping(driver: Driver, results: list[Result]) -> bool:
    """Tell whether two tasks had one GPU at the same time."""
    spans: dict[str, list[tuple[int, int]]] = {}
    for result, value in zip(results, driver.values(results), strict=True):
        for gpu in value["gpus"].split(","):
            spans.setdefault(gpu, []).append((result.started, result.started + result.wall))
    return any(b[0] < a[1] - 20_000 for each in spans.values() for a, b in pairwise(sorted(each)))


@pytest.mark.parametrize("kind", ["command", "function"])
def test_each_task_has_gpus_of_its_own_and_others_do_not_wait_for_them(
    workplace: Path, no_strays: None, kind: str
) -> None:
    (workplace / "work.py").write_text(FUNCTION)
    driver = Driver(workplace, slots=4, environ={**os.environ, "PROVRUN_GPUS": "0,GPU-b"})
    recipes = {
        "command": Recipe(kind="command", words=(sys.executable, "-c", SHOW)),
        "function": Recipe(kind="function", function="work.py:f"),
    }
    try:
        assert driver.joined().gpus == 2
        one = driver.map(recipes[kind], policy=Policy(gpus=1))
        plain = driver.map(Recipe(kind="command", words=("true",)))
        driver.start(one, [{"x": x} for x in range(6)])
        driver.start(plain, [{"x": x} for x in range(2)])
        driver.until(lambda: len(driver.results) >= 2)
        assert {result.map for result in driver.results[:2]} == {plain}
        results = [result for result in driver.wait(8) if result.map == one]
        assert {value["gpus"] for value in driver.values(results)} == {"0", "GPU-b"}
        assert not overlapping(driver, results)
        (both,) = driver.values(driver.run(recipes[kind], policy=Policy(gpus=2)))
        assert sorted(both["gpus"].split(",")) == ["0", "GPU-b"]
    finally:
        driver.close()


def test_a_child_that_has_seen_a_gpu_keeps_to_it(workplace: Path, no_strays: None) -> None:
    (workplace / "work.py").write_text(FUNCTION)
    driver = Driver(workplace, slots=2, environ={**os.environ, "PROVRUN_GPUS": "0,1"})
    try:
        values = driver.values(driver.function("work.py:f", [{"x": x} for x in range(8)], policy=Policy(gpus=1)))
        seen: dict[int, set[str]] = {}
        for value in values:
            seen.setdefault(value["pid"], set()).add(value["gpus"])
        assert all(len(gpus) == 1 for gpus in seen.values())
    finally:
        driver.close()


def test_a_task_that_wants_more_gpus_than_the_node_has_says_so(workplace: Path, no_strays: None) -> None:
    driver = Driver(workplace, environ={**os.environ, "PROVRUN_GPUS": "0"})
    try:
        (result,) = driver.command("true", policy=Policy(gpus=2))
        assert (result.outcome, result.error) == (Outcome.LAUNCHER, "it wants 2 GPUs, this node has 1")
    finally:
        driver.close()


def test_an_agent_says_what_its_node_has(driver: Driver) -> None:
    joined = driver.joined()
    assert joined.node == node_name()
    assert joined.memory == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert json.dumps(joined.gpus) == str(len(find_gpus(os.environ)))
