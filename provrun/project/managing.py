"""Manage a job: from the first look at the registry to the summary."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from functools import partial
from signal import SIGINT
from typing import TYPE_CHECKING, Literal

from provrun.core.dispatcher import WALLTIME, Dispatcher
from provrun.core.events import Left as LeftTasks
from provrun.core.records import JobRecord
from provrun.core.states import State
from provrun.errors import LogEnded, StorageFailed
from provrun.launch.commands import Scheduler
from provrun.launch.dialects import named
from provrun.launch.inside import allocation, ends
from provrun.project.checkpoints import forget
from provrun.project.flowing import RowFiles
from provrun.project.jobs.marks import folder, is_cancelled, take_cancelled
from provrun.project.logs import heal, open_for_run
from provrun.project.outboxes import waiting
from provrun.project.pinning import pin_again
from provrun.project.project import Project
from provrun.project.recorder import MapRecorder
from provrun.project.recovering import describe, recover
from provrun.project.reusing import Reusable, reuse
from provrun.project.running import LEFT, RunSummary, Setting, Show
from provrun.project.submitter import user_name
from provrun.run.control import Line
from provrun.run.interrupts import INTERRUPTED, Person
from provrun.run.job import Ownership
from provrun.run.keeper import Broken, Close, Keeper, Leave, Told, raised
from provrun.run.links import Local, Remote
from provrun.run.manager import Left, Manager
from provrun.run.node import node_name
from provrun.run.progress import Progress

if TYPE_CHECKING:
    from provrun.core.records import MapRecord

FAILED = 3
STOPPED = 75
CANCELLED = "cancelled"  # by `job cancel`, as the registry says it
NAMED = 3  # tasks that are left for one reason of which it tells by name
MOST_SAID = 5  # such lines
_ANSWER = 10.0  # seconds that a scheduler may take to say when somebody's own allocation ends
_OPENINGS = 5  # times that the log may be closed by the last job of before while this one begins
LEAVING = 2.0  # seconds that leaving at once may take to write down what is there
SIGNALLED = 128  # and the number of the signal


def manage(
    project: Project,
    setting: Setting,
    local: Local,
    person: Person,
    show: Show,
    remote: Remote | None = None,
    library: str | None = None,
) -> RunSummary:
    """Be the manager of a job whose agents are there; ``library`` is the MPI library that joins them."""
    for _ in range(_OPENINGS):
        try:
            return _manage(project, setting, local, person, show, remote, library)
        except LogEnded:
            continue
    return _manage(project, setting, local, person, show, remote, library)


def _manage(
    project: Project, setting: Setting, local: Local, person: Person, show: Show, remote: Remote | None,
    library: str | None,
) -> RunSummary:
    open_for_run(project)
    with Ownership(project.dir, setting.uuid) as owner:
        for line in (*heal(project), *describe(recover(project))):
            show.tell(line)
        registry = project.registry
        everything = registry.select_maps(())
        maps = registry.select_maps(setting.names, submitted=True) if setting.names else everything
        pin_again(project, maps)
        reused = 0
        if any(map.policy.reuse and map.counts[State.PENDING] for map in maps):
            reused = sum(reuse(project, maps).values())
            maps = registry.select_maps(setting.names, submitted=True)
        progress = Progress(left=_left(maps) + reused, reused=reused)
        if not any(map.counts[State.PENDING] for map in maps):
            code, reason = _left_over(project, setting)
            return RunSummary(reused=reused, exit=code, reason=reason)
        ranks = remote.ranks if remote else 1
        patient = waiting(project, setting.uuid)
        job = (patient or registry).open_job(
            JobRecord(
                uuid=setting.uuid, kind=_kind(setting, remote), state="running", user=user_name(),
                node=node_name(), slots=setting.slots, ranks=ranks, started=time.time_ns() // 1000,
                owner={**allocation(os.environ), **setting.owner, **owner.record},
            )
        )
        rows = RowFiles(project, setting.uuid)
        keeper = Keeper(
            patient or registry, job, setting.names, maps, MapRecorder(project, maps, everything, library),
            rows if patient is None else lambda task: patient.ask(lambda: rows(task)), partial(forget, project),
            Reusable(project, patient.ask if patient is not None else lambda call: call()),
        )
        if patient is not None:
            patient.tell = keeper.tell
        most = setting.max_fails.of(sum(map.total for map in maps)) if setting.max_fails else None
        dispatcher = Dispatcher(
            {map.id: map.policy for map in maps}, max_fails=most, agents=ranks, deadline=_deadline(project, setting)
        )
        manager = Manager(
            dispatcher, keeper, local, remote=remote, person=person, progress=progress,
            watch=show.watch, tell=show.tell, suspect=person.suspect if isinstance(person, Line) else None,
        )
        keeper.start()
        try:
            reason = manager.run()
            why = CANCELLED if reason == INTERRUPTED and _is_cancelled(project, setting) else reason
            keeper.order(Close("ended", "; ".join(filter(None, (why, *_named(dispatcher.left(), manager.names))))))
            keeper.join()
            _hear_last(keeper, show)
        except Left:
            keeper.order(Leave())
            keeper.join(LEAVING)
            return _summary(progress, job, LEFT, SIGNALLED + (person.number or SIGINT), progress.noresult)
        finally:
            rows.remove()
        code = STOPPED
        if patient is not None and patient.away:
            show.tell(
                f"the database is still away: what tasks gave is kept in {patient.place}, and the next provrun run or"
                " recover records it"
            )
            code = SIGNALLED + person.number if person.number else STOPPED
            return _summary(progress, job, reason or "the database is away", code, 0)
        if reason in ("", WALLTIME):
            code, why = _left_over(project, setting, dispatcher.left(), late=reason == WALLTIME)
            reason = "; ".join(filter(None, (reason if why else "", why)))
        if manager.io:
            code = StorageFailed.exit
        if person.number:
            code = SIGNALLED + person.number
        noresult = _noresult(project, setting, job) if progress.noresult else 0
        return _summary(progress, job, reason, code, noresult)


def _is_cancelled(project: Project, setting: Setting) -> bool:
    """Tell whether it was `provrun job cancel` that told the job to end."""
    chain = setting.owner.get("chain")
    return take_cancelled(project, setting.uuid) if chain is None else is_cancelled(project, str(chain))


def _hear_last(keeper: Keeper, show: Show) -> None:
    """Hear what came up when the job was closed; raise what failed then."""
    for answer in keeper.answers():
        if isinstance(answer, Told):
            show.tell(answer.text)
        elif isinstance(answer, Broken):
            raise raised(answer.error) from answer.error


def _noresult(project: Project, setting: Setting, job: int) -> int:
    """Count the tasks of a job that brought no result although others of their map did."""
    from provrun.store.reads import Reads  # late: few runs need it

    reads = Reads(project.registry.database)
    found = 0
    for map in project.registry.select_maps(setting.names, submitted=True):
        tallies = reads.tallies(map.id)
        if any(tally.accepted > tally.noresult for tally in tallies):
            contexts = reads.contexts({tally.context for tally in tallies})
            found += sum(tally.noresult for tally in tallies if contexts[tally.context].job == job)
    return found


def _summary(progress: Progress, job: int, reason: str, code: int, noresult: int) -> RunSummary:
    ended = progress.succeeded + progress.failed
    return RunSummary(
        succeeded=progress.succeeded, failed=progress.failed, lost=progress.lost, reused=progress.reused,
        noresult=noresult,
        seconds=round(progress.seconds, 6), tasks_per_second=round(ended / progress.seconds, 3) if ended else 0.0,
        job=job, reason=reason, exit=code,
    )


def _kind(setting: Setting, remote: Remote | None) -> Literal["local", "mpi", "batch"]:
    if "scheduler" in setting.owner:
        return "batch"
    return "mpi" if remote else "local"


def _deadline(project: Project, setting: Setting) -> float | None:
    """Give when the allocation ends on the clock that only grows; somebody's own allocation is asked about."""
    until = setting.until
    own = allocation(os.environ)
    if until is None and own and "scheduler" not in setting.owner:
        scheduler = Scheduler(named(str(own["scheduler"])), folder(project), patience=_ANSWER)
        until = ends(scheduler, str(own["id"]))
    return None if until is None else time.monotonic() + until - time.time()


