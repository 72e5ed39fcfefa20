"""Fleets: where the ranks of a round run, and by which launcher they are started."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from provrun.run.hosts import Host, responding
from provrun.run.launcher import Launcher

_LAST_WORD = 30.0  # seconds that a silent host has for an answer before its job is started anew without it


class Start(NamedTuple):
    """How to start the ranks of a round: the slots of each, None for as many as it has cores."""

    command: list[str]
    environ: dict[str, str]
    slots: tuple[int | None, ...]
    mpi: bool


class Fleet(Protocol):
    """Where ranks run."""

    def start(self, job: str, folder: Path, *command: str) -> Start:
        """Give what starts a command on every rank of a job, with its files in a folder."""

    def other_launcher(self) -> bool:
        """Give up the launcher that could not start a job; False when there is no other."""

    def died(self) -> None:
        """Take note that a job died: some of its hosts may be gone."""

    def responds(self, rank: int) -> bool:
        """Look whether the host of a rank is there; takes a while if it is not."""


class Here:
    """So many ranks on this host."""

    def __init__(self, launcher: Launcher, ranks: int, slots: int | None) -> None:
        self._launcher = launcher
        self._slots = (slots,) * ranks

    def start(self, job: str, folder: Path, *command: str) -> Start:
        """Give what starts a command on every rank."""
        words = self._launcher.command(len(self._slots), *command)
        return Start(words, self._launcher.environ(os.environ, job), self._slots, True)

    def other_launcher(self) -> bool:
        """There is none."""
        return False

    def died(self) -> None:
        """This host is still here."""

    def responds(self, rank: int) -> bool:
        """This host is here."""
        return True


class Alone:
    """One process, without a launcher."""

    def __init__(self, slots: int | None) -> None:
        self._slots = slots

    def start(self, job: str, folder: Path, *command: str) -> Start:
        """Give what starts a command."""
        # The launcher of a kind of its own marks what it starts, as the others do.
        return Start(list(command), Launcher("", "").environ(os.environ, job), (self._slots,), False)

    def other_launcher(self) -> bool:
        """There is none."""
        return False

    def died(self) -> None:
        """This host is still here."""

    def responds(self, rank: int) -> bool:
        """This host is here."""
        return True


class Across:
    """One rank on each host of a list, this one first; after a death on those that respond."""

    def __init__(self, launchers: Sequence[Launcher], hosts: Sequence[Host]) -> None:
        self._launchers = list(launchers)
        self._hosts = list(hosts)
        self._doubtful = False

    @property
    def hosts(self) -> list[str]:
        """The names of the hosts in use."""
        return [host.name for host in self._hosts]

    def start(self, job: str, folder: Path, *command: str) -> Start:
        """Give what starts a command on every host."""
        launcher = self._launchers[0]
        if self._doubtful:
            here, *others = self._hosts
            self._hosts = [here, *responding(others, launcher, os.environ)]
            self._doubtful = False
        words = launcher.across(self.hosts, folder / f"{job}.hosts", *command)
        slots = tuple(host.slots for host in self._hosts)
        return Start(words, launcher.environ(os.environ, job), slots, True)

    def other_launcher(self) -> bool:
        """Go on with the next launcher."""
        if len(self._launchers) == 1:
            return False
        del self._launchers[0]
        return True

    def died(self) -> None:
        """Look which hosts respond before the next start."""
        self._doubtful = True

    def responds(self, rank: int) -> bool:
        """Look whether the launcher can still start something on a rank's host."""
        return bool(responding(self._hosts[rank : rank + 1], self._launchers[0], os.environ, _LAST_WORD))
