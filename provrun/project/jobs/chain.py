"""Chains: allocations that follow each other until nothing is left, with nobody on the login node.

A successor is handed in while its predecessor begins, because one that ends may have no time to. So that one job never
has two, whatever is repeated, an allocation holds a token that only one process can make.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import msgspec

from provrun.core.allocation import Stage
from provrun.core.states import Outcome
from provrun.errors import Unavailable
from provrun.launch.commands import Scheduler
from provrun.project.jobs.launching import scheduler_of, submit_batch
from provrun.project.jobs.marks import folder, is_cancelled, mark_cancelled, plan_path
from provrun.project.jobs.plans import BatchPlan, successor
from provrun.project.project import Project
from provrun.store.reads import Reads

IDLE_HOPS = 2
"""So many allocations in a row in which nothing was recorded end a chain."""


class Token(msgspec.Struct, frozen=True):
    """What an allocation knows of its successor: our name for it, and the scheduler's once it has one."""

    uuid: str
    id: str | None = None


class Chain:
    """The chain that an allocation belongs to."""

    def __init__(self, project: Project, plan: BatchPlan, id: str | None) -> None:
        self._project = project
        self._plan = plan
        self._id = id
        self._token = folder(project) / f"{plan.uuid}.token"

    @property
    def scheduler(self) -> Scheduler:
        """The scheduler, asked within the budget of the project."""
        return scheduler_of(self._project, self._plan.request.scheduler)

    @property
    def cancelled(self) -> bool:
        """Tell whether the chain was cancelled."""
        return is_cancelled(self._project, self._plan.chain)

    def cancel(self) -> None:
        """Let the chain end here."""
        mark_cancelled(self._project, self._plan.chain)

    def ask(self) -> float | None:
        """Ask the scheduler, once, when this job ends and how its predecessor has ended; give the former, in seconds.

        A predecessor that somebody cancelled, but that was killed before it could say so, cancels the chain.
        """
        before = self._plan.request.after
        try:
            told = self.scheduler.query([id for id in (self._id, before) if id is not None])
        except Unavailable:
            return None
        if before in told and told[before].stage is Stage.CANCELLED:
            self.cancel()
        ends = told[self._id].ends if self._id in told else None
        return None if ends is None else ends / 1e6

    def follow(self) -> str | None:
        """Hand in the successor, unless this allocation has one already; give the scheduler's id of it.

        Raises `ProvrunError` when the scheduler does not take it.
        """
        assert self._id is not None
        plan = successor(self._plan, self._id)
        if self._token.exists() and not self._handed_in():
            self._token.unlink()
        try:
            fd = os.open(self._token, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return None
        with os.fdopen(fd, "wb") as file:
            file.write(msgspec.json.encode(Token(plan.uuid)))
            file.flush()
            os.fsync(file.fileno())
        id = submit_batch(self._project, plan)
        temporary = self._token.with_suffix(f".{os.getpid()}")
        temporary.write_bytes(msgspec.json.encode(Token(plan.uuid, id)))
        temporary.replace(self._token)
        return id

    def _handed_in(self) -> bool:
        """Tell whether the successor that the token names may be at the scheduler.

        A run of this allocation that was killed, or refused, before it could hand it in leaves the token alone.
        """
        token = self._read_token()
        if token is None or token.id is not None:
            return token is not None
        return any(job.uuid == token.uuid for job in self._project.registry.queued_jobs())

    def _read_token(self) -> Token | None:
        try:
            return msgspec.json.decode(self._token.read_bytes(), type=Token)
        except (FileNotFoundError, msgspec.DecodeError):  # or its writer was killed before a word of it was there
            return None

    def followers(self) -> list[tuple[str, str]]:
        """Give those of this chain that wait for their turn, as (our uuid, the scheduler's id)."""
        found = []
        token = self._read_token()
        if token is not None and token.id is not None:
            found.append((token.uuid, token.id))
        for job in self._project.registry.queued_jobs():
            id = job.owner.get("id")
            mine = job.owner.get("chain") == self._plan.chain and job.uuid != self._plan.uuid
            if mine and isinstance(id, str) and (job.uuid, id) not in found:
                found.append((job.uuid, id))
        return found

    def end(self, reason: str) -> int:
        """Cancel those that wait for their turn, at the scheduler, with one call; give their number.

        ``reason`` is what their job rows say.
        """
        followers = self.followers()
        if not followers:
            return 0
        # Whatever the scheduler does with them, one without a plan does nothing.
        for uuid, _ in followers:
            plan_path(self._project, uuid).unlink(missing_ok=True)
        waiting = {job.uuid: job.id for job in self._project.registry.queued_jobs()}
        for uuid, _ in followers:
            if uuid in waiting:
                self._project.registry.close_job(waiting[uuid], "ended", reason, _now())
        self.scheduler.cancel([id for _, id in followers])
        return len(followers)

    def idle(self, hops: int) -> bool:
        """Tell whether the last so many allocations of this chain that began have recorded nothing, this one included.

        One that has not come to run anything, for whatever reason, is one of them.
        """
        reads = self._project.reads
        hop_of = {
            job.id: str(job.owner.get("allocation"))
            for job in reads.jobs()
            if job.owner.get("chain") == self._plan.chain and job.state != "queued"
        }
        recorded = _recorded(reads, hop_of)
        last = list(dict.fromkeys(hop_of.values()))[-hops:]
        return len(last) == hops and not any(recorded.get(hop) for hop in last)


def _recorded(reads: Reads, hop_of: dict[int, str]) -> dict[str, int]:
    """Count the attempts on record of each allocation, without those that were lost or given back."""
    found: dict[str, int] = {}
    tallies = reads.tallies()
    contexts = reads.contexts({tally.context for tally in tallies})
    for tally in tallies:
        hop = hop_of.get(contexts[tally.context].job)
        if hop is not None and tally.outcome not in (Outcome.LOST, Outcome.CANCELLED):
            found[hop] = found.get(hop, 0) + tally.attempts
    return found


def once(path: Path) -> bool:
    """Tell whether this process is the first to come here."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return False
    return True


def _now() -> int:
    return time.time_ns() // 1000
