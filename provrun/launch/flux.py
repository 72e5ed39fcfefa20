"""Flux: flux batch, flux jobs, flux cancel."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from shlex import quote

from provrun.core.allocation import Request, Stage, Told
from provrun.launch.dialect import Answer, Command, Unreadable
from provrun.launch.script import script

_STAGES = {
    "NEW": Stage.QUEUED, "DEPEND": Stage.QUEUED, "PRIORITY": Stage.QUEUED, "SCHED": Stage.QUEUED, "RUN": Stage.RUNNING,
    "CLEANUP": Stage.ENDING, "COMPLETED": Stage.COMPLETED, "FAILED": Stage.FAILED, "CANCELED": Stage.CANCELLED,
    "TIMEOUT": Stage.TIMEOUT,
}
_FORM = "{id.f58}|{state}|{status}|{t_submit}|{expiration}|{nodelist}|{name}"
_UNKNOWN = re.compile(r"JobID \S+ (is )?unknown|unknown job", re.IGNORECASE)
_ASCII = {"FLUX_F58_FORCE_ASCII": "1"}


class Flux:
    """The dialect of Flux; ``inside`` a batch job, which is a Flux of its own, it speaks to the one around it."""

    name = "flux"
    probe: tuple[str, ...] = ("flux",)
    reuses = False

    def __init__(self, *, inside: bool = False) -> None:
        self._flux = ["flux", "--parent"] if inside else ["flux"]

    def job_name(self, uuid: str) -> str:
        return f"provrun-{uuid}"

    def render(self, request: Request) -> str:
        return script(request, (f"#flux: {quote(line)}" for line in self._directives(request)))

    def _directives(self, request: Request) -> Iterator[str]:
        yield f"--job-name={request.name}"
        yield f"--nodes={request.nodes}"
        if request.slots is not None:
            yield f"--nslots={request.nodes}"
            yield f"--cores-per-slot={request.slots}"
        else:
            yield "--exclusive"
        if request.time is not None:
            yield f"--time-limit={-int(-request.time // 1)}s"
        if request.queue is not None:
            yield f"--queue={request.queue}"
        if request.account is not None:
            yield f"--setattr=system.bank={request.account}"
        if request.exclude:
            yield f"--requires=-host:{','.join(request.exclude)}"
        if request.after is not None:
            yield f"--dependency=afterany:{request.after}"
        yield f"--cwd={request.folder}"
        yield f"--output={request.output}"
        for name, value in request.options:
            yield f"--{name}={value}" if value else f"--{name}"

    def submit(self, script: str, request: Request) -> Command:
        return Command([*self._flux, "batch", script], environ=_ASCII)

    def submitted(self, answer: Answer) -> str:
        found = re.search(r"^[ƒf](\w+)\s*\Z", answer.out, re.MULTILINE)
        if answer.exit or found is None:
            raise Unreadable(answer.err or answer.out)
        return f"f{found[1]}"

    def query(self, ids: Collection[str]) -> Command:
        return Command([*self._flux, "jobs", "-a", "--suppress-header", f"--format={_FORM}", *ids], environ=_ASCII)

    def told(self, answer: Answer, ids: Collection[str]) -> dict[str, Told]:
        if answer.exit and not _UNKNOWN.search(answer.err):
            raise Unreadable(answer.err or answer.out)
        asked = {id.lstrip("ƒf"): id for id in ids}
        found = {}
        for line in answer.out.splitlines():
            fields = line.split("|", 6)
            if len(fields) < 7:
                raise Unreadable(line)
            id, state, status, submitted, ends, nodes, name = fields
            if id.lstrip("ƒf") in asked:
                stage = _STAGES.get(status if state == "INACTIVE" else state, Stage.UNKNOWN)
                found[asked[id.lstrip("ƒf")]] = Told(
                    stage=stage, name=name, submitted=_moment(submitted), ends=_moment(ends), nodes=nodes or None
                )
        return found

    def cancel(self, ids: Collection[str]) -> Command:
        return Command([*self._flux, "cancel", *ids])


def _moment(seconds: str) -> int | None:
    try:
        return int(float(seconds) * 1e6) or None
    except ValueError:
        return None
