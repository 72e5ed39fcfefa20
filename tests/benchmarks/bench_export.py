"""Publishing: how long and in how little memory a page that commits to a million tasks is written, and checked."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench_query import fill, peak, seconds
from figures import Figure

TOTAL = 1_000_000
ROUNDS = 5


def measure() -> Iterator[Figure]:
    """Export a map of a million tasks with its records, prove one of them, and check page, proof and records."""
    provrun = [sys.executable, "-m", "provrun"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fill(folder, TOTAL)
        for what, options in (("export", []), ("export --leaves", ["--leaves", "leaves.jsonl"])):
            began = time.monotonic()
            memory = peak(folder, [*provrun, "export", "-o", "page.ttl", *options])
            yield Figure(f"{what}, {TOTAL:,} tasks", time.monotonic() - began, "s", at_most=15)
            yield Figure("the same: memory", memory, "MB", at_most=250)
        yield Figure("page of two maps", (folder / "page.ttl").stat().st_size / 1e3, "KB", at_most=60)
        took = seconds(folder, [*provrun, "prove", f"scan/{TOTAL // 2}", "page.ttl", "-o", "proof.json"])
        yield Figure(f"prove, {TOTAL:,} tasks", took, "s")
        check = [*provrun, "verify", "page.ttl", "--member", "proof.json"]
        yield Figure("verify --member", min(seconds(folder, check) for _ in range(ROUNDS)), "s", at_most=0.3)
        began = time.monotonic()
        memory = peak(folder, [*provrun, "verify", "page.ttl", "--leaves", "leaves.jsonl"])
        yield Figure(f"verify --leaves, {TOTAL:,} tasks", time.monotonic() - began, "s")
        yield Figure("the same: memory", memory, "MB", at_most=250)
