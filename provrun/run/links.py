"""What connects a manager with its agents, on this host and, over MPI, on others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from provrun.core.messages import FromAgent, ToAgent
from provrun.run.agent import Agent, AgentLost

RESTARTS = 5  # agents of one run that may die before it is given up


class Remote(Protocol):
    """Agents of other ranks; nothing here waits."""

    ranks: int

    def send(self, rank: int, message: ToAgent) -> None: ...

    def receive(self) -> list[tuple[int, FromAgent]]: ...


class Local:
    """The agent on the manager's own host: rank 0. One that dies is replaced, a few times."""

    rank = 0

    def __init__(self, agent: Agent, again: Callable[[], Agent]) -> None:
        self.agent = agent
        self.restarts = 0
        self._again = again

    def send(self, message: ToAgent) -> None:
        """Queue a message."""
        self.agent.send(message)

    def pump(self) -> list[FromAgent]:
        """Write and read; raises `AgentLost`."""
        return self.agent.pump()

    def replace(self) -> bool:
        """Put another agent in the place of a dead one; False when too many have died."""
        self.agent.close(timeout=1.0)
        if self.restarts >= RESTARTS:
            return False
        self.restarts += 1
        self.agent = self._again()
        return True


__all__ = ["AgentLost", "Local", "Remote"]
