"""Dispatching: a manager with 12,288 emulated slots, and weak scaling of real tasks against the greedy bound."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from figures import Figure

EMULATION = Path(__file__).parents[1] / "fixtures" / "emulated_agents.py"
AGENTS, SLOTS, SECONDS, TURNS = 512, 24, 1.0, 10
ROUNDS = 3


def measure() -> Iterator[Figure]:
    """Measure."""
    yield from _many_slots()


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
