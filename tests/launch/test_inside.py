"""Inside an allocation: which nodes it has, which job it is, and who is ending it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from provrun.launch.inside import cancelled_in_slurm, job_id, nodes

JOB = "JobId=7 JobName=x JobState=COMPLETING Reason=None Requeue=1 Restarts=0 StartTime=1000 EndTime={ends}{more}"


@pytest.mark.parametrize(
    ("ends", "more", "cancelled"),
    [
        (1300, "", True),  # somebody cancels it, long before its time is up
        (4600, "", False),  # its time is up
        (4900, "", False),  # requeued: its time begins anew
        (1300, " PreemptTime=1290", False),
        (1300, " PreemptTime=None", True),
    ],
)
def test_slurm_says_by_times_alone_who_ends_a_job(ends: int, more: str, cancelled: bool) -> None:
    assert cancelled_in_slurm(JOB.format(ends=ends, more=more), 4600.0, 1300.5) is cancelled


def test_without_a_known_end_a_time_that_is_up_now_means_cancelled() -> None:
    assert cancelled_in_slurm(JOB.format(ends=1300, more=""), None, 1300.5)
    assert not cancelled_in_slurm(JOB.format(ends=4600, more=""), None, 1300.5)
    assert not cancelled_in_slurm("slurm_load_jobs error: Invalid job id specified", 4600.0, 1300.5)


def test_nodes_are_read_as_each_scheduler_lists_them_this_one_first(tmp_path: Path) -> None:
    here = os.uname().nodename
    listed = tmp_path / "nodes"
    listed.write_text(f"a.x.org\na.x.org\n{here}\nb.x.org\n")
    assert nodes("pbs", {"PBS_NODEFILE": str(listed)}) == [here, "a.x.org", "b.x.org"]
    assert nodes("lsf", {"LSB_DJOB_HOSTFILE": str(listed)}) == [here, "a.x.org", "b.x.org"]
    assert nodes("lsf", {"LSB_HOSTS": f"a a {here}"}) == [here, "a"]
    listed.write_text(f"a 2 main.q@a UNDEFINED\n{here} 2 main.q@{here} UNDEFINED\n")
    assert nodes("sge", {"PE_HOSTFILE": str(listed)}) == [here, "a"]
    assert nodes("sge", {}) == [here]
    assert nodes("local", {}) == [here]


def test_a_job_knows_its_id() -> None:
    assert job_id("slurm", {"SLURM_JOB_ID": "12"}) == "12"
    assert job_id("pbs", {}) is None
    found = job_id("local", {})
    assert found is not None
    assert found.startswith(f"{os.getpid()}.")
