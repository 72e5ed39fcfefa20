"""Reading a repository runs nothing that the repository names, though plain git would."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures.repositories import commit_all, git, new_repository
from fixtures.trees import run, swh_directory
from provrun.record.git import capture

Trap = Callable[[Path, Path], list[str]]
"""Plants something into a repository that runs a program, and gives the git command that falls for it."""


@pytest.fixture
def witness(tmp_path: Path) -> Path:
    """Give the path of a file that exists once the program of the trap has run."""
    return tmp_path / "witness"


@pytest.fixture
def program(tmp_path: Path, witness: Path) -> Path:
    """Give a program that leaves a witness, whatever its arguments."""
    file = tmp_path / "program"
    file.write_text(f"#!/bin/sh\ntouch {witness}\nexit 1\n")
    file.chmod(0o755)
    return file


def edit(repo: Path) -> None:
    (repo / "analysis.py").write_text("edited\n")


def monitor(repo: Path, program: Path) -> list[str]:
    git(repo, "config", "core.fsmonitor", str(program))
    return ["status"]


def monitor_marked_in_the_index(repo: Path, program: Path) -> list[str]:
    git(repo, "config", "core.fsmonitor", "/bin/true")
    git(repo, "update-index", "--fsmonitor")
    git(repo, "config", "core.fsmonitor", str(program))
    return ["status"]


def clean_filter(repo: Path, program: Path) -> list[str]:
    git(repo, "config", "filter.trap.clean", str(program))
    (repo / ".gitattributes").write_text("*.py filter=trap\n")
    edit(repo)
    return ["diff"]


def process_filter(repo: Path, program: Path) -> list[str]:
    git(repo, "config", "filter.trap.process", str(program))
    git(repo, "config", "filter.trap.required", "true")
    (repo / ".gitattributes").write_text("* filter=trap\n")
    edit(repo)
    return ["diff"]


def smudge_filter(repo: Path, program: Path) -> list[str]:
    git(repo, "config", "filter.trap.smudge", str(program))
    (repo / ".git/info/attributes").write_text("*.py filter=trap\n")
    (repo / "analysis.py").unlink()
    return ["checkout", "--", "analysis.py"]


def external_diff(repo: Path, program: Path) -> list[str]:
    git(repo, "config", "diff.external", str(program))
    edit(repo)
    return ["diff"]


def diff_command(repo: Path, program: Path) -> list[str]:
    git(repo, "config", "diff.trap.command", str(program))
    (repo / ".gitattributes").write_text("*.py diff=trap\n")
    edit(repo)
    return ["diff"]


def text_conversion(repo: Path, program: Path) -> list[str]:
    git(repo, "config", "diff.trap.textconv", str(program))
    (repo / ".gitattributes").write_text("*.py diff=trap\n")
    edit(repo)
    return ["diff"]


def index_hook(repo: Path, program: Path) -> list[str]:
    git(repo, "config", "core.hooksPath", "traps")
    (repo / "traps").mkdir()
    shutil.copy(program, repo / "traps/post-index-change")
    os.utime(repo / "analysis.py", (1, 1))  # so that status writes the index
    return ["status"]


def default_hook(repo: Path, program: Path) -> list[str]:
    (repo / ".git/hooks").mkdir(exist_ok=True)
    shutil.copy(program, repo / ".git/hooks/post-index-change")
    os.utime(repo / "analysis.py", (1, 1))
    return ["status"]


def fetch_on_demand(repo: Path, program: Path, url: str) -> list[str]:
    """Make the repository one that fetches missing objects, and take away those of HEAD."""
    git(repo, "config", "core.repositoryFormatVersion", "1")
    git(repo, "config", "extensions.partialClone", "origin")
    git(repo, "config", "remote.origin.promisor", "true")
    git(repo, "config", "remote.origin.url", url)
    blob = git(repo, "rev-parse", "HEAD:analysis.py")
    (repo / ".git/objects" / blob[:2] / blob[2:]).unlink()
    edit(repo)
    return ["diff"]


def ssh_command(repo: Path, program: Path) -> list[str]:
    git(repo, "config", "core.sshCommand", str(program))
    return fetch_on_demand(repo, program, "ssh://localhost/x")


def remote_helper(repo: Path, program: Path) -> list[str]:
    git(repo, "config", "protocol.ext.allow", "always")
    return fetch_on_demand(repo, program, f"ext::{program}")


def upload_pack(repo: Path, program: Path) -> list[str]:
    git(repo, "config", "remote.origin.uploadPack", str(program))
    return fetch_on_demand(repo, program, str(repo))


def included_config(repo: Path, program: Path) -> list[str]:
    (repo / "more").write_text(f"[core]\n\tfsmonitor = {program}\n")
    git(repo, "config", "include.path", "../more")
    return ["status"]


def working_tree_config(repo: Path, program: Path) -> list[str]:
    git(repo, "config", "core.repositoryFormatVersion", "1")
    git(repo, "config", "extensions.worktreeConfig", "true")
    (repo / ".git/config.worktree").write_text(f"[core]\n\tfsmonitor = {program}\n")
    return ["status"]


def submodule_config(repo: Path, program: Path) -> list[str]:
    library = new_repository(repo.parent / "library")
    git(repo, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(library), "lib")
    commit_all(repo, "Add a submodule")
    git(repo / "lib", "config", "core.fsmonitor", str(program))
    return ["status"]


def alias(repo: Path, program: Path) -> list[str]:
    for name in ("st", "status", "ls-files", "diff-tree"):
        git(repo, "config", f"alias.{name}", f"!{program}")
    return ["st"]


def signature_program(repo: Path, program: Path) -> list[str]:
    body = git(repo, "cat-file", "commit", "HEAD")
    header, _, message = body.partition("\n\n")
    armour = " -----BEGIN PGP SIGNATURE-----\n \n x\n -----END PGP SIGNATURE-----"
    signed = f"{header}\ngpgsig{armour}\n\n{message}\n".encode()
    commit = run(repo, "hash-object", "-t", "commit", "-w", "--stdin", given=signed)
    git(repo, "update-ref", "HEAD", commit)
    git(repo, "config", "gpg.program", str(program))
    git(repo, "config", "log.showSignature", "true")
    return ["log"]


TRAPS = [
    monitor, monitor_marked_in_the_index, clean_filter, process_filter, smudge_filter, external_diff, diff_command,
    text_conversion, index_hook, default_hook, ssh_command, remote_helper, upload_pack, included_config,
    working_tree_config, submodule_config, alias, signature_program,
]  # fmt: skip


@pytest.mark.parametrize("trap", TRAPS)
def test_a_repository_cannot_run_anything(trap: Trap, git_repo: Path, program: Path, witness: Path) -> None:
    falls_for_it = trap(git_repo, program)
    capture(git_repo)
    assert not witness.exists(), "capturing ran the program"

    fell = subprocess.run(["git", *falls_for_it], cwd=git_repo, check=False, capture_output=True)
    assert witness.exists(), f"the trap is none: {fell}"


@pytest.mark.parametrize("trap", [clean_filter, text_conversion, external_diff, monitor, submodule_config])
def test_what_a_trap_would_hide_is_captured_as_it_lies(trap: Trap, git_repo: Path, program: Path) -> None:
    trap(git_repo, program)
    edit(git_repo)
    captured = capture(git_repo)
    listed = git(git_repo, "-c", "core.fsmonitor=", "ls-files", "-z").split("\0")
    files = {path for path in listed if path and path != "lib"}
    if trap is not submodule_config:
        assert captured.code.tree == swh_directory(git_repo, files)
    assert captured.patch is not None
    assert b"+edited" in captured.patch


def test_a_pager_is_never_started(git_repo: Path, program: Path, witness: Path) -> None:
    for key in ("core.pager", "pager.status", "pager.config", "pager.ls-files"):
        git(git_repo, "config", key, str(program))
    capture(git_repo)
    assert not witness.exists()
    controller, terminal = os.openpty()
    subprocess.run(["git", "log"], cwd=git_repo, check=False, stdout=terminal, stderr=terminal)
    os.close(terminal)
    os.close(controller)
    assert witness.exists()


def test_a_lost_object_is_not_fetched(git_repo: Path, program: Path, witness: Path) -> None:
    ssh_command(git_repo, program)
    captured = capture(git_repo)
    assert captured.code.unpatched == ("analysis.py",)
    assert captured.code.tree == swh_directory(git_repo, {".gitignore", "analysis.py"})
    assert not witness.exists()


def test_variables_that_name_programs_are_not_passed_on(
    git_repo: Path, program: Path, witness: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(git_repo)
    names = ("GIT_EXTERNAL_DIFF", "GIT_SSH_COMMAND", "GIT_ASKPASS", "GIT_PAGER", "GIT_EDITOR", "GIT_PROXY_COMMAND")
    for name in names:
        monkeypatch.setenv(name, str(program))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.fsmonitor")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", str(program))
    capture(git_repo)
    assert not witness.exists()
    subprocess.run(["git", "diff"], cwd=git_repo, check=False, capture_output=True)
    assert witness.exists()


def test_a_git_in_the_working_tree_is_not_run(
    git_repo: Path, program: Path, witness: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(program, git_repo / "git")
    monkeypatch.setenv("PATH", f".:{git_repo.name}::{os.environ['PATH']}")
    monkeypatch.chdir(git_repo)
    capture(git_repo)
    # GitPython looks for git when it is imported, which in this process it already is.
    afresh = "import pathlib; from provrun.record.git import capture; print(capture(pathlib.Path('.')).code.commit)"
    done = subprocess.run([sys.executable, "-c", afresh], check=True, capture_output=True, text=True)
    assert len(done.stdout.strip()) == 40
    assert not witness.exists()
    subprocess.run("git status", shell=True, check=False, capture_output=True)
    assert witness.exists()


def test_a_configuration_that_never_ends_is_not_waited_for(git_repo: Path) -> None:
    os.mkfifo(git_repo / "pipe")
    git(git_repo, "config", "include.path", "../pipe")
    for name in (".provrunignore", ".git/info/exclude", ".git/info/attributes"):
        (git_repo / name).unlink(missing_ok=True)
        os.mkfifo(git_repo / name)
    assert not capture(git_repo).code.dirty
