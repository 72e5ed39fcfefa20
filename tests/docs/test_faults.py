"""The page of faults names tests that exist, and every nasty task is on it."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "explanation" / "faults.md").read_text()
DEFINED = re.compile(r"^def (test_\w+)", re.MULTILINE)


def defined(*folders: str) -> set[str]:
    """Give the tests that are defined in files of the test suite."""
    found = [path for folder in folders for path in (ROOT / "tests").glob(folder)]
    assert found, folders
    return {name for path in found for name in DEFINED.findall(path.read_text())}


def test_every_test_that_the_page_of_faults_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert len(named) > 30
    assert named <= defined("**/test_*.py"), sorted(named - defined("**/test_*.py"))


def test_every_row_of_the_page_of_faults_names_a_fault_a_guarantee_and_a_test() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("|") and not re.fullmatch(r"[|-]+", line)]
    for row in rows:
        fault, guarantee, tests = (cell.strip() for cell in row.strip("|").split("|"))
        assert fault and guarantee, row
        assert tests == "test" or re.fullmatch(r"`test_\w+`(, `test_\w+`)*", tests), row


def test_every_nasty_task_and_broken_disk_is_on_the_page_of_faults() -> None:
    tests = defined("run/test_nasty.py", "run/test_floods.py", "run/test_disks.py")
    missing = {name for name in tests if f"`{name}`" not in PAGE}
    known = {"test_a_function_map_in_a_folder_that_is_not_there_fails_and_nothing_spins"}
    assert missing <= known
