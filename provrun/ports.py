"""What the rooms need from the world, as Protocols; `project` decides who stands behind them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from provrun.core.answers import (
    AcceptanceRecord,
    ContextRecord,
    DependencyRecord,
    FoundArtifact,
    Interned,
    Part,
    Shown,
    SubmissionRecord,
    Tally,
)
from provrun.core.code import CapturedCode
from provrun.core.environment import Environment, Host
from provrun.core.messages import RunMap
from provrun.core.records import (
    Artifact,
    AttemptRecord,
    Claimed,
    Context,
    Ended,
    JobRecord,
    MapRecord,
    Match,
    Origin,
    TakenOver,
)
from provrun.core.sieves import Sieve
from provrun.core.states import State


class Interning(Protocol):
    """Keep each code, environment and host once; an equal one gives the same id."""

    def intern_code(self, captured: CapturedCode, at: int) -> int: ...

    def intern_environment(self, environment: Environment, at: int) -> int: ...

    def intern_host(self, host: Host) -> int: ...

    def intern_uses(self, uses: Mapping[str, object]) -> int: ...

    def intern_inputs(self, inputs: Sequence[tuple[str, str, int]]) -> int: ...

    def intern_context(self, context: Context) -> int: ...

    def intern_contexts(self, contexts: Sequence[Context]) -> list[int]:
        """Keep several at once: every agent of a job has one."""


class Claims(Interning, Protocol):
    """What the manager of a running job asks of the registry; each call is one transaction."""

    def queue_job(self, job: JobRecord) -> int:
        """Enter a job that a scheduler is to start, or more of what is known of it until it has started."""

    def open_job(self, job: JobRecord) -> int:
        """Enter a job, or let the queued one of its uuid run; `Refused` when that was cancelled or has run."""

    def close_job(self, job: int, state: str, reason: str, at: int) -> None: ...

    def select_maps(self, names: Sequence[str], *, submitted: bool = False) -> list[MapRecord]:
        """Give the maps of these names and all they build on (all maps if none is named), upstream first.

        With ``submitted`` also the maps to which tasks of these have submitted, and all those build on.
        """

    def maps_stamp(self) -> object:
        """Give a value that differs when a map has appeared, has grown or is to be run otherwise."""

    def run_map(self, map: int) -> RunMap: ...

    def submitted_code(self, map: int) -> tuple[int, CapturedCode]:
        """Give the code that a map was submitted with last, and its id."""

    def claim(
        self, job: int, maps: Sequence[int], limit: int, above: int | None = None,
        avoid: Sequence[tuple[int, int]] = (),
    ) -> list[Claimed]:
        """Take up to ``limit`` pending tasks: larger priority first, then earlier of these maps, then smaller index.

        Near the end of a map those that took longest in an earlier attempt come first. ``above``: only of larger
        priority; ``avoid``: maps and indices of tasks that are left.
        """

    def record(self, job: int, ended: Sequence[Ended]) -> int:
        """Record ended attempts, move their tasks on, and make ready what waited for them.

        An attempt whose task is no longer held by this job under that number is kept as superseded.
        Returns how many tasks became pending by it.
        """

    def release(self, job: int, tasks: Sequence[tuple[int, int, int]]) -> None:
        """Give back claimed tasks that never started; their attempt numbers are not used up."""

    def take_over(self, map: int, job: int | None, matches: Sequence[Match]) -> TakenOver:
        """Give tasks of a map results that attempts of other maps made, as far as both are as they were found.

        The tasks are pending, or held by the job and not started.
        """

    def held(self, job: int) -> list[tuple[int, int, int]]:
        """Give the tasks a job holds as (map, index, number); whatever else it believes to hold was cancelled."""

    def read_by(self, map: int, index: int) -> list[tuple[MapRecord, Iterator[Shown]]]:
        """Give the maps a claimed task reads many tasks of, each with a stream of these tasks by index."""

    def running_jobs(self) -> list[JobRecord]: ...

    def queued_jobs(self) -> list[JobRecord]: ...

    def abandon(self, job: int, at: int) -> int:
        """Close a job that is over: its running tasks get a lost attempt and are pending again; give their number."""


class Recorder(Protocol):
    """What the manager of a running job asks of those who know code, software and machines."""

    def learn(self, maps: Sequence[MapRecord]) -> None:
        """Learn of maps that have appeared."""

    def capture_code(self, map: int) -> CapturedCode: ...

    def differing(self, map: int, then: CapturedCode, now: CapturedCode) -> set[str] | None:
        """Give the files, beneath the project, in which two versions of a map's code differ; None if unknown."""

    def capture_environment(self, map: int) -> Environment: ...

    def capture_host(self) -> Host: ...


