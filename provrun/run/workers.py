"""The spawner's side of function children: what each has been handed, and what came back."""

from __future__ import annotations

import mmap
import os
from collections import deque
from contextlib import suppress
from socket import socket
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from provrun.core.messages import Key, Result, RunMap, Start
from provrun.core.states import Outcome
from provrun.run import lines
from provrun.run.capture import make_tape, thin_tape
from provrun.run.channel import Channel, Closed
from provrun.run.files import Seen
from provrun.run.lane import SIZE, Lane
from provrun.run.lines import Batch, Heavy, Ready, Used
from provrun.run.loop import Loop
from provrun.run.processes import kill_tree
from provrun.run.seats import Seat, Seats
from provrun.run.site import Descriptors
from provrun.run.uses import Uses

if TYPE_CHECKING:
    from provrun.run.nurseries import FunctionMap, Nursery

_CHILD = 3  # descriptors that a child costs: a socket and two tapes
_decoder = msgspec.msgpack.Decoder(list[Result])


class Place:
    """A lane, used by one child after the other, with the two files in memory that stand for stdout and stderr."""

    def __init__(self, lane: Lane, number: int) -> None:
        self.lane = lane
        self.number = number
        self.out = self.err = -1

    def open(self) -> None:
        """Make it ready for a child."""
        self.lane.reset()
        self.out = make_tape(f"provrun-out-{self.number}")
        self.err = make_tape(f"provrun-err-{self.number}")

    def close(self) -> None:
        """Let go of what a child has printed."""
        os.close(self.out)
        os.close(self.err)

    def thin(self) -> None:
        """Free the memory of output that will be cut."""
        thin_tape(self.out)
        thin_tape(self.err)


class Places:
    """All lanes of an agent, and who has one."""

    def __init__(self, count: int, descriptors: Descriptors) -> None:
        self.memory = mmap.mmap(-1, SIZE * count)
        self._descriptors = descriptors
        self.workers: set[Worker] = set()
        self._count = count
        self._made = 0
        self._free: list[Place] = []

    def take(self) -> Place | None:
        """Give a free place, if there is one."""
        if (not self._free and self._made == self._count) or not self._descriptors.take(_CHILD):
            return None
        if not self._free:
            self._made += 1
            self._free.append(Place(Lane(self.memory, self._made - 1), self._made - 1))
        place = self._free.pop()
        place.open()
        return place

    def leave(self, worker: Worker) -> None:
        """Take back the place of a child that has ended."""
        if worker in self.workers:
            self.workers.discard(worker)
            worker.place.close()
            self._descriptors.leave(_CHILD)
            self._free.append(worker.place)


class Heard(NamedTuple):
    """What a child has said: encoded results and how many, heavy results, files it imported, whether it is gone."""

    ready: list[tuple[int, bytes]]
    heavy: list[Heavy]
    files: dict[str, Seen]
    gone: bool

    @property
    def results(self) -> int:
        """How many results these are."""
        return len(self.heavy) + sum(count for count, _ in self.ready)


class Handed(NamedTuple):
    """What the tasks of a child are of: the map, what it used when they were handed over, and the number of that."""

    map: FunctionMap
    uses: Uses
    number: int
    warned: bool = False


