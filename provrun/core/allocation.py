"""What an allocation is: what is asked of a scheduler, and what a scheduler says of a job."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

import msgspec


class Stage(StrEnum):
    """Where a scheduler's job stands, in one set of words for all schedulers."""

    QUEUED = "queued"
    HELD = "held"
    RUNNING = "running"
    ENDING = "ending"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    FAILED = "failed"
    TIMEOUT = "timeout"
    PREEMPTED = "preempted"
    NODE_FAIL = "node_fail"
    ENDED = "ended"  # over, and how is not told
    UNKNOWN = "unknown"

    @property
    def final(self) -> bool:
        """Tell whether a job in this stage runs nothing any more and never will; what is unknown is not final."""
        return self in _FINAL


_FINAL = frozenset(
    {Stage.COMPLETED, Stage.CANCELLED, Stage.FAILED, Stage.TIMEOUT, Stage.PREEMPTED, Stage.NODE_FAIL, Stage.ENDED}
)


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of a scheduler: one allocation, with one MPI rank on each node.

    ``slots`` per rank (None: every core of the node, which then is the job's alone), ``time`` in seconds, ``options``
    are written as directives after all others, ``setup`` are lines of shell, ``environ`` is what the script sets.
    ``after`` is the scheduler's id of a job whose end this one waits for, however that ends. ``name``, ``output``,
    ``folder`` and ``command`` are filled in when the job is submitted.
    """

    scheduler: str
    nodes: int = 1
    slots: int | None = None
    time: float | None = None
    queue: str | None = None
    account: str | None = None
    exclude: tuple[str, ...] = ()
    options: tuple[tuple[str, str], ...] = ()
    setup: tuple[str, ...] = ()
    environ: dict[str, str] = {}
    after: str | None = None
    name: str = ""
    output: str = ""
    folder: str = ""
    command: tuple[str, ...] = ()


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What a scheduler says of one job: times in microseconds since the epoch, as far as it tells them.

    ``name`` as the scheduler keeps it, ``ends`` when its time is up.
    """

    stage: Stage
    name: str | None = None
    submitted: int | None = None
    ends: int | None = None
    nodes: str | None = None
    reason: str | None = None


class Verdict(NamedTuple):
    """Whether a job is over, None as long as nobody can know, and the evidence in words.

    ``stage`` and ``ends`` (microseconds since the epoch) are what its scheduler said, if it was asked.
    """

    over: bool | None
    because: str
    stage: Stage | None = None
    ends: int | None = None
