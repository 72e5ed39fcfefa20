"""Tasks that write too much, or what no terminal should see: it costs them alone, and what is kept is exact."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fixtures.agents import Driver
from fixtures.mounts import Mounts, provrun
from fixtures.runs import Runs
from provrun.core.records import Recipe
from provrun.core.states import Outcome
from provrun.run.site import temporary

PYTHON = sys.executable


def rss(pid: int) -> int:
    """Give the peak of a process's memory in MiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) >> 10


def module(driver: Driver, text: str) -> None:
    (driver.project / "work.py").write_text(text)


@pytest.mark.parametrize("mode", ["stdout-text", "auto"])
def test_a_gigabyte_of_output_is_cut_to_head_and_tail_in_little_memory(driver: Driver, mode: str) -> None:
    script = "echo begin; head -c 1G /dev/zero | tr '\\0' 'x'; echo; echo 42"
    if mode == "auto":
        script = script.replace("| tr '\\0' 'x'", "")
    map = driver.map(Recipe(kind="command", words=("sh", "-c", script), result=mode))
    driver.start(map, [{"x": 0}])
    (result,) = driver.wait(1, patience=120)
    out = driver.log(result).out
    assert out.head.startswith(b"begin\n")
    assert out.tail.endswith(b"\n42\n")
    assert len(out.head) + out.cut + len(out.tail) == 6 + (1 << 30) + 4
    assert rss(driver.agent.pid) < 300
    if mode == "auto":
        assert driver.value(result) == 42
    else:  # what is cut is not the result that was promised
        assert result.outcome == Outcome.EXIT
        assert result.error is not None and result.error.startswith("stdout has 1073741834 bytes, too many")


def test_a_gigabyte_printed_by_a_function_is_cut_to_head_and_tail(driver: Driver) -> None:
    module(driver, (
        "import os\ndef f(x):\n    print('begin', flush=True)\n    block = bytes(1 << 20)\n"
        "    for _ in range(1024): os.write(1, block)\n    print('end')\n    return x\n"
    ))  # fmt: skip
    driver.start(driver.map(Recipe(kind="function", function="work.py:f")), [{"x": 7}])
    (result,) = driver.wait(1, patience=120)
    assert driver.value(result) == 7
    out = driver.log(result).out
    assert (out.head[:6], out.tail[-4:]) == (b"begin\n", b"end\n")
    assert len(out.head) + len(out.tail) <= 2 << 20
    assert rss(driver.agent.pid) < 200


EVERY_BYTE = bytes(range(256)) * 8 + b"\x1b[31mred\x1b[0m\r\x1b]0;title\x07\xff\xfe\x00"


def test_binary_and_coloured_output_comes_back_byte_for_byte(runs: Runs) -> None:
    (runs.root / "bytes").write_bytes(EVERY_BYTE)
    runs.submit("t", ["sh", "-c", "cat bytes; cat bytes >&2"], 1)
    (runs.root / "say.py").write_text("import os\ndef f(x):\n    os.write(1, open('bytes', 'rb').read())\n")
    runs.submit("f", "say.py:f", 1)
    assert runs.run().succeeded == 2
    for words in (("t/0",), ("t/0", "--err"), ("f/0",)):
        done = subprocess.run(provrun("logs", *words), cwd=runs.root, check=True, capture_output=True)
        assert done.stdout == EVERY_BYTE


def test_a_task_may_close_its_own_output(driver: Driver) -> None:
    (result,) = driver.command("sh", "-c", "echo before; exec >&- 2>&-; sleep 0.05; exit 0")
    assert (result.outcome, driver.log(result).out.head) == (Outcome.SUCCEEDED, b"before\n")
    module(driver, "import os\ndef f(x):\n    os.close(1); os.close(2)\n    return x\n")
    assert driver.values(driver.function("work.py:f", [{"x": x} for x in range(5)])) == [0, 1, 2, 3, 4]


def test_a_hundred_thousand_files_in_a_private_folder_hold_nobody_up(driver: Driver) -> None:
    (driver.project / "make.py").write_text(
        "import os\nfolder = os.environ['PROVRUN_TMPDIR']\nfor i in range(100_000):\n"
        "    os.close(os.open(f'{folder}/{i}', os.O_CREAT | os.O_WRONLY))\n"
    )
    (result,) = driver.command(PYTHON, "make.py")
    assert result.outcome == Outcome.SUCCEEDED

    def set_aside() -> list[Path]:
        return list(Path(temporary()).glob(f"provrun-{driver.job}-*/*.left-*"))

    driver.until(set_aside)  # another process removes them
    found = driver.command("sh", "-c", 'ls -A "$PROVRUN_TMPDIR" | wc -l', params=[{"x": x} for x in range(10)])
    assert driver.values(found) == [0] * 10
    driver.until(lambda: not set_aside())


def test_a_full_shared_memory_does_not_stop_other_tasks(runs: Runs, mounts: Mounts) -> None:
    # What the first task writes is there until the run ends: a file that no task's end removes.
    runs.submit("t", ["sh", "-c", "head -c 3M /dev/zero > /dev/shm/full; test -s $PROVRUN_PARAMS"], 20)
    done = mounts.run(provrun("run", "-j", "2", "--json"), "mount -t tmpfs -o size=1m tmpfs /dev/shm")
    assert done.returncode == 0, done.stdout + done.stderr
    assert runs.counts("t") == {"succeeded": 20}
