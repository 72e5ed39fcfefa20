"""`launch` and `job` without a scheduler, and with one that misbehaves."""

from __future__ import annotations

import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from fixtures.cli import Cli
from fixtures.launchers import Launcher
from fixtures.runs import Runs, finished, until
from fixtures.schemas import check
from fixtures.stand_ins import StandIns
from fixtures.witness import Witness
from provrun.launch.slurm import Slurm


@pytest.fixture
def cli(runs: Runs) -> Cli:
    return Cli(runs.root)


def jobs(cli: Cli, *words: str) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = cli("job", "list", "--json", *words).json["jobs"]
    return listed


def test_without_a_scheduler_the_background_of_this_host_is_offered(
    runs: Runs, cli: Cli, stand_ins: StandIns, tmp_path: Path
) -> None:
    runs.submit("scan", ["true"], 1)
    bare = tmp_path / "bare"
    bare.mkdir()
    for program in ("bash", "git"):
        (bare / program).symlink_to(str(shutil.which(program)))
    done = cli("launch", "--json", PATH=str(bare))
    assert done.exit == 69
    assert "none of sbatch, qsub, bsub, flux, qconf works here" in done.error["message"]
    assert "--scheduler local" in done.error["next"]
    stand_ins.answer("sbatch", exit=1, err="sbatch: fatal: Could not establish a configuration source\n")
    done = cli("launch", "--json", PATH=f"{bare}:{stand_ins.folder}:/usr/bin")
    assert done.exit == 69
    assert "sbatch is there, but Could not establish a configuration source" in done.error["message"]
    done = cli("launch", "--scheduler", "slrum", "--json")
    assert (done.exit, done.error["next"]) == (2, "did you mean slurm?")


def test_a_job_in_the_background_of_this_host(runs: Runs, cli: Cli, witness: Witness) -> None:
    runs.submit("scan", ["sh", "-c", witness.shell("{x}")], 10)
    (job,) = cli("launch", "scan", "--scheduler", "local", "--slots", "2", "--json").json["jobs"]
    assert cli("wait", "scan", "--timeout", "30s").exit == 0
    until(lambda: jobs(cli)[0]["state"] == "ended", "the job has ended")
    assert witness.counts() == {str(x): 1 for x in range(10)}
    (row,) = jobs(cli)
    assert (row["job_kind"], row["scheduler"], row["scheduler_id"]) == ("batch", "local", job["scheduler_id"])
    shown = cli("job", "show", str(row["id"]), "--json").json["jobs"][0]
    assert (shown["script"], shown["output"]) == (job["script"], job["output"])
    assert cli("launch", "scan", "--scheduler", "local").out.startswith("nothing to launch")


def test_what_a_host_cannot_do_is_refused(runs: Runs, cli: Cli) -> None:
    runs.submit("scan", ["true"], 1)
    done = cli("launch", "--scheduler", "local", "--nodes", "2", "--json")
    assert (done.exit, done.error["value"]) == (2, "nodes")
    assert jobs(cli) == []
    assert cli("launch", "scna", "--scheduler", "local", "--json").exit == 4
    assert cli("launch", "--option", "nothing", "--json").exit == 2


def test_what_means_nothing_is_refused(runs: Runs, cli: Cli) -> None:
    runs.submit("scan", ["true"], 1)
    for words, said in (
        (("--time", "0s"), "--time 0s: a job needs some"),  # which Slurm takes for no limit
        (("--links", "3"), "--links says how long a chain is"),
        (("--setup", "modules.sh"), "--setup modules.sh: there is no such file"),
    ):
        done = cli("launch", "--scheduler", "local", *words, "--json")
        assert (done.exit, done.error["code"]) == (2, "usage")
        assert said in done.error["message"]
    assert jobs(cli) == []


def test_a_job_that_is_not_taken_leaves_its_reason_and_no_file(runs: Runs, cli: Cli, stand_ins: StandIns) -> None:
    runs.submit("scan", ["true"], 1)
    stand_ins.answer("sbatch", exit=1, err="sbatch: error: invalid account\n")
    done = cli("launch", "--scheduler", "slurm", "--nodes", "1", "--time", "1h", "--json")
    assert (done.exit, done.error["next"]) == (69, "the same command with --dry-run shows the script")
    (job,) = jobs(cli)
    assert (job["state"], job["started"], job["slots"]) == ("ended", None, None)
    assert "invalid account" in job["reason"]
    assert [path for path in (runs.root / ".provrun/launch").iterdir() if path.suffix in (".sh", ".plan")] == []


def test_who_waits_is_told_that_the_job_that_was_to_run_is_over(runs: Runs, cli: Cli) -> None:
    runs.submit("scan", ["true"], 1)
    assert cli("launch", "--scheduler", "local", "--setup", "exit 3").exit == 0
    until(lambda: jobs(cli)[0]["over"], "its script has ended before it began")
    done = cli("wait", "--timeout", "0.1s", "--json")
    assert (done.exit, done.err.strip()) == (124, "no job is running; start one: provrun run")


def test_a_job_in_the_background_is_cancelled(runs: Runs, cli: Cli, witness: Witness) -> None:
    runs.submit("scan", ["sh", "-c", witness.shell("{x}") + "; exec sleep 600"], 4)
    (job,) = cli("launch", "--scheduler", "local", "--slots", "2", "--json").json["jobs"]
    until(lambda: len(witness.lines()) == 2, "two tasks began")
    assert jobs(cli)[0]["scheduler_state"] == "running"
    assert cli("job", "cancel", str(job["id"]), "--json").json["changed"] == 1
    until(lambda: jobs(cli)[0]["over"] or jobs(cli)[0]["state"] == "ended", "the job is over")
    cli("recover")
    assert runs.counts("scan") == {"pending": 4}


