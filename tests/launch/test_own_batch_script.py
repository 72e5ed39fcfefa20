"""`provrun run` inside one's own batch script: started by srun, and by the mpiexec of either MPI."""

from __future__ import annotations

import sys

from fixtures.cli import Cli
from fixtures.launchers import Launcher
from fixtures.runs import Runs
from fixtures.slurm import Slurm
from fixtures.witness import Witness
from provrun.store.reads import Reads

RUN = f"{sys.executable} -m provrun run -j 1 --json"


def batch(runs: Runs, slurm: Slurm, line: str, *directives: str) -> str:
    """Run a line in a batch job of two nodes and give what it printed."""
    script = runs.root / "own.sh"
    wanted = "\n".join(f"#SBATCH {each}" for each in ("--nodes=2", "--ntasks-per-node=1", *directives))
    script.write_text(f"#!/bin/bash\n{wanted}\n{line}\n")
    id = slurm("sbatch", "--parsable", f"--chdir={runs.root}", "--output=out", script).strip()
    state = slurm.ended(id)
    said = (runs.root / "out").read_text()
    assert state == "COMPLETED", said
    return said


def nodes(runs: Runs, map: int, tasks: int) -> tuple[int, set[int]]:
    """Give the ranks of the only job, and those that tasks ran on."""
    registry = runs.registry()
    reads = Reads(registry.database)
    (job,) = reads.jobs()
    ranks = {reads.context(a.context).rank for index in range(tasks) for a in reads.attempts(map, index)}
    registry.close()
    return job.ranks, ranks


def test_by_srun(runs: Runs, slurm: Slurm, witness: Witness, mpich: Launcher) -> None:
    map = runs.submit("t", ["sh", "-c", witness.shell("{x}") + "; sleep 0.2"], 10)
    said = batch(runs, slurm, f"srun --mpi=pmi2 -K1 --cpu-bind=none {RUN}")
    assert said.count('"succeeded":10') == 1
    assert witness.counts() == {str(x): 1 for x in range(10)}
    assert nodes(runs, map, 10) == (2, {0, 1})


def test_by_mpiexec(runs: Runs, slurm: Slurm, witness: Witness, mpi: Launcher) -> None:
    map = runs.submit("t", ["sh", "-c", witness.shell("{x}") + "; sleep 0.2"], 10)
    said = batch(runs, slurm, f"{mpi.mpiexec} -n 2 {RUN}")
    assert said.count('"succeeded":10') == 1, said
    assert witness.counts() == {str(x): 1 for x in range(10)}
    assert nodes(runs, map, 10) == (2, {0, 1})


def test_a_task_may_use_srun_itself(runs: Runs, slurm: Slurm, witness: Witness, mpich: Launcher) -> None:
    runs.submit("t", ["sh", "-c", f"srun -n 1 --overlap echo {{x}} >>'{witness.path}'"], 3)
    said = batch(runs, slurm, f"srun --mpi=pmi2 -K1 --overlap --cpu-bind=none {RUN}")
    assert said.count('"succeeded":3') == 1, said
    assert witness.counts() == {str(x): 1 for x in range(3)}


def test_a_run_in_ones_own_allocation_is_over_by_what_slurm_says(
    runs: Runs, slurm: Slurm, witness: Witness
) -> None:
    runs.submit("t", ["sh", "-c", witness.shell("{x}") + "; exec sleep 600"], 1)
    script = runs.root / "own.sh"
    script.write_text(f"#!/bin/bash\n{RUN}\n")
    id = slurm("sbatch", "--parsable", f"--chdir={runs.root}", "--output=out", script).strip()
    slurm.until(witness.lines, "the task began")
    cli = Cli(runs.root)
    (row,) = cli("job", "list", "--json").json["jobs"]
    assert (row["scheduler"], row["scheduler_id"], row["scheduler_state"]) == ("slurm", id, "running")
    assert cli("job", "cancel", str(row["id"])).exit == 0
    slurm.ended(id)
    assert runs.counts("t") == {"pending": 1}
