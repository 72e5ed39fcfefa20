"""Compare the files that a recipe used with what lies there now: what makes a result stale by code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from provrun.record.files import Key, StatCache, digest_file, key_of


def file_digests(paths: Iterable[str | Path], known: StatCache | None = None) -> dict[str, str | None]:
    """Return the SHA-256 of each file (64 hex digits); None for one that cannot be read. Folders are walked."""
    digests: dict[str, str | None] = {}
    for path in paths:
        there = Path(path)
        files = sorted(each for each in there.rglob("*") if each.is_file()) if there.is_dir() else [there]
        for file in files:
            try:
                digests[str(file)] = digest_file(file, known)[0]
            except OSError:
                digests[str(file)] = None
    return digests


def changed_files(used: Mapping[str, str], folder: Path, known: StatCache | None = None) -> list[str]:
    """Return those paths (relative ones beneath ``folder``) whose content is not the SHA-256 recorded of them."""
    now = {path: file_digests([folder / path], known).get(str(folder / path)) for path in used}
    return [path for path, digest in used.items() if now[path] != digest]


class Fingerprint:
    """What `stat` says of some files: tells at the cost of one call per file that none has changed since."""

    def __init__(self, paths: Iterable[str | Path]) -> None:
        self._keys: dict[str, Key | None] = {str(path): _key(str(path)) for path in paths}

    def changed(self) -> list[str]:
        """Return the files that are not as they were at the beginning; their content may still be the same."""
        return [path for path, key in self._keys.items() if _key(path) != key]


def _key(path: str) -> Key | None:
    try:
        return key_of(Path(path).stat())
    except OSError:
        return None