def _left_over(
    project: Project, setting: Setting, left: Sequence[LeftTasks] = (), *, late: bool = False
) -> tuple[int, str]:
    """Give exit code and reason that the states of all tasks call for when nothing is left that could run.

    ``left`` is what the job left on purpose; ``late`` if its time was up, so that it did not come to the others.
    """
    maps = project.registry.select_maps(setting.names, submitted=True)
    pending = {map.id: map.counts[State.PENDING] for map in maps if not map.paused}
    named = [one for one in left if one.index is not None and pending.get(one.map)]
    reasons = _named(named, {map.id: map.name for map in maps})
    whys: dict[str, int] = {}
    for one in named:
        pending[one.map] -= 1
    for one in left:
        if one.index is None and pending.get(one.map):
            whys[one.why] = whys.get(one.why, 0) + pending.pop(one.map)
    failed = any(map.counts[State.FAILED] for map in maps)
    if failed and not any(one.late for one in left):
        return FAILED, ""
    for n, what in (
        (sum(map.counts[State.PENDING] for map in maps if map.paused), "paused"),
        *((n, why) for why, n in whys.items()),
        (sum(map.counts[State.RUNNING] for map in maps), "running in another job"),
        (sum(pending.values()), "pending" if late else "pending since this run looked last"),
        (sum(map.counts[State.WAITING] for map in maps), "waiting for others"),
    ):
        if n > 0:
            reasons.append(f"{n} {'task is' if n == 1 else 'tasks are'} {what}")
    if not reasons:
        return (FAILED if failed else 0), ""
    return STOPPED, "; ".join(reasons)


def _named(left: Sequence[LeftTasks], names: Mapping[int, str]) -> list[str]:
    """Say of single tasks why they were left, by their names as long as it is few for the same reason."""
    whys: dict[str, list[str]] = {}
    for one in left:
        if one.index is not None:
            whys.setdefault(one.why, []).append(f"{names[one.map]}/{one.index}")
    said = []
    for why, tasks in whys.items():
        said += [f"{task} is {why}" for task in tasks] if len(tasks) <= NAMED else [f"{len(tasks)} tasks are {why}"]
    return said[:MOST_SAID] + ([f"and {len(said) - MOST_SAID} more like these"] if len(said) > MOST_SAID else [])


def _left(maps: Sequence[MapRecord]) -> int:
    return sum(map.counts[State.WAITING] + map.counts[State.PENDING] for map in maps)
