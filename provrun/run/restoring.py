"""The state of a process that functions may change, restored before the next task; looking costs a microsecond."""

from __future__ import annotations

import os
import resource
import signal
import sys
import warnings
from collections.abc import Callable
from importlib import import_module
from typing import TextIO, cast

# The C function: that of `signal` makes an enum of every answer, at ten times the price.
_getsignal = cast("Callable[[int], object]", import_module("_signal").getsignal)
_SIGNALS = tuple(
    int(number)
    for number in (
        signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE, signal.SIGALRM,
        signal.SIGTERM, signal.SIGCHLD,
    )
)  # fmt: skip


_LIMITS = (
    resource.RLIMIT_CPU, resource.RLIMIT_FSIZE, resource.RLIMIT_DATA, resource.RLIMIT_STACK, resource.RLIMIT_CORE,
    resource.RLIMIT_NOFILE, resource.RLIMIT_AS, resource.RLIMIT_NPROC,
)  # fmt: skip


class Restorer:
    """Remembers folder, environment, umask, signal handlers, warning filters and standard streams."""

    def __init__(self, workdir: str) -> None:
        self._workdir = workdir
        self._enter()
        self._limits = [(number, resource.getrlimit(number)) for number in _LIMITS]
        # The dictionary behind `os.environ`: comparing it is a hundred times as fast as comparing the mapping.
        self._now = cast("dict[bytes, bytes]", vars(os.environ)["_data"])
        self._environment = dict(self._now)
        self._umask = os.umask(0o22)
        os.umask(self._umask)
        self._handlers = [(number, _getsignal(number)) for number in _SIGNALS]
        self._filters = list(warnings.filters)
        self._streams: tuple[TextIO, ...] = (sys.stdin, sys.stdout, sys.stderr)

    def set(self, name: bytes, value: bytes) -> None:
        """Set a variable that `restore` will leave alone."""
        self._now[name] = self._environment[name] = value
        os.putenv(name, value)

    def drop(self, name: bytes) -> None:
        """Forget a variable that was set."""
        self._environment.pop(name, None)

    def restore(self) -> None:
        """Put back what is not as it was."""
        try:
            os.fchdir(self._folder)
        except OSError:  # closed by somebody who closes all descriptors
            self._enter()
        os.umask(self._umask)
        if self._now != self._environment:
            self._restore_environment()
        for number, handler in self._handlers:
            if _getsignal(number) is not handler:
                signal.signal(number, cast("signal.Handlers", handler))
        if warnings.filters != self._filters:
            warnings.resetwarnings()  # tells those who remember what was warned of that the list has changed
            cast("list[object]", warnings.filters)[:] = self._filters
        if (sys.stdin, sys.stdout, sys.stderr) != self._streams:
            sys.stdin, sys.stdout, sys.stderr = self._streams

    def check(self) -> bool:
        """Put back what is looked at only now and then: folder, limits, blocked signals; tell whether it could be.

        The folder may have been removed and made again, and then the one this process is in is not it.
        """
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        try:
            now = os.stat(self._workdir)
            if (now.st_dev, now.st_ino) != self._place:
                os.close(self._folder)
                self._enter()
            for number, limits in self._limits:
                if resource.getrlimit(number) != limits:
                    resource.setrlimit(number, limits)
        except (OSError, ValueError):
            return False
        return True

    def _enter(self) -> None:
        self._folder = os.open(self._workdir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        os.fchdir(self._folder)
        status = os.fstat(self._folder)
        self._place = status.st_dev, status.st_ino

    def flush(self) -> None:
        """Write what Python still holds of the standard streams; one that a task has closed is opened again."""
        for number, stream in enumerate(self._streams):
            if number and not _flushed(stream):
                again = os.fdopen(number, "w", closefd=False, buffering=1 if number == 2 else -1)
                self._streams = (*self._streams[:number], again, *self._streams[number + 1 :])
                sys.stdin, sys.stdout, sys.stderr = self._streams

    def _restore_environment(self) -> None:
        for name in [name for name in self._now if name not in self._environment]:
            del os.environb[name]
        for name, value in self._environment.items():
            if self._now.get(name) != value:
                os.environb[name] = value


def _flushed(stream: TextIO) -> bool:
    try:
        stream.flush()
    except ValueError:
        return False
    return True
