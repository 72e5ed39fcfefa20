"""Declared inputs and outputs: digests of files, remembered by what `stat` says of them."""

from __future__ import annotations

import os
import stat
from hashlib import sha256

import msgspec

from provrun.core.records import Artifact
from provrun.errors import ProvrunError
from provrun.run.packs import FILE, PackWriter

_CHUNK = 1 << 20
_REMEMBERED = 100_000
_SETTLED = 2_000_000_000  # ns: a file touched more recently may change again within the clock's grain


class FileProblem(ProvrunError):
    """A declared file is not there, or not where it must be."""


class Files:
    """Digests files, each state of a file once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int, int, int], bytes] = {}

    def digest(self, path: str) -> tuple[bytes, int]:
        """Give the sha256 and the size of a file; raise `FileProblem` if there is none."""
        try:
            with open(path, "rb", buffering=0) as file:
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode):
                    raise FileProblem(f"{path} is no regular file", value=path)
                key = (path, status.st_ino, status.st_size, status.st_mtime_ns)
                known = self._known.get(key)
                if known is None:
                    known = _sha256(file.fileno())
                    if len(self._known) >= _REMEMBERED:
                        self._known.clear()
                    self._known[key] = known
                return known, status.st_size
        except OSError as error:
            raise FileProblem(f"{path}: {error.strerror}", value=path) from None

    def inputs(self, workdir: str, paths: list[str]) -> list[Artifact]:
        """Digest the inputs of a task."""
        found = []
        for path in paths:
            try:
                digest, size = self.digest(os.path.join(workdir, path))
            except FileProblem as problem:
                raise FileProblem(f"input {problem.message}", value=path) from None
            found.append(Artifact("input", "", digest, size, path))
        return found

    def outputs(self, workdir: str, paths: dict[str, str]) -> list[Artifact]:
        """Digest the outputs of a task."""
        found = []
        for name, path in paths.items():
            if not beneath(workdir, path):
                raise FileProblem(f"output {name}: {path} is not beneath the working folder", value=path)
            try:
                digest, size = self.digest(os.path.join(workdir, path))
            except FileProblem as problem:
                raise FileProblem(f"output {name}: {problem.message}", value=path) from None
            found.append(Artifact("output", name, digest, size, os.path.normpath(path)))
        return found


def pack_file(pack: PackWriter, artifact: Artifact, workdir: str) -> Artifact:
    """Move the file of an artifact into the pack; it is removed when its content is safe there."""
    path = os.path.join(workdir, artifact.path or "")
    with open(path, "rb") as file:
        place = pack.append(FILE, file.read())
    pack.sync()
    os.unlink(path)
    return msgspec.structs.replace(artifact, place=place)


def beneath(folder: str, path: str) -> bool:
    """Tell whether a path, taken from a folder, leads to something in it, symbolic links followed."""
    real = os.path.realpath(folder)
    return os.path.realpath(os.path.join(folder, path)).startswith(real.rstrip("/") + "/")


def sha256_of(path: str) -> tuple[bytes, int]:
    """Give the sha256 and the size of a file."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return _sha256(fd), os.fstat(fd).st_size
    finally:
        os.close(fd)


def _sha256(fd: int) -> bytes:
    found = sha256()
    while data := os.read(fd, _CHUNK):
        found.update(data)
    return found.digest()
