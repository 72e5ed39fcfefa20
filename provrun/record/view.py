"""Let git look at a repository without letting the repository speak to git.

A repository's configuration can name programs that git runs (a file system monitor, filters, diff drivers, hooks,
credential helpers, remotes that are fetched from on demand), so git is never run on the repository itself. It is shown
a `View`: a private git directory with a configuration of our own, whose objects are the repository's (as an
alternate), whose HEAD stands where the repository's does, and whose index is a copy. What is written (objects, the
index) is written into the view and vanishes with it. Because git only ever sees a directory of ours, it has no reason
to refuse a repository that belongs to somebody else.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from provrun.record.configuration import Configuration, parse_settings
from provrun.record.place import NoGit, Place, UnreadableRepository, read_small
from provrun.record.references import read_reference
from provrun.record.scratch import Scratch

IGNORE_FILE = ".provrunignore"
_ALWAYS_IGNORED = b".provrun/\n__pycache__/\n*.py[cod]\n.ipynb_checkpoints/\n"
_KEPT = {"filemode": True, "symlinks": True, "ignorecase": False}
_BARE_BYTES = b"* -text -eol -crlf -ident -filter -working-tree-encoding\n"
_IGNORE_LIMIT = 1 << 22


class View:
    """A private git directory on a repository; a context manager, gone at the end.

    ``commit`` is where HEAD stands, None before the first one; ``root`` the path of the working tree with a slash at
    its end; ``flags`` are the settings of ``core`` that the view shares with the repository.
    """

    def __init__(self, place: Place, ignore: Iterable[bytes] = ()) -> None:
        self.place = place
        self.root = os.fsencode(place.root).rstrip(b"/") + b"/"
        self.program = find_git()
        self.running: list[Running] = []
        self.numbers = itertools.count()
        self._scratch = Scratch()
        self.path = self._scratch.path
        self.environ = _environ(self.path, place)
        try:
            self._begin()
            self.configuration = self._read_configuration()
            self._refuse_unusable()
            self.flags = {name: self.configuration.own_flag(f"core.{name}", usual) for name, usual in _KEPT.items()}
            self._fill(ignore)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove the view, and end what still reads it."""
        for running in self.running:
            if running.process.poll() is None:
                running.process.kill()
                running.process.wait()
        self._scratch.remove()

    def start(self, *arguments: str, environ: Mapping[str, str] | None = None, stdin: bytes = b"") -> Running:
        """Start git on the view, working in the root of the working tree."""
        return Running([self.program, *arguments], self, {**self.environ, **(environ or {})}, stdin)

    def git(self, *arguments: str, environ: Mapping[str, str] | None = None, stdin: bytes = b"") -> bytes:
        """Run git on the view and return what it prints."""
        return self.start(*arguments, environ=environ, stdin=stdin).output()

    def sizes(self, ids: Iterable[str]) -> dict[str, int]:
        """Return the sizes in bytes of those contents that git has."""
        asked = "\n".join(ids)
        if not asked:
            return {}
        words = self.git("cat-file", "--batch-check=%(objectname) %(objectsize)", stdin=asked.encode()).decode().split()
        return {id: int(size) for id, size in zip(words[0::2], words[1::2], strict=True) if size != "missing"}

    def _begin(self) -> None:
        """Make what git wants to see before it takes a folder for a git directory."""
        for name in ("objects", "objects/info", "info", "refs"):
            (self.path / name).mkdir()
        (self.path / "HEAD").write_bytes(b"ref: refs/heads/none\n")
        (self.path / "config").write_bytes(b"[core]\n\trepositoryformatversion = 0\n\tbare = true\n")

    def _read_configuration(self) -> Configuration:
        environ = {key: value for key, value in self.environ.items() if not key.startswith("GIT_CONFIG")}
        environ |= {key: os.environ[key] for key in ("HOME", "XDG_CONFIG_HOME") if key in os.environ}
        user = Running([self.program, "config", "-z", "--list"], self, environ)
        files = (self.place.common / "config", self.place.gitdir / "config.worktree")
        # What a repository includes is not read: it may be a pipe, and nothing that matters here stands there.
        listing = ("config", "-z", "--list", "--no-includes", "--file")
        own = parse_settings([self.git(*listing, str(file)) for file in files if file.is_file()])
        return Configuration(own, parse_settings([user.output()]))

    def _refuse_unusable(self) -> None:
        root = str(self.place.root)
        if (self.configuration.own("extensions.objectformat") or "sha1").lower() != "sha1":
            raise UnreadableRepository(
                f"the repository in {root} names its objects by SHA-256",
                value=root,
                next="identifiers of code are SHA-1 (swh:1:dir); use a repository in git's default object format",
            )
        if self.configuration.own_flag("core.bare", False) and self.place.gitdir == self.place.common:
            raise UnreadableRepository(
                f"the repository in {root} is bare: it has no files to run",
                value=root,
                next=f"work in a checkout of it: `git -C '{root}' worktree add PATH`",
            )

    def _fill(self, ignore: Iterable[bytes]) -> None:
        flags = "".join(f"\t{name} = {str(value).lower()}\n" for name, value in self.flags.items())
        with (self.path / "config").open("a") as config:
            config.write(f"\tfsmonitor = false\n\tautocrlf = false\n{flags}")
        (self.path / "info" / "attributes").write_bytes(_BARE_BYTES)
        (self.path / "info" / "exclude").write_bytes(self._ignored(ignore))
        alternate = _quoted(os.fsencode(self.place.common / "objects"))
        (self.path / "objects" / "info" / "alternates").write_bytes(alternate + b"\n")
        self._copy_head()
        self._copy_index()

    def _copy_head(self) -> None:
        tables = self.configuration.own("extensions.refstorage") or ""
        name, commit = self._ask_head() if tables.startswith("reftable") else read_reference(self.place)
        self.commit = commit.decode() if commit else None
        if name is not None and commit is not None:
            reference = self.path / os.fsdecode(name)
            reference.parent.mkdir(parents=True, exist_ok=True)
            reference.write_bytes(commit + b"\n")
        (self.path / "HEAD").write_bytes((commit or b"" if name is None else b"ref: " + name) + b"\n")

    def _ask_head(self) -> tuple[bytes | None, bytes | None]:
        # References in tables only git can read; to resolve one runs nothing that a configuration names.
        there = {"GIT_DIR": str(self.place.gitdir)}
        name = self.start("symbolic-ref", "-q", "HEAD", environ=there).output(fails=b"").strip()
        commit = self.start("rev-parse", "-q", "--verify", "HEAD", environ=there).output(fails=b"").strip()
        return name or None, commit or None

    def _copy_index(self) -> None:
        """Copy the index with its time, by which git tells which files it has looked at too recently to trust."""
        try:
            with (self.place.gitdir / "index").open("rb") as file:
                time = os.fstat(file.fileno()).st_mtime_ns
                text = file.read()
        except FileNotFoundError:
            return
        checksum = text[-20:]
        # Git reads a damaged index as if nothing were wrong. Zeros stand there when it was told to save that time.
        if any(checksum) and hashlib.sha1(text[:-20], usedforsecurity=False).digest() != checksum:
            raise UnreadableRepository(
                f"the index of the repository in {self.place.root} is damaged",
                value=str(self.place.gitdir / "index"),
                next=f"remove it and run `git -C '{self.place.root}' reset`, which leaves all files as they are",
            )
        (self.path / "index").write_bytes(text)
        os.utime(self.path / "index", ns=(time, time))
        for shared in self.place.gitdir.glob("sharedindex.*"):
            shutil.copy2(shared, self.path)

    def _ignored(self, ignore: Iterable[bytes]) -> bytes:
        """Return what git shall not list as untracked, the weightier later."""
        user = self.configuration.user_file("core.excludesfile", "ignore")
        files = (user, self.place.common / "info" / "exclude", self.place.root / IGNORE_FILE)
        return b"\n".join([*map(read_optional, files), _ALWAYS_IGNORED, *ignore, b""])


