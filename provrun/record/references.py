"""Read where HEAD stands from the files that references are kept in."""

from __future__ import annotations

import os
import re
from pathlib import Path

from provrun.record.place import Place, UnreadableRepository, read_small

_COMMIT = re.compile(rb"[0-9a-f]{40}")
_NAME = re.compile(rb"refs/(?!.*(?:/\.|\.\.|//|@\{))[^\x00-\x20\x7f~^:?*\[\\]+[^\x00-\x20\x7f~^:?*\[\\/.]")
_PACKED_LIMIT = 1 << 30
_DEPTH = 5


def read_reference(place: Place) -> tuple[bytes | None, bytes | None]:
    """Return the reference that HEAD names (None: detached) and the commit it stands at (None: before the first)."""
    head = place.gitdir / "HEAD"
    text = b"ref: " + os.fsencode(head.readlink()) if head.is_symlink() else read_small(head).strip()
    if _COMMIT.fullmatch(text):
        return None, text
    name = first = _named(text, head)
    for _ in range(_DEPTH):
        loose = place.common / os.fsdecode(name)
        try:
            text = read_small(loose).strip()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return first, _packed(place.common / "packed-refs", name)
        if _COMMIT.fullmatch(text):
            return first, text
        name = _named(text, loose)
    raise _damaged(head, text)


def _named(text: bytes, file: Path) -> bytes:
    name = text.removeprefix(b"ref:").strip()
    if not text.startswith(b"ref:") or not _NAME.fullmatch(name):
        raise _damaged(file, text)
    return name


def _packed(file: Path, name: bytes) -> bytes | None:
    try:
        text = read_small(file, _PACKED_LIMIT)
    except FileNotFoundError:
        return None
    found = re.search(rb"^([0-9a-f]{40}) " + re.escape(name) + rb"$", text, re.MULTILINE)
    return found[1] if found else None


def _damaged(file: Path, text: bytes) -> UnreadableRepository:
    return UnreadableRepository(
        f"{file} names no commit: {text[:80]!r}",
        value=str(file),
        next="check out a branch or commit again: `git checkout -f BRANCH`",
    )
