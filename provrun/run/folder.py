"""A private folder that tasks use one after the other."""

from __future__ import annotations

import os


class Folder:
    """An empty folder of its own for each task that comes by; looking whether one used it costs a microsecond."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._make()

    def clear(self) -> None:
        """Remove what a task left behind."""
        try:
            # Whatever is made or removed in it brings it out of the year 1970.
            if os.stat(self.path).st_mtime_ns == 0:
                return
        except FileNotFoundError:
            pass
        remove(self.path)
        self._make()

    def _make(self) -> None:
        os.makedirs(self.path, 0o700, exist_ok=True)
        os.utime(self.path, ns=(0, 0))


def remove(folder: str) -> None:
    """Remove a folder with all that is in it, as far as possible."""
    import shutil

    shutil.rmtree(folder, ignore_errors=True)
