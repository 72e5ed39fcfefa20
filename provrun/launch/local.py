"""No scheduler: the batch script runs in the background on this host, in a session of its own."""

from __future__ import annotations

import re
from collections.abc import Collection

from provrun.core.allocation import Request, Stage, Told
from provrun.errors import UsageError
from provrun.launch.dialect import Answer, Command, Unreadable
from provrun.launch.script import script

BOOT = "/proc/sys/kernel/random/boot_id"
# An id is the process, when it started (clock ticks since boot) and the boot: no other process ever has it.
_SUBMIT = f"""\
setsid bash "$1" >>"$2" 2>&1 </dev/null &
read -r -a stat </proc/$!/stat
while [ "${{stat[5]}}" != $! ] && read -r -a stat </proc/$!/stat; do :; done 2>/dev/null  # until it has its session
read -r boot <{BOOT} && echo "$!.${{stat[21]}}.$boot"
"""
_CANCEL = f"""\
read -r boot <{BOOT}
for id in "$@"; do
  IFS=. read -r pid started on <<<"$id"
  [ "$on" = "$boot" ] && [ "$(sed 's/.*) //' /proc/$pid/stat 2>/dev/null | cut -d' ' -f20)" = "$started" ] &&
    kill -TERM "$pid"
done
:
"""
_WAIT = """\
while [ "$(sed 's/.*) //' /proc/{pid}/stat 2>/dev/null | cut -d' ' -f20)" = {started} ]; do sleep 1; done"""
_STAT = re.compile(r"^(\d+) \(.*\) (\S) (?:\S+ ){18}(\d+)")


class Local:
    """The dialect of this host's processes."""

    name = "local"
    probe: tuple[str, ...] = ("bash",)
    reuses = False

    def job_name(self, uuid: str) -> str:
        return f"provrun-{uuid}"

    def render(self, request: Request) -> str:
        for what, given in (
            ("nodes", request.nodes != 1), ("queue", request.queue), ("account", request.account),
            ("exclude", request.exclude), ("option", request.options),
        ):
            if given:
                raise UsageError(f"--{what} means nothing to --scheduler local: it is this host", value=what)
        wait = []
        if request.after is not None:
            pid, started, _ = request.after.split(".")
            wait = [_WAIT.format(pid=pid, started=started)]
        return script(request, (), wait)

    def submit(self, script: str, request: Request) -> Command:
        return Command(["bash", "-c", _SUBMIT, "bash", script, request.output])

    def submitted(self, answer: Answer) -> str:
        found = re.fullmatch(r"\d+\.\d+\.[0-9a-f-]+", answer.out.strip())
        if answer.exit or found is None:
            raise Unreadable(answer.err or answer.out)
        return found[0]

    def query(self, ids: Collection[str]) -> Command:
        return Command(["cat", BOOT, *(f"/proc/{id.partition('.')[0]}/stat" for id in ids)])

    def told(self, answer: Answer, ids: Collection[str]) -> dict[str, Told]:
        boot, *lines = answer.out.splitlines() or [""]
        if not boot:
            raise Unreadable(answer.err)
        alive = {f"{found[1]}.{found[3]}" for line in lines if (found := _STAT.match(line)) and found[2] not in "ZX"}
        # The processes of another host, or of before a restart, cannot be seen from here.
        here = [id for id in ids if id.endswith(f".{boot}")]
        return {
            id: Told(stage=Stage.RUNNING if id.rpartition(".")[0] in alive else Stage.ENDED) for id in here
        }

    def cancel(self, ids: Collection[str]) -> Command:
        return Command(["bash", "-c", _CANCEL, "bash", *ids])
