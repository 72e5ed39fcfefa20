"""Maps that build on maps: what tasks there are, what flows, what growth and failure do."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fixtures.cli import Cli

WORK = """\
def point(x, k):
    return {"y": 10 * x, "k2": k + k}

def observe(scan, x, y, kind):
    assert scan["y"] == y
    return {"value": x + y, "kind": kind}

def everything(rows, value):
    table = rows.table()
    rows = list(rows)
    return {"n": len(rows), "sum": sum(value), "columns": sorted(rows[0]), "table": len(table)}

def group(kind, rows, value):
    return {"kind": kind, "n": len(rows), "value": sorted(value)}

def chunk(rows):
    return [row["task"] for row in rows]
"""
ROW = [
    "task", "map", "index", "params", "state", "stale", "attempt", "attempts", "outcome", "exit", "signal", "error",
    "result", "outputs", "started", "ended", "seconds", "cpu_seconds", "max_rss", "node", "job", "code", "environment",
    "defaults",
]


@pytest.fixture
def work(cli: Cli) -> Cli:
    (cli.folder / "work.py").write_text(WORK)
    return cli


def made(cli: Cli, *words: str) -> dict[str, Any]:
    done = cli("submit", "--json", *words)
    assert done.exit == 0, done.out
    document: dict[str, Any] = done.json
    return document


def results(cli: Cli, map: str) -> list[Any]:
    return [row["result"] for row in cli("results", map, "--json").json["results"]]


def test_values_flow_from_stage_to_stage(work: Cli) -> None:
    assert made(work, "scan", "--param", "x=0:2", "--param", "k=a,b", "--function", "work.py:point")["added"] == 4
    words = ["--each", "scan", "--param", "kind=gap,energy", "--function", "work.py:observe"]
    assert made(work, "obs", *words)["added"] == 8
    assert made(work, "stat", "--all", "obs", "--function", "work.py:everything")["added"] == 1
    assert made(work, "by", "--group", "obs", "--by", "kind", "--function", "work.py:group")["added"] == 2
    assert made(work, "parts", "--group", "obs", "--chunk", "3", "--function", "work.py:chunk")["added"] == 3
    command = ["--", "sh", "-c", 'wc -l < "$1"; head -n 1 "$1"', "sh", "{obs.rows}"]
    made(work, "lines", "--all", "obs", "--result", "stdout-text", *command)
    template = "[{scan.result.y},{scan.param.x},{scan.result},{x},{z}]"
    assert made(work, "text", "--each", "scan", "--param", "z=7", "--", "printf", "%s\\n", template)["added"] == 4
    done = work("run", "--json", "-j", "2")
    assert (done.exit, done.json["succeeded"], done.json["noresult"]) == (0, 4 + 8 + 1 + 2 + 3 + 1 + 4, 0)

    obs = work("tasks", "obs", "--json").json["tasks"]
    assert list(obs[0]) == ROW
    assert obs[1]["params"] == {"k": "a", "kind": "energy", "x": 0}
    assert [row["result"]["value"] for row in obs] == [0, 0, 0, 0, 11, 11, 11, 11]
    assert results(work, "stat") == [{"n": 8, "sum": 44, "columns": sorted(ROW), "table": 8}]
    assert results(work, "by") == [
        {"kind": "gap", "n": 4, "value": [0, 0, 11, 11]}, {"kind": "energy", "n": 4, "value": [0, 0, 11, 11]}
    ]
    assert results(work, "parts") == [[f"obs/{i}" for i in part] for part in ((0, 1, 2), (3, 4, 5), (6, 7))]
    count, first = results(work, "lines")[0].split("\n")[:2]
    assert (count.strip(), list(json.loads(first))) == ("8", ROW)
    assert results(work, "text")[3] == [10, 1, {"y": 10, "k2": "bb"}, 1, 7]


def test_what_grows_opens_its_reduce_again_and_the_old_result_is_kept(work: Cli) -> None:
    words = ["scan", "--param", "k=a", "--function", "work.py:point", "--param"]
    made(work, *words, "x=0:2")
    made(work, "obs", "--each", "scan", "--param", "kind=gap", "--function", "work.py:observe")
    made(work, "stat", "--all", "obs", "--function", "work.py:everything")
    assert work("run").exit == 0
    grown = made(work, *words, "x=0:3")
    assert (grown["added"], grown["existing"], grown["grown"]) == (1, 2, {"obs": 1})
    assert work("status", "stat", "--json").json["maps"][0]["ntasks"]["waiting"] == 1
    done = work("run", "stat", "--json")  # runs what it builds on, too
    assert (done.exit, done.json["succeeded"]) == (0, 3)
    assert [result["n"] for result in results(work, "stat")] == [3]
    assert work("why", "stat/0#1", "--json").json["situation"] == "superseded-growth"
    first = work("show", "stat/0#1", "--json").json
    assert (first["result"]["n"], first["accepted"]) == (2, False)


def test_failed_tasks_are_waited_for_or_skipped(cli: Cli) -> None:
    made(cli, "scan", "--param", "x=0:3", "--", "sh", "-c", "exit $(( $1 == 1 ))", "sh", "{x}")
    count = ["--", "sh", "-c", 'wc -l < "$1"', "sh", "{scan.rows}"]
    made(cli, "waits", "--all", "scan", *count)
    made(cli, "skips", "--all", "scan", "--on-failed", "skip", *count)
    made(cli, "after", "--after", "scan", "--", "true")
    assert cli("run", "-j", "2", "--json").exit == 3
    states = {each["name"]: each["state"] for each in cli("status", "--json").json["maps"]}
    assert states["skips"] == "succeeded"
    assert states["waits"] == "waiting"
    assert states["after"] == "succeeded"  # it only orders
    assert results(cli, "skips") == [2]
    [read] = cli("show", "skips/0", "--json").json["reads"]
    assert (read["tasks"], read["missing"], read["skipped"]) == (3, 0, 1)
    assert "it read 2 of 3 of scan: the others did not succeed" in cli("why", "skips/0", "--json").json["details"]
    why = cli("why", "waits/0", "--json").json
    assert why["next"] == "provrun why scan/1"


def test_dependencies_that_cannot_be_are_told_together(cli: Cli) -> None:
    made(cli, "A", "--param", "x=0:2", "--", "true")
    made(cli, "B", "--param", "y=0:2", "--", "true")
    for words, part in (
        (["--each", "A", "--group", "B", "--by", "y"], "--each"),
        (["--group", "A", "--by", "z"], "z"),
        (["--each", "AA"], "did you mean A?"),
        (["--each", "A", "--param", "x=1"], "x"),
        (["--by", "x"], "--group"),
        (["--each", "A", "--on-failed", "skip"], "--on-failed"),
    ):
        done = cli("submit", "C", "--json", *words, "--", "echo", "{A.result}")
        assert done.exit == 2, (words, done.out)
        assert part in done.error["message"]
    done = cli("submit", "C", "--json", "--each", "A", "--", "echo", "{A.rows}", "{B.result}", "{A.output.o}")
    assert done.exit == 2
    assert done.error["message"].count("\n") >= 3
