"""What a task finds when it starts, what becomes of what it makes, and what its policy does."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from fixtures.cli import Cli

SURROUNDINGS = """\
import json, os, sys
names = ["PROVRUN_TASK", "PROVRUN_ATTEMPT", "PROVRUN_CORES", "PROVRUN_HOSTS", "PROVRUN_SEED", "PROVRUN_TMPDIR"]

def seen(x=None):
    return {
        "cwd": os.getcwd(), "stdin": sys.stdin.read() if sys.stdin else "", "threads": os.environ["OMP_NUM_THREADS"],
        "empty": os.listdir(os.environ["PROVRUN_TMPDIR"]), "secret": os.environ.get("MY_SETTING"),
        **{name.removeprefix("PROVRUN_").lower(): os.environ[name] for name in names},
    }

if __name__ == "__main__":
    params = json.load(open(os.environ["PROVRUN_PARAMS"]))
    with open(os.environ["PROVRUN_RESULT"], "w") as file:
        json.dump({**seen(), "params": params, "words": sys.argv[1:]}, file)
"""
RANDOM = """\
import random
import numpy
import provrun

def draw(x):
    return [random.random(), float(numpy.random.random()), float(provrun.rng().random())]
"""


def rows(cli: Cli, map: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = cli("tasks", map, "--json").json["tasks"]
    return found


def submit(cli: Cli, *words: str, at: Path | None = None) -> None:
    done = cli("submit", *words, at=at)
    assert done.exit == 0, done.err


def test_commands_and_functions_find_the_promised_surroundings(cli: Cli) -> None:
    below = cli.folder / "below"
    below.mkdir()
    (below / "tool.py").write_text(SURROUNDINGS)
    words = ["--param", "x=3", "--cores", "2"]
    command = ["--", sys.executable, "tool.py", "{tmpdir}", "{cores}", "{task}"]
    submit(cli, "command", *words, "--result", "file", *command, at=below)
    submit(cli, "function", *words, "--function", "tool.py:seen", at=below)
    done = cli("run", "-j", "2", stdin="not for tasks", OMP_NUM_THREADS="", MY_SETTING="set")
    assert done.exit == 0, done.out + done.err
    for map in ("command", "function"):
        [row] = rows(cli, map)
        found = row["result"]
        assert found["cwd"] == str(below)
        assert (found["stdin"], found["empty"], found["secret"]) == ("", [], "set")
        assert (found["task"], found["attempt"], found["cores"]) == (f"{map}/0", f"{map}/0#1", "2")
        assert found["hosts"] == row["node"]
        assert 0 <= int(found["seed"]) < 2**31
        assert not Path(found["tmpdir"]).exists()
    [row] = rows(cli, "command")
    assert row["result"]["params"] == {"x": 3}
    assert row["result"]["words"] == [row["result"]["tmpdir"], "2", "command/0"]


def test_random_numbers_come_from_the_task_alone(cli: Cli) -> None:
    (cli.folder / "draws.py").write_text(RANDOM)
    submit(cli, "draw", "--param", "x=0:6", "--function", "draws.py:draw")
    assert cli("run", "-j", "2").exit == 0
    first = [row["result"] for row in rows(cli, "draw")]
    assert len({tuple(draws) for draws in first}) == 6
    assert cli("rerun", "draw", "--force").exit == 0
    assert cli("run", "-j", "1").exit == 0
    assert [row["result"] for row in rows(cli, "draw")] == first
    assert {row["attempt"] for row in rows(cli, "draw")} == {2}


def test_each_way_to_a_result(cli: Cli) -> None:
    ways: dict[str, tuple[list[str], object]] = {
        "object": (["echo text; echo '{\"a\": [1, 2.0]}'"], {"a": [1, 2.0]}),
        "number": (["echo 1.5e3"], 1500.0),
        "nan": (["echo '[NaN, Infinity]'"], [{"$float": "nan"}, {"$float": "inf"}]),
        "word": (["echo '\"quoted\"'"], None),
        "whole": (["--result", "stdout-json", "echo '{'; echo '\"a\": 1}'"], {"a": 1}),
        "text": (["--result", "stdout-text", "printf 'a\\nb'"], "a\nb"),
        "file": (["--result", "file", "echo '[1]' > \"$PROVRUN_RESULT\"; echo 5"], [1]),
        "none": (["--result", "none", "echo 5"], None),
    }
    for name, ([*options, script], _) in ways.items():
        submit(cli, name, *options, "--", "sh", "-c", script)
    submit(cli, "some", "--param", "x=0:3", "--", "sh", "-c", "test $1 = 1 || echo $1", "sh", "{x}")
    submit(cli, "promised", "--result", "file", "--", "true")
    done = cli("run", "-j", "2", "--json")
    assert (done.exit, done.json["failed"], done.json["noresult"]) == (3, 1, 1)
    for name, (_, expected) in ways.items():
        assert rows(cli, name)[0]["result"] == expected, name
    noresult = {each["name"]: each["noresult"] for each in cli("status", "--json").json["maps"]}
    assert (noresult["some"], noresult["none"]) == (1, 0)
    assert "$PROVRUN_RESULT" in rows(cli, "promised")[0]["error"]


def test_files_flow_are_digested_and_kept_in_packs(cli: Cli) -> None:
    (cli.folder / "in.1").write_text("hello\n")
    words = ["--param", "x=1,2", "--input", "in.{x}", "--output", "o=out/{x}.txt"]
    submit(cli, "copy", *words, "--", "sh", "-c", 'mkdir -p out; cat "$1" > "$2"', "sh", "{input.0}", "{output.o}")
    twice = ["--", "sh", "-c", 'mkdir -p two; cat "$1" "$1" > "$2"', "sh", "{copy.output.o}", "{output.t}"]
    submit(cli, "twice", "--each", "copy", "--output", "t=two/{x}.txt", "--pack", *twice)
    assert cli("run", "-j", "2").exit == 3
    good, bad = rows(cli, "copy")
    digest = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
    assert good["outputs"] == {"o": {"path": "out/1.txt", "digest": digest, "size": 6, "packed": False}}
    assert (bad["outcome"], bad["outputs"]) == ("launcher", {})
    assert "in.2" in bad["error"]
    assert not (cli.folder / "two" / "1.txt").exists()
    assert cli("get", "twice/0", "-o", "back").exit == 0
    assert (cli.folder / "back" / "two" / "1.txt").read_text() == "hello\n" * 2
    assert cli("show", f"sha256:{digest[:12]}", "-q").exit == 0
    for wrong in ("o=/abs", "o=../up", "o", "o=same"):
        done = cli("submit", "new", "--param", "x=1,2", "--output", wrong, "--json", "--", "true")
        assert (done.exit, done.error["code"]) == (2, "invalid"), wrong


def test_limits_grow_from_try_to_try(cli: Cli) -> None:
    slow = ["--", "sh", "-c", "sleep 0.8; echo $PROVRUN_ATTEMPT"]
    submit(cli, "slow", "--task-time", "0.5s", "--retries", "2", "--retry-time", "x4", "--result", "stdout-text", *slow)
    (cli.folder / "wide.py").write_text("def wide():\n    return len(bytearray(90 << 20) + b'.')\n")
    submit(cli, "wide", "--task-memory", "40M", "--retries", "1", "--retry-memory", "x20", "--function", "wide.py:wide")
    submit(cli, "never", "--task-time", "00:00:01", "--", "sleep", "30")
    started = time.monotonic()
    assert cli("run", "-j", "2").exit == 3
    assert time.monotonic() - started < 25
    assert [(row["outcome"], row["attempts"], row["result"]) for row in rows(cli, "slow")] == [
        ("succeeded", 2, "slow/0#2")
    ]
    assert [(row["outcome"], row["attempts"]) for row in rows(cli, "wide")] == [("succeeded", 2)]
    [row] = rows(cli, "never")
    assert (row["state"], row["outcome"], row["attempts"]) == ("failed", "timeout", 1)
    done = cli("retry", "never", "--task-time", "x2", "--json")
    assert (done.json["changed"], done.json["next"]) == (1, "provrun run never")
    assert cli("show", "never/0", "--json").json["limits"]["time"] == 2.0
    assert cli("retry", "never", "--task-memory", "1G").exit == 2  # `set` gives absolute limits


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--task-time", "soon"), ("--task-memory", "4Q"), ("--retries", "-1"), ("--retry-time", "2"), ("--tag", "k"),
        ("--priority", "high"), ("--cores", "0"), ("--isolate", "map"), ("--code", "dirty"), ("--result", "json"),
        ("--on-failed", "stop"), ("--chunk", "0"), ("--sample", "0"),
    ],
)
def test_what_an_option_does_not_take_is_a_usage_error(cli: Cli, option: str, value: str) -> None:
    done = cli("submit", "scan", "--param", "x=1", option, value, "--json", "--", "true")
    assert done.exit == 2
    assert option in done.error["message"] or value in done.error["message"]


def test_tags_priorities_and_defaults_are_asked_for(cli: Cli) -> None:
    (cli.folder / "work.py").write_text("def f(x, y=[1, None]):\n    return x\n")
    submit(cli, "low", "--param", "x=0:2", "--tag", "who=ada", "--", "sh", "-c", "date +%s%N >> low")
    submit(cli, "high", "--param", "x=0:2", "--priority", "5", "--", "sh", "-c", "date +%s%N >> high")
    submit(cli, "func", "--param", "x=1", "--function", "work.py:f")
    assert cli("set", "low", "--where", "x == 1", "--priority", "9", "-q").out == "low\n"
    assert cli("run", "-j", "1").exit == 0
    started = {row["task"]: row["started"] for map in ("low", "high") for row in rows(cli, map)}
    assert sorted(started, key=started.__getitem__) == ["low/1", "high/0", "high/1", "low/0"]
    assert cli("find", "tag.who == ada and x == 0", "-q").out == "low/0\n"
    assert json.dumps(rows(cli, "func")[0]["defaults"]) == '{"y": [1, null]}'
