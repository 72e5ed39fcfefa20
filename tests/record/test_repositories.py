"""Repositories of every kind and state are captured, or refused with what to do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures.repositories import commit_all, git, new_repository
from fixtures.trees import contents, swh_directory, tree_after
from provrun.record.git import capture
from provrun.record.place import UnreadableRepository, find

Spoil = Callable[[Path], Path]


def test_before_the_first_commit_everything_is_in_the_patch(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "study")
    study = tmp_path / "study"
    (study / "staged.py").write_text("1\n")
    (study / "loose.py").write_text("2\n")
    git(study, "add", "staged.py")
    captured = capture(study)
    assert (captured.code.commit, captured.code.branch, captured.code.dirty) == (None, "main", True)
    assert captured.code.tree == swh_directory(study, {"staged.py", "loose.py"})
    assert tree_after(study, None, captured.patch, tmp_path / "clone") == captured.code.tree


def test_a_repository_without_any_file_has_the_empty_tree(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    captured = capture(tmp_path)
    assert (captured.code.tree, captured.code.dirty) == (swh_directory(tmp_path, ()), False)
    assert captured.patch is None


def test_a_detached_head_has_a_commit_and_no_branch(git_repo: Path) -> None:
    git(git_repo, "checkout", "--quiet", "--detach")
    code = capture(git_repo).code
    assert (code.commit, code.branch, code.dirty) == (git(git_repo, "rev-parse", "HEAD"), None, False)


def test_packed_references_and_objects_are_read(git_repo: Path) -> None:
    git(git_repo, "checkout", "--quiet", "-b", "feature/x.y")
    git(git_repo, "gc", "--quiet")
    assert not list((git_repo / ".git/refs/heads").rglob("x.y"))
    code = capture(git_repo).code
    assert (code.commit, code.branch) == (git(git_repo, "rev-parse", "HEAD"), "feature/x.y")


def test_references_in_tables_are_read(tmp_path: Path) -> None:
    try:
        git(tmp_path, "init", "--quiet", "--ref-format=reftable", "study")
    except AssertionError:
        pytest.skip("this git knows no reference tables")
    study = tmp_path / "study"
    assert (capture(study).code.commit, capture(study).code.branch) == (None, "main")
    new_repository(study)
    code = capture(study).code
    assert (code.commit, code.branch, code.dirty) == (git(study, "rev-parse", "HEAD"), "main", False)
    git(study, "worktree", "add", "--quiet", "-b", "side", str(tmp_path / "side"))
    side_commit = commit_all(tmp_path / "side", "Side")
    assert (capture(tmp_path / "side").code.commit, capture(tmp_path / "side").code.branch) == (side_commit, "side")
    git(study, "checkout", "--quiet", "--detach")
    assert (capture(study).code.commit, capture(study).code.branch) == (code.commit, None)


def test_a_symbolic_branch_is_followed(git_repo: Path) -> None:
    git(git_repo, "symbolic-ref", "refs/heads/alias", "refs/heads/main")
    git(git_repo, "symbolic-ref", "HEAD", "refs/heads/alias")
    code = capture(git_repo).code
    assert (code.commit, code.branch) == (git(git_repo, "rev-parse", "HEAD"), "alias")


def test_a_linked_working_tree_has_its_own_head_and_index(git_repo: Path, tmp_path: Path) -> None:
    git(git_repo, "worktree", "add", "--quiet", "-b", "side", str(tmp_path / "side"))
    (tmp_path / "side/analysis.py").write_text("side\n")
    side_commit = commit_all(tmp_path / "side", "Side")
    (tmp_path / "side/analysis.py").write_text("edited\n")
    side, main = capture(tmp_path / "side").code, capture(git_repo).code
    assert (side.commit, side.branch, side.dirty) == (side_commit, "side", True)
    assert side.tree == swh_directory(tmp_path / "side", {".gitignore", "analysis.py"})
    assert (main.branch, main.dirty) == ("main", False)


def test_a_working_tree_of_a_bare_repository_is_captured(git_repo: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", "--bare", str(git_repo), "store.git")
    git(tmp_path / "store.git", "worktree", "add", "--quiet", str(tmp_path / "wt"), "main")
    assert capture(tmp_path / "wt").code.commit == git(git_repo, "rev-parse", "HEAD")


def test_a_working_tree_inside_another_of_the_same_repository_is_no_code(git_repo: Path) -> None:
    git(git_repo, "worktree", "add", "--quiet", "-b", "side", "side")
    code = capture(git_repo).code
    assert (code.dirty, code.submodules) == (False, ())


def test_a_separate_git_directory_and_a_linked_one_are_found(git_repo: Path, tmp_path: Path) -> None:
    git(git_repo, "init", "--quiet", "--separate-git-dir", str(tmp_path / "elsewhere"))
    expected = git(git_repo, "rev-parse", "HEAD")
    assert capture(git_repo).code.commit == expected
    (git_repo / ".git").unlink()
    (git_repo / ".git").symlink_to(tmp_path / "elsewhere")
    assert capture(git_repo).code.commit == expected


def test_shared_and_shallow_clones_are_captured(git_repo: Path, tmp_path: Path) -> None:
    commit_all(git_repo, "Second")
    git(tmp_path, "clone", "--quiet", "--shared", str(git_repo), "shared")
    git(tmp_path, "clone", "--quiet", "--depth", "1", f"file://{git_repo}", "shallow")
    for name in ("shared", "shallow"):
        (tmp_path / name / "analysis.py").write_text("edited\n")
        captured = capture(tmp_path / name)
        assert captured.code.tree == swh_directory(tmp_path / name, {".gitignore", "analysis.py"})
        assert captured.code.remote is not None
        assert captured.code.remote.endswith(str(git_repo))


def test_the_innermost_repository_counts_from_any_folder_in_it(git_repo: Path) -> None:
    (git_repo / "a/b").mkdir(parents=True)
    assert capture(git_repo / "a/b").code == capture(git_repo).code
    inner = new_repository(git_repo / "a/inner")
    assert capture(inner).code.root == str(inner)


def test_an_empty_git_folder_is_passed_over(git_repo: Path) -> None:
    (git_repo / "sub/.git").mkdir(parents=True)
    assert capture(git_repo / "sub").code.root == str(git_repo)


def test_replaced_objects_do_not_change_what_is_recorded(git_repo: Path) -> None:
    honest = capture(git_repo).code
    fake = git(git_repo, "commit-tree", "4b825dc642cb6eb9a060e54bf8d69288fbee4904", "-m", "fake")
    git(git_repo, "replace", "HEAD", fake)
    assert capture(git_repo).code == honest


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a repository away")
def test_a_repository_of_somebody_else_is_captured_though_git_refuses_it(git_repo: Path) -> None:
    honest = capture(git_repo).code
    for file in (git_repo, *git_repo.rglob("*")):
        os.chown(file, 4242, 4242, follow_symlinks=False)
    with pytest.raises(AssertionError, match="dubious ownership"):
        git(git_repo, "status")
    assert capture(git_repo).code == honest


def test_capturing_leaves_the_repository_untouched(git_repo: Path) -> None:
    (git_repo / "analysis.py").write_text("edited\n")
    (git_repo / "new.py").write_text("new\n")
    os.utime(git_repo / ".gitignore", (1, 1))  # which makes git status write the index
    before = contents(git_repo)
    capture(git_repo)
    assert contents(git_repo) == before


def test_capturing_works_where_nothing_may_be_written(git_repo: Path) -> None:
    (git_repo / "analysis.py").write_text("edited\n")
    folders = [git_repo, *(each for each in git_repo.rglob("*") if each.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    assert capture(git_repo).code.dirty
    for folder in folders:
        folder.chmod(0o755)


def test_a_lock_that_git_left_behind_does_not_hinder(git_repo: Path) -> None:
    (git_repo / ".git/index.lock").touch()
    (git_repo / "analysis.py").write_text("edited\n")
    assert capture(git_repo).code.dirty


def test_variables_of_git_do_not_mislead(git_repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = capture(git_repo)
    other = new_repository(tmp_path / "other")
    (other / "analysis.py").write_text("other\n")
    commit_all(other, "Other")
    misleading = {
        "GIT_DIR": f"{other}/.git", "GIT_WORK_TREE": str(other), "GIT_INDEX_FILE": f"{other}/.git/index",
        "GIT_COMMON_DIR": f"{other}/.git", "GIT_OBJECT_DIRECTORY": f"{other}/.git/objects",
        "GIT_ALTERNATE_OBJECT_DIRECTORIES": "/nowhere", "GIT_NAMESPACE": "x", "GIT_CEILING_DIRECTORIES": str(tmp_path),
        "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "core.bare", "GIT_CONFIG_VALUE_0": "true",
        "GIT_CONFIG_PARAMETERS": "'core.fileMode=false'", "GIT_CONFIG": "/nowhere", "GIT_DEFAULT_HASH": "sha256",
        "GIT_LITERAL_PATHSPECS": "1", "GIT_ATTR_SOURCE": "HEAD", "GIT_EXEC_PATH": "/nowhere", "GIT_DIFF_OPTS": "-u0",
    }  # fmt: skip
    for name, value in misleading.items():
        monkeypatch.setenv(name, value)
    assert capture(git_repo) == honest
    assert {name: os.environ[name] for name in misleading} == misleading


def bare(repo: Path) -> Path:
    git(repo.parent, "clone", "--quiet", "--bare", str(repo), "bare.git")
    return repo.parent / "bare.git"


def marked_bare(repo: Path) -> Path:
    git(repo, "config", "core.bare", "true")
    return repo


def without_head(repo: Path) -> Path:
    (repo / ".git/HEAD").unlink()
    return repo


def garbage_head(repo: Path) -> Path:
    (repo / ".git/HEAD").write_bytes(b"\x00\x01 garbage")
    return repo


def escaping_head(repo: Path) -> Path:
    (repo / ".git/HEAD").write_text("ref: refs/heads/../../../../etc/passwd\n")
    return repo


def piped_head(repo: Path) -> Path:
    (repo / ".git/HEAD").unlink()
    os.mkfifo(repo / ".git/HEAD")
    return repo


def circular_head(repo: Path) -> Path:
    (repo / ".git/refs/heads/main").write_text("ref: refs/heads/main\n")
    return repo


def lost_commit(repo: Path) -> Path:
    (repo / ".git/refs/heads/main").write_text("12" * 20 + "\n")
    return repo


def lost_objects(repo: Path) -> Path:
    shutil.rmtree(repo / ".git/objects")
    return repo


def torn_index(repo: Path) -> Path:
    (repo / ".git/index").write_bytes((repo / ".git/index").read_bytes()[:50])
    return repo


def flipped_index(repo: Path) -> Path:
    index = bytearray((repo / ".git/index").read_bytes())
    index[60] ^= 1  # within the name of an object
    (repo / ".git/index").write_bytes(index)
    return repo


def torn_config(repo: Path) -> Path:
    (repo / ".git/config").write_text("[core\nbare")
    return repo


def dangling_gitfile(repo: Path) -> Path:
    (repo / "sub").mkdir()
    (repo / "sub/.git").write_text("gitdir: ../nowhere\n")
    return repo / "sub"


def inside_git(repo: Path) -> Path:
    return repo / ".git/hooks"


def sha256_objects(repo: Path) -> Path:
    git(repo.parent, "init", "--quiet", "--object-format=sha256", "wide")
    return repo.parent / "wide"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (bare, "bare repository"),
        (marked_bare, "is bare"),
        (without_head, "damaged"),
        (garbage_head, "names no commit"),
        (escaping_head, "names no commit"),
        (piped_head, "not a regular file"),
        (circular_head, "names no commit"),
        (lost_commit, "HEAD of the repository"),
        (lost_objects, "damaged"),
        (torn_index, "index of the repository"),
        (flipped_index, "index of the repository"),
        (torn_config, "git config says"),
        (dangling_gitfile, "points to no repository"),
        (inside_git, "inside of a repository"),
        (sha256_objects, "SHA-256"),
    ],
)
def test_an_unusable_repository_is_refused_with_what_to_do(git_repo: Path, spoil: Spoil, message: str) -> None:
    place = spoil(git_repo)
    with pytest.raises(UnreadableRepository, match=message) as refused:
        capture(place)
    assert refused.value.next
    assert refused.value.value


DENIED = [".git", ".git/HEAD", ".git/index", ".git/config", ".git/objects", ".git/refs/heads/main", "analysis.py"]
CAPTURE = """
import pathlib
from provrun.record.git import capture
try:
    print(capture(pathlib.Path.cwd()).code)
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize("name", DENIED)
def test_what_may_not_be_read_is_named(git_repo: Path, name: str) -> None:
    (git_repo / "analysis.py").write_text("edited\n")
    (git_repo / name).chmod(0)
    # Root may read everything, but not in a name space of its own where nobody is root.
    powerless = ["unshare", "--user"] if os.geteuid() == 0 else []
    if powerless and subprocess.run([*powerless, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this host lets nobody give up root's power")
    words = [*powerless, sys.executable, "-c", CAPTURE]
    said = subprocess.run(words, cwd=git_repo, check=True, capture_output=True, text=True).stdout
    (git_repo / name).chmod(0o755)
    assert said.startswith("UnreadableRepository ")
    assert str(git_repo) in said


def test_outside_of_repositories_the_files_named_are_the_code(tmp_path: Path) -> None:
    (tmp_path / "run.py").write_text("1\n")
    (tmp_path / "lib.py").write_text("2\n")
    files = [tmp_path / "run.py", tmp_path / "lib.py"]
    captured = capture(tmp_path, files=files)
    assert (captured.code.kind, captured.code.commit, captured.code.tree, captured.patch) == ("files", None, None, None)
    assert capture(tmp_path, files=reversed(files)) == captured
    moved = tmp_path.rename(tmp_path.with_name("moved"))
    again = capture(moved, files=[moved / "run.py", moved / "lib.py"]).code
    assert again.digest == captured.code.digest
    (moved / "lib.py").write_text("3\n")
    assert capture(moved, files=[moved / "run.py", moved / "lib.py"]).code.digest != captured.code.digest
    assert find(moved) is None
