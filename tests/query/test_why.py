"""Why things are as they are: every situation is told, and ends with the next command."""

from __future__ import annotations

import pytest

from fixtures.lab import SECOND, Dependency, Fate, Lab, fails, gives, xs
from provrun.core.code import Code
from provrun.core.environment import Environment, Package
from provrun.core.records import JobRecord, Policy, Recipe
from provrun.core.states import Outcome
from provrun.errors import UsageError
from provrun.query.situations import Answer
from provrun.query.why import TASKS, why
from provrun.query.why_attempt import ATTEMPTS
from provrun.query.why_map import MAPS


def ask(lab: Lab, ref: str) -> Answer:
    answer = why(*lab.resolve(ref))
    assert answer.next.startswith("provrun "), "every answer ends with a command"
    assert answer.text().endswith(f"next: {answer.next}")
    return answer


def told(answer: Answer) -> str:
    return "\n".join([answer.because, *answer.details])


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


def test_running_with_a_job_that_is_over_asks_to_recover(lab: Lab) -> None:
    lab.submit("scan", xs(1))
    job = lab.open_job(owner={"lock": "gone", "host": "elsewhere", "boot": "another", "pid": 1})
    lab.claim("scan", job)
    assert ask(lab, "scan/0").situation == "running", "another host's job cannot be judged from here"
    import os

    job = lab.open_job(owner={"lock": "gone.lock", "host": os.uname().nodename, "boot": "before", "pid": 1})
    lab.submit("scan", xs(1, 2))
    lab.claim("scan", job)
    answer = ask(lab, "scan/1")
    assert (answer.situation, answer.next) == ("job-is-over", "provrun recover scan")


# Failed


ALONE = "scan --where 'index == 0'"
SEGV = Fate(Outcome.SIGNAL, detail=11, error="killed by SIGSEGV (Segmentation fault)")
RAISED = Fate(Outcome.EXCEPTION, error='  File "a.py"\nValueError: no')
ABSENT = Fate(Outcome.LAUNCHER, error="command not found: nope")


@pytest.mark.parametrize(
    ("fate", "words", "following"),
    [
        (Fate(Outcome.EXIT, detail=7, error="no file"), "exit code 7: no file", "logs scan/0 --err"),
        (SEGV, "SIGSEGV", "logs scan/0 --err"),
        (RAISED, "raised ValueError: no", "logs scan/0 --err"),
        (Fate(Outcome.TIMEOUT, seconds=61), "after 1m01s, at its time limit of 1m00s", f"retry {ALONE} --task-time x2"),
        (Fate(Outcome.MEMORY, rss=3 << 20), "at its limit of 2G (it held 3G)", f"retry {ALONE} --task-memory x2"),
        (ABSENT, "could not be started: command not found: nope", f"retry {ALONE}"),
    ],
)
def test_each_way_to_fail_has_its_own_answer(lab: Lab, fate: Fate, words: str, following: str) -> None:
    lab.submit("scan", xs(1), policy=Policy(task_time=60, task_memory=2 << 30))
    lab.run("scan", lambda params, number: fate)
    answer = ask(lab, "scan/0")
    assert answer.situation == f"failed-{fate.outcome.word}"
    assert words in answer.because
    assert answer.next == f"provrun {following}"
    assert "it was tried once" in told(answer)


def test_a_failure_shows_what_was_captured(lab: Lab) -> None:
    lab.submit("scan", xs(1))
    err = b"".join(b"line %d\n" % n for n in range(30))
    lab.run("scan", fails(Outcome.EXIT, detail=1, out=b"out\n", err=err))
    details = ask(lab, "scan/0").details
    assert "the end of its stderr:" in details
    assert "  line 29" in details and "  line 20" in details and "  line 19" not in details


def test_a_failure_without_stderr_shows_stdout(lab: Lab) -> None:
    lab.submit("scan", xs(1, 2))
    lab.run("scan", fails(Outcome.EXIT, detail=1, out=b"only this\n"), limit=1)
    lab.run("scan", fails(Outcome.EXIT, detail=1), limit=1)
    assert "  only this" in ask(lab, "scan/0").details
    assert "it printed nothing" in ask(lab, "scan/1").details


def test_a_traceback_is_shown(lab: Lab) -> None:
    lab.submit("scan", xs(1))
    lab.run("scan", fails(Outcome.EXCEPTION, error='Traceback:\n  File "a.py", line 3\nKeyError: 5'))
    assert '  File "a.py", line 3' in ask(lab, "scan/0").details


def test_lost_attempts_are_told_beside_a_failure(lab: Lab) -> None:
    lab.submit("scan", xs(1), policy=Policy(retries=1))
    job = lab.open_job()
    lab.claim("scan", job)
    lab.registry.abandon(job.id, lab.at)
    lab.run("scan", fails(Outcome.EXIT, detail=1))
    assert "it was tried 3 times, once lost with its job (--retries 1)" in told(ask(lab, "scan/0"))


def test_cancelled_before_and_after_it_began(lab: Lab) -> None:
    lab.submit("scan", xs(1, 2))
    lab.run("scan", fails(Outcome.CANCELLED, seconds=2), limit=1)
    lab.registry.cancel(lab.project.map("scan").id, None)
    assert ask(lab, "scan/0").because == "it was cancelled while attempt 1 was running, after 2s"
    answer = ask(lab, "scan/1")
    assert answer.because == "it was cancelled before it was ever started"
    assert answer.next == "provrun retry scan --where 'index == 1'"


# Succeeded, stale, superseded


