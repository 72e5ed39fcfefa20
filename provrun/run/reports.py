"""What a spawner tells its manager: results in batches, and never before what they refer to is on disk."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from provrun.core.messages import Codec, FromAgent, Key, Result, Results, Returned
from provrun.errors import StorageFailed
from provrun.run.asides import Asides
from provrun.run.loop import Loop, Timer
from provrun.run.packs import PackWriter
from provrun.run.syncer import Syncer

_RESULTS = Codec.encode(Results([]))[:-1] + b"\xdd"  # an array of results, its length in four bytes
_MANY = 64
_PATIENCE = 0.01  # a manager that refills a hundred times a second keeps slots busy; per result it would only be woken
_SYNC_PATIENCE = 0.02  # a sync costs milliseconds on a disk


class Reports:
    """Gathers results and sends them."""

    def __init__(self, loop: Loop, send: Callable[[bytes], None], pack: PackWriter) -> None:
        self.pack = pack
        self.asides = Asides(loop)
        self._loop = loop
        self._send = send
        self._results: list[Result] = []
        self._obsolete: list[str] = []
        self._timer: Timer | None = None
        self._syncer = Syncer(loop)

    def say(self, message: FromAgent) -> None:
        """Send a message now."""
        self._send(Codec.encode(message))

    def add(self, result: Result) -> None:
        """Report an ended attempt soon."""
        self._results.append(result)
        if self._timer is None:
            self._timer = self._loop.later(_SYNC_PATIENCE if self.pack.unsynced else _PATIENCE, self.flush)
        elif len(self._results) >= _MANY and not self.pack.unsynced:  # a sync is for as many as come meanwhile
            self.flush()

    def add_encoded(self, count: int, results: bytes) -> None:
        """Pass on encoded results that lie one after the other; none of them may refer to the pack."""
        self._send(_RESULTS + count.to_bytes(4, "big") + results)

    def remove_when_safe(self, path: str) -> None:
        """Remove a file when all that the pack holds now is on disk."""
        self._obsolete.append(path)

    def give_back(self, tasks: list[Key], started: bool) -> None:
        """Return tasks to the manager."""
        if tasks:
            self.say(Returned(tasks, started))

    def flush(self) -> None:
        """Send what has gathered, when what it refers to in the pack is on disk."""
        if self._syncer.busy:  # the next sync is for all that gathers meanwhile
            return
        if self._timer:
            self._timer.cancel()
            self._timer = None
        results, self._results = self._results, []
        if not results:
            return
        message = Codec.encode(Results(results))
        if self.pack.unsynced:
            self.pack.unsynced = False
            obsolete, self._obsolete = self._obsolete, []
            self._syncer.sync(self.pack.fileno(), partial(self._synced, message, obsolete))
        else:
            self._send(message)

    def _synced(self, message: bytes, obsolete: list[str], good: bool) -> None:
        if not good:
            raise StorageFailed(f"cannot write the pack {self.pack.path}", value=str(self.pack.path))
        for path in obsolete:
            with suppress(FileNotFoundError):
                os.unlink(path)
        self._send(message)
        self.flush()
