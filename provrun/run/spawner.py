"""The spawner: the process that starts tasks, follows them, and takes all of them along when it ends.

It is a small process of its own: no rank, database or MPI library is in it, so what it starts inherits nothing, and
the smallest memory that is measured for a command is its own. It ends when the agent's end of the socket is closed.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import NoReturn, Protocol

import msgspec

from provrun.core.messages import Codec, Failed, Key, Kill, Recall, Returned, RunMap, Start, Stop, Tasks, Warn
from provrun.errors import ProvrunError, StorageFailed
from provrun.run.channel import Channel, Closed
from provrun.run.limits import GRACE
from provrun.run.loop import Loop
from provrun.run.outcomes import not_started
from provrun.run.packs import PackWriter
from provrun.run.processes import (
    Process,
    become_subreaper,
    children,
    kill,
    kill_descendants,
    kill_tree,
    read_process,
)
from provrun.run.reports import Reports
from provrun.run.seats import Seats
from provrun.run.setup import SOCKET, Setup
from provrun.run.site import Site

RECORDING = 2.0  # seconds that the manager should have to record what was given back
_STRAYS = 0.5  # seconds between looks for processes that tasks left behind
_HUNT = 200


class Runner(Protocol):
    """Who runs tasks of one kind: commands, or functions."""

    def learn(self, run: RunMap) -> None:
        """Learn of a map; raises `ProvrunError` when its recipe cannot be used."""

    def take(self, queue: deque[Start]) -> bool:
        """Take tasks from the head of the queue; tell whether there was room for any."""

    def kill(self, keys: Iterable[Key]) -> None:
        """End attempts as cancelled; those that have not started are given back."""

    def stop(self, now: bool) -> None:
        """Give back what has not started, and with ``now`` end and give back what runs."""

    def owns(self, process: Process) -> bool:
        """Tell whether an orphan belongs to a task that still runs."""

    def warn(self, seconds: float) -> None:
        """Let tasks with a checkpoint save where they are; those that still run after the seconds are given back."""


class Spawner:
    """Takes tasks, keeps slots full, reports what ended."""

    def __init__(self, setup: Setup, channel: Channel) -> None:
        self.channel = channel
        self._loop = Loop()
        reports = Reports(self._loop, channel.send, PackWriter.of(setup.project, setup.job, setup.rank))
        self.site = Site(self._loop, reports, Seats(setup.slots, setup.gpus), setup)
        self._runners: dict[bool, Runner] = {}
        self._maps: dict[int, Runner] = {}
        self._unusable: dict[int, str] = {}
        # Those that want GPUs stand apart: who waits for one must not stop the others.
        self._plain: deque[Start] = deque()
        self._gpu: deque[Start] = deque()
        self._of: dict[int, deque[Start]] = {}
        self._stopping = False
        self._loop.watch(channel.fileno(), self._hear)
        self._look_for_strays()
        reports.say(setup.joined)

    def run(self) -> None:
        """Work until the agent closes its end."""
        while True:
            self._fill()
            if not self._plain:
                self.site.reports.flush()
            if self.channel.wants_write:
                self.channel.flush()
                self._loop.watch_writing(self.channel.fileno(), self.channel.wants_write)
            self._loop.turn()

    def close(self) -> None:
        """Kill everything, leave nothing."""
        kill_descendants()
        self.site.close()

    def _hear(self) -> None:
        for data in self.channel.receive():
            message = Codec.decode_to_agent(data)
            if isinstance(message, Tasks):
                self._take(message.tasks)
            elif isinstance(message, RunMap):
                self._learn(message)
            elif isinstance(message, Kill):
                self._cancel(message)
            elif isinstance(message, Stop):
                self._stop(message)
            elif isinstance(message, Recall):
                self._recall(message)
            else:
                self._warn(message)

    def _take(self, tasks: list[Start]) -> None:
        if self._stopping:
            self.site.reports.give_back([start.key for start in tasks], started=False)
        else:
            for start in tasks:
                self._of.get(start.map, self._plain).append(start)

    def _fill(self) -> None:
        self._fill_from(self._gpu)
        self._fill_from(self._plain)

    def _fill_from(self, queue: deque[Start]) -> None:
        while queue:
            runner = self._maps.get(queue[0].map)
            if runner is None:
                start = queue.popleft()
                self.site.reports.add(not_started(start, self._unusable[start.map]))
                continue
            if not runner.take(queue):
                return

    def _learn(self, run: RunMap) -> None:
        self._of[run.map] = self._gpu if run.policy.gpus else self._plain
        runner = self._runner(run.recipe.kind == "function")
        try:
            runner.learn(run)
            self._maps[run.map] = runner
        except ProvrunError as problem:
            self._maps.pop(run.map, None)
            self._unusable[run.map] = problem.message

    def _runner(self, functions: bool) -> Runner:
        """Give who runs functions, or commands; what that needs is imported when there is a map of its kind."""
        if functions not in self._runners:
            kind: Callable[..., Runner]
            if functions:
                from provrun.run.functions import Functions

                kind = Functions
            else:
                from provrun.run.commands import Commands

                kind = Commands
            self._runners[functions] = kind(self.site, self._again)
            gc.freeze()  # nothing of it is garbage, and in forked children touching it would copy it
        return self._runners[functions]

    def _again(self, tasks: list[Start]) -> None:
        if self._stopping:
            self.site.reports.give_back([start.key for start in tasks], started=False)
        else:
            for start in reversed(tasks):
                self._of.get(start.map, self._plain).appendleft(start)

    def _cancel(self, message: Kill) -> None:
        wanted = set(message.tasks)
        self.site.reports.give_back(self._withdraw(wanted), started=False)
        for runner in self._runners.values():
            runner.kill(wanted)

    def _recall(self, message: Recall) -> None:
        # What stands in a child behind a long task comes back to the queue by itself, for the next recall to find.
        queued = {start.key for queue in (self._plain, self._gpu) for start in queue}
        wanted = [key for key in message.tasks if key in queued][: message.most]
        self.site.reports.say(Returned(self._withdraw(set(wanted)), started=False, recalled=True))

    def _withdraw(self, wanted: set[Key]) -> list[Key]:
        """Take tasks out of the queues."""
        out: list[Key] = []
        for queue in (self._plain, self._gpu):
            queued = list(queue)
            queue.clear()
            for start in queued:
                if start.key in wanted:
                    out.append(start.key)
                else:
                    queue.append(start)
        return out

    def _stop(self, message: Stop) -> None:
        self._stopping = True
        for queue in (self._plain, self._gpu):
            self.site.reports.give_back([start.key for start in queue], started=False)
            queue.clear()
        for runner in self._runners.values():
            runner.stop(message.now)

    def _warn(self, message: Warn) -> None:
        # Who does not save in time is ended in time to be given back.
        seconds = max(message.seconds / 2, message.seconds - GRACE - RECORDING)
        for runner in self._runners.values():
            runner.warn(seconds)

    def _look_for_strays(self) -> None:
        """Kill what tasks that ended have left behind: their orphans have become children of this process.

        Some flee from one fork to the next, so it looks until there are none, but not for ever.
        """
        for _ in range(_HUNT):
            strays = [pid for pid in children() if pid not in self._loop.child_pids and not self._is_owned(pid)]
            if not strays:
                break
            for pid in strays:
                kill([pid])
                kill_tree(pid)
                with suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
        self._loop.later(_STRAYS, self._look_for_strays)

    def _is_owned(self, pid: int) -> bool:
        process = read_process(pid)
        return process is not None and any(runner.owns(process) for runner in self._runners.values())


class Descriptor:
    """A descriptor that somebody else has opened, as a socket: the module for those takes long to import."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def fileno(self) -> int:
        """Give the descriptor."""
        return self._fd

    def close(self) -> None:
        """Close it."""
        os.close(self._fd)
        self._fd = -1


