"""Name the contents of files as git names them, from the bytes on disk."""

from __future__ import annotations

import hashlib
import os
import stat
import zlib
from dataclasses import dataclass
from pathlib import Path

from provrun.record.place import UnreadableRepository

_CHUNK = 1 << 20
LINK = 0o120000
FILE = 0o100644
PROGRAM = 0o100755
SUBMODULE = 0o160000

Entry = tuple[int, str]
"""What a git tree says of a path: mode and 40 hex digits."""


@dataclass(frozen=True)
class Found:
    """A file or link as it lies on disk; ``data`` is None if it is larger than was asked for."""

    mode: int
    id: str
    size: int
    data: bytes | None


def blob_id(data: bytes) -> str:
    """Return the 40 hex digits by which git names these bytes."""
    return hashlib.sha1(b"blob %d\0%b" % (len(data), data), usedforsecurity=False).hexdigest()


def read_entry(path: bytes, keep: int = 0) -> Found | None:
    """Return the file or link at ``path``, with its bytes if there are at most ``keep`` of them, or None if absent."""
    try:
        state = os.lstat(path)
        if stat.S_ISLNK(state.st_mode):
            target = os.readlink(path)  # noqa: PTH115 - Path would simplify the target
            return Found(LINK, blob_id(target), len(target), target)
        if not stat.S_ISREG(state.st_mode):
            return None
        return _read_file(path, keep)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError as error:
        name = os.fsdecode(path)
        raise UnreadableRepository(
            f"{name} is code and cannot be read: {error.strerror}", value=name, next="make it readable, or remove it"
        ) from None


def write_blob(objects: Path, found: Found) -> None:
    """Write the bytes of a file as a loose object into a git object folder."""
    data = found.data or b""
    folder = objects / found.id[:2]
    folder.mkdir(exist_ok=True)
    (folder / found.id[2:]).write_bytes(zlib.compress(b"blob %d\0%b" % (len(data), data), 1))


def _read_file(path: bytes, keep: int) -> Found:
    for _ in range(3):
        with open(path, "rb", buffering=0, opener=_open_regular) as file:
            state = os.fstat(file.fileno())
            mode = PROGRAM if state.st_mode & 0o100 else FILE
            if state.st_size <= max(keep, _CHUNK):
                data = file.read(state.st_size + 1) or b""
                if len(data) == state.st_size:
                    return Found(mode, blob_id(data), len(data), data if len(data) <= keep else None)
                continue
            name = hashlib.sha1(b"blob %d\0" % state.st_size, usedforsecurity=False)
            size = 0
            while chunk := file.read(_CHUNK):
                name.update(chunk)
                size += len(chunk)
            if size == state.st_size:
                return Found(mode, name.hexdigest(), size, None)
    name_shown = os.fsdecode(path)
    raise UnreadableRepository(
        f"{name_shown} is code and changes while it is read", value=name_shown, next="try again when it is complete"
    )


def _open_regular(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
