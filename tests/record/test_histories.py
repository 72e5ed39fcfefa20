"""Whatever is done to a working tree, the tree of its capture is what lies there, and the patch leads to it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fixtures.repositories import git
from fixtures.trees import swh_directory, tree_after
from provrun.record.git import capture
from provrun.record.source import is_source

NAMES = ("a.py", "data.txt", "d/e.py", "d/f.dat", "d/g/h.f90", "d")
CONTENTS = (b"", b"one\n", b"one\ntwo", b"one\r\n", bytes(range(256)), b"x" * 9000)
STEPS = st.one_of(
    st.tuples(st.just("write"), st.sampled_from(NAMES), st.sampled_from(CONTENTS)),
    st.tuples(st.just("link"), st.sampled_from(NAMES), st.sampled_from((b"a.py", b"../x", b"./d//e.py"))),
    st.tuples(st.just("mode"), st.sampled_from(NAMES), st.sampled_from((b"755", b"644"))),
    st.tuples(st.just("remove"), st.sampled_from(NAMES), st.just(b"")),
    st.tuples(st.just("add"), st.sampled_from(NAMES), st.just(b"")),
    st.tuples(st.just("forget"), st.sampled_from(NAMES), st.just(b"")),
    st.tuples(st.just("hide"), st.sampled_from(NAMES), st.just(b"")),
    st.tuples(st.just("commit"), st.just(""), st.just(b"")),
)
Step = tuple[str, str, bytes]


@example([("write", "a.py", b"one\n")], [("forget", "a.py", b""), ("write", "a.py", b"")])
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(STEPS, max_size=14), st.lists(STEPS, max_size=8))
def test_the_tree_is_what_lies_there_and_the_patch_leads_to_it(before: Sequence[Step], after: Sequence[Step]) -> None:
    top = Path(tempfile.mkdtemp())
    try:
        repo = top / "repo"
        repo.mkdir()
        git(repo, "init", "--quiet")
        for step in (*before, ("add all", "", b""), ("commit", "", b""), *after):
            do(repo, *step)
        captured = capture(repo)
        on_disk = {str(file.relative_to(repo)) for file in repo.rglob("*") if file.is_symlink() or file.is_file()}
        tracked = on_disk & set(git(repo, "ls-files", "-z").split("\0"))
        untracked = {path for path in on_disk - tracked if not path.startswith(".git/")}
        source = {path for path in untracked if is_source(path)}
        assert captured.code.tree == swh_directory(repo, tracked | source)
        assert captured.code.untracked_counted == len(untracked - source)
        assert captured.code.dirty == (captured.code.tree != git(repo, "rev-parse", "HEAD^{tree}"))
        assert captured.code.dirty == (captured.patch is not None)
        assert tree_after(repo, captured.code.commit, captured.patch, top / "clone") == captured.code.tree
    finally:
        shutil.rmtree(top)


def do(repo: Path, kind: str, name: str, value: bytes) -> None:
    """Take one step; one that makes no sense here changes nothing."""
    file = repo / name
    there = os.path.lexists(file) and not (file.is_dir() and not file.is_symlink())
    if kind in ("write", "link", "remove") and there:
        file.unlink()
    if kind in ("write", "link"):
        if any(parent.is_file() or parent.is_symlink() for parent in file.parents if parent != repo) or file.is_dir():
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        if kind == "write":
            file.write_bytes(value)
        else:
            file.symlink_to(os.fsdecode(value))
    elif kind == "mode" and there and not file.is_symlink():
        file.chmod(int(value, 8))
    elif kind == "add" and there:
        git(repo, "add", "--", name)
    elif kind == "add all":
        git(repo, "add", "--all")
    elif kind == "forget":
        git(repo, "rm", "-r", "--quiet", "--cached", "--ignore-unmatch", "--", name)
    elif kind == "hide" and name in git(repo, "ls-files", "-z").split("\0"):
        git(repo, "update-index", "--assume-unchanged", "--", name)
    elif kind == "commit":
        git(repo, "commit", "--quiet", "--allow-empty", "--message", "Step")
