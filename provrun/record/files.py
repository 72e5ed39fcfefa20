"""Digest files, each content once."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import msgspec

from provrun.errors import StorageFailed

_CHUNK = 1 << 20
Key = tuple[int, int, int, int, int]
"""Device, inode, size, modification and change time (ns): as long as they stay, the content does."""

_Stored = dict[str, dict[Key, str]]


class StatCache:
    """Remembers digests of files by what `stat` says of them; in memory, and in a file if one is given.

    A file that changed less than ``settle`` seconds ago is digested again each time, because it may change once more
    without its time stamps telling; so is one that is written while it is read.
    """

    def __init__(self, file: Path | None = None, settle: float = 2.0) -> None:
        self._file = file
        self._settle = round(settle * 10**9)
        self._known: _Stored = {}
        self._grown = False
        if file is not None:
            try:
                self._known = msgspec.msgpack.decode(file.read_bytes(), type=_Stored)
            except (OSError, msgspec.DecodeError):  # a cache that is missing or torn is only slow
                self._known = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.save()

    def get(self, kind: str, path: str | bytes | Path, make: Callable[[], str]) -> str:
        """Return the digest of a kind of the file at ``path``; ``make`` computes it."""
        before = key_of(os.lstat(path))
        known = self._known.setdefault(kind, {})
        if before in known:
            return known[before]
        made = make()
        after = os.lstat(path)
        if key_of(after) == before and time.time_ns() - max(after.st_mtime_ns, after.st_ctime_ns) >= self._settle:
            known[before] = made
            self._grown = True
        return made

    def save(self) -> None:
        """Replace the cache's file, if there is one and something was learnt."""
        if self._file is None or not self._grown:
            return
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            draft = self._file.with_name(f"{self._file.name}.{os.getpid()}-{threading.get_ident()}")
            draft.write_bytes(msgspec.msgpack.encode(self._known))
            draft.replace(self._file)
        except OSError as error:
            raise StorageFailed(f"{self._file} cannot be written: {error.strerror}", value=str(self._file)) from None
        self._grown = False


def key_of(state: os.stat_result) -> Key:
    """Return what identifies a content without reading it."""
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns


def digest_file(path: str | Path, known: StatCache | None = None) -> tuple[str, int]:
    """Return the SHA-256 (64 hex digits) and the size in bytes of a file, as ``sha256sum`` and ``wc -c`` do.

    ``known`` remembers it. Raises OSError.
    """
    real = Path(path).resolve()
    size = 0

    def make() -> str:
        nonlocal size
        digest = hashlib.sha256()
        size = 0
        with real.open("rb", buffering=0) as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
                size += len(chunk)
        return digest.hexdigest()

    if known is None:
        return make(), size
    found = known.get("sha256", real, make)
    return found, size or real.stat().st_size
