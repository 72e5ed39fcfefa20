"""What README and documentation show is what happens."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fixtures.pages import Block, Session, blocks, matches, steps
from fixtures.repositories import commit_all, git

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.fixture
def session(tmp_path: Path) -> Session:
    folder = tmp_path / "study"
    folder.mkdir()
    git(folder, "init", "--quiet")
    commit_all(folder, "Begin")
    return Session(folder)


@pytest.mark.usefixtures("no_strays")
@pytest.mark.parametrize("page", [page for page in PAGES if any(blocks(page))], ids=lambda page: page.stem)
def test_every_block_of_a_page_runs(page: Path, session: Session) -> None:
    session.page(page)


def test_the_documentation_builds_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "site" / "tutorial" / "index.html").exists()


def test_the_page_of_states_is_the_table_that_the_program_obeys() -> None:
    command = [sys.executable, ROOT / ".ci" / "reference-page", "states"]
    made = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert (ROOT / "docs" / "reference" / "states.md").read_text() == made, "make docs writes the page anew"


def test_output_may_leave_out_words_and_lines() -> None:
    printed = ["took 1.25 s", "a", "b", "end"]
    assert matches(["took ... s", "...", "end"], printed)
    assert matches(["...", "end", "..."], printed)
    assert not matches(["took ... s", "end"], printed)
    assert not matches(["took ... s", "...", "the end"], printed)


def test_a_command_goes_on_after_a_backslash() -> None:
    block = Block(Path("page.md"), 10, "console", "$ echo a \\\n    b\na b\n$ true\n", None)
    assert [(step.line, step.command, step.shown) for step in steps(block)] == [
        (11, "echo a \\\n    b", ["a b"]),
        (14, "true", []),
    ]


def test_a_block_below_a_file_name_is_that_file(tmp_path: Path, session: Session) -> None:
    page = tmp_path / "page.md"
    program = "```python\nprint(6 * 7)\n```\n"
    page.write_text(f"Write `made/study.py`:\n\n{program}\n```console\n$ python made/study.py\n42\n```\n")
    session.page(page)
    assert (session.folder / "made" / "study.py").read_text() == "print(6 * 7)\n"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("$ echo 1\n2\n", "-2\n+1"),
        ("$ echo oops; exit 3\n", "exit code 3:\noops"),
        ("1\n", "output before any command"),
    ],
)
def test_a_page_that_is_wrong_is_told_so(tmp_path: Path, session: Session, body: str, told: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"```console\n{body}```\n")
    with pytest.raises((pytest.fail.Exception, AssertionError), match=r"page\.md:[23]") as failure:
        session.page(page)
    assert told in str(failure.value)