def test_succeeded_and_as_it_was(lab: Lab) -> None:
    lab.submit("scan", xs(1))
    lab.run("scan")
    answer = ask(lab, "scan/0")
    assert (answer.situation, answer.next) == ("succeeded", "provrun trace scan/0")


def test_stale_by_code_names_the_file(lab: Lab) -> None:
    lab.use("model.py", "one")
    lab.submit("scan", xs(1))
    lab.run("scan")
    (lab.root / "model.py").write_text("two")
    answer = ask(lab, "scan/0")
    assert answer.situation == "stale-code"
    assert "model.py is not what it was" in answer.because
    assert any(line.startswith("code model.py: sha256:") for line in answer.details)
    assert answer.next == "provrun rerun scan --where 'index == 0' --stale --force"


def test_stale_by_input_names_the_file(lab: Lab) -> None:
    lab.submit("scan", xs(1))
    (lab.root / "data").write_text("1")
    lab.run("scan", lambda params, number: Fate(inputs=["data"]))
    (lab.root / "data").unlink()
    answer = ask(lab, "scan/0")
    assert answer.situation == "stale-input"
    assert any(line.endswith("became gone") for line in answer.details)


def test_stale_by_environment_names_the_packages(lab: Lab) -> None:
    lab.submit("scan", xs(1))
    lab.run("scan")
    lab.python = Environment(
        python="3.12.1", implementation="cpython", packages=(Package("numpy", "2.2"), Package("scipy", "1.14"))
    )
    lab.submit("more", xs(1))
    answer = ask(lab, "scan/0")
    assert answer.situation == "stale-environment"
    assert "python 3.11.7 -> 3.12.1; package numpy 2.1 -> 2.2" in told(answer)


def test_stale_by_a_superseded_result_it_read(lab: Lab) -> None:
    lab.submit("scan", xs(1))
    lab.run("scan", gives(1))
    lab.submit("obs", [{"k": 1}], on=[Dependency(upstream="scan", kind="each")])
    lab.run("obs", gives(1))
    lab.registry.rerun(lab.project.map("scan").id, None)
    lab.run("scan", gives(2))
    answer = ask(lab, "obs/0")
    assert answer.situation == "stale-input"
    assert "it read attempt 1 of scan/0, which is now attempt 2" in answer.details


def test_noresult_tells_what_was_expected(lab: Lab) -> None:
    lab.submit("scan", xs(1, 2))
    lab.run("scan", lambda params, number: Fate(out=b"done\n"), limit=1)
    lab.run("scan", gives(1))
    answer = ask(lab, "scan/0")
    assert (answer.situation, answer.next) == ("noresult", "provrun logs scan/0")
    assert "  done" in answer.details


def test_code_that_changed_while_it_ran_is_told(lab: Lab) -> None:
    lab.submit("scan", xs(1))
    lab.code_after = Code(kind="git", root=str(lab.root), commit="c" * 40, tree="d" * 40)
    lab.run("scan")
    answer = ask(lab, "scan/0")
    assert answer.situation == "code-changed-meanwhile"
    assert "commit cccccccccccc" in told(answer)


def test_an_attempt_that_was_retried(lab: Lab) -> None:
    lab.submit("scan", xs(1), policy=Policy(retries=1))
    lab.run("scan", lambda params, number: Fate(result=1) if number == 2 else Fate(Outcome.EXIT, detail=3))
    answer = ask(lab, "scan/0#1")
    assert answer.situation == "superseded-retry"
    assert ask(lab, "scan/0#2").situation == "succeeded"


def test_a_result_superseded_by_a_rerun(lab: Lab) -> None:
    lab.submit("scan", xs(1))
    lab.run("scan", gives(1))
    lab.registry.rerun(lab.project.map("scan").id, None)
    answer = ask(lab, "scan/0#1")
    assert answer.situation == "superseded-rerun"
    assert "it is pending again" in answer.because
    lab.at += 60 * SECOND
    lab.run("scan", gives(2))
    answer = ask(lab, "scan/0#1")
    assert "attempt 2 stands for it now" in answer.because
    assert "its result, kept: 1" in answer.details
    assert answer.next == "provrun diff scan/0#1 scan/0#2"


def test_a_result_superseded_by_growth(lab: Lab) -> None:
    lab.submit("scan", xs(1))
    lab.run("scan")
    lab.submit("stat", [{"k": 1}], on=[Dependency(upstream="scan", kind="all")])
    lab.run("stat", gives(1))
    lab.submit("scan", xs(1, 2))
    answer = ask(lab, "stat/0#1")
    assert answer.situation == "superseded-growth"
    assert "scan grew by 1 tasks" in answer.because


def test_a_result_that_came_late(lab: Lab) -> None:
    lab.submit("scan", xs(1))
    first = lab.open_job()
    claimed = lab.claim("scan", first)
    began = lab.at
    lab.registry.abandon(first.id, lab.at)
    lab.run("scan", gives("second"))
    lab.at = began
    lab.end(first, claimed, lambda params, number: Fate(result="first", seconds=60))
    answer = ask(lab, "scan/0#1")
    assert answer.situation == "superseded-late"
    assert lab.rows("scan")[0]["result"] == "second"


# Maps and the rest


def test_a_map_is_explained_by_what_holds_it_up(lab: Lab) -> None:
    lab.submit("scan", xs(1, 2))
    lab.submit("stat", [{"k": 1}], on=[Dependency(upstream="scan", kind="all")])
    assert ask(lab, "scan").situation == "map-pending"
    assert ask(lab, "stat").because == "1 task of it wait for scan"
    job = lab.open_job(owner={"lock": "x", "boot": "other"})
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


