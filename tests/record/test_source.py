"""What counts as code in a working tree, and what does not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fixtures.repositories import commit_all, git
from fixtures.trees import swh_directory, tree_after
from provrun.record.git import capture
from provrun.record.source import SOURCE_LIMIT, is_source


def lying(repo: Path, *untracked: str) -> str:
    listed = git(repo, "ls-files", "-z").split("\0")
    return swh_directory(repo, {path for path in listed if path} | set(untracked))


@pytest.mark.parametrize(
    "path", ["a.py", "deep/b.F90", "x.cu", "k.jl", "r.R", "Makefile", "CMakeLists.txt", "s.sh", "n.nf", "c.hpp"]
)
def test_source_is_told_by_name(path: str) -> None:
    assert is_source(path)


@pytest.mark.parametrize("path", ["a.csv", "py", "deep/c", "x.npy", "run.log", "b.ipynb", "site-packages/a.py"])
def test_data_is_no_source(path: str) -> None:
    assert not is_source(path)


def test_untracked_data_is_counted_and_not_read(git_repo: Path) -> None:
    (git_repo / "out").mkdir()
    for number in range(50):
        (git_repo / "out" / f"{number}.dat").write_text("0\n")
    (git_repo / "step.py").write_text("0\n")
    code = capture(git_repo).code
    assert (code.untracked_counted, code.tree) == (50, lying(git_repo, "step.py"))
    (git_repo / "out" / "0.dat").write_text("another length\n")
    assert capture(git_repo).code == code


def test_untracked_data_alone_leaves_the_code_clean(git_repo: Path) -> None:
    (git_repo / "out.txt").write_text("0\n")
    code = capture(git_repo).code
    assert (code.dirty, code.untracked_counted) == (False, 1)


def test_a_large_untracked_file_is_data_whatever_its_name(git_repo: Path) -> None:
    (git_repo / "big.py").write_bytes(b"#" * (SOURCE_LIMIT + 1))
    (git_repo / "small.py").write_bytes(b"#" * SOURCE_LIMIT)
    code = capture(git_repo).code
    assert (code.tree, code.untracked_counted) == (lying(git_repo, "small.py"), 1)


def test_a_large_tracked_file_is_code(git_repo: Path) -> None:
    (git_repo / "big.py").write_bytes(b"#" * (SOURCE_LIMIT + 1))
    commit_all(git_repo, "Add a large file")
    (git_repo / "big.py").write_bytes(b"%" * (SOURCE_LIMIT + 1))
    code = capture(git_repo).code
    assert (code.tree, code.dirty) == (lying(git_repo), True)


@pytest.mark.parametrize("file", [".gitignore", ".provrunignore", ".git/info/exclude", "deep/.gitignore"])
def test_ignored_files_are_neither_code_nor_counted(git_repo: Path, file: str) -> None:
    (git_repo / "deep").mkdir()
    (git_repo / file).write_text("*_made.py\nscratch/\n")
    commit_all(git_repo, "Ignore")
    (git_repo / "deep/scratch").mkdir()
    for name in ("deep/a_made.py", "deep/scratch/b.py", "deep/scratch/c.dat", "deep/real.py"):
        (git_repo / name).write_text("0\n")
    code = capture(git_repo).code
    assert (code.tree, code.untracked_counted) == (lying(git_repo, "deep/real.py"), 0)


def test_the_users_own_ignore_file_is_honoured(git_repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "config" / "git").mkdir(parents=True)
    (tmp_path / "config" / "git" / "ignore").write_text("*.local.py\n")
    (git_repo / "a.local.py").write_text("0\n")
    assert not capture(git_repo).code.dirty
    (tmp_path / "config" / "git" / "config").write_text(f"[core]\n\texcludesFile = {tmp_path}/mine\n")
    (tmp_path / "mine").write_text("*.own.py\n")
    (git_repo / "b.own.py").write_text("0\n")
    assert capture(git_repo).code.tree == lying(git_repo, "a.local.py")


def test_tracked_files_are_code_even_where_ignored(git_repo: Path) -> None:
    (git_repo / "kept.py").write_text("0\n")
    commit_all(git_repo, "Add a file")
    (git_repo / ".provrunignore").write_text("kept.py\n")
    (git_repo / "kept.py").write_text("1\n")
    assert capture(git_repo).code.tree == lying(git_repo)


def test_bytecode_and_provruns_own_files_are_no_code(git_repo: Path) -> None:
    (git_repo / ".gitignore").write_text("!*\n")
    commit_all(git_repo, "Ignore nothing")
    for name in (".provrun/functions/f.py", "__pycache__/m.cpython-311.pyc", "pkg/__pycache__/x.py", "old.pyc"):
        (git_repo / name).parent.mkdir(parents=True, exist_ok=True)
        (git_repo / name).write_text("0\n")
    code = capture(git_repo).code
    assert (code.dirty, code.untracked_counted) == (False, 0)


def test_committed_bytecode_stands_as_committed_when_it_is_made_again(git_repo: Path) -> None:
    (git_repo / "m.pyc").write_bytes(b"old")
    git(git_repo, "add", "--force", "m.pyc")
    commit_all(git_repo, "Commit bytecode by mistake")
    (git_repo / "m.pyc").write_bytes(b"newer")
    code = capture(git_repo).code
    assert (code.dirty, code.tree) == (False, git(git_repo, "rev-parse", "HEAD^{tree}"))


def test_a_virtual_environment_is_no_code(git_repo: Path) -> None:
    for name in ("env/pyvenv.cfg", "env/bin/activate.fish", "env/lib/mod.py", "other/site-packages/x.py", "mine/x.py"):
        (git_repo / name).parent.mkdir(parents=True, exist_ok=True)
        (git_repo / name).write_text("0\n")
    assert capture(git_repo).code.tree == lying(git_repo, "mine/x.py")


@pytest.mark.parametrize("absolute", [False, True])
def test_declared_outputs_are_no_code(git_repo: Path, absolute: bool) -> None:
    start = f"{git_repo}/work/" if absolute else ""
    patterns = [f"{start}{pattern}" for pattern in ("gen_*.py", "made", "sub/**/o?.py", "../top.py", "no[1].py")]
    kept = ["work/real.py", "work/sub/oxx.py", "gen_a.py", "work/deep/gen_a.py", "work/no1.py"]
    for name in ("gen_1.py", "made/x.py", "made/y/z.py", "sub/o1.py", "sub/a/b/o2.py", "../top.py", "no[1].py"):
        (git_repo / "work" / name).parent.mkdir(parents=True, exist_ok=True)
        (git_repo / "work" / name).write_text("0\n")
    for name in kept:
        (git_repo / name).parent.mkdir(parents=True, exist_ok=True)
        (git_repo / name).write_text("0\n")
    code = capture(git_repo / "work", exclude=patterns).code
    assert (code.tree, code.untracked_counted) == (lying(git_repo, *kept), 0)


def test_tracked_outputs_stand_as_committed_whatever_tasks_write(git_repo: Path, tmp_path: Path) -> None:
    for name in ("result.txt", "gone.txt"):
        (git_repo / name).write_text("old\n")
    commit = commit_all(git_repo, "Commit results")
    (git_repo / "result.txt").write_text("new\n")
    (git_repo / "gone.txt").unlink()
    (git_repo / "first.txt").write_text("first\n")
    git(git_repo, "add", "result.txt", "first.txt")
    (git_repo / "analysis.py").write_text("edited\n")
    captured = capture(git_repo, exclude=["*.txt"])
    git(git_repo, "checkout", "--quiet", commit, "--", "result.txt", "gone.txt")
    git(git_repo, "rm", "--quiet", "--cached", "first.txt")
    assert captured.code.tree == lying(git_repo)
    assert tree_after(git_repo, captured.code.commit, captured.patch, tmp_path / "clone") == captured.code.tree


@pytest.mark.parametrize("pattern", ["*.py", "*", "**/*.py", "anal?sis.py"])
def test_a_pattern_of_outputs_does_not_hide_edits_of_tracked_source(git_repo: Path, pattern: str) -> None:
    (git_repo / "analysis.py").write_text("edited\n")
    (git_repo / "made.py").write_text("made\n")
    code = capture(git_repo, exclude=[pattern, "m*.py"]).code
    assert (code.dirty, code.tree) == (True, lying(git_repo))


def test_tracked_source_named_as_output_is_no_code(git_repo: Path) -> None:
    (git_repo / "analysis.py").write_text("made anew\n")
    assert not capture(git_repo, exclude=["analysis.py"]).code.dirty


@pytest.mark.parametrize("name", ["!x.py", "#x.py", "sp .py", "end ", "a\nb.py", "[x].py", "back\\slash.py", "$x.py"])
def test_outputs_of_any_name_are_kept_out(git_repo: Path, name: str) -> None:
    (git_repo / name).write_text("made\n")
    (git_repo / "b.py").write_text("source\n")
    code = capture(git_repo, exclude=[name]).code
    assert (code.tree, code.untracked_counted) == (lying(git_repo, "b.py"), 0)


def test_pipes_and_sockets_are_passed_over(git_repo: Path) -> None:
    os.mkfifo(git_repo / "pipe.py")
    assert not capture(git_repo).code.dirty
    (git_repo / "analysis.py").unlink()
    os.mkfifo(git_repo / "analysis.py")
    code = capture(git_repo).code
    assert code.tree == swh_directory(git_repo, {".gitignore"})


def test_a_large_change_is_left_out_of_the_patch_but_is_in_the_tree(git_repo: Path, tmp_path: Path) -> None:
    (git_repo / "huge.bin").write_bytes(b"1" * (17 << 20))
    (git_repo / "grown.bin").write_bytes(b"1")
    before = commit_all(git_repo, "Add data")
    (git_repo / "huge.bin").unlink()
    (git_repo / "grown.bin").write_bytes(b"2" * (17 << 20))
    (git_repo / "analysis.py").write_text("edited\n")
    captured = capture(git_repo)
    assert captured.code.unpatched == ("grown.bin", "huge.bin")
    assert captured.code.tree == swh_directory(git_repo, {".gitignore", "analysis.py", "grown.bin"})
    assert captured.patch is not None
    assert len(captured.patch) < 10_000
    git(git_repo, "checkout", "--quiet", "--", "huge.bin", "grown.bin")
    assert tree_after(git_repo, before, captured.patch, tmp_path / "clone") == lying(git_repo)


def test_a_large_change_alone_makes_the_code_dirty_without_a_patch(git_repo: Path) -> None:
    (git_repo / "huge.bin").write_bytes(b"1" * (17 << 20))
    git(git_repo, "add", "huge.bin")
    captured = capture(git_repo)
    assert (captured.code.dirty, captured.patch, captured.code.unpatched) == (True, None, ("huge.bin",))
    assert captured.code.tree == lying(git_repo)


def test_the_patch_is_made_of_the_smallest_changes_until_it_is_full(git_repo: Path) -> None:
    for number in range(10):
        (git_repo / f"part{number}.bin").write_bytes(os.urandom(100) * ((number + 6) * 10_000))
    git(git_repo, "add", "--all")
    captured = capture(git_repo)
    assert captured.code.unpatched == tuple(f"part{number}.bin" for number in (7, 8, 9))
    assert captured.code.tree == lying(git_repo)
