"""The commands of a scheduler are run with patience and within a budget; what fails or hangs is no answer."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from fixtures.stand_ins import StandIns
from provrun.core.allocation import Request, Stage
from provrun.errors import Unavailable
from provrun.launch.commands import BURST, RATE, Budget, Scheduler
from provrun.launch.slurm import Slurm

LINE = "7|RUNNING|None|1700000000|1700003600|n1|provrun-u\n"


def scheduler(folder: Path, **more: float) -> Scheduler:
    return Scheduler(Slurm(), folder, environ=os.environ, **more)


def test_an_answer_is_read(stand_ins: StandIns, tmp_path: Path) -> None:
    stand_ins.answer("squeue", LINE)
    stand_ins.answer("sbatch", "7\n")
    stand_ins.answer("scancel", err="scancel: error: Kill job error on job id 7: Invalid job id specified\n", exit=1)
    assert scheduler(tmp_path).query(["7", "8"])["7"].stage is Stage.RUNNING
    assert scheduler(tmp_path).submit(tmp_path / "u.sh", Request(scheduler="slurm")) == "7"
    scheduler(tmp_path).cancel(["7"])
    assert stand_ins.calls("sbatch") == [f"--parsable {tmp_path}/u.sh"]
    assert stand_ins.calls("squeue")[0].endswith("--jobs=7,8")


def test_nothing_is_asked_about_no_job(stand_ins: StandIns, tmp_path: Path) -> None:
    stand_ins.answer("squeue", LINE)
    assert scheduler(tmp_path).query([]) == {}
    scheduler(tmp_path).cancel([])
    assert stand_ins.calls("squeue") == []


def test_a_command_that_fails_hangs_or_is_not_there_is_unavailable(stand_ins: StandIns, tmp_path: Path) -> None:
    stand_ins.answer("squeue", exit=1, err="slurm_load_jobs error: Unable to contact slurm controller\n")
    with pytest.raises(Unavailable, match="Unable to contact"):
        scheduler(tmp_path).query(["7"])
    stand_ins.answer("squeue", LINE, hangs=True)
    begun = time.monotonic()
    with pytest.raises(Unavailable, match="has not answered"):
        scheduler(tmp_path, patience=0.5).query(["7"])
    assert time.monotonic() - begun < 30
    stand_ins.answer("scancel", exit=1, err="scancel: error: Access/permission denied\n")
    with pytest.raises(Unavailable, match="permission denied"):
        scheduler(tmp_path).cancel(["7"])
    with pytest.raises(Unavailable, match="cannot be run"):
        Scheduler(Slurm(), tmp_path, environ={"PATH": str(tmp_path)}).query(["7"])


def test_what_describes_the_job_one_is_in_is_no_wish_for_another_one(stand_ins: StandIns, tmp_path: Path) -> None:
    stand_ins.answer("squeue", LINE)
    program = stand_ins.folder / "squeue"
    program.write_text(f"#!/bin/bash\nenv >{tmp_path}/environ\n")
    environ = {
        **os.environ, "SLURM_JOB_ID": "3", "SLURM_CONF": "/x", "SLURM_MEM_PER_NODE": "1", "SQUEUE_STATES": "PENDING",
    }
    Scheduler(Slurm(), tmp_path, environ=environ).query(["7"])
    seen = (tmp_path / "environ").read_text()
    assert "SLURM_CONF=/x" in seen
    assert "SLURM_TIME_FORMAT=%s" in seen
    assert not any(name in seen for name in ("SLURM_JOB_ID", "SLURM_MEM_PER_NODE", "SQUEUE_STATES"))


def test_the_budget_is_a_burst_of_forty_and_four_a_minute(tmp_path: Path) -> None:
    clock = [1000.0]
    budgets = [Budget(tmp_path / "budget", lambda: clock[0]) for _ in range(2)]  # as two processes have it
    assert [budgets[i % 2].take() for i in range(BURST)] == [0.0] * BURST
    wait = budgets[0].take()
    assert wait == pytest.approx(1 / RATE) == 15
    clock[0] += wait + 0.1
    assert budgets[1].take() == 0
    assert budgets[0].take() > 10
    clock[0] += 3600
    assert [budgets[0].take() for _ in range(BURST)] == [0.0] * BURST
    assert budgets[0].take() > 0
    (tmp_path / "budget").write_text("torn")
    assert budgets[0].take() == 0


def test_a_question_beyond_the_budget_is_not_asked(stand_ins: StandIns, tmp_path: Path) -> None:
    stand_ins.answer("squeue", LINE)
    (tmp_path / f"budget-{os.getuid()}").write_text(f"[0, {time.time()}]")
    with pytest.raises(Unavailable, match=r"asked again in 1[45] s"):
        scheduler(tmp_path).query(["7"])
    assert stand_ins.calls("squeue") == []


def test_what_cannot_be_counted_may_be_asked(stand_ins: StandIns, tmp_path: Path) -> None:
    stand_ins.answer("squeue", LINE)
    (tmp_path / f"budget-{os.getuid()}").mkdir()
    for _ in range(BURST + 1):
        assert scheduler(tmp_path).query(["7"])["7"].stage is Stage.RUNNING
