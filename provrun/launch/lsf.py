"""LSF: bsub, bjobs, bkill."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from shlex import quote

from provrun.core.allocation import Request, Stage, Told
from provrun.launch.dialect import Answer, Command, Unreadable
from provrun.launch.script import script

_STAGES = {
    "PEND": Stage.QUEUED, "PROV": Stage.QUEUED, "WAIT": Stage.QUEUED, "FWD_PEND": Stage.QUEUED, "PSUSP": Stage.HELD,
    "RUN": Stage.RUNNING, "USUSP": Stage.RUNNING, "SSUSP": Stage.RUNNING, "DONE": Stage.COMPLETED,
    "EXIT": Stage.FAILED,
}
_REASONS = {
    "TERM_RUNLIMIT": Stage.TIMEOUT, "TERM_DEADLINE": Stage.TIMEOUT, "TERM_OWNER": Stage.CANCELLED,
    "TERM_FORCE_OWNER": Stage.CANCELLED, "TERM_ADMIN": Stage.CANCELLED, "TERM_FORCE_ADMIN": Stage.CANCELLED,
    "TERM_PREEMPT": Stage.PREEMPTED, "TERM_EXTERNAL_SIGNAL": Stage.CANCELLED,
}
_FIELDS = "jobid stat job_name exec_host pend_reason exit_reason"


class Lsf:
    """The dialect of LSF 10."""

    name = "lsf"
    probe: tuple[str, ...] = ("bsub",)
    reuses = True

    def job_name(self, uuid: str) -> str:
        return f"provrun-{uuid}"

    def render(self, request: Request) -> str:
        return script(request, (f"#BSUB {line}" for line in self._directives(request)))

    def _directives(self, request: Request) -> Iterator[str]:
        slots = request.slots or 1
        yield f"-J {request.name}"
        yield f"-n {request.nodes * slots}"
        yield f'-R "span[ptile={slots}]"'
        if request.slots is None:
            yield "-x"
        if request.time is not None:
            minutes = -int(-request.time // 60)
            yield f"-W {minutes // 60}:{minutes % 60:02d}"
        if request.queue is not None:
            yield f"-q {request.queue}"
        if request.account is not None:
            yield f"-P {request.account}"
        if request.exclude:
            yield f'-R "select[{" && ".join(f"hname!={node}" for node in request.exclude)}]"'
        if request.after is not None:
            yield f'-w "ended({request.after})"'
        yield f"-cwd {quote(request.folder)}"
        yield f"-o {quote(request.output)}"  # and no mail
        yield "-rn"
        for name, value in request.options:
            yield f"-{name} {value}".rstrip()

    def submit(self, script: str, request: Request) -> Command:
        # Directives count in what it reads from stdin; in a file only where the site says so.
        return Command(["bsub"], stdin=self.render(request))

    def submitted(self, answer: Answer) -> str:
        found = re.search(r"^Job <(\d+)> is submitted", answer.out, re.MULTILINE)
        if answer.exit or found is None:
            raise Unreadable(answer.err or answer.out)
        return found[1]

    def query(self, ids: Collection[str]) -> Command:
        return Command(["bjobs", "-a", "-o", _FIELDS, "-json", *ids], environ={"LSB_BJOBS_FORMAT": None})

    def told(self, answer: Answer, ids: Collection[str]) -> dict[str, Told]:
        try:
            records = json.loads(answer.out)["RECORDS"]
        except (ValueError, KeyError, TypeError):
            if re.search(r"Job <\d+> is not found", answer.err) and not answer.out.strip():
                return {}
            raise Unreadable(answer.err or answer.out) from None
        return {
            record["JOBID"]: _told(record)
            for record in records
            if isinstance(record, dict) and record.get("JOBID") in ids and "STAT" in record
        }

    def cancel(self, ids: Collection[str]) -> Command:
        return Command(["bkill", *ids])


def _told(record: Mapping[str, str]) -> Told:
    stage = _STAGES.get(record["STAT"], Stage.UNKNOWN)
    why = record.get("EXIT_REASON", "")
    if stage is Stage.FAILED:
        stage = next((reason for word, reason in _REASONS.items() if word in why), stage)
    return Told(
        stage=stage, name=record.get("JOB_NAME"), nodes=record.get("EXEC_HOST") or None,
        reason=why or record.get("PEND_REASON") or None,
    )
