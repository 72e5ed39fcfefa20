"""MPI programs as tasks: the launcher line, the node, the ranks that find each other."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import pytest

from fixtures.agents import Driver
from fixtures.launchers import Launcher
from fixtures.runs import Runs, finished
from fixtures.slurm import Slurm
from provrun.core.messages import Start, Tasks
from provrun.core.records import Policy, Recipe
from provrun.core.states import Outcome
from provrun.run.node import node_memory
from provrun.run.parallel import TaskLauncher

PYTHON = sys.executable
# Each rank adds its number: only ranks of one world find the sum.
PROGRAM = """\
import os, sys
from mpi4py import MPI
world = MPI.COMM_WORLD
total = world.allreduce(world.rank)
nodes = world.gather(os.environ.get("SLURMD_NODENAME", ""))
if world.rank == 0:
    print([int(sys.argv[1]), world.size, total, len(set(nodes))])
"""


def launcher(environ: Mapping[str, str], **policy: int) -> TaskLauncher:
    return TaskLauncher(Policy(**policy), environ, "n1")  # type: ignore[arg-type]


def stand_in(folder: Path, name: str, says: str) -> dict[str, str]:
    """Make a launcher that only says what it is."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return {"PATH": str(folder)}


def test_a_job_may_bring_a_launcher_of_its_own() -> None:
    own = {"PROVRUN_LAUNCHER": "jsrun -n {ranks} --hosts={hosts} -N {nodes}"}
    assert launcher(own, ranks=4).words() == ["jsrun", "-n", "4", "--hosts=n1", "-N", "1"]
    assert launcher(own, ranks=4).words(("n1", "n2")) == ["jsrun", "-n", "4", "--hosts=n1,n2", "-N", "2"]


