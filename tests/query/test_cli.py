"""The questions on the command line, about a study that really ran: keys, exit codes, bytes."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fixtures.cli import Cli
from fixtures.repositories import new_repository

TOOL = """\
import json, sys
x = int(sys.argv[1])
print("working on", x)
print("careful", file=sys.stderr)
if x == 3:
    sys.exit("no solution")
print(json.dumps({"y": x * x, "half": x / 2}))
"""
REDUCE = """\
def total(rows):
    return {"sum": sum(row["result"]["y"] for row in rows)}
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, isolated_home: None) -> Iterator[Cli]:
    """Give a study that no test changes: five commands of which one failed, and a map that waits for it."""
    folder = new_repository(tmp_path_factory.mktemp("study"))
    (folder / "tool.py").write_text(TOOL)
    (folder / "reduce.py").write_text(REDUCE)
    cli = Cli(folder)
    made = cli("submit", "scan", "--param", "x=0:5", "--", sys.executable, "tool.py", "{x}")
    assert made.exit == 0, made.err
    assert cli("submit", "stat", "--all", "scan", "--function", "reduce.py:total").exit == 0
    assert cli("run", "-j", "2").exit == 3
    yield cli


def test_status_answers_with_the_promised_document(study: Cli) -> None:
    document = study("status", "--json").json
    assert list(document) == ["maps"]
    scan, stat = document["maps"]
    assert list(scan)[:10] == [
        "name", "state", "ntasks", "stale", "noresult", "rate", "eta_seconds", "core_hours", "user", "jobs"
    ]
    assert scan["ntasks"] == {"waiting": 0, "pending": 0, "running": 0, "succeeded": 4, "failed": 1, "cancelled": 0}
    assert (stat["state"], scan["stale"], scan["jobs"]) == ("waiting", 0, [])
    assert scan["rate"] > 0 and scan["core_hours"] > 0
    assert study("list", "--json").json["maps"][0]["name"] == "scan"
    assert study("list", "-q").out.split() == ["scan", "stat"]
    assert study("status", "stat", "--json").json["maps"][0]["name"] == "stat"


def test_status_is_read_by_a_person_too(study: Cli) -> None:
    done = study("status")
    assert done.exit == 0
    heading, scan, _ = done.out.splitlines()
    assert heading.split()[:3] == ["MAP", "STATE", "WAITING"]
    assert scan.split()[:2] == ["scan", "failed"]


def test_tasks_are_rows(study: Cli) -> None:
    rows = study("tasks", "scan", "--json").json["tasks"]
    assert [row["state"] for row in rows] == ["succeeded"] * 3 + ["failed", "succeeded"]
    assert (rows[2]["params"], rows[2]["result"], rows[2]["exit"]) == ({"x": 2}, {"y": 4, "half": 1.0}, 0)
    assert (rows[3]["exit"], rows[3]["error"], rows[3]["outcome"]) == (1, "no solution", "exit")
    assert study("tasks", "scan", "--state", "failed", "-q").out == "scan/3\n"
    assert study("tasks", "scan", "--where", "y > 3", "--limit", "1", "-q").out == "scan/2\n"
    table = study("tasks", "scan", "--columns", "task,x,half", "--where", "x in [0, 1]").out
    assert [line.split() for line in table.splitlines()] == [
        ["TASK", "X", "HALF"], ["scan/0", "0", "0"], ["scan/1", "1", "0.5"]
    ]


def test_an_unknown_column_gets_the_nearest(study: Cli) -> None:
    done = study("tasks", "scan", "--columns", "task,halff")
    assert (done.exit, done.out) == (2, "")
    assert "did you mean half?" in done.err


def test_an_empty_list_is_an_empty_document(study: Cli) -> None:
    done = study("tasks", "stat", "--state", "failed", "--json")
    assert (done.exit, done.out) == (0, '{"tasks":[]}\n')


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("tasks", "scna"), 4),
        (("tasks", "scan", "--where", "x >"), 2),
        (("tasks", "scan", "--where", "nothing == 1"), 2),
        (("show", "scan/99"), 4),
        (("find", "x > 100"), 4),
        (("why", "!!"), 2),
        (("results", "scan", "-o", "out.txt"), 2),
        (("results", "scan", "--format", "hdf5"), 2),
        (("get", "scan/1"), 4),
        (("logs", "stat/0"), 4),
        (("diff", "scan/1", "scan"), 2),
        (("wait", "nowhere"), 4),
        (("job", "show", "999"), 4),
    ],
)
def test_what_goes_wrong_has_its_exit_code_and_one_json_document(study: Cli, words: tuple[str, ...], code: int) -> None:
    done = study(*words, "--json")
    assert done.exit == code
    assert done.error["message"]
    assert done.error["next"]


