"""What tasks need of the nodes they run on, and what a job's nodes can give."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, NamedTuple

from provrun.core.records import Claimed, Policy
from provrun.core.units import format_size

if TYPE_CHECKING:
    from provrun.core.agents import Agent


class Needs(NamedTuple):
    """What one task takes: ``nodes`` whole agents, or (0) so many ``cores``, ``gpus`` and bytes of ``memory`` of one.

    The memory is the limit of its map, 0 if that has none.
    """

    nodes: int
    cores: int
    gpus: int
    memory: int = 0


NOTHING = Needs(0, 0, 0)


def needs_of(policy: Policy) -> Needs:
    """Give what a task of a map takes: its ranks are cores of one node unless it asks for several nodes."""
    nodes = policy.task_nodes if policy.task_nodes > 1 else 0
    return Needs(nodes, 1 if nodes else policy.width, policy.gpus, 0 if nodes else policy.task_memory or 0)


def needs_of_task(task: Claimed, needs: Needs) -> Needs:
    """Give what a task takes whose map has such needs: after failures it may have a larger limit of memory."""
    own = task.limits.memory if task.limits is not None else None
    return needs if own is None or own <= needs.memory or needs.nodes else needs._replace(memory=own)


def alone(needs: Needs) -> Needs:
    """Give what a task takes that shall have an agent to itself."""
    return needs._replace(nodes=max(1, needs.nodes))


def fits(needs: Needs, agents: Iterable[Agent]) -> bool:
    """Tell whether these agents could ever run such a task."""
    return sum(is_enough(agent, needs) for agent in agents) >= max(1, needs.nodes)


def is_enough(agent: Agent, needs: Needs) -> bool:
    """Tell whether an agent has what a task takes, or takes of each of its nodes."""
    spacious = not agent.memory or agent.memory >= needs.memory
    return spacious and agent.slots >= needs.cores and agent.gpus >= needs.gpus


def describe_lack(needs: Needs, agents: Collection[Agent]) -> str:
    """Say what tasks need that no agent of a job has."""
    if needs.nodes > len(agents):
        return f"in need of {needs.nodes} nodes, and this job has {len(agents)}"
    slots = max((agent.slots for agent in agents), default=0)
    if needs.cores > slots:
        return f"in need of more cores than the {slots} slots there are"
    gpus = max((agent.gpus for agent in agents), default=0)
    if needs.gpus <= gpus:
        return describe_memory(needs.memory, agents)
    return f"in need of {needs.gpus} GPUs on a node, and the largest number there is {gpus}"


def describe_memory(memory: int, agents: Collection[Agent]) -> str:
    """Say that a limit of memory is more than any node has."""
    most = max((agent.memory for agent in agents), default=0)
    return f"in need of {format_size(memory)} of memory, and the largest node has {format_size(most)}"
