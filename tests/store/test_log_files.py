"""The files of a log: merged, cut, zeroed, swapped, put where they do not belong."""

from __future__ import annotations

import os
import shutil
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from provrun.store import entries
from provrun.store.log import DISTANCE, Log
from provrun.store.log_files import FANOUT, LogFiles


class Writer:
    """Appends numbered bodies to a log."""

    def __init__(self, folder: Path, name: str = "w") -> None:
        self.log, self.last = Log.create(folder, name, "me:1")
        self.log.announce(self.last)

    def append(self, n: int) -> None:
        for _ in range(n):
            position = self.last.position + 1
            made = self.log.append(position, self.last.digest, body(position))
            assert made is not None
            self.last = made
            self.log.announce(made)


def body(position: int) -> bytes:
    return msgspec.msgpack.encode(position)


def read(folder: Path, start: int = 0) -> tuple[list[int], LogFiles]:
    """Read a log as somebody does who has never seen it; give the positions, which must hold what was written."""
    files = LogFiles(folder)
    found = list(files.read(start))
    assert all(one.body == body(one.position) for one in found if one.position and not one.hole)
    return [one.position for one in found], files


def loose(folder: Path, position: int) -> Path:
    return folder / f"{position:012d}"


@pytest.fixture
def writer(memory: Path) -> Writer:
    return Writer(memory / "log")


def test_thousands_of_entries_lie_in_few_files(writer: Writer) -> None:
    most = 0
    for _ in range(30):
        writer.append(70)
        most = max(most, len(list(writer.log.folder.iterdir())))
    assert writer.last.position == 2100
    assert most < 64
    positions, files = read(writer.log.folder)
    assert positions == list(range(2101)) and files.stuck is None
    for start in (1, 511, 512, 2047, 2069, 2100, 2101):
        assert read(writer.log.folder, start)[0] == list(range(start, 2101))


def test_the_last_entries_stay_loose(writer: Writer) -> None:
    writer.append(100)
    for position in range(101 - DISTANCE, 101):
        assert loose(writer.log.folder, position).exists()
    assert not loose(writer.log.folder, 0).exists()


def test_two_who_merge_make_the_same_files(memory: Path, writer: Writer) -> None:
    writer.append(DISTANCE)
    shutil.copytree(writer.log.folder, memory / "copy")
    other = Log(memory / "copy", "other", "you:2")
    for entry in list(LogFiles(writer.log.folder).read(0)):
        other.announce(entry)
    previous = writer.last
    for position in range(DISTANCE + 1, 600):
        made = entries.make(position, previous.digest, "me:1", body(position))
        for log in (writer.log, other):
            loose(log.folder, position).write_bytes(made.data)
            log.announce(made)
        previous = made
    first, second = (
        {path.name: path.read_bytes() for path in folder.iterdir()} for folder in (writer.log.folder, other.folder)
    )
    assert first == second


def test_an_entry_cut_at_any_byte_is_waited_for(writer: Writer) -> None:
    writer.append(5)
    path = loose(writer.log.folder, 3)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        positions, files = read(writer.log.folder)
        assert positions == [0, 1, 2]
        assert files.stuck is not None and files.stuck.position == 3
    path.write_bytes(whole)
    positions, files = read(writer.log.folder)
    assert positions == [0, 1, 2, 3, 4, 5] and files.stuck is None


def test_a_merged_file_cut_at_any_byte_gives_what_is_whole(writer: Writer) -> None:
    writer.append(DISTANCE + FANOUT)
    path = writer.log.folder / "1.000000000000"
    whole = path.read_bytes()
    sizes = [len(one.data) for one in LogFiles(writer.log.folder).read(0)][:FANOUT]
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        kept = sum(length >= sum(sizes[: n + 1]) for n in range(FANOUT))
        positions, files = read(writer.log.folder)
        assert positions == list(range(kept))
        assert files.stuck is not None and files.stuck.position == kept
    path.write_bytes(whole)
    assert read(writer.log.folder)[0] == list(range(DISTANCE + FANOUT + 1))


@pytest.mark.parametrize("content", [b"", bytes(300), b"garbage" * 100], ids=["empty", "zeros", "garbage"])
def test_a_file_of_other_content_is_no_entry(writer: Writer, content: bytes) -> None:
    writer.append(4)
    loose(writer.log.folder, 2).write_bytes(content)
    positions, files = read(writer.log.folder)
    assert positions == [0, 1] and files.stuck is not None


