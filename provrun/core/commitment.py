"""What a page says of the tasks of a map so that each can be checked: a tree for each group, a tree over the groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from provrun.core.cohorts import GroupKey
from provrun.core.merkle import Node, Sums, Tree, group_node, root_of, unpack


class GroupCommitment(NamedTuple):
    """The commitment to the tasks of one group."""

    key: GroupKey
    root: Node

    @property
    def sums(self) -> Sums:
        """The sums over the group's tasks."""
        return unpack(self.root.sums)


class MapCommitment(NamedTuple):
    """The commitment to all tasks of a map; ``groups`` by position."""

    root: Node
    groups: tuple[GroupCommitment, ...]

    @property
    def sums(self) -> Sums:
        """The sums over all tasks."""
        return unpack(self.root.sums)


def commit(groups: Sequence[tuple[GroupKey, Node]]) -> MapCommitment:
    """Bind groups, by position, into the commitment of their map."""
    made = tuple(GroupCommitment(key, root) for key, root in groups)
    return MapCommitment(root_of(group_node(one.root, one.key.digest()) for one in made), made)


def commit_trees(keys: Sequence[GroupKey], trees: Sequence[Tree]) -> MapCommitment:
    """Bind the trees of groups, by position, into the commitment of their map."""
    return commit([(key, tree.root()) for key, tree in zip(keys, trees, strict=True)])


NO_TASKS = commit([])
"""The commitment to a map without tasks."""
