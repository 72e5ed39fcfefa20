"""Why tasks wait, are pending or run; why maps, jobs and files are as they are; always with the next command."""

from __future__ import annotations

import os
import time

import pytest

from fixtures.asked import ask
from fixtures.lab import Dependency, Fate, Lab, fails, gives, xs
from provrun.core.events import ended_as
from provrun.core.judging import Judge
from provrun.core.records import JobRecord, Policy, Recipe
from provrun.core.states import Outcome
from provrun.errors import UsageError
from provrun.query.why import TASKS
from provrun.query.why_attempt import ATTEMPTS
from provrun.query.why_map import MAPS


def test_situations_have_names_of_their_own() -> None:
    for table in (TASKS, ATTEMPTS, MAPS):
        names = [situation.name for situation in table]
        assert len(set(names)) == len(names)


# Waiting


def test_a_task_waits_for_its_upstream_task(lab: Lab) -> None:
    lab.submit("scan", xs(1, 2))
    lab.submit("obs", [{"k": 1}], on=[Dependency(upstream="scan", kind="each")])
    answer = ask(lab, "obs/1")
    assert answer.situation == "waiting"
    assert "needs scan/1 (1 of 1 missing)" in answer.because
    assert "  pending: scan/1" in answer.details
    assert answer.next == "provrun run obs"


def test_a_reduce_tells_how_many_are_missing_and_which(lab: Lab) -> None:
    lab.submit("scan", xs(*range(9)))
    lab.submit("stat", [{"k": 1}], on=[Dependency(upstream="scan", kind="all")])
    lab.run("scan", limit=7)
    answer = ask(lab, "stat/0")
    assert "needs all of scan (2 of 9 missing)" in answer.because
    assert "  pending: scan/7, scan/8" in answer.details


def test_a_group_tells_what_it_groups_by(lab: Lab) -> None:
    lab.submit("scan", [{"L": size, "seed": seed} for size in (4, 8) for seed in range(3)])
    lab.submit("stat", [{"k": 1}], on=[Dependency(upstream="scan", kind="group", by=("L",))])
    lab.run("scan", gives(0), limit=4)
    answer = ask(lab, "stat/1")
    assert answer.situation == "waiting"
    assert "needs its group of scan by L (2 of 3 missing)" in answer.because
    assert "  pending: scan/4, scan/5" in answer.details


def test_a_chunk_and_an_order_tell_what_they_wait_for(lab: Lab) -> None:
    lab.submit("scan", xs(*range(4)))
    lab.submit("sums", [{"k": 1}], on=[Dependency(upstream="scan", kind="chunk", chunk=2)])
    lab.submit("later", [{"k": 1}], on=[Dependency(upstream="scan", kind="after")])
    assert "needs its 2 tasks of scan (2 of 2 missing)" in ask(lab, "sums/1").because
    assert "runs after scan (4 of 4 missing)" in ask(lab, "later/0").because


def test_waiting_for_a_failed_task_is_told_as_hopeless(lab: Lab) -> None:
    lab.submit("scan", xs(1, 2))
    lab.submit("stat", [{"k": 1}], on=[Dependency(upstream="scan", kind="all")])
    lab.run("scan", fails(Outcome.EXIT, detail=1), limit=1)
    answer = ask(lab, "stat/0")
    assert answer.situation == "waits-for-failed"
    assert "scan/0 has failed" in answer.because
    assert answer.next == "provrun why scan/0"
    lab.submit("calm", [{"k": 1}], on=[Dependency(upstream="scan", kind="all", on_failed="skip")])
    assert ask(lab, "calm/0").situation == "waiting"


def test_waiting_for_a_cancelled_task_is_told_as_hopeless(lab: Lab) -> None:
    lab.submit("scan", xs(1))
    lab.submit("obs", [{"k": 1}], on=[Dependency(upstream="scan", kind="each")])
    lab.registry.cancel(lab.project.map("scan").id, None)
    answer = ask(lab, "obs/0")
    assert (answer.situation, "scan/0 was cancelled" in answer.because) == ("waits-for-failed", True)


def test_waiting_for_a_paused_map_says_so(lab: Lab) -> None:
    lab.submit("scan", xs(1))
    lab.submit("obs", [{"k": 1}], on=[Dependency(upstream="scan", kind="each")])
    lab.registry.pause(lab.project.map("scan").id, True)
    assert ask(lab, "obs/0").next == "provrun resume scan"


