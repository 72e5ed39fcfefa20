"""Slurm as text: the script, and what its answers mean."""

from __future__ import annotations

import pytest

from provrun.core.allocation import Request, Stage
from provrun.launch.dialect import Answer, Unreadable
from provrun.launch.slurm import Slurm

REQUEST = Request(
    scheduler="slurm", nodes=4, slots=24, time=5400.5, queue="short", account="phys", exclude=("n3", "n7"),
    options=(("constraint", "skylake"), ("requeue", "")), setup=("module load gcc",), environ={"PATH": "/a b:/bin"},
    after="41", name="provrun-u", output="/p/.provrun/launch/u.out", folder="/p", command=("python", "-P", "plan file"),
)


def test_a_script_says_everything_that_was_asked_for() -> None:
    assert Slurm().render(REQUEST).splitlines() == [
        "#!/bin/bash -l",
        "#SBATCH --job-name=provrun-u",
        "#SBATCH --nodes=4",
        "#SBATCH --ntasks-per-node=1",
        "#SBATCH --cpus-per-task=24",
        "#SBATCH --time=01:30:01",
        "#SBATCH --partition=short",
        "#SBATCH --account=phys",
        "#SBATCH --exclude=n3,n7",
        "#SBATCH --dependency=afterany:41",
        "#SBATCH --chdir=/p",
        "#SBATCH --output=/p/.provrun/launch/u.out",
        "#SBATCH --open-mode=append",
        "#SBATCH --no-requeue",
        "#SBATCH --no-kill",
        "#SBATCH --mail-type=NONE",
        "#SBATCH --constraint=skylake",
        "#SBATCH --requeue",
        "",
        "export PATH='/a b:/bin'",
        "cd /p || exit 1",
        "module load gcc",
        "exec python -P 'plan file' </dev/null",
    ]


def test_without_slots_the_nodes_are_the_jobs_alone() -> None:
    lines = Slurm().render(Request(scheduler="slurm", command=("true",))).splitlines()
    assert "#SBATCH --exclusive" in lines
    assert "#SBATCH --mem=0" in lines
    assert lines[0] == "#!/bin/bash"


@pytest.mark.parametrize(("out", "id"), [("123\n", "123"), ("123;gpu\n", "123"), ("hello from the site\n7\n", "7")])
def test_the_id_of_a_submitted_job(out: str, id: str) -> None:
    assert Slurm().submitted(Answer(0, out, "")) == id


@pytest.mark.parametrize("answer", [Answer(1, "123\n", "error"), Answer(0, "", ""), Answer(0, "Submitted\n", "")])
def test_what_names_no_id_is_no_submission(answer: Answer) -> None:
    with pytest.raises(Unreadable):
        Slurm().submitted(answer)


def test_a_query_tells_stage_name_and_times() -> None:
    out = (
        "4|RUNNING|None|1700000000|1700003600|n[1-2]|provrun-u\n"
        "5|PENDING|JobHeldUser|1700000001|N/A||a|b\n"
        "6|TIMEOUT|TimeLimit|1700000002|1700000099|n1|x\n"
        "8|RUNNING|None|1700000000|1700003600|n4|not asked for\n"
    )
    told = Slurm().told(Answer(0, out, ""), ["4", "5", "6", "7"])
    assert {id: each.stage for id, each in told.items()} == {"4": Stage.RUNNING, "5": Stage.HELD, "6": Stage.TIMEOUT}
    assert (told["4"].submitted, told["4"].ends) == (1700000000_000000, 1700003600_000000)
    assert told["5"].name == "a|b"
    assert told["5"].ends is None


def test_an_id_that_is_not_known_is_absent_and_an_error_is_no_answer() -> None:
    unknown = Answer(1, "", "slurm_load_jobs error: Invalid job id specified\n")
    assert Slurm().told(unknown, ["9"]) == {}
    for failed in (Answer(1, "", "Unable to contact slurm controller (connect failure)"), Answer(0, "nonsense\n", "")):
        with pytest.raises(Unreadable):
            Slurm().told(failed, ["9"])


def test_a_state_of_a_later_slurm_is_unknown() -> None:
    told = Slurm().told(Answer(0, "1|EVAPORATED|None|1|2|n1|x\n", ""), ["1"])
    assert told["1"].stage is Stage.UNKNOWN
    assert not told["1"].stage.final
