"""Runs started from Python: processes of their own, so that a notebook with threads and gigabytes is never forked."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING, Any

from provrun.errors import ProvrunError

if TYPE_CHECKING:
    from provrun.project.project import Project

ENDED = (0, 3, 75, 130, 143)
"""Exit codes of a run that did what it could; what it answered says how far it came."""


class Running:
    """A run that goes on in the background."""

    def __init__(self, process: subprocess.Popen[str], answer: IO[str]) -> None:
        self._process = process
        self._answer = answer
        self.pid = process.pid

    def poll(self) -> bool:
        """Tell whether it has ended."""
        return self._process.poll() is not None

    def wait(self, timeout: float | None = None) -> dict[str, Any]:
        """Wait for its end and give what `provrun run --json` answers; Ctrl-C lets running tasks end first."""
        while True:
            try:
                code = self._process.wait(timeout)
                break
            except KeyboardInterrupt:
                # In a terminal the run has got the same signal; sent from elsewhere it reaches only this process.
                if not os.isatty(0):
                    self._process.send_signal(signal.SIGINT)
        self._answer.seek(0)
        text = self._answer.read()
        document: dict[str, Any] = json.loads(text) if text else {}
        if code not in ENDED or "error" in document:
            said = document.get("error") or {"message": f"provrun run ended with exit code {code}", "next": None}
            raise ProvrunError(str(said["message"]), value=said.get("value"), next=said.get("next"))
        return document


def start(
    project: Project, names: Sequence[str], *, slots: int | None, mpi: int | None, max_fails: int | str | None,
    detached: bool,
) -> Running:
    """Start `provrun run` of maps as a process of its own; ``detached`` outlives this one."""
    words = [sys.executable, "-m", "provrun", "run", *names, "--json", "--project", str(project.root)]
    words += ["--slots", str(slots)] if slots is not None else []
    words += ["--mpi", str(mpi)] if mpi is not None else []
    words += ["--max-fails", str(max_fails)] if max_fails is not None else []
    answer = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115  # read when the run has ended
    process = subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=answer, stderr=subprocess.DEVNULL if detached else None, text=True,
        start_new_session=detached,
    )
    return Running(process, answer)
