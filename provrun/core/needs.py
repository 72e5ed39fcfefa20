"""What tasks need of the nodes they run on, and what a job's nodes can give."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from provrun.core.agents import Agent
from provrun.core.records import Policy
from provrun.core.units import format_size


class Needs(NamedTuple):
    """What one task takes: ``nodes`` whole agents, or (0) so many ``cores`` and ``gpus`` of one."""

    nodes: int
    cores: int
    gpus: int

    @property
    def plain(self) -> bool:
        """Tell whether one slot of any agent will do."""
        return self == PLAIN


PLAIN = Needs(0, 1, 0)


def needs_of(policy: Policy) -> Needs:
    """Give what a task of a map takes: its ranks are cores of one node unless it asks for several nodes."""
    nodes = policy.task_nodes if policy.task_nodes > 1 else 0
    return Needs(nodes, 1 if nodes else policy.width, policy.gpus)


def alone(needs: Needs) -> Needs:
    """Give what a task takes that shall have an agent to itself."""
    return needs._replace(nodes=max(1, needs.nodes))


def fits(needs: Needs, agents: Collection[Agent]) -> bool:
    """Tell whether these agents could ever run such a task."""
    able = sum(agent.slots >= needs.cores and agent.gpus >= needs.gpus for agent in agents)
    return able >= max(1, needs.nodes)


def describe_lack(needs: Needs, agents: Collection[Agent]) -> str:
    """Say what tasks need that no agent of a job has."""
    if needs.nodes > len(agents):
        return f"in need of {needs.nodes} nodes, and this job has {len(agents)}"
    slots = max((agent.slots for agent in agents), default=0)
    if needs.cores > slots:
        return f"in need of more cores than the {slots} slots there are"
    gpus = max((agent.gpus for agent in agents), default=0)
    return f"in need of {needs.gpus} GPUs on a node, and the largest number there is {gpus}"


def describe_memory(memory: int, agents: Collection[Agent]) -> str:
    """Say that a limit of memory is more than any node has."""
    most = max((agent.memory for agent in agents), default=0)
    return f"in need of {format_size(memory)} of memory, and the largest node has {format_size(most)}"