class Worker:
    """One function child.

    ``outstanding`` are its tasks whose results have not come, the first of them may be running; ``done`` counts
    those that have come, ``since`` is when it began to work or to rest.
    """

    handed: Handed

    def __init__(self, place: Place, sock: socket, nursery: Nursery) -> None:
        self.place = place
        self.nursery = nursery
        self.channel = Channel(sock)
        self.pid = 0
        self.seat = Seat()
        self.time: float | None = None
        self.memory: int | None = None
        self.peak = 0
        self.outstanding: deque[Start] = deque()
        self.done = 0
        self.since = 0.0
        self.resting = True
        self.why: tuple[Key, Outcome | None, str] | None = None
        self._known: dict[int, RunMap] = {}
        self._epoch = 0
        self._revoked = 0

    @property
    def open(self) -> bool:
        """Tell whether it takes tasks: it is not about to end, and none are being taken back from it."""
        return self.why is None and not self._revoked and self.channel.fileno() >= 0

    @property
    def running(self) -> Start | None:
        """Give the task it runs, as far as is known; None when it is between tasks."""
        position = self.place.lane.started - self.done - 1
        return self.outstanding[position] if 0 <= position < len(self.outstanding) else None

    @property
    def name(self) -> bytes:
        """Give what stands in $PROVRUN_ATTEMPT of the task it runs."""
        start = self.running
        return b"" if start is None else f"{self.handed.map.run.name}/{start.index}#{start.number}".encode()

    def sit(self, seats: Seats, cores: int, gpus: int) -> None:
        """Take a seat for the next tasks, on the GPUs it had before."""
        before, self.seat = self.seat, seats.take(cores, gpus, self.seat.gpus)
        if self.pid and (before.cpus or self.seat.cpus):
            seats.pin(self.pid, self.seat)

    def hand(self, map: FunctionMap, tasks: list[Start]) -> None:
        """Hand over tasks."""
        number = map.run.map
        if self._known.get(number) is not map.run:
            self._known[number] = map.run
            self.send(map.run)
        self.handed = Handed(map, map.uses, map.uses.number, map.policy.checkpoint and self.place.lane.warned)
        self.resting = False
        self.outstanding.extend(tasks)
        self.send(Batch(number, self._epoch, map.uses.number, self.seat.gpus, tasks))

    def send(self, message: lines.ToChild) -> None:
        """Send a message; of a child that has died the nursery will tell."""
        self.channel.send(lines.encode(message))
        self.flush()

    def flush(self) -> None:
        """Write what waits to be written."""
        with suppress(Closed):
            self.channel.flush()

    @property
    def keeps(self) -> bool:
        """Tell whether it works on tasks with a checkpoint, which have not been warned."""
        return bool(self.outstanding) and self.handed.map.policy.checkpoint and not self.handed.warned

    def warn(self) -> None:
        """Tell the task it runs that its time is up."""
        self.place.lane.warn()
        self.handed = self.handed._replace(warned=True)

    def revoke(self) -> None:
        """Take back what has not started; call `unstarted` a moment later."""
        self._epoch += 1
        self._revoked += 1
        self.place.lane.revoke(self._epoch)

    def unstarted(self) -> list[Start]:
        """Give what was taken back."""
        self._revoked -= 1
        kept = max(0, self.place.lane.started - self.done)
        taken = [self.outstanding.pop() for _ in range(len(self.outstanding) - kept)]
        return taken[::-1]

    def end(self, why: Outcome | None, text: str) -> None:
        """Kill it for the sake of the task it runs: None for ``why`` gives the task back."""
        running = self.running
        if running is not None and self.why is None:
            self.why = running.key, why, text
            if self.pid:
                kill_tree(self.pid)

    def exceeded_memory(self, kib: int) -> None:
        """End the task it runs: it holds so many KiB."""
        self.peak = kib
        limit = (self.memory or 0) >> 20
        self.end(Outcome.MEMORY, f"took {kib >> 10} MiB, its limit is {limit} MiB")

    def close(self, loop: Loop) -> None:
        """Let it end."""
        if self.channel.fileno() >= 0:
            loop.unwatch(self.channel.fileno())
            self.channel.close()

    def receive(self) -> Heard:
        """Give what came."""
        heard = Heard([], [], {}, False)
        try:
            messages = self.channel.receive()
        except Closed:
            return heard._replace(gone=True)
        for data in messages:
            message = lines.decode_from_child(data)
            if isinstance(message, Ready):
                heard.ready.append((message.count, self.place.lane.take(message.end, message.count)))
                self._finished(message.count)
            elif isinstance(message, Used):
                heard.files.update(message.files)
            else:
                heard.heavy.append(message)
                self._finished(1)
        return heard

    def remains(self) -> list[Result]:
        """Give the results that a dead child had left in its lane."""
        count, data = self.place.lane.take_rest()
        self._finished(count)
        return decode_results(count, data)

    def _finished(self, count: int) -> None:
        self.done += count
        for _ in range(count):
            self.outstanding.popleft()


def decode_results(count: int, data: bytes) -> list[Result]:
    """Decode so many results that lie one after the other."""
    return _decoder.decode(b"\xdd" + count.to_bytes(4, "big") + data)
