"""Declared inputs and outputs: digests of files, remembered by what `stat` says of them."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable
from hashlib import sha256

import msgspec

from provrun.core.records import Artifact
from provrun.errors import ProvrunError
from provrun.run.asides import Asides

Seen = tuple[str, int, int, int]
"""The sha256 (hex) of a file, and what tells whether it has changed: inode, size, modification time in ns."""

_CHUNK = 1 << 20
_LARGE = 1 << 22  # bytes that are digested aside: fewer take less time than that costs
_REMEMBERED = 100_000


class FileProblem(ProvrunError):
    """A declared file is not there, or not where it must be."""


class Files:
    """Digests files, each state of a file once; large ones aside where there are ``asides``."""

    def __init__(self, asides: Asides | None = None) -> None:
        self._asides = asides
        self._known: dict[tuple[str, int, int, int], str] = {}

    def look(self, path: str) -> Seen:
        """Digest a file; raise ``OSError`` if it cannot be read."""
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # opening a named pipe must not wait
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(0, "is no regular file")
            key = (path, status.st_ino, status.st_size, status.st_mtime_ns)
            digest = self._known.get(key)
            if digest is None:
                digest = self._remember(key, _sha256(fd))
            return digest, *key[1:]
        finally:
            os.close(fd)

    def prepare(self, paths: Iterable[str], then: Callable[[], None]) -> None:
        """Go on when `look` at these files will be quick: at once, or when large ones were digested aside."""
        unknown = [path for path in paths if self._asides and self._is_large(path)]
        if not unknown or self._asides is None:
            then()
            return

        def learn(data: bytes | None) -> None:
            if data is not None:
                for path, digest, inode, size, modified in msgspec.msgpack.decode(data):
                    self._remember((path, inode, size, modified), digest)
            then()

        self._asides.run(lambda: msgspec.msgpack.encode(list(_look_at(unknown))), learn)

    def inputs(self, workdir: str, paths: Iterable[str]) -> list[Artifact]:
        """Digest the inputs of a task."""
        return [self._artifact("input", "", workdir, path) for path in paths]

    def outputs(self, workdir: str, paths: dict[str, str]) -> list[Artifact]:
        """Digest the outputs of a task; they must lie beneath the working folder."""
        for name, path in paths.items():
            if not beneath(workdir, path):
                raise FileProblem(f"output {name}: {path} is not beneath the working folder", value=path)
        return [self._artifact("output", name, workdir, path) for name, path in paths.items()]

    def _artifact(self, role: str, name: str, workdir: str, path: str) -> Artifact:
        try:
            digest, _, size, _ = self.look(os.path.join(workdir, path))
        except OSError as error:
            raise FileProblem(f"{role} {path}: {error.strerror}", value=path) from None
        return Artifact(role, name, bytes.fromhex(digest), size, os.path.normpath(path))

    def _is_large(self, path: str) -> bool:
        try:
            status = os.stat(path)
        except OSError:
            return False
        key = (path, status.st_ino, status.st_size, status.st_mtime_ns)
        return status.st_size >= _LARGE and key not in self._known

    def _remember(self, key: tuple[str, int, int, int], digest: str) -> str:
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[key] = digest
        return digest


def changed(path: str, seen: Seen) -> bool:
    """Tell whether a file is no longer what it was, by its inode, size and time."""
    try:
        status = os.stat(path)
    except OSError:
        return True
    return (status.st_ino, status.st_size, status.st_mtime_ns) != seen[1:]


def beneath(folder: str, path: str) -> bool:
    """Tell whether a path, taken from a folder, leads to something in it, symbolic links followed."""
    real = os.path.realpath(folder)
    return os.path.realpath(os.path.join(folder, path)).startswith(real.rstrip("/") + "/")


def _look_at(paths: list[str]) -> Iterable[tuple[str, str, int, int, int]]:
    files = Files()
    for path in paths:
        try:
            yield path, *files.look(path)
        except OSError:
            continue  # whoever asks for it next will be told


def _sha256(fd: int) -> str:
    found = sha256()
    while data := os.read(fd, _CHUNK):
        found.update(data)
    return found.hexdigest()
