"""Which jobs are over, by evidence: what their manager left, whose lock is free, what the scheduler says of them.

Clocks differ between hosts, and an impatient judge kills healthy jobs: time alone decides only where no evidence can be
had at all, and then after the setting ``takeover``. A scheduler that fails or hangs says nothing; a job it does not
name is unknown, since schedulers forget old ids and give them to others.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from provrun.core.allocation import Stage, Told, Verdict
from provrun.core.records import JobRecord
from provrun.core.units import format_duration, parse_duration
from provrun.errors import Unavailable
from provrun.launch.commands import Scheduler
from provrun.launch.dialects import DIALECTS, named
from provrun.project.jobs.marks import FOLDER, ended_path, folder
from provrun.project.project import Project
from provrun.run.job import JOBS, is_over

APART = 60.0  # seconds between two queries that both do not name a job
STALE = 180.0  # seconds without a beat that mean something: several beats, and what a network file system caches
SKEW = 3600.0  # seconds that the clock of a scheduler may be wrong
FRESH = 15.0  # seconds for which an answer holds
PATIENCE = 20.0  # seconds that a scheduler may take to answer
KEPT = 30 * 86_400.0  # seconds for which answers are remembered


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What a scheduler said of a job ``at`` a time: a stage, for a ``reason``, or nothing since ``absent``.

    ``proven`` if it is this very job that it spoke of.
    """

    at: float
    stage: Stage | None = None
    proven: bool = False
    ends: int | None = None
    reason: str | None = None
    absent: float | None = None
    failed: str | None = None

    @property
    def words(self) -> str:
        """The stage, and why it still waits, as its scheduler puts it: of others the reason is what it was before."""
        waits = self.stage in (Stage.QUEUED, Stage.HELD)
        return f"{self.stage} ({self.reason})" if waits and self.reason else str(self.stage)


