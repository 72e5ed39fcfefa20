"""A private folder that tasks use one after the other."""

from __future__ import annotations

import os

_FEW = 100  # files that are removed at once


class Folder:
    """An empty folder of its own for each task that comes by; looking whether one used it costs a microsecond."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._times = 0
        self._make()

    def clear(self) -> None:
        """Remove what a task left behind."""
        if self._used():
            remove(self.path)
            self._make()

    def set_aside(self) -> str | None:
        """Remove what a task left behind, but only put it aside if it is much: then give where it lies now."""
        if not self._used():
            return None
        aside = None
        if not self._much():
            remove(self.path)
        else:
            self._times += 1
            aside = f"{self.path}.left-{self._times}"
            os.rename(self.path, aside)
        self._make()
        return aside

    def _much(self) -> bool:
        try:
            with os.scandir(self.path) as entries:
                return any(n == _FEW or entry.is_dir(follow_symlinks=False) for n, entry in enumerate(entries))
        except OSError:
            return False

    def _used(self) -> bool:
        try:
            # Whatever is made or removed in it brings it out of the year 1970.
            return os.stat(self.path).st_mtime_ns != 0
        except FileNotFoundError:
            return True

    def _make(self) -> None:
        os.makedirs(self.path, 0o700, exist_ok=True)
        os.utime(self.path, ns=(0, 0))


def remove(folder: str) -> bytes:
    """Remove a folder with all that is in it, as far as possible."""
    import shutil

    shutil.rmtree(folder, ignore_errors=True)
    return b""
