"""What mpi4py's own pool does with no-op tasks, one a message, recording nothing. Run by ``-m mpi4py.futures``."""

from __future__ import annotations

import sys
import time

from mpi4py.futures import MPIPoolExecutor


def noop(x: int) -> int:
    """Be the task."""
    return x


if __name__ == "__main__":
    tasks = int(sys.argv[1])
    with MPIPoolExecutor() as pool:
        list(pool.map(noop, range(100)))
        began = time.perf_counter()
        done = sum(1 for _ in pool.map(noop, range(tasks), chunksize=1))
        print(done / (time.perf_counter() - began))
