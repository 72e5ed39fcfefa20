"""Dispatching: a manager with 12,288 emulated slots, and weak scaling of real tasks against the greedy bound."""

from __future__ import annotations

import heapq
import json
import random
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from figures import Figure

EMULATION = Path(__file__).parents[1] / "fixtures" / "emulated_agents.py"
AGENTS, SLOTS, SECONDS, TURNS = 512, 24, 1.0, 10
ROUNDS = 3
# Ranks, slots of each, mean seconds (where the talk has thirty), and the shares of the greedy bound to be reached: by a
# first run, and by one that knows how long each task takes. Two cores need some of ten seconds to start 128 processes.
SHAPES = (
    (1, 8, 1.0, 0.97, 1.0), (1, 32, 1.0, 0.97, 1.0), (1, 64, 1.0, 0.97, 1.0), (4, 16, 1.0, 0.97, 1.0),
    (1, 128, 1.0, 0.95, 0.95), (8, 16, 1.0, 0.95, 0.95), (1, 128, 3.0, 0.95, 1.0), (8, 16, 3.0, 0.95, 1.0),
)  # fmt: skip
TASKS = 10  # for each slot, as in the talk
SPREAD = 0.1
SUBMIT = ("submit", "m", "--params", "p.jsonl", "--function", "nap.py:nap")


def measure() -> Iterator[Figure]:
    """Measure."""
    yield from _weak_scaling()
    yield from _many_slots()


def _weak_scaling() -> Iterator[Figure]:
    """Run ten sleeping tasks a slot, and again when it is known how long each takes."""
    for ranks, slots, mean, least, known in SHAPES:
        rounds = [_sleep(ranks, slots, mean) for _ in range(2)]
        first, again, greedy = (max(values) for values in zip(*rounds, strict=True))
        what = f"dispatch: {ranks} x {slots} slots, {TASKS} tasks of {mean:g} s a slot"
        # All against the same ideal, in which every slot is busy to the end.
        yield Figure(what, first, "of ideal", greedy, "greedy, in list order", at_least=least)
        yield Figure(f"{what}, known", again, "of ideal", greedy, "greedy, in list order", at_least=known)


def _sleep(ranks: int, slots: int, mean: float) -> tuple[float, float, float]:
    """Give what a first run, a second one, and the greedy bound reach of the ideal."""
    chance = random.Random(ranks * slots)
    seconds = [mean * chance.uniform(1 - SPREAD, 1 + SPREAD) for _ in range(TASKS * ranks * slots)]
    ideal = sum(seconds) / (ranks * slots)
    with tempfile.TemporaryDirectory(prefix="bench-dispatch-") as name:
        folder = Path(name)
        subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
        (folder / "nap.py").write_text("import time\n\n\ndef nap(x):\n    time.sleep(x)\n")
        (folder / "p.jsonl").write_text("".join(json.dumps({"x": x}) + "\n" for x in seconds))
        words = ["run", "m", *(("--mpi", str(ranks)) if ranks > 1 else ()), "-j", str(slots)]
        reached = []
        for number, before in enumerate((SUBMIT, ("rerun", "m", "--force")), 1):
            for command in (before, words):
                subprocess.run([sys.executable, "-m", "provrun", *command], cwd=folder, check=True, capture_output=True)
            reached.append(ideal / _span(folder / ".provrun" / "registry.sqlite", number))
    return reached[0], reached[1], ideal / _greedy(seconds, ranks * slots)


def _span(registry: Path, number: int) -> float:
    """Give the seconds from the first start to the last end of the attempts of a number."""
    rows = sqlite3.connect(registry).execute("select started, wall from attempt where number=?", (number,)).fetchall()
    return float(max(started + wall for started, wall in rows) - min(started for started, _ in rows)) / 1e6


def _greedy(seconds: Sequence[float], slots: int) -> float:
    """Give when the last task ends if each goes to the slot that is free first, at no cost."""
    free = [0.0] * slots
    for each in seconds:
        heapq.heapreplace(free, free[0] + each)
    return max(free)


def _many_slots() -> Iterator[Figure]:
    """Feed a manager as many slots as the talk on weak scaling had; of some rounds the least disturbed counts."""
    figures = min((_emulate() for _ in range(ROUNDS)), key=lambda figures: figures["p99"])
    what = f"dispatch: {AGENTS} agents x {SLOTS} slots"
    # A task takes a second on average; what is missing is the time that slots wait for the next one.
    ideal = AGENTS * SLOTS / SECONDS
    yield Figure(f"{what}, one-second tasks", figures["rate"], "tasks/s", ideal, "no slot ever waiting", at_least=0.93)
    yield Figure(f"{what}, 99 of 100 slots wait less than", figures["p99"] * 1e3, "ms", at_most=50)
    yield Figure(f"{what}, half of them less than", figures["p50"] * 1e3, "ms")
    yield Figure(f"{what}, manager's share of a core", figures["of_a_core"], "", at_most=0.8)


def _emulate() -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="bench-dispatch-") as folder:
        subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
        words = [folder, *map(str, (AGENTS, SLOTS, SECONDS, TURNS))]
        done = subprocess.run([sys.executable, EMULATION, *words], check=True, capture_output=True, text=True)
        figures: dict[str, float] = json.loads(done.stdout)
        return figures
