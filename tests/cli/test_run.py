"""`provrun run` and `provrun recover` on the command line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fixtures.cli import Cli
from fixtures.runs import until

KEYS = {"succeeded", "failed", "lost", "reused", "noresult", "seconds", "tasks_per_second", "job"}


def test_run_answers_with_what_it_did(cli: Cli) -> None:
    cli("submit", "scan", "--param", "x=0:5", "--function", "analysis.py:square")
    done = cli("run", "scan", "-j", "2", "--json")
    assert done.exit == 0
    assert set(done.json) >= KEYS
    assert {key: done.json[key] for key in ("succeeded", "failed", "lost", "reused", "noresult")} == {
        "succeeded": 5, "failed": 0, "lost": 0, "reused": 0, "noresult": 0,
    }  # fmt: skip
    assert done.json["seconds"] > 0
    assert done.json["tasks_per_second"] > 0


def test_run_says_in_words_what_it_did(cli: Cli) -> None:
    cli("submit", "scan", "--param", "x=0:3", "--", "sh", "-c", "exit {x}")
    done = cli("run", "scan", "-j", "2")
    assert done.exit == 3
    assert done.out.startswith("1 succeeded, 2 failed")


def test_nothing_to_run_is_no_error(cli: Cli) -> None:
    cli("submit", "scan", "--param", "x=0:3", "--", "true")
    cli("run")
    done = cli("run")
    assert (done.exit, done.out) == (0, "nothing to run\n")
    assert cli("run", "--json").json["job"] is None


def test_where_a_cluster_takes_jobs_a_run_says_once_where_long_work_belongs(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.parent.mkdir()
    sbatch.touch(0o755)
    monkeypatch.setenv("PATH", str(sbatch.parent), prepend=os.pathsep)
    cli("submit", "scan", "--param", "x=0:1", "--", "true")
    monkeypatch.setenv("SLURM_CONF", str(tmp_path / "slurm.conf"))
    assert cli("run").err.count("login node") == 1
    monkeypatch.setenv("SLURM_JOB_ID", "7")  # inside a job there is nothing to say
    assert "login node" not in cli("run").err


def test_quiet_says_nothing_on_stderr_and_names_the_maps(cli: Cli) -> None:
    cli("submit", "scan", "--param", "x=0:3", "--", "true")
    done = cli("run", "scan", "-q")
    assert (done.out, done.err) == ("scan\n", "")


def test_an_unknown_map_gets_the_nearest_name(cli: Cli) -> None:
    cli("submit", "scan", "--param", "x=0:3", "--", "true")
    done = cli("run", "scann", "--json")
    assert done.exit == 4
    assert done.error["value"] == "scann"


@pytest.mark.parametrize("value", ["0", "-1", "x", "101%", "0%", "nan%"])
def test_max_fails_wants_a_number_or_percent(cli: Cli, value: str) -> None:
    cli("submit", "scan", "--param", "x=0:3", "--", "true")
    done = cli("run", "scan", f"--max-fails={value}", "--json")
    assert done.exit == 2
    assert done.error["value"] == value


def test_max_fails_stops_early_and_says_so(cli: Cli) -> None:
    cli("submit", "scan", "--param", "x=0:600", "--", "false")
    done = cli("run", "scan", "-j", "1", "--max-fails", "5%", "--json")
    assert done.exit == 75
    assert 30 <= done.json["failed"] < 500
    assert "failed" in done.json["reason"]


def test_recover_takes_back_what_a_killed_run_left(cli: Cli) -> None:
    cli("submit", "scan", "--param", "x=0:2", "--", "sh", "-c", "touch began-{x}; exec sleep 60")
    process = subprocess.Popen(
        [sys.executable, "-m", "provrun", "run", "-j", "2"], cwd=cli.folder, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until(lambda: len(list(cli.folder.glob("began-*"))) == 2, "two tasks began")
    assert cli("recover", "--json").json["changed"] == 0
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = cli("recover", "scan", "--json")
    assert done.json == {"changed": 2, "maps": ["scan"], "next": "provrun run scan"}
    assert cli("recover").out == "nothing to recover\n"


def test_a_run_needs_some_time(cli: Cli) -> None:
    cli("submit", "scan", "--param", "x=0:2", "--", "true")
    done = cli("run", "--time", "0s", "--json")
    assert (done.exit, done.error["value"], done.error["next"]) == (2, "0s", "--time 2h, or leave it out")


@pytest.mark.parametrize(("cancelled", "why"), [(True, "cancelled"), (False, "interrupted")])
def test_a_run_that_was_cancelled_is_told_from_one_that_was_interrupted(cli: Cli, cancelled: bool, why: str) -> None:
    cli("submit", "scan", "--param", "x=0:1", "--", "sh", "-c", "touch began; exec sleep 60")
    with subprocess.Popen(
        [sys.executable, "-m", "provrun", "run", "-q"], cwd=cli.folder, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        until((cli.folder / "began").exists, "a task began")
        if cancelled:
            assert cli("job", "cancel", "1", "--json").json["changed"] == 1
        else:
            process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 143
    (job,) = cli("job", "list", "--json").json["jobs"]
    assert (job["state"], job["reason"]) == ("ended", why)
    assert list((cli.folder / ".provrun").rglob("*.cancelled")) == []


def test_a_run_through_a_pipe_shows_no_moving_line(cli: Cli) -> None:
    cli("submit", "scan", "--param", "x=0:4", "--", "sleep", "0.3")
    done = cli("run", "scan", "-j", "2")
    assert "\r" not in done.err
    assert "\x1b" not in done.err
