"""Who owns a job, and how others tell that it is over."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from provrun.core.records import JobRecord
from provrun.run.job import Ownership, boot_id, forget, is_over

HOLD = """
import sys
from pathlib import Path
import msgspec
from provrun.run.job import Ownership
owner = Ownership(Path(sys.argv[1]), "j")
print(msgspec.json.encode(owner.record).decode(), flush=True)
sys.stdin.read()
"""


def job(owner: dict[str, object]) -> JobRecord:
    return JobRecord(
        uuid="j", kind="local", state="running", user="ada", node="here", slots=1, ranks=1, started=0, owner=owner
    )


def test_a_job_is_running_while_its_manager_lives_and_over_when_it_is_killed(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    record = job(msgspec.json.decode(process.stdout.readline(), type=dict[str, object]))
    assert is_over(record, tmp_path) is False
    process.kill()
    process.communicate()
    assert is_over(record, tmp_path) is True


def test_a_job_is_over_when_its_lock_is_free(tmp_path: Path) -> None:
    with Ownership(tmp_path, "j") as owner:
        record = job(owner.record)
    assert is_over(record, tmp_path) is True


def test_a_lock_held_by_a_leftover_of_a_dead_manager_does_not_keep_the_job_alive(tmp_path: Path) -> None:
    with Ownership(tmp_path, "j") as owner:
        assert is_over(job(owner.record | {"pid_started": 1}), tmp_path) is True


def test_a_job_from_before_a_restart_of_this_host_is_over(tmp_path: Path) -> None:
    with Ownership(tmp_path, "j") as owner:
        assert is_over(job(owner.record | {"boot": "another"}), tmp_path) is True


def test_of_a_job_on_another_host_nothing_is_known(tmp_path: Path) -> None:
    with Ownership(tmp_path, "j") as owner:
        assert is_over(job(owner.record | {"boot": "another", "host": "elsewhere"}), tmp_path) is None


def test_a_job_has_one_owner(tmp_path: Path) -> None:
    with Ownership(tmp_path, "j"), pytest.raises(BlockingIOError):
        Ownership(tmp_path, "j")


def test_the_record_names_process_and_boot(tmp_path: Path) -> None:
    with Ownership(tmp_path, "j") as owner:
        assert owner.record["pid"] == os.getpid()
        assert owner.record["boot"] == boot_id()


def test_forgetting_removes_the_lock_file(tmp_path: Path) -> None:
    with Ownership(tmp_path, "j") as owner:
        forget(job(owner.record), tmp_path)
        assert not owner.path.exists()
