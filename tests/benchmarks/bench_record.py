"""What it costs to say which code and which software there is."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from figures import Figure

FILES = 100_000
ROUNDS = 5


def measure() -> Iterator[Figure]:
    """Measure captures of a large and of a small repository, and of the software."""
    with tempfile.TemporaryDirectory() as folder:
        yield from _repositories(Path(folder))
    yield from _software()


def _repositories(folder: Path) -> Iterator[Figure]:
    from provrun.record.git import capture

    small, large = folder / "small", folder / "large"
    make_repository(small, 20)
    make_repository(large, FILES)
    capture(small)  # imports GitPython
    bare = best(lambda: subprocess.run([sys.executable, "-c", "pass"], check=True)) * 1e3
    yield Figure("capture 20 files", best(lambda: capture(small)) * 1e3, "ms", bare, "python -c pass", at_most=5)
    yield from _compare("capture 10^5 files", large, lambda: capture(large), 2)
    (large / "0" / "0.py").write_text("edited = True\n")
    (large / "new.py").write_text("new = True\n")
    yield from _compare("capture 10^5 files, two changed", large, lambda: capture(large), 2)
    (large / ".gitattributes").write_text("* text=auto\n")
    # Line ends may hide changes from git, so sizes are compared for every file.
    yield from _compare("capture 10^5 files that git converts", large, lambda: capture(large), 8)


def _compare(name: str, repository: Path, work: Callable[[], object], at_most: float) -> Iterator[Figure]:
    """Give the time of some work beside that of ``git status``, the two in turns."""
    status = ["git", "-C", str(repository), "status", "--porcelain"]
    pairs = [(best(work, 1), best(lambda: subprocess.run(status, check=True, capture_output=True), 1))
             for _ in range(ROUNDS)]  # fmt: skip
    ours, limit = (min(times) * 1e3 for times in zip(*pairs, strict=True))
    yield Figure(name, ours, "ms", limit, "git status", at_most=at_most)


def _software() -> Iterator[Figure]:
    from provrun.record.environment import capture_environment

    packages = len(capture_environment().packages)
    yield Figure(f"list {packages} packages", best(capture_environment) * 1e3, "ms", at_most=30)
    bare = best(lambda: subprocess.run([sys.executable, "-c", "pass"], check=True))
    for module in ("provrun.record.git", "provrun.record.environment"):
        took = best(lambda module=module: subprocess.run([sys.executable, "-c", f"import {module}"], check=True))
        yield Figure(f"import {module}", took * 1e3, "ms", bare * 1e3, "python -c pass", at_most=8)


def best(work: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Give the seconds of the quickest of several rounds."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def make_repository(folder: Path, files: int) -> None:
    """Make a repository of as many small files, 500 in a folder, that git has looked at."""
    for number in range(files):
        place = folder / str(number // 500)
        if number % 500 == 0:
            place.mkdir(parents=True)
        (place / f"{number % 500}.py").write_text(f"number = {number}\n" * (1 + number % 20))
    commit = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "gc.auto=0", "commit", "-qm", "All"]
    for words in (["init", "--quiet"], ["add", "--all"], commit, ["gc", "--quiet"]):
        subprocess.run(["git", "-C", str(folder), *words], check=True, stdout=subprocess.DEVNULL)
    time.sleep(0.1)
    subprocess.run(["git", "-C", str(folder), "status"], check=True, stdout=subprocess.DEVNULL)
