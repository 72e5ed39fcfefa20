"""What the recipe of a map uses on this host, and whether it has changed."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from itertools import count

from provrun.core.messages import Loaded, Result, RunMap
from provrun.run.loader import Seen, changed, look
from provrun.run.recipes import CannotStart, Declared
from provrun.run.reports import Reports

_GLANCE = 0.02  # seconds between two looks at the files: a message of results is hardly ever shorter
_MANY = 1000
_numbers = count(1)


class Uses:
    """The files, tool, defaults and shared inputs of a map under one number; another number stands for other ones.

    Results wait here until the manager was told what their numbers mean.
    """

    def __init__(self, run: RunMap, declared: Declared, project: str, workdir: str) -> None:
        self.number = next(_numbers)
        self.announced = False
        self.files: dict[str, Seen] = {}
        self.tool: tuple[str, str] | None = None
        self.defaults: dict[str, object] = {}
        self._run = run
        self._declared = declared
        self._project = project
        self._workdir = workdir
        self._shared: dict[str, Seen] = {}
        self._held: list[Result] = []
        self._looked = 0.0

    def again(self) -> Uses:
        """Make the uses that follow when files have changed."""
        return Uses(self._run, self._declared, self._project, self._workdir)

    def add(self, files: dict[str, Seen]) -> None:
        """Add files that were found to be used."""
        self.files = {**self.files, **files}

    def grow(self, files: dict[str, Seen], reports: Reports) -> None:
        """Take a new number: tasks have used further files, which had not changed."""
        self.add(files)
        self.number = next(_numbers)
        if self.announced:
            self.announce(reports)

    def find(self, words: Iterable[str] = ()) -> None:
        """Add what ``--uses`` names, the shared inputs, and those words that name files of the project."""
        for path in self._run.policy.uses:
            self.add(self._look(_walk(os.path.join(self._workdir, path))))
        beneath = self._project.rstrip("/") + "/"
        paths = [os.path.normpath(os.path.join(self._workdir, word)) for word in words if word and "\0" not in word]
        self.add(self._look([path for path in paths if path.startswith(beneath) and os.path.isfile(path)]))
        for path in self._declared.shared:
            seen = look(os.path.join(self._workdir, path))
            if seen is None:
                raise CannotStart(f"input {path} is missing or cannot be read", value=path)
            self._shared[path] = seen

    def changed(self) -> bool:
        """Tell whether a file is not what it was; looks at most every 20 ms."""
        now = time.monotonic()
        if now - self._looked < _GLANCE:
            return False
        self._looked = now
        return any(changed(os.path.join(self._project, path), seen) for path, seen in self.files.items()) or any(
            changed(os.path.join(self._workdir, path), seen) for path, seen in self._shared.items()
        )

    def announce(self, reports: Reports) -> None:
        """Tell the manager, and send the results that waited for it."""
        self.announced = True
        digests = {path: seen[0] for path, seen in self.files.items()}
        shared = [(path, seen[0], seen[2]) for path, seen in self._shared.items()]
        reports.say(Loaded(self.number, self._run.map, digests, self.tool, self.defaults, shared))
        for result in self._held:
            reports.add(result)
        self._held = []

    def report(self, reports: Reports, result: Result) -> None:
        """Report a result that ended under this number."""
        if self.announced:
            reports.add(result)
        else:
            self._held.append(result)

    def _look(self, paths: Iterable[str]) -> dict[str, Seen]:
        found: dict[str, Seen] = {}
        for path in paths:
            if len(found) < _MANY and (seen := look(path)):
                found[self._name(path)] = seen
        return found

    def _name(self, path: str) -> str:
        beneath = self._project.rstrip("/") + "/"
        return os.path.relpath(path, self._project) if path.startswith(beneath) else path


def _walk(path: str) -> list[str]:
    if not os.path.isdir(path):
        return [path]
    found = []
    for folder, folders, files in os.walk(path):
        folders[:] = sorted(name for name in folders if name not in ("__pycache__", ".git", ".provrun"))
        found += [os.path.join(folder, name) for name in sorted(files)]
    return found
