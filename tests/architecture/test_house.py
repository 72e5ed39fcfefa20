"""The rules of the house that no other tool checks."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LONGEST = 400  # lines of a file: what one reader holds in the head
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "base", "misc"}
# Words that would tie the tree to one machine or patch a real part away; spelled so that this file has none of them.
FORBIDDEN_TEXT = [
    "/work" + "/(main|shared)",
    "/root" + "/",
    "mock" + r"\.patch",
    "monkeypatch" + r"\.setattr",
    "unittest" + r"\.mock",
    "import " + "pickle",
]


def tracked(*patterns: str) -> list[Path]:
    """Give the files of the tree, tracked or about to be, that match git's patterns."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", *patterns],
        cwd=ROOT, check=False, capture_output=True, text=True,
    )
    if listed.returncode:
        pytest.skip("this tree is no git repository")
    paths = (ROOT / name for name in listed.stdout.split("\0") if name)
    return [path for path in paths if path.is_file()]


def test_arrows_point_down_and_every_library_stays_in_its_place() -> None:
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([program, "--no-cache"], cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_no_file_is_longer_than_a_reader_can_hold() -> None:
    lengths = {path.relative_to(ROOT): len(path.read_text().splitlines()) for path in tracked("*.py", "*.sql")}
    assert {str(path): length for path, length in lengths.items() if length > LONGEST} == {}


def test_no_module_is_named_for_having_no_subject() -> None:
    assert [path for path in tracked("*.py") if FORBIDDEN_NAMES & {path.stem, *path.parent.parts}] == []


def test_nothing_is_patched_away_and_no_path_of_one_machine_is_written_down() -> None:
    forbidden = re.compile("|".join(FORBIDDEN_TEXT))
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in tracked("*.py", "*.md", "*.toml", "*.sql", "Makefile", ".ci", "examples")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if forbidden.search(line)
    ]
    assert found == []


def test_every_module_says_what_it_is_for() -> None:
    texts = {path: path.read_text() for path in tracked("provrun/*.py")}
    assert [path for path, text in texts.items() if text and not text.startswith('"""')] == []


def test_importing_the_package_imports_no_library() -> None:
    program = "import sys; before = set(sys.modules); import provrun; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    libraries = {name.split(".")[0] for name in done.stdout.split()} - sys.stdlib_module_names
    assert libraries == {"provrun"}
