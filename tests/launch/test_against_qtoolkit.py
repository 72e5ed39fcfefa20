"""Where qtoolkit speaks the same dialects, it says the same: directives of one request, and what states mean."""

from __future__ import annotations

from typing import Any

import pytest

from fixtures.parts import lacking
from provrun.core.allocation import Request, Stage
from provrun.launch.dialect import Answer, Dialect
from provrun.launch.pbs import Pbs
from provrun.launch.slurm import Slurm

REQUEST = Request(
    scheduler="", nodes=4, slots=24, time=5400, queue="short", account="phys", name="n", output="/p/out", folder="/p",
    command=("true",),
)
# Its states, and ours that mean the same; a suspended job still holds its nodes, a requeued one will run.
MEANING = {
    "QUEUED": {Stage.QUEUED}, "REQUEUED": {Stage.QUEUED, Stage.HELD, Stage.UNKNOWN}, "QUEUED_HELD": {Stage.HELD},
    "RUNNING": {Stage.RUNNING, Stage.ENDING, Stage.QUEUED}, "SUSPENDED": {Stage.RUNNING},
    "DONE": {Stage.COMPLETED, Stage.ENDED},
    "FAILED": {
        Stage.FAILED, Stage.TIMEOUT, Stage.CANCELLED, Stage.NODE_FAIL, Stage.PREEMPTED, Stage.HELD,
    },
}


@pytest.fixture
def theirs() -> Any:
    try:
        import qtoolkit.core.data_objects
        import qtoolkit.io.pbs
        import qtoolkit.io.slurm
    except ImportError:
        lacking("no qtoolkit: pip install qtoolkit")
    return qtoolkit


def directives(script: str, sentinel: str) -> set[str]:
    found = (line.removeprefix(sentinel).strip() for line in script.splitlines() if line.startswith(sentinel))
    return {line.replace("1:30:0", "01:30:00") if line.endswith("=1:30:0") else line for line in found}


def test_a_script_for_slurm_asks_for_the_same(theirs: Any) -> None:
    resources = theirs.core.data_objects.QResources(
        queue_name="short", job_name="n", account="phys", nodes=4, processes_per_node=1, threads_per_process=24,
        time_limit=5400, output_filepath="/p/out", rerunnable=False,
    )
    expected = directives(theirs.io.slurm.SlurmIO().get_submission_script(["true"], resources), "#SBATCH")
    assert len(expected) > 5
    assert expected - directives(Slurm().render(REQUEST), "#SBATCH") == {"--time=0-1:30:0"}  # written another way


def test_a_script_for_pbs_asks_for_the_same(theirs: Any) -> None:
    resources = theirs.core.data_objects.QResources(
        queue_name="short", job_name="n", account="phys", nodes=4, processes_per_node=1, threads_per_process=24,
        time_limit=5400, output_filepath="/p/out", rerunnable=False,
    )
    expected = directives(theirs.io.pbs.PBSIO().get_submission_script(["true"], resources), "#PBS")
    assert len(expected) > 5
    assert expected - directives(Pbs().render(REQUEST), "#PBS") == {
        "-l select=4:ncpus=24:mpiprocs=1:ompthreads=24",  # provrun sets the threads of tasks itself
    }


@pytest.mark.parametrize("name", ["slurm", "pbs"])
def test_every_state_means_the_same(theirs: Any, name: str) -> None:
    dialect: Dialect
    if name == "slurm":
        states, dialect = theirs.io.slurm.SlurmState, Slurm()
    else:
        states, dialect = theirs.io.pbs.PBSState, Pbs()
    for state in states:
        line = f"1|{state.value}|None|1|2|n1|x\n"
        block = f"Job Id: 1.s\n    job_state = {state.value}\n    Exit_status = 0\n"
        (told,) = dialect.told(Answer(0, line if name == "slurm" else block, ""), ["1", "1.s"]).values()
        assert told.stage in MEANING[state.qstate.name], f"{state.value}: {told.stage}, there {state.qstate.name}"
