"""Runs over MPI, under MPICH and Open MPI: real launchers, several ranks on this host."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fixtures.kills import manager_of, ranks_of, spawner_of
from fixtures.launchers import Launcher
from fixtures.runs import Runs, finished, processes_of, until
from fixtures.witness import Witness
from provrun.core.states import Outcome
from provrun.run.launcher import find, launched_rank, launched_size, without_launcher
from provrun.store.reads import Reads

pytestmark = pytest.mark.usefixtures("mpi")


def test_the_launcher_found_is_that_of_the_library_mpi4py_loads(mpi: Launcher) -> None:
    found = find()
    assert found.kind == mpi.name
    assert Path(found.program).resolve() == mpi.mpiexec.resolve()


def test_tasks_run_once_on_all_ranks_and_each_knows_its_rank(runs: Runs, witness: Witness) -> None:
    runs.submit("t", ["sh", "-c", witness.shell("{x}") + "; sleep 0.05"], 40)
    code, document, _ = finished(runs.start("--mpi", "3", "-j", "1"))
    assert (code, document["succeeded"]) == (0, 40)
    assert witness.counts() == {str(x): 1 for x in range(40)}
    registry = runs.registry()
    reads = Reads(registry.database)
    (job,) = reads.jobs()
    contexts = [reads.context(a.context) for index in range(40) for a in reads.attempts(1, index)]
    ranks = {context.rank for context in contexts}
    mpi_of_host = {reads.host(context.host).mpi for context in contexts}
    registry.close()
    assert (job.kind, job.ranks, job.slots, job.state) == ("mpi", 3, 1, "ended")
    assert ranks == {0, 1, 2}
    assert None not in mpi_of_host
    assert list((runs.root / ".provrun" / "tmp").glob("*.plan")) == []


def test_tasks_have_the_environment_from_before_the_launcher(runs: Runs, witness: Witness) -> None:
    runs.submit("t", ["sh", "-c", "env > env-{x}; " + witness.shell("{x}") + "; sleep 0.2"], 4)
    code, _, _ = finished(runs.start("--mpi", "2", "-j", "1", MINE="yes"))
    assert code == 0
    for x in range(4):
        names = dict(line.split("=", 1) for line in (runs.root / f"env-{x}").read_text().splitlines() if "=" in line)
        assert names["MINE"] == "yes"
        assert not [name for name in names if name.startswith(("PMI_", "PMIX_", "OMPI_COMM", "PRTE_", "HYDI_"))
                    and name not in os.environ]  # fmt: skip


def test_beneath_somebody_elses_launcher_run_takes_part(runs: Runs, witness: Witness, mpi: Launcher) -> None:
    runs.submit("t", ["sh", "-c", witness.shell("{x}") + "; env | grep -c ^PMI_RANK= > own-{x}; sleep 0.05"], 20)
    command = mpi.command(2, sys.executable, "-m", "provrun", "run", "-j", "1", "--json")
    done = subprocess.run(command, cwd=runs.root, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert '"succeeded":20' in done.stdout
    assert done.stdout.count("succeeded") == 1
    assert witness.counts() == {str(x): 1 for x in range(20)}
    assert {(runs.root / f"own-{x}").read_text().strip() for x in range(20)} == {"0"}


def test_ctrl_c_drains_all_ranks(runs: Runs, witness: Witness) -> None:
    runs.submit("t", ["sh", "-c", witness.shell("{x}") + "; while [ ! -e gate ]; do sleep 0.02; done"], 10)
    process = runs.start("--mpi", "2", "-j", "1")
    until(lambda: len(witness.lines()) == 2, "two tasks began")
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    (runs.root / "gate").touch()
    code, document, said = finished(process)
    assert (code, document["succeeded"]) == (130, 2)
    assert "2 tasks in flight" in said
    assert runs.counts("t") == {"succeeded": 2, "pending": 8}


def test_a_second_ctrl_c_gives_back_what_runs_on_all_ranks(runs: Runs, witness: Witness) -> None:
    runs.submit("t", ["sh", "-c", witness.shell("{x}") + "; exec sleep 60"], 4)
    process = runs.start("--mpi", "2", "-j", "1")
    until(lambda: len(witness.lines()) == 2, "two tasks began")
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
    code, _, _ = finished(process)
    assert code == 130
    assert runs.counts("t") == {"pending": 4}


def test_a_third_ctrl_c_leaves_at_once_and_nothing_is_left_running(runs: Runs, witness: Witness) -> None:
    runs.submit("t", ["sh", "-c", "trap '' TERM INT; " + witness.shell("{x}") + "; sleep 60"], 2)
    process = runs.start("--mpi", "2", "-j", "1")
    until(lambda: len(witness.lines()) == 2, "two tasks began")
    for _ in range(3):
        process.send_signal(signal.SIGINT)
        time.sleep(0.1)
    code, _, _ = finished(process)
    assert code == 130
    assert runs.counts("t") == {"pending": 2}


def test_a_killed_spawner_of_another_rank_is_replaced(runs: Runs, witness: Witness) -> None:
    runs.submit("t", ["sh", "-c", witness.shell("{x}") + "; while [ ! -e gate ]; do sleep 0.02; done"], 6)
    process = runs.start("--mpi", "2", "-j", "1")
    until(lambda: len(witness.lines()) == 2, "two tasks began")
    manager = manager_of(runs)
    (other,) = [pid for pid in ranks_of(runs) if pid != manager]
    children = Path(f"/proc/{other}/task/{other}/children").read_text().split()
    (spawner,) = [int(pid) for pid in children if int(pid) in processes_of("provrun.run.spawner")]
    os.kill(spawner, signal.SIGKILL)
    until(lambda: len(witness.lines()) == 3, "another task began")
    (runs.root / "gate").touch()
    code, document, said = finished(process)
    assert (code, document["succeeded"]) == (0, 6)
    assert "rank 1" in said
    outcomes = [a.outcome for index in range(6) for a in runs.attempts("t", index)]
    assert outcomes.count(Outcome.LOST) >= 1


LONG_FIRST = """\
import os, time
def work(x):
    mine = os.environ["PROVRUN_JOB"].endswith("/0") and x >= 16
    for slot in (1, 2) if mine else ():
        try:
            os.mkdir(f"long-{slot}")
        except FileExistsError:
            continue
        end = time.monotonic() + 60
        while len(os.listdir("ended")) < 78:  # all others
            if time.monotonic() > end:
                raise SystemExit(3)
            time.sleep(0.02)
        return 1
    time.sleep(SECONDS)
    open(f"ended/{x}", "x").close()
    return 0
