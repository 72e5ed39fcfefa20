"""What judges killed runs sees what is wrong with them, and finds every kind of victim."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures.killed_study import KilledStudy
from fixtures.launchers import Launcher
from fixtures.processes import MARK
from fixtures.runs import Runs, until
from fixtures.victims import look
from fixtures.witness import Witness

Lines = list[str]


def changed(before: str, after: str) -> Callable[[Lines], Lines]:
    def change(lines: Lines) -> Lines:
        assert before in lines
        return [after if line == before else line for line in lines if line != before or after]

    return change


TAMPERED: dict[str, tuple[Callable[[Lines], Lines], list[str]]] = {
    "nothing": (lambda lines: lines, []),
    "an execution that is not recorded": (
        lambda lines: [*lines, "began scan/2#2"],
        ["scan/2: attempts {2} were executed and are not recorded",
         "scan/2: 2 executions, but the attempts are ['succeeded']"],
    ),
    "an attempt that was executed twice": (
        lambda lines: [*lines, "began psi/2#1"],
        ["psi/2: 2 executions, but the attempts are ['succeeded']",
         "psi/2: one attempt was executed twice: {1: 2}"],
    ),
    "a result that nobody made": (
        changed("began norm/1#1", ""),
        ["norm/1: attempts {1} have succeeded and were never executed",
         "norm/1: 0 executions, but the attempts are ['succeeded']"],
    ),
    "a task that is in no map": (lambda lines: [*lines, "began gap/99#1"], ["gap/99 was executed and is in no map"]),
    "an attempt beside another": (
        lambda lines: [*lines, "overlaps table/0#1"], ["table/0#1 began while an earlier attempt lived"],
    ),
}  # fmt: skip


def test_whatever_does_not_fit_is_seen(project_dir: Path, witness: Witness, no_strays: None) -> None:
    study = KilledStudy(project_dir, witness, os.environ)
    assert study.submit(4) == ""
    subprocess.run(study.command("run", "-j", "2"), cwd=project_dir, check=True, capture_output=True)
    lines = witness.lines()
    for name, (tamper, problems) in TAMPERED.items():
        study.witness = Witness(witness.path.with_name("tampered.txt"))
        study.witness.path.write_text("".join(f"{line}\n" for line in tamper(lines)))
        assert sorted(study.judge()[1]) == sorted(problems), name
    study.witness = witness
    study.points += 1
    assert "scan: {'succeeded': 4} instead of 5 succeeded" in study.judge()[1]


def kinds(process: subprocess.Popen[str]) -> set[str]:
    return {one.kind for one in look(MARK, os.environ[MARK], {process.pid}) if one.run == process.pid}


def test_every_process_of_a_run_is_known(runs: Runs, witness: Witness) -> None:
    (runs.root / "slow.py").write_text("import time\n\ndef f(x):\n    print(x)\n    time.sleep(60 * (x > 1))\n")
    runs.submit("f", "slow.py:f", 3)
    runs.submit("c", ["sh", "-c", witness.shell("{x}") + "; sleep 60; true"], 1)
    process = runs.start("-j", "2")
    wanted = {"run", "spawner", "nursery", "child", "syncer", "task", "other"}
    until(lambda: kinds(process) == wanted, "all are there")
    process.kill()
    process.communicate()


@pytest.mark.usefixtures("mpi")
def test_every_process_of_a_run_over_mpi_is_known(runs: Runs, witness: Witness, mpi: Launcher) -> None:
    runs.submit("c", ["sh", "-c", witness.shell("{x}") + "; exec sleep 60"], 2)
    process = runs.start("--mpi", "2", "-j", "1")
    wanted = {"run", "mpiexec", "manager", "rank", "spawner", "task"} | ({"proxy"} if mpi.name == "mpich" else set())
    until(lambda: kinds(process) == wanted, "all are there")
    process.kill()
    process.communicate()