def test_results_are_rows_of_succeeded_tasks(study: Cli) -> None:
    rows = study("results", "scan", "--json").json["results"]
    assert [row["task"] for row in rows] == ["scan/0", "scan/1", "scan/2", "scan/4"]
    table = list(csv.DictReader(io.StringIO(study("results", "scan", "--format", "csv").out)))
    assert [(row["x"], row["half"], row["y"]) for row in table][-1] == ("4", "2.0", "16")
    lines = [json.loads(line) for line in study("results", "scan", "--format", "jsonl").out.splitlines()]
    assert lines == rows
    assert study("results", "scan").out.splitlines()[0].split() == ["TASK", "X", "HALF", "Y"]


def test_results_are_written_into_files(study: Cli, tmp_path: Path) -> None:
    done = study("results", "scan", "-o", str(tmp_path / "scan.csv"), "--json")
    assert done.json == {"written": str(tmp_path / "scan.csv"), "format": "csv", "rows": 4}
    assert (tmp_path / "scan.csv").read_text().count("\n") == 5
    assert list(tmp_path.iterdir()) == [tmp_path / "scan.csv"]


def test_find_prints_refs_that_other_commands_read(study: Cli) -> None:
    refs = study("find", "state == failed", "-q").out
    assert refs == "scan/3\n"
    answer = study("why", "-", "--json", stdin=refs).json
    assert (answer["ref"], answer["situation"]) == ("scan/3", "failed-exit")
    assert list(answer) == ["ref", "situation", "because", "details", "next"]
    assert [row["task"] for row in study("find", "x > 1", "y < 10", "--json").json["tasks"]] == ["scan/2"]


def test_why_ends_with_the_next_command(study: Cli) -> None:
    assert study("why", "scan/3").out.splitlines()[-1] == "next: provrun logs scan/3 --err"
    answer = study("why", "stat/0", "--json").json
    assert (answer["situation"], answer["next"]) == ("waits-for-failed", "provrun why scan/3")
    assert len(study("why", "scan/0", "scan/1", "--json").json["answers"]) == 2


def test_show_tells_the_row_and_the_command(study: Cli) -> None:
    document = study("show", "scan/2", "--json").json
    assert document["command"] == [sys.executable, "tool.py", "2"]
    assert document["result"] == {"y": 4, "half": 1.0}
    assert study("show", "scan[x=2]", "--json").json["task"] == "scan/2"
    assert "  state: succeeded" in study("show", "scan/2").out


def test_logs_are_printed_byte_by_byte(study: Cli) -> None:
    assert study("logs", "scan/3").out == "working on 3\n"
    assert study("logs", "scan/3", "--err").out == "careful\nno solution\n"
    assert study("logs", "scan/3#1", "--json").json == {
        "logs": [{"attempt": "scan/3#1", "out": "working on 3\n", "err": "careful\nno solution\n"}]
    }
    assert study("logs", "scan", "--where", "x < 2").out.splitlines()[:2] == ["==> scan/0#1 <==", "working on 0"]
    assert study("logs", "scan", "--err", "--grep", "no sol").out == "scan/3#1: no solution\n"


def test_trace_reaches_the_commit(study: Cli) -> None:
    out = study("trace", "scan/2").out
    assert out.splitlines()[0].startswith("scan/2  succeeded  result ")
    document: dict[str, Any] = study("trace", "scan/2", "--json").json
    assert document == study("trace", "scan/2", "--format", "json").json
    [code] = [node for node in document["nodes"] if node["kind"] == "code"]
    assert len(code["commit"]) == 40 and code["dirty"] is True
    assert study("trace", "scan/2", "--format", "dot").out.startswith("digraph provrun {")
    assert "stat/0" in study("trace", "scan/2", "--down", "-q").out


