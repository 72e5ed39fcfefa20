"""Every command explains itself the same way."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from provrun.cli.main import COMMANDS, main


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_opens_with_two_examples_of_it(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "--help"]) == 0
    first, *examples = capsys.readouterr().out.splitlines()[:3]
    assert first == "Examples:"
    assert [f"provrun {command}" in example for example in examples] == [True, True]


def test_every_command_is_in_the_reference() -> None:
    page = Path(__file__).parents[2] / "docs" / "reference" / "commands.md"
    headings = [line.removeprefix("## ") for line in page.read_text().splitlines() if line.startswith("## ")]
    assert headings == list(COMMANDS), "make docs writes the page anew"


def test_no_command_at_all_is_a_usage_error_that_shows_the_commands() -> None:
    done = subprocess.run([sys.executable, "-m", "provrun"], check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert "provrun submit" in done.stderr
