"""`launch` and `job` on a real Slurm."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from fixtures.cli import Cli
from fixtures.runs import Runs
from fixtures.slurm import Slurm
from fixtures.witness import Witness

pytestmark = pytest.mark.usefixtures("slurm", "mpich")


@pytest.fixture
def cli(runs: Runs) -> Cli:
    return Cli(runs.root)


def launched(cli: Cli, *words: str) -> list[dict[str, Any]]:
    done = cli("launch", "--json", *words)
    assert done.exit == 0, done.out + done.err
    assert done.json["next"] == "provrun job list"
    jobs: list[dict[str, Any]] = done.json["jobs"]
    return jobs


def jobs(cli: Cli, *words: str) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = cli("job", "list", "--json", *words).json["jobs"]
    return listed


def output(job: dict[str, Any]) -> str:
    path = Path(job["output"])
    return path.read_text() if path.exists() else ""


def test_a_job_runs_a_map_to_its_end(runs: Runs, cli: Cli, slurm: Slurm, witness: Witness) -> None:
    runs.submit("scan", ["sh", "-c", witness.shell("{x} $SLURM_JOB_PARTITION")], 20)
    (job,) = launched(cli, "scan", "--slots", "2", "--time", "5m", "--queue", "short", "--option", "comment=mine")
    assert job["scheduler"] == "slurm"
    slurm("scontrol", "show", "job", job["scheduler_id"])
    assert slurm.ended(job["scheduler_id"]) == "COMPLETED", output(job)
    assert witness.counts() == {f"{x} short": 1 for x in range(20)}
    assert runs.counts("scan") == {"succeeded": 20}
    row, successor = jobs(cli)
    assert (row["id"], row["job_kind"], row["state"]) == (job["id"], "batch", "ended")
    assert (row["scheduler"], row["scheduler_id"]) == ("slurm", job["scheduler_id"])
    assert (successor["state"], successor["node"]) == ("ended", ""), "it was not needed"
    assert cli("launch", "scan", "--json").json["jobs"] == [], "nothing is left to do"


def test_what_slurm_keeps_of_a_job(runs: Runs, cli: Cli, slurm: Slurm) -> None:
    runs.submit("scan", ["true"], 1)
    (job,) = launched(
        cli, "--nodes", "2", "--time", "90s", "--exclude", "n[1-2]", "--option", "begin=now+600", "--option",
        "comment=mine",
    )
    kept = slurm("scontrol", "show", "job", job["scheduler_id"])
    for word in (
        f"JobName=provrun-{job['uuid']}", "NumNodes=2", "ExcNodeList=n[1-2]", "TimeLimit=00:02:00", "Requeue=0",
        "Comment=mine", f"WorkDir={runs.root}", f"StdOut={job['output']}",
    ):
        assert word in kept
    (row,) = jobs(cli, "--running")
    assert (row["state"], row["scheduler_state"], row["over"]) == ("queued", "queued", False)
    answer = cli("why", f"job:{row['id']}").out
    assert "waiting in the queue" in answer
    assert "slurm says that it is queued" in answer


def test_a_project_may_have_a_blank_in_its_name(cli: Cli, slurm: Slurm, tmp_path: Path) -> None:
    folder = tmp_path / "a b (c)"
    folder.mkdir()
    assert cli("init", at=folder).exit == 0
    assert cli("submit", "scan", "--param", "x=0:3", "--", "touch", "made {x}", at=folder).exit == 0
    done = cli("launch", "scan", "--slots", "1", "--resubmit", "off", "--option", "comment=a b", "--json", at=folder)
    (job,) = done.json["jobs"]
    assert slurm.ended(job["scheduler_id"]) == "COMPLETED", output(job)
    assert sorted(path.name for path in folder.glob("made*")) == ["made 0", "made 1", "made 2"]


def test_jobs_that_share_a_map_run_each_task_once(runs: Runs, cli: Cli, slurm: Slurm, witness: Witness) -> None:
    runs.submit("scan", ["sh", "-c", witness.shell("{x}") + "; sleep 0.2"], 60)
    started = launched(cli, "scan", "--jobs", "3", "--slots", "2")
    assert len({job["scheduler_id"] for job in started}) == 3
    for job in started:
        slurm.ended(job["scheduler_id"])
    assert witness.counts() == {str(x): 1 for x in range(60)}, [output(job) for job in started]
    assert runs.counts("scan") == {"succeeded": 60}
    shown = [cli("job", "show", str(job["id"]), "--json").json["jobs"][0] for job in started]
    assert sum(ran["attempts"] for each in shown for ran in each["ran"]) == 60
    assert sum(bool(each["ran"]) for each in shown) >= 2, "no job had them all"


def test_a_job_waiting_in_the_queue_is_cancelled(runs: Runs, cli: Cli, slurm: Slurm, witness: Witness) -> None:
    runs.submit("scan", ["sh", "-c", witness.shell("{x}")], 3)
    (job,) = launched(cli, "--slots", "1", "--option", "begin=now+600")
    done = cli("job", "cancel", str(job["id"]), "--json")
    assert done.json["changed"] == 1
    assert slurm.ended(job["scheduler_id"]) == "CANCELLED"
    (row,) = jobs(cli)
    assert (row["state"], row["reason"]) == ("ended", "cancelled before it began")
    assert cli("job", "cancel", str(job["id"]), "--json").json["changed"] == 0
    assert witness.lines() == []


def test_a_running_job_is_cancelled_and_its_tasks_are_pending_again(
    runs: Runs, cli: Cli, slurm: Slurm, witness: Witness
) -> None:
    runs.submit("scan", ["sh", "-c", witness.shell("{x}") + "; exec sleep 600"], 4)
    (job,) = launched(cli, "--slots", "2")
    slurm.until(lambda: len(witness.lines()) == 2, "two tasks began")
    row, successor = jobs(cli, "--running")
    assert (row["id"], row["state"], row["scheduler_state"]) == (job["id"], "running", "running")
    assert (successor["state"], successor["scheduler_state"]) == ("queued", "queued")
    assert cli("job", "cancel", f"job:{job['id']}", "--json").json["changed"] == 2, "what would follow is cancelled too"
    for each in (row, successor):
        assert slurm.ended(each["scheduler_id"]) in ("CANCELLED", "FAILED")
    cli("recover")
    assert runs.counts("scan") == {"pending": 4}
    assert jobs(cli, "--running") == []


def test_a_job_that_scancel_ended_in_the_queue_is_over(runs: Runs, cli: Cli, slurm: Slurm) -> None:
    runs.submit("scan", ["true"], 1)
    (job,) = launched(cli, "--option", "begin=now+600")
    slurm("scancel", job["scheduler_id"])
    slurm.ended(job["scheduler_id"])
    assert jobs(cli)[0]["over"] is True
    cli("recover")
    (row,) = jobs(cli)
    assert row["state"] == "ended"
    assert row["reason"] == "it never began: slurm says that it is cancelled"


def test_a_killed_job_is_over_and_its_tasks_run_again(
    runs: Runs, cli: Cli, slurm: Slurm, witness: Witness
) -> None:
    runs.submit("scan", ["sh", "-c", witness.shell("{x}") + "; [ -e gate ] || exec sleep 600"], 2)
    (job,) = launched(cli, "--slots", "2", "--resubmit", "off")
    slurm.until(lambda: len(witness.lines()) == 2, "two tasks began")
    slurm("scancel", "--signal=KILL", "--full", job["scheduler_id"])
    slurm.ended(job["scheduler_id"])
    (runs.root / "gate").touch()
    cli("recover")
    assert runs.counts("scan") == {"pending": 2}
    assert cli("run", "-j", "2").exit == 0
    assert witness.counts() == {"0": 2, "1": 2}


def test_setup_runs_before_and_its_environment_reaches_tasks(
    runs: Runs, cli: Cli, slurm: Slurm, witness: Witness
) -> None:
    runs.submit("scan", ["sh", "-c", witness.shell("$ONE $TWO")], 1)
    (runs.root / "setup.sh").write_text("if true; then\n  export TWO=b\nfi\n")
    (job,) = launched(cli, "--slots", "1", "--setup", "export ONE=a", "--setup", "setup.sh")
    assert slurm.ended(job["scheduler_id"]) == "COMPLETED", output(job)
    assert witness.lines() == ["a b"]


def test_a_dry_run_prints_the_script_and_leaves_nothing(runs: Runs, cli: Cli, slurm: Slurm) -> None:
    runs.submit("scan", ["true"], 1)
    done = cli("launch", "scan", "--dry-run", "--nodes", "3", "--time", "1h", "--account", "phys")
    assert done.exit == 0
    lines = done.out.splitlines()
    assert lines[0] == "#!/bin/bash"
    assert {"#SBATCH --nodes=3", "#SBATCH --account=phys", "#SBATCH --exclusive"} <= set(lines)
    assert lines[-1].startswith(f"exec {sys.executable} -P -m provrun.cli.batch ")
    assert cli("launch", "--dry-run", "--json").json["script"].startswith("#!/bin/bash\n")
    assert slurm.jobs() == {}
    assert jobs(cli) == []
    assert list((runs.root / ".provrun" / "launch").glob("*.*")) == []


def test_a_scheduler_that_does_not_take_a_job_leaves_no_job_behind(runs: Runs, cli: Cli, slurm: Slurm) -> None:
    runs.submit("scan", ["true"], 1)
    done = cli("launch", "--queue", "nowhere", "--json")
    assert done.exit == 69
    assert "invalid partition" in done.error["message"]
    (row,) = jobs(cli)
    assert (row["state"], row["scheduler_id"]) == ("ended", None)
    assert row["reason"].startswith("not submitted: ")
    assert list((runs.root / ".provrun" / "launch").glob("*.plan")) == []


def test_a_chain_waits_in_the_queue_as_a_whole(runs: Runs, cli: Cli, slurm: Slurm) -> None:
    runs.submit("scan", ["true"], 1)
    chain = launched(cli, "--resubmit", "chain", "--links", "3", "--option", "begin=now+600")
    ids = [job["scheduler_id"] for job in chain]
    assert [job["after"] for job in chain] == [None, *ids[:2]]
    for id, before in zip(ids[1:], ids, strict=False):
        assert f"Dependency=afterany:{before}" in slurm("scontrol", "show", "job", id)
    assert cli("job", "cancel", str(chain[1]["id"]), "--json").json["changed"] == 3, "one goes with all"
    assert [slurm.ended(id) for id in ids] == ["CANCELLED"] * 3
