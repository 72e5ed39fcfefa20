"""The shape of batch jobs: what limits it, what is wished of it, and what it is."""

from __future__ import annotations

import math

import msgspec

TAIL = 0.10
"""The part of the time that jobs hold their slots for which these may be idle at the end."""

_M, _H, _D = 60.0, 3_600.0, 86_400.0
_ROUND = (
    *(minutes * _M for minutes in (5, 10, 15, 20, 30, 45, 60, 90, 120, 150)),
    *(hours * _H for hours in (3, 4, 5, 6, 8, 10, 12, 14, 16, 20, 24, 36, 48)),
)


class Queue(msgspec.Struct, frozen=True, kw_only=True):
    """What a scheduler's queue allows, as far as is known; ``source`` says who says so, in words.

    ``cores`` and ``memory`` (bytes) are those of a node, ``nodes`` those of the queue; ``exclusive``: jobs get whole
    nodes; ``guessed``: nobody has told how many cores a node has. ``most_nodes`` per job, ``most_time`` seconds per
    job, ``most_jobs`` and ``most_cores`` per user.
    """

    name: str = ""
    cores: int = 1
    memory: int | None = None
    nodes: int | None = None
    exclusive: bool = False
    most_nodes: int | None = None
    most_time: float | None = None
    most_jobs: int | None = None
    most_cores: int | None = None
    guessed: bool = False
    source: str = ""


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """What the user has fixed: nodes per job, slots per node, seconds per job, jobs; ``area`` in core-hours in all."""

    nodes: int | None = None
    slots: int | None = None
    time: float | None = None
    jobs: int | None = None
    area: float | None = None


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """``jobs`` jobs of ``nodes`` nodes with ``slots`` slots for ``time`` seconds, what comes of it, and why.

    ``rounds`` is how often each job is followed by another until all is done, itself included; ``done`` the part of the
    work that is done then. ``core_hours`` is what is asked for in one round, ``used_core_hours`` what will be held in
    all; ``makespan`` seconds run in all. ``tail_bound`` is the tail idle that the longest task forces on so many slots.
    """

    nodes: int
    slots: int
    time: float
    jobs: int
    makespan: float
    utilisation: float
    tail_idle: float
    tail_bound: float
    core_hours: float
    used_core_hours: float
    rounds: int = 1
    done: float = 1.0
    good: bool = True
    reasons: tuple[str, ...] = ()

    def document(self) -> dict[str, object]:
        """Give the shape for JSON."""
        document = msgspec.structs.asdict(self)
        return {**document, "reasons": list(self.reasons)}


def rounded(seconds: float) -> float:
    """Round a time up as people and schedulers like it."""
    for each in _ROUND:
        if seconds <= each:
            return each
    return math.ceil(seconds / _D) * _D
