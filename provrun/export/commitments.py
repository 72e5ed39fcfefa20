"""The nodes by which a page commits to every task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from provrun.core.commitment import MapCommitment
from provrun.core.merkle import Node, unpack
from provrun.export.page import Page

if TYPE_CHECKING:
    from prov.identifier import QualifiedName

HASH = "sha-256"


def add_commitments(
    page: Page, commitment: MapCommitment, name: Callable[[int | None], QualifiedName]
) -> None:
    """Add the commitment to a map, and one for each of its groups; ``name`` names them, the map's by None."""
    parts = [name(position) for position in range(len(commitment.groups))]
    _add(page, name(None), commitment.root, subtree=parts)
    for position, group in enumerate(commitment.groups):
        _add(page, parts[position], group.root, position=position, key=group.key.digest().hex(), kind=group.key.kind)


def _add(
    page: Page, node: QualifiedName, root: Node, *, subtree: Sequence[QualifiedName] = (), position: int | None = None,
    key: str | None = None, kind: str | None = None,
) -> None:
    sums = unpack(root.sums)
    page.entity(
        node, ["MerkleSumCommitment"], hash=HASH, root=root.hash.hex(), treeSize=sums.tasks,
        succeeded=sums.succeeded, reused=sums.reused, failed=sums.failed, other=sums.other,
        wallMicroseconds=sums.wall, subtree=list(subtree), position=position, key=key, kind=kind,
    )
