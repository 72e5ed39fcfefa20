"""What happens inside allocations of a real Slurm: walltime, successors, cancellation, requeue, nodes that die."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fixtures.invariants import Invariants
from fixtures.kills import manager_of, others_of
from fixtures.launchers import Launcher
from fixtures.runs import Runs, processes_of, until
from fixtures.slurm import Slurm
from fixtures.witness import Witness
from provrun.core.records import JobRecord
from provrun.core.states import Outcome

GATED = "; while [ ! -e gate ]; do sleep 0.05; done"
BATCH = "provrun.cli.batch"


def launch(runs: Runs, *words: str) -> list[dict[str, Any]]:
    """Hand jobs in, by a process that is gone when this returns."""
    command = [sys.executable, "-m", "provrun", "launch", "t", "--json", "--scheduler", "slurm", *words]
    done = subprocess.run(
        command, cwd=runs.root, check=False, capture_output=True, text=True, timeout=60, start_new_session=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows: list[dict[str, Any]] = json.loads(done.stdout)["jobs"]
    return rows


def jobs(runs: Runs) -> list[JobRecord]:
    project = runs.project()
    found = project.reads.jobs()
    project.close()
    return found


def said(runs: Runs) -> str:
    """Give what all batch scripts have printed."""
    return "\n".join(path.read_text() for path in sorted((runs.root / ".provrun" / "launch").glob("*.out")))


def supervisor_of(runs: Runs) -> int:
    """Give the process that the script of the one allocation that runs has become."""
    (found,) = [pid for pid in processes_of(BATCH) if str(runs.root) in _line(pid)]
    return found


def _line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


def outcomes(runs: Runs, n: int) -> set[Outcome]:
    return {attempt.outcome for index in range(n) for attempt in runs.attempts("t", index)}


def test_a_chain_of_allocations_goes_on_to_the_end_with_nobody_on_the_login_node(
    runs: Runs, witness: Witness, slurm: Slurm, invariants: Invariants
) -> None:
    runs.submit("t", ["sh", "-c", witness.shell("{x}") + "; sleep 4"], 11)
    launch(runs, "--nodes", "1", "--slots", "2", "--time", "12", "--on-finish", "echo all of it is done")
    slurm.until(lambda: not slurm.jobs(), "the chain came to its end")
    assert runs.counts("t") == {"succeeded": 11}, said(runs)
    ran = [job for job in jobs(runs) if job.node]
    assert len(ran) == 3
    assert {job.kind for job in ran} == {"batch"}
    assert "all of it is done" in said(runs)
    assert outcomes(runs, 11) <= {Outcome.SUCCEEDED, Outcome.CANCELLED}
    # Each of them has handed in one, and the last one's was not needed.
    assert len(jobs(runs)) == 4
    assert len(list((runs.root / ".provrun" / "launch").glob("*.token"))) == 3
    invariants()


def test_a_chain_that_is_submitted_whole_is_cancelled_when_nothing_is_left(
    runs: Runs, witness: Witness, slurm: Slurm, invariants: Invariants
) -> None:
    runs.submit("t", ["sh", "-c", witness.shell("{x}") + "; sleep 3"], 6)
    rows = launch(runs, "--nodes", "1", "--slots", "2", "--time", "9", "--resubmit", "chain", "--links", "4")
    assert len(rows) == 4
    slurm.until(lambda: not slurm.jobs(), "the chain came to its end")
    assert runs.counts("t") == {"succeeded": 6}, said(runs)
    assert [bool(job.node) for job in jobs(runs)] == [True, True, False, False]
    assert list((runs.root / ".provrun" / "launch").glob("*.token")) == []
    invariants()


@pytest.mark.parametrize("too_fast", [False, True])
def test_scancel_of_a_job_ends_its_chain_and_no_task_has_failed(
    runs: Runs, witness: Witness, slurm: Slurm, invariants: Invariants, too_fast: bool
) -> None:
    runs.submit("t", ["sh", "-c", witness.shell("{x}") + GATED], 6)
    (row,) = launch(runs, "--nodes", "1", "--slots", "2", "--time", "60")
    until(lambda: len(witness.lines()) == 2, "two tasks began")
    assert len(slurm.jobs()) == 2
    if too_fast:
        os.kill(supervisor_of(runs), signal.SIGSTOP)  # it will be killed before it can say anything
    slurm("scancel", row["scheduler_id"])
    slurm.until(lambda: not slurm.jobs(), "all jobs are over")
    if too_fast:
        invariants()  # which takes back what it has left
    assert runs.counts("t") == {"pending": 6}, said(runs)
    assert outcomes(runs, 6) <= {Outcome.LOST, Outcome.CANCELLED}
    assert len(witness.lines()) == 2
    assert len(jobs(runs)) == 2
    assert jobs(runs)[1].reason == "its chain was cancelled"
    invariants()


def test_a_requeued_job_goes_on_and_has_one_successor(
    runs: Runs, witness: Witness, slurm: Slurm, invariants: Invariants
) -> None:
    runs.submit("t", ["sh", "-c", witness.shell("{x}") + GATED], 4)
    (row,) = launch(runs, "--nodes", "1", "--slots", "2", "--time", "60", "--option", "requeue=")
    until(lambda: len(witness.lines()) == 2, "two tasks began")
    id = row["scheduler_id"]
    slurm("scontrol", "requeue", id)
    slurm.until(lambda: slurm.state(id) == "PENDING", "it waits for its turn again")
    assert runs.counts("t") == {"pending": 4}, said(runs)
    # A requeued job waits two minutes by itself.
    slurm("scontrol", "update", f"JobId={id}", "StartTime=now")
    slurm.until(lambda: len(witness.lines()) == 4, "two tasks began again")
    (runs.root / "gate").touch()
    slurm.until(lambda: not slurm.jobs(), "all of it is over")
    assert runs.counts("t") == {"succeeded": 4}, said(runs)
    assert outcomes(runs, 4) <= {Outcome.SUCCEEDED, Outcome.LOST, Outcome.CANCELLED}
    # Slurm may take the late word of the script that it has killed for the end of the job that it has requeued; then
    # the successor does the work and has one of its own. Whatever was handed in follows one job, and no job has two.
    folder = runs.root / ".provrun" / "launch"
    followers = [json.loads(path.read_bytes())["uuid"] for path in folder.glob("*.token")]
    handed_in = {path.stem for path in folder.glob("*.sh")}
    assert 1 <= len(followers) <= 2, (said(runs), jobs(runs))
    assert len(handed_in) == len(followers) + 1 and set(followers) < handed_in, (said(runs), jobs(runs))
    assert [job.reason for job in jobs(runs)].count("nothing is left") == 1
    invariants()


@pytest.mark.parametrize("requeued", [False, True])
def test_a_preempted_job_is_no_cancelled_one(
    runs: Runs, witness: Witness, slurm: Slurm, invariants: Invariants, requeued: bool
) -> None:
    runs.submit("t", ["sh", "-c", witness.shell("{x}") + GATED], 4)
    option = ["--option", "requeue="] if requeued else []
    (row,) = launch(runs, "--nodes", "1", "--slots", "2", "--time", "60", *option)
    until(lambda: len(witness.lines()) == 2, "two tasks began")
    node = slurm("squeue", "--noheader", "--states=RUNNING", "--format=%N").strip()
    slurm("sbatch", "--partition=urgent", f"--nodelist={node}", "--exclusive", "--output=/dev/null", "--wrap=sleep 1")
    if requeued:  # which waits two minutes by itself
        slurm.until(lambda: slurm.state(row["scheduler_id"]) == "PENDING", "it waits for its turn again")
        slurm("scontrol", "update", f"JobId={row['scheduler_id']}", "StartTime=now")
    slurm.until(lambda: len(witness.lines()) >= 4, "two tasks began again")
    (runs.root / "gate").touch()
    slurm.until(lambda: not slurm.jobs(), "all of it is over")
    assert runs.counts("t") == {"succeeded": 4}, said(runs)
    assert outcomes(runs, 4) <= {Outcome.SUCCEEDED, Outcome.LOST, Outcome.CANCELLED}
    assert list((runs.root / ".provrun" / "launch").glob("*.cancelled")) == []
    invariants()


def test_two_allocations_without_anything_recorded_end_a_chain_with_a_reason(
    runs: Runs, witness: Witness, slurm: Slurm, invariants: Invariants
) -> None:
    runs.submit("t", ["sh", "-c", witness.shell("{x}") + "; sleep 600"], 2)
    launch(runs, "--nodes", "1", "--slots", "2", "--time", "8")
    slurm.until(lambda: not slurm.jobs(), "the chain came to its end")
    assert runs.counts("t") == {"pending": 2}, said(runs)
    assert len([job for job in jobs(runs) if job.node]) == 2
    assert "nothing was recorded in 2 allocations in a row" in said(runs)
    invariants()


def test_a_chain_whose_jobs_cannot_start_anything_ends(
    runs: Runs, witness: Witness, slurm: Slurm, invariants: Invariants
) -> None:
    runs.submit("t", ["sh", "-c", witness.shell("{x}")], 2)
    launch(runs, "--nodes", "2", "--time", "60", "--setup", "export MPI4PY_LIBMPI=/nowhere/libmpi.so")
    slurm.until(lambda: not slurm.jobs(), "the chain came to its end")
    assert runs.counts("t") == {"pending": 2}, said(runs)
    assert [job.state for job in jobs(runs)] == ["ended"] * 3
    assert jobs(runs)[-1].reason == "nothing was recorded in 2 allocations in a row"
    assert witness.lines() == []
    invariants()


def test_where_nodes_may_not_submit_a_job_runs_and_then_says_what_to_do(
    runs: Runs, witness: Witness, slurm: Slurm, invariants: Invariants, tmp_path: Path
) -> None:
    refusing = tmp_path / "bin" / "sbatch"
    refusing.parent.mkdir()
    refusing.write_text("#!/bin/sh\necho 'sbatch: error: Access denied on compute nodes' >&2\nexit 1\n")
    refusing.chmod(0o755)
    runs.submit("t", ["sh", "-c", witness.shell("{x}") + "; sleep 3"], 8)
    setup = f"export PATH={refusing.parent}:$PATH"
    (row,) = launch(runs, "--nodes", "1", "--slots", "2", "--time", "9", "--setup", setup)
    assert slurm.ended(row["scheduler_id"]) == "FAILED"  # exit code 75
    counts = runs.counts("t")
    assert 2 <= counts["succeeded"] < 8
    assert "Access denied on compute nodes" in said(runs)
    assert "provrun launch --resubmit chain" in said(runs)
    invariants()


@pytest.mark.usefixtures("mpich")
@pytest.mark.parametrize("whom", ["a node", "a rank", "the manager"])
def test_a_death_inside_an_allocation_costs_a_new_start_on_the_nodes_that_respond(
    runs: Runs, witness: Witness, slurm: Slurm, invariants: Invariants, whom: str
) -> None:
    runs.submit("t", ["sh", "-c", witness.shell("{x}") + GATED], 8)
    launch(runs, "--nodes", "2", "--slots", "2", "--time", "120", "--resubmit", "off")
    slurm.until(lambda: len(witness.lines()) == 4, "four tasks began")
    if whom == "a node":
        slurm.kill_node("n2")
    else:
        os.kill(manager_of(runs) if whom == "the manager" else others_of(runs)[0], signal.SIGKILL)
    began = 6 if whom == "a node" else 8
    slurm.until(lambda: len(witness.lines()) >= began, "tasks began again")
    (runs.root / "gate").touch()
    slurm.until(lambda: not slurm.jobs(), "the job is over")
    assert runs.counts("t") == {"succeeded": 8}, said(runs)
    assert [job.ranks for job in jobs(runs)] == [2, 1 if whom == "a node" else 2]
    # Slurm may leave the manager the time to give back what it has.
    assert outcomes(runs, 8) <= {Outcome.SUCCEEDED, Outcome.LOST, Outcome.CANCELLED}
    invariants()


@pytest.mark.parametrize("mpi", ["mpich", "openmpi"], indirect=True)
def test_an_allocation_is_used_on_all_its_nodes_and_tasks_know_theirs(
    runs: Runs, witness: Witness, slurm: Slurm, mpi: Launcher
) -> None:
    runs.submit("t", ["sh", "-c", witness.shell("$SLURMD_NODENAME $SLURM_OVERLAP") + "; sleep 0.3"], 12)
    launch(runs, "--nodes", "2", "--slots", "2", "--time", "60", "--resubmit", "off")
    slurm.until(lambda: not slurm.jobs(), "the job is over")
    assert runs.counts("t") == {"succeeded": 12}, said(runs)
    assert [job.ranks for job in jobs(runs)] == [2]
    assert set(witness.lines()) == {"n1 1", "n2 1"}


def test_a_killed_batch_shell_ends_its_job_and_the_next_one_goes_on(
    runs: Runs, witness: Witness, slurm: Slurm, invariants: Invariants
) -> None:
    runs.submit("t", ["sh", "-c", witness.shell("{x}") + GATED], 4)
    launch(runs, "--nodes", "1", "--slots", "2", "--time", "60")
    until(lambda: len(witness.lines()) == 2, "two tasks began")
    os.kill(supervisor_of(runs), signal.SIGKILL)
    slurm.until(lambda: len(witness.lines()) == 4, "two tasks began again")
    (runs.root / "gate").touch()
    slurm.until(lambda: not slurm.jobs(), "all of it is over")
    assert runs.counts("t") == {"succeeded": 4}, said(runs)
    assert outcomes(runs, 4) <= {Outcome.SUCCEEDED, Outcome.LOST, Outcome.CANCELLED}
    invariants()


def test_a_run_in_ones_own_allocation_knows_when_that_ends(runs: Runs, slurm: Slurm, tmp_path: Path) -> None:
    runs.submit("t", ["sh", "-c", "sleep 1000"], 1)
    script = tmp_path / "own.sh"
    # Time limits are whole minutes, but an end may be set to the second.
    script.write_text(
        f"#!/bin/bash\n#SBATCH --time=2 --output={tmp_path}/out\n"
        "scontrol update JobId=$SLURM_JOB_ID EndTime=now+15\n"
        f"{sys.executable} -m provrun run t -j 1; echo exit code $?\n"
    )
    id = slurm("sbatch", "--parsable", f"--chdir={runs.root}", script).strip()
    slurm.until(lambda: id not in slurm.jobs(), "it is over")
    assert "exit code 75" in (tmp_path / "out").read_text()
    assert outcomes(runs, 1) == {Outcome.CANCELLED}
