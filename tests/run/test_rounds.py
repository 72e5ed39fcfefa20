"""Rounds: a launcher that does not do is replaced by the next, and what rounds did adds up."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fixtures.launchers import Launcher as Installed
from fixtures.runs import Runs
from fixtures.witness import Witness
from provrun.errors import Unavailable
from provrun.project.jobs.fleets import Across, Alone
from provrun.project.jobs.rounds import Supervisor, added
from provrun.project.running import MaxFails, RunSummary, Setting, new_uuid
from provrun.run.hosts import Host
from provrun.run.launcher import Launcher, find

HOSTS = [Host("127.0.0.1", 1), Host("localhost", 1)]


def setting(most: MaxFails | None = None) -> Setting:
    return Setting(uuid=new_uuid(), names=("t",), slots=0, max_fails=most)


def strangers(tmp_path: Path) -> Launcher:
    """Give a launcher that starts ranks which know nothing of each other, as one of another MPI does."""
    program = tmp_path / "mpiexec"
    program.write_text('#!/bin/sh\nwhile [ "$1" != -n ]; do shift; done\nshift 2\n"$@" & "$@"; wait\n')
    program.chmod(0o755)
    return Launcher(str(program), "mpich")


@pytest.mark.parametrize("mpi", ["mpich"], indirect=True)
def test_a_launcher_that_cannot_start_the_ranks_is_replaced_by_the_next(
    runs: Runs, witness: Witness, mpi: Installed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYDRA_LAUNCHER", "fork")
    runs.submit("t", ["sh", "-c", witness.shell("{x}")], 6)
    project = runs.project()
    fleet = Across([Launcher("/bin/false", "mpich"), strangers(tmp_path), find()], HOSTS)
    with Supervisor(project, fleet, show=runs.heard) as supervisor:
        summary = supervisor.run(setting())
    project.close()
    assert (summary.exit, summary.succeeded) == (0, 6)
    assert witness.counts() == {str(x): 1 for x in range(6)}


@pytest.mark.parametrize("mpi", ["mpich"], indirect=True)
def test_a_launcher_whose_proxy_died_before_the_run_began_is_not_waited_for(
    runs: Runs, mpi: Installed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYDRA_LAUNCHER", "fork")
    runs.submit("t", ["true"], 6)
    shutil.copy(shutil.which("sleep") or "", tmp_path / "hydra_pmi_proxy")
    bereft = tmp_path / "mpiexec"  # as Hydra is when its proxy has been killed
    bereft.write_text(f"#!/bin/sh\n{tmp_path}/hydra_pmi_proxy 1.5 & exec sleep 600\n")
    bereft.chmod(0o755)
    project = runs.project()
    fleet = Across([Launcher(str(bereft), "mpich"), find()], HOSTS)
    with Supervisor(project, fleet, show=runs.heard) as supervisor:
        summary = supervisor.run(setting())
    project.close()
    assert (summary.exit, summary.succeeded) == (0, 6)


def test_without_any_launcher_that_works_the_reason_is_told(runs: Runs) -> None:
    runs.submit("t", ["true"], 1)
    project = runs.project()
    fleet = Across([Launcher("/bin/false", "mpich")], HOSTS)
    with Supervisor(project, fleet) as supervisor, pytest.raises(Unavailable, match="before the run began"):
        supervisor.run(setting())
    project.close()
    assert runs.counts("t") == {"pending": 1}


def test_one_process_is_a_round_without_mpi(runs: Runs, witness: Witness) -> None:
    # The first task kills the manager, once: it is the parent of the parent of its parent.
    kill = "[ -e killed ] || { touch killed; kill -9 $(cut -d' ' -f4 /proc/$PPID/stat); sleep 60; }; "
    runs.submit("t", ["sh", "-c", kill + witness.shell("{x}")], 4)
    project = runs.project()
    with Supervisor(project, Alone(1), show=runs.heard) as supervisor:
        summary = supervisor.run(setting())
    kinds = [(job.kind, job.state, job.ranks) for job in project.reads.jobs()]
    project.close()
    assert (summary.exit, summary.succeeded) == (0, 4)
    assert summary.lost >= 1
    assert kinds == [("local", "lost", 1), ("local", "ended", 1)]
    assert any("starting again" in told for told in runs.heard.told)


def test_what_rounds_did_adds_up_and_the_last_says_how_it_ended() -> None:
    first = RunSummary(succeeded=3, failed=1, lost=2, noresult=1, seconds=2.0, job=1, reason="died", exit=75)
    second = RunSummary(succeeded=4, seconds=2.0, job=2)
    assert added(first, second) == RunSummary(
        succeeded=7, failed=1, lost=2, noresult=1, seconds=4.0, tasks_per_second=2.0, job=2
    )
    nothing = RunSummary(reason="nothing was left", exit=0)
    assert added(first, nothing).job == 1
