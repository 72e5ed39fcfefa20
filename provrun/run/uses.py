"""What the recipe of a map uses on this host, and whether it has changed."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from itertools import count

from provrun.core.environment import Tool
from provrun.core.messages import Loaded, Result, RunMap
from provrun.run.declared import CannotStart, Declared
from provrun.run.files import Files, Seen, changed
from provrun.run.pinned import Pinned
from provrun.run.reports import Reports
from provrun.run.versions import Versions

_SHARE = 0.01  # of the time that may go into looking at files
_MANY = 1000
_numbers = count(1)


class Programs:
    """The programs that a recipe runs: paths, each with whether its version may be asked for, and how to ask."""

    def __init__(self, versions: Versions, environment: Mapping[bytes, bytes]) -> None:
        self.paths: dict[str, bool] = {}
        self.versions = versions
        self.environment = environment


class Uses:
    """The files, tools, defaults and shared inputs of a map under one number; another number stands for other ones.

    Results wait here until the manager was told what their numbers mean: until all that is `awaited` has come.
    """

    def __init__(self, run: RunMap, declared: Declared, files: Files, project: str, workdir: str) -> None:
        self.number = next(_numbers)
        self.announced = False
        self.awaited = 0
        self.defaults: dict[str, object] = {}
        self._run = run
        self._declared = declared
        self._digests = files
        self._project = project
        self._workdir = workdir
        self._pinned = Pinned(run, project)
        self._files: dict[str, Seen] = {}
        self._tools: dict[str, Seen] = {}
        self._programs: Programs | None = None
        self._shared: dict[str, Seen] = {}
        self._held: list[Result] = []
        self._next_look = 0.0

    def again(self) -> Uses:
        """Make the uses that follow when files have changed."""
        return Uses(self._run, self._declared, self._digests, self._project, self._workdir)

    def find(self, reports: Reports, words: Iterable[str] = (), programs: Programs | None = None) -> None:
        """Look at programs, at what ``--uses`` and the words of a command name in the project, and at shared inputs.

        Raises `CannotStart` when a shared input is missing.
        """
        for path in self._declared.shared:
            if not os.access(os.path.join(self._workdir, path), os.R_OK):
                raise CannotStart(f"input {path} is missing or cannot be read", value=path)
        there = self._pinned.there
        paths = [there(path) for use in self._run.policy.uses for path in _walk(os.path.join(self._workdir, use))]
        paths += [path for path in map(there, map(self._whole, words)) if self._is_ours(path) and os.path.isfile(path)]
        paths = list(dict.fromkeys(paths))[:_MANY]
        shared = [self._whole(path) for path in self._declared.shared]
        self._programs = programs
        tools = [path for path in programs.paths if path not in paths] if programs is not None else []

        def look() -> None:
            self.add(self._look(paths))
            for path, whole in zip(self._declared.shared, shared, strict=True):
                with suppress(OSError):
                    self._shared[path] = self._digests.look(whole)
            self._ask(tools, reports)

        self.awaited += 1
        self._digests.prepare([*paths, *shared, *tools], look)

    def _ask(self, tools: Iterable[str], reports: Reports) -> None:
        """Look at programs that lie outside the project, and ask them for their versions."""
        asked = []
        for path in tools:
            with suppress(OSError):
                seen = self._tools[path] = self._digests.look(path)
                if self._programs is not None and self._programs.paths.get(path):
                    asked.append((path, seen))
        if self._programs is None:
            self.arrived(reports)
        else:
            self._programs.versions.ask(asked, self._programs.environment, lambda: self.arrived(reports))

    def add(self, files: dict[str, Seen]) -> None:
        """Add files that were found to be used."""
        self._files = {**self._files, **files}

    def arrived(self, reports: Reports) -> None:
        """Say that one thing has come that was awaited."""
        self.awaited -= 1
        if not self.awaited:
            self._announce(reports)

    def grow(self, files: dict[str, Seen], reports: Reports) -> None:
        """Take a new number: tasks have used further files, which had not changed."""
        new = {path: seen for path, seen in files.items() if path not in self._files}
        if new:
            self.add(new)
            if self.announced:
                self.number = next(_numbers)
                self._announce(reports)

    def grow_by(self, word: str, reports: Reports) -> None:
        """Take a new number if a word names a file of the project."""
        path = self._whole(word)
        if self._is_ours(path) and os.path.isfile(path):
            self.grow(self._look([self._pinned.there(path)]), reports)

    def grow_by_program(self, path: str, reports: Reports) -> None:
        """Take a new number: tasks run a further program, which lies outside the project."""
        if self.announced:
            self.number = next(_numbers)
            self.announced = False
        self.awaited += 1
        self._ask([path], reports)

    def changed(self) -> bool:
        """Tell whether a file is not what the manager was told; does not look again at once if that takes long."""
        now = time.monotonic()
        if not self.announced or now < self._next_look:
            return False
        found = self._find_change()
        self._next_look = now + (time.monotonic() - now) / _SHARE
        return found

    def _find_change(self) -> bool:
        if any(changed(path, seen) for path, seen in self._tools.items()):
            return True
        there = self._pinned.there
        if any(changed(there(os.path.join(self._project, path)), seen) for path, seen in self._files.items()):
            return True
        return any(changed(os.path.join(self._workdir, path), seen) for path, seen in self._shared.items())

    def report(self, reports: Reports, result: Result) -> None:
        """Report a result that ended under this number."""
        if self.announced:
            reports.add(result)
        else:
            self._held.append(result)

    def _announce(self, reports: Reports) -> None:
        self.announced = True
        files = {path: seen[0] for path, seen in self._files.items()}
        shared = [(path, seen[0], seen[2]) for path, seen in self._shared.items()]
        version = self._programs.versions.of if self._programs is not None else lambda *_: None
        tools = [Tool(path, seen[0], version(path, seen)) for path, seen in sorted(self._tools.items())]
        reports.say(Loaded(self.number, self._run.map, files, tools, self.defaults, shared))
        for result in self._held:
            reports.add(result)
        self._held = []

    def _look(self, paths: Iterable[str]) -> dict[str, Seen]:
        found: dict[str, Seen] = {}
        for path in paths:
            with suppress(OSError):
                name = self._pinned.named(path)
                found[os.path.relpath(name, self._project) if self._is_ours(name) else name] = self._digests.look(path)
        return found

    def _whole(self, path: str) -> str:
        return os.path.normpath(os.path.join(self._workdir, path.replace("\0", "")))

    def _is_ours(self, path: str) -> bool:
        return path.startswith(self._project.rstrip("/") + "/")


def _walk(path: str) -> list[str]:
    if not os.path.isdir(path):
        return [path]
    found = []
    for folder, folders, files in os.walk(path):
        folders[:] = sorted(name for name in folders if name not in ("__pycache__", ".git", ".provrun"))
        found += [os.path.join(folder, name) for name in sorted(files)]
    return found
