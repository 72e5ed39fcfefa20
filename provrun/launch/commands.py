"""Run the commands of schedulers: with a time-out, and no more of them than a scheduler bears."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path

from provrun.core.allocation import Request, Told
from provrun.core.shape import Queue
from provrun.errors import Unavailable
from provrun.launch.dialect import Answer, Command, Dialect, Unreadable
from provrun.launch.dialects import DIALECTS, named
from provrun.launch.limits import Limits

BURST = 40
RATE = 4 / 60  # more calls a second
PATIENCE = 60.0  # seconds that a command may take
WAIT = 120.0  # seconds that a call which must be made waits for its turn
# Within a job these describe that job; a command would take them as wishes for another one.
_OF_A_JOB = "SLURM_"
_KEPT = ("SLURM_CONF", "SLURM_CLUSTERS", "SLURM_CONF_SERVER")
# What schedulers say of a job that is over already.
_GONE = re.compile(
    r"invalid job id|already comple|already finished|has finished|unknown job|not found|does not exist|no matching job"
    r"|inactive",
    re.IGNORECASE,
)


class Budget:
    """At most 40 calls at once and 4 a minute more, counted in a file for all processes of a user in a project."""

    def __init__(self, path: Path, now: Callable[[], float] = time.time) -> None:
        self.path = path
        self._now = now

    def take(self) -> float:
        """Take one call; give 0, or after how many seconds there will be one.

        What cannot be counted, as on a full disk, may be called: cancelling must go on.
        """
        import fcntl

        wait = 0.0
        with suppress(OSError), self.path.open("a+", encoding="ascii") as file:
            with suppress(OSError):  # a file system without locks: several processes may then take the same call
                fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            now = self._now()
            left, at = _numbers(file.read(100), now)
            left = min(BURST, left + max(0.0, now - at) * RATE)
            wait = 0.0 if left >= 1 else (1 - left) / RATE
            file.truncate(0)
            file.write(json.dumps([left if wait else left - 1, now]))
        return wait


class Scheduler:
    """A scheduler that is asked through its commands; what does not answer is `Unavailable`, never an answer."""

    def __init__(
        self, dialect: Dialect, folder: Path, *, environ: Mapping[str, str] | None = None, patience: float = PATIENCE
    ) -> None:
        self.dialect = dialect
        self._environ = dict(os.environ if environ is None else environ)
        self._patience = patience
        self._budget = Budget(folder / f"budget-{os.getuid()}")  # schedulers count by user

    def submit(self, script: Path, request: Request) -> str:
        """Submit a script and give the scheduler's id of the job."""
        answer = self._run(self.dialect.submit(str(script), request), wait=WAIT)
        try:
            return self.dialect.submitted(answer)
        except Unreadable as error:
            refused = self._refused(answer, "did not take the job", error)
            refused.next = "the same command with --dry-run shows the script"
            raise refused from error

    def query(self, ids: Collection[str]) -> dict[str, Told]:
        """Ask for all these jobs at once; one that is not named in the answer is absent."""
        if not ids:
            return {}
        answer = self._run(self.dialect.query(ids), wait=0.0)
        try:
            return self.dialect.told(answer, ids)
        except Unreadable as error:
            raise self._refused(answer, "does not say how jobs stand", error) from error

    def allowed(self, limits: Limits, queue: str | None) -> Queue:
        """Ask what a queue allows (None: the one that jobs go to unasked)."""
        answers = [self._run(command, wait=0.0) for command in limits.ask(queue)]
        try:
            return limits.read(answers, queue)
        except Unreadable as error:
            raise self._refused(answers[0], "does not say what a queue allows", error) from error

    def cancel(self, ids: Collection[str]) -> None:
        """Cancel all these jobs at once; those that are over are no error."""
        if not ids:
            return
        answer = self._run(self.dialect.cancel(ids), wait=WAIT)
        if answer.exit and not _GONE.search(answer.err + answer.out):
            raise self._refused(answer, "does not cancel", Unreadable(answer.err or answer.out))

    def _refused(self, answer: Answer, what: str, error: Unreadable) -> Unavailable:
        said = str(error).strip() or f"exit code {answer.exit}"
        return Unavailable(f"{self.dialect.name} {what}: {said}", value=said)

    def _run(self, command: Command, wait: float) -> Answer:
        until = time.monotonic() + wait
        while self.dialect.name != "local" and (pause := self._budget.take()):
            if time.monotonic() + pause > until:
                raise Unavailable(
                    f"{self.dialect.name} has been asked {BURST} times in a short while", value=command.words[0],
                    next=f"it can be asked again in {pause:.0f} s",
                )
            time.sleep(pause)
        return _run(command, self._surroundings(command), self._patience)

    def _surroundings(self, command: Command) -> dict[str, str]:
        environ = {
            name: value for name, value in self._environ.items() if not name.startswith(_OF_A_JOB) or name in _KEPT
        }
        for name, value in command.environ.items():
            if value is None:
                environ.pop(name, None)
            else:
                environ[name] = value
        return {**environ, "LC_ALL": "C"}


def detected() -> str:
    """Name the scheduler whose programs this machine has, and which are set up; `Unavailable` if there is none."""
    probes = {name: named(name).probe for name in DIALECTS if name != "local"}
    broken = ""
    for name, probe in probes.items():
        if shutil.which(probe[0]):
            # Programs are often installed where nothing is set up, and say so; there are two kinds of qsub.
            answer = _run(Command(list(probe)), os.environ, PATIENCE) if len(probe) > 1 else None
            if answer is None or not answer.exit:
                return name
            said = (answer.err or answer.out).strip().rpartition("fatal: ")[2].partition("\n")[0]
            broken += f"; {probe[0]} is there, but {said}"
    programs = ", ".join(probe[0] for probe in probes.values())
    raise Unavailable(
        f"no scheduler on this machine: none of {programs} works here{broken}", value=None,
        next="provrun launch --scheduler local runs in the background on this host",
    )


def _run(command: Command, environ: Mapping[str, str], patience: float) -> Answer:
    name = command.words[0]
    try:
        process = subprocess.Popen(
            command.words, env=environ, text=True, errors="replace", stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL if command.stdin is None else subprocess.PIPE, start_new_session=True,
        )
    except OSError as error:
        raise Unavailable(f"{name} cannot be run: {error.strerror}", value=name) from error
    try:
        out, err = process.communicate(command.stdin, timeout=patience)
    except subprocess.TimeoutExpired:
        raise Unavailable(
            f"{name} has not answered within {patience:g} s", value=name, next="try again later"
        ) from None
    finally:
        if process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
    return Answer(process.returncode, out, err)


def _numbers(text: str, now: float) -> tuple[float, float]:
    try:
        left, at = json.loads(text)
        return float(left), float(at)
    except (ValueError, TypeError):  # new, or torn
        return float(BURST), now
