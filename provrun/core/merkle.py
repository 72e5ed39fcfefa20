"""A Merkle tree whose nodes carry sums, so that whoever checks one leaf checks the totals as well.

The shape is that of RFC 6962. A leaf is hashed as ``0x00 || record``, a node as ``0x01 || sums of the left || hash of
the left || sums of the right || hash of the right``, a group as ``0x02 || sums || root || key``. Sums are six unsigned
integers of 64 bits, big-endian: tasks, succeeded, reused, failed, other, wall time in microseconds. They are kept as
one integer of 384 bits, since adding those adds all six; none may reach 2**63, so nothing carries over.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from typing import NamedTuple

WIDTH = 48
FAN = 64
"""How many nodes wait to be joined: a power of two, so that what is above them is a node of the tree."""
LIMIT = 1 << 63
EMPTY = sha256(b"").digest()
"""The root of a tree without leaves."""

_TOPS = sum(1 << (64 * lane + 63) for lane in range(6))
_LANE = (1 << 64) - 1


class BadSums(ValueError):
    """Sums that no set of tasks has."""


class Sums(NamedTuple):
    """What is added up from leaf to root; ``wall`` in microseconds."""

    tasks: int
    succeeded: int
    reused: int
    failed: int
    other: int
    wall: int

    def pack(self) -> int:
        """Give the sums as one integer; `BadSums` where one is negative, reaches 2**63, or parts are not the whole."""
        for name, value in zip(self._fields, self, strict=True):
            if not 0 <= value < LIMIT:
                raise BadSums(f"{name} is {value}, which is not from 0 to 2^63 - 1")
        if self.tasks != self.succeeded + self.reused + self.failed + self.other:
            raise BadSums(
                f"{self.tasks} tasks are not {self.succeeded} + {self.reused} + {self.failed} + {self.other}"
            )
        packed = 0
        for value in self:
            packed = packed << 64 | value
        return packed


NOTHING = Sums(0, 0, 0, 0, 0, 0)


def unpack(packed: int) -> Sums:
    """Give the six sums that stand in one integer."""
    return Sums(*(packed >> 64 * lane & _LANE for lane in range(5, -1, -1)))


class Node(NamedTuple):
    """A node of the tree: packed sums and hash."""

    sums: int
    hash: bytes


def leaf_hash(record: bytes) -> bytes:
    """Hash the record of a task."""
    return sha256(b"\0" + record).digest()


def join(left: Node, right: Node) -> Node:
    """Make the node above two others."""
    return Node(*_joined(*left, *right))


def _joined(mine: int, hash: bytes, other: int, beside: bytes) -> tuple[int, bytes]:
    total = mine + other
    if total & _TOPS:
        raise BadSums("sums add up to 2^63 or more")
    content = b"".join((b"\1", mine.to_bytes(WIDTH, "big"), hash, other.to_bytes(WIDTH, "big"), beside))
    return total, sha256(content).digest()


def group_node(root: Node, key: bytes) -> Node:
    """Bind the tree of a group to its key: what stands for the group in the tree of its map."""
    return Node(root.sums, sha256(b"\2" + root.sums.to_bytes(WIDTH, "big") + root.hash + key).digest())


class Tree:
    """Takes leaves one after the other, and keeps fewer than `FAN` nodes for each factor `FAN` in their number.

    Nodes that wait are joined when they are `FAN`, which is quicker than one by one; what is above them waits in the
    next tier. After `watch` the tree notes in ``path`` the siblings on the way from the next leaf to the root. `add`
    and `root` raise `BadSums` where sums add up to too much.
    """

    def __init__(self) -> None:
        self.path: list[Node] = []
        self._tiers: list[list[tuple[int, bytes]]] = [[]]
        self._watched: tuple[int, int] | None = None  # its tier, and its place there

    @property
    def size(self) -> int:
        """The number of leaves so far."""
        return sum(len(nodes) * FAN**tier for tier, nodes in enumerate(self._tiers))

    def watch(self) -> None:
        """Note the way of the leaf that is added next; `root` must then be called once, and last."""
        self._watched = 0, len(self._tiers[0])

    def add(self, sums: int, hash: bytes) -> None:
        """Add a leaf by its packed sums and its hash."""
        nodes = self._tiers[0]
        nodes.append((sums, hash))
        if len(nodes) == FAN:
            self._lift(0)

    def root(self) -> Node:
        """Give the root of the leaves so far."""
        last: list[tuple[int, bytes]] = []
        for tier, nodes in enumerate(self._tiers):
            last = self._above(tier, nodes + last)
        return Node(*last[0]) if last else Node(0, EMPTY)

    def _lift(self, tier: int) -> None:
        if tier + 1 == len(self._tiers):
            self._tiers.append([])
        above = self._tiers[tier + 1]
        above += self._above(tier, self._tiers[tier])
        self._tiers[tier] = []
        if len(above) == FAN:
            self._lift(tier + 1)

    def _above(self, tier: int, nodes: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
        """Join nodes in pairs until one is left; the last one stays as it is where their number is odd."""
        place = None
        if self._watched is not None and self._watched[0] == tier:
            place = self._watched[1]
            self._watched = tier + 1, len(self._tiers[tier + 1]) if tier + 1 < len(self._tiers) else 0
        while len(nodes) > 1:
            if place is not None:
                if (beside := place ^ 1) < len(nodes):
                    self.path.append(Node(*nodes[beside]))
                place >>= 1
            pairs = iter(nodes)
            joined = [_joined(*left, *right) for left, right in zip(pairs, pairs, strict=False)]
            nodes = joined + nodes[2 * len(joined) :]
        return nodes


def root_of(nodes: Iterable[Node]) -> Node:
    """Give the root of the tree over some nodes."""
    tree = Tree()
    for node in nodes:
        tree.add(*node)
    return tree.root()


def siblings(position: int, size: int) -> list[tuple[bool, int]]:
    """Give for each step from a leaf up to the root whether its sibling stands left, and how many leaves that has."""
    if not 0 <= position < size:
        raise ValueError(f"there is no leaf {position} among {size}")
    steps: list[tuple[bool, int]] = []
    while size > 1:
        left = 1 << (size - 1).bit_length() - 1
        if position < left:
            steps.append((False, size - left))
            size = left
        else:
            steps.append((True, left))
            position -= left
            size -= left
    return steps[::-1]


def climb(leaf: Node, position: int, size: int, path: Sequence[Node]) -> Node:
    """Give the root that a leaf and its path lead to; `BadSums` or ``ValueError`` where the path has not the shape."""
    steps = siblings(position, size)
    if len(path) != len(steps):
        raise ValueError(f"the path has {len(path)} steps, a tree of {size} leaves has {len(steps)} there")
    node = leaf
    for (is_left, count), sibling in zip(steps, path, strict=True):
        sums = unpack(sibling.sums)
        sums.pack()
        if sums.tasks != count:
            raise BadSums(f"a sibling claims {sums.tasks} tasks where the tree has {count}")
        node = join(sibling, node) if is_left else join(node, sibling)
    return node


def sample(root: bytes, nonce: bytes, size: int) -> Iterator[int]:
    """Give positions drawn from a root and a nonce, each once, until all were drawn.

    Position j is made of the first 8 bytes of ``sha256(0x03 || root || nonce || j as 8 bytes)``, modulo ``size``.
    """
    seen: set[int] = set()
    draw = 0
    while len(seen) < size:
        content = b"\3" + root + nonce + draw.to_bytes(8, "big")
        position = int.from_bytes(sha256(content).digest()[:8], "big") % size
        draw += 1
        if position not in seen:
            seen.add(position)
            yield position
