"""MPI: the only file that knows mpi4py. Messages are bytes, nothing waits, nothing is pickled."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from traceback import format_exc
from typing import TYPE_CHECKING

from provrun.errors import MissingExtra, ProvrunError, Unavailable

if TYPE_CHECKING:
    from mpi4py import MPI

TAG = 7
_PAUSE = 0.0002  # seconds between looks whether all ranks are about to leave


class World:
    """This process's place among the ranks of an MPI job; `close` it on every rank.

    Call after the spawner was started: what MPI opens must not be inherited. ``expected`` is the number of ranks the
    launcher spoke of; another one means that launcher and library do not belong together.
    """

    def __init__(self, expected: int) -> None:
        try:
            import mpi4py
        except ImportError as error:
            raise MissingExtra("mpi", "running over MPI") from error
        mpi4py.rc.initialize = False
        mpi4py.rc.finalize = False
        from mpi4py import MPI

        # One thread of ours speaks MPI; others only keep records.
        MPI.Init_thread(MPI.THREAD_FUNNELED)
        self._mpi = MPI
        self._comm = MPI.COMM_WORLD.Dup()
        self.rank: int = self._comm.Get_rank()
        self.size: int = self._comm.Get_size()
        self.library = MPI.Get_library_version().strip("\0").strip().partition("\n")[0]
        self._sent: deque[tuple[MPI.Request, bytes]] = deque()
        self._status = MPI.Status()
        if self.size != expected:
            raise Unavailable(
                f"the launcher started {expected} ranks, but MPI sees {self.size}: they do not fit together",
                value=self.library,
                next="use the mpiexec of the MPI that mpi4py loads: python -m mpi4py --mpi-lib-version names it",
            )

    def share(self, data: bytes | None) -> bytes:
        """Give every rank what rank 0 has."""
        size = bytearray(8)
        if self.rank == 0:
            assert data is not None
            size[:] = len(data).to_bytes(8, "big")
        self._comm.Bcast([size, self._mpi.BYTE], 0)
        buffer = bytearray(data or bytes(int.from_bytes(size, "big")))
        self._comm.Bcast([buffer, self._mpi.BYTE], 0)
        return bytes(buffer)

    def post(self, rank: int, data: bytes) -> None:
        """Begin to send bytes to a rank."""
        self._sent.append((self._comm.Isend([data, self._mpi.BYTE], rank, TAG), data))

    def receive(self) -> list[tuple[int, bytes]]:
        """Give the messages that have come, with the ranks that sent them."""
        mpi, comm, status = self._mpi, self._comm, self._status
        while self._sent and self._sent[0][0].Test():
            self._sent.popleft()
        came = []
        while (message := comm.Improbe(mpi.ANY_SOURCE, TAG, status)) is not None:
            source = status.Get_source()
            buffer = bytearray(status.Get_count(mpi.BYTE))
            message.Recv([buffer, mpi.BYTE])
            came.append((source, bytes(buffer)))
        return came

    def abort(self) -> None:
        """End all ranks at once."""
        self._comm.Abort(1)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Leave MPI together at the end; an error that leaves this rank ends all, else the others wait for ever."""
        try:
            yield
        except BaseException as error:
            print(error if isinstance(error, ProvrunError) else format_exc(), file=sys.stderr, flush=True)
            self.abort()
            raise
        self.close()

    def close(self) -> None:
        """Wait until everything sent has arrived, then leave MPI together with all other ranks.

        What others have sent meanwhile is dropped: MPI refuses to go while a message has not been received.
        """
        together = None
        while together is None or not together.Test():
            self.receive()
            if together is None and not self._sent:
                together = self._comm.Ibarrier()
            time.sleep(_PAUSE)
        self.receive()
        self._comm.Free()
        self._mpi.Finalize()
