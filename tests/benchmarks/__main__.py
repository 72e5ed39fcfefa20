"""Run the benchmarks one after the other and print one table.

Each ``bench_*.py`` beside this file has a function ``measure()`` that yields :class:`figures.Figure` values.
``python tests/benchmarks NAME...`` runs those whose file name contains one of the names. The figures also go to
``build/bench.json``; the exit code is 1 when a bound is missed or a benchmark broke.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from figures import Figure

HERE = Path(__file__).parent
REPORT = HERE.parents[1] / "build" / "bench.json"
HEAD = ("name", "figure", "limit", "ratio", "bound", "verdict")


def number(value: float) -> str:
    """Write a number with three digits that mean something."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def row(figure: Figure) -> tuple[str, ...]:
    """Give the table's row of a figure."""
    limit = "-" if figure.limit is None else f"{number(figure.limit)} ({figure.against})"
    ratio = "-" if figure.ratio is None else f"{figure.ratio:.3g}"
    return (figure.name, f"{number(figure.value)} {figure.unit}", limit, ratio, figure.bound,
            "holds" if figure.holds else "MISSED")


def table(rows: Sequence[tuple[str, ...]]) -> str:
    """Align the rows in columns."""
    widths = [max(map(len, column)) for column in zip(HEAD, *rows, strict=True)]
    lines = [HEAD, tuple("-" * width for width in widths), *rows]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
                     for line in lines)


def run(name: str) -> list[Figure] | None:
    """Run one benchmark and give its figures, or nothing when it broke."""
    started = time.monotonic()
    print(f"{name} ...", file=sys.stderr, end=" ", flush=True)
    try:
        figures = list(importlib.import_module(name).measure())
    except Exception:  # one broken benchmark must not hide the figures of the others
        print("broke", file=sys.stderr)
        traceback.print_exc()
        return None
    print(f"{time.monotonic() - started:.1f} s", file=sys.stderr)
    return figures


def main(wanted: Sequence[str]) -> int:
    """Run the benchmarks wanted, print the table and say whether all bounds hold."""
    names = [path.stem for path in sorted(HERE.glob("bench_*.py"))]
    chosen = [name for name in names if not wanted or any(word in name for word in wanted)]
    if not chosen:
        print(f"no benchmark is called {' or '.join(wanted) or 'bench_*.py'}; there are: {', '.join(names) or 'none'}")
        return 1
    outcomes = [run(name) for name in chosen]
    figures = [figure for outcome in outcomes for figure in outcome or ()]
    print(table([row(figure) for figure in figures]))
    print(f"on {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps([{**asdict(f), "ratio": f.ratio, "holds": f.holds} for f in figures], indent=1))
    return 0 if None not in outcomes and all(figure.holds for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
