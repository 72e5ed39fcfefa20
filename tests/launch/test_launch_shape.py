"""`launch` without a shape, with a part of one, and with an area; on a real Slurm and where none answers."""

from __future__ import annotations

import os
import subprocess
from typing import Any

import pytest

from fixtures.cli import Cli, Done
from fixtures.runs import Runs
from fixtures.slurm import CORES, NODES, Slurm

KEYS = {"nodes", "slots", "time", "jobs", "makespan", "utilisation", "tail_idle", "core_hours", "reasons"}
CONFIGURED = {
    "PROVRUN_QUEUE_CORES": "24", "PROVRUN_QUEUE_NODES": "10", "PROVRUN_QUEUE_TIME": "12h",
    "SLURM_CONF": "/dev/null",  # nobody answers, wherever the tests run
}


@pytest.fixture
def cli(runs: Runs) -> Cli:
    return Cli(runs.root)


def shaped(cli: Cli, *words: str, **variables: str) -> dict[str, Any]:
    done = cli("launch", "--json", "--dry-run", *words, **variables)
    assert done.exit == 0, done.out + done.err
    shape: dict[str, Any] = done.json["shape"]
    assert set(shape) >= KEYS
    assert done.json["reasons"] == shape["reasons"]
    assert done.json["jobs"] == []
    return shape


def measured(runs: Runs, cli: Cli, tasks: int) -> None:
    runs.submit("pilot", ["sleep", "0.2"], 12)
    assert cli("run", "pilot", "-j", "6").exit == 0
    runs.submit("scan", ["sleep", "0.2"], tasks)


def test_a_dry_run_shows_what_is_foreseen_and_why(runs: Runs, cli: Cli) -> None:
    measured(runs, cli, 10_000)
    shape = shaped(cli, "scan", "--scheduler", "slurm", **CONFIGURED)
    assert (shape["jobs"], shape["slots"]) == (1, 24)
    assert shape["tail_idle"] < 0.1
    assert shape["utilisation"] > 0.8
    assert shape["core_hours"] == pytest.approx(shape["nodes"] * 24 * shape["time"] / 3600)
    text = cli("launch", "scan", "--scheduler", "slurm", "--dry-run", **CONFIGURED)
    assert text.out.startswith("#!/bin/bash\n#SBATCH --job-name=")
    assert f"#SBATCH --nodes={shape['nodes']}\n" in text.out
    assert "#SBATCH --cpus-per-task=24\n" in text.out
    assert "10,000 tasks left" in text.err
    assert "nodes of 24 cores; at most 10 nodes a job, 12h00m a job (not known: slurm" in text.err
    assert "foreseen: done" in text.err
    assert cli("job", "list", "--json").json["jobs"][1:] == [], "nothing but the pilot has run"


def test_wishes_are_kept_and_the_rest_is_chosen(runs: Runs, cli: Cli) -> None:
    measured(runs, cli, 5_000)
    shape = shaped(cli, "scan", "--scheduler", "slurm", "--nodes", "3", "--slots", "7", **CONFIGURED)
    assert (shape["nodes"], shape["slots"], shape["jobs"]) == (3, 7, 1)
    shape = shaped(cli, "scan", "--scheduler", "slurm", "--time", "3h", "--jobs", "2", **CONFIGURED)
    assert (shape["time"], shape["jobs"]) == (10_800, 2)
    refused = cli("launch", "scan", "--scheduler", "slurm", "--nodes", "11", "--dry-run", **CONFIGURED)
    assert (refused.exit, "allows 10 nodes" in refused.err) == (2, True)
    given = cli("launch", "scan", "--scheduler", "slurm", "--nodes", "11", "--time", "1h", "--dry-run", "--json")
    assert (given.exit, given.json["shape"]) == (0, None), "who says it all is not asked"


def test_an_area_is_kept_and_has_no_successor(runs: Runs, cli: Cli) -> None:
    measured(runs, cli, 20_000)
    shape = shaped(cli, "scan", "--scheduler", "slurm", "--area", "0.4", **CONFIGURED)
    assert 0.35 < shape["core_hours"] <= 0.4
    assert 0.1 < shape["done"] < 0.5
    assert "the area is enough for about" in "\n".join(shape["reasons"])
    little = cli("launch", "scan", "--scheduler", "slurm", "--area", "0.00001", "--dry-run", **CONFIGURED)
    assert (little.exit, "smallest shape" in little.err) == (2, True)


