"""Capture what the maps of a running job run: code, software, machine."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from provrun.project.project import Project

if TYPE_CHECKING:
    from provrun.core.code import CapturedCode
    from provrun.core.environment import Environment, Host
    from provrun.core.records import MapRecord

_PAUSES = (0.2, 1.0)  # seconds before a capture that has failed is tried again


class MapRecorder:
    """Captures as `submit` does, without touching the registry: it works in a thread beside the one that writes."""

    def __init__(self, project: Project, maps: list[MapRecord], everything: list[MapRecord], mpi: str | None) -> None:
        self._project = project
        self._mpi = mpi
        self._maps = {map.id: map for map in maps}
        self._everything = {map.id: map for map in everything}

    def learn(self, maps: Sequence[MapRecord]) -> None:
        """Learn of maps that have appeared."""
        self._maps = self._maps | {map.id: map for map in maps}
        self._everything = self._everything | self._maps

    def capture_code(self, map: int) -> CapturedCode:
        """Return the version of a map's code as it lies on disk now."""
        for pause in _PAUSES:
            try:
                return self._capture_code(map)
            except Exception:  # git is a process of its own: that somebody kills it is not worth a job
                time.sleep(pause)
        return self._capture_code(map)

    def _capture_code(self, map: int) -> CapturedCode:
        # Late: the first task is on its way by now.
        from provrun.project.capturing import written
        from provrun.record import git
        from provrun.record.files import StatCache
        from provrun.submit.used import named_files

        record = self._maps[map]
        folder = self._project.root / record.workdir
        with StatCache(self._project.dir / "tmp" / "digests") as known:
            return git.capture(
                folder,
                exclude=written(self._project, list(self._everything.values())),
                files=named_files(record.recipe, record.policy, folder),
                known=known,
            )

    def differing(self, map: int, then: CapturedCode, now: CapturedCode) -> set[str] | None:
        """Give the files, beneath the project, in which two versions of a map's code differ; None if unknown."""
        from provrun.errors import ProvrunError
        from provrun.record.rebuilding import differing

        try:
            found = differing(self._project.root / self._maps[map].workdir, (then, now))
        except (ProvrunError, OSError):
            return None
        root = os.path.realpath(self._project.root)
        return {os.path.relpath(path, root) for path in found}

    def capture_environment(self, map: int) -> Environment:
        """Return the software that tasks of a map find."""
        from provrun.record.environment import capture_environment

        return capture_environment()

    def capture_host(self) -> Host:
        """Return the kind of this machine."""
        from provrun.record.host import capture_host

        return capture_host(self._mpi)
