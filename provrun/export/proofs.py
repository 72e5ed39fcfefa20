"""Proofs that a task is among those a page commits to: made from the way to the root, checked with the page alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

from provrun.core.canonical import NotAValue, decode, encode
from provrun.core.cohorts import CohortKey, tail
from provrun.core.leaves import BadRecord, Record
from provrun.core.merkle import BadSums, Node, Sums, climb, leaf_hash, unpack
from provrun.core.states import Outcome
from provrun.export.view import Committed, View, Wrong, short

VERSION = 1
MOST_STEPS = 64
FIELDS = frozenset(("v", "map", "group", "position", "record", "path"))

WHOLE = "proof-is-whole"
OF_PAGE = "proof-is-of-this-page"
BELONGS = "record-belongs-to-its-group"
LEADS = "proof-leads-to-the-root"


def write_proof(map: str, group: int, position: int, record: bytes, path: Sequence[Node]) -> str:
    """Write a proof as canonical text; ``record`` stands in it as text, so that its bytes are kept."""
    steps = [[list(unpack(node.sums)), node.hash.hex()] for node in path]
    return encode({
        "group": group, "map": map, "path": steps, "position": position, "record": record.decode(), "v": VERSION,
    })


def wrong_proof(view: View, data: bytes) -> Iterator[Wrong]:
    """Give what does not hold of a proof against a page; nothing if the task is among those committed to."""
    try:
        proof = _read(data)
        record = Record(cast("str", proof["record"]).encode())
        path = [_node(step) for step in cast("list[object]", proof["path"])]
    except (BadRecord, BadSums, NotAValue, ValueError, TypeError) as error:
        yield Wrong(WHOLE, str(error))
        return
    one = next((one for one in view.maps() if one.name == proof["map"]), None)
    place = cast("int", proof["group"])
    if one is None or record.map != one.name or not 0 <= place < len(one.groups):
        yield Wrong(OF_PAGE, f"the page has no group {place} of {proof['map']} for {record.map}/{record.index}")
        return
    group = one.groups[place]
    if not belongs(record, group):
        yield Wrong(BELONGS, f"{record.map}/{record.index} is not of {short(group.node)}")
    try:
        leaf = Node(record.sums().pack(), leaf_hash(record.line))
        root = climb(leaf, cast("int", proof["position"]), group.sums.tasks, path)
    except (BadSums, ValueError) as error:
        yield Wrong(LEADS, str(error))
        return
    if root != group.top:
        yield Wrong(LEADS, f"from {record.map}/{record.index} it leads to another root than {short(group.node)} has")


def record_of(data: bytes) -> Record:
    """Give the record that a proof holds."""
    return Record(cast("str", _read(data)["record"]).encode())


def belongs(record: Record, group: Committed) -> bool:
    """Tell whether a record has the key of its group; in a tail only the outcome is kept."""
    key = record.key
    if isinstance(key, CohortKey):
        key = tail(key.outcome is Outcome.SUCCEEDED) if group.kind == "tail" else key.group
    return key.digest() == group.key


def _read(data: bytes) -> dict[str, object]:
    proof = decode(data)
    if not isinstance(proof, dict) or proof.keys() != FIELDS or proof["v"] != VERSION:
        raise ValueError(f"it is no proof of version {VERSION}")
    kinds = {"map": str, "group": int, "position": int, "record": str, "path": list}
    for name, kind in kinds.items():
        if type(proof[name]) is not kind:
            raise ValueError(f"its {name} is no {kind.__name__}")
    if len(cast("list[object]", proof["path"])) > MOST_STEPS:
        raise ValueError("its path is longer than any tree is high")
    return cast("dict[str, object]", proof)


def _node(step: object) -> Node:
    if not isinstance(step, list) or len(step) != 2 or not isinstance(step[0], list) or len(step[0]) != 6:
        raise ValueError("a step of its path is not six sums and a hash")
    sums, hexadecimal = step
    if any(type(one) is not int for one in sums) or len(hash := bytes.fromhex(hexadecimal)) != 32:
        raise ValueError("a step of its path is not six sums and a hash")
    return Node(Sums(*sums).pack(), hash)
