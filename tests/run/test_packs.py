"""Packs: what is appended can be read by its place, and what a crash tore is known."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from provrun.errors import StorageFailed, Unsound
from provrun.run.packs import BLOB, LOG, PackWriter, Record, blob_reader, pack_path, read, records

CONTENTS = st.one_of(
    st.binary(max_size=300),
    st.builds(lambda part, times: part * times, st.binary(min_size=1, max_size=20), st.integers(1, 30_000)),
    st.builds(os.urandom, st.integers(200_000, 400_000)),
)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(contents=st.lists(CONTENTS, max_size=6))
def test_records_are_read_by_place_and_from_the_start(tmp_path: Path, contents: list[bytes]) -> None:
    path = tmp_path / "p" / "job-3.pack"
    path.unlink(missing_ok=True)
    writer = PackWriter(path, 3)
    places = [writer.append(LOG, content) for content in contents]
    writer.close()
    assert [read(path, place) for place in places] == contents
    if contents:
        expected = [Record(place, LOG, content) for place, content in zip(places, contents, strict=True)]
        assert list(records(path, 3)) == expected


def test_no_file_is_made_before_there_is_something_to_write(tmp_path: Path) -> None:
    writer = PackWriter(tmp_path / "packs" / "a.pack", 0)
    writer.close()
    assert not (tmp_path / "packs").exists()


def test_compressible_content_takes_little_room(tmp_path: Path) -> None:
    writer = PackWriter(tmp_path / "a.pack", 0)
    writer.append(BLOB, b"0.123\n" * 100_000)
    writer.close()
    assert (tmp_path / "a.pack").stat().st_size < 5000


@pytest.mark.parametrize("cut", [1, 10, 40])
def test_a_torn_tail_is_known_and_what_follows_it_is_found(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "a.pack"
    writer = PackWriter(path, 0)
    first, torn = writer.append(LOG, b"first"), writer.append(LOG, b"torn" * 10)
    writer.close()
    os.truncate(path, path.stat().st_size - cut)
    again = PackWriter(path, 0)
    last = again.append(LOG, b"last")
    again.close()
    assert [(record.place, record.content) for record in records(path, 0)] == [(first, b"first"), (last, b"last")]
    with pytest.raises(Unsound, match="damaged"):
        read(path, torn)


def test_every_changed_byte_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.pack"
    writer = PackWriter(path, 0)
    place = writer.append(LOG, b"some content that is long enough to be worth deflating " * 3)
    writer.close()
    whole = path.read_bytes()
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        with pytest.raises(Unsound):
            read(path, place)


def test_room_can_be_filled_later_and_holds_no_record_until_then(tmp_path: Path) -> None:
    path, file = tmp_path / "a.pack", tmp_path / "file"
    file.write_bytes(b"0123456789")
    writer = PackWriter(path, 0)
    good, never, wrong = writer.reserve(LOG, 10), writer.reserve(LOG, 10), writer.reserve(LOG, 9)
    last = writer.append(LOG, b"last")
    with pytest.raises(Unsound):
        read(path, good.place)
    good.fill(str(file))
    with pytest.raises(OSError, match="has changed its size"):
        wrong.fill(str(file))
    writer.close()
    assert [read(path, place) for place in (good.place, last)] == [b"0123456789", b"last"]
    assert [record.place for record in records(path, 0)] == [good.place, last]
    with pytest.raises(Unsound):
        read(path, never.place)


def test_a_full_disk_is_said_with_what_to_do() -> None:
    writer = PackWriter(Path("/dev/full"), 0)
    with pytest.raises(StorageFailed, match=re.escape("cannot write the pack /dev/full: No space left on device")):
        writer.append(LOG, b"x")


def test_a_missing_pack_is_said(tmp_path: Path) -> None:
    with pytest.raises(StorageFailed, match="No such file"):
        read(tmp_path / "none.pack", "0:0:40")


def test_a_blob_is_read_by_its_digest_and_checked(tmp_path: Path) -> None:
    writer = PackWriter(pack_path(tmp_path, "job", 2), 2)
    place = writer.append(BLOB, b"abc")
    writer.close()
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert blob_reader(tmp_path, {digest: ("job", place)})(digest) == b"abc"
    with pytest.raises(Unsound, match="not what was recorded"):
        blob_reader(tmp_path, {"00" * 32: ("job", place)})("00" * 32)
    with pytest.raises(Unsound, match="nothing says where"):
        blob_reader(tmp_path, {})(digest)
