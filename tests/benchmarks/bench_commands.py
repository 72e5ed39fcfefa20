"""Commands: ``/bin/true`` in two slots, beside bare loops that start processes and tools that do little else."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from figures import Figure

TASKS = 3000
ROUNDS = 3
SLOTS = 2

# What every tool has to do: start a process whose output is caught, and wait for it. Two of these loops run at once.
BARE = """
import os, sys
nothing = os.open(os.devnull, os.O_RDONLY)
environment = dict(os.environ)
for _ in range(int(sys.argv[1])):
    read, write = os.pipe()
    actions = [(os.POSIX_SPAWN_DUP2, nothing, 0), (os.POSIX_SPAWN_DUP2, write, 1), (os.POSIX_SPAWN_DUP2, write, 2)]
    pid = os.posix_spawn("/bin/true", ["true"], environment, file_actions=actions)
    os.close(write)
    while os.read(read, 65536):
        pass
    os.close(read)
    os.wait4(pid, 0)
"""


def measure() -> Iterator[Figure]:
    """Measure tasks per second, all tools in turns, and give the best round of each."""
    tools: dict[str, Callable[[], None]] = {"bare loops": bare, "xargs -P2": xargs}
    if shutil.which("parallel"):
        tools["GNU parallel"] = parallel
    best = dict.fromkeys((*tools, "agent", "agent, output", "run"), 0.0)
    with tempfile.TemporaryDirectory() as folder:
        agent = Bench(Path(folder))
        project = Runs(Path(folder) / "runs")
        for _ in range(ROUNDS):
            for name, tool in tools.items():
                best[name] = max(best[name], TASKS / seconds(tool))
            best["agent"] = max(best["agent"], agent.rate(("/bin/true",)))
            best["agent, output"] = max(best["agent, output"], agent.rate(("/bin/echo", "{x}")))
            best["run"] = max(best["run"], project.rate())
        agent.close()
    limit = best["bare loops"]
    yield Figure("/bin/true, agent alone", best["agent"], "tasks/s", limit, "two bare loops", at_least=0.6)
    yield Figure(
        "/bin/echo, agent alone, output in the pack", best["agent, output"], "tasks/s", limit, "two bare loops"
    )
    yield Figure("/bin/true, provrun run -j2", best["run"], "tasks/s", limit, "two bare loops", at_least=0.6)
    yield Figure("the same", best["run"], "tasks/s", best["xargs -P2"], "xargs -P2", at_least=1)
    if "GNU parallel" in best:
        yield Figure("the same", best["run"], "tasks/s", best["GNU parallel"], "GNU parallel -j2", at_least=4)
    yield from _starts()


def _starts() -> Iterator[Figure]:
    """Measure how long it takes until an agent has ended its first task."""
    with tempfile.TemporaryDirectory() as folder:
        times = []
        for _ in range(7):
            begun = time.perf_counter()
            agent = Bench(Path(folder))
            agent.run(("/bin/true",), 1)
            times.append(time.perf_counter() - begun)
            agent.close()
    python = min(seconds(lambda: subprocess.run([sys.executable, "-c", "pass"], check=True)) for _ in range(7))
    yield Figure("agent's start to its first task's end", min(times) * 1e3, "ms", python * 1e3, "python -c pass")


class Bench:
    """An agent without a manager."""

    def __init__(self, folder: Path) -> None:
        from provrun.run.agent import Agent

        self._agent = Agent.start(slots=SLOTS, project=folder, job="bench", rank=0, environ=os.environ)
        self._maps = 0

    def rate(self, words: tuple[str, ...]) -> float:
        """Run tasks and give their number per second."""
        return TASKS / seconds(lambda: self.run(words, TASKS))

    def run(self, words: tuple[str, ...], tasks: int) -> None:
        """Run tasks of a command to their end."""
        from provrun.core.messages import Results, RunMap, Start, Tasks
        from provrun.core.records import Policy, Recipe

        self._maps += 1
        recipe = Recipe(kind="command", words=words)
        self._agent.send(RunMap(self._maps, "m", recipe, bytes(32), Policy(), ".", ("x",), (), ()))
        self._agent.send(Tasks([Start(self._maps, x, 1, f'{{"x":{x}}}', None, None, None) for x in range(tasks)]))
        ended = 0
        while ended < tasks:
            select.select([self._agent], [self._agent] if self._agent.wants_write else [], [])
            for message in self._agent.pump():
                if isinstance(message, Results):
                    ended += len(message.results)

    def close(self) -> None:
        """End the agent."""
        self._agent.close()


class Runs:
    """A project in which ``provrun run`` is called."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self._maps = 0
        self._call("init", ".")

    def rate(self) -> float:
        """Submit and run a map, and give its tasks per second of the run alone, its start included."""
        self._maps += 1
        self._call("submit", f"m{self._maps}", "--param", f"x=0:{TASKS}", "--", "/bin/true")
        return TASKS / seconds(lambda: self._call("run", f"m{self._maps}", "-j", str(SLOTS)))

    def _call(self, *words: str) -> None:
        provrun = [sys.executable, "-c", "from provrun.cli.main import main; main()"]
        subprocess.run([*provrun, *words], cwd=self._folder, check=True, capture_output=True)


def bare() -> None:
    """Start processes from two loops."""
    loops = [subprocess.Popen([sys.executable, "-S", "-c", BARE, str(TASKS // 2)]) for _ in range(SLOTS)]
    for loop in loops:
        loop.wait()


def xargs() -> None:
    """Start processes by xargs, which records nothing."""
    lines = "".join(f"{x}\n" for x in range(TASKS))
    subprocess.run(["xargs", "-P2", "-n1", "/bin/true"], input=lines, text=True, check=True)


def parallel() -> None:
    """Start processes by GNU parallel, which catches output."""
    lines = "".join(f"{x}\n" for x in range(TASKS))
    subprocess.run(["parallel", "-j2", "/bin/true"], input=lines, text=True, check=True)


def seconds(work: Callable[[], object]) -> float:
    """Time some work."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun
