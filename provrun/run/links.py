"""What connects a manager with its agents, on this host and, over MPI, on others."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from provrun.core.messages import Codec, FromAgent, ToAgent
from provrun.run.agent import Agent

RESTARTS = 5  # spawners of one rank that may die without having run anything before it is given up
END = b""
"""What a manager sends to a rank when the job is over."""
BEAT = b""
"""What a rank sends to the manager when it has nothing else to say, every `PULSE` seconds."""
PULSE = 3.0
SILENCE = 15.0  # seconds without a word after which a rank is asked after
_ADDRESS = 4  # bytes before a message that name a spawner
_ABSENCE = 5.0  # seconds after which this process has itself not been there, being stopped or starved


class Post(Protocol):
    """Carries bytes between ranks; nothing waits."""

    size: int

    def post(self, rank: int, data: bytes) -> None: ...

    def receive(self) -> list[tuple[int, bytes]]: ...


class Remote:
    """The agents of all other ranks."""

    def __init__(self, post: Post) -> None:
        self._post = post
        self._heard: dict[int, float] = {}
        self._looked: float | None = None

    @property
    def ranks(self) -> int:
        """Count the ranks, the manager's own included."""
        return self._post.size

    def send(self, rank: int, spawner: int, message: ToAgent) -> None:
        """Begin to send a message to one of the spawners that a rank has, one after the other."""
        self._post.post(rank, addressed(spawner, Codec.encode(message)))

    def receive(self) -> list[tuple[int, FromAgent]]:
        """Give what has come."""
        came = self._post.receive()
        if came:
            now = time.monotonic()
            self._heard.update((rank, now) for rank, _ in came)
        return [(rank, Codec.decode_from_agent(data)) for rank, data in came if data != BEAT]

    def silent(self) -> list[int]:
        """Give the ranks that have said nothing for `SILENCE` seconds, each once in such a time; call often."""
        now = time.monotonic()
        if self._looked is None or now - self._looked > _ABSENCE:
            self._heard = dict.fromkeys(range(1, self._post.size), now)
        self._looked = now
        found = [rank for rank, heard in self._heard.items() if now - heard > SILENCE]
        self._heard.update((rank, now) for rank in found)
        return found

    def end(self) -> None:
        """Tell all ranks that the job is over."""
        for rank in range(1, self._post.size):
            self._post.post(rank, END)


def addressed(spawner: int, message: bytes) -> bytes:
    """Give an encoded message with the spawner it is for: it may arrive when that one has been replaced."""
    return spawner.to_bytes(_ADDRESS, "big") + message


def address(data: bytes) -> tuple[int, bytes]:
    """Give the spawner for which a message is, and the encoded message."""
    return int.from_bytes(data[:_ADDRESS], "big"), data[_ADDRESS:]


class Local:
    """The agent on this host. One that dies is replaced, a few times; ``spawner`` counts those that have been."""

    def __init__(self, start: Callable[[], Agent]) -> None:
        self._start = start
        self.restarts = 0
        self.spawner = 0
        self.agent = start()

    def replace(self) -> bool:
        """Put another agent in the place of a dead one; False when too many have died."""
        self.agent.close(timeout=1.0)
        if self.agent.fruitful:  # a task may have killed it, and will be found
            self.restarts = 0
        if self.restarts >= RESTARTS:
            return False
        self.restarts += 1
        self.spawner += 1
        self.agent = self._start()
        return True
