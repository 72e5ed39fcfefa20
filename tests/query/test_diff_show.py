"""What differs between two things, and everything known of one."""

from __future__ import annotations

from typing import Any

import pytest

from fixtures.lab import Dependency, Fate, Lab, double, fails, gives, xs
from provrun.core.canonical import Blob
from provrun.core.code import Code
from provrun.core.environment import Environment, Package
from provrun.core.records import JobRecord, Policy, Recipe
from provrun.core.states import Outcome
from provrun.errors import NotFound, UsageError
from provrun.project import asking
from provrun.query.diff import Comparison, diff, difference_line
from provrun.query.resolving import find_job, resolve
from provrun.query.show import show


def compared(lab: Lab, left: str, right: str) -> Comparison:
    view = lab.view()
    return diff(view, resolve(view, left), resolve(view, right))


def shown(lab: Lab, ref: str) -> dict[str, Any]:
    return show(*lab.resolve(ref))


def differences(comparison: Comparison) -> dict[str, tuple[object, object]]:
    return {each.what: (each.left, each.right) for each in comparison.differences}


def test_two_tasks_differ_in_parameters_and_results(lab: Lab) -> None:
    lab.submit("scan", xs(1, 1.0, 2))
    lab.run("scan")
    assert differences(compared(lab, "scan/0", "scan/1")) == {
        "parameters.x": (1, 1.0), "result.value": ({"y": 2}, {"y": 2.0})
    }
    assert differences(compared(lab, "scan/0", "scan/2")) == {
        "parameters.x": (1, 2), "result.value": ({"y": 2}, {"y": 4})
    }
    assert compared(lab, "scan/0", "scan/0").document()["equal"] is True


def test_what_is_kept_elsewhere_is_named_by_what_it_is(lab: Lab) -> None:
    lab.submit("scan", xs(0, 1))
    blobs = [Blob({"digest": digit * 64, "format": "npy", "size": 2048}) for digit in "ab"]
    lab.run("scan", lambda params, number: Fate(result={"psi": blobs[params["x"]]}))
    first, second = ("<npy, 2K, sha256:" + digit * 12 + ">" for digit in "ab")
    assert f'result {{"psi":{first}}}' in asking.why_text(lab.project, "scan/0")
    assert f'scan/0  succeeded  result {{"psi":{first}}}' in asking.trace_text(lab.project, "scan/0")
    lines = [difference_line(each) for each in compared(lab, "scan/0", "scan/1").differences]
    assert f'result.value: {{"psi":{first}}} | {{"psi":{second}}}' in lines


def test_two_attempts_differ_in_code_software_inputs_limits_and_outcome(lab: Lab) -> None:
    lab.use("model.py", "one")
    lab.submit("scan", xs(1), policy=Policy(retries=1, task_time=10, retry_time=2))
    (lab.root / "data").write_text("1")
    lab.run("scan", lambda params, number: Fate(Outcome.TIMEOUT, error="slow", inputs=["data"]), limit=1)
    first = lab.commit
    lab.commit = Code(kind="git", root=str(lab.root), commit="c" * 40, tree="d" * 40, dirty=True)
    lab.patch = b"--- a\n+++ b\n"
    lab.python = Environment(python="3.12.0", implementation="cpython", packages=(Package("numpy", "2.1"),))
    lab.use("model.py", "two")
    (lab.root / "data").write_text("2")
    lab.run("scan", lambda params, number: Fate(result=5, inputs=["data"]))
    comparison = compared(lab, "scan/0#1", "scan/0#2")
    found = differences(comparison)
    assert found["code.commit"] == (first.commit, "c" * 40)
    assert found["code.dirty"] == (False, True)
    assert found["environment.python"] == ("3.11.7", "3.12.0")
    assert found["environment.package scipy"] == ("1.14", None)
    assert found["result.outcome"] == ("timeout", "succeeded")
    assert {"uses.model.py", "inputs.data", "result.error", "result.value"} <= found.keys()
    assert comparison.patches == (None, "--- a\n+++ b\n")


def test_two_maps_differ_in_recipe_and_policy(lab: Lab) -> None:
    lab.submit("scan", xs(1))
    lab.submit("other", xs(1), policy=Policy(cores=4), recipe=Recipe(kind="shell", words=("echo {x}",)))
    found = differences(compared(lab, "scan", "other"))
    assert found["recipe.kind"] == ("command", "shell")
    assert found["policy.cores"] == (None, 4)


def test_versions_of_code_and_environments_can_be_compared(lab: Lab) -> None:
    lab.submit("scan", xs(1))
    one, python = lab.commit.digest, lab.python.digest
    lab.commit = Code(kind="git", root=str(lab.root), commit="c" * 40, tree="b" * 40, remote="https://git.example/s")
    lab.python = Environment(python="3.12.0", implementation="cpython", packages=lab.python.packages)
    lab.submit("scan", xs(1, 2))
    assert differences(compared(lab, f"code:{one}", f"code:{lab.commit.digest}")) == {
        "code.commit": ("a" * 40, "c" * 40)
    }
    assert differences(compared(lab, f"env:{python}", f"env:{lab.python.digest}")) == {
        "environment.python": ("3.11.7", "3.12.0")
    }
    with pytest.raises(UsageError, match="different kinds"):
        compared(lab, f"code:{one}", "scan")


