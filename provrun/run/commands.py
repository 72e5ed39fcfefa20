"""Commands: one process per attempt, started by posix_spawn in a session of its own."""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial

import msgspec

from provrun.core.messages import Key, Result, RunMap, Start
from provrun.core.records import Artifact
from provrun.core.states import Outcome
from provrun.errors import ProvrunError, UsageError
from provrun.run.attempts import Attempt, Scarce, Spent
from provrun.run.capture import Capture, Log, encode_log
from provrun.run.declared import CannotStart
from provrun.run.files import FileProblem
from provrun.run.limits import SCARCE, end_gently, limit_data
from provrun.run.outcomes import NoResult, died, last_line, not_started, parse, printed, shorten, stored
from provrun.run.packing import pack_outputs
from provrun.run.packs import LOG
from provrun.run.processes import Process, kill_tree, mark_of
from provrun.run.recipes import CommandRecipe
from provrun.run.seats import Seat
from provrun.run.site import Site
from provrun.run.warnings import SAVING, Warnings

_READ = 1 << 16
_PIPES = 2  # descriptors that a command costs
_FRESH = 0.002  # seconds in which a pipe, which holds 64 KiB, is not listened to
_AFTER_EXIT = 1 << 20  # the largest pipe: whoever still writes after the task's end is not listened to
_NO_MEMORY = ("MemoryError", "bad_alloc", "annot allocate", "ut of memory")
_DEFAULT_SIGNALS = (signal.SIGPIPE, signal.SIGXFSZ)  # Python ignores these, and a command would inherit that


