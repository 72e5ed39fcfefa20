"""Why tasks failed, were cancelled, or have a result that is stale or superseded; always with the next command."""

from __future__ import annotations

import pytest

from fixtures.asked import ask, told
from fixtures.lab import SECOND, Dependency, Fate, Lab, fails, gives, xs
from provrun.core.code import Code
from provrun.core.environment import Environment, Package
from provrun.core.records import Policy
from provrun.core.states import Outcome

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
    assert "its result 1 is kept" in answer.details
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
