"""Hand batch jobs to a scheduler, from the login node or from inside a job."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from provrun.core.allocation import Request
from provrun.core.records import JobRecord
from provrun.core.shape import Wishes
from provrun.core.states import State
from provrun.core.units import format_duration
from provrun.errors import NothingLeft, ProvrunError
from provrun.launch.commands import Scheduler, detected
from provrun.launch.dialects import named
from provrun.launch.script import INHERITED
from provrun.project.jobs.marks import folder, output_path, plan_path, script_path
from provrun.project.jobs.plans import BatchPlan, successor, write_plan
from provrun.project.jobs.wanted import Wanted
from provrun.project.logs import open_log
from provrun.project.project import Project
from provrun.project.running import new_uuid
from provrun.project.submitter import user_name

LINKS = 4
"""Jobs of a chain that is submitted whole when nothing tells how many it takes."""


class Form(msgspec.Struct, frozen=True, kw_only=True):
    """The form that jobs get: ``jobs`` chains, each of ``links`` jobs if they are submitted whole; ``why`` in words."""

    nodes: int = 1
    slots: int | None = None
    time: float | None = None
    jobs: int = 1
    links: int = LINKS
    why: tuple[str, ...] = ()
    document: dict[str, object] | None = None


class Submitted(NamedTuple):
    """A job that a scheduler has taken: its number here, its plan with the request as it was made, the id there."""

    job: int
    plan: BatchPlan
    id: str

    def document(self, script: str) -> dict[str, object]:
        """Give the JSON document of the job, whose script is at this path."""
        request = self.plan.request
        return {
            "ref": f"job:{self.job}", "id": self.job, "uuid": self.plan.uuid, "scheduler": request.scheduler,
            "scheduler_id": self.id, "name": request.name, "nodes": request.nodes, "slots": request.slots,
            "time": request.time, "after": request.after, "script": script, "output": request.output,
        }


class Launched(NamedTuple):
    """What `launch` did; ``scripts`` are the batch scripts, which are all there is of a dry run."""

    scheduler: str
    form: Form
    jobs: list[Submitted]
    scripts: list[str]

    def rows(self) -> list[dict[str, object]]:
        """Give the JSON documents of the jobs."""
        return [job.document(script) for job, script in zip(self.jobs, self.scripts, strict=False)]


def launch(project: Project, wanted: Wanted, *, dry: bool = False) -> Launched:
    """Hand jobs that run these maps and all they build on (all maps if none is named) to a scheduler.

    With ``dry`` nothing is written and nothing submitted. With nothing left to do there are no jobs. Raises `NotFound`
    for an unknown map, `Unavailable` when there is no scheduler or it does not take a job; those it took stay.
    """
    scheduler = wanted.scheduler or detected()
    named(scheduler)
    if not _left(project, wanted.names):
        return Launched(scheduler, Form(), [], [])
    if wanted.area is not None and wanted.resubmit == "auto":
        wanted = msgspec.structs.replace(wanted, resubmit="off")  # a successor would be beyond it
    form = form_of(project, wanted, scheduler, dry=dry)
    plans = [_plan(project, wanted, form, scheduler) for _ in range(form.jobs)]
    if dry:
        return Launched(scheduler, form, [], [render(project, plan) for plan in plans[:1]])
    open_log(project)
    jobs: list[Submitted] = []
    try:
        for plan in plans:
            jobs.append(hand_in(project, plan))
            for _ in range(form.links - 1 if wanted.resubmit == "chain" else 0):
                jobs.append(hand_in(project, successor(jobs[-1].plan, jobs[-1].id)))
    except ProvrunError as error:
        if jobs:
            error.next = f"{len(jobs)} were taken before: provrun job list"
        raise
    return Launched(scheduler, form, jobs, [str(script_path(project, each.plan.uuid)) for each in jobs])


def form_of(project: Project, wanted: Wanted, scheduler: str, *, dry: bool = False) -> Form:
    """Give jobs their form: as wanted, and what is not said as it suits what is left to do, with reasons.

    Who gives nodes and time has said it all, as has who runs on this host, unless it is to be within an area.
    """
    given = Form(
        nodes=wanted.nodes or 1, slots=wanted.slots, time=wanted.time, jobs=wanted.jobs or 1,
        links=wanted.links or LINKS,
    )
    here = scheduler == "local" and wanted.area is None
    said = not dry if here else bool(wanted.nodes and wanted.time and wanted.area is None)
    if said and not wanted.pilot:
        return given
    from provrun.project.jobs import shaping

    slots = wanted.slots or (len(os.sched_getaffinity(0)) if here else None)
    wishes = Wishes(nodes=wanted.nodes, slots=slots, time=wanted.time, jobs=wanted.jobs, area=wanted.area)
    try:
        shape, asked = shaping.shape(
            project, wanted.names, scheduler=scheduler, queue=wanted.queue, wishes=wishes, pilot=wanted.pilot
        )
    except NothingLeft:
        return msgspec.structs.replace(given, why=("what is left runs in other jobs, or waits for what failed",))
    if here:  # nobody asks for time
        why = tuple(reason for reason in shape.reasons if not reason.startswith(f"{format_duration(shape.time)}:"))
        document = shape.document() | {"time": wanted.time, "reasons": list(why)}
        return msgspec.structs.replace(given, why=why, document=document)
    return Form(
        nodes=shape.nodes, slots=asked, time=shape.time, jobs=shape.jobs, links=wanted.links or shape.rounds + 1,
        why=shape.reasons, document=shape.document(),
    )


def submit_batch(project: Project, plan: BatchPlan) -> str:
    """Hand an allocation to its scheduler, enter its job as queued and give the scheduler's id."""
    return hand_in(project, plan).id


