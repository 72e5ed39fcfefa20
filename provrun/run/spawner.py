"""The spawner: the process that starts tasks, follows them, and takes all of them along when it ends.

It is a small process of its own: no rank, database or MPI library is in it, so what it starts inherits nothing, and
the smallest memory that is measured for a command is its own. It ends when the agent's end of the socket is closed.
"""

from __future__ import annotations

import gc
import os
import socket
import sys
import traceback
from collections import deque
from pathlib import Path
from typing import NamedTuple, NoReturn

import msgspec

from provrun.core.messages import Codec, Failed, Joined, Kill, RunMap, Start, Stop, Tasks
from provrun.errors import ProvrunError
from provrun.run.channel import Channel, Closed
from provrun.run.commands import Commands
from provrun.run.declared import CannotStart
from provrun.run.functions import Functions
from provrun.run.loop import Loop
from provrun.run.nurseries import FunctionMap
from provrun.run.outcomes import not_started
from provrun.run.packs import PackWriter, pack_path
from provrun.run.processes import become_subreaper, children, kill_descendants, kill_tree
from provrun.run.recipes import CommandRecipe
from provrun.run.reports import Reports
from provrun.run.setup import SOCKET, Setup
from provrun.run.site import Site
from provrun.run.workers import key_of

_STRAYS = 0.5  # seconds between looks for processes that tasks left behind


class Unusable(NamedTuple):
    """A map whose recipe cannot be used, and why."""

    problem: str


class Spawner:
    """Takes tasks, keeps slots full, reports what ended."""

    def __init__(self, setup: Setup, channel: Channel) -> None:
        self.channel = channel
        self._loop = Loop()
        project = Path(setup.project)
        pack = PackWriter(pack_path(project, setup.job, setup.rank), setup.rank)
        reports = Reports(self._loop, self._send, pack)
        self.site = Site(self._loop, reports, project, setup.job, setup.rank)
        self._commands = Commands(self.site, self._free_cores)
        self._functions = Functions(self.site, setup.slots, self._free_cores, self._again)
        self._maps: dict[int, CommandRecipe | FunctionMap | Unusable] = {}
        self._queue: deque[Start] = deque()
        self._slots = self._free = setup.slots
        self._stopping = False
        self._loop.watch(channel.fileno(), self._hear)
        self._look_for_strays()
        reports.say(Joined(setup.slots, os.uname().nodename, setup.host))

    def run(self) -> None:
        """Work until the agent closes its end."""
        while True:
            self._loop.turn()
            self._fill()
            if not self._queue:
                self.site.reports.flush()
            if self.channel.wants_write:
                self.channel.flush()
                self._loop.watch_writing(self.channel.fileno(), self.channel.wants_write)

    def close(self) -> None:
        """Kill everything, leave nothing."""
        kill_descendants()
        self.site.close()

    def _send(self, message: bytes) -> None:
        self.channel.send(message)

    def _hear(self) -> None:
        for data in self.channel.receive():
            message = Codec.decode_to_agent(data)
            if isinstance(message, Tasks):
                self._take(message.tasks)
            elif isinstance(message, RunMap):
                self._learn(message)
            elif isinstance(message, Kill):
                self._cancel(message)
            else:
                self._stop(message)

    def _take(self, tasks: list[Start]) -> None:
        if self._stopping:
            self.site.reports.give_back([key_of(start) for start in tasks], started=False)
        else:
            self._queue.extend(tasks)

    def _fill(self) -> None:
        queue = self._queue
        while queue:
            recipe = self._maps[queue[0].map]
            if isinstance(recipe, FunctionMap):
                taken = self._take_functions(recipe)
                if taken is None:
                    return
                self._free -= taken
                continue
            if isinstance(recipe, Unusable):
                self.site.reports.add(not_started(queue.popleft(), recipe.problem))
                continue
            cores = recipe.policy.cores
            if cores > self._free and self._free < self._slots:
                return  # a task of more cores than there are runs alone
            self._free -= cores
            self._commands.start(recipe, queue.popleft())

    def _take_functions(self, map: FunctionMap) -> int | None:
        try:
            return self._functions.take(map, self._queue, self._free)
        except CannotStart as problem:
            start = self._queue.popleft()
            self.site.reports.add(not_started(start, problem.message))
            return 0

    def _learn(self, run: RunMap) -> None:
        try:
            self._maps[run.map] = self._compile(run)
        except ProvrunError as problem:
            self._maps[run.map] = Unusable(problem.message)

    def _compile(self, run: RunMap) -> CommandRecipe | FunctionMap:
        if run.recipe.kind == "function":
            map = FunctionMap(run, self.site)
            self._functions.add(map)
            return map
        return CommandRecipe(run, self.site)

    def _again(self, tasks: list[Start]) -> None:
        if self._stopping:
            self.site.reports.give_back([key_of(start) for start in tasks], started=False)
        else:
            self._queue.extendleft(reversed(tasks))

    def _free_cores(self, cores: int) -> None:
        self._free += cores

    def _cancel(self, message: Kill) -> None:
        wanted = set(message.tasks)
        queued = [key for start in self._queue if (key := key_of(start)) in wanted]
        self._queue = deque(start for start in self._queue if key_of(start) not in wanted)
        self.site.reports.give_back(queued, started=False)
        self._commands.kill(wanted)
        self._functions.kill(wanted)

    def _stop(self, message: Stop) -> None:
        self._stopping = True
        queued = [key_of(start) for start in self._queue]
        self._queue.clear()
        self.site.reports.give_back(queued, started=False)
        self._functions.stop(message.now)
        if message.now:
            self._commands.give_back()

    def _look_for_strays(self) -> None:
        """Kill what tasks that ended have left behind: their orphans have become children of this process."""
        known = self._loop.child_pids
        for pid in children():
            if pid not in known:
                kill_tree(pid)
        self._loop.later(_STRAYS, self._look_for_strays)


def main() -> NoReturn:
    """Be a spawner: the setup is the last argument, the agent's socket the descriptor `SOCKET`."""
    setup = msgspec.json.decode(sys.argv[-1], type=Setup)
    _close_others()
    become_subreaper()
    channel = Channel(socket.socket(fileno=SOCKET))
    spawner: Spawner | None = None
    try:
        spawner = Spawner(setup, channel)
        gc.freeze()
        spawner.run()
    except Closed:
        pass
    except ProvrunError as error:
        _say(channel, str(error))
    except Exception:  # whatever it is, the manager must be told before this process goes
        _say(channel, traceback.format_exc())
    finally:
        if spawner:
            spawner.close()
    os._exit(0)


def _close_others() -> None:
    """Keep the socket alone: a launcher of MPI waits for whoever holds one of its pipes."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(nothing, fd, inheritable=False)
    os.set_inheritable(SOCKET, False)
    os.closerange(SOCKET + 1, os.sysconf("SC_OPEN_MAX"))


def _say(channel: Channel, reason: str) -> None:
    channel.send(Codec.encode(Failed(reason)))
    channel.sock.setblocking(True)
    channel.flush()
