"""The questions on the command line, about a study that really ran: keys, exit codes, bytes."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from fixtures.cli import Cli
from fixtures.lab import TOOL


def test_status_answers_with_the_promised_document(ran: Cli) -> None:
    document = ran("status", "--json").json
    assert list(document) == ["maps"]
    scan, stat = document["maps"]
    assert list(scan)[:10] == [
        "name", "state", "ntasks", "stale", "noresult", "rate", "eta_seconds", "core_hours", "user", "jobs"
    ]
    assert scan["ntasks"] == {"waiting": 0, "pending": 0, "running": 0, "succeeded": 4, "failed": 1, "cancelled": 0}
    assert (stat["state"], scan["stale"], scan["jobs"]) == ("waiting", 0, [])
    assert scan["rate"] > 0 and scan["core_hours"] > 0
    assert ran("list", "--json").json["maps"][0]["name"] == "scan"
    assert ran("list", "-q").out.split() == ["scan", "stat"]
    assert ran("status", "stat", "--json").json["maps"][0]["name"] == "stat"


def test_status_is_read_by_a_person_too(ran: Cli) -> None:
    done = ran("status")
    assert done.exit == 0
    heading, scan, _ = done.out.splitlines()
    assert heading.split()[:3] == ["MAP", "STATE", "WAITING"]
    assert scan.split()[:2] == ["scan", "failed"]


def test_tasks_are_rows(ran: Cli) -> None:
    rows = ran("tasks", "scan", "--json").json["tasks"]
    assert [row["state"] for row in rows] == ["succeeded"] * 3 + ["failed", "succeeded"]
    assert (rows[2]["params"], rows[2]["result"], rows[2]["exit"]) == ({"x": 2}, {"y": 4, "half": 1.0}, 0)
    assert (rows[3]["exit"], rows[3]["error"], rows[3]["outcome"]) == (1, "no solution", "exit")
    assert ran("tasks", "scan", "--state", "failed", "-q").out == "scan/3\n"
    assert ran("tasks", "scan", "--where", "y > 3", "--limit", "1", "-q").out == "scan/2\n"
    table = ran("tasks", "scan", "--columns", "task,x,half", "--where", "x in [0, 1]").out
    assert [line.split() for line in table.splitlines()] == [
        ["TASK", "X", "HALF"], ["scan/0", "0", "0"], ["scan/1", "1", "0.5"]
    ]


def test_an_unknown_column_gets_the_nearest(ran: Cli) -> None:
    done = ran("tasks", "scan", "--columns", "task,halff")
    assert (done.exit, done.out) == (2, "")
    assert "did you mean half?" in done.err


def test_an_empty_list_is_an_empty_document(ran: Cli) -> None:
    done = ran("tasks", "stat", "--state", "failed", "--json")
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
def test_what_goes_wrong_has_its_exit_code_and_one_json_document(ran: Cli, words: tuple[str, ...], code: int) -> None:
    done = ran(*words, "--json")
    assert done.exit == code
    assert done.error["message"]
    assert done.error["next"]


def test_results_are_rows_of_succeeded_tasks(ran: Cli) -> None:
    rows = ran("results", "scan", "--json").json["results"]
    assert [row["task"] for row in rows] == ["scan/0", "scan/1", "scan/2", "scan/4"]
    table = list(csv.DictReader(io.StringIO(ran("results", "scan", "--format", "csv").out)))
    assert [(row["x"], row["half"], row["y"]) for row in table][-1] == ("4", "2.0", "16")
    lines = [json.loads(line) for line in ran("results", "scan", "--format", "jsonl").out.splitlines()]
    assert lines == rows
    assert ran("results", "scan").out.splitlines()[0].split() == ["TASK", "X", "HALF", "Y"]


def test_results_are_written_into_files(ran: Cli, tmp_path: Path) -> None:
    done = ran("results", "scan", "-o", str(tmp_path / "scan.csv"), "--json")
    assert done.json == {"written": str(tmp_path / "scan.csv"), "format": "csv", "rows": 4}
    assert (tmp_path / "scan.csv").read_text().count("\n") == 5
    assert list(tmp_path.iterdir()) == [tmp_path / "scan.csv"]


def test_find_prints_refs_that_other_commands_read(ran: Cli) -> None:
    refs = ran("find", "state == failed", "-q").out
    assert refs == "scan/3\n"
    answer = ran("why", "-", "--json", stdin=refs).json
    assert (answer["ref"], answer["situation"]) == ("scan/3", "failed-exit")
    assert list(answer) == ["ref", "situation", "because", "details", "next"]
    assert [row["task"] for row in ran("find", "x > 1", "y < 10", "--json").json["tasks"]] == ["scan/2"]


def test_why_ends_with_the_next_command(ran: Cli) -> None:
    assert ran("why", "scan/3").out.splitlines()[-1] == "next: provrun logs scan/3 --err"
    answer = ran("why", "stat/0", "--json").json
    assert (answer["situation"], answer["next"]) == ("waits-for-failed", "provrun why scan/3")
    assert len(ran("why", "scan/0", "scan/1", "--json").json["answers"]) == 2


def test_show_tells_the_row_and_the_command(ran: Cli) -> None:
    document = ran("show", "scan/2", "--json").json
    assert document["command"] == [sys.executable, "tool.py", "2"]
    assert document["result"] == {"y": 4, "half": 1.0}
    assert ran("show", "scan[x=2]", "--json").json["task"] == "scan/2"
    assert "  state: succeeded" in ran("show", "scan/2").out


def test_logs_are_printed_byte_by_byte(ran: Cli) -> None:
    assert ran("logs", "scan/3").out == "working on 3\n"
    assert ran("logs", "scan/3", "--err").out == "careful\nno solution\n"
    assert ran("logs", "scan/3#1", "--json").json == {
        "logs": [{"attempt": "scan/3#1", "out": "working on 3\n", "err": "careful\nno solution\n"}]
    }
    assert ran("logs", "scan", "--where", "x < 2").out.splitlines()[:2] == ["==> scan/0#1 <==", "working on 0"]
    assert ran("logs", "scan", "--err", "--grep", "no sol").out == "scan/3#1: no solution\n"


def test_trace_reaches_the_commit(ran: Cli) -> None:
    out = ran("trace", "scan/2").out
    assert out.splitlines()[0].startswith("scan/2  succeeded  result ")
    document: dict[str, Any] = ran("trace", "scan/2", "--json").json
    assert document == ran("trace", "scan/2", "--format", "json").json
    [code] = [node for node in document["nodes"] if node["kind"] == "code"]
    assert len(code["commit"]) == 40 and code["dirty"] is True
    assert ran("trace", "scan/2", "--format", "dot").out.startswith("digraph provrun {")
    assert "stat/0" in ran("trace", "scan/2", "--down", "-q").out


def test_diff_tells_what_differs_and_exits_with_1_when_asked(ran: Cli) -> None:
    done = ran("diff", "scan/1", "scan/2", "--json", "--exit-code")
    assert done.exit == 1
    assert {"what": "parameters.x", "left": 1, "right": 2} in done.json["differences"]
    assert ran("diff", "scan/1", "scan/1", "--exit-code").out == "nothing differs\n"
    assert ran("diff", "scan/1", "scan/2").exit == 0


def test_code_env_and_jobs(ran: Cli) -> None:
    row = ran("show", "scan/1", "--json").json
    [code] = ran("code", "--json").json["codes"]
    assert code["digest"].startswith(row["code"])
    assert "tool.py" in ran("code", "scan/1", "--json").json["patch"]
    environment = ran("env", f"env:{row['environment']}", "--json").json
    assert {"msgspec", "click"} <= {package["name"] for package in environment["packages"]}
    [job] = ran("job", "list", "--json").json["jobs"]
    assert (job["id"], job["state"]) == (row["job"], "ended")
    assert ran("job", "show", str(job["id"]), "--json").json["jobs"][0]["uuid"] == job["uuid"]


def test_the_registry_is_verified(ran: Cli) -> None:
    done = ran("verify", "--json")
    assert (done.exit, done.json) == (0, {"ok": True, "problems": []})


def test_wait_exits_with_3_when_tasks_have_failed(ran: Cli) -> None:
    done = ran("wait", "scan", "--json")
    assert (done.exit, done.json["maps"][0]["name"]) == (3, "scan")
    assert ran("wait", "stat").exit == 75


def test_watch_prints_plain_lines_off_a_terminal_and_ends_with_the_work(ran: Cli) -> None:
    done = ran("watch")
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


def test_results_of_a_map_that_starts_in_a_folder_are_as_current_as_others(cli: Cli) -> None:
    (cli.folder / "deep").mkdir()
    (cli.folder / "deep" / "tool.py").write_text("print(1)\n")
    there = cli.folder / "deep"
    assert cli("submit", "scan", "--param", "x=0:2", "--", sys.executable, "tool.py", "{x}", at=there).exit == 0
    assert cli("run", "scan").exit == 0
    assert cli("status", "--json").json["maps"][0]["stale"] == 0
    (cli.folder / "deep" / "tool.py").write_text("print(2)\n")
    assert cli("status", "--json").json["maps"][0]["stale"] == 2


def test_code_that_differs_from_what_was_submitted_is_told_and_explained(cli: Cli) -> None:
    (cli.folder / "tool.py").write_text("print(1)\n")
    assert cli("submit", "scan", "--param", "x=0:2", "--", sys.executable, "tool.py", "{x}").exit == 0
    (cli.folder / "tool.py").write_text("print(2)\n")
    done = cli("run", "scan")
    assert done.err.count("scan runs other code than it was submitted with (tool.py)") == 1
    explained = cli("why", "scan/0", "--json").json["details"][-1]
    assert "it ran code:" in explained
    compared = explained.partition("provrun ")[2].split()
    assert [one["what"] for one in cli(*compared, "--json").json["differences"]] == [
        "code.tree", "code.patch"
    ]
    assert "2 attempts of it ran other code than it was submitted with" in cli("why", "scan").out
    # Submitted again as it lies there: what runs from now on is what was asked for.
    assert cli("submit", "scan", "--param", "x=0:3", "--", sys.executable, "tool.py", "{x}").exit == 0
    assert "other code" not in cli("run", "scan").err
    assert "it ran code:" not in cli("why", "scan/2").out


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
