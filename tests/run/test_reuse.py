"""`--reuse`: a task whose equal another map has is not executed, and nothing that is not equal is taken for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fixtures.cli import Cli
from fixtures.repositories import commit_all
from fixtures.runs import Runs
from fixtures.witness import Witness
from provrun.core.records import REUSED, Dependency
from provrun.project.logs import open_log
from provrun.project.reusing import reuse, tells
from provrun.store.reads import Reads

TOOL = "import sys; print(int(sys.argv[1]) * 2)\n"


def prepared(cli: Cli) -> Path:
    (cli.folder / "tool.py").write_text(TOOL)
    (cli.folder / "notes.txt").write_text("nothing\n")
    commit_all(cli.folder, "Tool")
    return cli.folder


def submitted(cli: Cli, name: str, *words: str, command: tuple[str, ...] = (sys.executable, "tool.py", "{x}")) -> Any:
    """Submit a map of three tasks and give the answer."""
    done = cli("submit", name, "--param", "x=0:3", "--json", *words, "--", *command)
    assert done.exit == 0, done.out
    return done.json


def test_results_of_another_map_are_taken_and_the_rest_is_executed(cli: Cli) -> None:
    folder = prepared(cli)
    submitted(cli, "scan")
    assert cli("run", "--json").json["reused"] == 0
    (folder / "notes.txt").write_text("an edit elsewhere makes nothing doubtful\n")
    done = cli("submit", "more", "--reuse", "--param", "x=1:5", "--json", "--", sys.executable, "tool.py", "{x}")
    assert (done.json["added"], done.json["reused"]) == (4, 2)
    ran = cli("run", "more", "--json").json
    assert (ran["succeeded"], ran["reused"]) == (2, 0)
    rows = cli("results", "more", "--json").json["results"]
    assert [(row["attempt"], row["attempts"], row["result"]) for row in rows] == [
        (None, 0, 2), (None, 0, 4), (1, 1, 6), (1, 1, 8)
    ]
    assert [row["task"] for row in cli("find", "attempts == 0 and state == succeeded", "--json").json["tasks"]] == [
        "more/0", "more/1"
    ]
    [status] = cli("status", "more", "--json").json["maps"]
    assert (status["reused"], status["stale"], status["ntasks"]["succeeded"]) == (2, 0, 4)
    shown = cli("show", "more/0", "--json").json
    assert shown["origin"]["ref"] == "scan/1#1"
    assert shown["origin"]["present"] is True
    assert shown["history"] == []
    assert cli("logs", "more/0").out == "2\n"
    assert cli("diff", "more/0", "scan/1", "--json").json["equal"] is True
    why = cli("why", "more/0", "--json").json
    assert why["situation"] == "reused"
    assert "scan/1#1" in why["because"]
    up = cli("trace", "more/0", "--json").json
    assert {"from": "more/0", "relation": "reuses the result of", "to": "scan/1#1"} in up["edges"]
    down = cli("trace", "scan/1", "--down", "--json").json
    assert {"from": "scan/1", "relation": "is reused by", "to": "more/0"} in down["edges"]
    # What is reused grows stale like any other.
    (folder / "tool.py").write_text(TOOL.replace("2", "20"))
    assert cli("status", "more", "--json").json["maps"][0]["stale"] == 4
    assert "of scan/1#1" in cli("why", "more/0").out
    # It is executed by whoever asks for it, and the maker of what is left stays known without its map.
    assert cli("rerun", "more", "--where", "x == 1", "--force").exit == 0
    assert cli("run", "more", "--json").json["succeeded"] == 1
    assert cli("delete", "scan", "--force").exit == 0
    shown = cli("show", "more/1", "--json").json
    assert (shown["origin"]["ref"], shown["origin"]["present"]) == ("scan/2#1", False)
    tree = cli("trace", "more/1").out
    assert "reuses the result of scan/2#1" in tree
    assert "used code file tool.py" in tree
    assert cli("trace", "more/0", "--json").json["nodes"][1]["id"] == "more/0#1"
    assert cli("verify").exit == 0


def test_a_map_is_told_later_to_take_results_of_others(cli: Cli) -> None:
    prepared(cli)
    submitted(cli, "scan")
    submitted(cli, "more")
    assert cli("run", "scan").exit == 0
    assert "reuse: False -> True" in cli("set", "more", "--reuse").out
    assert cli("set", "more", "--reuse", "--json").json["changed"] == 0
    ran = cli("run", "--json").json
    assert (ran["succeeded"], ran["reused"]) == (0, 3)
    assert cli("why", "more/1", "--json").json["situation"] == "reused"


def test_what_another_code_input_or_environment_made_is_not_taken(cli: Cli) -> None:
    folder = prepared(cli)
    (folder / "data.txt").write_text("1")
    command = (sys.executable, "tool.py", "{x}")
    submitted(cli, "scan", "--input", "data.txt")
    assert cli("run").exit == 0
    assert submitted(cli, "same", "--reuse", "--input", "data.txt")["reused"] == 3
    assert submitted(cli, "bare", "--reuse")["reused"] == 0, "another recipe: it reads no input"
    assert submitted(cli, "uses", "--reuse", "--input", "data.txt", "--uses", "notes.txt")["reused"] == 0
    assert submitted(cli, "without", "--input", "data.txt")["reused"] == 0, "nobody asked for it"
    (folder / "data.txt").write_text("2")
    assert submitted(cli, "input", "--reuse", "--input", "data.txt")["reused"] == 0
    (folder / "data.txt").write_text("1")
    assert submitted(cli, "again", "--reuse", "--input", "data.txt")["reused"] == 3
    (folder / "tool.py").write_text(f"# a comment\n{TOOL}")
    assert submitted(cli, "edited", "--reuse", "--input", "data.txt", command=command)["reused"] == 0
    # That somebody holds the old results valid does not make them equal.
    assert cli("accept", "scan", "--because", "a comment only").exit == 0
    assert submitted(cli, "held", "--reuse", "--input", "data.txt")["reused"] == 0
    assert cli("verify").exit == 0


def test_own_inputs_and_output_files_must_lie_there_as_they_were(cli: Cli) -> None:
    folder = cli.folder
    (folder / "out").mkdir()
    for n in range(3):
        (folder / f"in{n}.txt").write_text(str(n))
    words = ("--input", "in{x}.txt", "--output", "o=out/{x}.txt")
    command = ("sh", "-c", "cat in$1.txt > out/$1.txt && cat out/$1.txt", "sh", "{x}")
    submitted(cli, "scan", *words, command=command)
    assert cli("run").exit == 0
    (folder / "in0.txt").write_text("another")
    (folder / "out" / "1.txt").unlink()
    assert submitted(cli, "more", "--reuse", *words, command=command)["reused"] == 1
    assert cli("run", "more", "--json").json["succeeded"] == 2
    rows = cli("results", "more", "--json").json["results"]
    assert [row["attempt"] for row in rows] == [1, 1, None]
    assert rows[2]["outputs"]["o"]["path"] == "out/2.txt"
    packed = ("--output", "o=out/{x}.txt", "--pack")
    submitted(cli, "packed", *packed, command=command)
    assert cli("run", "packed").exit == 0
    assert submitted(cli, "again", "--reuse", *packed, command=command)["reused"] == 3
    assert cli("delete", "packed", "--force").exit == 0
    assert cli("get", "again/2", "-o", "got").exit == 0
    assert (folder / "got" / "out" / "2.txt").read_text() == "2"


def test_tasks_that_are_told_who_they_are_share_nothing(cli: Cli) -> None:
    for number, word in enumerate(("{task}", "{index}", "$PROVRUN_TASK")):
        command = ("sh", "-c", f"echo {word} {{x}}")
        name = f"m{number}"
        submitted(cli, name, command=command)
        assert cli("run", name).exit == 0
        done = cli("submit", f"{name}b", "--reuse", "--param", "x=0:3", "--", *command)
        assert done.exit == 0
        assert f"nothing is reused for {name}b: {word}" in done.err
        assert cli("status", f"{name}b", "--json").json["maps"][0]["ntasks"]["pending"] == 3


def test_a_command_that_names_no_file_takes_only_what_the_whole_code_made(cli: Cli) -> None:
    folder = prepared(cli)
    command = ("sh", "-c", "echo {x}")
    submitted(cli, "scan", command=command)
    assert cli("run").exit == 0
    assert submitted(cli, "same", "--reuse", command=command)["reused"] == 3
    (folder / "tool.py").write_text("print(3)\n")
    assert submitted(cli, "other", "--reuse", command=command)["reused"] == 0


def test_a_run_takes_what_has_been_made_since_the_submission(runs: Runs, witness: Witness) -> None:
    work = ["sh", "-c", witness.shell("{x}") + "; echo {x}"]
    runs.submit("a", work, 3)
    runs.submit("b", work, 4, reuse=True)
    runs.submit("c", ["sh", "-c", witness.shell("c") + "; echo {b.result}"], params=[{}],
                on=[Dependency(upstream="b", kind="each")])
    assert runs.run("a").succeeded == 3
    done = runs.run("c")
    assert (done.succeeded, done.reused, done.failed) == (1 + 4, 3, 0)
    assert witness.counts() == {"0": 1, "1": 1, "2": 1, "3": 1, "c": 4}
    # All there is to do may be to take over.
    runs.submit("d", work, 4, reuse=True)
    assert (runs.run("d").reused, runs.run("d").reused) == (4, 0)
    assert runs.counts("d") == {"succeeded": 4}


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make either kind the registry of projects to come; it outlives the last look at them if it is asked for first."""
    if request.param == "postgresql":
        monkeypatch.setenv("PROVRUN_URL", request.getfixturevalue("postgres_url"))
    return str(request.param)