def test_diff_tells_what_differs_and_exits_with_1_when_asked(study: Cli) -> None:
    done = study("diff", "scan/1", "scan/2", "--json", "--exit-code")
    assert done.exit == 1
    assert {"what": "parameters.x", "left": 1, "right": 2} in done.json["differences"]
    assert study("diff", "scan/1", "scan/1", "--exit-code").out == "nothing differs\n"
    assert study("diff", "scan/1", "scan/2").exit == 0


def test_code_env_and_jobs(study: Cli) -> None:
    row = study("show", "scan/1", "--json").json
    [code] = study("code", "--json").json["codes"]
    assert code["digest"].startswith(row["code"])
    assert "tool.py" in study("code", "scan/1", "--json").json["patch"]
    environment = study("env", f"env:{row['environment']}", "--json").json
    assert {"msgspec", "click"} <= {package["name"] for package in environment["packages"]}
    [job] = study("job", "list", "--json").json["jobs"]
    assert (job["id"], job["state"]) == (row["job"], "ended")
    assert study("job", "show", str(job["id"]), "--json").json["jobs"][0]["uuid"] == job["uuid"]


def test_the_registry_is_verified(study: Cli) -> None:
    done = study("verify", "--json")
    assert (done.exit, done.json) == (0, {"ok": True, "problems": []})


def test_wait_exits_with_3_when_tasks_have_failed(study: Cli) -> None:
    done = study("wait", "scan", "--json")
    assert (done.exit, done.json["maps"][0]["name"]) == (3, "scan")
    assert study("wait", "stat").exit == 75


def test_watch_prints_plain_lines_off_a_terminal_and_ends_with_the_work(study: Cli) -> None:
    done = study("watch")
    assert done.out.splitlines() == ["scan: failed, 4 succeeded, 1 failed", "stat: waiting, 1 waiting"]


def test_wait_ends_when_the_maps_are_done_or_the_time_is_over(cli: Cli) -> None:
    cli("submit", "scan", "--param", "x=0:2", "--", "sleep", "0.1")
    began = time.monotonic()
    done = cli("wait", "--timeout", "0.3s", "--json")
    assert (done.exit, done.json["maps"][0]["state"]) == (124, "pending")
    assert 0.3 <= time.monotonic() - began < 10
    assert "no job is running; start one: provrun run" in done.err
    waiting = subprocess.Popen([sys.executable, "-m", "provrun", "wait", "scan", "-q"], cwd=cli.folder)
    assert cli("run").exit == 0
    assert waiting.wait(timeout=20) == 0


def test_a_changed_script_makes_results_stale_and_why_names_it(cli: Cli) -> None:
    (cli.folder / "tool.py").write_text(TOOL)
    cli("submit", "scan", "--param", "x=0:3", "--", sys.executable, "tool.py", "{x}")
    cli("run")
    assert cli("status", "--json").json["maps"][0]["stale"] == 0
    (cli.folder / "tool.py").write_text(TOOL + "# faster\n")
    done = cli("status")
    assert "stale: compared with the files of now" in done.err
    assert cli("status", "--json").json["maps"][0]["stale"] == 3
    answer = cli("why", "scan/0", "--json").json
    assert (answer["situation"], "tool.py" in answer["because"]) == ("stale-code", True)
    assert cli("find", "stale", "-q").out.split() == ["scan/0", "scan/1", "scan/2"]
    assert cli("rerun", "scan", "--stale", "--force", "--json").json["changed"] == 3
    assert cli("run").exit == 0
    assert cli("status", "--check", "--json").json["maps"][0]["stale"] == 0


def test_packed_outputs_come_back(cli: Cli, tmp_path: Path) -> None:
    words = ("submit", "files", "--param", "x=1,2", "--output", "out=o/{x}.txt", "--pack", "--shell")
    assert cli(*words, "--", "mkdir -p o; echo {x} > {output.out}").exit == 0
    assert cli("run").exit == 0
    assert not (cli.folder / "o" / "1.txt").exists()
    rows = cli("get", "files", "-o", str(tmp_path / "all"), "--json").json["files"]
    assert [row["attempt"] for row in rows] == ["files/0#1", "files/1#1"]
    assert (tmp_path / "all" / "o" / "2.txt").read_text() == "2\n"
