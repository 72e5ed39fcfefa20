"""Questions: how soon they are answered as the registry grows, and how fast and in how little memory results come."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from figures import Figure

SMALL, LARGE = 10_000, 1_000_000
ROUNDS = 15
BATCH = 10_000
AT_MOST = {
    "status": 20, "show scan/{last}": 15, "why scan/{last}": 15, "trace scan/{last}": 15, "why stat/0": 15,
    "trace stat/0": 15, "diff scan/0 scan/{last}": 15,
}


def measure() -> Iterator[Figure]:
    """Ask about a map of ten thousand tasks and about one of a million, and write the results of the larger."""
    for total in (SMALL, LARGE):
        with tempfile.TemporaryDirectory() as folder:
            fill(Path(folder), total)
            yield from _answers(Path(folder), total)
            yield from _searches(Path(folder), total)
            if total == LARGE:
                yield from _streams(Path(folder), total)


def fill(folder: Path, total: int) -> None:
    """Make a project with a map whose tasks have all succeeded, and a reduce over it."""
    from provrun.core.canonical import digest_text, encode
    from provrun.core.code import CapturedCode, Code
    from provrun.core.environment import Environment, Host
    from provrun.core.records import Claimed, Context, Dependency, Ended, JobRecord, MapSpec, Recipe
    from provrun.core.states import Outcome, State
    from provrun.project.project import Project

    at = 1_700_000_000_000_000
    (folder / "model.py").write_text("")
    registry = Project.create(folder).registry
    code = registry.intern_code(CapturedCode(Code(kind="git", root="", commit="a" * 40, tree="b" * 40)), at)
    environment = registry.intern_environment(Environment(python="3.12.1", implementation="cpython"), at)
    job = registry.open_job(
        JobRecord(
            uuid="0" * 32, kind="local", state="running", user="u", node="n", slots=2, ranks=1, started=at, owner={}
        )
    )
    used = {"files": {"model.py": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}}
    context = registry.intern_context(
        Context(
            job=job, rank=0, node="n", code=code, environment=environment, uses=registry.intern_uses(used),
            host=registry.intern_host(Host(platform="linux", cpu="x86", cores=2, memory=4)),
        )
    )

    def ended(one: Claimed) -> Ended:
        text = f'{{"energy":-1.5,"gap":0.{one.index}}}'
        return Ended(
            map=one.map, index=one.index, number=one.number, context=context, outcome=Outcome.SUCCEEDED,
            state=State.SUCCEEDED, started=at + 1000 * one.index, wall=1000, cpu=900, max_rss=20_000, result=text,
            result_digest=digest_text("result", text), trail=one.trail,
        )

    for name, points, on in (
        ("scan", total, ()), ("stat", 1, (Dependency(upstream="scan", kind="all"),))
    ):
        spec = MapSpec(
            name=name, recipe=Recipe(kind="command", words=("true",)), workdir=".", own=("x",), dependencies=on
        )
        texts = (encode({"x": x}) for x in range(points))
        map = registry.submit(spec, texts, distinct=True, code=code, environment=environment, at=at).map
        while claimed := registry.claim(job, [map], BATCH):
            registry.record(job, [ended(one) for one in claimed])
    registry.close_job(job, "ended", "", at)
    registry.close()


def _answers(folder: Path, total: int) -> Iterator[Figure]:
    commands = {question: question.format(last=total - 1).split() for question in AT_MOST}
    best = dict.fromkeys(("pass", *commands), 1e9)
    for _ in range(ROUNDS):  # in turns, so that all meet the same machine
        best["pass"] = min(best["pass"], seconds(folder, [sys.executable, "-c", "pass"]))
        for question, words in commands.items():
            best[question] = min(best[question], seconds(folder, [sys.executable, "-m", "provrun", *words]))
    for question, at_most in AT_MOST.items():
        yield Figure(
            f"{question.replace('{last}', 'N')}, {total:,} tasks", best[question] * 1e3, "ms", best["pass"] * 1e3,
            "python -c pass", at_most=at_most,
        )


def _searches(folder: Path, total: int) -> Iterator[Figure]:
    """Search all tasks, against SQLite alone, which looks at each row once."""
    last = total - 1
    for conditions, query in (
        (f"x = {last}", f"select idx from task where instr(params, '\"x\":{last}') > 0"),
        (f"x >= {last}", f"select idx from task where json_extract(params, '$.x') >= {last}"),
        (f"gap = 0.{last}", f"select idx from attempt where instr(result, '\"gap\":0.{last}') > 0"),
        (f"result.gap >= 0.{last}", f"select idx from attempt where json_extract(result, '$.gap') >= 0.{last}"),
        ("exit != 0", "select idx from attempt where coalesce(detail, 0) <> 0"),
        ("stale", "select idx from attempt where context_id > 1000"),
    ):
        command = [sys.executable, "-m", "provrun", "find", conditions]
        best = min(seconds(folder, command, ends=(0, 4)) for _ in range(3))  # 4: nothing fits
        scan = min(_scanned(folder / ".provrun" / "registry.sqlite", query) for _ in range(3))
        yield Figure(f"find {conditions}, {total:,} tasks", best * 1e3, "ms", scan * 1e3, "SQLite alone")


def _scanned(registry: Path, query: str) -> float:
    began = time.perf_counter()
    sqlite3.connect(registry).execute(query).fetchall()
    return time.perf_counter() - began


def _streams(folder: Path, total: int) -> Iterator[Figure]:
    for form in ("jsonl", "csv"):
        began = time.monotonic()
        memory = peak(folder, [sys.executable, "-m", "provrun", "results", "scan", "--format", form])
        took = time.monotonic() - began
        yield Figure(f"results as {form}, {total:,} tasks", total / took, "rows/s")
        yield Figure("the same: memory", memory, "MB", at_most=150)


def seconds(folder: Path, command: list[str], ends: tuple[int, ...] = (0,)) -> float:
    """Give the time a command takes that ends with one of these codes."""
    began = time.perf_counter()
    done = subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    assert done.returncode in ends, done.stderr.decode()
    return time.perf_counter() - began


def peak(folder: Path, command: list[str]) -> float:
    """Give the largest resident size of a command in MB."""
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_maxrss * 1024 / 1e6
