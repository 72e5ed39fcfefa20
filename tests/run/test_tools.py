"""Programs from outside the project: which of them tasks run, with which content, and what they say of themselves."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fixtures.agents import Driver
from provrun.core.environment import Tool
from provrun.core.records import Recipe

Program = Callable[[str, str], Path]


@pytest.fixture
def program(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """Write a program into an environment whose programs are on the path of `at`."""
    folder = tmp_path_factory.mktemp("environment") / "bin"
    folder.mkdir()
    (folder.parent / "conda-meta").mkdir()

    def written(name: str, text: str) -> Path:
        path = folder / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return path

    return written


@pytest.fixture
def at(workplace: Path, program: Program, no_strays: None) -> Iterator[Driver]:
    """Give an agent that finds these programs by their names."""
    place = program("solve", 'test "$1" = --version && echo && echo "solve 1.2 (test)" && exit\necho 7').parent
    made = Driver(workplace, environ={**os.environ, "PATH": f"{place}:{os.environ['PATH']}"})
    yield made
    made.close()


def tools(driver: Driver) -> dict[str, Tool]:
    return {Path(tool.path).name: tool for tool in driver.loaded()[-1].tools}


def test_a_program_is_known_by_its_place_its_content_and_the_first_line_it_says_of_its_version(
    at: Driver, program: Program
) -> None:
    (result,) = at.command("solve", "{x}")
    assert at.value(result) == 7
    tool = tools(at)["solve"]
    assert Path(tool.path).is_absolute() and len(tool.sha256) == 64
    assert tool.version == "solve 1.2 (test)"


def test_the_programs_of_a_shell_line_are_known_and_the_shell_itself(at: Driver) -> None:
    at.run(Recipe(kind="shell", words=("echo 3 | sort -n | solve {x}; cat <{x} || true",)), own=("x",))
    found = tools(at)
    assert set(found) == {"bash", "sort", "solve", "cat"}
    assert found["sort"].version is not None and "sort" in found["sort"].version


def test_the_program_that_a_command_starts_through_another_one_is_known(at: Driver) -> None:
    (result,) = at.command("nice", "-n", "1", "solve", "{x}")
    assert at.value(result) == 7
    assert set(tools(at)) == {"nice", "solve"}
    at.command("echo", "solve")
    assert set(tools(at)) == {"echo"}


def test_programs_of_a_file_of_lines_are_known_when_the_results_of_their_tasks_are_told(
    at: Driver, program: Program
) -> None:
    program("late", 'test "$1" = --version && sleep 0.2 && echo late 3\necho 8')
    lines = [{"line": "solve x"}, {"line": "sleep 0.1; late x | tail -1"}, {"line": "head -1 /dev/null; late y"}]
    results = at.run(Recipe(kind="line", words=()), lines, own=("line",))
    by_number = {loaded.number: {Path(tool.path).name for tool in loaded.tools} for loaded in at.loaded()}
    for result, names in zip(results, ({"solve"}, {"late", "tail", "sleep"}, {"head", "late"}), strict=True):
        assert names <= by_number[result.loaded_after or result.loaded]
    assert tools(at)["late"].version == "late 3"


def test_a_script_of_ones_own_is_never_started_to_ask_for_its_version(at: Driver, program: Program) -> None:
    log = program("own", 'echo "run $*" >>"$0.log"\necho 1').with_name("own.log")
    (log.parents[1] / "conda-meta").rmdir()
    at.command("own", "{x}", params=[{"x": x} for x in range(3)])
    tool = tools(at)["own"]
    assert (tool.version, len(tool.sha256)) == (None, 64)
    assert sorted(log.read_text().splitlines()) == ["run 0", "run 1", "run 2"]


def test_a_program_that_is_named_by_its_path_is_never_started_to_ask_for_its_version(
    at: Driver, program: Program, tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = tmp_path_factory.mktemp("own")
    own = place / "own"
    own.write_text(f"#!/bin/sh\necho run >>{place}/log\necho 1\n")
    own.chmod(0o755)
    at.command(str(own), "{x}", params=[{"x": x} for x in range(3)])
    assert tools(at)["own"].version is None
    assert (place / "log").read_text() == "run\n" * 3


@pytest.mark.parametrize(
    "text", ["sleep 60", "exit 2", "echo $HOME/somewhere", "printf '\\033[1mbold 1.0'", "true", "sleep 60 & true"]
)
def test_a_program_that_does_not_say_its_version_is_known_by_its_content(
    at: Driver, program: Program, text: str
) -> None:
    program("mute", f'test "$1" != --version || {{ {text}; exit; }}\necho 2')
    (result,) = at.command("mute", "{x}")
    assert at.value(result) == 2
    assert tools(at)["mute"].version is None


def test_a_program_that_says_without_end_takes_no_memory(program: Program) -> None:
    path = program("flood", "exec yes aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")
    text = (
        "import os, sys; from provrun.run.versions import ask_all; said = ask_all(sys.argv[1:], os.environb)\n"
        # The maximum that getrusage tells is also that of who forked it.
        "status = dict(line.split(':', 1) for line in open('/proc/self/status'))\n"
        "print(said, int(status['VmHWM'].split()[0]) < 100_000)"
    )
    done = subprocess.run([sys.executable, "-c", text, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout == "[None] True\n"


def test_a_program_that_is_replaced_is_another_one_for_the_tasks_that_follow(at: Driver, program: Program) -> None:
    map = at.map(Recipe(kind="command", words=("solve", "{x}")))
    at.start(map, [{"x": 0}])
    at.wait(1)
    first = tools(at)["solve"]
    program("solve", 'test "$1" = --version && echo solve 2.0 && exit\necho 9')
    at.start(map, [{"x": 1}], first=1)
    (result,) = at.wait(1)
    second = tools(at)["solve"]
    assert (first.version, second.version) == ("solve 1.2 (test)", "solve 2.0")
    assert first.sha256 != second.sha256
    assert result.loaded == at.loaded()[-1].number
