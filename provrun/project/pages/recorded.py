"""Values that were recorded, as far as they are at hand: in the registry, in a crate's tables, or nowhere."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from provrun.core.canonical import NotAValue, digest_text, encode
from provrun.core.records import DROPPED
from provrun.project.pages.reruns import Made

if TYPE_CHECKING:
    from provrun.core.canonical import Value
    from provrun.project.project import Project

_FIELDS = frozenset((
    "task", "map", "index", "attempt", "attempts", "outputs", "started", "ended", "seconds", "cpu_seconds", "max_rss",
    "code", "environment", "defaults",
))


class Recorded(Protocol):
    """Where results, patches of code and lists of software may be found."""

    @property
    def patches(self) -> Mapping[str, bytes]:
        """Uncommitted changes by their digest."""

    def lock(self, environment: str) -> str | None:
        """Give the list of an environment's software, if it is here."""

    def result(self, map: str, index: int, number: int, digest: str, params: Mapping[str, Value]) -> Made | None:
        """Give the result of an attempt, if one of this digest is here."""


class Nowhere:
    """A page and records: digests, and no values."""

    @property
    def patches(self) -> Mapping[str, bytes]:
        """There are none here."""
        return {}

    def lock(self, environment: str) -> str | None:
        """It is not here."""
        return None

    def result(self, map: str, index: int, number: int, digest: str, params: Mapping[str, Value]) -> Made | None:
        """It is not here."""
        return None


class InCrate:
    """A crate: its patches, lists of software, and the results that its tables show as they were."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tables: dict[str, dict[int, dict[str, str]]] = {}

    @cached_property
    def patches(self) -> Mapping[str, bytes]:
        """Uncommitted changes by their digest."""
        from hashlib import sha256

        found = [path.read_bytes() for path in (self._folder / "code").glob("*.patch") if path.is_file()]
        return {sha256(patch).hexdigest(): patch for patch in found}

    def lock(self, environment: str) -> str | None:
        """Give the list of an environment's software."""
        with suppress(OSError):
            path = self._folder / "environment" / f"{environment[:16]}.requirements.txt"
            return path.read_text(encoding="utf-8", errors="replace")
        return None

    def result(self, map: str, index: int, number: int, digest: str, params: Mapping[str, Value]) -> Made | None:
        """Give the result of an attempt if the cells of its row, put together, have the digest."""
        if map not in self._tables:
            self._tables[map] = _table(self._folder / "results" / f"{map}.csv")
        row = self._tables[map].get(index)
        if row is None:
            return None
        # A name that could be meant in several ways stands with its part before it.
        own = {
            name.removeprefix("result."): _cell(text) for name, text in row.items()
            if name.startswith("result.") or not (name.startswith("param.") or name in params or name in _FIELDS)
        }
        for value in (own.get("result"), own):
            with suppress(NotAValue, TypeError):
                text = encode(value)
                if digest_text("result", text).hex() == digest:
                    return Made(text, params)
        return None


def _table(path: Path) -> dict[int, dict[str, str]]:
    csv.field_size_limit(sys.maxsize)  # a result may be longer than what this module takes for a mistake
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return {int(row["index"]): row for row in csv.DictReader(file)}
    except (OSError, KeyError, ValueError, csv.Error):
        return {}


def _cell(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text


class InRegistry:
    """The registry of the project itself; packs are linked into ``scratch``, where results are read."""

    def __init__(self, project: Project, scratch: Path) -> None:
        from provrun.store.reads import Reads

        self._project = project
        self._scratch = scratch
        self._reads = Reads(project.registry.database)
        self._ids = {record.name: record for record in project.registry.maps()}

    @cached_property
    def patches(self) -> Mapping[str, bytes]:
        """Uncommitted changes by their digest."""
        found = (self._reads.code(one.digest) for one in self._reads.codes())
        return {one.code.patch_digest: one.patch for one in found if one.code.patch_digest and one.patch}

    def lock(self, environment: str) -> str | None:
        """Give the list of an environment's software."""
        from provrun.export.crate.software import lock

        return lock(self._reads.environment(environment))

    def result(self, map: str, index: int, number: int, digest: str, params: Mapping[str, Value]) -> Made | None:
        """Give the result of an attempt."""
        record = self._ids[map]
        attempt = next((one for one in self._reads.attempts(record.id, index) if one.number == number), None)
        if attempt is None or attempt.result_digest is None or attempt.result_digest.hex() != digest:
            return None
        job = self._reads.context(attempt.context).job_uuid
        made = self._reads.artifacts(record.id, index, number)
        places = {
            one.digest.hex(): (job, one.place) for one in made
            if one.role == "result" and one.place and one.place != DROPPED
        }
        for _, place in places.values():
            self._link(job, int(place.split(":", 1)[0]))
        folder = self._project.root / record.workdir
        outputs = {one.name: str(folder / one.path) for one in made if one.role == "output" and one.path}
        return Made(attempt.result, params, outputs, places)

    def _link(self, job: str, rank: int) -> None:
        from provrun.run.packs import pack_path

        link = pack_path(self._scratch, job, rank)
        link.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            link.symlink_to(pack_path(self._project.root, job, rank).resolve())