def test_duplicated_and_swapped_entries_are_not_taken(writer: Writer) -> None:
    writer.append(6)
    folder = writer.log.folder
    two, three = loose(folder, 2).read_bytes(), loose(folder, 3).read_bytes()
    loose(folder, 3).write_bytes(two)
    assert read(folder)[0] == [0, 1, 2]
    loose(folder, 2).write_bytes(three)
    assert read(folder)[0] == [0, 1]
    loose(folder, 2).write_bytes(two)
    loose(folder, 3).write_bytes(three)
    assert read(folder)[0] == [0, 1, 2, 3, 4, 5, 6]


def test_a_missing_entry_is_not_the_end(writer: Writer) -> None:
    writer.append(6)
    loose(writer.log.folder, 4).unlink()
    positions, files = read(writer.log.folder)
    assert positions == [0, 1, 2, 3]
    assert files.stuck is not None and str(files.stuck) == "entry 4 of the log is missing"


def test_one_of_two_writers_is_first(memory: Path) -> None:
    one = Writer(memory / "log", "one")
    two = Log(memory / "log", "two", "you:2")
    one.append(1)
    assert two.append(1, entries.ZERO, b"") is None
    assert [entry.writer for entry in two.read(1)] == ["me:1"]
    made = two.append(2, one.last.digest, body(2))
    assert made is not None
    assert one.log.append(2, one.last.digest, body(2)) is None
    assert next(one.log.read(2)).writer == "you:2"


def test_a_writer_whose_number_was_merged_away_takes_his_entry_back(memory: Path) -> None:
    one = Writer(memory / "log", "one")
    one.append(5)
    late, digest = Log(memory / "log", "late", "zombie:3"), one.last.digest
    one.append(60)
    assert not loose(one.log.folder, 6).exists()
    assert late.append(6, digest, b"too late") is None
    assert not loose(one.log.folder, 6).exists()
    assert next(late.read(6)).writer == "me:1"


def test_the_number_of_an_entry_that_was_announced_and_is_lost_is_not_used_again(writer: Writer) -> None:
    writer.append(4)
    before = writer.last
    writer.append(1)
    loose(writer.log.folder, 5).unlink()
    other = Log(writer.log.folder, "other", "you:2")
    assert other.append(5, before.digest, b"another one") is None
    assert list(other.read(5)) == [] and str(other.stuck) == "entry 5 of the log is missing"
    other.ask(5)
    assert writer.log.mend()
    assert read(writer.log.folder)[0] == list(range(6))


def test_an_entry_behind_one_that_is_lost_is_not_taken_back(writer: Writer) -> None:
    writer.append(5)
    other = Log(writer.log.folder, "other", "you:2")
    loose(writer.log.folder, 5).unlink()
    made = other.append(6, writer.last.digest, body(6))
    assert made is not None
    other.announce(made)
    other.ask(5)
    assert writer.log.mend()
    assert read(writer.log.folder)[0] == list(range(7))


def test_what_a_dead_writer_put_under_a_number_merged_away_is_not_believed(memory: Path) -> None:
    one = Writer(memory / "log", "one")
    one.append(5)
    bogus = entries.make(6, one.last.digest, "zombie:3", b"too late")
    one.append(60)
    loose(one.log.folder, 6).write_bytes(bogus.data)
    assert read(one.log.folder)[0] == list(range(66))
    one.append(700)
    assert read(one.log.folder)[0] == list(range(766))


def test_what_a_writer_that_was_killed_left_is_not_written_to(memory: Path) -> None:
    one = Writer(memory / "log", "one")
    one.append(3)
    # Killed between the link and the end: both names are of one file.
    left = one.log.folder / f"new~one-{os.getpid()}"
    left.hardlink_to(loose(one.log.folder, 3))
    one.append(3)
    assert read(one.log.folder)[0] == list(range(7))
    assert not left.exists()


def test_what_killed_writers_left_is_removed_in_time(writer: Writer) -> None:
    old, new = writer.log.folder / "new~other-1", writer.log.folder / "new~other-2"
    old.touch()
    new.touch()
    os.utime(old, (1, 1))
    writer.append(130)
    assert not old.exists() and new.exists()


def test_an_entry_of_a_writer_that_died_before_he_announced_it_is_found(writer: Writer) -> None:
    writer.append(3)
    assert writer.log.append(4, writer.last.digest, body(4)) is not None
    assert LogFiles(writer.log.folder).head().position == 3
    assert read(writer.log.folder)[0] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("content", [None, b"", b"{", bytes(100)], ids=["none", "empty", "cut", "zeros"])