def main() -> NoReturn:
    """Be a spawner: the setup is the last argument, the agent's socket the descriptor `SOCKET`."""
    setup = msgspec.json.decode(sys.argv[-1], type=Setup)
    _close_others()
    become_subreaper()
    # A scheduler that ends a job signals this process, too; its agent says what is to become of the tasks. A handler,
    # since what is ignored stays so in what is started.
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU):
        signal.signal(number, _ignore)
    channel = Channel(Descriptor(SOCKET))
    spawner: Spawner | None = None
    try:
        spawner = Spawner(setup, channel)
        spawner.run()
    except Closed:
        pass
    except ProvrunError as error:
        _say(channel, error.message, io=isinstance(error, StorageFailed))
    except Exception:  # whatever it is, the manager must be told before this process goes
        import traceback

        _say(channel, traceback.format_exc())
    finally:
        if spawner:
            spawner.close()
    os._exit(0)


def _ignore(number: int, frame: object) -> None:
    """Do nothing."""


def _close_others() -> None:
    """Keep the socket alone: a launcher of MPI waits for whoever holds one of its pipes."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(nothing, fd, inheritable=False)
    os.set_inheritable(SOCKET, False)
    os.closerange(SOCKET + 1, os.sysconf("SC_OPEN_MAX"))


def _say(channel: Channel, reason: str, io: bool = False) -> None:
    channel.send(Codec.encode(Failed(reason, io)))
    with suppress(Closed):
        channel.flush_all()