class Commands:
    """Starts commands and reports how they ended."""

    def __init__(self, site: Site, again: Callable[[list[Start]], None]) -> None:
        self._site = site
        self._again = again
        self._recipes: dict[int, CommandRecipe] = {}
        self._nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._preparing: set[Attempt] = set()
        self._fresh: list[Attempt] = []
        self._running: dict[int, Attempt] = {}
        self._short = False
        self._warnings = Warnings(site.loop)
        self._until: float | None = None

    def learn(self, run: RunMap) -> None:
        """Learn of a map."""
        self._recipes[run.map] = CommandRecipe(run, self._site)

    def take(self, queue: deque[Start]) -> bool:
        """Start the task at the head of the queue if there is a seat for it."""
        start, seats = queue[0], self._site.seats
        recipe = self._recipes[start.map]
        try:
            cores, gpus = recipe.policy.wants(start, seats)
        except CannotStart as problem:
            self._site.reports.add(not_started(queue.popleft(), problem.message))
            return True
        if self._short or not seats.fits(cores, gpus) or not self._site.descriptors.take(_PIPES):
            return False
        queue.popleft()
        self._start(recipe, start, seats.take(cores, gpus))
        return True

    def _start(self, recipe: CommandRecipe, start: Start, seat: Seat) -> None:
        attempt = Attempt(recipe, start, self._site.take_desk(), seat)
        try:
            attempt.uses = recipe.uses
            attempt.names = recipe.names(start, attempt.desk)
            if recipe.declared:
                inputs, attempt.outputs = recipe.declared.fill(attempt.names)
                self._preparing.add(attempt)
                paths = [os.path.join(recipe.workdir, path) for path in inputs]
                self._site.files.prepare(paths, lambda: self._begin(attempt, inputs))
            else:
                self._spawn(attempt)
        except (CannotStart, UsageError) as problem:
            self._not_started(attempt, problem)
        except Scarce as problem:
            self._wait_for_room(attempt, problem)

    def kill(self, keys: Iterable[Key]) -> None:
        """End running attempts as cancelled."""
        wanted = set(keys)
        self._drop([attempt for attempt in self._preparing if attempt.key in wanted])
        for attempt in self._running.values():
            if attempt.key in wanted and attempt.why is None:
                self._end(attempt, Outcome.CANCELLED)

    def stop(self, now: bool) -> None:
        """Give back what has not started, and with ``now`` end and give back what runs."""
        self._drop(list(self._preparing))
        if not now:
            return
        for attempt in self._running.values():
            if attempt.recipe.policy.checkpoint and attempt.warned is None:
                self._warn(attempt, SAVING)
            else:
                self._return(attempt)

    def warn(self, seconds: float) -> None:
        """Let attempts with a checkpoint save where they are; those that still run after the seconds are given back."""
        self._until = time.monotonic() + seconds
        for attempt in self._running.values():
            if attempt.recipe.policy.checkpoint and attempt.warned is None:
                self._warn(attempt, seconds)

    def owns(self, process: Process) -> bool:
        """Tell whether an orphan is in the session of a running attempt, or carries its name."""
        if process.session in self._running:
            return True
        mark = mark_of(process.pid, "PROVRUN_ATTEMPT")
        return mark is not None and any(attempt.name == mark for attempt in self._running.values())

    def _warn(self, attempt: Attempt, seconds: float) -> None:
        attempt.warned = set()
        self._warnings.add(attempt)
        attempt.timers.append(self._site.loop.later(seconds, lambda: self._return(attempt)))

    def _return(self, attempt: Attempt) -> None:
        """End an attempt and give it back."""
        attempt.returned = True
        self._end(attempt, Outcome.CANCELLED)

    def _begin(self, attempt: Attempt, inputs: list[str]) -> None:
        """Start a command whose inputs have been digested."""
        self._preparing.discard(attempt)
        if attempt.returned:
            self._leave(attempt)
            return
        try:
            attempt.artifacts = self._site.files.inputs(attempt.recipe.workdir, inputs)
            self._spawn(attempt)
        except (CannotStart, FileProblem, UsageError) as problem:
            self._not_started(attempt, problem)
        except Scarce as problem:
            self._wait_for_room(attempt, problem)

    def _wait_for_room(self, attempt: Attempt, problem: Scarce) -> None:
        """Start it again when another one has ended and left what was scarce; alone it can never start."""
        if not self._running:
            self._not_started(attempt, problem)
            return
        self._short = True
        self._leave(attempt)
        self._again([attempt.start])

    def _not_started(self, attempt: Attempt, problem: ProvrunError) -> None:
        self._site.reports.add(not_started(attempt.start, problem.message))
        self._leave(attempt)

    def _drop(self, attempts: list[Attempt]) -> None:
        for attempt in attempts:
            attempt.returned = True
        self._site.reports.give_back([attempt.key for attempt in attempts], started=False)

    def _leave(self, attempt: Attempt) -> None:
        self._site.leave_desk(attempt.desk)
        self._site.seats.leave(attempt.seat)
        self._site.descriptors.leave(_PIPES)

    def _spawn(self, attempt: Attempt) -> None:
        recipe, start, desk = attempt.recipe, attempt.start, attempt.desk
        desk.write_params(start.params.encode())
        words = recipe.words(start, attempt.names)
        path = recipe.executable(words[0])
        environment = recipe.variables(start, desk, attempt.names, attempt.seat)
        try:
            # Every time: a task may have removed the folder, and another made it again.
            os.chdir(recipe.workdir)
        except OSError as error:
            raise CannotStart(f"cannot enter the folder {recipe.workdir}: {error.strerror}") from None
        attempt.out_fd, out = _pipe()
        try:
            attempt.err_fd, err = _pipe()
        except Scarce:
            os.close(out)
            os.close(attempt.out_fd)
            raise
        attempt.started = time.time_ns() // 1000
        attempt.begun = time.monotonic()

        def start_it() -> int:
            return os.posix_spawn(
                path, words, environment, setsid=True, setsigdef=_DEFAULT_SIGNALS, setsigmask=(),
                file_actions=(
                    (os.POSIX_SPAWN_DUP2, self._nothing, 0),
                    (os.POSIX_SPAWN_DUP2, out, 1),
                    (os.POSIX_SPAWN_DUP2, err, 2),
                ),
            )  # fmt: skip

        try:
            attempt.pid = self._site.seats.pinned(attempt.seat, start_it)
        except OSError as error:
            os.close(attempt.out_fd)
            os.close(attempt.err_fd)
            if error.errno in SCARCE:
                raise Scarce(f"cannot run {words[0]}: {error.strerror}") from None
            recipe.forget(words[0])
            raise CannotStart(f"cannot run {words[0]}: {error.strerror}") from None
        finally:
            os.close(out)
            os.close(err)
        self._follow(attempt)

    def _follow(self, attempt: Attempt) -> None:
        loop = self._site.loop
        self._running[attempt.pid] = attempt
        loop.on_exit(attempt.pid, self._ended)
        if not self._fresh:
            loop.later(_FRESH, self._listen)
        self._fresh.append(attempt)
        if attempt.time is not None:
            attempt.timers.append(loop.later(attempt.time, lambda: self._end(attempt, Outcome.TIMEOUT)))
        if attempt.memory is not None:
            limit_data(attempt.pid, attempt.memory)
            self._site.memory.add(attempt)
        if self._until is not None and attempt.recipe.policy.checkpoint:
            self._warn(attempt, max(0.0, self._until - time.monotonic()))

    def _listen(self) -> None:
        """Read what commands print from now on; those that have ended since were not worth two more system calls."""
        for attempt in self._fresh:
            if attempt.pid in self._running:
                self._site.loop.watch(attempt.out_fd, partial(self._read, attempt.out_fd, attempt.out))
                self._site.loop.watch(attempt.err_fd, partial(self._read, attempt.err_fd, attempt.err))
        self._fresh.clear()

    def _read(self, fd: int, capture: Capture) -> None:
        data = os.read(fd, _READ)
        if data:
            capture.feed(data)
        else:
            self._site.loop.unwatch(fd)

    def _end(self, attempt: Attempt, why: Outcome) -> None:
        if attempt.why is None:
            attempt.why = why
            attempt.timers.append(end_gently(self._site.loop, attempt.pid))

    def _ended(self, pid: int) -> None:
        attempt = self._running.pop(pid)
        self._short = False
        wall = int((time.monotonic() - attempt.begun) * 1e6)
        if attempt.why is not None:
            kill_tree(pid)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)  # what it left running in its session's first group
        _, status, usage = os.wait4(pid, 0)
        for timer in attempt.timers:
            timer.cancel()
        self._site.memory.discard(attempt)
        self._warnings.discard(attempt)
        self._drain(attempt.out_fd, attempt.out)
        self._drain(attempt.err_fd, attempt.err)
        if attempt.returned:
            self._site.reports.give_back([attempt.key], started=True)
            self._leave(attempt)
            return
        attempt.spent = Spent(status, wall, int((usage.ru_utime + usage.ru_stime) * 1e6), usage.ru_maxrss)
        if attempt.outputs:
            paths = [os.path.join(attempt.recipe.workdir, path) for path in attempt.outputs.values()]
            self._site.files.prepare(paths, lambda: self._finish(attempt))
        else:
            self._finish(attempt)

    def _finish(self, attempt: Attempt) -> None:
        try:
            uses = attempt.recipe.uses
        except CannotStart:  # a shared input has gone meanwhile, which the next task will be told
            uses = attempt.uses
        result = self._judge(attempt, attempt.spent, uses.number)
        if attempt.warned is not None and result.outcome not in (Outcome.SUCCEEDED, Outcome.CANCELLED):
            self._site.reports.give_back([attempt.key], started=True)
            self._leave(attempt)
            return

        def report(artifacts: list[Artifact]) -> None:
            uses.report(self._site.reports, msgspec.structs.replace(result, artifacts=artifacts))
            self._leave(attempt)

        recipe = attempt.recipe.run.recipe
        if recipe.pack and result.artifacts:
            pack_outputs(self._site.reports, attempt.recipe.workdir, recipe.outputs, result.artifacts, report)
        else:
            uses.report(self._site.reports, result)
            self._leave(attempt)

    def _drain(self, fd: int, capture: Capture) -> None:
        self._site.loop.unwatch(fd)
        heard = 0
        try:
            while heard < _AFTER_EXIT and (data := os.read(fd, _READ)):
                capture.feed(data)
                heard += len(data)
        except BlockingIOError:
            pass
        os.close(fd)

    def _judge(self, attempt: Attempt, spent: Spent, number: int) -> Result:
        start, recipe = attempt.start, attempt.recipe.run.recipe
        out, err = attempt.out.stream(), attempt.err.stream()
        outcome, detail, error = self._outcome(attempt, spent.status, err.tail or err.head)
        result = None
        artifacts = attempt.artifacts
        if outcome is Outcome.SUCCEEDED:
            try:
                if recipe.result == "file":
                    result = parse(_read_result(attempt.desk.result), "the result file")
                else:
                    result = printed(recipe.result, out)
                artifacts = artifacts + self._site.files.outputs(attempt.recipe.workdir, attempt.outputs)
            except (NoResult, FileProblem) as problem:
                outcome, error, result = Outcome.EXIT, shorten(problem.message), None
        if result is not None:
            result, more = stored(result, self._site.pack)
            artifacts = artifacts + more
        log = None
        if not (attempt.out.empty and attempt.err.empty):
            log = self._site.pack.append(LOG, encode_log(Log(out.trimmed(), err)))
        return Result(
            start.map, start.index, start.number, outcome, attempt.started, spent.wall, spent.cpu,
            max(spent.max_rss, attempt.peak), False, detail, error,
            result.text if result else None, result.digest if result else None, log, artifacts or None,
            attempt.uses.number, number,
        )  # fmt: skip

    def _outcome(self, attempt: Attempt, status: int, err: bytes) -> tuple[Outcome, int | None, str | None]:
        if attempt.why is Outcome.TIMEOUT:
            return Outcome.TIMEOUT, None, f"ran longer than its limit of {attempt.time:g} s"
        if attempt.why is Outcome.MEMORY:
            limit = (attempt.memory or 0) >> 20
            return Outcome.MEMORY, None, f"took {attempt.peak // 1024} MiB, its limit is {limit} MiB"
        if attempt.why is Outcome.CANCELLED:
            return Outcome.CANCELLED, None, "cancelled while it ran"
        if status == 0:
            return Outcome.SUCCEEDED, 0, None
        outcome, detail, error = died(status, self._site.oom_kills)
        if outcome is Outcome.EXIT:
            error = last_line(err) or error
            if attempt.memory is not None and any(word in error for word in _NO_MEMORY):  # it met the backstop
                outcome = Outcome.MEMORY
        return outcome, detail, error


def _pipe() -> tuple[int, int]:
    """Make a pipe for what a command prints; its own end waits for room, ours never waits."""
    try:
        ours, its = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise Scarce(f"cannot open a pipe: {error.strerror}") from None
    os.set_blocking(its, True)
    return ours, its


def _read_result(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            data = file.read()
        os.unlink(path)
    except FileNotFoundError:
        raise NoResult("no result was written to $PROVRUN_RESULT") from None
    return data
