"""Filters and line ends: the tree names the bytes on disk; what git would check out so is no change."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from fixtures.repositories import commit_all, git
from fixtures.trees import swh_directory
from provrun.record.files import StatCache
from provrun.record.git import capture

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize {}\n"


def lying(repo: Path) -> str:
    return swh_directory(repo, {path for path in git(repo, "ls-files", "-z").split("\0") if path})


def checked_out_again(repo: Path) -> None:
    for path in git(repo, "ls-files").splitlines():
        if path != ".gitattributes":
            (repo / path).unlink()
    git(repo, "checkout", "--quiet", "--", ".")


def age(*files: Path) -> None:
    """Let files look settled, as any file is some seconds after it was written."""
    for file in files:
        os.utime(file, (1, 1))


@pytest.fixture
def windows(git_repo: Path) -> Path:
    """Give a repository whose text has line ends of Windows on disk and of Unix in git."""
    git(git_repo, "config", "core.autocrlf", "true")
    checked_out_again(git_repo)
    assert b"\r\n" in (git_repo / "analysis.py").read_bytes()
    assert git(git_repo, "status", "--porcelain") == ""
    return git_repo


def test_line_ends_put_by_git_are_in_the_tree_and_are_no_change(windows: Path) -> None:
    captured = capture(windows)
    assert captured.code.tree == lying(windows) != git(windows, "rev-parse", "HEAD^{tree}")
    assert (captured.code.dirty, captured.patch) == (False, None)


def test_line_ends_put_by_git_are_no_change_when_time_stamps_say_nothing(windows: Path) -> None:
    settled = capture(windows)
    age(*windows.glob("*.py"))
    assert capture(windows) == settled


def test_an_edit_among_line_ends_put_by_git_is_a_change(windows: Path) -> None:
    (windows / "analysis.py").write_bytes((windows / "analysis.py").read_bytes() + b"x = 1\r\n")
    captured = capture(windows)
    assert (captured.code.dirty, captured.code.tree) == (True, lying(windows))
    assert captured.patch is not None
    assert b"+x = 1\r\n" in captured.patch


@pytest.mark.parametrize("attributes", ["* text=auto eol=crlf\n", "*.py eol=crlf\n", "[attr]w eol=crlf\n*.py w\n"])
@pytest.mark.parametrize("where", [".gitattributes", ".git/info/attributes"])
def test_attributes_may_ask_for_line_ends(git_repo: Path, attributes: str, where: str) -> None:
    (git_repo / where).write_text(attributes)
    commit_all(git_repo, "Line ends")
    checked_out_again(git_repo)
    assert b"\r\n" in (git_repo / "analysis.py").read_bytes()
    code = capture(git_repo).code
    assert (code.dirty, code.tree) == (False, lying(git_repo))


def test_attributes_that_convert_nothing_cost_nothing(git_repo: Path) -> None:
    (git_repo / ".gitattributes").write_text("* text=auto\n*.bin binary -text diff=hex\n")
    commit_all(git_repo, "Attributes")
    code = capture(git_repo).code
    assert (code.dirty, code.tree) == (False, git(git_repo, "rev-parse", "HEAD^{tree}"))


def test_an_identifier_put_into_a_file_is_in_the_tree(git_repo: Path) -> None:
    (git_repo / ".gitattributes").write_text("*.py ident\n")
    (git_repo / "analysis.py").write_text("# $Id$\n")
    commit_all(git_repo, "Identify")
    checked_out_again(git_repo)
    assert (git_repo / "analysis.py").read_text() != "# $Id$\n"
    code = capture(git_repo).code
    assert (code.dirty, code.tree) == (False, lying(git_repo))


@pytest.fixture
def filtered(git_repo: Path) -> Path:
    """Give a repository with a filter that keeps text in upper case, of equal size on both sides."""
    git(git_repo, "config", "filter.case.clean", "tr a-z A-Z")  # which git runs in this test, and provrun does not
    git(git_repo, "config", "filter.case.smudge", "tr A-Z a-z")
    (git_repo / ".gitattributes").write_text("*.txt filter=case\n")
    (git_repo / "words.txt").write_text("some words\n")
    commit_all(git_repo, "Filter")
    assert git(git_repo, "show", "HEAD:words.txt") == "SOME WORDS"
    age(git_repo / "words.txt")
    assert git(git_repo, "status", "--porcelain") == ""
    return git_repo


def test_filtered_files_are_in_the_tree_by_their_bytes_and_are_no_change(filtered: Path) -> None:
    captured = capture(filtered)
    assert (captured.code.dirty, captured.patch, captured.code.tree) == (False, None, lying(filtered))


def test_a_filtered_file_git_has_not_looked_at_counts_as_changed(filtered: Path) -> None:
    os.utime(filtered / "words.txt", (2, 2))
    captured = capture(filtered)
    assert (captured.code.dirty, captured.code.tree) == (True, lying(filtered))
    assert captured.patch is not None
    assert b"+some words" in captured.patch


@pytest.fixture
def large_files(git_repo: Path) -> Path:
    """Give a repository as git-lfs leaves it: pointers in git, contents on disk, and no git-lfs at hand."""
    content = os.urandom(1000)
    (git_repo / "data.bin").write_text(POINTER.format(hashlib.sha256(content).hexdigest(), len(content)))
    commit_all(git_repo, "Add a pointer")
    (git_repo / ".gitattributes").write_text("*.bin filter=lfs diff=lfs merge=lfs -text\n")
    commit_all(git_repo, "Track large files")
    (git_repo / "data.bin").write_bytes(content)
    return git_repo


def test_contents_of_large_file_pointers_are_no_change(large_files: Path) -> None:
    captured = capture(large_files)
    assert (captured.code.dirty, captured.patch, captured.code.tree) == (False, None, lying(large_files))


def test_another_content_than_the_pointer_names_is_a_change(large_files: Path) -> None:
    (large_files / "data.bin").write_bytes(os.urandom(1000))
    assert capture(large_files).code.dirty


def test_a_pointer_left_in_place_is_no_change(large_files: Path) -> None:
    git(large_files, "checkout", "--quiet", "--", "data.bin")
    code = capture(large_files).code
    assert (code.dirty, code.tree) == (False, git(large_files, "rev-parse", "HEAD^{tree}"))


def test_filtered_files_are_read_once(filtered: Path, tmp_path: Path) -> None:
    with StatCache(tmp_path / "known", settle=0) as known:
        first = capture(filtered, known=known)
    kept = StatCache(tmp_path / "known")
    by_cache = kept.get("blob", filtered / "words.txt", lambda: "read again")
    assert by_cache == git(filtered, "hash-object", "--no-filters", "words.txt")
    assert capture(filtered, known=kept) == first
    (filtered / "words.txt").write_text("more words\n")
    assert capture(filtered, known=kept).code.tree == lying(filtered)
