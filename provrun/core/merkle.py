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
    (mine, hash), (other, beside) = left, right
    total = mine + other
    if total & _TOPS:
        raise BadSums("sums add up to 2^63 or more")
    content = b"".join((b"\1", mine.to_bytes(WIDTH, "big"), hash, other.to_bytes(WIDTH, "big"), beside))
    return Node(total, sha256(content).digest())


def group_node(root: Node, key: bytes) -> Node:
    """Bind the tree of a group to its key: what stands for the group in the tree of its map."""
    return Node(root.sums, sha256(b"\2" + root.sums.to_bytes(WIDTH, "big") + root.hash + key).digest())


class Tree:
    """Takes leaves one after the other and keeps no more of them than the logarithm of their number.

    After `watch` it notes in ``path`` the siblings on the way from the next leaf to the root.
    """

    def __init__(self) -> None:
        self.size = 0
        self.path: list[Node] = []
        self.watched: int | None = None
        self._stack: list[tuple[int, int, Node]] = []  # first position, size, node

    def watch(self) -> None:
        """Note the way of the leaf that is added next; `root` must then be called once, and last."""
        self.watched = self.size

    def add(self, sums: int, hash: bytes) -> None:
        """Add a leaf by its packed sums and its hash."""
        first, size, node = self.size, 1, Node(sums, hash)
        self.size += 1
        stack = self._stack
        while stack and stack[-1][1] == size:
            first, _, left = stack.pop()
            node = join(left, node) if self.watched is None else self._join(first, size, left, size, node)
            size += size
        stack.append((first, size, node))

    def root(self) -> Node:
        """Give the root of the leaves so far."""
        if not self._stack:
            return Node(0, EMPTY)
        _, size, node = self._stack[-1]
        for first, left_size, left in reversed(self._stack[:-1]):
            node = self._join(first, left_size, left, size, node)
            size += left_size
        return node

    def _join(self, first: int, left_size: int, left: Node, right_size: int, right: Node) -> Node:
        watch = self.watched
        if watch is not None and first <= watch < first + left_size + right_size:
            self.path.append(right if watch < first + left_size else left)
        return join(left, right)


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
