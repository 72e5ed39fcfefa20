"""`retry`, `rerun`, `cancel`, `pause`, `resume`, `delete`, `set`, on tasks that really ran."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from fixtures.cli import Cli
from provrun.core.records import MapRecord, TaskRecord
from provrun.core.states import State
from provrun.store.registry import Registry


def looked_up(cli: Cli, map: str) -> tuple[MapRecord, list[TaskRecord]]:
    registry = Registry.open(f"sqlite:///{cli.folder / '.provrun' / 'registry.sqlite'}", readonly=True)
    try:
        record = registry.find_map(map)
        assert record is not None
        return record, list(registry.tasks(record.id))
    finally:
        registry.close()


def states(cli: Cli, map: str) -> list[str]:
    return [task.state.word for task in looked_up(cli, map)[1]]


def change(cli: Cli, *words: str) -> dict[str, Any]:
    done = cli(*words, "--json")
    assert done.exit == 0, done.err + done.out
    document: dict[str, Any] = done.json
    assert set(document) == {"changed", "maps", "next"}
    return document


@pytest.fixture
def halves(cli: Cli) -> Cli:
    """Give a map of four tasks that ran: the even ones succeeded, the odd ones failed."""
    words = ["--", "sh", "-c", "exit $(( $1 % 2 ))", "sh", "{x}"]
    assert cli("submit", "scan", "--param", "x=0:4", *words).exit == 0
    assert cli("run", "scan", "-j", "2").exit == 3
    assert states(cli, "scan") == ["succeeded", "failed"] * 2
    return cli


def test_retry_lets_failed_tasks_run_again(halves: Cli) -> None:
    assert change(halves, "retry", "scan") == {"changed": 2, "maps": ["scan"], "next": "provrun run scan"}
    assert states(halves, "scan") == ["succeeded", "pending"] * 2
    assert change(halves, "retry")["changed"] == 0


def test_retry_of_some_tasks_by_condition_and_by_ref(halves: Cli) -> None:
    assert change(halves, "retry", "scan", "--where", "x > 2 and exit == 1")["changed"] == 1
    assert states(halves, "scan") == ["succeeded", "failed", "succeeded", "pending"]
    assert change(halves, "retry", "scan/1")["changed"] == 1
    assert halves("retry", "scan/9", "--json").exit == 4


def test_refs_are_read_from_stdin(halves: Cli) -> None:
    done = halves("retry", "-", "--json", stdin="scan/1\nscan/3\n")
    assert done.json["changed"] == 2


def test_retry_multiplies_limits(halves: Cli) -> None:
    assert change(halves, "set", "scan", "--task-time", "10s", "--task-memory", "1G")["changed"] == 4
    assert change(halves, "retry", "scan", "--task-time", "x2", "--task-memory", "x1.5")["changed"] == 2
    limits = looked_up(halves, "scan")[1][1].limits
    assert limits is not None
    assert (limits.time, limits.memory) == (20.0, 3 << 29)
    done = halves("retry", "scan", "--task-time", "0.5", "--json")
    assert done.exit == 2


def test_rerun_needs_force_and_keeps_the_old_attempts(halves: Cli) -> None:
    refused = halves("rerun", "scan", "--json")
    assert (refused.exit, refused.error["code"]) == (5, "refused")
    assert states(halves, "scan") == ["succeeded", "failed"] * 2
    assert change(halves, "rerun", "scan", "--force")["changed"] == 2
    assert [task.attempts for task in looked_up(halves, "scan")[1]] == [1, 1, 1, 1]
    assert states(halves, "scan") == ["pending", "failed"] * 2


def test_rerun_of_stale_results_touches_no_other(halves: Cli) -> None:
    assert change(halves, "rerun", "scan", "--stale", "--force")["changed"] == 0


def test_rerun_down_takes_exactly_what_read_the_results(cli: Cli) -> None:
    for words in (
        ("A", "--param", "x=0:2", "--param", "y=0:3", "--", "echo", "{x}"),
        ("B", "--each", "A", "--param", "k=0:2", "--", "echo", "{A.result}"),
        ("C", "--group", "B", "--by", "x", "--", "echo", "1"),
        ("D", "--group", "A", "--chunk", "4", "--", "echo", "1"),
        ("E", "--all", "C", "--", "echo", "1"),
        ("F", "--after", "A", "--", "echo", "1"),
    ):
        assert cli("submit", *words).exit == 0
    assert cli("run", "-j", "2").exit == 0
    again = change(cli, "rerun", "A/4", "--down", "--force")
    assert again == {"changed": 6, "maps": ["A", "B", "C", "D", "E"], "next": "provrun run A B C D E"}
    left = {map: [n for n, state in enumerate(states(cli, map)) if state != "succeeded"] for map in "ABCDEF"}
    assert left == {"A": [4], "B": [8, 9], "C": [1], "D": [1], "E": [0], "F": []}
    assert cli("run", "-j", "2").exit == 0
    assert {state for map in "ABCDEF" for state in states(cli, map)} == {"succeeded"}


def test_cancel_takes_tasks_that_have_not_ended(cli: Cli) -> None:
    assert cli("submit", "scan", "--param", "x=0:4", "--", "true").exit == 0
    assert change(cli, "cancel", "scan", "--where", "x < 2")["changed"] == 2
    assert states(cli, "scan") == ["cancelled", "cancelled", "pending", "pending"]
    assert change(cli, "cancel", "scan")["changed"] == 2
    assert change(cli, "retry", "scan")["changed"] == 4


def test_pause_and_resume(cli: Cli) -> None:
    assert cli("submit", "scan", "--param", "x=0:4", "--", "true").exit == 0
    assert change(cli, "pause", "scan") == {"changed": 4, "maps": ["scan"], "next": "provrun resume scan"}
    assert looked_up(cli, "scan")[0].paused
    assert change(cli, "pause", "scan")["changed"] == 0
    assert change(cli, "resume", "scan") == {"changed": 4, "maps": ["scan"], "next": "provrun run scan"}
    assert not looked_up(cli, "scan")[0].paused


def test_set_changes_policy_and_priority(cli: Cli) -> None:
    assert cli("submit", "scan", "--param", "x=0:4", "--", "true").exit == 0
    assert change(cli, "set", "scan", "--retries", "3", "--priority", "5")["changed"] == 4
    record, tasks = looked_up(cli, "scan")
    assert (record.policy.retries, record.priority, {task.priority for task in tasks}) == (3, 5, {5})
    assert change(cli, "set", "scan", "--where", "x == 1", "--priority", "9")["changed"] == 1
    assert [task.priority for task in looked_up(cli, "scan")[1]] == [5, 9, 5, 5]
    assert cli("set", "scan", "--json").exit == 2
    assert cli("set", "scan", "--where", "x == 1", "--cores", "2").exit == 2
    assert "retries: 3 -> 1" in cli("set", "scan", "--retries", "1").out


def test_delete_needs_force_and_no_map_that_builds_on_it(cli: Cli) -> None:
    assert cli("submit", "A", "--param", "x=0:4", "--", "true").exit == 0
    assert cli("submit", "B", "--each", "A", "--", "true").exit == 0
    assert cli("delete", "B", "--json").exit == 5
    refused = cli("delete", "A", "--force", "--json")
    assert refused.exit == 5
    assert "B builds on A" in refused.error["message"]
    assert change(cli, "delete", "B", "--force")["changed"] == 4
    assert change(cli, "delete", "A", "--force")["changed"] == 4


@pytest.mark.parametrize(
    "words", [("retry",), ("rerun", "--force"), ("cancel",), ("pause",), ("resume",), ("set", "--cores", "1")]
)
def test_an_unknown_map_is_exit_4_with_the_nearest(cli: Cli, words: tuple[str, ...]) -> None:
    assert cli("submit", "scan", "--", "true").exit == 0
    done = cli(words[0], "scam", *words[1:], "--json")
    assert (done.exit, done.error["code"], done.error["next"]) == (4, "not-found", "did you mean scan?")


def test_a_condition_that_means_nothing_is_exit_2(halves: Cli) -> None:
    done = halves("retry", "scan", "--where", "x >", "--json")
    assert done.exit == 2
    assert State.FAILED.word in states(halves, "scan")


@pytest.fixture
def doubled(cli: Cli) -> Cli:
    """Give a map of four results whose script has been edited since."""
    (cli.folder / "tool.py").write_text("import sys\nprint(2 * int(sys.argv[1]))\n")
    assert cli("submit", "scan", "--param", "x=0:4", "--", sys.executable, "tool.py", "{x}").exit == 0
    assert cli("run", "scan").exit == 0
    (cli.folder / "tool.py").write_text("import sys\nprint(int(sys.argv[1]) * 2)  # the same\n")
    assert stale(cli) == 4
    return cli


def stale(cli: Cli) -> int:
    counted: int = cli("status", "scan", "--json").json["maps"][0]["stale"]
    assert cli("status", "scan", "--check", "--json").json["maps"][0]["stale"] == counted
    return counted


def test_accepted_results_of_older_code_are_not_stale_until_the_next_change(doubled: Cli) -> None:
    changed = change(doubled, "accept", "scan", "--because", "the same product")
    assert changed == {"changed": 4, "maps": ["scan"], "next": "provrun status scan"}
    assert stale(doubled) == 0
    assert doubled("find", "stale", "-q").out == ""
    assert change(doubled, "accept", "scan", "--because", "again")["changed"] == 0
    why = doubled("why", "scan/1", "--json").json
    assert why["situation"] == "accepted"
    assert "the same product" in why["details"][0]
    assert doubled(*why["next"].split()[1:]).exit == 0
    assert doubled("why", "scan", "--json").json["situation"] == "map-accepted"
    (told,) = doubled("show", "scan", "--json").json["acceptances"]
    assert (told["because"], told["tasks"], told["whole"]) == ("the same product", 4, True)
    assert [one["what"] for one in told["changed"]] == ["tool.py"]
    assert doubled("show", "scan/0", "--json").json["acceptance"] == told
    # The code it is held to agree with is what lay there.
    assert doubled("show", f"code:{told['code']}", "--json").json["dirty"] is True
    before = (doubled.folder / "tool.py").read_text()
    (doubled.folder / "tool.py").write_text("print(1)\n")
    assert stale(doubled) == 4
    (doubled.folder / "tool.py").write_text(before)
    assert stale(doubled) == 0


def test_some_results_are_accepted_and_what_runs_again_is_no_longer(doubled: Cli) -> None:
    assert change(doubled, "accept", "scan", "--where", "x < 3", "--because", "small")["changed"] == 3
    assert stale(doubled) == 1
    assert doubled("why", "scan/3", "--json").json["situation"] == "stale-code"
    assert doubled("why", "scan", "--json").json["situation"] == "map-stale"
    assert doubled("find", "stale", "-q").out.split() == ["scan/3"]
    assert change(doubled, "accept", "scan/3", "scan/2", "--because", "large, too")["changed"] == 1
    assert stale(doubled) == 0
    assert change(doubled, "rerun", "scan", "--where", "x == 1", "--force")["changed"] == 1
    assert doubled("run", "scan").exit == 0
    assert stale(doubled) == 0
    assert doubled("why", "scan/1", "--json").json["situation"] == "succeeded"
    (doubled.folder / "tool.py").write_text("print(1)\n")
    assert stale(doubled) == 4


def test_what_is_stale_by_an_input_is_not_accepted(cli: Cli) -> None:
    (cli.folder / "data").write_text("1")
    assert cli("submit", "scan", "--input", "data", "--param", "x=0:2", "--", "true").exit == 0
    assert cli("run", "scan").exit == 0
    (cli.folder / "data").write_text("2")
    assert stale(cli) == 2
    assert change(cli, "accept", "scan", "--because", "I say so")["changed"] == 0
    assert stale(cli) == 2
    assert cli("accept", "scan", "--because", " ", "--json").exit == 2


def test_a_deleted_map_takes_what_was_accepted_of_it_along(doubled: Cli) -> None:
    assert change(doubled, "accept", "scan/1", "--because", "small")["changed"] == 1
    assert doubled("delete", "scan", "--force").exit == 0
    assert doubled("verify").exit == 0
