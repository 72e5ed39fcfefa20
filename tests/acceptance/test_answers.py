"""What every command answers: documents, REFs, exit codes, help, configuration."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.cli import Cli
from fixtures.repositories import new_repository
from provrun.cli.main import COMMANDS

STATUS = ["name", "state", "ntasks", "stale", "noresult", "rate", "eta_seconds", "core_hours", "user", "jobs"]
STATES = ["waiting", "pending", "running", "succeeded", "failed", "cancelled"]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, isolated_home: None) -> Iterator[Cli]:
    """Give a project that no test changes: `good` succeeded, of `mixed` one task has failed."""
    cli = Cli(new_repository(tmp_path_factory.mktemp("answers")))
    assert cli("submit", "good", "--param", "x=0:3", "--function", "analysis.py:square").exit == 0
    assert cli("submit", "mixed", "--param", "x=0:2", "--", "sh", "-c", "exit {x}").exit == 0
    assert cli("run", "-j", "2").exit == 3
    yield cli


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (["list"], "maps"), (["status", "good"], "maps"), (["tasks", "good"], "tasks"), (["find", "x == 1"], "tasks"),
        (["results", "good"], "results"), (["job", "list"], "jobs"), (["job", "show", "1"], "jobs"),
    ],
)
def test_lists_are_documents_with_one_key(study: Cli, words: list[str], key: str) -> None:
    done = study(*words, "--json")
    assert done.exit == 0
    assert list(done.json) == [key]
    if key == "maps":
        assert list(done.json["maps"][0])[: len(STATUS)] == STATUS
        assert list(done.json["maps"][0]["ntasks"]) == STATES


@pytest.mark.parametrize(
    ("words", "refs"),
    [
        (["list"], ["good", "mixed"]),
        (["status", "mixed"], ["mixed"]),
        (["tasks", "good", "--limit", "2"], ["good/0", "good/1"]),
        (["results", "mixed"], ["mixed/0"]),
        (["find", "state == failed"], ["mixed/1"]),
        (["show", "good/1#1"], ["good/1#1"]),
        (["why", "mixed/1"], ["mixed/1"]),
        (["job", "list"], ["job:1"]),
        (["job", "show", "1"], ["job:1"]),
        (["resume", "good"], ["good"]),
        (["recover"], ["good", "mixed"]),
    ],
)
def test_quiet_answers_are_refs_and_nothing_else(study: Cli, words: list[str], refs: list[str]) -> None:
    done = study(*words, "-q")
    assert (done.exit, done.out.split(), done.err) == (0, refs, "")


@pytest.mark.parametrize(
    ("words", "exit", "code"),
    [
        (["run", "good"], 0, None),
        (["run", "mixed"], 3, None),
        (["run"], 3, None),
        (["wait", "good"], 0, None),
        (["wait", "mixed"], 3, None),
        (["verify"], 0, None),
        (["diff", "good/0", "good/1", "--exit-code"], 1, None),
        (["tasks", "goood"], 4, "not-found"),
        (["show", "good/7"], 4, "not-found"),
        (["show", "good[x=9]"], 4, "not-found"),
        (["show", "code:ffff"], 4, "not-found"),
        (["show", "job:9"], 4, "not-found"),
        (["trace", "sha256:ffff"], 4, "not-found"),
        (["trace", "./nothing"], 4, "not-found"),
        (["find", "x == 77"], 4, "not-found"),
        (["find", "x =="], 2, None),
        (["show", "code:zz"], 2, "usage"),
        (["tasks", "good", "--state", "done"], 2, "usage"),
        (["nonsense"], 2, "usage"),
        (["rerun", "good"], 5, "refused"),
        (["delete", "good"], 5, "refused"),
        (["submit", "good", "--param", "x=1", "--", "true"], 5, "refused"),
        (["init"], 5, "refused"),
    ],
)
def test_exit_codes(study: Cli, words: list[str], exit: int, code: str | None) -> None:
    at = words.index("--") if "--" in words else len(words)
    done = study(*words[:at], "--json", *words[at:])
    assert done.exit == exit, done.out
    if code is not None:
        assert done.error["code"] == code
        assert done.error["message"]


def test_mistyped_names_get_the_nearest(study: Cli) -> None:
    for words, nearest in (
        (["statsu"], "status"), (["status", "goood"], "good"), (["tasks", "good", "--limt", "1"], "--limit"),
        (["find", "resut == 1"], "result"), (["show", "cod:ffff"], "code:ffff"), (["db", "upgrad"], "upgrade"),
    ):
        done = study(*words, "--json")
        assert done.exit in (2, 4), words
        assert nearest in str(done.error["next"]), words


def test_refs_come_from_stdin(study: Cli) -> None:
    found = study("find", "map == good and x > 0", "-q").out
    assert study("show", "-", "-q", stdin=found).out == found
    assert study("logs", "-", stdin=found).exit == 0
    assert len(study("why", "-", stdin=found).out.split("next:")) == 3


def test_help_of_every_command_opens_with_two_examples(study: Cli) -> None:
    script = (
        "import sys\nfrom provrun.cli.failures import guarded\n"
        f"for name in {list(COMMANDS)!r}:\n    print('@@', name)\n    guarded([name, '--help'])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    pages = dict(page.split("\n", 1) for page in done.stdout.split("@@ ")[1:])
    assert set(pages) == set(COMMANDS)
    for name, page in pages.items():
        head = page.split("Usage:")[0].splitlines()
        assert head[0] == "Examples:", name
        assert sum("provrun" in line and name in line for line in head[1:]) >= 2, name
        assert all(option in page for option in ("--project", "--json", "-q", "--help")), name


def test_no_colour_and_no_animation_off_a_terminal(study: Cli) -> None:
    for words in (["status"], ["run", "mixed"], ["nonsense"], ["watch"], ["why", "mixed/1"]):
        done = study(*words, FORCE_COLOR="1", TERM="xterm-256color")
        assert "\x1b" not in done.out + done.err, words
        assert "\r" not in done.out + done.err, words


def test_configuration_says_where_a_value_comes_from(cli: Cli) -> None:
    assert cli("init").exit == 0
    with (cli.folder / ".provrun" / "config.toml").open("a") as file:
        file.write("slots = 3\n")
    assert origin(cli, "slots") == (3, "config.toml")
    assert origin(cli, "slots", PROVRUN_SLOTS="5") == (5, "PROVRUN_SLOTS")
    assert origin(cli, "orcid")[1] == "default"


def origin(cli: Cli, name: str, **variables: str) -> tuple[object, str]:
    settings = cli("config", "--origin", "--json", **variables).json["settings"]
    [found] = [each for each in settings if each["name"] == name]
    return found["value"], found["origin"]


def test_a_project_is_found_upward_by_option_and_by_variable(study: Cli, tmp_path: Path) -> None:
    below = study.folder / "deep" / "down"
    below.mkdir(parents=True)
    assert study("list", "-q", at=below).out == "good\nmixed\n"
    assert study("list", "-q", "--project", str(study.folder), at=tmp_path).out == "good\nmixed\n"
    assert study("list", "-q", at=tmp_path, PROVRUN_PROJECT=str(study.folder)).out == "good\nmixed\n"
    done = study("list", "--json", at=tmp_path)
    assert done.exit == 1
    assert "provrun" in done.error["next"]


def test_a_paused_map_stops_early_and_is_told_so(cli: Cli) -> None:
    assert cli("submit", "scan", "--param", "x=0:2", "--", "true").exit == 0
    assert cli("pause", "scan", "--json").json == {"changed": 2, "maps": ["scan"], "next": "provrun resume scan"}
    done = cli("run", "scan", "--json")
    assert done.exit == 75
    assert done.json["reason"]
    assert cli("why", "scan/0", "--json").json["next"] == "provrun resume scan"
    assert cli("wait", "scan", "--timeout", "0.2s").exit == 124
    assert cli("resume", "scan").exit == 0
    assert cli("run", "scan").exit == 0


def test_a_run_that_is_told_to_end_leaves_a_sound_registry(cli: Cli) -> None:
    assert cli("submit", "long", "--param", "x=0:4", "--", "sh", "-c", "touch began; exec sleep 30").exit == 0
    for number in (signal.SIGTERM, signal.SIGKILL):
        command = [sys.executable, "-m", "provrun", "run", "long", "-j", "2", "--json"]
        run = subprocess.Popen(command, cwd=cli.folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for _ in range(600):
            if (cli.folder / "began").exists():
                break
            time.sleep(0.05)
        (cli.folder / "began").unlink()
        run.send_signal(number)
        out, _ = run.communicate(timeout=30)
        (cli.folder / "began").unlink(missing_ok=True)  # the other task may have come later
        if number == signal.SIGTERM:
            assert run.returncode == 143
            assert json.loads(out)["succeeded"] == 0
        else:
            assert cli("recover", "--json").json["changed"] >= 2  # what ran, and what was claimed ahead
        assert cli("status", "long", "--json").json["maps"][0]["ntasks"]["pending"] == 4
        assert cli("verify").exit == 0
