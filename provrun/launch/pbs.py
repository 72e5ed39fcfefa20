"""PBS: qsub, qstat, qdel of OpenPBS, PBS Professional and Torque."""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress

from provrun.core.allocation import Request, Stage, Told
from provrun.core.units import parse_duration
from provrun.errors import UsageError
from provrun.launch.dialect import Answer, Command, Unreadable
from provrun.launch.script import clock, script

_STAGES = {
    "Q": Stage.QUEUED, "W": Stage.QUEUED, "T": Stage.QUEUED, "H": Stage.HELD, "R": Stage.RUNNING, "B": Stage.RUNNING,
    "S": Stage.RUNNING, "U": Stage.RUNNING, "E": Stage.ENDING, "X": Stage.ENDED,
}
_OVER = ("F", "C")  # finished, as OpenPBS and as Torque says it
_FINISHED = re.compile(r"^qstat: (\S+) Job has finished", re.MULTILINE)
_NAMED = re.compile(r"Unknown Job Id|Job has finished", re.IGNORECASE)
_TERMINATED = (271, 265, 143, 137)  # by signals 15 and 9, in the two ways it is counted


class Pbs:
    """The dialect of PBS.

    Its names may be short (15 characters), so they hold the first 14 digits of the uuid. Torque wants nodes written
    its own way: ``--option l=nodes=4:ppn=24`` takes the place of ``select``.
    """

    name = "pbs"
    probe: tuple[str, ...] = ("qsub", "--version")
    reuses = True

    def job_name(self, uuid: str) -> str:
        return f"p{uuid.replace('-', '')[:14]}"

    def render(self, request: Request) -> str:
        return script(request, (f"#PBS {line}" for line in self._directives(request)))

    def _directives(self, request: Request) -> Iterator[str]:
        if request.exclude:
            raise UsageError(
                "PBS has no way to exclude nodes", value=list(request.exclude), next="choose others by --option l=..."
            )
        if " " in request.output:
            raise UsageError(
                "PBS cannot write to a folder with a blank in its name", value=request.folder, next="rename the folder"
            )
        yield f"-N {request.name}"
        yield "-S /bin/bash"
        if not any(name == "l" and value.startswith(("nodes=", "select=")) for name, value in request.options):
            if request.slots is None:
                raise UsageError(
                    "PBS has to be told how many cores a node has", value=None, next="give --slots N as well"
                )
            yield f"-l select={request.nodes}:ncpus={request.slots}:mpiprocs=1"
            yield "-l place=scatter"
        if request.time is not None:
            yield f"-l walltime={clock(request.time)}"
        if request.queue is not None:
            yield f"-q {request.queue}"
        if request.account is not None:
            yield f"-A {request.account}"
        if request.after is not None:
            yield f"-W depend=afterany:{request.after}"
        yield "-j oe"
        yield f"-o {request.output}"
        yield "-r n"
        yield "-m n"
        for name, value in request.options:
            yield f"-{name} {value}".rstrip() if len(name) == 1 else f"-l {name}={value}"

    def submit(self, script: str, request: Request) -> Command:
        return Command(["qsub", script])

    def submitted(self, answer: Answer) -> str:
        found = re.search(r"^(\d+(?:\.\S+)?)\s*\Z", answer.out, re.MULTILINE)
        if answer.exit or found is None:
            raise Unreadable(answer.err or answer.out)
        return found[1]

    def query(self, ids: Collection[str]) -> Command:
        # Not with -x: it means finished jobs to OpenPBS, if it keeps them, and XML to Torque.
        return Command(["qstat", "-f", *ids])

    def told(self, answer: Answer, ids: Collection[str]) -> dict[str, Told]:
        if answer.exit and not _NAMED.search(answer.err):
            raise Unreadable(answer.err or answer.out)
        # The answer names the server in its own way.
        asked = {id.partition(".")[0]: id for id in ids}
        found = {
            asked[number]: Told(stage=Stage.ENDED)
            for number in (id.partition(".")[0] for id in _FINISHED.findall(answer.err))
            if number in asked
        }
        for block in re.split(r"^Job Id: *", answer.out, flags=re.MULTILINE)[1:]:
            id, _, rest = block.partition("\n")
            number = id.strip().partition(".")[0]
            if number in asked:
                found[asked[number]] = _told(_attributes(rest))
        return found

    def cancel(self, ids: Collection[str]) -> Command:
        return Command(["qdel", *ids])


def _attributes(text: str) -> dict[str, str]:
    """Read the attributes of one job; a line that begins with a tab goes on with the one before."""
    lines = text.replace("\n\t", "").splitlines()
    pairs = (line.strip().partition(" = ") for line in lines)
    return {name: value for name, separator, value in pairs if separator}


def _told(job: Mapping[str, str]) -> Told:
    if "job_state" not in job:
        raise Unreadable("a job without a state")
    started = _moment(job.get("stime") or job.get("start_time"))
    limit = None
    with suppress(UsageError):
        limit = parse_duration(job["Resource_List.walltime"]) if "Resource_List.walltime" in job else None
    return Told(
        stage=_stage(job), name=job.get("Job_Name"), submitted=_moment(job.get("qtime") or job.get("ctime")),
        ends=started + int(limit * 1e6) if started is not None and limit is not None else None,
        nodes=job.get("exec_host"), reason=job.get("comment"),
    )


def _stage(job: Mapping[str, str]) -> Stage:
    letter = job["job_state"]
    if letter not in _OVER:
        return _STAGES.get(letter, Stage.UNKNOWN)
    status = job.get("Exit_status", job.get("exit_status", ""))
    if not status.lstrip("-").isdigit():
        return Stage.ENDED
    if status == "0":
        return Stage.COMPLETED
    return Stage.CANCELLED if int(status) in _TERMINATED else Stage.FAILED


def _moment(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return int(time.mktime(time.strptime(text))) * 1_000_000
    except ValueError:
        return None
