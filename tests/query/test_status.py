"""How maps stand, and which results are stale."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from fixtures.lab import Dependency, Fate, Lab, double, fails, gives, xs
from provrun.core.environment import Environment, Package
from provrun.core.records import JobRecord, Policy
from provrun.core.states import Outcome
from provrun.project import asking

KEYS = ["name", "state", "ntasks", "stale", "noresult", "rate", "eta_seconds", "core_hours", "user", "jobs"]
STATES = ["waiting", "pending", "running", "succeeded", "failed", "cancelled"]


def status(lab: Lab, name: str = "scan", *, check: bool = False) -> dict[str, Any]:
    return asking.status(lab.project, [name], check=check)[0]


def test_a_status_has_the_promised_keys(lab: Lab) -> None:
    lab.submit("scan", xs(1, 2, 3))
    document = status(lab)
    assert list(document)[: len(KEYS)] == KEYS
    assert list(document["ntasks"]) == STATES
    assert document["ntasks"]["pending"] == 3
    assert (document["state"], document["user"], document["jobs"]) == ("pending", "ada", [])
    assert (document["rate"], document["eta_seconds"], document["core_hours"]) == (None, None, 0)


def test_the_state_of_a_map_is_what_is_left_to_do_else_the_worst_that_came(lab: Lab) -> None:
    lab.submit("scan", xs(1, 2))
    lab.submit("stat", [{"k": 1}], on=[Dependency(upstream="scan", kind="all")])
    assert (status(lab)["state"], status(lab, "stat")["state"]) == ("pending", "waiting")
    lab.registry.pause(lab.project.map("scan").id, True)
    assert status(lab)["state"] == "paused"
    lab.registry.pause(lab.project.map("scan").id, False)
    lab.run("scan", fails(Outcome.EXIT, detail=1), limit=1)
    lab.run("scan", limit=1)
    assert status(lab)["state"] == "failed"
    lab.registry.retry(lab.project.map("scan").id, None, time=None, memory=None)
    lab.run("scan")
    assert (status(lab)["state"], status(lab, "stat")["state"]) == ("succeeded", "pending")
    lab.submit("none", [])
    assert status(lab, "none")["state"] == "empty"


def test_rate_and_time_left_are_those_of_the_running_job(lab: Lab, living_job: JobRecord) -> None:
    lab.submit("scan", xs(*range(10)))
    claimed = lab.claim("scan", living_job, limit=6)
    lab.end(living_job, claimed[:4], double)
    view = lab.view()
    document = status(lab)
    assert document["jobs"] == [living_job.id]
    assert document["state"] == "running"
    [tally] = view.reads.tallies(view.map("scan").id)
    assert tally.first is not None
    rate = 4 / ((view.now - tally.first) / 1e6)
    assert abs(document["rate"] / rate - 1) < 0.01
    assert abs(document["eta_seconds"] * document["rate"] - 6) < 1e-6


def test_the_rate_of_a_map_that_is_done_is_that_of_its_last_job(lab: Lab) -> None:
    lab.submit("scan", xs(*range(4)), policy=Policy(cores=3))
    lab.run("scan")
    document = status(lab)
    assert document["rate"] == 4 / 4.5  # the last of four began three seconds after the first and took 1.5
    assert document["eta_seconds"] == 0
    assert document["core_hours"] == 4 * 1.5 * 3 / 3600


def test_tasks_without_a_result_count_only_where_others_have_one(lab: Lab) -> None:
    lab.submit("scan", xs(1, 2, 3))
    lab.run("scan", gives(None), limit=2)
    assert status(lab)["noresult"] == 0
    lab.run("scan", gives(5))
    assert status(lab)["noresult"] == 2
    lab.registry.rerun(lab.project.map("scan").id, [0])
    assert status(lab)["noresult"] == 1


def test_a_changed_file_of_the_recipe_makes_its_results_stale(lab: Lab) -> None:
    lab.use("model.py", "one")
    lab.submit("scan", xs(1, 2))
    lab.run("scan")
    assert status(lab)["stale"] == 0
    (lab.root / "README.md").write_text("changed elsewhere")
    assert status(lab)["stale"] == 0
    (lab.root / "model.py").write_text("two")
    assert status(lab)["stale"] == 2
    assert [row["stale"] for row in lab.rows("scan", "stale")] == [True, True]
    (lab.root / "model.py").write_text("one")
    assert status(lab)["stale"] == 0
    (lab.root / "model.py").unlink()
    assert status(lab)["stale"] == 2


def test_only_results_made_with_other_code_are_stale(lab: Lab) -> None:
    lab.use("model.py", "one")
    lab.submit("scan", xs(1, 2, 3))
    lab.run("scan", limit=2)
    lab.use("model.py", "two")
    lab.run("scan")
    assert status(lab)["stale"] == 2
    assert [row["stale"] for row in lab.rows("scan")] == [True, True, False]
    lab.registry.rerun(lab.project.map("scan").id, [0, 1])
    assert status(lab)["stale"] == 0
    lab.run("scan")
    assert status(lab)["stale"] == 0


def test_a_changed_program_and_a_changed_shared_input_make_results_stale(lab: Lab) -> None:
    lab.use("tool", "binary")
    lab.tools = [{"path": str(lab.root / "tool"), "sha256": lab.uses.pop("tool"), "version": None}]
    lab.use("table.csv", "1,2")
    lab.shared = [("table.csv", lab.uses.pop("table.csv"), 3)]
    lab.submit("scan", xs(1))
    lab.run("scan")
    assert status(lab)["stale"] == 0
    (lab.root / "tool").write_text("another")
    assert status(lab)["stale"] == 1
    (lab.root / "tool").write_text("binary")
    (lab.root / "table.csv").write_text("3,4")
    assert status(lab)["stale"] == 1


def test_programs_of_another_node_are_compared_only_where_they_are_there_and_none_of_the_system(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.submit("scan", xs(1))
    lab.tools = [{"path": path, "sha256": "0" * 64, "version": None} for path in ("/opt/none/solve", "/bin/sh")]
    lab.run("scan")
    assert status(lab)["stale"] == 0
    monkeypatch.setenv("SLURMD_NODENAME", "n1")
    assert status(lab)["stale"] == 1
    assert asking.why_text(lab.project, "scan/0").count("is not what it was") == 1


def test_results_are_stale_when_the_software_captured_last_is_another(lab: Lab) -> None:
    lab.submit("scan", xs(1, 2))
    lab.run("scan")
    lab.python = Environment(python="3.11.7", implementation="cpython", packages=(Package("numpy", "2.2"),))
    assert status(lab)["stale"] == 0
    lab.submit("later", xs(1))
    assert status(lab)["stale"] == 2
    assert status(lab)["software_captured"] == "2023-11-14T22:13:24.000000+00:00"


def test_other_numbers_of_threads_make_no_result_stale(lab: Lab) -> None:
    lab.submit("scan", xs(1, 2))
    lab.run("scan", lambda params, number: Fate(result=1))
    lab.python = structs.replace(lab.python, variables={"OMP_NUM_THREADS": "4"})
    lab.submit("later", xs(1))
    assert status(lab)["stale"] == 0
    lab.python = structs.replace(lab.python, variables={"PYTHONHASHSEED": "1"})
    lab.submit("last", xs(1))
    assert status(lab)["stale"] == 2


def test_a_changed_input_of_one_task_shows_in_its_row_and_counts_when_every_result_is_looked_at(lab: Lab) -> None:
    lab.submit("scan", xs(1, 2))
    for x in (1, 2):
        (lab.root / f"{x}.dat").write_text("data")
    lab.run("scan", lambda params, number: Fate(result=1, inputs=[f"{params['x']}.dat"]))
    (lab.root / "2.dat").write_text("other")
    assert [row["stale"] for row in lab.rows("scan")] == [False, True]
    assert status(lab)["stale"] == 0
    lab.python = asking_environment()
    lab.submit("now", xs(1))
    assert status(lab, check=True)["stale"] == 2  # both ran with the lab's software, which is not that of this moment


def asking_environment() -> Environment:
    from provrun.record.environment import capture_environment

    return capture_environment()


def test_a_result_is_stale_when_what_it_read_was_run_again_with_another_result(lab: Lab) -> None:
    lab.submit("scan", xs(1, 2))
    lab.run("scan", gives(1))
    lab.submit("obs", [{"k": 0}], on=[Dependency(upstream="scan", kind="each")])
    lab.run("obs", gives(0))
    assert [row["stale"] for row in lab.rows("obs")] == [False, False]
    lab.registry.rerun(lab.project.map("scan").id, [1])
    assert [row["stale"] for row in lab.rows("obs")] == [False, True]
    lab.run("scan", gives(1))
    assert [row["stale"] for row in lab.rows("obs")] == [False, False]
    lab.registry.rerun(lab.project.map("scan").id, [1])
    lab.run("scan", gives(2))
    assert [row["stale"] for row in lab.rows("obs")] == [False, True]


def test_a_reduce_over_many_is_stale_when_one_of_them_has_another_result(lab: Lab) -> None:
    lab.submit("scan", xs(*range(40)))
    lab.run("scan")
    lab.submit("stat", [{"k": 0}], on=[Dependency(upstream="scan", kind="all")])
    lab.run("stat", gives(0))
    assert [row["stale"] for row in lab.rows("stat")] == [False]
    lab.registry.rerun(lab.project.map("scan").id, [7])
    lab.run("scan", gives(-1))
    assert [row["stale"] for row in lab.rows("stat")] == [True]


def test_the_sums_follow_reruns_lost_jobs_and_growth(lab: Lab) -> None:
    lab.submit("scan", xs(1, 2))
    lab.run("scan")
    lab.submit("stat", [{"k": 0}], on=[Dependency(upstream="scan", kind="all")])
    lab.run("stat", gives(0))
    lab.submit("scan", xs(1, 2, 3))
    assert sum(tally.accepted for tally in lab.view().reads.tallies(lab.project.map("stat").id)) == 0
    job = lab.open_job()
    lab.claim("scan", job)
    lab.registry.abandon(job.id, lab.at)
    outcomes = {tally.outcome: tally.attempts for tally in lab.view().reads.tallies(lab.project.map("scan").id)}
    assert outcomes == {Outcome.SUCCEEDED: 2, Outcome.LOST: 1}
