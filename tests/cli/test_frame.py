"""What every command has in common."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest

from fixtures.cli import Cli
from provrun.cli.main import COMMANDS
from provrun.cli.options import Command, Face, Group, command
from provrun.errors import LogEnded


def commands() -> list[tuple[str, click.Command]]:
    """Give every command and subcommand by the words that call it."""
    found: list[tuple[str, click.Command]] = []
    for name, (module, attribute, _) in COMMANDS.items():
        command = getattr(importlib.import_module(module), attribute)
        found.append((name, command))
        if isinstance(command, Group):
            found += [(f"{name} {inner}", each) for inner, each in command.commands.items()]
    return found


@pytest.mark.parametrize(("words", "command"), commands(), ids=lambda each: each if isinstance(each, str) else "")
def test_help_opens_with_two_examples_of_the_command(words: str, command: click.Command) -> None:
    assert isinstance(command, Command | Group)
    help = command.get_help(click.Context(command, info_name=f"provrun {words}"))
    lines = help.splitlines()
    assert lines[0] == "Examples:"
    examples = lines[1 : lines.index("")]
    assert len(examples) >= 2
    assert all(f"provrun {words}" in example for example in examples)
    for option in ("--project", "--json", "-q", "--debug", "--help"):
        assert option in help


def test_a_command_under_which_a_log_is_closed_begins_anew(capsys: pytest.CaptureFixture[str]) -> None:
    calls = []

    @command("provrun again", "provrun again -q", name="again")
    def again(face: Face) -> None:
        calls.append(face)
        if len(calls) < 3:
            raise LogEnded
        face.out.answer({"calls": len(calls)}, text="done")

    again.main([], standalone_mode=False, obj=Face())
    assert capsys.readouterr().out == "done\n" and len(calls) == 3

    @command("provrun never", "provrun never -q", name="never")
    def never(face: Face) -> None:
        raise LogEnded

    with pytest.raises(LogEnded, match="closed"):
        never.main([], standalone_mode=False, obj=Face())


@pytest.mark.parametrize(("words", "command"), commands(), ids=lambda each: each if isinstance(each, str) else "")
def test_every_option_says_what_it_does(words: str, command: click.Command) -> None:
    options = [param for param in command.params if isinstance(param, click.Option)]
    assert [option.name for option in options if not option.help] == []


def test_the_help_lists_every_command_and_opens_with_two_examples(cli: Cli) -> None:
    done = cli("--help")
    assert done.exit == 0
    assert done.out.startswith("Examples:\n  provrun ")
    assert [name for name, entry in COMMANDS.items() if f"  {name} " not in done.out or entry[2] not in done.out] == []


def test_the_help_needs_no_import_of_commands() -> None:
    def imported(*words: str) -> set[str]:
        done = subprocess.run([sys.executable, "-X", "importtime", *words], capture_output=True, text=True, check=True)
        return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}

    ours = imported("-m", "provrun", "--help") - imported("-c", "import runpy")
    assert ours <= {"__future__", "types", "provrun", "provrun.cli", "provrun.cli.main"}


def test_the_help_takes_at_most_five_times_what_python_takes_to_start() -> None:
    def fastest(*words: str) -> float:
        times = []
        for _ in range(7):
            start = time.perf_counter()
            subprocess.run([sys.executable, *words], check=True, capture_output=True)
            times.append(time.perf_counter() - start)
        return min(times)

    assert fastest("-m", "provrun", "--help") <= 5 * fastest("-c", "pass")


def test_version_is_printed(cli: Cli) -> None:
    from provrun import __version__

    assert cli("--version").out == f"provrun {__version__}\n"


def test_no_command_is_a_usage_error_with_the_help_on_stderr(cli: Cli) -> None:
    done = cli()
    assert (done.exit, done.out) == (2, "")
    assert "Usage: provrun COMMAND" in done.err


def test_an_unknown_command_gets_the_nearest(cli: Cli) -> None:
    done = cli("sumbit", "--json")
    assert done.exit == 2
    assert done.error == {
        "code": "usage", "message": "no such command: sumbit", "value": "sumbit", "next": "did you mean submit?"
    }
    assert "did you mean current?" in cli("db", "curent").err


def test_an_unknown_option_gets_the_nearest(cli: Cli) -> None:
    done = cli("config", "--orgin", "--json")
    assert done.exit == 2
    assert done.error["value"] == "--orgin"
    assert done.error["next"] == "did you mean --origin?"


def test_json_after_the_double_dash_is_not_ours(cli: Cli) -> None:
    done = cli("submit", "1scan", "--", "echo", "--json")
    assert done.exit == 2
    assert done.out == ""
    assert "1scan" in done.err


def test_shared_options_may_stand_before_the_command(cli: Cli) -> None:
    assert cli("init").exit == 0
    assert cli("--json", "config").json["settings"]
    assert cli("-q", "db", "current").out.strip()
    assert cli("db", "--json", "current").json["current"]


def test_reading_without_a_project_says_how_to_make_one(cli: Cli) -> None:
    done = cli("config", "--json")
    assert done.exit == 1
    assert done.error["code"] == "no-project"
    assert "provrun init" in done.error["next"]
    assert not (cli.folder / ".provrun").exists()


def test_errors_are_words_on_stderr_and_a_traceback_only_with_debug(cli: Cli) -> None:
    done = cli("config")
    assert (done.exit, done.out) == (1, "")
    assert done.err.startswith("error: no project in ")
    assert "Traceback" in cli("config", "--debug").err


def test_a_damaged_configuration_is_told_with_all_problems(cli: Cli) -> None:
    assert cli("init").exit == 0
    (cli.folder / ".provrun" / "config.toml").write_text('slot = 3\nurl = 4\nslots = "many"\n')
    done = cli("config", "--json")
    assert done.exit == 2
    assert len(done.error["value"]) == 3
    assert "did you mean slots?" in done.error["message"]


def test_a_closed_reader_is_no_error(cli: Cli) -> None:
    assert cli("init").exit == 0
    reading, writing = os.pipe()
    os.close(reading)
    for words in (["config"], ["--help"]):
        done = subprocess.run(
            [sys.executable, "-m", "provrun", *words], cwd=cli.folder, stdout=writing, stderr=subprocess.PIPE,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, b"")
    os.close(writing)


@pytest.mark.parametrize("words", ["config", "config --json", "status --json", "--help", "--version", "nothing --json"])
def test_a_full_disk_is_exit_74(cli: Cli, words: str) -> None:
    assert cli("init").exit == 0
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "provrun", *words.split()], cwd=cli.folder, stdout=full, stderr=subprocess.PIPE,
            check=False, text=True,
        )
    # A failure that has no room on stdout is told in words, with its own exit code.
    code, said = (2, "no such command") if words == "nothing --json" else (74, "No space left")
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
    assert said in done.stderr


def test_an_unreachable_database_is_exit_69(cli: Cli) -> None:
    assert cli("init").exit == 0
    done = cli("db", "current", "--json", PROVRUN_URL="postgresql://127.0.0.1:1/none")
    assert done.exit == 69
    assert done.error["code"] == "unavailable"


def test_ctrl_c_is_exit_130_without_a_traceback(cli: Cli) -> None:
    lines = cli.folder / "lines"
    os.mkfifo(lines)
    command = [sys.executable, "-m", "provrun", "load", "jobs", "lines", "--json"]
    process = subprocess.Popen(command, cwd=cli.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with process, lines.open("w"):  # opens when provrun has begun to read
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, "")
    assert json.loads(out)["error"]["code"] == "interrupted"
    assert not (cli.folder / ".provrun").exists()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_for_the_shell(cli: Cli, shell: str) -> None:
    done = cli("completion", shell)
    assert done.exit == 0
    assert "_PROVRUN_COMPLETE" in done.out


def test_completion_completes_commands(cli: Cli) -> None:
    done = cli(_PROVRUN_COMPLETE="bash_complete", COMP_WORDS="provrun sub", COMP_CWORD="1")
    assert "plain,submit" in done.out
