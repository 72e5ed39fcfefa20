"""Files of jobs that were killed go with the next look at the registry."""

from __future__ import annotations

import os
import signal
import time

from fixtures.runs import Runs, until
from fixtures.witness import Witness
from provrun.project.recovering import recover


def left(runs: Runs) -> set[str]:
    folder = runs.root / ".provrun"
    return {path.name for name in ("jobs", "tmp") for path in folder.glob(f"{name}/*")} - {"digests", "used"}


def look(runs: Runs) -> None:
    project = runs.project()
    recover(project)
    project.close()


def test_files_of_a_killed_job_go_and_those_of_one_that_lives_stay(runs: Runs, witness: Witness) -> None:
    runs.submit("t", ["sh", "-c", witness.shell("{x}") + "; exec sleep 60"], 1)
    process = runs.start()
    until(witness.lines, "the task began")
    look(runs)
    (lock,) = left(runs)
    process.kill()
    process.communicate()
    uuid, tmp = lock.removesuffix(".lock"), runs.root / ".provrun" / "tmp"
    (tmp / f"{uuid}-rows").mkdir(parents=True)
    for suffix in ("plan", "hosts"):
        (tmp / f"{uuid}.{suffix}").touch()
    look(runs)
    assert left(runs) == set()


def test_what_a_job_that_ended_well_did_not_come_to_remove_goes(runs: Runs) -> None:
    runs.submit("t", ["true"], 1)
    assert runs.run().exit == 0
    registry = runs.registry()
    [uuid] = registry.database.fetch("select uuid from job")[0]
    registry.close()
    (runs.root / ".provrun" / "jobs" / f"{uuid}.lock").touch()
    look(runs)
    assert left(runs) == set()


def test_files_of_a_job_that_nobody_knows_stay_for_an_hour(runs: Runs) -> None:
    runs.submit("t", ["true"], 1)
    folder = runs.root / ".provrun"
    for name in ("jobs", "tmp"):
        (folder / name).mkdir(exist_ok=True)
    young, old = folder / "tmp" / "young.plan", folder / "jobs" / "old.lock"
    for path in (young, old):
        path.touch()
    os.utime(old, (time.time() - 3700,) * 2)
    look(runs)
    assert left(runs) == {"young.plan"}


def test_a_run_killed_at_its_start_leaves_nothing_that_a_later_one_minds(runs: Runs) -> None:
    runs.submit("t", ["true"], 3)
    process = runs.start()
    until(lambda: list((runs.root / ".provrun" / "jobs").glob("*.lock")), "it has its lock")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert runs.run().exit == 0
    assert runs.counts("t") == {"succeeded": 3}
