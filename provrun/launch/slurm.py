"""Slurm: sbatch, squeue, scancel."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from shlex import quote

from provrun.core.allocation import Request, Stage, Told
from provrun.launch.dialect import Answer, Command, Unreadable
from provrun.launch.script import clock, script

_STAGES = {
    "PENDING": Stage.QUEUED, "CONFIGURING": Stage.QUEUED, "REQUEUED": Stage.QUEUED, "REQUEUE_FED": Stage.QUEUED,
    "SPECIAL_EXIT": Stage.HELD, "REQUEUE_HOLD": Stage.HELD, "RESV_DEL_HOLD": Stage.HELD,
    "RUNNING": Stage.RUNNING, "SUSPENDED": Stage.RUNNING, "STOPPED": Stage.RUNNING, "RESIZING": Stage.RUNNING,
    "SIGNALING": Stage.RUNNING, "COMPLETING": Stage.ENDING, "STAGE_OUT": Stage.ENDING,
    "COMPLETED": Stage.COMPLETED, "CANCELLED": Stage.CANCELLED, "REVOKED": Stage.CANCELLED, "FAILED": Stage.FAILED,
    "OUT_OF_MEMORY": Stage.FAILED, "LAUNCH_FAILED": Stage.FAILED, "BOOT_FAIL": Stage.NODE_FAIL,
    "DEADLINE": Stage.TIMEOUT, "TIMEOUT": Stage.TIMEOUT, "PREEMPTED": Stage.PREEMPTED, "NODE_FAIL": Stage.NODE_FAIL,
}
# id, state, reason, submitted, end or time limit's end, nodes, name: the name comes last, it may hold anything.
_FORM = "%i|%T|%r|%V|%e|%N|%j"
# What a directive says must not be overruled by a variable that says it of every job.
_OVERRULING = {
    "SBATCH_JOB_NAME": None, "SBATCH_REQUEUE": None, "SBATCH_NO_REQUEUE": None, "SBATCH_OUTPUT": None,
    "SBATCH_OPEN_MODE": None, "SBATCH_ARRAY_INX": None, "SBATCH_DEPENDENCY": None, "SBATCH_WAIT": None,
}
_HELD = re.compile("JobHeld|Held")


class Slurm:
    """The dialect of Slurm, since 20.11."""

    name = "slurm"
    probe: tuple[str, ...] = ("sbatch", "--version")
    reuses = True

    def job_name(self, uuid: str) -> str:
        return f"provrun-{uuid}"

    def render(self, request: Request) -> str:
        return script(request, (f"#SBATCH {quote(line)}" for line in self._directives(request)))

    def _directives(self, request: Request) -> Iterator[str]:
        given = {name for name, _ in request.options}
        yield f"--job-name={request.name}"
        yield f"--nodes={request.nodes}"
        yield "--ntasks-per-node=1"
        if request.slots is not None:
            yield f"--cpus-per-task={request.slots}"
        else:
            yield "--exclusive"
            if not given & {"mem", "mem-per-cpu", "mem-per-gpu"}:
                yield "--mem=0"  # all of the node's
        if request.time is not None:
            yield f"--time={clock(request.time, days=True)}"
        if request.queue is not None:
            yield f"--partition={request.queue}"
        if request.account is not None:
            yield f"--account={request.account}"
        if request.exclude:
            yield f"--exclude={','.join(request.exclude)}"
        if request.after is not None:
            yield f"--dependency=afterany:{request.after}"
        yield f"--chdir={request.folder}"
        yield f"--output={request.output}"
        yield "--open-mode=append"
        yield "--no-requeue"
        yield "--no-kill"  # a dead node costs its tasks, not the job
        yield "--mail-type=NONE"
        for name, value in request.options:
            yield f"--{name}={value}" if value else f"--{name}"

    def submit(self, script: str, request: Request) -> Command:
        own = {"SBATCH_PARTITION": request.queue, "SBATCH_ACCOUNT": request.account, "SBATCH_TIMELIMIT": request.time}
        overruling = {name: None for name, value in own.items() if value is not None}
        return Command(["sbatch", "--parsable", script], environ=_OVERRULING | overruling)

    def submitted(self, answer: Answer) -> str:
        # "123", or "123;cluster"; plugins of a site print lines of their own before it.
        found = re.search(r"^(\d+)(?:;\S+)?\s*\Z", answer.out, re.MULTILINE)
        if answer.exit or found is None:
            raise Unreadable(answer.err or answer.out)
        return found[1]

    def query(self, ids: Collection[str]) -> Command:
        words = ["squeue", "--noheader", "--states=all", f"--format={_FORM}", f"--jobs={','.join(ids)}"]
        return Command(words, environ={"SLURM_TIME_FORMAT": "%s", "SQUEUE_STATES": None, "SQUEUE_FORMAT": None})

    def told(self, answer: Answer, ids: Collection[str]) -> dict[str, Told]:
        # Asked for one job that it has forgotten it fails, asked for several it leaves those out.
        if answer.exit and "Invalid job id" not in answer.err:
            raise Unreadable(answer.err or answer.out)
        found = {}
        for line in answer.out.splitlines():
            fields = line.split("|", 6)
            if len(fields) < 7:
                raise Unreadable(line)
            id, state, reason, submitted, ends, nodes, name = fields
            if id not in ids:
                continue
            stage = _STAGES.get(state, Stage.UNKNOWN)
            if stage is Stage.QUEUED and _HELD.search(reason):
                stage = Stage.HELD
            found[id] = Told(
                stage=stage, name=name, submitted=_moment(submitted), ends=_moment(ends), nodes=nodes or None,
                reason=None if reason == "None" else reason,
            )
        return found

    def cancel(self, ids: Collection[str]) -> Command:
        return Command(["scancel", *ids])


def _moment(seconds: str) -> int | None:
    return int(seconds) * 1_000_000 if seconds.isdigit() else None