def test_a_task_is_shown_as_its_row_and_more(lab: Lab) -> None:
    lab.use("model.py", "one")
    lab.submit("scan", xs(3, 4), policy=Policy(retries=1))
    lab.run("scan", lambda params, number: double(params, number) if number == 2 else Fate(Outcome.EXIT, detail=1))
    document = shown(lab, "scan/0")
    [row] = lab.rows("scan", "index == 0")
    assert row.items() <= document.items()
    assert document["command"] == ["analyze", "-x", "3"]
    assert [attempt["outcome"] for attempt in document["history"]] == ["exit", "succeeded"]
    assert [attempt["accepted"] for attempt in document["history"]] == [False, True]
    assert document["uses"]["files"] == lab.uses
    assert document["host"]["cpu"] == "EPYC"


def test_what_a_task_read_is_shown(lab: Lab) -> None:
    lab.submit("scan", xs(1, 2))
    lab.run("scan")
    lab.submit("obs", [{"k": 1}], on=[Dependency(upstream="scan", kind="each")])
    document = shown(lab, "obs/1")
    assert document["reads"] == [
        {"map": "scan", "kind": "each", "by": [], "tasks": 1, "missing": 0, "skipped": 0}
    ]
    lab.run("obs", gives(1))
    assert shown(lab, "obs/1")["trail"] == [{"map": "scan", "attempt": "scan/1#1"}]


def test_a_map_an_attempt_code_software_and_a_job_are_shown(lab: Lab) -> None:
    lab.submit("scan", xs(1), tags={"paper": "one"})
    job = lab.run("scan", fails(Outcome.SIGNAL, detail=9))
    lab.submit("stat", [{"k": 1}], on=[Dependency(upstream="scan", kind="all")])
    of_map = shown(lab, "scan")
    assert (of_map["kind"], of_map["total"], of_map["tags"]) == ("map", 1, {"paper": "one"})
    assert of_map["read_by"] == ["stat"]
    assert [each["added"] for each in of_map["submissions"]] == [1]
    attempt = shown(lab, "scan/0#1")
    assert (attempt["kind"], attempt["signal"], attempt["task"]) == ("attempt", 9, "scan/0")
    code = shown(lab, f"code:{lab.commit.digest[:12]}")
    assert (code["commit"], code["ran"]) == ("a" * 40, [{"map": "scan", "attempts": 1, "results": 0}])
    environment = shown(lab, f"env:{lab.python.digest[:12]}")
    assert {"name": "scipy", "version": "1.14", "direct_url": None} in environment["packages"]
    of_job = shown(lab, f"job:{job}")
    assert (of_job["id"], of_job["state"], of_job["ran"]) == (job, "ended", code["ran"])


def test_code_is_found_by_commit_and_tree_too(lab: Lab) -> None:
    lab.submit("scan", xs(1))
    for hex in ("aaaaaaaa", "bbbb", lab.commit.digest[:4]):
        assert shown(lab, f"code:{hex}")["digest"] == lab.commit.digest


@pytest.mark.parametrize(
    ("ref", "words"),
    [
        ("scna", "did you mean scan?"),
        ("scan/7", "its tasks are scan/0 to scan/1"),
        ("scan/0#4", "there is scan/0#1"),
        ("scan/1#1", "it has not been tried yet"),
        ("scan[x=9]", "provrun tasks scan shows them"),
        ("code:ffff", "provrun code shows what there is"),
        ("job:99", "provrun job list shows the jobs"),
        ("sha256:ffff", "provrun find CONDITIONS finds tasks"),
    ],
)
def test_what_is_not_there_is_told_with_what_is(lab: Lab, ref: str, words: str) -> None:
    lab.submit("scan", xs(1, 2))
    lab.run("scan", limit=1)
    with pytest.raises(NotFound) as caught:
        lab.resolve(ref)
    assert caught.value.next == words


def test_a_task_is_found_by_its_parameters(lab: Lab) -> None:
    lab.submit("scan", [{"x": x, "y": y} for x in range(3) for y in ("a", "b")])
    assert shown(lab, "scan[x=2,y=a]")["task"] == "scan/4"
    with pytest.raises(UsageError, match="stands for several") as caught:
        lab.resolve("scan[x=2]")
    assert caught.value.value == ["scan/4", "scan/5"]


def test_a_number_is_not_the_beginning_of_a_uuid() -> None:
    job = JobRecord(
        id=1, uuid="99012345-58aa-4c2f-a5a9-86f84eae8b8c", kind="local", state="ended", user="ada", node="n1", slots=1,
        ranks=1, started=1,
    )
    with pytest.raises(NotFound):
        find_job([job], "99")
    for id in ("1", "99012345", "9901234558aa", job.uuid):
        assert find_job([job], id) is job
