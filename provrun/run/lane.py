"""Shared memory between the spawner and one function child: results leave a task before the next one starts.

A child that is killed loses no result of a task that had ended, and a task costs no system call for it. Layout: eight
64-bit cells, then a ring of bytes. Each cell has one writer; cells are read after a message or the death of the child,
which order memory on every machine, or where an old value does no harm. One cell holds the end of the ring together
with the count of results in it, so that a child killed anywhere leaves both or neither.
"""

from __future__ import annotations

import mmap
import time

_CELLS = 8
_HEAD, _TAIL, _STARTED, _EPOCH, _BEGUN, _WALL, _CPU, _WARNED = range(_CELLS)
SIZE = 1 << 18
"""Bytes of one lane."""
_RING = SIZE - 8 * _CELLS
LARGEST = _RING // 4
"""Bytes of the largest message for the ring; others go by the socket."""


class Lane:
    """One lane of a shared map."""

    def __init__(self, memory: mmap.mmap, number: int) -> None:
        self._cells = memoryview(memory)[number * SIZE : number * SIZE + 8 * _CELLS].cast("Q")
        self._ring = memoryview(memory)[number * SIZE + 8 * _CELLS : (number + 1) * SIZE]
        self._head = self._tail = self._count = 0

    def reset(self) -> None:
        """Make the lane new for a child."""
        for cell in range(_CELLS):
            self._cells[cell] = 0
        self._head = self._tail = self._count = 0

    # The child's side.

    def begin(self, number: int, epoch: int, wall: int, cpu: int, now: int) -> bool:
        """Say that task ``number`` of this child (from 1) starts; tell whether it may, or was taken back meanwhile."""
        cells = self._cells
        cells[_BEGUN] = now
        cells[_WALL] = wall
        cells[_CPU] = cpu
        cells[_STARTED] = number
        if cells[_EPOCH] == epoch:
            return True
        cells[_STARTED] = number - 1
        return False

    def put(self, message: bytes) -> int:
        """Append a result and give the end of the ring; waits for the reader when there is no room."""
        size = len(message)
        while self._head + size - self._cells[_TAIL] > _RING:
            time.sleep(0.0005)
        at = self._head % _RING
        room = _RING - at
        if size <= room:
            self._ring[at : at + size] = message
        else:
            self._ring[at:] = message[:room]
            self._ring[: size - room] = message[room:]
        self._head += size
        self._count += 1
        self._cells[_HEAD] = self._head << 16 | (self._count & 0xFFFF)
        return self._head

    @property
    def warned(self) -> bool:
        """Tell whether the time of the job is up soon."""
        return bool(self._cells[_WARNED])

    @property
    def full(self) -> bool:
        """Tell whether the reader should be told, so that it makes room."""
        return self._head - self._cells[_TAIL] > _RING // 2

    # The spawner's side.

    def take(self, end: int, count: int) -> bytes:
        """Take the results up to a position, so many, as the child has told."""
        size, at = end - self._tail, self._tail % _RING
        room = _RING - at
        taken = bytes(self._ring[at : at + min(size, room)])
        if size > room:
            taken += bytes(self._ring[: size - room])
        self._tail = end
        self._count += count
        self._cells[_TAIL] = end
        return taken

    def take_rest(self) -> tuple[int, bytes]:
        """Take what a dead child has not told of: how many results, and their bytes."""
        head = self._cells[_HEAD]
        count = (head - self._count) & 0xFFFF
        return count, self.take(head >> 16, count)

    def revoke(self, epoch: int) -> None:
        """Take back all tasks that have not started; `started` is right a millisecond later."""
        self._cells[_EPOCH] = epoch

    def warn(self) -> None:
        """Say that the time of the job is up soon."""
        self._cells[_WARNED] = 1

    @property
    def started(self) -> int:
        """How many tasks the child has started."""
        return self._cells[_STARTED]

    @property
    def begun(self) -> int:
        """When the last task started, in nanoseconds of the monotonic clock."""
        return self._cells[_BEGUN]

    @property
    def wall(self) -> int:
        """When the last task started, in microseconds since the epoch."""
        return self._cells[_WALL]

    @property
    def cpu(self) -> int:
        """What CPU time the child had used before that, in microseconds."""
        return self._cells[_CPU]