def test_a_lost_head_is_made_out_from_the_files(writer: Writer, content: bytes | None) -> None:
    writer.append(700)
    head = writer.log.folder / "HEAD"
    if content is None:
        head.unlink()
    else:
        head.write_bytes(content)
    assert read(writer.log.folder)[0] == list(range(701))
    writer.append(100)
    assert read(writer.log.folder)[0] == list(range(801))
    assert len(list(writer.log.folder.iterdir())) < 64


def test_an_old_head_does_not_mislead(writer: Writer) -> None:
    writer.append(20)
    old = (writer.log.folder / "HEAD").read_bytes()
    writer.append(50)
    (writer.log.folder / "HEAD").write_bytes(old)
    positions, files = read(writer.log.folder)
    assert positions == list(range(71)) and files.stuck is None
    writer.append(600)
    assert read(writer.log.folder)[0] == list(range(671))
    assert len(list(writer.log.folder.iterdir())) < 64


def test_who_has_an_entry_mends_it_when_asked(writer: Writer) -> None:
    writer.append(6)
    path = loose(writer.log.folder, 4)
    whole = path.read_bytes()
    path.write_bytes(whole[:50])
    asking = Log(writer.log.folder, "asking", "you:2")
    asking.ask(4)
    assert not asking.mend()
    assert writer.log.mend()
    assert path.read_bytes() == whole and not (writer.log.folder / "wanted").exists()
    assert not writer.log.mend()


def test_who_mends_an_entry_mends_those_after_it(writer: Writer) -> None:
    writer.append(60)
    last = list(LogFiles(writer.log.folder).read(0))
    paths = [path for entry in last if (path := loose(writer.log.folder, entry.position)).exists()]
    assert len(paths) > 30
    for n, path in enumerate(paths):
        if n % 3:
            path.write_bytes(b"")
        else:
            path.unlink()
    positions, files = read(writer.log.folder)
    assert files.stuck is not None and positions == list(range(files.stuck.position))
    Log(writer.log.folder, "asking", "you:2").ask(files.stuck.position)
    assert writer.log.mend()
    assert list(LogFiles(writer.log.folder).read(0)) == last
    assert all(path.exists() for path in paths)


@pytest.mark.parametrize("content", [None, b"", b"garbage"], ids=["none", "empty", "garbage"])
def test_who_has_an_entry_mends_it_in_merging(writer: Writer, content: bytes | None) -> None:
    writer.append(6)
    if content is None:
        loose(writer.log.folder, 4).unlink()
    else:
        loose(writer.log.folder, 4).write_bytes(content)
    writer.append(60)
    assert read(writer.log.folder)[0] == list(range(67))


def test_what_is_damaged_is_not_merged_by_who_does_not_have_it(writer: Writer) -> None:
    writer.append(6)
    loose(writer.log.folder, 4).write_bytes(b"")
    writer.log = Log(writer.log.folder, "new", "you:2")  # another process, which has nothing in memory
    writer.append(60)
    positions, files = read(writer.log.folder)
    assert positions == [0, 1, 2, 3] and files.stuck is not None
    writer.log.declare_hole(4, next(LogFiles(writer.log.folder).read(3)).digest)
    positions, files = read(writer.log.folder)
    assert positions == list(range(67)) and files.stuck is None
    writer.append(10)
    [hole] = [entry for entry in LogFiles(writer.log.folder).read(0) if entry.hole]
    assert hole.position == 4
    chain = list(LogFiles(writer.log.folder).read(0))
    assert all(after.previous == before.digest for before, after in pairwise(chain))


def test_holes_are_declared_in_merged_files_too(writer: Writer) -> None:
    writer.append(700)
    path = writer.log.folder / "3.000000000000"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    positions, files = read(writer.log.folder)
    assert files.stuck is not None and positions == list(range(files.stuck.position))
    before = next(LogFiles(writer.log.folder).read(files.stuck.position - 1))
    writer.log.declare_hole(files.stuck.position, before.digest)
    chain = list(LogFiles(writer.log.folder).read(0))
    assert [entry.position for entry in chain] == list(range(701))
    assert sum(entry.hole for entry in chain) == 1
    assert all(after.previous == before.digest for before, after in pairwise(chain))


def test_the_last_entry_may_be_a_hole(writer: Writer) -> None:
    writer.append(6)
    loose(writer.log.folder, 6).write_bytes(b"lost")
    before = next(LogFiles(writer.log.folder).read(5))
    writer.log.declare_hole(6, before.digest)
    hole = next(LogFiles(writer.log.folder).read(6))
    assert hole.hole and hole.digest == writer.last.digest
    writer.append(3)
    assert read(writer.log.folder)[0] == list(range(10))
