"""Follow a round from outside of MPI: pass wishes down and progress up, and look after ranks that fall silent."""

from __future__ import annotations

import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable

from provrun.project.jobs.ranks import LEAVING
from provrun.project.running import Show
from provrun.run.channel import Closed
from provrun.run.control import Done, Listener, Said, Shown, Silent
from provrun.run.interrupts import INTERRUPTED, Interrupts
from provrun.run.processes import proxies
from provrun.run.progress import Progress

_LOOKS = 1.0  # seconds between looks whether the launcher can still start anything
_BEGINNING = 300.0  # seconds that a launcher may take to start rank 0


class Follower:
    """Follows one round; ``broken`` afterwards if its launcher should not be waited for.

    ``responds`` tells whether the host of a rank is there, ``told_to_end`` is called when somebody wants an end.
    """

    def __init__(
        self,
        launched: subprocess.Popen[bytes],
        listener: Listener,
        interrupts: Interrupts,
        show: Show,
        responds: Callable[[int], bool],
        told_to_end: Callable[[], None] | None,
    ) -> None:
        self._launched = launched
        self._listener = listener
        self._interrupts = interrupts
        self._show = show
        self._responds = responds
        self._told_to_end = told_to_end
        self._level = 0
        self._asked: dict[int, threading.Thread] = {}
        self._gone: list[int] = []
        self.shown = Progress()
        self.broken = False
        self._looked = time.monotonic()
        self._proxies = 0

    def follow(self) -> Done | None:
        """Give the last word of rank 0; None if there was none, or none that counts."""
        until = time.monotonic() + _BEGINNING
        while True:
            select.select([self._listener.fileno(), self._interrupts.fileno()], [], [], 0.1)
            ended = self._launched.poll() is not None
            if self._obey() == LEAVING:
                return Done(None)
            try:
                done = self._hear()
            except Closed:
                self.broken = True
                return None
            if done is not None:
                # What its launcher ends may wait in vain for ranks that are dead.
                self.broken = done.summary is not None and INTERRUPTED in done.summary and not self._level
                return done
            late = not self._listener.called and (time.monotonic() > until or self._is_bereft())
            if ended or late or self._gone:
                self.broken = not ended
                return None

    def _is_bereft(self) -> bool:
        """Tell whether Hydra has lost a proxy that was to start ranks: it waits for it until somebody ends it."""
        if time.monotonic() < self._looked + _LOOKS:
            return False
        self._looked = time.monotonic()
        there = proxies(self._launched.pid)
        self._proxies = max(self._proxies, there)
        return there < self._proxies

    def _obey(self) -> int:
        if self._interrupts.read() != self._level:
            first, self._level = not self._level, self._interrupts.level
            self._listener.wish(self._level, self._interrupts.number or signal.SIGINT)
            if first and self._told_to_end is not None:
                self._told_to_end()
        return self._level

    def _hear(self) -> Done | None:
        for heard in self._listener.hear():
            match heard:
                case Shown():
                    self.shown = heard.progress
                    self._show.watch(heard.progress)
                case Said():
                    self._show.tell(heard.text)
                case Silent():
                    self._ask_after(heard.rank)
                case Done():
                    return heard
        return None

    def _ask_after(self, rank: int) -> None:
        """Look after a rank that is not heard of, in a thread: a host that is gone answers late or never.

        Silence alone ends nothing, since what is only slow or stopped comes back.
        """
        if rank not in self._asked or not self._asked[rank].is_alive():
            self._asked[rank] = threading.Thread(target=self._ask, args=(rank,), name="provrun-ask", daemon=True)
            self._asked[rank].start()

    def _ask(self, rank: int) -> None:
        if not self._responds(rank):
            self._gone.append(rank)
