"""The tree of a capture is that of what really lies on disk."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from fixtures.repositories import commit_all, git
from fixtures.trees import swh_directory, tree_after
from provrun.core.code import CapturedCode, Code
from provrun.record.git import capture


def capture_here(folder: Path, **options: object) -> CapturedCode:
    """Capture a folder, and see that a second look agrees."""
    captured = capture(folder, **options)
    assert capture(folder, **options) == captured
    return captured


def code_of(folder: Path, **options: object) -> Code:
    return capture_here(folder, **options).code


@pytest.fixture
def repo(git_repo: Path) -> Path:
    """Give a repository with a few files of every kind in folders."""
    (git_repo / "src" / "deep").mkdir(parents=True)
    for name in ("src/a.py", "src/deep/b.py", "src/deep/c.txt", "src.py", "src-1.py", "data.csv"):
        (git_repo / name).write_text(f"# {name}\n" * 3)
    (git_repo / "run.sh").write_text("#!/bin/sh\necho hello\n")
    (git_repo / "run.sh").chmod(0o755)
    (git_repo / "blob.bin").write_bytes(bytes(range(256)) * 4)
    (git_repo / "link").symlink_to("src/deep//b.py")
    commit_all(git_repo, "Add files of every kind")
    return git_repo


def tracked(repo: Path) -> set[str]:
    return set(git(repo, "ls-files", "-z").split("\0")) - {""}


def test_a_clean_repository_has_the_tree_of_its_commit_and_no_patch(repo: Path) -> None:
    captured = capture_here(repo)
    code = captured.code
    assert code.commit == git(repo, "rev-parse", "HEAD")
    assert code.tree == git(repo, "rev-parse", "HEAD^{tree}") == swh_directory(repo, tracked(repo))
    assert (code.dirty, code.branch, code.remote, captured.patch) == (False, "main", None, None)
    assert code.root == str(repo)


def test_edits_of_every_kind_are_in_the_tree_and_in_the_patch(repo: Path, tmp_path: Path) -> None:
    (repo / "src/a.py").write_text("x = 1\n")
    (repo / "src/deep/c.txt").unlink()
    (repo / "run.sh").chmod(0o644)
    (repo / "data.csv").chmod(0o755)
    (repo / "blob.bin").write_bytes(bytes(reversed(range(256))) * 9)
    (repo / "link").unlink()
    (repo / "link").symlink_to("./nowhere")
    (repo / "src/new.f90").write_text("end\n")
    (repo / "new").mkdir()
    (repo / "new/Makefile").write_text("all:\n")
    (repo / "new/no newline.c").write_text("int x;")
    (repo / "new/link.py").symlink_to("../src/a.py")
    captured = capture_here(repo)
    lying = tracked(repo) - {"src/deep/c.txt"} | {"src/new.f90", "new/Makefile", "new/no newline.c", "new/link.py"}
    assert captured.code.dirty
    assert captured.code.tree == swh_directory(repo, lying)
    assert tree_after(repo, captured.code.commit, captured.patch, tmp_path / "clone") == captured.code.tree


def test_the_tree_is_that_of_git_add_and_write_tree(repo: Path) -> None:
    (repo / "src/a.py").write_text("x = 1\n")
    (repo / "src/new.py").write_text("y = 2\n")
    (repo / "src.py").unlink()
    code = code_of(repo)
    git(repo, "add", "--all")
    assert code.tree == git(repo, "write-tree")


def test_a_patch_of_binary_files_gives_the_same_bytes_back(repo: Path, tmp_path: Path) -> None:
    (repo / "blob.bin").write_bytes(os.urandom(100_000))
    (repo / "crlf.py").write_bytes(b"a = 1\r\nb = '\xff\xfe'\r\n")
    captured = capture_here(repo)
    assert captured.patch is not None
    assert b"GIT binary patch" in captured.patch
    assert tree_after(repo, captured.code.commit, captured.patch, tmp_path / "clone") == captured.code.tree


def test_staged_changes_count_as_they_lie_on_disk(repo: Path) -> None:
    (repo / "src/a.py").write_text("x = 1\n")
    git(repo, "add", "src/a.py")
    staged = code_of(repo)
    assert staged.dirty
    assert staged.tree == git(repo, "write-tree")
    (repo / "src/a.py").write_text("# src/a.py\n" * 3)
    reverted = code_of(repo)
    assert not reverted.dirty
    assert reverted.tree == git(repo, "rev-parse", "HEAD^{tree}")


def test_a_file_taken_out_of_the_index_counts_only_if_it_is_source(repo: Path) -> None:
    git(repo, "rm", "--quiet", "--cached", "src/a.py", "data.csv")
    code = code_of(repo)
    assert code.tree == swh_directory(repo, tracked(repo) | {"src/a.py"})
    assert (code.dirty, code.untracked_counted) == (True, 1)


def test_a_file_only_announced_with_intent_to_add_counts(repo: Path) -> None:
    (repo / "notes.txt").write_text("soon\n")
    git(repo, "add", "--intent-to-add", "notes.txt")
    code = code_of(repo)
    assert code.tree == swh_directory(repo, tracked(repo) | {"notes.txt"})


def test_files_and_folders_may_take_each_others_place(repo: Path, tmp_path: Path) -> None:
    (repo / "src.py").unlink()
    (repo / "src.py").mkdir()
    (repo / "src.py/inner.py").write_text("z\n")
    for file in ("b.py", "c.txt"):
        (repo / "src/deep" / file).unlink()
    (repo / "src/deep").rmdir()
    (repo / "src/deep").write_text("was a folder\n")
    (repo / "blob.bin").unlink()
    (repo / "blob.bin").symlink_to("data.csv")
    captured = capture_here(repo)
    lying = tracked(repo) - {"src.py", "src/deep/b.py", "src/deep/c.txt"} | {"src.py/inner.py"}
    assert captured.code.tree == swh_directory(repo, lying)
    assert captured.code.untracked_counted == 1  # src/deep has no name of source
    assert tree_after(repo, captured.code.commit, captured.patch, tmp_path / "clone") == captured.code.tree


def test_files_beyond_a_link_that_replaced_a_folder_are_absent(repo: Path) -> None:
    (repo / "src").rename(repo.parent / "elsewhere")
    (repo / "src").symlink_to("../elsewhere")
    git(repo, "update-index", "--assume-unchanged", "src/a.py")
    lying = tracked(repo) - {"src/a.py", "src/deep/b.py", "src/deep/c.txt"}
    assert code_of(repo).tree == swh_directory(repo, lying)


def test_names_may_hold_anything_a_file_system_allows(repo: Path, tmp_path: Path) -> None:
    names = ["a b.py", "tab\t.py", "line\nbreak.py", 'quo"te.py', "-n.py", "back\\slash.py", "ünï.py", ":(top)x.py"]
    names += ["#.py", os.fsdecode(b"latin-\xe9.py"), "100644 160000 .py", "\x01.py"]
    for name in names:
        (repo / name).write_text("x\n")
    untracked = code_of(repo)
    commit_all(repo, "Add strange names")
    for name in names[1::2]:
        (repo / name).write_text("changed\n")
    (repo / names[0]).unlink()
    captured = capture_here(repo)
    assert untracked.tree == git(repo, "rev-parse", "HEAD^{tree}")
    assert captured.code.tree == swh_directory(repo, tracked_raw(repo) - {names[0]})
    assert tree_after(repo, captured.code.commit, captured.patch, tmp_path / "clone") == captured.code.tree


def git_version() -> tuple[int, ...]:
    return tuple(int(part) for part in git(Path(), "version").split()[2].split(".")[:2])


def tracked_raw(repo: Path) -> set[str]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=repo, check=True, capture_output=True).stdout
    return {os.fsdecode(path) for path in listed.split(b"\0") if path}


@pytest.mark.parametrize("name", ['wor"k', "a b", "line\nbreak", "tilde~", "ü", "dollar$HOME", "a:b", "%(prefix)s"])
def test_the_repository_itself_may_lie_anywhere(repo: Path, name: str) -> None:
    moved = repo.rename(repo.parent / name)
    (moved / "src/a.py").write_text("x = 1\n")
    code = code_of(moved)
    assert (code.tree, code.dirty) == (swh_directory(moved, tracked(moved)), True)


@pytest.mark.parametrize("flag", ["--assume-unchanged", "--skip-worktree"])
def test_what_git_was_told_not_to_look_at_is_looked_at(repo: Path, flag: str) -> None:
    git(repo, "update-index", flag, "src/a.py", "src/deep/b.py")
    assert not code_of(repo).dirty
    (repo / "src/a.py").write_text("hidden = True\n")
    assert git(repo, "status", "--porcelain") == ""
    captured = capture_here(repo)
    assert captured.code.dirty
    assert captured.code.tree == swh_directory(repo, tracked(repo))
    assert captured.patch is not None
    assert b"+hidden = True" in captured.patch


def test_an_assumed_file_that_is_gone_is_absent(repo: Path) -> None:
    git(repo, "update-index", "--assume-unchanged", "src/a.py")
    (repo / "src/a.py").unlink()
    assert code_of(repo).tree == swh_directory(repo, tracked(repo) - {"src/a.py"})


@pytest.mark.parametrize("options", [[], ["--sparse-index"]], ids=["full index", "sparse index"])
def test_what_a_sparse_checkout_leaves_out_stands_as_committed(repo: Path, options: list[str]) -> None:
    if options and git_version() < (2, 32):
        pytest.skip("this git has no sparse index")
    git(repo, "sparse-checkout", "init", "--cone", *options)
    git(repo, "sparse-checkout", "set", "new")
    assert not (repo / "src").exists()
    code = code_of(repo)
    assert (code.dirty, code.tree) == (False, git(repo, "rev-parse", "HEAD^{tree}"))
    (repo / "run.sh").write_text("exit\n")
    (repo / "run.sh").chmod(0o755)
    expected = code_of(repo)
    git(repo, "add", "run.sh")
    assert expected.tree == git(repo, "write-tree")


def test_a_merge_in_conflict_counts_as_it_lies_on_disk(repo: Path) -> None:
    git(repo, "checkout", "--quiet", "-b", "other")
    (repo / "src/a.py").write_text("theirs\n")
    (repo / "src.py").unlink()
    commit_all(repo, "Other")
    git(repo, "checkout", "--quiet", "main")
    (repo / "src/a.py").write_text("ours\n")
    (repo / "src.py").write_text("ours\n")
    commit_all(repo, "Ours")
    with pytest.raises(AssertionError):
        git(repo, "merge", "other")
    assert "<<<<<<<" in (repo / "src/a.py").read_text()
    captured = capture_here(repo)
    assert captured.code.dirty
    assert captured.code.tree == swh_directory(repo, tracked(repo))


@pytest.mark.parametrize("version", ["2", "3", "4"])
def test_every_version_of_the_index_is_understood(repo: Path, version: str) -> None:
    git(repo, "update-index", "--index-version", version)
    (repo / "src/a.py").write_text("x = 1\n")
    assert code_of(repo).tree == swh_directory(repo, tracked(repo))


def test_a_split_index_is_understood_and_left_alone(repo: Path) -> None:
    git(repo, "update-index", "--split-index")
    (repo / "src/a.py").write_text("x = 1\n")
    git(repo, "add", "src/a.py")
    (repo / "src/deep/b.py").write_text("y = 1\n")
    shared = next((repo / ".git").glob("sharedindex.*"))
    os.utime(shared, (1, 1))
    code = code_of(repo)
    assert shared.stat().st_mtime == 1  # which git itself sets anew whenever it reads it
    assert code.tree == swh_directory(repo, tracked(repo))


def test_where_the_file_system_keeps_no_modes_those_of_the_index_count(repo: Path) -> None:
    git(repo, "config", "core.fileMode", "false")
    (repo / "run.sh").chmod(0o644)
    assert not code_of(repo).dirty
    (repo / "run.sh").write_text("exit\n")
    git(repo, "update-index", "--chmod=-x", "src/a.py")
    code = code_of(repo)
    git(repo, "add", "run.sh")
    assert code.tree == git(repo, "write-tree")


def test_touched_but_equal_files_are_no_change(repo: Path) -> None:
    for file in repo.glob("**/*.py"):
        os.utime(file, (1, 1))
    assert not code_of(repo).dirty


def test_an_edit_within_the_tick_of_the_index_is_seen(repo: Path) -> None:
    for number in range(20):
        (repo / "src/a.py").write_text(f"x = {number:03}\n")
        git(repo, "add", "src/a.py")
        state = (repo / ".git/index").stat()
        (repo / "src/a.py").write_text(f"y = {number:03}\n")
        os.utime(repo / "src/a.py", ns=(state.st_atime_ns, state.st_mtime_ns))
        assert capture(repo).code.tree == swh_directory(repo, tracked(repo))
