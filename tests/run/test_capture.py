"""Captured output: byte-exact, bounded, and never a reason to wait."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.agents import Driver
from provrun.core.states import Outcome
from provrun.run.capture import (
    HEAD,
    TAIL,
    Capture,
    Log,
    Stream,
    decode_log,
    encode_log,
    make_tape,
    read_tape,
    thin_tape,
)

PYTHON = sys.executable


def test_output_is_kept_byte_for_byte(driver: Driver, workplace: Path) -> None:
    nasty = bytes(range(256)) * 300 + b"\r\n\x00\xff no newline at the end"
    (workplace / "nasty").write_bytes(nasty)
    (result,) = driver.command("sh", "-c", "cat nasty; cat nasty nasty >&2")
    log = driver.log(result)
    assert (log.out, log.err) == (Stream(nasty), Stream(nasty + nasty))


def test_nothing_is_written_for_a_task_that_prints_nothing(driver: Driver, workplace: Path) -> None:
    (result,) = driver.command("true")
    assert result.log is None
    assert not (workplace / ".provrun").exists()


def test_of_endless_output_head_and_tail_are_kept_in_bounded_memory(driver: Driver) -> None:
    driver.joined()
    (result,) = driver.command("sh", "-c", "echo first; head -c 200000000 /dev/zero; echo; echo '[1]'")
    stream = driver.log(result).out
    assert result.result == "[1]"
    assert stream.head.startswith(b"first\n") and len(stream.head) == HEAD
    assert stream.tail.endswith(b"\n[1]\n") and len(stream.tail) == TAIL
    assert stream.cut + HEAD + TAIL == 200_000_000 + len("first\n\n[1]\n")
    status = Path(f"/proc/{driver.agent.pid}/status").read_text()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    assert peak < 60_000


def test_a_grandchild_that_holds_the_pipe_does_not_hold_the_slot(driver: Driver) -> None:
    begun = time.monotonic()
    (result,) = driver.command("sh", "-c", "sleep 30 & echo 5")
    assert driver.value(result) == 5
    assert time.monotonic() - begun < 10


def test_what_a_task_leaves_in_the_background_is_killed(driver: Driver) -> None:
    script = "sleep 300 & (setsid sleep 300 >/dev/null 2>&1 & echo $!) ; echo $!"
    (result,) = driver.command("sh", "-c", script)
    pids = [int(word) for word in driver.log(result).out.head.split()]
    assert len(pids) == 2
    driver.until(lambda: not any(alive(pid) for pid in pids), patience=5)


def test_a_program_may_open_its_standard_streams_by_name(driver: Driver) -> None:
    (result,) = driver.command("bash", "-c", "echo one; echo two > /dev/stdout; echo bad > /dev/stderr; echo three")
    log = driver.log(result)
    assert (log.out.head, log.err.head) == (b"one\ntwo\nthree\n", b"bad\n")


def test_a_command_that_closes_its_streams_runs_on_to_its_end(driver: Driver, workplace: Path) -> None:
    (result,) = driver.command("sh", "-c", "exec >&- 2>&-; sleep 0.2; touch done")
    assert result.outcome == Outcome.SUCCEEDED
    assert (workplace / "done").exists()


def test_output_of_several_tasks_at_once_is_not_mixed(driver: Driver) -> None:
    script = "for i in $(seq 200); do echo {x}; done"
    results = driver.command("sh", "-c", script, params=[{"x": x} for x in range(20)])
    assert [driver.log(result).out.head for result in results] == [b"%d\n" % x * 200 for x in range(20)]


def test_functions_output_is_captured_from_python_c_and_subprocesses(driver: Driver, workplace: Path) -> None:
    (workplace / "talk.py").write_text(
        "import ctypes, os, sys\n"
        "def talk(x):\n"
        "    print('python', x); sys.stdout.flush()\n"
        "    ctypes.CDLL(None).puts(b'c %d' % x); ctypes.CDLL(None).fflush(None)\n"
        "    os.system(f'echo shell {x}; echo named {x} > /dev/stderr')\n"
        "    print('no newline', end='', file=sys.stderr)\n"
        "    sys.stdout.write('buffered')\n"
        "def quiet(x): return x\n"
    )
    results = driver.function("talk.py:talk", [{"x": x} for x in range(3)])
    for x, result in enumerate(results):
        log = driver.log(result)
        assert log.out.head == b"python %d\nc %d\nshell %d\nbuffered" % (x, x, x)
        assert log.err.head.endswith(b"no newline")
    assert driver.function("talk.py:quiet")[0].log is None


def test_a_function_s_endless_output_is_cut(driver: Driver, workplace: Path) -> None:
    (workplace / "talk.py").write_text("def talk(x):\n    for i in range(300):\n        print(i, 'x' * 100_000)\n")
    (result,) = driver.function("talk.py:talk")
    stream = driver.log(result).out
    assert (len(stream.head), len(stream.tail)) == (HEAD, TAIL)
    assert stream.head.startswith(b"0 xx") and stream.tail.endswith(b"x\n") and stream.cut > 20_000_000


@given(st.lists(st.binary(max_size=50), max_size=40), st.integers(0, 60))
def test_a_capture_keeps_what_was_fed_to_it_up_to_its_limit(parts: list[bytes], limit: int) -> None:
    capture = Capture(limit)
    for part in parts:
        capture.feed(part)
    whole = b"".join(parts)
    assert capture.stream() == Stream(whole[:limit], 0, whole[limit:])
    assert capture.empty == (not whole)


@given(st.binary(), st.integers(0, 1 << 60), st.binary())
def test_a_log_is_read_as_it_was_written(head: bytes, cut: int, tail: bytes) -> None:
    log = Log(Stream(head, cut, tail), Stream(tail))
    assert decode_log(encode_log(log)) == log


def test_a_cut_stream_says_how_much_is_missing() -> None:
    assert Stream(b"a", 0, b"b").text() == b"ab"
    assert Stream(b"a", 7, b"b").text() == b"a\n[provrun: 7 bytes cut]\nb"


@pytest.mark.parametrize("size", [0, 1, HEAD, HEAD + 1, HEAD + TAIL, HEAD + TAIL + 1, 5 * (HEAD + TAIL)])
def test_a_tape_gives_head_and_tail_also_when_it_was_thinned(size: int) -> None:
    fd = make_tape("test")
    content = bytes(i * 7 % 251 for i in range(1000)) * (size // 1000 + 1)
    os.write(fd, content[:size])
    before = read_tape(fd)
    thin_tape(fd)
    assert read_tape(fd) == before
    assert before.head + before.tail == content[:size] if not before.cut else before.tail == content[size - TAIL : size]
    assert len(before.head) + before.cut + len(before.tail) == size
    assert os.fstat(fd).st_blocks * 512 <= 4 * (HEAD + TAIL) + 8192
    os.close(fd)


def alive(pid: int) -> bool:
    try:
        return b") Z " not in Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False
