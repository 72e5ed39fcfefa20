"""Shapes: what was foreseen against what came of it, for real runs of sleeping tasks of many kinds."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

from figures import Figure

sys.path.insert(0, str(Path(__file__).parents[1]))

CORES = 48  # more than there are: sleeping costs none
TASKS = 900
MEAN = 0.6
DRAWS = 3  # of durations, each with a pilot of its own


def measure() -> Iterator[Figure]:
    """Measure a pilot of each family, let the shape be chosen, run the rest in it; three times each."""
    from fixtures.shaped import FAMILIES, PILOT, compare, naps

    for family in FAMILIES:
        found = []
        for draw in range(DRAWS):
            with tempfile.TemporaryDirectory() as folder:
                seconds, pilot = naps(family, TASKS, MEAN, draw), naps(family, PILOT, MEAN, 100 + draw)
                found.append(compare(Path(folder), seconds, pilot, CORES))
        slots = ", ".join(str(each.shape.slots) for each in found)
        foreseen = 100 * fmean(each.shape.tail_idle for each in found)
        yield Figure(
            f"{TASKS} naps, {family}, on {slots} slots: makespan", fmean(each.makespan for each in found), "s",
            fmean(each.shape.makespan for each in found), "foreseen", at_least=0.85, at_most=1.15,
        )
        yield Figure(
            f"the same: idle at the end ({foreseen:.1f} % foreseen)", 100 * fmean(each.tail_idle for each in found),
            "%", at_most=10,
        )
