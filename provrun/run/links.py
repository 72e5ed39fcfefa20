"""What connects a manager with its agents, on this host and, over MPI, on others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from provrun.core.messages import Codec, FromAgent, ToAgent
from provrun.run.agent import Agent

RESTARTS = 5  # spawners of one rank that may die without having run anything before it is given up
END = b""
"""What a manager sends to a rank when the job is over."""


class Post(Protocol):
    """Carries bytes between ranks; nothing waits."""

    size: int

    def post(self, rank: int, data: bytes) -> None: ...

    def receive(self) -> list[tuple[int, bytes]]: ...


class Remote:
    """The agents of all other ranks."""

    def __init__(self, post: Post) -> None:
        self._post = post

    @property
    def ranks(self) -> int:
        """Count the ranks, the manager's own included."""
        return self._post.size

    def send(self, rank: int, message: ToAgent) -> None:
        """Begin to send a message."""
        self._post.post(rank, Codec.encode(message))

    def receive(self) -> list[tuple[int, FromAgent]]:
        """Give what has come."""
        return [(rank, Codec.decode_from_agent(data)) for rank, data in self._post.receive()]

    def end(self) -> None:
        """Tell all ranks that the job is over."""
        for rank in range(1, self._post.size):
            self._post.post(rank, END)


class Local:
    """The agent on this host. One that dies is replaced, a few times."""

    def __init__(self, start: Callable[[], Agent]) -> None:
        self._start = start
        self.restarts = 0
        self.agent = start()

    def replace(self) -> bool:
        """Put another agent in the place of a dead one; False when too many have died."""
        self.agent.close(timeout=1.0)
        if self.agent.fruitful:  # a task may have killed it, and will be found
            self.restarts = 0
        if self.restarts >= RESTARTS:
            return False
        self.restarts += 1
        self.agent = self._start()
        return True
