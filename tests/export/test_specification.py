"""The worked example of docs/reference/commitment.md against what provrun makes of the same records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fixtures.pages import blocks
from provrun.core.canonical import digest
from provrun.core.cohorts import UNATTEMPTED
from provrun.core.commitment import commit_trees
from provrun.core.leaves import Record
from provrun.core.merkle import Tree, leaf_hash

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "commitment.md"


def test_the_worked_example_is_what_provrun_computes() -> None:
    (program,) = [block.text for block in blocks(PAGE) if block.language == "python"]
    shown: dict[str, Any] = {}
    exec(program, shown)
    records = [Record(shown["canonical"](record)) for record in shown["records"]]
    trees = [Tree(), Tree()]
    for record in records:
        trees[record.group == UNATTEMPTED].add(record.sums().pack(), leaf_hash(record.line))
    made = commit_trees([records[0].group, UNATTEMPTED], trees)
    assert [group.root.hash for group in made.groups] == [shown["root"], shown["leaves"][2]]
    assert [group.key.digest() for group in made.groups] == shown["keys"]
    assert made.root.hash == shown["top"]
    assert made.sums == (3, 2, 0, 0, 1, 4000)
    assert digest("page", {"maps": [["cubes", shown["top"].hex()]], "v": 1}).hex() == shown["snapshot"]
