"""What can happen to a running job, and what its dispatcher answers."""

from __future__ import annotations

import msgspec

from provrun.core.messages import Key, Result
from provrun.core.records import Claimed, Ended, Limits, Policy
from provrun.core.states import Outcome, State

Verdict = tuple[Claimed, Result, State, int, Limits | None]
"""An ended attempt and what becomes of its task: its next state, its count of own failures, its own limits.

A plain tuple because there is one for every task.
"""


class AgentJoined(msgspec.Struct, frozen=True):
    """An agent is there and takes tasks; ``agent`` is a number that no other agent of the job has ever had.

    ``memory`` is that of its node in bytes (0: not known).
    """

    agent: int
    slots: int
    node: str = ""
    gpus: int = 0
    memory: int = 0


class TasksClaimed(msgspec.Struct, frozen=True):
    """The registry answered a `Claim`; fewer tasks than asked for mean that there are no more now."""

    tasks: list[Claimed]


class ResultsCame(msgspec.Struct, frozen=True):
    """Attempts ended on an agent."""

    agent: int
    results: list[Result]


class TasksReturned(msgspec.Struct, frozen=True):
    """An agent gave back tasks: unstarted ones, or started ones that it was told to stop.

    ``recalled``: it answers a `RecallTasks`.
    """

    agent: int
    tasks: list[Key]
    started: bool
    recalled: bool = False


class AgentAbsent(msgspec.Struct, frozen=True):
    """One of the agents that were waited for will not join."""


class AgentLost(msgspec.Struct, frozen=True):
    """An agent died with all it was running."""

    agent: int


class TasksRevoked(msgspec.Struct, frozen=True):
    """Somebody cancelled tasks that this job holds."""

    tasks: list[Key]


class DrainWanted(msgspec.Struct, frozen=True):
    """Start nothing more, let running tasks end."""

    reason: str


class StopWanted(msgspec.Struct, frozen=True):
    """Give back what is running, too."""

    reason: str


class Recorded(msgspec.Struct, frozen=True):
    """The registry holds so many more ended attempts; by them so many tasks have become pending."""

    attempts: int
    promoted: int


class MapsSeen(msgspec.Struct, frozen=True):
    """Maps have appeared, or their policies have changed; what has begun keeps the policy it began under."""

    policies: dict[int, Policy]


class Tick(msgspec.Struct, frozen=True):
    """Time passes: ``now`` in seconds of any clock that only grows."""

    now: float


Event = (
    AgentJoined
    | TasksClaimed
    | ResultsCame
    | TasksReturned
    | AgentAbsent
    | AgentLost
    | TasksRevoked
    | DrainWanted
    | StopWanted
    | Recorded
    | MapsSeen
    | Tick
)


class Claim(msgspec.Struct, frozen=True):
    """Take up to ``limit`` tasks of these maps from the registry, after looking for maps that have appeared.

    ``above`` restricts it to larger priorities. Tasks that the job cannot run are left: ``avoid`` are their maps and
    indices.
    """

    limit: int
    maps: tuple[int, ...]
    above: int | None = None
    avoid: tuple[tuple[int, int], ...] = ()


class Send(msgspec.Struct, frozen=True):
    """Hand tasks to an agent; ``hosts`` are the nodes of a task of several nodes."""

    agent: int
    tasks: list[Claimed]
    hosts: tuple[str, ...] = ()


class Record(msgspec.Struct, frozen=True):
    """Keep what became of attempts that this agent ended."""

    agent: int
    verdicts: list[Verdict]


class Release(msgspec.Struct, frozen=True):
    """Give claimed tasks that never started back to the registry."""

    tasks: list[Key]


class StopAgent(msgspec.Struct, frozen=True):
    """Let an agent start nothing more; ``now`` ends what it runs, too."""

    agent: int
    now: bool


class WarnAgent(msgspec.Struct, frozen=True):
    """Tell an agent that the allocation ends in so many seconds."""

    agent: int
    seconds: float


class KillTasks(msgspec.Struct, frozen=True):
    """Let an agent end these attempts as cancelled."""

    agent: int
    tasks: list[Key]


class RecallTasks(msgspec.Struct, frozen=True):
    """Ask an agent to give back so many of these tasks, the first ones that it has not started, for others to run."""

    agent: int
    tasks: list[Key]
    most: int


class Left(msgspec.Struct, frozen=True):
    """Tasks that a job did not run and left pending: one of a map, or (``index`` None) those of a map; and why.

    ``late``: only because its time was over.
    """

    map: int
    index: int | None
    why: str
    late: bool = False


class Finish(msgspec.Struct, frozen=True):
    """Nothing is left to do; ``reason`` is empty when no task is left that could run."""

    reason: str


Instruction = Claim | Send | Record | Release | StopAgent | WarnAgent | KillTasks | RecallTasks | Finish

_OUTCOMES = tuple(Outcome)


def ended_as(verdict: Verdict, context: int) -> Ended:
    """Make the record of an ended attempt; ``context`` are its circumstances."""
    task, result, state, fails, limits = verdict
    started = result.started or None
    wall = result.wall if started or result.wall else None
    # By position: there is one for every task, and names cost five times as much.
    return Ended(
        result.map, result.index, result.number, context, _OUTCOMES[result.outcome], state, started,
        wall, result.cpu, result.max_rss, result.rss_shared, result.detail, result.error,
        result.result, result.result_digest, result.log, task.trail, fails, limits,
        tuple(result.artifacts) if result.artifacts else (),
    )  # fmt: skip
