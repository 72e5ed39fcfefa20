"""Ranks whose launcher is gone: nobody will end them any more, so they end themselves."""

from __future__ import annotations

import os
import threading
import time

from provrun.run.processes import is_there

WATCH = 0.5  # seconds between looks whether the launcher lives
MANAGER = 20.0
"""Seconds in which a manager whose launcher is gone may bring its job to an orderly end."""
OTHERS = 10.0
"""Seconds that other ranks give it: if it is gone too, or waits for one that is, no message will ever say so."""


def leave_with_launcher(seconds: float) -> None:
    """End this process so many seconds after the one that started it is gone; its spawner ends with it.

    MPI may wait for the dead inside its own calls, hence a thread.
    """
    threading.Thread(target=_watch, args=(os.getppid(), seconds), name="provrun-launcher", daemon=True).start()


def leave_unless_begun(supervisor: int, started: int, begun: threading.Event) -> None:
    """End this process if who had it started, on this host, dies before MPI has begun, which may never be then."""
    threading.Thread(
        target=_watch_beginning, args=(supervisor, started, begun), name="provrun-beginning", daemon=True
    ).start()


def _watch_beginning(supervisor: int, started: int, begun: threading.Event) -> None:
    while is_there(supervisor, started):
        if begun.wait(WATCH):
            return
    if not begun.wait(OTHERS):
        os._exit(1)


def _watch(launcher: int, seconds: float) -> None:
    while os.getppid() == launcher:
        time.sleep(WATCH)
    time.sleep(seconds)
    os._exit(1)
