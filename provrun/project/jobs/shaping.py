"""Choose the shape of batch jobs: from what tasks took, what the queue allows and what is left to do."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import msgspec

from provrun.core.choosing import choose
from provrun.core.records import Dependency, MapRecord
from provrun.core.shape import Queue, Shape, Wishes
from provrun.core.states import Outcome, State
from provrun.core.units import format_duration, parse_duration
from provrun.core.workload import Reads, Sample, Work
from provrun.errors import Unavailable
from provrun.launch.limits import LIMITS
from provrun.project.jobs.launching import scheduler_of
from provrun.project.project import Project

N = TypeVar("N", int, float)
SAMPLED = 300  # attempts whose times are looked at
ASSUMED = 60.0  # seconds of a task of which nothing is known
PILOT = 60.0  # seconds that a pilot may take
FIRST = 3_600.0  # seconds that the first job has when nothing is known
ROOM = 1.25  # times the memory that tasks took
LONGEST_FIRST = 10_000
"""Tasks up to which those that took longest before are started first."""


class Chosen(NamedTuple):
    """A shape, and the slots to ask for: None for all that a node has, where nodes come whole or nobody knows more."""

    shape: Shape
    slots: int | None


def shape(
    project: Project, names: Sequence[str], *, scheduler: str, queue: str | None = None, wishes: Wishes | None = None,
    pilot: int = 0,
) -> Chosen:
    """Choose the shape of jobs for these maps and all they build on (all maps if none is named), and say why.

    Where nothing has been measured, so many tasks of a ``pilot`` run here first; without one, the first job is a small
    one. Raises `UsageError` when nothing is left to do or no shape can do what is wished.
    """
    wishes = wishes or Wishes()
    left = works(project, names)
    said: list[str] = []
    if pilot and left and not _known(left):
        said = run_pilot(project, [work.name for work in left if work.ready], pilot)
        left = works(project, names)
    allowed = allowances(project, scheduler, queue)
    found = choose(left, allowed, wishes) if _known(left) else _first(left, allowed, wishes)
    others = len(project.reads.jobs("queued")) + len(project.reads.jobs("running"))
    if others:
        jobs = "1 job is" if others == 1 else f"{others:,} jobs are"
        said.append(f"{jobs} queued or running already; all share what is left, and the figures are without them")
    found = msgspec.structs.replace(found, reasons=(*said, *found.reasons))
    # Some have to be told how many they are, if anybody knows.
    whole = found.slots == allowed.cores and (
        allowed.guessed or (allowed.exclusive and scheduler not in ("pbs", "sge"))
    )
    return Chosen(found, None if whole and wishes.slots is None else found.slots)


def _known(left: Sequence[Work]) -> bool:
    """Tell whether tasks have been measured of anything that could start now."""
    return any(work.durations.measured for work in left if work.ready)


def run_pilot(project: Project, names: Sequence[str], tasks: int) -> list[str]:
    """Run a few tasks here and now, for a minute at most, and say what came of it."""
    from provrun.project.running import run

    slots = min(tasks, len(os.sched_getaffinity(0)))
    summary = run(project, names, slots=slots, until=time.time() + PILOT, enough=tasks)
    said = [f"pilot: {summary.succeeded:,} tasks succeeded here in {format_duration(summary.seconds)}"]
    if summary.failed:
        said.append(f"careful: {summary.failed:,} tasks of the pilot failed, see `provrun why {names[0]}`")
    if not summary.succeeded:
        said.append(f"no task has ended well within {format_duration(PILOT)}, so nothing has been measured")
    return said


def _first(left: Sequence[Work], allowed: Queue, wishes: Wishes) -> Shape:
    """Give a small job whose tasks tell how long they take."""
    if wishes == Wishes():
        longest = max((work.durations.most or 0.0 for work in left), default=0.0)
        limit = max(FIRST, 1.1 * longest)
        limit = min(limit, allowed.most_time) if allowed.most_time else limit
        widest = max((work.nodes for work in left), default=0)
        wishes = Wishes(nodes=max(1, widest), jobs=1, time=limit)
        found = choose(left, allowed, wishes)
        nodes = "one node" if found.nodes == 1 else f"{found.nodes} nodes"
        why = (
            f"no task has been measured yet: {nodes} for {format_duration(limit)} as a start; when some tasks have"
            " ended, `provrun launch` again adds jobs by what they took (or let --pilot run a few here, now)"
        )
        kept = [reason for reason in found.reasons if "as wished" not in reason]
        return msgspec.structs.replace(found, reasons=(why, *kept))
    return choose(left, allowed, wishes)


def works(project: Project, names: Sequence[str]) -> list[Work]:
    """Say what is left to do of these maps and of all they build on, upstream first; paused maps are left out."""
    maps = [map for map in project.registry.select_maps(names) if not map.paused]
    others = project.reads.maps()
    found: dict[str, Work] = {}
    alive: set[str] = set()  # with tasks that may still end, so that others become ready
    for map in maps:
        pending, waiting = map.counts[State.PENDING], map.counts[State.WAITING]
        reads = [one for one in map.dependencies if one.upstream in alive]
        if waiting and not reads and not any(one.upstream == map.name for one in map.dependencies):
            waiting = 0  # for what has failed or been cancelled
        if pending + waiting or map.counts[State.RUNNING]:
            alive.add(map.name)
        if pending + waiting:
            seconds, memory = _measured(project, map, others, pending + waiting)
            found[map.name] = Work(
                name=map.name, tasks=pending + waiting, durations=seconds, cores=_cores(map), memory=memory,
                nodes=map.policy.task_nodes, ready=pending,
                reads=tuple(Reads(one.upstream, "gradual" if _gradual(one) else "all") for one in reads),
            )
    return list(found.values())


def allowances(project: Project, scheduler: str, queue: str | None) -> Queue:
    """Say what a queue allows: as its scheduler says, as far as the configuration does not say less."""
    config = project.config
    here = len(os.sched_getaffinity(0))
    if scheduler == "local":
        found = Queue(name="this host", cores=here, nodes=1)
    elif scheduler not in LIMITS:
        found = Queue(name=queue or "", cores=0)
    else:
        try:
            found = scheduler_of(project, scheduler).allowed(LIMITS[scheduler], queue)
        except Unavailable as error:
            found = Queue(name=queue or "", cores=0, source=f"not known: {error.message.splitlines()[0]}")
    cores = config.number("queue_cores") or found.cores
    if not cores:
        cores, said = here, found.source or "not known"
        said += "" if "not known" in said else ", but not how many cores a node has"
        source = f"{said}; as many cores as here are taken, see provrun config queue_cores"
        found = msgspec.structs.replace(found, source=source, guessed=True)
    return msgspec.structs.replace(
        found, cores=cores, most_nodes=_least(found.most_nodes, config.number("queue_nodes")),
        most_time=_least(found.most_time, parse_duration(config.text("queue_time") or 0)),
        most_jobs=_least(found.most_jobs, config.number("queue_jobs")),
    )


def _least(told: N | None, configured: N) -> N | None:
    return told if not configured else configured if told is None else min(told, configured)


def _gradual(dependency: Dependency) -> bool:
    """Tell whether tasks become ready one by one as tasks of the other map end."""
    return dependency.kind in ("each", "chunk") or bool(dependency.upstream_tasks)


def _cores(map: MapRecord) -> int:
    return 1 if map.policy.task_nodes else map.policy.cores


def _measured(project: Project, map: MapRecord, others: Sequence[MapRecord], left: int) -> tuple[Sample, int]:
    """Say how long tasks of a map take and how much memory: as its own, else as others of the same recipe."""
    policy = map.policy
    same = [map, *(other for other in others if other.recipe_digest == map.recipe_digest and other.id != map.id)]
    took: list[tuple[int, int | None]] = []
    for each in same:
        took = project.reads.measured(each.id, SAMPLED)
        if took:
            break
    memory = policy.task_memory or int(max((rss or 0 for _, rss in took), default=0) * 1024 * ROOM)
    if not took:
        return Sample((policy.task_time / 2 if policy.task_time else ASSUMED,), 0, policy.task_time), memory
    known = left <= LONGEST_FIRST and _all_ran(project, map)
    return Sample.of((wall / 1e6 for wall, _ in took), most=policy.task_time, known=known), memory


def _all_ran(project: Project, map: MapRecord) -> bool:
    """Tell whether every task has run before, as when all are run again."""
    ran = sum(tally.attempts for tally in project.reads.tallies(map.id) if tally.outcome is Outcome.SUCCEEDED)
    return not map.counts[State.SUCCEEDED] and ran >= map.total