# Pending


def test_pending_without_a_job(lab: Lab) -> None:
    lab.submit("scan", xs(1))
    answer = ask(lab, "scan/0")
    assert (answer.situation, answer.next) == ("no-job", "provrun run scan")


def test_pending_in_a_paused_map(lab: Lab) -> None:
    lab.submit("scan", xs(1))
    lab.registry.pause(lab.project.map("scan").id, True)
    answer = ask(lab, "scan/0")
    assert (answer.situation, answer.next) == ("paused", "provrun resume scan")


def test_pending_after_its_job_was_lost(lab: Lab) -> None:
    lab.submit("scan", xs(1))
    job = lab.open_job()
    lab.claim("scan", job)
    lab.registry.abandon(job.id, lab.at)
    answer = ask(lab, "scan/0")
    assert answer.situation == "no-job"
    assert "its last attempt was lost with its job" in answer.because


def test_pending_after_its_allocation_ended(lab: Lab) -> None:
    lab.submit("scan", xs(1))
    job = lab.open_job()
    (one,) = lab.claim("scan", job)
    verdict = Judge({one.map: Policy()}).stopped(one, 3480.0)
    lab.registry.record(job.id, [ended_as(verdict, lab.context(job))])
    lab.registry.close_job(job.id, "ended", "walltime", lab.at)
    because = ask(lab, "scan/0").because
    assert because.endswith("; its last attempt ran 58m00s and was stopped when its allocation ended")


def test_pending_after_it_has_left_a_checkpoint(lab: Lab) -> None:
    lab.submit("scan", xs(1), policy=Policy(checkpoint=True))
    job = lab.open_job()
    lab.claim("scan", job)
    lab.registry.abandon(job.id, lab.at)
    assert ask(lab, "scan/0").because.endswith("; its next attempt goes on from its checkpoint")


def test_pending_to_be_retried_tells_how_often_more(lab: Lab) -> None:
    lab.submit("scan", xs(1), policy=Policy(retries=3))
    lab.run("scan", fails(Outcome.EXIT, detail=1, error="no luck"), limit=1)
    answer = ask(lab, "scan/0")
    assert "it failed once by its own fault; 2 further failures will be retried" in answer.details
    assert any("scan/0#1  exit" in line and "no luck" in line for line in answer.details)


def test_pending_and_too_wide_for_any_running_job(lab: Lab, living_job: JobRecord) -> None:
    lab.submit("wide", xs(1), policy=Policy(cores=16))
    answer = ask(lab, "wide/0")
    assert (answer.situation, answer.next) == ("does-not-fit", "provrun run wide -j 16")
    assert "takes 16 cores, and the widest job has 2 slots" in answer.because
    assert living_job.slots == 2
    lab.submit("nodes", xs(1), policy=Policy(task_nodes=3))
    answer = ask(lab, "nodes/0")
    assert (answer.situation, answer.next) == ("does-not-fit", "provrun launch nodes --nodes 3")
    assert "it takes 3 nodes, and the largest job has 1 rank" in answer.because


def test_pending_behind_others_and_next_in_line(lab: Lab, living_job: JobRecord) -> None:
    lab.submit("scan", xs(*range(50)))
    lab.submit("urgent", xs(1, 2))
    lab.registry.set_priority(lab.project.map("urgent").id, None, 5)
    answer = ask(lab, "scan/30")
    assert answer.situation == "behind-others"
    assert "32 tasks go first" in answer.because
    first = ask(lab, "urgent/0")
    assert first.situation == "next"
    assert f"job:{living_job.id}" in first.because


# Running


def test_running_tells_the_job_that_has_it(lab: Lab, living_job: JobRecord) -> None:
    lab.submit("scan", xs(1), policy=Policy(task_time=90))
    lab.claim("scan", living_job)
    answer = ask(lab, "scan/0")
    assert answer.situation == "running"
    assert f"held by job:{living_job.id} on n1" in answer.because
    assert "its time limit is 1m30s" in answer.details


def sign_of_life(lab: Lab, lock: str) -> None:
    folder = lab.project.dir / "jobs"
    folder.mkdir(exist_ok=True)
    (folder / lock).touch()


