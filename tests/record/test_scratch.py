"""Temporary folders of captures vanish, also when their process is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fixtures.repositories import new_repository
from provrun.record.scratch import Scratch, remove_leftovers

HOLD = """
import time
from provrun.record.scratch import Scratch
print(Scratch().path, flush=True)
time.sleep(60)
"""
CAPTURE = """
import pathlib
from provrun.record.git import capture
try:
    print("dirty" if capture(pathlib.Path.cwd()).code.dirty else "clean")
except Exception as error:
    print(type(error).__name__)
"""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """Give a folder to make temporary files in."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    return folder


def capture_in(repository: Path, here: Path) -> str:
    """Capture in a process of its own, with another folder for temporary files."""
    environ = {**os.environ, "TMPDIR": str(here)}
    done = subprocess.run([sys.executable, "-c", CAPTURE], cwd=repository, env=environ, check=True, capture_output=True)
    return done.stdout.decode().strip()


def test_a_capture_leaves_nothing_behind(git_repo: Path, here: Path) -> None:
    (git_repo / "analysis.py").write_text("edited\n")
    assert capture_in(git_repo, here) == "dirty"
    (git_repo / ".git/refs/heads/main").write_text("12" * 20)
    assert capture_in(git_repo, here) == "UnreadableRepository"
    (git_repo / ".git/index").write_bytes(b"torn")
    assert capture_in(git_repo, here) == "UnreadableRepository"
    assert list(here.iterdir()) == []


def test_what_a_killed_process_left_is_removed_and_what_is_held_stays(here: Path) -> None:
    held = Scratch(str(here))
    (held.path / "file").touch()
    environ = {**os.environ, "TMPDIR": str(here)}
    with subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE, env=environ) as owner:
        assert owner.stdout is not None
        left = Path(os.fsdecode(owner.stdout.readline().strip()))
        assert left.parent == here
        remove_leftovers(here, time.time() + 60)
        assert left.exists()
        owner.send_signal(signal.SIGKILL)
    remove_leftovers(here, time.time() - 60)
    assert left.exists(), "young folders stay"
    remove_leftovers(here, time.time() + 60)
    assert not left.exists()
    assert (held.path / "file").exists()
    held.remove()


def test_a_link_in_place_of_a_leftover_is_not_followed(here: Path, tmp_path: Path) -> None:
    precious = new_repository(tmp_path / "precious")
    (here / "provrun-view-evil").symlink_to(precious)
    remove_leftovers(here, time.time() + 60)
    assert (precious / "analysis.py").exists()