if __name__ == "__main__":
    import sys
    print(work(int(sys.argv[1])))
"""


@pytest.mark.parametrize(
    ("words", "seconds"),
    [([sys.executable, "work.py", "{x}"], 0.01), ("work.py:work", 0.02), ("work.py:work", 0.001)],
    ids=["commands", "functions", "short functions"],
)
def test_tasks_queued_behind_long_ones_end_on_another_rank_before_these(
    runs: Runs, words: list[str] | str, seconds: float
) -> None:
    # The long ones, one in each slot of rank 0, end once all others have.
    (runs.root / "work.py").write_text(LONG_FIRST.replace("SECONDS", str(seconds)))
    (runs.root / "ended").mkdir()
    runs.submit("t", words, 80)
    code, document, _ = finished(runs.start("--mpi", "2", "-j", "2"), 120)
    assert (code, document["succeeded"]) == (0, 80)
    registry = runs.registry()
    attempts = [Reads(registry.database).attempts(1, index) for index in range(80)]
    registry.close()
    assert {len(one) for one in attempts} == {1}
    assert (runs.root / "long-2").exists()


def test_signals_by_which_sites_warn_of_an_end_are_none(runs: Runs, witness: Witness) -> None:
    runs.submit("t", ["sh", "-c", witness.shell("{x}") + "; while [ ! -e gate ]; do sleep 0.02; done"], 4)
    process = runs.start("--mpi", "2", "-j", "1")
    until(lambda: len(witness.lines()) == 2, "two tasks began")
    for rank in ranks_of(runs):
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            os.kill(rank, number)
            os.kill(spawner_of(rank), number)
    (runs.root / "gate").touch()
    code, document, _ = finished(process)
    assert (code, document["succeeded"], document["lost"]) == (0, 4, 0)


def test_when_who_called_is_killed_the_ranks_give_back_what_runs(runs: Runs, witness: Witness) -> None:
    runs.submit("t", ["sh", "-c", witness.shell("{x}") + "; exec sleep 60"], 4)
    process = runs.start("--mpi", "2", "-j", "1")
    until(lambda: len(witness.lines()) == 2, "two tasks began")
    process.kill()
    process.communicate()
    until(lambda: runs.counts("t") == {"pending": 4}, "the ranks ended by themselves")


def test_an_error_of_rank_0_is_the_error_of_the_command(runs: Runs) -> None:
    runs.submit("t", ["true"], 1)
    code, document, _ = finished(runs.start("nosuch", "--mpi", "2", "-j", "1"))
    assert code == 4
    assert document["error"]["code"] == "not-found"


@pytest.mark.parametrize(
    ("environ", "size", "rank"),
    [
        ({"PMI_SIZE": "4", "PMI_RANK": "3"}, 4, 3),
        ({"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "0"}, 2, 0),
        ({"SLURM_NTASKS": "8", "SLURM_PROCID": "0"}, 1, 0),
        ({"SLURM_NTASKS": "8", "SLURM_PROCID": "5", "SLURM_STEP_NUM_TASKS": "8"}, 8, 5),
        ({}, 1, None),
    ],
)
def test_what_a_launcher_says_is_understood(environ: dict[str, str], size: int, rank: int | None) -> None:
    assert launched_size(environ) == size
    assert launched_rank(environ) == rank


def test_what_a_launcher_added_to_the_environment_is_taken_away() -> None:
    environ = {"PMI_RANK": "0", "OMPI_COMM_WORLD_SIZE": "2", "SLURM_PROCID": "1", "SLURM_JOB_ID": "7", "HOME": "/h"}
    assert without_launcher(environ) == {"SLURM_JOB_ID": "7", "HOME": "/h"}


def test_a_rank_bound_to_fewer_cores_than_slots_stops_with_a_reason(runs: Runs, mpi: Launcher) -> None:
    if (os.cpu_count() or 1) < 2:
        pytest.skip("one core cannot be too few")
    runs.submit("t", ["true"], 4)
    one = ["taskset", "-c", str(min(os.sched_getaffinity(0)))]
    command = mpi.command(2, *one, sys.executable, "-m", "provrun", "run", "-j", "2", "--json")
    done = subprocess.run(command, cwd=runs.root, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode != 0
    assert "bound to 1 core" in done.stdout
    assert runs.counts("t") == {"pending": 4}
