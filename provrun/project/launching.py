"""Hand batch jobs to a scheduler, from the login node or from inside a job."""

from __future__ import annotations

import os
import time
from pathlib import Path

import msgspec

from provrun.core.records import JobRecord
from provrun.errors import ProvrunError
from provrun.launch.commands import Scheduler
from provrun.launch.dialects import named
from provrun.launch.script import INHERITED
from provrun.project.managing import user_name
from provrun.project.marks import folder, output_path, plan_path
from provrun.project.plans import BatchPlan, write_plan
from provrun.project.project import Project


def scheduler_of(project: Project, name: str) -> Scheduler:
    """Give a scheduler by name, asked within the budget of a project."""
    return Scheduler(named(name), folder(project))


def submit_batch(project: Project, plan: BatchPlan) -> str:
    """Hand an allocation to its scheduler, enter its job as queued and give the scheduler's id.

    The plan lies on disk and the job stands in the registry before the scheduler is asked; if it does not take the
    job, the plan is withdrawn, so that a job it has taken without saying so finds none and ends.
    """
    scheduler = scheduler_of(project, plan.request.scheduler)
    plan = _filled(project, plan, scheduler)
    path = write_plan(project, plan)
    script = script_path(project, plan.uuid)
    script.write_text(scheduler.dialect.render(plan.request))
    job = _job(plan)
    number = project.registry.queue_job(job)
    try:
        id = scheduler.submit(script, plan.request)
    except ProvrunError as error:
        path.unlink(missing_ok=True)
        project.registry.close_job(number, "ended", f"not submitted: {error.message}", time.time_ns() // 1000)
        raise
    project.registry.queue_job(msgspec.structs.replace(job, owner={**job.owner, "id": id}))
    return id


def render(project: Project, plan: BatchPlan) -> str:
    """Write the batch script of a plan."""
    scheduler = scheduler_of(project, plan.request.scheduler)
    return scheduler.dialect.render(_filled(project, plan, scheduler).request)


def script_path(project: Project, uuid: str) -> Path:
    """Give where the batch script of an allocation lies."""
    return folder(project) / f"{uuid}.sh"


def inherited() -> dict[str, str]:
    """Give what a batch script sets as it is here."""
    return {name: os.environ[name] for name in INHERITED if name in os.environ}


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
