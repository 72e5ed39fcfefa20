"""What counts as the same result, and how a sample is shared out."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provrun.core.canonical import Blob
from provrun.core.reproduction import is_close, shares


@pytest.mark.parametrize(
    ("recorded", "found", "close"),
    [
        (1.0, 1.0 + 1e-9, True), (1.0, 1.01, False), (0.0, 1e-300, False), (0.0, -0.0, True), (1, 1.0, False),
        (1, 2, False), (True, 1, False), (math.nan, math.nan, True), (math.nan, 1.0, False), (math.inf, math.inf, True),
        ({"a": [1.0, "x"]}, {"a": [1.0 + 1e-9, "x"]}, True), ({"a": 1.0}, {"b": 1.0}, False),
        ([1.0], [1.0, 2.0], False),
        ("1", "1", True), (None, None, True), (None, 0, False), (-2.0, -2.0 - 1e-9, True), (-2.0, 2.0, False),
        (Blob(format="npy", digest="a"), Blob(format="npy", digest="a"), True),
        (Blob(format="npy", digest="a"), Blob(format="npy", digest="b"), False),
        (Blob(format="npy", digest="a"), {"format": "npy", "digest": "a"}, False),
    ],
)
def test_only_floats_may_differ(recorded: object, found: object, close: bool) -> None:
    assert is_close(recorded, found, 1e-6) is close


@given(st.dictionaries(st.text(max_size=2), st.integers(0, 50), max_size=6), st.integers(1, 100))
def test_a_sample_is_shared_out_whole_and_every_map_has_its_part(counts: dict[str, int], wanted: int) -> None:
    given_to = shares(counts, wanted)
    assert sum(given_to.values()) == min(wanted, sum(counts.values()))
    assert all(0 <= given_to[name] <= counts[name] for name in counts)
    there = [name for name in counts if counts[name]]
    if wanted >= len(there):
        assert all(given_to[name] for name in there)