class Running:
    """A git process that writes into files of the view, so that it never waits for us."""

    def __init__(self, words: list[str], view: View, environ: Mapping[str, str], stdin: bytes = b"") -> None:
        self._words = words
        self._root = view.place.root
        name = f"git-{next(view.numbers)}"
        self._out, self._err, source = (view.path / f"{name}.{end}" for end in ("out", "err", "in"))
        source.write_bytes(stdin)
        with self._out.open("wb") as out, self._err.open("wb") as err, source.open("rb") as given:
            self.process = subprocess.Popen(words, stdin=given, stdout=out, stderr=err, cwd=self._root, env=environ)
        view.running.append(self)

    def output(self, fails: bytes | None = None) -> bytes:
        """Wait and return what was printed; if git fails, ``fails`` when given, else `UnreadableRepository`."""
        status = self.process.wait()
        if status == 0:
            return self._out.read_bytes()
        if fails is not None:
            return fails
        said = self._err.read_text(errors="replace")[:2000].strip()
        raise UnreadableRepository(
            f"the repository in {self._root} cannot be read: git {self._words[1]} says: {said or f'exit {status}'}",
            value=str(self._root),
            next=f"run `git -C '{self._root}' fsck` and mend what it finds",
        )


def find_git() -> str:
    """Return the path of the git program."""
    program = shutil.which("git", path=_search_path())
    if program is None:
        raise NoGit(
            "the code lies in a git repository and there is no git program here", next="install git, or load its module"
        )
    return program


def read_optional(path: Path) -> bytes:
    """Return the text of a file of patterns; nothing when it cannot be read."""
    try:
        return read_small(path, _IGNORE_LIMIT)
    except (OSError, UnreadableRepository):
        return b""


def _search_path() -> str:
    # A relative entry would find programs in the working tree.
    return os.pathsep.join(entry for entry in os.get_exec_path() if entry.startswith("/"))


def _environ(view: Path, place: Place) -> dict[str, str]:
    kept = {key: os.environ[key] for key in ("LD_LIBRARY_PATH", "TMPDIR") if key in os.environ}
    return kept | {
        "PATH": _search_path(),
        "HOME": str(view),
        "XDG_CONFIG_HOME": str(view),
        "LC_ALL": "C",
        "GIT_DIR": str(view),
        "GIT_WORK_TREE": str(place.root),
        "GIT_INDEX_FILE": str(view / "index"),
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_ALLOW_PROTOCOL": "none",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_PAGER": "cat",
    }


def _quoted(path: bytes) -> bytes:
    escaped = path.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n")
    return b'"' + escaped + b'"'