class Judge:
    """Tells which jobs are over; answers of schedulers are remembered from one command to the next.

    An answer as old as ``fresh`` will do, and a scheduler may take ``patience`` seconds for it.
    """

    def __init__(self, project: Project, *, fresh: float = FRESH, patience: float = PATIENCE) -> None:
        self._project = project
        self._fresh = fresh
        self._patience = patience
        self._known: dict[str, Verdict] = {}
        self._now: float | None = None

    def over(self, job: JobRecord) -> bool:
        """Tell whether a job is over for certain."""
        if job.uuid not in self._known:
            self.verdicts([job])
        return self._known[job.uuid].over is True

    def verdicts(self, jobs: Sequence[JobRecord]) -> dict[str, Verdict]:
        """Judge jobs that have not been closed, by uuid, with one question to each scheduler at most."""
        new = [job for job in jobs if job.uuid not in self._known]
        here = {job.uuid: verdict for job in new if (verdict := self._here(job)) is not None}
        told = self.told([job for job in new if job.uuid not in here])
        for job in new:
            if job.uuid in here:
                self._known[job.uuid] = here[job.uuid]
            elif _has_scheduler(job):
                self._known[job.uuid] = self._judged(str(job.owner["scheduler"]), job, told.get(job.uuid))
            else:
                self._known[job.uuid] = self._without_evidence(job, "nobody here can ask about it")
        return {job.uuid: self._known[job.uuid] for job in jobs}

    def told(self, jobs: Sequence[JobRecord]) -> dict[str, Seen]:
        """Give what schedulers say of jobs that they have or had, by uuid."""
        asked: dict[str, list[JobRecord]] = {}
        for job in jobs:
            if _has_scheduler(job):
                asked.setdefault(str(job.owner["scheduler"]), []).append(job)
        answers = [self._seen(name, some) for name, some in asked.items()]
        return {uuid: seen for answer in answers for uuid, seen in answer.items()}

    def _here(self, job: JobRecord) -> Verdict | None:
        """Judge by what lies on this file system and runs on this host."""
        allocation = job.owner.get("allocation")
        if isinstance(allocation, str) and ended_path(self._project, allocation).exists():
            return Verdict(True, "its script has ended")
        if job.state == "queued":
            return None
        match is_over(job, self._project.dir):
            case True:
                return Verdict(True, "its manager is gone: its lock is free, or its process is another one")
            case False:
                return Verdict(False, "its manager lives on this host")
            case None:
                return None

    def _judged(self, name: str, job: JobRecord, seen: Seen | None) -> Verdict:
        who = f"{name} job {job.owner['id']}"
        if seen is None or seen.failed is not None:
            why = f": {seen.failed}" if seen is not None else ""
            return self._without_evidence(job, f"{name} does not say how it stands{why}")
        if seen.stage is not None and not seen.stage.final and seen.stage is not Stage.UNKNOWN:
            return Verdict(False, f"{name} says that it is {seen.words}", seen.stage, seen.ends)
        silent = job.state == "queued" or self._silent(job)
        if seen.stage is not None and seen.stage.final:
            if seen.proven or silent:
                return Verdict(True, f"{name} says that it is {seen.words}", seen.stage)
            return Verdict(None, f"{who} is {seen.stage}, which may be another one of that id", seen.stage)
        if seen.stage is Stage.UNKNOWN:
            return self._without_evidence(job, f"{name} does not know how it stands")
        assert seen.absent is not None
        if seen.at - seen.absent < APART:
            return Verdict(None, f"{name} does not know {who}; whether that stays so is asked in a minute")
        if not silent:
            return Verdict(None, f"{name} does not know {who}, but it gives signs of life")
        return Verdict(True, f"{name} does not know {who} any more, and it gives no sign of life")

    def _without_evidence(self, job: JobRecord, why: str) -> Verdict:
        takeover = parse_duration(self._project.config.text("takeover"))
        age = self._age(job)
        if age is not None and age > takeover:
            return Verdict(True, f"{why}, and there was no sign of life for {format_duration(age)} (setting takeover)")
        return Verdict(None, why)

    # Signs of life

    def _silent(self, job: JobRecord) -> bool:
        age = self._age(job)
        return age is not None and age > STALE

    def _age(self, job: JobRecord) -> float | None:
        """Give how many seconds ago a job has given a sign of life, by the clock of the file system; None if unknown.

        Where its files cannot be seen its sign of life is the last attempt it has recorded.
        """
        now = self._server_time()
        if now is None:
            return None
        here = self._project.dir
        beats = [here / JOBS / str(job.owner.get("lock")), *here.glob(f"log/*/beat-{job.uuid}")]
        signs = []
        for beat in beats:
            with suppress(OSError):
                signs.append(beat.stat().st_mtime)
        if signs:
            return now - max(signs)
        return max(0.0, now - self._recorded(job) / 1e6)

    def _recorded(self, job: JobRecord) -> int:
        """Give when a job has recorded something last, else when it began."""
        reads = self._project.reads
        tallies = reads.tallies()
        contexts = reads.contexts({tally.context for tally in tallies})
        ended = [tally.last for tally in tallies if contexts[tally.context].job == job.id and tally.last is not None]
        return max([job.started, *ended])

    def _server_time(self) -> float | None:
        """Give the time as the file system of the project has it; None where nothing may be written."""
        if self._now is None:
            path = self._project.dir / f"clock-{os.uname().nodename}-{os.getpid()}"
            with suppress(OSError):
                path.touch()
                self._now = path.stat().st_mtime
                path.unlink()
        return self._now

    # Schedulers

    def _seen(self, name: str, jobs: Sequence[JobRecord]) -> Mapping[str, Seen]:
        """Give what a scheduler says of jobs, asked if the answers that are remembered are too old."""
        now = self._server_time()
        if now is None:
            return {}
        memory = _Memory(self._project.dir / FOLDER / f"answers-{os.getuid()}")
        before = memory.read()
        if all(job.uuid in before and 0 <= now - before[job.uuid].at <= self._fresh for job in jobs):
            return before
        dialect = named(name)
        try:
            scheduler = Scheduler(dialect, folder(self._project), patience=self._patience)
            told = scheduler.query([str(job.owner["id"]) for job in jobs])
        except Unavailable as error:
            # How long a job has been absent is not forgotten, and not added to.
            fresh = {
                job.uuid: Seen(at=now, failed=error.message, absent=_absent(before.get(job.uuid))) for job in jobs
            }
        else:
            fresh = {}
            for job in jobs:
                answer = told.get(str(job.owner["id"]))
                own = None if answer is None else _same(job, answer, _name(job, name))
                if answer is None or own is False:
                    since = _absent(before.get(job.uuid))
                    fresh[job.uuid] = Seen(at=now, absent=now if since is None else since)
                else:
                    fresh[job.uuid] = Seen(
                        at=now, stage=answer.stage, proven=own is True or not dialect.reuses, ends=answer.ends,
                        reason=answer.reason,
                    )
        memory.write({**before, **fresh}, now)
        return {**before, **fresh}


class _Memory:
    """The file of answers; one that cannot be written or read holds none."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> dict[str, Seen]:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=dict[str, Seen])
        except (OSError, msgspec.DecodeError):
            return {}

    def write(self, seen: Mapping[str, Seen], now: float) -> None:
        kept = {uuid: each for uuid, each in seen.items() if now - each.at < KEPT}
        temporary = self._path.with_suffix(f".{os.uname().nodename}-{os.getpid()}")
        with suppress(OSError):
            temporary.write_bytes(msgspec.json.encode(kept))
            temporary.replace(self._path)


def _has_scheduler(job: JobRecord) -> bool:
    return job.owner.get("scheduler") in DIALECTS and isinstance(job.owner.get("id"), str)


def _absent(seen: Seen | None) -> float | None:
    return None if seen is None else seen.absent


def _name(job: JobRecord, scheduler: str) -> str | None:
    allocation = job.owner.get("allocation")
    return named(scheduler).job_name(allocation) if isinstance(allocation, str) else None


def _same(job: JobRecord, told: Told, name: str | None) -> bool | None:
    """Tell whether an answer is about this very job; None when that cannot be told."""
    if name is None or told.name is None:
        return None
    if told.name != name:
        return False
    submitted = job.owner.get("submitted")
    if isinstance(submitted, int) and told.submitted is not None:
        return told.submitted >= submitted - SKEW * 1e6
    return True
