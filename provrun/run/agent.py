"""The agent: the side of a rank that talks to its spawner."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from provrun.core.messages import Codec, Failed, FromAgent, Results, ToAgent
from provrun.errors import ProvrunError
from provrun.run.channel import Channel, Closed
from provrun.run.node import find_gpus, node_memory, node_name, share
from provrun.run.processes import JOB_VARIABLE, become_subreaper, children, kill_tree, read_process
from provrun.run.processes import sweep as sweep_processes
from provrun.run.setup import SOCKET, Setup

# Not -m: `runpy` costs milliseconds, and the present folder must not hide modules of the standard library. Without
# `typing_extensions`, which costs ten, msgspec takes the same names from `typing`; modules of functions have it again.
_BOOT = (
    "import sys; del sys.path[0]; sys.path.append(sys.argv[1]); sys.modules['typing_extensions'] = None;"
    "from provrun.run.spawner import main; main()"
)


_RESULTS = Codec.encode(Results([]))[:-1]


class Python(NamedTuple):
    """A Python in which tasks run: its program, and a folder from which it can import provrun."""

    program: str
    package: str


class AgentLost(ProvrunError):
    """The spawner is gone, with all it was running; ``io`` if it could not write what it had to keep."""

    code = "agent-lost"
    io = False


class Agent:
    """A spawner on this host, and the messages to and from it."""

    def __init__(self, channel: Channel, pid: int, setup: Setup, was_subreaper: bool) -> None:
        self.pid = pid
        self.job = setup.job
        self.rank = setup.rank
        self.joined = setup.joined
        self._channel = channel
        self._was_subreaper = was_subreaper
        self._before = set(children())
        self._status: int | None = None
        self.fruitful = False
        self._failed: Failed | None = None

    @classmethod
    def start(
        cls, *, slots: int, project: Path, job: str, rank: int, environ: Mapping[str, str], host: str = "",
        python: Python | None = None,
    ) -> Agent:
        """Start a spawner for a job's rank; call this before MPI_Init and before the registry is opened.

        ``slots`` tasks of one core run at once. ``project`` is the folder that holds ``.provrun``, ``environ`` what
        tasks find as environment, ``host`` goes into `Joined`, ``python`` is another one than that of this process. The
        caller becomes subreaper, so that nothing is lost when the spawner is killed.
        """
        ours, theirs = socket.socketpair()
        setup = Setup(
            slots, str(Path(project).absolute()), job, rank, host, node_name(), share(find_gpus(environ), os.environ),
            node_memory(os.environ),
        )
        python = python or Python(sys.executable, str(Path(__file__).parents[2]))
        was_subreaper = become_subreaper()
        pid = os.posix_spawn(
            python.program,
            [python.program, "-c", _BOOT, python.package, msgspec.json.encode(setup).decode()],
            {**environ, **_slurm_node(environ, setup.node), JOB_VARIABLE: f"{job}/{rank}"},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, theirs.fileno(), SOCKET),
            ],
            setsid=True,
            setsigmask=(),
            setsigdef=(signal.SIGINT, signal.SIGTERM, signal.SIGHUP),
        )
        theirs.close()
        return cls(Channel(ours), pid, setup, was_subreaper)

    def fileno(self) -> int:
        """Give the descriptor to poll; it is readable when `pump` has something to read."""
        return self._channel.fileno()

    @property
    def wants_write(self) -> bool:
        """Tell whether `pump` has something to write."""
        return self._channel.wants_write

    def send(self, message: ToAgent) -> None:
        """Queue a message; `pump` writes it."""
        self._channel.send(Codec.encode(message))

    def send_raw(self, message: bytes) -> None:
        """Queue an encoded message."""
        self._channel.send(message)

    def flush(self) -> None:
        """Write what is queued, as much as the spawner takes now; whether it has died `pump` tells."""
        with suppress(Closed):
            self._channel.flush()

    def pump(self) -> list[FromAgent]:
        """Write what is queued and give the messages that are there; never waits.

        Raises `AgentLost` when the spawner has died or given up.
        """
        if self._failed is not None:
            lost = AgentLost(f"the agent cannot go on: {self._failed.reason}", value=self._failed.reason)
            lost.io = self._failed.io
            raise lost
        messages: list[FromAgent] = []
        for data in self.pump_raw():
            message = Codec.decode_from_agent(data)
            if isinstance(message, Failed):
                self._failed = message  # what it said before counts
                if not messages:
                    return self.pump()
                break
            messages.append(message)
        return messages

    def pump_raw(self) -> list[bytes]:
        """Write what is queued and give the encoded messages that are there."""
        try:
            self._channel.flush()
            messages = self._channel.receive()
        except Closed:
            raise AgentLost(f"the agent's spawner (process {self.pid}) has died", value=self.pid) from None
        self.fruitful = self.fruitful or any(message.startswith(_RESULTS) for message in messages)
        return messages

    def close(self, timeout: float = 10.0) -> None:
        """Let the spawner end, with all it still runs; kill it and its leftovers if it takes longer than that."""
        self._channel.close()
        end = time.monotonic() + timeout
        pause = 0.0005
        while not self._reap() and time.monotonic() < end:
            time.sleep(pause)
            pause = min(2 * pause, 0.02)
        if not self._reap():
            kill_tree(self.pid)
            os.waitpid(self.pid, 0)
        if self._status != 0:
            sweep(self.job, self.rank)
            self._kill_orphans()
        if not self._was_subreaper:
            become_subreaper(False)

    def _kill_orphans(self) -> None:
        """Kill what the spawner's death has made children of this process: sessions begun since it was started."""
        session = os.getsid(0)
        for pid in set(children()) - self._before:
            process = read_process(pid)
            if process is not None and process.session != session:
                kill_tree(pid)
                os.waitpid(pid, 0)

    def _reap(self) -> bool:
        if self._status is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:
                pid, status = self.pid, -1
            if pid:
                self._status = status
        return self._status is not None


def _slurm_node(environ: Mapping[str, str], node: str) -> dict[str, str]:
    # Tasks have the environment of the batch script, which ran on one node alone.
    return {"SLURMD_NODENAME": node} if "SLURMD_NODENAME" in environ else {}


def sweep(job: str, rank: int | None = None) -> int:
    """Kill what is left of a job, or of one of its ranks, on this host and remove its temporary folders.

    Gives the number of processes killed.
    """
    from provrun.run.site import sweep_folders  # late: what it imports is for spawners

    killed = sweep_processes(job, rank)
    sweep_folders(job, rank)
    return killed
