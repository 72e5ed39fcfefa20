"""Lanes: results in shared memory are whole, in order, and neither lost nor doubled."""

from __future__ import annotations

import mmap
import os

from hypothesis import given, settings
from hypothesis import strategies as st

from provrun.run.lane import LARGEST, SIZE, Lane


@settings(max_examples=30)
@given(st.lists(st.lists(st.binary(min_size=1, max_size=3000), min_size=1, max_size=60), max_size=12))
def test_what_one_side_puts_the_other_takes(batches: list[list[bytes]]) -> None:
    memory = mmap.mmap(-1, 2 * SIZE)
    child, spawner = Lane(memory, 1), Lane(memory, 1)
    for batch in batches:
        ends = [child.put(message) for message in batch]
        assert spawner.take(ends[-1], len(batch)) == b"".join(batch)
    assert spawner.take_rest() == (0, b"")
    assert not any(memory[:SIZE])


def test_a_child_killed_anywhere_leaves_the_count_of_its_results_with_them() -> None:
    memory = mmap.mmap(-1, SIZE)
    spawner = Lane(memory, 0)
    for round in range(20):
        pid = os.fork()
        if pid == 0:
            child = Lane(memory, 0)
            for number in range(100 + round):
                child.put(b"<%05d>" % number)
            os.kill(os.getpid(), 9)
        os.waitpid(pid, 0)
        count, data = spawner.take_rest()
        assert (count, data) == (100 + round, b"".join(b"<%05d>" % number for number in range(100 + round)))
        spawner.reset()


def test_a_writer_waits_for_room(tmp_path: object) -> None:
    memory = mmap.mmap(-1, SIZE)
    spawner = Lane(memory, 0)
    read, write = os.pipe()
    messages = [bytes([number]) * LARGEST for number in range(30)]
    pid = os.fork()
    if pid == 0:
        child = Lane(memory, 0)
        for message in messages:
            os.write(write, child.put(message).to_bytes(8, "big"))
        os._exit(0)
    taken = [spawner.take(int.from_bytes(os.read(read, 8), "big"), 1) for _ in messages]
    os.waitpid(pid, 0)
    assert taken == messages


def test_a_task_that_was_taken_back_does_not_begin() -> None:
    memory = mmap.mmap(-1, SIZE)
    child, spawner = Lane(memory, 0), Lane(memory, 0)
    assert child.begin(1, 0, 11, 12, 13)
    assert (spawner.started, spawner.wall, spawner.cpu, spawner.begun) == (1, 11, 12, 13)
    spawner.revoke(1)
    assert not child.begin(2, 0, 0, 0, 0)
    assert spawner.started == 1
    assert child.begin(2, 1, 0, 0, 0)
    assert spawner.started == 2