def hand_in(project: Project, plan: BatchPlan) -> Submitted:
    """Hand an allocation to its scheduler and enter its job as queued.

    The plan lies on disk and the job stands in the registry before the scheduler is asked; if it does not take the
    job, the plan is withdrawn, so that a job it has taken without saying so finds none and ends.
    """
    scheduler = scheduler_of(project, plan.request.scheduler)
    plan = _filled(project, plan, scheduler)
    text = scheduler.dialect.render(plan.request)
    path = write_plan(project, plan)
    script = script_path(project, plan.uuid)
    script.write_text(text)
    job = _job(plan)
    number = project.registry.queue_job(job)
    try:
        id = scheduler.submit(script, plan.request)
    except ProvrunError as error:
        path.unlink(missing_ok=True)
        script.unlink(missing_ok=True)
        project.registry.close_job(number, "ended", f"not submitted: {error.message}", time.time_ns() // 1000)
        raise
    project.registry.queue_job(msgspec.structs.replace(job, owner={**job.owner, "id": id}))
    return Submitted(number, plan, id)


def render(project: Project, plan: BatchPlan) -> str:
    """Write the batch script of a plan."""
    scheduler = scheduler_of(project, plan.request.scheduler)
    return scheduler.dialect.render(_filled(project, plan, scheduler).request)


def scheduler_of(project: Project, name: str) -> Scheduler:
    """Give a scheduler by name, asked within the budget of a project."""
    return Scheduler(named(name), folder(project))


def _left(project: Project, names: Sequence[str]) -> bool:
    """Tell whether a task of these maps, or of what they build on, has not ended."""
    maps = project.registry.select_maps(names)
    return any(map.counts[state] for map in maps for state in (State.WAITING, State.PENDING, State.RUNNING))


def _plan(project: Project, wanted: Wanted, form: Form, scheduler: str) -> BatchPlan:
    uuid = new_uuid()
    request = Request(
        scheduler=scheduler, nodes=form.nodes, slots=form.slots, time=form.time, queue=wanted.queue,
        account=wanted.account, exclude=wanted.exclude, options=wanted.options, setup=wanted.setup,
        environ={name: os.environ[name] for name in INHERITED if name in os.environ},
    )
    return BatchPlan(
        uuid=uuid, chain=uuid, project=str(project.root), names=wanted.names, request=request, python=sys.executable,
        max_fails=wanted.max_fails, nice=wanted.nice, on_finish=wanted.on_finish, resubmit=wanted.resubmit,
    )


def _filled(project: Project, plan: BatchPlan, scheduler: Scheduler) -> BatchPlan:
    now = time.time_ns() // 1000
    command = (plan.python, "-P", "-m", "provrun.cli.batch", str(plan_path(project, plan.uuid)))
    request = msgspec.structs.replace(
        plan.request, name=scheduler.dialect.job_name(plan.uuid), output=str(output_path(project, plan.uuid)),
        folder=str(project.root), command=command,
    )
    return msgspec.structs.replace(plan, request=request, submitted=now, first=plan.first or now)


def _job(plan: BatchPlan) -> JobRecord:
    request = plan.request
    return JobRecord(
        uuid=plan.uuid, kind="batch", state="queued", user=user_name(), node="", slots=request.slots or 0,
        ranks=request.nodes, started=plan.submitted,
        owner={
            "scheduler": request.scheduler, "name": request.name, "submitted": plan.submitted,
            "allocation": plan.uuid, "chain": plan.chain,
        },
    )
