"""Let git look at a repository without letting the repository speak to git.

A repository's configuration can name programs that git runs (a file system monitor, filters, diff drivers, hooks,
credential helpers, remotes that are fetched from on demand), so git is never run on the repository itself. It is shown
a `View`: a private git directory with a configuration of our own, whose objects are the repository's (as an
alternate), whose HEAD stands where the repository's does, and whose index is the repository's, opened for reading
only. What is written (objects, a temporary index) is written into the view and vanishes with it. Because git only ever
sees a directory of ours, it has no reason to refuse a repository that belongs to somebody else.
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

from provrun.record.place import NoGit, Place, UnreadableRepository, read_small
from provrun.record.references import read_reference
from provrun.record.scratch import Scratch

IGNORE_FILE = ".provrunignore"
_ALWAYS_IGNORED = b".provrun/\n__pycache__/\n*.py[cod]\n.ipynb_checkpoints/\n"
_KEPT = {"core.filemode": "true", "core.symlinks": "true", "core.ignorecase": "false"}
_BARE_BYTES = b"* -text -eol -crlf -ident -filter -working-tree-encoding\n"
_IGNORE_LIMIT = 1 << 22

Config = dict[str, list[str]]


class View:
    """A private git directory on a repository; a context manager, gone at the end.

    ``commit`` is where HEAD stands, None before the first one; ``root`` the path of the working tree with a slash at
    its end; ``repository`` and ``user`` are the repository's and the user's configuration, read as data: all values of
    each key in order, keys in lower case.
    """

    def __init__(self, place: Place, ignore: Iterable[bytes] = ()) -> None:
        self.place = place
        self.root = os.fsencode(place.root).rstrip(b"/") + b"/"
        self.git_program = find_git()
        self.numbers = itertools.count()
        self.running: list[Running] = []
        self._scratch = Scratch()
        self.path = self._scratch.path
        self.environ = _environ(self.path, place)
        try:
            self.repository, self.user = self._read_config()
            self._refuse_unusable()
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

    def start(self, *arguments: str, environ: Mapping[str, str] | None = None, stdin: bytes | None = None) -> Running:
        """Start git on the view, working in the root of the working tree."""
        return Running([self.git_program, *arguments], self, {**self.environ, **(environ or {})}, stdin)

    def git(self, *arguments: str, environ: Mapping[str, str] | None = None, stdin: bytes | None = None) -> bytes:
        """Run git on the view and return what it prints."""
        return self.start(*arguments, environ=environ, stdin=stdin).output()

    def sizes(self, ids: Iterable[str]) -> dict[str, int]:
        """Return the sizes in bytes of those contents that git has."""
        asked = "\n".join(ids)
        if not asked:
            return {}
        words = self.git("cat-file", "--batch-check=%(objectname) %(objectsize)", stdin=asked.encode()).decode().split()
        return {id: int(size) for id, size in zip(words[0::2], words[1::2], strict=True) if size != "missing"}

    def check_index(self) -> None:
        """Raise `UnreadableRepository` for a damaged index, which git itself may read as if nothing were wrong."""
        try:
            text = (self.place.gitdir / "index").read_bytes()
        except FileNotFoundError:
            return
        body, checksum = text[:-20], text[-20:]
        # Zeros stand there when git was told to save the time for it.
        if any(checksum) and hashlib.sha1(body, usedforsecurity=False).digest() != checksum:
            raise UnreadableRepository(
                f"the index of the repository in {self.place.root} is damaged",
                value=str(self.place.gitdir / "index"),
                next=f"remove it and run `git -C '{self.place.root}' reset`, which leaves all files as they are",
            )

    def flag(self, key: str) -> bool:
        """Return a boolean of the repository's configuration that the view has taken over."""
        return self._flags[key] == "true"

    def last(self, key: str) -> str | None:
        """Return the value in force of a key, the repository's before the user's."""
        values = self.repository.get(key) or self.user.get(key)
        return values[-1] if values else None

    def _read_config(self) -> tuple[Config, Config]:
        # A git directory needs these before git reads anything in it.
        for name in ("objects", "info", "refs"):
            (self.path / name).mkdir()
        (self.path / "HEAD").write_bytes(b"ref: refs/heads/none\n")
        (self.path / "config").write_bytes(b"[core]\n\trepositoryformatversion = 0\n\tbare = true\n")
        home = {key: os.environ[key] for key in ("HOME", "XDG_CONFIG_HOME") if key in os.environ}
        mine = {
            key: value for key, value in self.environ.items() if key not in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_NOSYSTEM")
        }
        own = Running([self.git_program, "config", "-z", "--list"], self, mine | home, None)
        repository: Config = {}
        for file in (self.place.common / "config", self.place.gitdir / "config.worktree"):
            if file.is_file():
                text = self.git("config", "-z", "--list", "--no-includes", "--file", str(file))
                for key, values in _parse_config(text).items():
                    repository.setdefault(key, []).extend(values)
        return repository, _parse_config(own.output())

    def _refuse_unusable(self) -> None:
        root = str(self.place.root)
        if (self.last_of_repository("extensions.objectformat") or "sha1").lower() != "sha1":
            raise UnreadableRepository(
                f"the repository in {root} names its objects by SHA-256",
                value=root,
                next="identifiers of code are SHA-1 (swh:1:dir); use a repository in git's default object format",
            )
        linked = self.place.gitdir != self.place.common
        if _is_true(self.last_of_repository("core.bare")) and not linked:
            raise UnreadableRepository(
                f"the repository in {root} is bare: it has no files to run",
                value=root,
                next=f"work in a checkout of it: `git -C '{root}' worktree add PATH`",
            )

    def last_of_repository(self, key: str) -> str | None:
        """Return the value in force of a key of the repository's configuration."""
        values = self.repository.get(key)
        return values[-1] if values else None

    def _fill(self, ignore: Iterable[bytes]) -> None:
        self._flags = {key: _plain_flag(self.last_of_repository(key), default) for key, default in _KEPT.items()}
        lines = [
            "[core]",
            "\trepositoryformatversion = 0",
            "\tbare = true",
            "\tfsmonitor = false",
            "\tautocrlf = false",
        ]
        lines += [f"\t{key.removeprefix('core.')} = {value}" for key, value in self._flags.items()]
        (self.path / "config").write_text("\n".join(lines) + "\n")
        (self.path / "info" / "attributes").write_bytes(_BARE_BYTES)
        (self.path / "info" / "exclude").write_bytes(self._ignored(ignore))
        (self.path / "objects" / "info").mkdir()
        alternate = _quoted(os.fsencode(self.place.common / "objects"))
        (self.path / "objects" / "info" / "alternates").write_bytes(alternate + b"\n")
        self._copy_head()
        for shared in self.place.gitdir.glob("sharedindex.*"):
            shutil.copy2(shared, self.path)

    def _copy_head(self) -> None:
        name, commit = self._ask_head() if self._has_reftable() else read_reference(self.place)
        self.commit = commit.decode() if commit else None
        if name is not None and commit is not None:
            reference = self.path / os.fsdecode(name)
            reference.parent.mkdir(parents=True, exist_ok=True)
            reference.write_bytes(commit + b"\n")
        (self.path / "HEAD").write_bytes((commit or b"" if name is None else b"ref: " + name) + b"\n")

    def _has_reftable(self) -> bool:
        return (self.last_of_repository("extensions.refstorage") or "files").startswith("reftable")

    def _ask_head(self) -> tuple[bytes | None, bytes | None]:
        # References in tables only git can read; to resolve one runs nothing that a configuration names.
        there = {"GIT_DIR": str(self.place.gitdir)}
        name = self.start("symbolic-ref", "-q", "HEAD", environ=there).output(fails=b"").strip()
        commit = self.start("rev-parse", "-q", "--verify", "HEAD", environ=there).output(fails=b"").strip()
        return name or None, commit or None

    def _ignored(self, ignore: Iterable[bytes]) -> bytes:
        """Return what git shall not list as untracked, the weightier later."""
        named = self.user.get("core.excludesfile")
        default = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config") / "git" / "ignore"
        files = [
            Path(named[-1]) if named else default,
            self.place.common / "info" / "exclude",
            self.place.root / IGNORE_FILE,
        ]
        texts = [read_optional(file.expanduser()) for file in files]
        return b"\n".join([*texts, _ALWAYS_IGNORED, *ignore, b""])


class Running:
    """A git process that writes into files of the view, so that it never waits for us."""

    def __init__(self, words: list[str], view: View, environ: Mapping[str, str], stdin: bytes | None) -> None:
        self._words = words
        self._root = view.place.root
        name = f"git-{next(view.numbers)}"
        self._out, self._err, source = (view.path / f"{name}.{end}" for end in ("out", "err", "in"))
        source.write_bytes(stdin or b"")
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
        "GIT_INDEX_FILE": str(place.gitdir / "index"),
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


def _parse_config(text: bytes) -> Config:
    config: Config = {}
    for item in text.split(b"\0"):
        if item:
            key, equals, value = item.partition(b"\n")
            config.setdefault(os.fsdecode(key), []).append(os.fsdecode(value) if equals else "true")
    return config


def _is_true(value: str | None) -> bool:
    return value is not None and value.lower() in ("true", "yes", "on", "1")


def _plain_flag(value: str | None, default: str) -> str:
    return default if value is None else "true" if _is_true(value) else "false"


def _quoted(path: bytes) -> bytes:
    escaped = path.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n")
    return b'"' + escaped + b'"'
