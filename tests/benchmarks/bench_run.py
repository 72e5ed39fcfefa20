"""Running: no-op functions against a bare loop and mpi4py's pool, the first task's start, growing numbers of tasks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from figures import Figure

HERE = Path(__file__).parent
TASKS = 100_000
SIZES = (10_000, 100_000, 1_000_000)
ROUNDS = 3
STARTS = 9


def measure() -> Iterator[Figure]:
    """Measure rates in turns, so that whatever else the machine does falls on all of them."""
    from provrun.run.launcher import find

    launcher = find()
    bare, local, mpi, pool = [], [], [], []
    for _ in range(ROUNDS):
        bare.append(float(_python(HERE / "bare_loop.py", _folder(), TASKS)))
        local.append(Study().run(TASKS, "-j", "2")["tasks_per_second"])
        mpi.append(Study().run(TASKS, "--mpi", "2", "-j", "1")["tasks_per_second"])
        command = launcher.command(3, sys.executable, "-m", "mpi4py.futures", str(HERE / "futures_loop.py"), "5000")
        done = subprocess.run(
            command, check=True, capture_output=True, text=True, env=launcher.environ(os.environ), cwd=_folder()
        )
        pool.append(float(done.stdout))
    yield Figure("run: no-op functions, 2 slots", max(local), "tasks/s", max(bare), "bare loop", at_least=0.3)
    yield Figure("run: no-op functions, 2 slots", max(local), "tasks/s", max(pool), "mpi4py.futures", at_least=6)
    yield Figure("run: no-op functions, 2 MPI ranks", max(mpi), "tasks/s", max(local), "one process tree", at_least=0.8)
    pairs = [(_first_start(), _seconds(sys.executable, "-c", "pass")) for _ in range(STARTS)]
    # Medians: on a busy machine the shorter of the two finds a quiet moment more easily.
    first, python = (median(times) * 1e3 for times in zip(*pairs, strict=True))
    yield Figure("run: first task's start", first, "ms", python, "python -c pass", at_most=15)
    yield from _flat()


def _flat() -> Iterator[Figure]:
    """Measure time, memory and disk per task for growing numbers of tasks."""
    seconds, memory, disk = {}, {}, {}
    for tasks in SIZES:
        study = Study()
        before = study.disk()
        summary = study.run(tasks, "-j", "2")
        seconds[tasks] = summary["seconds"] / tasks
        memory[tasks] = summary["max_rss"]
        disk[tasks] = (study.disk() - before) / tasks
    few, many = SIZES[1], SIZES[2]
    of = f"{few:,} tasks"
    yield Figure(f"run: time per task of {many:,}", seconds[many] * 1e6, "us", seconds[few] * 1e6, of, at_most=1.25)
    yield Figure(f"run: memory with {many:,} tasks", memory[many], "MiB", memory[few], of, at_most=1.25)
    yield Figure(f"run: disk per task of {many:,}", disk[many], "bytes", disk[few], of, at_most=1.1)


class Study:
    """A scratch repository with one function."""

    def __init__(self) -> None:
        self.folder = _folder()
        (self.folder / "noop.py").write_text("def noop(x):\n    return x\n")
        subprocess.run(["git", "init", "--quiet"], cwd=self.folder, check=True)

    def run(self, tasks: int, *words: str) -> dict[str, float]:
        """Submit and run so many tasks; gives the summary, with the largest memory of the manager in MiB."""
        _provrun(self.folder, "submit", "m", "--param", f"x=0:{tasks}", "--function", "noop.py:noop")
        with tempfile.TemporaryFile("w+") as out:
            began = subprocess.Popen(
                [sys.executable, "-m", "provrun", "run", "m", "--json", *words], cwd=self.folder, stdout=out
            )
            peak = 0.0
            # The kernel's own maximum for a child begins with the memory of whoever started it.
            while began.poll() is None:
                peak = max(peak, _peak(began.pid))
                time.sleep(0.02)
            assert began.returncode == 0
            out.seek(0)
            summary: dict[str, float] = json.loads(out.read())
        assert summary["succeeded"] == tasks
        return {**summary, "max_rss": peak}

    def disk(self) -> int:
        """Give the bytes of everything provrun keeps."""
        return sum(path.stat().st_size for path in (self.folder / ".provrun").rglob("*") if path.is_file())


def _first_start() -> float:
    """Give the seconds from the command to the first line of the first task."""
    study = Study()
    _provrun(study.folder, "submit", "m", "--param", "x=0:2", "--", "sh", "-c", "date +%s%N > begun-{x}")
    began = time.time()
    _provrun(study.folder, "run", "m", "-j", "2")
    return min(int(path.read_text()) for path in study.folder.glob("begun-*")) / 1e9 - began


def _seconds(*command: str) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True)
    return time.perf_counter() - began


def _provrun(folder: Path, *words: str) -> None:
    subprocess.run([sys.executable, "-m", "provrun", *words], cwd=folder, check=True, capture_output=True)


def _python(script: Path, *words: object) -> str:
    command = [sys.executable, str(script), *map(str, words)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


_kept: list[tempfile.TemporaryDirectory[str]] = []


def _folder() -> Path:
    """Give a scratch folder that goes when this process ends."""
    _kept.append(tempfile.TemporaryDirectory(prefix="bench-run-"))
    return Path(_kept[-1].name)


def _peak(pid: int) -> float:
    """Give the largest memory of a process so far in MiB, 0 when it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)