def test_running_with_a_job_that_is_over_asks_to_recover(lab: Lab) -> None:
    lab.submit("scan", xs(1))
    job = lab.open_job(owner={"lock": "far.lock", "host": "elsewhere", "boot": "another", "pid": 1})
    lab.claim("scan", job)
    sign_of_life(lab, "far.lock")
    assert ask(lab, "scan/0").situation == "running", "another host's job cannot be judged from here"
    job = lab.open_job(owner={"lock": "gone.lock", "host": os.uname().nodename, "boot": "before", "pid": 1})
    lab.submit("scan", xs(1, 2))
    lab.claim("scan", job)
    answer = ask(lab, "scan/1")
    assert (answer.situation, answer.next) == ("job-is-over", "provrun recover scan")


def test_pending_with_a_job_in_the_queue_names_it(lab: Lab) -> None:
    lab.submit("scan", xs(1))
    job = lab.open_job(owner={"scheduler": "slurm"}, state="queued", started=time.time_ns() // 1000)
    answer = ask(lab, "scan/0")
    assert (answer.situation, answer.next) == ("job-is-queued", f"provrun why job:{job.id}")
    assert answer.because == f"it is pending, and job:{job.id} (slurm) is still queued"
    assert ask(lab, "scan").because == f"1 task of it is pending, and job:{job.id} is still queued"
    lab.open_job(owner={"scheduler": "slurm"}, state="queued", started=time.time_ns() // 1000)
    assert ask(lab, "scan/0").because.endswith("(slurm) are still queued")
    assert ask(lab, "scan").because.endswith(" are still queued")
    assert ask(lab, f"job:{job.id}").situation == "job-queued"


# Maps and the rest


def test_a_map_is_explained_by_what_holds_it_up(lab: Lab) -> None:
    lab.submit("scan", xs(1, 2))
    lab.submit("stat", [{"k": 1}], on=[Dependency(upstream="scan", kind="all")])
    assert ask(lab, "scan").situation == "map-pending"
    assert ask(lab, "stat").because == "1 task of it wait for scan"
    job = lab.open_job(owner={"lock": "x", "boot": "other"})
    sign_of_life(lab, "x")
    claimed = lab.claim("scan", job)
    assert ask(lab, "scan").situation == "map-running"
    lab.end(job, claimed, lambda params, number: Fate(Outcome.EXIT, detail=1) if params["x"] == 2 else Fate(result=1))
    answer = ask(lab, "scan")
    assert (answer.situation, answer.next) == ("map-failed", "provrun why scan/1")
    assert "1 attempt ended as exit" in answer.details
    lab.registry.retry(lab.project.map("scan").id, None, time=None, memory=None)
    lab.run("scan")
    assert ask(lab, "scan").situation == "map-done"
    lab.registry.close_job(job.id, "ended", "", lab.at)


def test_a_stale_map_says_what_changed(lab: Lab) -> None:
    lab.use("model.py", "one")
    lab.submit("scan", xs(1))
    lab.run("scan")
    (lab.root / "model.py").write_text("two")
    answer = ask(lab, "scan")
    assert answer.situation == "map-stale"
    assert "model.py" in answer.because


def test_jobs_are_explained(lab: Lab, living_job: JobRecord) -> None:
    lab.submit("scan", xs(1))
    ended = lab.run("scan")
    assert ask(lab, f"job:{living_job.id}").situation == "job-running"
    assert ask(lab, f"job:{ended}").situation == "job-ended"
    lost = lab.open_job()
    lab.registry.abandon(lost.id, lab.at)
    assert ask(lab, f"job:{lost.id}").situation == "job-lost"


def test_a_file_is_explained_by_the_task_that_made_it(lab: Lab) -> None:
    lab.submit("scan", xs(1), recipe=Recipe(kind="command", words=("a",), outputs={"out": "out"}))
    lab.run("scan", lambda params, number: Fate(outputs={"out": ("out", b"content")}))
    assert ask(lab, f"{lab.root}/out").ref == "scan/0"


def test_code_cannot_be_asked_why(lab: Lab) -> None:
    lab.submit("scan", xs(1))
    with pytest.raises(UsageError, match="nothing to explain"):
        ask(lab, f"code:{lab.commit.digest[:8]}")