class Reads(Protocol):
    """What `query` asks of the registry; nothing is ever written."""

    def find_map(self, name: str) -> MapRecord | None: ...

    def maps(self) -> list[MapRecord]: ...

    def shown(self, map: int, index: int) -> Shown | None: ...

    def stream(
        self, map: int, *, state: State | None = None, start: int = 0, stop: int | None = None,
        sieve: Sieve | None = None, artifacts: bool = True,
    ) -> Iterator[Shown]:
        """Give tasks with their shown attempts by index that pass a sieve."""

    def picked(self, map: int, indices: Iterable[int], *, artifacts: bool = True) -> Iterator[Shown]: ...

    def attempts(self, map: int, index: int) -> list[AttemptRecord]: ...

    def measured(self, map: int, limit: int) -> list[tuple[int, int | None]]: ...

    def origins(self, map: int, indices: Iterable[int]) -> dict[int, Origin]: ...
    def brought(self, map: int, index: int) -> dict[int, Origin]: ...
    def bearers(self, origin: Origin) -> list[tuple[int, int, int]]: ...

    def reusing(self, map: str, index: int, limit: int) -> list[tuple[int, int]]: ...

    def artifacts(self, map: int, index: int, number: int) -> list[Artifact]: ...

    def with_digest(self, first: bytes, last: bytes, limit: int) -> list[FoundArtifact]: ...

    def with_path(self, path: str, limit: int) -> list[FoundArtifact]: ...

    def with_result(self, first: bytes, last: bytes, limit: int) -> list[tuple[int, int, int]]: ...

    def first_in(self, map: int, state: State, limit: int) -> list[int]: ...

    def ahead(self, map: int, index: int, priority: int, limit: int) -> int: ...

    def holds(self, job: int, map: int) -> bool: ...

    def context(self, id: int) -> ContextRecord: ...

    def contexts(self, ids: Collection[int]) -> dict[int, ContextRecord]: ...

    def contexts_with(self, text: str) -> list[int]: ...

    def tallies(self, map: int | None = None) -> list[Tally]: ...

    def last_environment(self) -> tuple[str, int] | None: ...

    def environment(self, digest: str) -> Environment: ...

    def environments(self) -> list[Interned]: ...

    def code(self, digest: str) -> CapturedCode: ...

    def codes(self) -> list[Interned]: ...

    def host(self, digest: str) -> Host: ...

    @property
    def uuid(self) -> str: ...

    def map_name(self, id: int) -> str: ...

    def digest_of(self, table: str, id: int) -> str: ...

    def jobs(self, state: str | None = None) -> list[JobRecord]: ...

    def acceptances(self) -> list[AcceptanceRecord]: ...

    def accepts(self, acceptance: int, index: int) -> bool: ...

    def count_accepted(self, map: int, context: int, acceptances: Sequence[int]) -> int: ...

    def submissions(self, map: int) -> list[SubmissionRecord]: ...

    def submission_of(self, map: int, index: int) -> SubmissionRecord | None: ...

    def submitted_by(self, map: int, index: int, number: int | None = None) -> list[tuple[int, SubmissionRecord]]: ...

    def submitters(self, map: int) -> list[tuple[int, int]]: ...

    def submitted_maps(self, map: int) -> list[tuple[int, int]]: ...

    def upstreams(self, map: int) -> list[DependencyRecord]: ...

    def downstreams(self, map: int) -> list[DependencyRecord]: ...

    def part(self, map: int, number: int) -> Part | None: ...

    def part_with(self, map: int, ident: str) -> Part | None: ...

    def reading(self, map: int, upstream: int, limit: int) -> list[int]: ...

    def count_reading(self, map: int, upstream: int) -> int: ...

    def trails(self, map: int, tasks: Sequence[tuple[int, int | None]]) -> list[str | None]:
        """Give what the trails (see `records.Claimed`) of tasks (index, upstream) would be if they were claimed now."""

    def states(self, map: int, indices: Iterable[int]) -> dict[int, State]: ...
