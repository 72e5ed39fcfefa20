"""Repositories inside repositories are recorded with them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fixtures.repositories import commit_all, git, new_repository
from fixtures.trees import run, swh_directory
from provrun.core.code import Submodule
from provrun.record.git import capture

LIBRARY_FILES = {".gitignore", "analysis.py"}


def add_submodule(repo: Path, source: Path, path: str) -> Path:
    git(repo, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(source), path)
    return repo / path


@pytest.fixture
def library(tmp_path: Path) -> Path:
    return new_repository(tmp_path / "library")


@pytest.fixture
def study(git_repo: Path, library: Path) -> Path:
    """Give a repository with a submodule at ``ext/lib``."""
    add_submodule(git_repo, library, "ext/lib")
    commit_all(git_repo, "Add a submodule")
    return git_repo


def test_a_clean_submodule_stands_with_commit_and_tree(study: Path, library: Path) -> None:
    captured = capture(study)
    commit, tree = git(library, "rev-parse", "HEAD"), git(library, "rev-parse", "HEAD^{tree}")
    assert captured.code.submodules == (Submodule("ext/lib", commit, tree, False),)
    assert (captured.code.dirty, captured.code.tree) == (False, git(study, "rev-parse", "HEAD^{tree}"))


def test_a_submodule_at_another_commit_makes_the_code_dirty(study: Path) -> None:
    clean = capture(study).code
    moved = commit_all(study / "ext/lib", "Local commit")
    captured = capture(study)
    assert captured.code.dirty
    assert captured.code.submodules[0].commit == moved
    assert captured.code.digest != clean.digest
    git(study, "add", "ext/lib")
    assert captured.code.tree == git(study, "write-tree")
    assert capture(study) == captured
    assert captured.patch is not None
    assert f"+Subproject commit {moved}".encode() in captured.patch


def test_a_dirty_submodule_is_dirty_code_and_its_patch_names_paths_from_the_top(study: Path, tmp_path: Path) -> None:
    clean = capture(study).code
    (study / "ext/lib/analysis.py").write_text("edited\n")
    (study / "ext/lib/new.py").write_text("new\n")
    (study / "analysis.py").write_text("edited too\n")
    captured = capture(study)
    lying = swh_directory(study / "ext/lib", {*LIBRARY_FILES, "new.py"})
    assert captured.code.submodules == (Submodule("ext/lib", clean.submodules[0].commit, lying, True),)
    assert captured.code.dirty
    assert captured.code.digest != clean.digest

    allowed = ("-c", "protocol.file.allow=always")
    git(tmp_path, *allowed, "clone", "--quiet", "--recurse-submodules", str(study), "copy")
    run(tmp_path / "copy", "apply", "-", given=captured.patch)
    again = capture(tmp_path / "copy").code
    assert (again.tree, again.submodules) == (captured.code.tree, captured.code.submodules)


def test_submodules_of_submodules_are_found(study: Path, tmp_path: Path) -> None:
    deeper = new_repository(tmp_path / "deeper")
    add_submodule(study / "ext/lib", deeper, "more")
    commit_all(study / "ext/lib", "Nest")
    commit_all(study, "Nest")
    assert not capture(study).code.dirty
    (study / "ext/lib/more/analysis.py").write_text("edited\n")
    captured = capture(study)
    assert [(module.path, module.dirty) for module in captured.code.submodules] == [
        ("ext/lib", True),
        ("ext/lib/more", True),
    ]
    assert captured.patch is not None
    assert b"+++ b/ext/lib/more/analysis.py" in captured.patch


def test_a_submodule_not_checked_out_stands_with_its_commit_alone(study: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", str(study), "copy")
    code = capture(tmp_path / "copy").code
    assert code.submodules == (Submodule("ext/lib", capture(study).code.submodules[0].commit, None, False),)
    assert (code.dirty, code.tree) == (False, git(study, "rev-parse", "HEAD^{tree}"))


def test_a_submodule_whose_folder_is_gone_is_absent(study: Path) -> None:
    shutil.rmtree(study / "ext/lib")
    code = capture(study).code
    assert (code.dirty, code.submodules) == (True, ())
    assert code.tree == swh_directory(study, {*LIBRARY_FILES, ".gitmodules"})


def test_a_staged_submodule_is_a_change(study: Path, library: Path) -> None:
    add_submodule(study, library, "second")
    code = capture(study).code
    assert code.dirty
    assert [module.path for module in code.submodules] == ["ext/lib", "second"]
    assert code.tree == git(study, "write-tree")


def test_a_removed_submodule_is_a_change(study: Path) -> None:
    git(study, "rm", "--quiet", "ext/lib")
    code = capture(study).code
    assert (code.dirty, code.submodules, code.tree) == (True, (), git(study, "write-tree"))


def test_an_untracked_repository_inside_is_recorded_as_code(git_repo: Path) -> None:
    inner = new_repository(git_repo / "clones/tool")
    captured = capture(git_repo)
    assert captured.code.dirty
    assert captured.code.submodules == (
        Submodule("clones/tool", git(inner, "rev-parse", "HEAD"), git(inner, "rev-parse", "HEAD^{tree}"), False),
    )
    (inner / "analysis.py").write_text("edited\n")
    assert capture(git_repo).code.digest != captured.code.digest
    (git_repo / ".provrunignore").write_text("clones/\n")
    code = capture(git_repo).code
    assert (code.dirty, code.submodules) == (False, ())


def test_an_untracked_repository_among_the_outputs_is_no_code(git_repo: Path) -> None:
    new_repository(git_repo / "runs/1/checkout")
    code = capture(git_repo, exclude=["runs/*"]).code
    assert (code.dirty, code.submodules, code.untracked_counted) == (False, (), 0)
