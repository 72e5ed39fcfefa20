"""What a summary of a map is made from: every task with all its ended attempts, as lean structures."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from provrun.core.environment import Tool
from provrun.core.records import Origin
from provrun.core.states import Outcome, State


class Tried(msgspec.Struct, frozen=True, gc=False):
    """One ended attempt; units as in `records.AttemptRecord`."""

    number: int
    context: int
    outcome: Outcome
    started: int | None
    wall: int | None
    detail: int | None
    result_digest: bytes | None
    trail: str | None
    cpu: int | None = None
    max_rss: int | None = None


class Reused(msgspec.Struct, frozen=True, gc=False):
    """A result that an attempt of another map made: what that attempt was, and which."""

    made: Tried
    origin: Origin


class History(msgspec.Struct, frozen=True, gc=False):
    """One task, by its index, and its ended attempts, by number; ``reused`` is the result it has from elsewhere.

    ``shown`` is the attempt that stands for the task: see `shown_of`.
    """

    task: int
    params: str
    state: State
    accepted: int
    upstream: int | None
    attempts: list[Tried]
    shown: Tried | None
    reused: Reused | None = None


def shown_of(attempts: Sequence[Tried], accepted: int) -> Tried | None:
    """Give the attempt that stands for a task: the accepted one, else the ended one of highest number."""
    if len(attempts) > 1:
        for attempt in attempts:
            if attempt.number == accepted:
                return attempt
    return attempts[-1] if attempts else None


class Circumstances(msgspec.Struct, frozen=True, kw_only=True):
    """What attempts shared, by digest in hex; ``inputs`` are those of the shared inputs, in the order of the recipe.

    ``tools`` are the programs from outside the project that they ran.
    """

    job: int
    code: str
    code_after: str | None
    environment: str
    host: str
    inputs: tuple[str, ...] = ()
    tools: tuple[Tool, ...] = ()


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """The use of time and memory of one cohort's attempts: microseconds and KiB; None where nothing was measured.

    Median and 95th percentile are by nearest rank.
    """

    wall_sum: int
    wall_median: int | None
    wall_p95: int | None
    wall_max: int | None
    cpu_sum: int
    max_rss: int | None
