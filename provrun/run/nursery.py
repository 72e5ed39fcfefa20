"""A nursery: forked from the spawner, it imports one module and forks the children that run its functions."""

from __future__ import annotations

import faulthandler
import gc
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from mmap import mmap
from typing import NoReturn

from provrun.run import lines
from provrun.run.calling import Call
from provrun.run.capture import Tape
from provrun.run.child import Child
from provrun.run.folder import Folder
from provrun.run.lane import Lane
from provrun.run.lines import Born, Ended, Fork, Import, Imported
from provrun.run.loader import Loader
from provrun.run.pinned import Pinned

LARGEST_CONTROL = 1 << 20
"""Bytes of the largest message on the control socket, which keeps messages apart."""


class Nursery:
    """Imports a module once and forks children, until the control socket is closed."""

    def __init__(
        self, control: socket.socket, memory: mmap, loader: Loader, project: str, workdir: str, folder: str
    ) -> None:
        self._control = control
        self._memory = memory
        self._loader = loader
        self._project = project
        self._workdir = workdir
        self._folder = folder
        self._lanes: dict[int, int] = {}
        self._forkable = True

    def run(self) -> None:
        """Serve the spawner."""
        wake, written = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, _ignore)
        signal.set_wakeup_fd(written, warn_on_full_buffer=False)
        import select

        poll = select.poll()
        poll.register(wake, select.POLLIN)
        poll.register(self._control, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poll.poll()}
            if wake in ready:
                with suppress(BlockingIOError):
                    os.read(wake, 4096)
                self._reap()
            if self._control.fileno() in ready:
                data, fds, _, _ = socket.recv_fds(self._control, LARGEST_CONTROL, 3)
                if not data:
                    return
                message = lines.decode_to_nursery(data)
                if isinstance(message, Import):
                    self._import(message)
                else:
                    self._fork(message, fds)

    def _say(self, message: lines.FromNursery) -> None:
        self._control.send(lines.encode(message))

    def _import(self, message: Import) -> None:
        run = message.run
        defaults: dict[str, object] = {}
        with suppress(BaseException):  # the tasks themselves will fail with what is wrong
            function = self._loader.function((run.recipe.function or "").rpartition(":")[2])
            defaults = Call(run, function, self._project, self._workdir).defaults(message.example)
        files = self._loader.files()
        self._loader.prepare_randomness(files)
        self._forkable = _is_forkable()
        gc.collect()
        gc.freeze()
        self._say(Imported(run.map, files, defaults, self._forkable))

    def _fork(self, message: Fork, fds: list[int]) -> None:
        sock, out, err = fds
        if not self._forkable:
            self._close(fds)
            self._say(Born(message.lane, 0))
            return
        pid = _fork()
        if pid == 0:
            self._be_child(message, sock, out, err)
        self._close(fds)
        self._lanes[pid] = message.lane
        self._say(Born(message.lane, pid))

    def _close(self, fds: list[int]) -> None:
        for fd in fds:
            os.close(fd)

    def _be_child(self, message: Fork, sock: int, out: int, err: int) -> NoReturn:
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU):
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            os.setsid()
            self._control.close()
            os.dup2(out, 1)
            os.dup2(err, 2)
            sys.stdout = os.fdopen(1, "w", closefd=False)
            sys.stderr = os.fdopen(2, "w", closefd=False, buffering=1, errors="backslashreplace")
            faulthandler.enable()  # a segmentation fault leaves its traceback in the log
            lane = Lane(self._memory, message.lane)
            tapes = Tape(out, 1), Tape(err, 2)
            folder = Folder(f"{self._folder}{message.lane}")
            folder.clear()
            Child(socket.socket(fileno=sock), lane, tapes, self._loader, self._project, self._workdir, folder).run()
            os._exit(0)
        except BaseException:  # whatever it is, it must be seen in the log of the task that met it
            import traceback

            traceback.print_exc()
        finally:
            os._exit(70)

    def _reap(self) -> None:
        with suppress(ChildProcessError):
            while True:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
                if not pid:
                    return
                lane = self._lanes.pop(pid, None)
                if lane is not None:
                    cpu = int((usage.ru_utime + usage.ru_stime) * 1e6)
                    self._say(Ended(lane, pid, status, cpu, usage.ru_maxrss))


def _fork() -> int:
    """Fork; wait a little where the system has no room for one more process just now."""
    for pause in (0.02, 0.1, 0.5, 2.0):
        try:
            return os.fork()
        except BlockingIOError:
            time.sleep(pause)
    return os.fork()


def _is_forkable() -> bool:
    """Tell whether children of this process can be forked safely after its imports.

    Threads are not in a forked child, whatever locks they hold are; CUDA and MPI refuse to work in one.
    """
    if "mpi4py.MPI" in sys.modules or threading.active_count() > 1 or len(os.listdir("/proc/self/task")) > 1:
        return False
    with open("/proc/self/maps", "rb") as file:
        return b"libcuda.so" not in file.read()


def _ignore(number: int, frame: object) -> None:
    """Do nothing: the pipe has been written to."""


def be_nursery(
    control: socket.socket,
    memory: mmap,
    place: str,
    project: str,
    workdir: str,
    environ: Mapping[str, str],
    folder: str,
    pinned: Pinned,
) -> NoReturn:
    """Become a nursery in a process just forked from the spawner."""
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        close_all_but([0, 1, 2, control.fileno()])
        os.environ.clear()
        os.environ.update(environ)
        loader = Loader(place, workdir, project, pinned)
        loader.enter()
        Nursery(control, memory, loader, project, workdir, folder).run()
    finally:
        os._exit(0)


def close_all_but(keep: list[int]) -> None:
    """Close all descriptors but these."""
    first = 0
    for fd in sorted(set(keep)):
        if first < fd:  # an empty range would close everything
            os.closerange(first, fd)
        first = fd + 1
    os.closerange(first, os.sysconf("SC_OPEN_MAX"))
