"""Which cores and GPUs of its node each task of an agent has for itself."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from provrun.run.node import lowest_run, units

if TYPE_CHECKING:
    from socket import socket


class Seat(NamedTuple):
    """What a task occupies: slots, the CPUs it is pinned to (none: it is not), its GPUs."""

    cores: int = 1
    cpus: tuple[int, ...] = ()
    gpus: tuple[str, ...] = ()


_ONE = Seat()


class Seats:
    """The slots of an agent, and the cores and GPUs that go with them.

    Tasks of several cores are pinned to cores that no other task of this user's is pinned to on this host, whichever
    run it belongs to. Tasks of one core are left to the kernel, which keeps them off busy cores at no cost for each.
    """

    def __init__(self, slots: int, gpus: Sequence[str] = (), cpus: Sequence[int] | None = None) -> None:
        self.slots = self.free = slots
        self._all = tuple(os.sched_getaffinity(0) if cpus is None else cpus)
        self.all_gpus = len(gpus)
        self._gpus = list(gpus)
        self._units: list[tuple[int, list[int]]] | None = None
        self._claims: dict[int, socket] = {}

    def fits(self, cores: int, gpus: int) -> bool:
        """Tell whether a task can start now; one that wants more than there is starts when it is alone."""
        enough = cores <= self.free or self.free == self.slots
        return enough and gpus <= len(self._gpus)

    def has(self, gpus: Sequence[str]) -> bool:
        """Tell whether these GPUs are free."""
        return all(gpu in self._gpus for gpu in gpus)

    def take(self, cores: int, gpus: int, wanted: Sequence[str] = ()) -> Seat:
        """Seat a task that fits, on the GPUs that are wanted if there are any."""
        self.free -= cores
        if cores == 1 and not gpus:
            return _ONE
        given = tuple(wanted or self._gpus[:gpus])
        for gpu in given:
            self._gpus.remove(gpu)
        return Seat(cores, self._claim(cores) if 1 < cores <= self.slots else (), given)

    def leave(self, seat: Seat) -> None:
        """Free what a task has occupied."""
        self.free += seat.cores
        self._gpus += seat.gpus
        for cpu in seat.cpus:
            claim = self._claims.pop(cpu, None)
            if claim is not None:
                claim.close()

    def pinned(self, seat: Seat, start: Callable[[], int]) -> int:
        """Start a process on a seat's CPUs; it inherits them, so nothing of it ever ran elsewhere."""
        if not seat.cpus:
            return start()
        os.sched_setaffinity(0, seat.cpus)
        try:
            return start()
        finally:
            os.sched_setaffinity(0, self._all)

    def pin(self, pid: int, seat: Seat) -> None:
        """Move a process that is there already, with all its threads, to the CPUs of its next task."""
        with suppress(OSError):  # it may have ended
            for thread in os.listdir(f"/proc/{pid}/task"):
                os.sched_setaffinity(int(thread), seat.cpus or self._all)

    def _claim(self, cores: int) -> tuple[int, ...]:
        if self._units is None:
            self._units = units(self.slots, self._all)
        table = self._units
        free = [not any(cpu in self._claims for cpu in cpus) for _, cpus in table]
        packages = [package for package, _ in table]
        while len(chosen := lowest_run(packages, free, cores)) == cores:
            taken = [cpu for place in chosen for cpu in table[place][1]]
            foreign = next((cpu for cpu in taken if not self._reserve(cpu)), None)
            if foreign is None:
                return tuple(taken)
            for cpu in taken:
                if claim := self._claims.pop(cpu, None):
                    claim.close()
            free = [yes and foreign not in cpus for yes, (_, cpus) in zip(free, table, strict=True)]
        return ()

    def _reserve(self, cpu: int) -> bool:
        """Take a CPU for this user on this host: an abstract address is free again when its owner is gone."""
        import socket  # late: few agents have tasks of several cores

        claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            claim.bind(f"\0provrun-{os.getuid()}-cpu-{cpu}")
        except OSError:
            claim.close()
            return False
        self._claims[cpu] = claim
        return True
