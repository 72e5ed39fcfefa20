"""Whether a task that was run again gave what was recorded: verdicts, tolerance, and how many of each map to draw."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import NamedTuple

from provrun.core.canonical import Blob


class Verdict(StrEnum):
    """What came of running a task again."""

    REPRODUCED = "reproduced"
    CLOSE = "within tolerance"
    DIFFERS = "differs"
    FAILED = "failed"
    NOTHING = "nothing to compare"
    NOT_RUN = "could not be run"


WRONG = frozenset({Verdict.DIFFERS, Verdict.FAILED})
"""Verdicts that say that something is wrong."""


class Judged(NamedTuple):
    """The verdict on a task, and in words why; ``recorded`` and ``found`` are digests of its result."""

    task: str
    verdict: Verdict
    why: str = ""
    recorded: str | None = None
    found: str | None = None


def is_close(
    recorded: object, found: object, rtol: float, blobs: Callable[[Blob, Blob], bool] = lambda a, b: False
) -> bool:
    """Tell whether two values are equal but for floats that differ by ``rtol`` of the recorded one at most.

    Everything else must be the same, kinds of numbers included: 1 and 1.0 are two values. ``blobs`` compares content
    that is kept elsewhere and is not the same.
    """
    if isinstance(recorded, Blob) and isinstance(found, Blob):
        return recorded == found or blobs(recorded, found)
    if isinstance(recorded, Blob) or isinstance(found, Blob):
        return False
    if isinstance(recorded, float) and isinstance(found, float):
        if math.isnan(recorded) or math.isnan(found):
            return math.isnan(recorded) and math.isnan(found)
        return recorded == found or abs(recorded - found) <= rtol * abs(recorded)
    if isinstance(recorded, dict) and isinstance(found, dict):
        return recorded.keys() == found.keys() and all(
            is_close(recorded[key], found[key], rtol, blobs) for key in recorded
        )
    if isinstance(recorded, list) and isinstance(found, list):
        return len(recorded) == len(found) and all(
            is_close(one, other, rtol, blobs) for one, other in zip(recorded, found, strict=True)
        )
    return type(recorded) is type(found) and recorded == found


def shares(counts: Mapping[str, int], wanted: int) -> dict[str, int]:
    """Share out a sample over maps in proportion to their tasks: to each at least one where there are enough."""
    total = sum(counts.values())
    wanted = min(wanted, total)
    there = [name for name in counts if counts[name]]
    given = {name: 1 if wanted >= len(there) and counts[name] else 0 for name in counts}
    while sum(given.values()) < wanted:
        # The one that is furthest behind its share; of equals the first.
        open_ones = [name for name in there if given[name] < counts[name]]
        given[max(open_ones, key=lambda name: counts[name] * wanted / total - given[name])] += 1
    return given