def test_tasks_that_may_take_most_of_the_memory_run_one_after_the_other(runs: Runs) -> None:
    command = "echo $$ >> large; sleep 0.3; wc -l < large; sleep 0.1; : > large"
    runs.submit("large", ["sh", "-c", command], 4, task_memory=node_memory(os.environ) * 6 // 10)
    runs.submit("small", ["true"], 20)
    code, document, _ = finished(runs.start("-j", "3"))
    assert (code, document["succeeded"]) == (0, 24)
    assert [runs.attempts("large", index)[0].result for index in range(4)] == ["1"] * 4


@pytest.mark.parametrize(
    ("says", "one", "two"),
    [
        (
            "HYDRA build details",
            ["-bind-to", "none", "-launcher", "fork", "-hosts", "localhost", "-n", "3"],
            ["-bind-to", "none", "-hosts", "n1,n2", "-ppn", "2", "-n", "3"],
        ),
        (
            "Intel(R) MPI Library for Linux, built on HYDRA",
            ["-bind-to", "none", "-bootstrap", "fork", "-hosts", "localhost", "-n", "3"],
            ["-bind-to", "none", "-hosts", "n1,n2", "-ppn", "2", "-n", "3"],
        ),
        (
            "mpiexec (Open MPI) 5.0.8",
            ["--bind-to", "none", "--map-by", ":OVERSUBSCRIBE", "-n", "3"],
            ["--bind-to", "none", "--map-by", ":OVERSUBSCRIBE", "--host", "n1:2,n2:2", "-n", "3"],
        ),
        ("a launcher nobody knows", ["-n", "3"], ["-n", "3"]),
    ],
)
def test_each_kind_of_mpiexec_is_told_in_its_own_words(
    tmp_path: Path, says: str, one: list[str], two: list[str]
) -> None:
    environ = stand_in(tmp_path / "bin", "mpiexec", says)
    found = launcher(environ, ranks=3, task_nodes=2)
    assert found.words() == [str(tmp_path / "bin" / "mpiexec"), *one]
    assert found.words(("n1", "n2")) == [str(tmp_path / "bin" / "mpiexec"), *two]
    assert launcher(environ).words() == []
    assert launcher(environ, task_nodes=2).words(("n1", "n2"))[-2:] == ["-n", "2"]


def test_inside_slurm_it_is_srun_for_tasks_of_several_nodes_and_mpiexec_for_one(tmp_path: Path) -> None:
    stand_in(tmp_path / "bin", "mpiexec", "HYDRA build details")
    environ = {**stand_in(tmp_path / "bin", "srun", "none pmi2 cray_shasta"), "SLURM_JOB_ID": "7"}
    words = launcher(environ, ranks=3, task_nodes=2).words(("n3", "n4"))
    assert words == [
        str(tmp_path / "bin" / "srun"), "--mpi=pmi2", "--overlap", "-K1", "--cpu-bind=none", "--mem=0",
        "-N", "2", "-w", "n3,n4", "-n", "3",
    ]  # fmt: skip
    one = launcher(environ, ranks=3).words()
    assert one[0] == str(tmp_path / "bin" / "mpiexec")
    assert "fork" in one
    # A library that this srun cannot speak to starts its ranks itself, on nodes that it is told.
    stand_in(tmp_path / "bin", "mpiexec", "mpiexec (Open MPI) 5.0.8")
    openmpi = launcher(environ, ranks=3, task_nodes=2)
    assert openmpi.words(("n1", "n2"))[-4:] == ["--host", "n1:2,n2:2", "-n", "3"]
    assert launcher(environ, ranks=3).variables["PRTE_MCA_ras"] == "^slurm,pbs,tm,lsf"
    # Where there is no mpiexec that one knows, srun it is.
    stand_in(tmp_path / "bin", "mpiexec", "a launcher nobody knows")
    assert launcher(environ, ranks=3).words()[0] == str(tmp_path / "bin" / "srun")


def test_a_task_has_its_nodes_in_its_environment_and_its_line(workplace: Path, no_strays: None) -> None:
    driver = Driver(workplace, environ={**os.environ, "PROVRUN_LAUNCHER": "echo {hosts} {ranks} ;"})
    try:
        recipe = Recipe(kind="shell", words=("{launcher} echo $PROVRUN_HOSTS",), result="stdout-text")
        plain = driver.map(Recipe(kind="command", words=("printenv", "PROVRUN_HOSTS"), result="stdout-text"))
        map = driver.map(recipe, policy=Policy(task_nodes=2, ranks=4))
        for number, hosts in enumerate((("n1", "n2"), ("n3", "n4"))):
            driver.agent.send(Tasks([Start(map, number, 1, "{}", None, None, None, hosts)]))
        driver.start(plain, [{"x": 0}])
        results = driver.wait(3)
        assert driver.value(results[0]) == driver.joined().node
        said = [driver.value(result).split() for result in results[1:]]
        assert said == [[hosts, "4", ";", "echo", hosts] for hosts in ("n1,n2", "n3,n4")]
    finally:
        driver.close()


def test_a_task_of_several_nodes_has_its_agent_for_itself(driver: Driver) -> None:
    script = ("sh", "-c", "date +%s%N; sleep 0.3; date +%s%N")
    wide = driver.map(Recipe(kind="command", words=script, result="stdout-text"), policy=Policy(task_nodes=2))
    one = driver.map(Recipe(kind="command", words=script, result="stdout-text"))
    driver.start(one, [{"x": 0}])
    driver.agent.send(Tasks([Start(wide, 0, 1, "{}", None, None, None, ("n1", "n2"))]))
    driver.start(one, [{"x": 0}], first=1)
    spans = sorted([int(word) for word in driver.value(result).split()] for result in driver.wait(3))
    assert all(before[1] <= after[0] for before, after in pairwise(spans))


def test_a_task_of_two_nodes_spans_both_agents(runs: Runs, mpi: Launcher) -> None:
    (runs.root / "program.py").write_text(PROGRAM)
    runs.submit("t", [PYTHON, "program.py", "{x}"], 2, ranks=2, task_nodes=2)
    code, _, said = finished(runs.start("--mpi", "2", "-j", "1"), timeout=180)
    assert code == 0, said
    assert [runs.attempts("t", x)[0].result for x in range(2)] == ["[0,2,1,1]", "[1,2,1,1]"]


@pytest.mark.parametrize("words", [(), ("--mpi", "2", "-j", "2")])
def test_mpi_programs_are_tasks(runs: Runs, mpi: Launcher, words: tuple[str, ...]) -> None:
    (runs.root / "program.py").write_text(PROGRAM)
    runs.submit("wide", [PYTHON, "program.py", "{x}"], 3, ranks=2)
    runs.submit("placed", ["env", "{launcher}", PYTHON, "program.py", "{x}"], 1, ranks=2)
    runs.submit("plain", ["sh", "-c", "echo {x}"], 6)
    code, document, said = finished(runs.start(*(words or ("-j", "3"))), timeout=180)
    assert (code, document["succeeded"]) == (0, 10), said
    results = [runs.attempts("wide", x)[0].result for x in range(3)]
    assert results == [f"[{x},2,1,1]" for x in range(3)]
    assert runs.attempts("placed", 0)[0].result == "[0,2,1,1]"
    assert runs.attempts("plain", 5)[0].result == "5"


def test_each_line_of_a_file_has_the_launcher_in_front(workplace: Path, no_strays: None) -> None:
    driver = Driver(workplace, environ={**os.environ, "PROVRUN_LAUNCHER": "env RANKS={ranks}"})
    try:
        params = [{"line": "echo $RANKS $((1 + 1))", "occurrence": 0}]
        recipe = Recipe(kind="line", result="stdout-text")
        assert driver.values(driver.run(recipe, params, policy=Policy(ranks=3))) == ["3 2"]
    finally:
        driver.close()


def test_a_rank_that_fails_fails_its_task(runs: Runs, mpi: Launcher) -> None:
    (runs.root / "program.py").write_text(PROGRAM + "sys.exit(3 if world.rank == 1 else 0)\n")
    runs.submit("t", [PYTHON, "program.py", "{x}"], 1, ranks=2)
    assert runs.run(slots=2).failed == 1
    (attempt,) = runs.attempts("t", 0)
    assert attempt.outcome is Outcome.EXIT
    assert attempt.detail


def test_a_time_limit_ends_all_ranks(runs: Runs, mpi: Launcher) -> None:
    (runs.root / "program.py").write_text(PROGRAM + "import time; time.sleep(1000)\n")
    runs.submit("t", [PYTHON, "program.py", "{x}"], 1, ranks=2, task_time=4.0)
    assert runs.run(slots=2).failed == 1  # the fixture looks for ranks that are left
    (attempt,) = runs.attempts("t", 0)
    assert attempt.outcome is Outcome.TIMEOUT


BATCH = """\
#!/bin/bash
#SBATCH -N 2 -n 2 -c 2
#SBATCH --overcommit
#SBATCH -o batch-%j.out
{line}
"""


def batch(runs: Runs, slurm: Slurm, line: str) -> str:
    """Run a line in a job of two nodes and give what it said."""
    (runs.root / "batch.sh").write_text(BATCH.format(line=line))
    id = slurm("sbatch", "--parsable", f"--chdir={runs.root}", runs.root / "batch.sh").strip()
    slurm.ended(id)
    return (runs.root / f"batch-{id}.out").read_text()


def test_inside_slurm_mpi_programs_are_tasks_of_one_node_and_of_several(
    runs: Runs, slurm: Slurm, mpich: Launcher
) -> None:
    (runs.root / "program.py").write_text(PROGRAM)
    runs.submit("one", [PYTHON, "program.py", "{x}"], 2, ranks=2)
    runs.submit("two", [PYTHON, "program.py", "{x}"], 2, ranks=4, task_nodes=2)
    runs.submit("plain", ["sh", "-c", "echo {x}"], 6)
    run = f"{PYTHON} -m provrun run -j 2 --json"
    said = batch(runs, slurm, f"srun --mpi=pmi2 -N 2 -n 2 -K1 --overlap --cpu-bind=none --mem=0 {run}")
    assert runs.counts("plain") == {"succeeded": 6}, said
    assert runs.counts("one") == {"succeeded": 2}, said
    assert [runs.attempts("one", x)[0].result for x in range(2)] == ["[0,2,1,1]", "[1,2,1,1]"]
    assert runs.counts("two") == {"succeeded": 2}, said
    assert [runs.attempts("two", x)[0].result for x in range(2)] == ["[0,4,6,2]", "[1,4,6,2]"]


def test_inside_slurm_each_mpi_starts_the_ranks_of_a_task_on_its_node(
    runs: Runs, slurm: Slurm, mpi: Launcher
) -> None:
    (runs.root / "program.py").write_text(PROGRAM)
    runs.submit("one", [PYTHON, "program.py", "{x}"], 2, ranks=2)
    said = batch(runs, slurm, f"{PYTHON} -m provrun run -j 2 --json")
    assert runs.counts("one") == {"succeeded": 2}, said
    assert [runs.attempts("one", x)[0].result for x in range(2)] == ["[0,2,1,1]", "[1,2,1,1]"]