def test_tasks_whose_inputs_a_run_makes_take_over_when_they_are_claimed(
    database: str, runs: Runs, witness: Witness
) -> None:
    runs.submit("a", ["sh", "-c", witness.shell("a") + "; echo {x}"], 30)
    work = ["sh", "-c", witness.shell("work") + "; echo {a.result}"]
    on = Dependency(upstream="a", kind="each")
    runs.submit("b", work, params=[{}], on=[on])
    runs.submit("c", work, params=[{}], on=[on, Dependency(upstream="b", kind="after")], reuse=True)
    done = runs.run(slots=1)
    assert (done.succeeded, done.reused) == (60, 30)
    assert witness.counts() == {"a": 30, "work": 30}
    assert runs.counts("c") == {"succeeded": 30}
    project = runs.project()
    registry = project.registry
    c = registry.find_map("c")
    assert c is not None
    assert {task.accepted for task in registry.tasks(c.id)} == {REUSED}
    found = Reads(registry.database).origins(c.id, range(30))
    assert {index: (origin.map, origin.task) for index, origin in found.items()} == {n: ("b", n) for n in range(30)}
    assert registry.check() == []
    project.close()


def test_hosts_that_share_a_log_reuse_what_others_made(
    runs: Runs, witness: Witness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = ["sh", "-c", witness.shell("{x}") + "; echo {x}"]
    runs.submit("a", work, 3)
    assert runs.run("a").succeeded == 3
    runs.submit("b", work, 5, reuse=True)
    monkeypatch.setenv("PROVRUN_LOG", "always")
    monkeypatch.setenv("PROVRUN_SCRATCH", str(tmp_path / "scratch"))
    project = runs.project()
    assert open_log(project)
    project.close()
    done = subprocess.run(
        [sys.executable, "-m", "provrun", "run", "--json", "b"], cwd=runs.root, capture_output=True, text=True,
        env={**os.environ, "PROVRUN_HOST": "elsewhere"}, check=False, timeout=60,
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["succeeded"], document["reused"]) == (2, 3)
    assert runs.counts("b") == {"succeeded": 5}
    assert set(witness.counts().values()) == {1}


def test_a_paused_map_takes_nothing(runs: Runs) -> None:
    runs.submit("a", ["echo", "{x}"], 2)
    runs.run("a")
    runs.submit("b", ["echo", "{x}"], 2, reuse=True)
    project = runs.project()
    b = project.registry.find_map("b")
    assert b is not None
    assert tells(b.recipe) is None
    project.registry.pause(b.id, True)
    assert reuse(project, project.registry.maps()) == {}
    project.registry.pause(b.id, False)
    assert reuse(project, project.registry.maps()) == {b.id: 2}
    project.close()
