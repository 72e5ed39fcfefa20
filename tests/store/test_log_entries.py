"""Entries as bytes: whatever happened to them, they are read as they were written or not at all."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provrun.store import entries
from provrun.store.entries import Damaged

digests = st.binary(min_size=32, max_size=32)


@given(position=st.integers(0, 2**63), previous=digests, writer=st.text(max_size=20), body=st.binary(max_size=200))
def test_an_entry_is_read_as_it_was_made(position: int, previous: bytes, writer: str, body: bytes) -> None:
    made = entries.make(position, previous, writer, body)
    assert entries.read(made.data, position) == made
    assert (made.body, made.writer, made.previous, made.hole) == (body, writer, previous, False)


@given(previous=digests, digest=st.none() | digests)
def test_a_hole_is_called_what_it_stands_for(previous: bytes, digest: bytes | None) -> None:
    hole = entries.make_hole(7, previous, "me", digest)
    assert entries.read(hole.data, 7) == hole
    assert hole.hole and hole.body == b"" and (digest is None or hole.digest == digest)


def test_an_entry_cut_anywhere_is_none() -> None:
    data = entries.make(3, entries.ZERO, "host:1", b"what was done").data
    for length in range(len(data)):
        with pytest.raises(Damaged):
            entries.read(data[:length], 3)
        with pytest.raises(Damaged):
            entries.read(data[:length] + bytes(len(data) - length), 3)


def test_an_entry_with_any_bit_turned_is_none() -> None:
    data = entries.make(3, entries.ZERO, "host:1", b"what was done").data
    for place in range(len(data)):
        for bit in range(8):
            wrong = bytearray(data)
            wrong[place] ^= 1 << bit
            with pytest.raises(Damaged):
                entries.read(bytes(wrong), 3)


def test_an_entry_under_another_number_is_none() -> None:
    data = entries.make(3, entries.ZERO, "host:1", b"").data
    with pytest.raises(Damaged, match="it is the entry 3"):
        entries.read(data, 4)
    with pytest.raises(Damaged):
        entries.read(data + data, 3)


@given(cut=st.integers(0, 400), bodies=st.lists(st.binary(max_size=30), min_size=1, max_size=5))
def test_pieces_before_a_cut_are_whole(cut: int, bodies: list[bytes]) -> None:
    made = [entries.make(n, entries.ZERO, "me", body).data for n, body in enumerate(bodies)]
    whole = b"".join(made)
    cut = min(cut, len(whole))
    found = list(entries.pieces(io.BytesIO(whole[:cut])))
    assert b"".join(found) == whole[:cut]
    kept = 0
    while kept < len(made) and len(b"".join(made[: kept + 1])) <= cut:
        kept += 1
    assert found[:kept] == made[:kept] and len(found) <= kept + 1
