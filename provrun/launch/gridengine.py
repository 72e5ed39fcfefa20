"""Grid Engine: qsub, qstat, qdel of Sun, Son of, Univa and Open Cluster."""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Iterator
from shlex import quote
from xml.etree import ElementTree

from provrun.core.allocation import Request, Stage, Told
from provrun.errors import UsageError
from provrun.launch.dialect import Answer, Command, Unreadable
from provrun.launch.script import script


class GridEngine:
    """The dialect of Grid Engine.

    How slots are spread over nodes is said by a parallel environment, which each site names in its own way:
    ``--option pe=NAME``; it has to give as many slots of a node as are asked for.
    """

    name = "sge"
    probe: tuple[str, ...] = ("qconf", "-help")
    reuses = True

    def job_name(self, uuid: str) -> str:
        return f"provrun-{uuid}"

    def render(self, request: Request) -> str:
        return script(request, (f"#$ {line}" for line in self._directives(request)))

    def _directives(self, request: Request) -> Iterator[str]:
        environment = next((value for name, value in request.options if name == "pe"), None)
        total = request.nodes * (request.slots or 0)
        if total != 1 and environment is None:
            raise UsageError(
                "Grid Engine has to be told the parallel environment", value=None,
                next="give --option pe=NAME; qconf -spl names them",
            )
        if not total and " " not in str(environment):
            raise UsageError(
                "Grid Engine has to be told how many slots a node has", value=None, next="give --slots N as well"
            )
        yield f"-N {request.name}"
        yield "-S /bin/bash"
        if environment is not None:
            yield f"-pe {environment}" if " " in environment else f"-pe {environment} {total}"
        if request.time is not None:
            yield f"-l h_rt={-int(-request.time // 1)}"
        if request.queue is not None:
            yield f"-q {request.queue}"
        if request.account is not None:
            yield f"-P {request.account}"
        if request.exclude:
            yield f"-l h=!({'|'.join(request.exclude)})"
        if request.after is not None:
            yield f"-hold_jid {request.after}"
        yield f"-wd {quote(request.folder)}"
        yield "-j y"
        yield f"-o {quote(request.output)}"
        yield "-r n"
        yield "-m n"
        for name, value in request.options:
            if name != "pe":
                yield f"-{name} {value}".rstrip()

    def submit(self, script: str, request: Request) -> Command:
        return Command(["qsub", "-terse", script])

    def submitted(self, answer: Answer) -> str:
        found = re.search(r"^(\d+)\s*\Z", answer.out, re.MULTILINE)
        if answer.exit or found is None:
            raise Unreadable(answer.err or answer.out)
        return found[1]

    def query(self, ids: Collection[str]) -> Command:
        # It lists one's own jobs, those that ended lately included; asked for ids it does not tell how they stand.
        return Command(["qstat", "-xml", "-s", "prsz"])

    def told(self, answer: Answer, ids: Collection[str]) -> dict[str, Told]:
        if answer.exit:
            raise Unreadable(answer.err or answer.out)
        try:
            listed = list(ElementTree.fromstring(answer.out).iter("job_list"))
        except ElementTree.ParseError:
            raise Unreadable(answer.err or answer.out) from None
        found = {}
        for job in listed:
            id = job.findtext("JB_job_number") or ""
            if id in ids:
                queue = job.findtext("queue_name") or ""
                found[id] = Told(
                    stage=_stage(job.findtext("state") or ""), name=job.findtext("JB_name"),
                    submitted=_moment(job.findtext("JB_submission_time")), nodes=queue.partition("@")[2] or None,
                )
        return found

    def cancel(self, ids: Collection[str]) -> Command:
        return Command(["qdel", *ids])


def _stage(state: str) -> Stage:
    """Read the letters of a state: several may hold at once."""
    if "z" in state:
        return Stage.ENDED
    if "E" in state or "h" in state:
        return Stage.HELD
    if "d" in state:
        return Stage.ENDING
    if set(state) & set("rtsST"):
        return Stage.RUNNING
    return Stage.QUEUED if "q" in state else Stage.UNKNOWN


def _moment(text: str | None) -> int | None:
    try:
        return int(time.mktime(time.strptime((text or "")[:19], "%Y-%m-%dT%H:%M:%S"))) * 1_000_000
    except ValueError:
        return None
