"""Disks that are full or broken: the run ends with a reason, and nothing that was recorded is lost."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fixtures.mounts import Mounts, provrun, tmpfs
from fixtures.parts import program
from fixtures.runs import Runs
from provrun.core.records import Dependency
from provrun.core.states import Outcome

pytestmark = pytest.mark.usefixtures("no_strays")
NOISY = ["sh", "-c", "head -c 200k /dev/urandom; echo; echo {x}"]


def document(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """Give the JSON document of a command."""
    assert "Traceback" not in done.stderr, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def outcomes(runs: Runs, name: str) -> set[Outcome]:
    return {attempt.outcome for task in runs.tasks(name) for attempt in runs.attempts(name, task.index)}


def goes_on(runs: Runs, count: int) -> None:
    """Assert that the next run ends what is left and that no task was blamed."""
    assert runs.run().exit == 0
    assert runs.counts("t") == {"succeeded": count}
    assert outcomes(runs, "t") <= {Outcome.SUCCEEDED, Outcome.CANCELLED, Outcome.LOST}


def test_a_full_disk_beneath_the_registry_ends_the_run_with_its_exit_code(runs: Runs, mounts: Mounts) -> None:
    runs.submit("t", ["sh", "-c", "sleep 0.05; echo [$(seq -s, 1 6000)]"], 200)
    size = sum(path.stat().st_size for path in (runs.root / ".provrun").rglob("*"))
    # The project moves to the small disk and back: what is written there is what counts.
    line = shlex.join(provrun("run", "-j", "2", "--json"))
    script = f"code=0; {line} || code=$?; cp -a .provrun/. kept; umount .provrun; cp -a kept/. .provrun; exit $code"
    done = mounts.run(
        ["bash", "-c", script], "cp -a .provrun kept", tmpfs(runs.root / ".provrun", str(size + 2_000_000)),
        "cp -a kept/. .provrun",
    )
    assert done.returncode == 74, done.stdout + done.stderr
    assert document(done)["error"]["code"] == "io"
    before = runs.counts("t").get("succeeded", 0)
    assert before > 0
    goes_on(runs, 200)


@pytest.mark.parametrize("kind", ["command", "function"])
def test_a_full_disk_beneath_the_packs_ends_the_run_and_blames_no_task(runs: Runs, mounts: Mounts, kind: str) -> None:
    (runs.root / "noise.py").write_text("import os\ndef f(x):\n    os.write(1, os.urandom(200_000))\n    return x\n")
    runs.submit("t", NOISY if kind == "command" else "noise.py:f", 60)
    packs = runs.root / ".provrun" / "packs"
    packs.mkdir(exist_ok=True)
    done = mounts.run(provrun("run", "-j", "2", "--json"), tmpfs(packs, "3m"))
    assert done.returncode == 74, done.stdout + done.stderr
    summary = document(done)
    assert summary["succeeded"] > 0
    assert summary["lost"] == summary["failed"] == 0
    assert "No space left on device" in summary["reason"]
    goes_on_without_packs(runs, summary["succeeded"])


def goes_on_without_packs(runs: Runs, succeeded: int) -> None:
    # The packs went with the small disk; what their tasks printed is gone, what they gave is in the registry.
    assert runs.counts("t") == {"succeeded": succeeded, "pending": 60 - succeeded}
    goes_on(runs, 60)


def test_a_full_disk_beneath_the_rows_that_a_reduce_reads_ends_the_run(runs: Runs, mounts: Mounts) -> None:
    runs.submit("each", ["sh", "-c", "echo [$(seq -s, 1 6000)]"], 60)
    runs.submit("t", ["sh", "-c", "wc -l < {each.rows}"], params=[{}], on=[Dependency(upstream="each", kind="all")])
    rows = runs.root / ".provrun" / "tmp"
    rows.mkdir(exist_ok=True)
    done = mounts.run(provrun("run", "-j", "2", "--json"), tmpfs(rows, "1m"))
    assert done.returncode == 74, done.stdout + done.stderr
    assert document(done)["error"]["code"] == "io"
    goes_on(runs, 1)
    assert runs.attempts("t", 0)[-1].result == "60"


def test_a_full_disk_beneath_an_output_fails_that_task_alone(runs: Runs, mounts: Mounts) -> None:
    (runs.root / "out").mkdir()
    (runs.root / "make.sh").write_text('head -c "$1" /dev/zero > out/file && echo "$1"\n')
    runs.submit("t", ["sh", "make.sh", "{x}"], params=[{"x": "1k"}, {"x": "5M"}, {"x": "2k"}])
    done = mounts.run(provrun("run", "-j", "1", "--json"), tmpfs(runs.root / "out", "1m"))
    assert done.returncode == 3, done.stdout + done.stderr
    assert runs.counts("t") == {"succeeded": 2, "failed": 1}
    (attempt,) = runs.attempts("t", 1)
    assert attempt.outcome is Outcome.EXIT
    assert attempt.error is not None and "No space left on device" in attempt.error


def broken_disk(folder: Path, below: Path, size: str = "3m") -> tuple[str, ...]:
    """Give the lines that make a disk whose blocks can be written only until what lies below it is full: then EIO."""
    for name in ("mkfs.ext4", "losetup"):
        program(name, "e2fsprogs mount")
    for each in (below, folder):
        each.mkdir(exist_ok=True)
    image = shlex.quote(f"{below}/image")
    return (
        tmpfs(below, size), f"truncate -s 64m {image}", f"mkfs.ext4 -q -O ^has_journal {image} >&2",
        f"mount -o loop {image} {shlex.quote(str(folder))}",
    )  # fmt: skip


def test_a_disk_that_gives_errors_ends_the_run_and_blames_no_task(runs: Runs, mounts: Mounts) -> None:
    # Writing into memory succeeds; it is the sync that fails, and only what was synced is reported.
    runs.submit("t", NOISY, 60)
    disk = broken_disk(runs.root / ".provrun" / "packs", runs.root / "below")
    done = mounts.run(provrun("run", "-j", "2", "--json"), *disk)
    assert done.returncode == 74, done.stdout + done.stderr
    summary = document(done)
    assert summary["lost"] == summary["failed"] == 0
    assert "cannot write the pack" in summary["reason"]
    goes_on_without_packs(runs, summary["succeeded"])


def test_a_disk_that_gives_errors_beneath_the_registry_ends_the_run(runs: Runs, mounts: Mounts) -> None:
    # What the broken disk holds afterwards is lost, as with a real one; the point is that the run says so and ends.
    runs.submit("t", ["sh", "-c", "sleep 0.05; echo [$(seq -s, 1 6000)]"], 300)
    done = mounts.run(
        provrun("run", "-j", "2", "--json"), "cp -a .provrun kept",
        *broken_disk(runs.root / ".provrun", runs.root / "below", "2m"), "cp -a kept/. .provrun",
    )
    assert done.returncode == 74, done.stdout + done.stderr
    assert document(done)["error"]["code"] == "io"
    goes_on(runs, 300)


def test_a_read_only_project_is_told_at_once(runs: Runs, mounts: Mounts) -> None:
    runs.submit("t", ["true"], 3)
    there = shlex.quote(str(runs.root / ".provrun"))
    done = mounts.run(provrun("run", "--json"), f"mount --bind {there} {there}", f"mount -o remount,bind,ro {there}")
    assert done.returncode in (69, 74), done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert runs.counts("t") == {"pending": 3}
