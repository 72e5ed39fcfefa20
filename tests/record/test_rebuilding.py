"""Recorded versions of code, built again from commit and patch."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.repositories import commit_all, git
from provrun.record.git import capture
from provrun.record.rebuilding import CannotRebuild, check_out, differing, tree_of


def test_the_files_in_which_two_versions_differ_are_named(git_repo: Path) -> None:
    (git_repo / "gone.py").write_text("pass\n")
    (git_repo / "same.py").write_text("pass\n")
    commit_all(git_repo, "More")
    first = capture(git_repo)
    (git_repo / "analysis.py").write_text("edited = 1\n")
    (git_repo / "täst new.py").write_text("new = 1\n")
    (git_repo / "gone.py").unlink()
    dirty = capture(git_repo)
    commit_all(git_repo, "Done")
    (git_repo / "analysis.py").write_text("edited = 2\n")
    last = capture(git_repo)
    root = str(git_repo.resolve())
    changed = {f"{root}/{name}" for name in ("analysis.py", "täst new.py", "gone.py")}
    assert differing(git_repo, (first, dirty)) == changed
    assert differing(git_repo, (dirty, last)) == {f"{root}/analysis.py"}
    assert differing(git_repo, (last, last)) == set()
    assert git(git_repo, "status", "--porcelain") == "M analysis.py"


def test_a_checkout_is_the_tree_byte_by_byte(git_repo: Path, tmp_path: Path) -> None:
    (git_repo / "run.sh").write_text("true\n")
    (git_repo / "run.sh").chmod(0o755)
    (git_repo / "link.py").symlink_to("analysis.py")
    (git_repo / "run").mkdir()
    (git_repo / "run" / "täst.py").write_bytes(b"\xff\r\n")
    (git_repo / "run-more.py").write_text("")
    version = capture(git_repo)
    check_out(git_repo, version, tmp_path / "out")
    assert tree_of(tmp_path / "out") == version.code.tree
    assert (tmp_path / "out" / "run" / "täst.py").read_bytes() == b"\xff\r\n"
    assert (tmp_path / "out" / "link.py").readlink() == Path("analysis.py")
    # What it is compared with is what git itself says.
    git(git_repo, "add", "--all")
    assert git(git_repo, "write-tree") == version.code.tree
    (tmp_path / "out" / "run.sh").chmod(0o644)
    assert tree_of(tmp_path / "out") != version.code.tree


def test_before_the_first_commit_there_is_only_the_patch(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    (tmp_path / "a.py").write_text("a = 1\n")
    first = capture(tmp_path)
    (tmp_path / "b.py").write_text("b = 1\n")
    assert differing(tmp_path, (first, capture(tmp_path))) == {str(tmp_path.resolve() / "b.py")}


def test_what_git_converts_cannot_be_had_again(git_repo: Path) -> None:
    (git_repo / ".gitattributes").write_text("*.py text eol=crlf\n")
    (git_repo / "dos.py").write_bytes(b"a = 1\r\n")
    commit_all(git_repo, "Line ends")
    version = capture(git_repo)
    with pytest.raises(CannotRebuild, match="line ends"):
        differing(git_repo, (version, version))


def test_a_commit_that_is_gone_is_named(git_repo: Path, tmp_path: Path) -> None:
    version = capture(git_repo)
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "--quiet")
    assert version.code.commit is not None
    with pytest.raises(CannotRebuild, match=version.code.commit):
        differing(other, (version, version))
