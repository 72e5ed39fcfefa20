"""The plan of a batch job: a file on the shared file system that says what its script is to do."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import msgspec

from provrun.core.allocation import Request
from provrun.errors import NotFound
from provrun.project.jobs.marks import folder, plan_path
from provrun.project.project import Project
from provrun.project.running import MaxFails, new_uuid


class BatchPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What one allocation is to do.

    ``uuid`` is the allocation's and that of the job row its first manager takes over, ``chain`` the uuid of the first
    allocation of its chain and ``hop`` its place in it. ``submitted`` is when it was handed in, ``first`` when the
    first one was (microseconds). With ``resubmit`` "auto" the job submits its successor, with "chain" they all are
    submitted already. ``python`` runs the program.
    """

    uuid: str
    chain: str
    hop: int = 0
    project: str
    names: tuple[str, ...] = ()
    request: Request
    python: str
    max_fails: MaxFails | None = None
    nice: int = 0
    on_finish: str | None = None
    resubmit: Literal["auto", "chain", "off"] = "auto"
    submitted: int = 0
    first: int = 0


def successor(plan: BatchPlan, after: str) -> BatchPlan:
    """Give the plan of the next allocation of a chain, which waits for the end of the scheduler's job ``after``."""
    request = msgspec.structs.replace(plan.request, after=after)
    return msgspec.structs.replace(plan, uuid=new_uuid(), hop=plan.hop + 1, request=request)


def write_plan(project: Project, plan: BatchPlan) -> Path:
    """Write a plan, readable by its owner alone; on disk before anybody can be told of it."""
    folder(project)
    path = plan_path(project, plan.uuid)
    temporary = path.with_suffix(f".{os.getpid()}")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(msgspec.json.encode(plan))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    return path


def read_plan(path: Path) -> BatchPlan:
    """Read a plan; `NotFound` when it was withdrawn."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise NotFound(
            f"the plan {path} has been withdrawn", value=str(path), next="provrun job list shows what there is"
        ) from None
    return msgspec.json.decode(content, type=BatchPlan)
