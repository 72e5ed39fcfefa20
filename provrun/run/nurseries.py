"""The spawner's end of the nurseries: one process per module and folder, replaced when the module's files change."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from mmap import mmap
from typing import Protocol

from provrun.core.messages import RunMap, Start
from provrun.run import lines
from provrun.run.declared import CannotStart, Declared
from provrun.run.files import Seen
from provrun.run.lines import Born, Ended, Fork, Import, Imported
from provrun.run.nursery import LARGEST_CONTROL, be_nursery
from provrun.run.pinned import Pinned
from provrun.run.processes import Process, children, command_of, kill_tree, read_process
from provrun.run.recipes import TaskPolicy, task_environment
from provrun.run.site import Site
from provrun.run.uses import Uses
from provrun.run.workers import Place, Worker

Folder = tuple[int, int]  # device and number of a working folder
NurseryKey = tuple[str, str, str, int, int, int]

_AIM = 0.02  # seconds of work in one message
_MOST = 1000  # tasks in one message


class FunctionMap:
    """A map whose recipe is a function."""

    def __init__(self, run: RunMap, site: Site) -> None:
        self.run = run
        self.policy = TaskPolicy(run)
        self.workdir = site.workdir(run.workdir)
        self.pinned = Pinned(run, site.project)
        self.place = (run.recipe.function or "").rpartition(":")[0]
        self.uses = Uses(run, Declared(run), site.files, site.project, self.workdir)
        self.example: Start | None = None
        self.mean: float | None = None
        self.batch = 1

    def change(self, run: RunMap) -> None:
        """Take on another policy; what uses of files were told stays as it is."""
        self.run = run
        self.policy = TaskPolicy(run)

    @property
    def key(self) -> NurseryKey:
        """Name the nursery whose children can run it."""
        code = self.pinned.folder(self.workdir)
        return self.workdir, self.place, code, self.policy.cores, self.policy.threads, self.policy.gpus

    @property
    def short(self) -> bool:
        """Tell whether its tasks are so short that a child should have the next ones at hand."""
        return self.mean is not None and self.mean < _AIM / 4

    def learn(self, seconds: float) -> None:
        """Take note of how long a task takes, for the number of tasks in a message."""
        self.mean = seconds if self.mean is None else 0.7 * self.mean + 0.3 * seconds
        self.batch = max(1, min(int(_AIM / max(self.mean, 1e-6)), 4 * self.batch, _MOST))


class Nursery:
    """One nursery process; a ``bare`` one has imported nothing, so that its children do."""

    def __init__(
        self, key: NurseryKey, policy: TaskPolicy, pinned: Pinned, pid: int, control: socket.socket, bare: bool,
        folder: Folder,
    ) -> None:
        self.key = key
        self.policy = policy
        self.pinned = pinned
        self.pid = pid
        self.bare = bare
        self.maps: set[int] = set()
        self.imported: set[int] = set()
        self.files: dict[str, Seen] = {}
        self.idle: list[Worker] = []
        self.workers: dict[int, Worker] = {}
        self.retired = False
        self.control = control
        self.folder = folder

    def say(self, message: lines.ToNursery, fds: list[int] | None = None) -> None:
        """Send a message; of a nursery that has died its exit will tell."""
        with suppress(BrokenPipeError, ConnectionResetError):
            socket.send_fds(self.control, [lines.encode(message)], fds or [])

    def fork(self, place: Place) -> Worker:
        """Let it fork a child; tasks can be handed over at once."""
        ours, theirs = socket.socketpair()
        self.say(Fork(place.number), [theirs.fileno(), place.out, place.err])
        theirs.close()
        worker = self.workers[place.number] = Worker(place, ours, self)
        return worker

    def waiting(self) -> bool:
        """Tell whether it has said something that was not heard yet."""
        try:
            return bool(self.control.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except OSError:
            return False


class Keeper(Protocol):
    """Who looks after the children."""

    def born(self, nursery: Nursery, worker: Worker, pid: int) -> None: ...

    def ended(self, nursery: Nursery, worker: Worker, message: Ended) -> None: ...

    def owns(self, process: Process) -> bool: ...

    def let_go(self, nursery: Nursery, worker: Worker) -> None: ...


class Nurseries:
    """Starts nurseries, lets them import modules, replaces and ends them."""

    def __init__(self, site: Site, memory: mmap, maps: Mapping[int, FunctionMap], keeper: Keeper) -> None:
        self._site = site
        self._memory = memory
        self._maps = maps
        self._keeper = keeper
        self._all: dict[NurseryKey, Nursery] = {}

    def __iter__(self) -> Iterator[Nursery]:
        """Give the nurseries that take tasks."""
        return iter(list(self._all.values()))

    def of(self, map: FunctionMap, example: Start) -> Nursery:
        """Give the nursery in which a map's module is imported or being imported; raises `CannotStart`."""
        map.pinned.require()
        try:
            status = os.stat(map.workdir)
        except OSError as error:
            raise CannotStart(f"cannot enter the folder {map.workdir}: {error.strerror}") from None
        nursery = self._all.get(map.key)
        if nursery is not None and nursery.folder != (status.st_dev, status.st_ino):
            nursery = self.renew(nursery)  # it was removed and made again
        if nursery is None:
            nursery = self._start(map.key, map.policy, map.pinned, bare=False)
        elif map.uses.changed():
            nursery = self.renew(nursery)
        if map.run.map not in nursery.maps:
            map.example = example
            self._import(nursery, map)
        return nursery

    def forget(self, map: int) -> None:
        """Let a map be imported again: it applies another function."""
        for nursery in self:
            nursery.maps.discard(map)

    def renew(self, nursery: Nursery) -> Nursery:
        """Replace a nursery whose files have changed; its children finish what they run."""
        self.retire(nursery)
        fresh = self._start(nursery.key, nursery.policy, nursery.pinned, bare=False)
        for number in nursery.maps:
            map = self._maps[number]
            map.uses = map.uses.again()
            self._import(fresh, map)
        return fresh

    def retire(self, nursery: Nursery) -> None:
        """Give a nursery nothing more; it ends when its last child has, for it alone can wait for them."""
        self._all.pop(nursery.key, None)
        nursery.retired = True
        for worker in list(nursery.workers.values()):
            self._keeper.let_go(nursery, worker)
        self._close(nursery)

    def _start(self, key: NurseryKey, policy: TaskPolicy, pinned: Pinned, bare: bool) -> Nursery:
        workdir, place = key[:2]
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        environ = task_environment(self._site, policy)
        if pinned.on:
            environ["PROVRUN_CODE"] = pinned.folder(workdir)
        try:
            status = os.stat(workdir)
            there = status.st_dev, status.st_ino
        except OSError:  # its tasks will be told
            there = 0, 0
        pid = os.fork()
        if pid == 0:
            project, folder = self._site.project, self._site.child_folder()
            be_nursery(theirs, self._memory, place, project, workdir, environ, folder, pinned)
        theirs.close()
        nursery = self._all[key] = Nursery(key, policy, pinned, pid, ours, bare, there)
        self._site.loop.on_exit(pid, lambda _: self._ended(nursery))
        self._site.loop.watch(ours.fileno(), lambda: self._hear(nursery))
        return nursery

    def _import(self, nursery: Nursery, map: FunctionMap) -> None:
        importing = not nursery.bare and map.example is not None
        map.uses.awaited += importing
        map.uses.find(self._site.reports)
        nursery.maps.add(map.run.map)
        if importing and map.example is not None:  # else its children import, and tell of it before any result
            nursery.say(Import(map.run, map.example))

    def _hear(self, nursery: Nursery) -> None:
        try:
            data = nursery.control.recv(LARGEST_CONTROL)
        except ConnectionResetError:  # it died with something of ours unread
            data = b""
        if not data:
            self._site.loop.unwatch(nursery.control.fileno())
            return
        message = lines.decode_from_nursery(data)
        if isinstance(message, Imported):
            self._imported(nursery, message)
            return
        worker = nursery.workers[message.lane]
        if isinstance(message, Born):
            self._keeper.born(nursery, worker, message.pid)
        if isinstance(message, Ended) or not message.pid:
            del nursery.workers[message.lane]
        if isinstance(message, Ended):
            self._keeper.ended(nursery, worker, message)
        self._close(nursery)

    def _imported(self, nursery: Nursery, message: Imported) -> None:
        nursery.files.update(message.files)
        nursery.imported.add(message.map)
        if nursery.retired:
            return
        map = self._maps[message.map]
        map.uses.defaults = message.defaults
        map.uses.add(nursery.files)
        map.uses.arrived(self._site.reports)
        if not message.forkable:
            self._go_bare(nursery)

    def _go_bare(self, nursery: Nursery) -> None:
        """Let children import for themselves: forked from what a module has made of its nursery they are not safe."""
        self.retire(nursery)
        bare = self._start(nursery.key, nursery.policy, nursery.pinned, bare=True)
        bare.maps = nursery.maps
        for number in nursery.maps:
            if number not in nursery.imported:
                self._maps[number].uses.arrived(self._site.reports)

    def _ended(self, nursery: Nursery) -> None:
        """Reap a nursery; if it was not let go its import has killed it, or somebody has.

        Its children are this process's now, and need it for nothing.
        """
        os.waitpid(nursery.pid, 0)
        while nursery.waiting():
            self._hear(nursery)
        if any(not worker.pid for worker in nursery.workers.values()):
            self._kill_unnamed()
        for number, worker in list(nursery.workers.items()):
            if worker.pid and _is_ours(worker.pid):
                self._site.loop.on_exit(worker.pid, partial(self._adopted_ended, nursery, number))
                continue
            worker.end(None, "")
            del nursery.workers[number]
            self._keeper.ended(nursery, worker, Ended(number, worker.pid, signal.SIGKILL, 0, 0))
        if not nursery.retired:
            self._go_bare(nursery)

    def _adopted_ended(self, nursery: Nursery, number: int, pid: int) -> None:
        _, status, usage = os.wait4(pid, 0)
        cpu = int((usage.ru_utime + usage.ru_stime) * 1e6)
        worker = nursery.workers.pop(number)
        self._keeper.ended(nursery, worker, Ended(number, pid, status, cpu, usage.ru_maxrss))
        self._close(nursery)

    def _kill_unnamed(self) -> None:
        """Kill children that a dead nursery has forked without saying so: copies of this process that nobody owns."""
        for pid in children():
            if pid not in self._site.loop.child_pids and command_of(pid) == command_of(os.getpid()):
                process = read_process(pid)
                if process is not None and not self._keeper.owns(process):
                    kill_tree(pid)

    def _close(self, nursery: Nursery) -> None:
        if nursery.retired and not nursery.workers and nursery.control.fileno() >= 0:
            self._site.loop.unwatch(nursery.control.fileno())
            nursery.control.close()


def _is_ours(pid: int) -> bool:
    process = read_process(pid)
    return process is not None and process.parent == os.getpid()