def test_nothing_runs_here_unasked_and_the_first_job_is_small(runs: Runs, cli: Cli) -> None:
    runs.submit("scan", ["sleep", "0.05"], 10_000)
    shape = shaped(cli, "scan", "--scheduler", "slurm", **CONFIGURED)
    assert (shape["nodes"], shape["jobs"], shape["time"]) == (1, 1, 3600)
    assert "no task has been measured yet" in shape["reasons"][0]
    assert runs.counts("scan") == {"pending": 10_000}


def test_a_pilot_measures_a_few_tasks_here(runs: Runs, cli: Cli) -> None:
    runs.submit("scan", ["sleep", "0.3"], 2_000)
    shape = shaped(cli, "scan", "--scheduler", "slurm", "--pilot", "3", **CONFIGURED)
    assert shape["reasons"][0].startswith("pilot: ")
    assert "no task has been measured" not in "\n".join(shape["reasons"])
    succeeded = runs.counts("scan")["succeeded"]
    assert 3 <= succeeded <= 20
    runs.check()
    (job,) = cli("job", "list", "--json").json["jobs"]
    assert job["reason"].endswith("tasks have ended, which are enough")
    shaped(cli, "scan", "--scheduler", "slurm", "--pilot", "3", **CONFIGURED)
    assert runs.counts("scan")["succeeded"] == succeeded, "measured once"


def test_a_pilot_that_fails_says_so(runs: Runs, cli: Cli) -> None:
    runs.submit("scan", ["sh", "-c", "sleep 0.2; false"], 500)
    shape = shaped(cli, "--scheduler", "slurm", "scan", "--pilot", **CONFIGURED)
    assert "of the pilot failed" in "\n".join(shape["reasons"])


def test_this_host_is_used_as_it_is(runs: Runs, cli: Cli) -> None:
    measured(runs, cli, 50)
    shape = shaped(cli, "scan", "--scheduler", "local")
    assert (shape["nodes"], shape["slots"], shape["time"]) == (1, len(os.sched_getaffinity(0)), None)
    done: Done = cli("launch", "scan", "--scheduler", "local", "--json")
    assert done.exit == 0, done.err
    assert (done.json["jobs"][0]["time"], done.json["reasons"]) == (None, [])
    assert cli("wait", "scan", "--timeout", "60s").exit == 0


def test_a_real_slurm_runs_what_was_chosen(runs: Runs, cli: Cli, slurm: Slurm, mpich: object) -> None:
    runs.submit("pilot", ["sleep", "0.2"], 6)
    assert cli("run", "pilot", "-j", "6").exit == 0
    runs.submit("scan", ["sleep", "0.2"], 100)
    done = cli("launch", "scan", "--json")
    assert done.exit == 0, done.out + done.err
    (job,) = done.json["jobs"]
    shape = done.json["shape"]
    assert (shape["slots"], shape["time"]) == (CORES, 300)
    assert 1 <= shape["nodes"] <= NODES
    assert f"main: nodes of {CORES} cores; {NODES} nodes in all" in shape["reasons"][1]
    kept = slurm("scontrol", "show", "job", job["scheduler_id"])
    assert "TimeLimit=00:05:00" in kept
    assert f"NumNodes={shape['nodes']}" in kept
    assert slurm.ended(job["scheduler_id"]) == "COMPLETED"
    assert runs.counts("scan") == {"succeeded": 100}


def test_a_chain_has_as_many_jobs_as_rounds_are_foreseen(runs: Runs, cli: Cli) -> None:
    measured(runs, cli, 10_000)
    allowed = CONFIGURED | {"PROVRUN_QUEUE_TIME": "10m", "PROVRUN_QUEUE_CORES": "1"}
    shape = shaped(cli, "scan", "--scheduler", "slurm", "--nodes", "1", "--jobs", "1", **allowed)
    # 2,000 s of work and a little more on a slot that has ten minutes each time.
    assert shape["rounds"] >= 4
    assert f"{shape['rounds']} rounds" in "\n".join(shape["reasons"])


def test_a_dry_run_is_a_script_that_can_be_kept(runs: Runs, cli: Cli) -> None:
    measured(runs, cli, 100)
    script = cli("launch", "scan", "--scheduler", "slurm", "--dry-run", **CONFIGURED).out
    assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0
