"""What is foreseen of a shape comes true in a real run of it; `make bench ONLY=shape` does more of this."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.shaped import compare, naps


@pytest.mark.parametrize("family", ["uniform", "exponential"])
def test_a_run_takes_about_as_long_as_was_foreseen(tmp_path: Path, family: str) -> None:
    # Few slots, so that a machine with much else to do keeps up; the tail depends on chance, the whole hardly.
    found = compare(tmp_path, naps(family, 120, 0.25, 1), naps(family, 40, 0.25, 2), 6)
    assert found.shape.good
    assert 0.8 * found.shape.makespan < found.makespan < 1.5 * found.shape.makespan
