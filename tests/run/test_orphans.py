"""Ranks whose launcher and manager are gone."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from fixtures.launchers import Launcher
from fixtures.processes import MARK
from fixtures.runs import Runs, until
from fixtures.victims import Victim, look
from fixtures.witness import Witness
from provrun.project.recovering import recover

pytestmark = pytest.mark.usefixtures("mpi")


def of(process: subprocess.Popen[str]) -> list[Victim]:
    return look(MARK, os.environ[MARK], {process.pid})


def test_a_rank_ends_with_its_launcher_though_no_manager_is_left_to_tell_it(
    runs: Runs, witness: Witness, mpi: Launcher
) -> None:
    runs.submit("t", ["sh", "-c", witness.shell("{x}") + "; exec sleep 60"], 2)
    process = runs.start("--mpi", "2", "-j", "1")
    until(lambda: len(witness.lines()) == 2, "both ranks have begun")
    starter = "proxy" if mpi.name == "mpich" else "mpiexec"
    doomed = [one.pid for one in of(process) if one.kind in {starter, "manager"}]
    assert len(doomed) == 2
    process.kill()  # else it would look after the ranks
    for pid in doomed:
        os.kill(pid, signal.SIGKILL)
    process.wait()
    try:
        until(lambda: not [one for one in of(process) if one.kind != "mpiexec"], "no rank, spawner or task is left")
    finally:
        for one in of(process):
            os.kill(one.pid, signal.SIGKILL)  # Hydra waits for its proxy until somebody ends it
        process.communicate()


def test_ranks_that_had_not_begun_end_though_launcher_and_run_are_gone(runs: Runs, mpi: Launcher) -> None:
    runs.submit("t", ["sleep", "600"], 2)
    process = runs.start("--mpi", "2", "-j", "1")
    until(lambda: [one for one in of(process) if one.kind in {"rank", "manager"}], "the first rank is there")
    starter = "proxy" if mpi.name == "mpich" else "mpiexec"
    for one in of(process):
        if one.kind == starter:
            os.kill(one.pid, signal.SIGKILL)
    process.kill()
    process.communicate()
    until(lambda: not [one for one in of(process) if one.kind != "mpiexec"], "no rank is left", patience=60)
    project = runs.project()
    recover(project)
    project.close()
    until(lambda: not of(process), "whoever recovers ends the launcher, too")
