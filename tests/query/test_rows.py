"""Rows: what a task looks like to users."""

from __future__ import annotations

import json
import math

from fixtures.lab import AT, SECOND, Fate, Lab, double, fails, gives, xs
from provrun.core.records import Policy, Recipe
from provrun.core.states import Outcome
from provrun.query.rows import FIELDS, line, raw

KEYS = [
    *("task", "map", "index", "params", "state", "stale", "attempt", "attempts", "outcome", "exit", "signal", "error"),
    *("result", "outputs", "started", "ended", "seconds", "cpu_seconds", "max_rss", "node", "job", "code"),
    *("environment", "defaults"),
]


def test_a_row_has_exactly_the_promised_keys_in_every_state(lab: Lab) -> None:
    lab.submit("scan", xs(1, 2, 3))
    lab.run("scan", limit=1)
    lab.run("scan", fails(Outcome.EXIT, detail=2, error="boom"), limit=1)
    rows = lab.rows("scan")
    assert [row["state"] for row in rows] == ["succeeded", "failed", "pending"]
    assert all(list(row) == KEYS for row in rows)
    assert tuple(KEYS) == FIELDS


def test_a_succeeded_row_tells_result_times_and_circumstances(lab: Lab) -> None:
    lab.defaults = {"depth": 3}
    lab.submit("scan", xs(21))
    job = lab.run("scan")
    [row] = lab.rows("scan")
    assert row["params"] == {"x": 21}
    assert row["result"] == {"y": 42}
    assert (row["attempt"], row["attempts"], row["outcome"]) == (1, 1, "succeeded")
    assert (row["exit"], row["signal"], row["error"]) == (0, None, None)
    assert row["started"] == "2023-11-14T22:13:22.000000+00:00"
    assert row["ended"] == "2023-11-14T22:13:23.500000+00:00"
    assert (row["seconds"], row["cpu_seconds"]) == (1.5, 0.75)
    assert row["max_rss"] == 2048 * 1024
    assert (row["node"], row["job"]) == ("n1", job)
    assert row["code"] == lab.commit.digest[:12]
    assert row["environment"] == lab.python.digest[:12]
    assert row["defaults"] == {"depth": 3}
    assert lab.at == AT + 2 * SECOND


def test_exit_and_signal_are_told_by_how_the_attempt_ended(lab: Lab) -> None:
    lab.submit("scan", xs(1, 2, 3, 4))
    lab.run("scan", fails(Outcome.EXIT, detail=7), limit=1)
    lab.run("scan", fails(Outcome.SIGNAL, detail=11), limit=1)
    lab.run("scan", fails(Outcome.TIMEOUT), limit=1)
    lab.run("scan", limit=1)
    ended = [(row["exit"], row["signal"]) for row in lab.rows("scan")]
    assert ended == [(7, None), (None, 11), (None, None), (0, None)]


def test_a_function_has_no_exit_code(lab: Lab) -> None:
    lab.submit("psi", xs(1), recipe=Recipe(kind="function", function="a.py:f"))
    lab.run("psi")
    assert lab.rows("psi")[0]["exit"] is None


def test_a_retried_task_shows_the_accepted_attempt(lab: Lab) -> None:
    lab.submit("scan", xs(1), policy=Policy(retries=2))

    def second_time(params: dict[str, object], number: int) -> Fate:
        return Fate(result=number) if number == 2 else Fate(Outcome.EXIT, detail=1)

    lab.run("scan", second_time)
    [row] = lab.rows("scan")
    assert (row["state"], row["attempt"], row["attempts"], row["result"]) == ("succeeded", 2, 2, 2)


def test_a_task_to_run_again_shows_no_result(lab: Lab) -> None:
    lab.submit("scan", xs(1))
    lab.run("scan")
    lab.registry.rerun(lab.project.map("scan").id, None)
    [row] = lab.rows("scan")
    assert (row["state"], row["result"], row["outcome"], row["outputs"]) == ("pending", None, "succeeded", {})


def test_a_running_task_shows_the_attempt_before(lab: Lab) -> None:
    lab.submit("scan", xs(1), policy=Policy(retries=1))
    lab.run("scan", fails(Outcome.EXIT, detail=5), limit=1)
    lab.claim("scan", lab.open_job())
    [row] = lab.rows("scan")
    assert (row["state"], row["attempt"], row["attempts"], row["exit"]) == ("running", 1, 2, 5)


def test_values_keep_their_types_in_python_and_stand_unchanged_in_json(lab: Lab) -> None:
    lab.submit("scan", xs(math.nan, 1, 1.0, True, "1"))
    lab.run("scan", gives({"$sum": math.inf, "z": [1, None]}))
    rows = lab.rows("scan")
    assert math.isnan(rows[0]["params"]["x"])
    assert [type(row["params"]["x"]) for row in rows[1:]] == [int, float, bool, str]
    assert rows[0]["result"] == {"$sum": math.inf, "z": [1, None]}
    texts = [line(row) for row in lab.rows("scan", read=raw)]
    assert json.loads(texts[0])["params"] == {"x": {"$float": "nan"}}
    assert json.loads(texts[0])["result"] == {"$$sum": {"$float": "inf"}, "z": [1, None]}
    assert [json.loads(text)["params"]["x"] for text in texts[1:]] == [1, 1.0, True, "1"]


def test_outputs_are_told_by_name_with_path_digest_and_size(lab: Lab) -> None:
    lab.submit("scan", xs(1), recipe=Recipe(kind="command", words=("a",), outputs={"csv": "out/{x}.csv"}))
    lab.run("scan", lambda params, number: Fate(outputs={"csv": ("out/1.csv", b"abc")}))
    assert lab.rows("scan")[0]["outputs"] == {
        "csv": {
            "path": "out/1.csv", "size": 3, "packed": False,
            "digest": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        }
    }


def test_a_lost_attempt_has_no_times(lab: Lab) -> None:
    lab.submit("scan", xs(1))
    job = lab.open_job()
    lab.claim("scan", job)
    lab.registry.abandon(job.id, lab.at)
    [row] = lab.rows("scan")
    assert (row["outcome"], row["started"], row["ended"], row["seconds"]) == ("lost", None, None, None)


def test_rows_of_many_pages_come_complete_and_in_order(lab: Lab) -> None:
    lab.submit("scan", xs(*range(1500)))
    lab.run("scan", double)
    assert [row["index"] for row in lab.rows("scan")] == list(range(1500))
    assert [row["index"] for row in lab.rows("scan", limit=7)] == list(range(7))
