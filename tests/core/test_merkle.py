"""The tree of sums, against the recursion it is defined by."""

from __future__ import annotations

import contextlib
import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provrun.core.merkle import LIMIT, BadSums, Node, Sums, Tree, climb, join, leaf_hash, root_of, sample, unpack


def leaves(count: int) -> list[Node]:
    return [Node(Sums(1, n % 2, 0, 1 - n % 2, 0, n).pack(), leaf_hash(str(n).encode())) for n in range(count)]


def by_definition(nodes: list[Node]) -> Node:
    if len(nodes) < 2:
        return nodes[0] if nodes else Node(0, hashlib.sha256(b"").digest())
    k = 1 << (len(nodes) - 1).bit_length() - 1
    return join(by_definition(nodes[:k]), by_definition(nodes[k:]))


@pytest.mark.parametrize("count", [*range(0, 40), 63, 64, 65, 100, 1000, 4095, 4096, 4097, 10_000])
def test_the_root_is_that_of_the_definition(count: int) -> None:
    root = root_of(leaves(count))
    assert root == by_definition(leaves(count))
    assert unpack(root.sums).tasks == count


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_every_leaf_has_a_way_to_the_root(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 300) | st.integers(4000, 4300))
    position = data.draw(st.integers(0, count - 1))
    tree, nodes = Tree(), leaves(count)
    for n, node in enumerate(nodes):
        if n == position:
            tree.watch()
        tree.add(*node)
    root = tree.root()
    assert climb(nodes[position], position, count, tree.path) == root
    assert len(tree.path) <= 13
    if tree.path:
        with pytest.raises(ValueError, match="steps"):
            climb(nodes[position], position, count, tree.path[1:])
        other = (position + 1) % count
        with contextlib.suppress(ValueError):
            assert climb(nodes[position], other, count, tree.path) != root


def test_a_sibling_must_have_the_size_the_shape_gives_it() -> None:
    nodes = leaves(3)
    grown = nodes[1]._replace(sums=Sums(2, 1, 0, 1, 0, 1).pack())
    with pytest.raises(BadSums, match="claims 2 tasks where the tree has 1"):
        climb(nodes[0], 0, 3, [grown, nodes[2]])


@pytest.mark.parametrize("lane", range(6))
def test_no_sum_reaches_2_to_the_63(lane: int) -> None:
    half = Sums(*(LIMIT // 2 if n == lane else 0 for n in range(6)))
    packed = 0
    for value in half:
        packed = packed << 64 | value
    with pytest.raises(BadSums):
        join(Node(packed, b""), Node(packed, b""))
    with pytest.raises(BadSums):
        half._replace(**{half._fields[lane]: LIMIT}).pack()


def test_tasks_are_the_sum_of_the_four() -> None:
    with pytest.raises(BadSums, match="2 tasks are not"):
        Sums(2, 1, 0, 0, 0, 0).pack()


def test_a_sample_follows_from_root_and_nonce_alone() -> None:
    root = hashlib.sha256(b"root").digest()
    first = int.from_bytes(hashlib.sha256(b"\3" + root + b"n" + bytes(8)).digest()[:8], "big") % 1000
    drawn = list(sample(root, b"n", 1000))
    assert drawn[0] == first
    assert sorted(drawn) == list(range(1000))
    assert drawn != list(sample(root, b"", 1000))