def test_a_run_on_this_host_is_cancelled(runs: Runs, cli: Cli, witness: Witness) -> None:
    runs.submit("scan", ["sh", "-c", witness.shell("{x}") + "; exec sleep 600"], 4)
    process = runs.start("-j", "2")
    until(lambda: len(witness.lines()) == 2, "two tasks began")
    assert cli("job", "cancel", "--json").exit == 2
    done = cli("job", "cancel", "--all", "--json")
    assert (done.json["changed"], done.json["jobs"][0]["what"]) == (1, "asked to end")
    code, _, _ = finished(process)
    assert code == 128 + signal.SIGTERM
    assert runs.counts("scan") == {"pending": 4}
    assert cli("job", "cancel", "9", "--json").exit == 4


def queued(cli: Cli, stand_ins: StandIns) -> dict[str, Any]:
    """Launch a job that a stand-in takes, and let it wait in the queue."""
    stand_ins.answer("sbatch", "12\n")
    job: dict[str, Any] = cli("launch", "--scheduler", "slurm", "--slots", "1", "--json").json["jobs"][0]
    answer(stand_ins, job, "PENDING")
    return job


def answer(stand_ins: StandIns, job: dict[str, Any], state: str, **more: str) -> None:
    now = int(time.time())
    name = more.get("name", Slurm().job_name(job["uuid"]))
    stand_ins.answer("squeue", f"12|{state}|Priority|{now}|N/A||{name}\n")


def test_an_id_that_is_another_jobs_by_now_is_not_cancelled(runs: Runs, cli: Cli, stand_ins: StandIns) -> None:
    runs.submit("scan", ["true"], 1)
    job = queued(cli, stand_ins)
    stand_ins.answer("scancel")
    answer(stand_ins, job, "RUNNING", name="somebody-elses")
    assert cli("job", "cancel", "1", "--json").json["changed"] == 1
    assert stand_ins.calls("scancel") == []
    assert jobs(cli)[0]["state"] == "ended"


def test_a_job_is_cancelled_with_one_call(runs: Runs, cli: Cli, stand_ins: StandIns) -> None:
    runs.submit("scan", ["true"], 1)
    queued(cli, stand_ins)
    stand_ins.answer("scancel")
    assert cli("job", "cancel", "1").exit == 0
    assert stand_ins.calls("scancel") == ["12"]


def test_a_scheduler_that_does_not_answer_keeps_the_job_but_breaks_its_chain(
    runs: Runs, cli: Cli, stand_ins: StandIns
) -> None:
    runs.submit("scan", ["true"], 1)
    job = queued(cli, stand_ins)
    stand_ins.answer("squeue", exit=1, err="Socket timed out on send/recv operation\n")
    done = cli("job", "cancel", "1", "--json")
    assert done.exit == 69
    assert "Socket timed out" in done.error["message"]
    assert jobs(cli)[0]["state"] == "queued"
    assert (runs.root / ".provrun" / "launch" / f"{job['uuid']}.cancelled").exists()


def test_a_query_of_many_commands_is_asked_once_in_a_while(runs: Runs, cli: Cli, stand_ins: StandIns) -> None:
    runs.submit("scan", ["true"], 1)
    queued(cli, stand_ins)
    for _ in range(3):
        assert jobs(cli)[0]["scheduler_state"] == "queued"
        cli("status")
    assert len(stand_ins.calls("squeue")) <= 3, "an answer holds for ten seconds"


def test_a_submission_that_fails_withdraws_the_plan(runs: Runs, cli: Cli, stand_ins: StandIns) -> None:
    runs.submit("scan", ["true"], 1)
    stand_ins.answer("sbatch", exit=1, err="sbatch: error: Batch job submission failed: Invalid account\n")
    assert cli("launch", "--scheduler", "slurm", "--slots", "1").exit == 69
    assert list((runs.root / ".provrun" / "launch").glob("*.plan")) == []
    (row,) = jobs(cli)
    assert "Invalid account" in row["reason"]


def test_a_run_over_mpi_on_this_host_is_cancelled(
    runs: Runs, cli: Cli, witness: Witness, mpich: Launcher
) -> None:
    runs.submit("scan", ["sh", "-c", witness.shell("{x}") + "; exec sleep 600"], 4)
    process = runs.start("--mpi", "2", "-j", "1")
    until(lambda: len(witness.lines()) == 2, "two tasks began")
    assert cli("job", "cancel", "1", "--json").json["changed"] == 1
    code, _, _ = finished(process)
    assert code == 128 + signal.SIGTERM
    assert runs.counts("scan") == {"pending": 4}
    assert len(jobs(cli)) == 1, "it is not started again"


def test_the_answer_of_launch_is_as_the_reference_says(runs: Runs, cli: Cli, stand_ins: StandIns) -> None:
    runs.submit("scan", ["true"], 1)
    stand_ins.answer("sbatch", "12\n")
    for words in (["--dry-run"], []):
        check("launched", cli("launch", "--scheduler", "slurm", "--json", *words).json)
    (row,) = jobs(cli)
    check("jobs", {"jobs": [row]})
