"""What flows into a reduce: the rows of the maps it reads, in files that agents read."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from provrun.project.project import Project

if TYPE_CHECKING:
    from provrun.core.answers import Shown
    from provrun.core.records import Artifact, Claimed, MapRecord


class RowFiles:
    """Writes the rows that tasks of a job read; tasks that read the same share one file.

    A file holds a JSON row per line; ``blobs`` says for each content of a row's result that lies in a pack the uuid
    of its job and its place; for commands long JSON results are written out. Used by one thread, the one that has the
    registry.
    """

    def __init__(self, project: Project, job: str) -> None:
        self._project = project
        self._folder = rows_folder(project, job)
        self._commands: dict[int, bool] = {}

    def __call__(self, task: Claimed) -> Mapping[str, str]:
        """Give the path of a file for each map that a claimed task reads many tasks of, by the name of the map."""
        self._folder.mkdir(parents=True, exist_ok=True)
        trail = msgspec.json.decode(task.trail or "[]", type=list[list[object]])
        files = {}
        whole = self._is_command(task.map)
        for map, tasks in self._project.registry.read_by(task.map, task.index):
            read = msgspec.json.encode([entry for entry in trail if entry[0] == map.id])
            path = self._folder / f"{map.name}-{sha256(read).hexdigest()[:16]}{'-whole' if whole else ''}.jsonl"
            if not path.exists():
                self._write(path, map, tasks, whole)
            files[map.name] = str(path)
        return files

    def remove(self) -> None:
        """Remove the files: the job is over."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _is_command(self, map: int) -> bool:
        if map not in self._commands:
            self._commands[map] = self._project.registry.run_map(map).recipe.kind != "function"
        return self._commands[map]

    def _write(self, path: Path, map: MapRecord, tasks: Iterable[Shown], whole: bool) -> None:
        from provrun.query.rows import Rows, line, raw
        from provrun.query.view import Contexts
        from provrun.store.reads import Reads

        reads = Reads(self._project.registry.database)
        contexts = Contexts(reads)
        rows = Rows(map, contexts, _NeverStale(), raw)
        temporary = path.with_suffix(f".{os.getpid()}")
        with temporary.open("wb") as file:
            for shown in tasks:
                row = rows.row(shown)
                attempt = shown.attempt
                if attempt is not None and attempt.result is not None and '"$blob"' in attempt.result:
                    made = shown.artifacts or reads.artifacts(attempt.map, attempt.index, attempt.number)
                    places = _places(made, contexts[attempt.context].job_uuid)
                    text = _json(self._project, attempt.result, places) if whole else None
                    row |= {"blobs": places} if text is None else {"result": raw(text)}
                file.write(line(row) + b"\n")
        temporary.replace(path)


def rows_folder(project: Project, job: str) -> Path:
    """Give the folder of the rows that tasks of a job read."""
    return project.dir / "tmp" / f"{job}-rows"


def _json(project: Project, result: str, places: Mapping[str, tuple[str, str]]) -> str | None:
    """Read the text of a result that is JSON too long for the registry; None if it is something else."""
    from provrun.core.canonical import Blob, decode
    from provrun.run.packs import blob_reader

    value = decode(result)
    if not isinstance(value, Blob) or value["format"] != "json":
        return None
    return blob_reader(project.root, places)(str(value["digest"])).decode()


def _places(made: Iterable[Artifact], job: str) -> dict[str, tuple[str, str]]:
    return {one.digest.hex(): (job, one.place) for one in made if one.role == "result" and one.place is not None}


class _NeverStale:
    """Judges nothing: what a task reads is what was accepted when it was claimed."""

    def is_stale(self, shown: Shown) -> bool:
        return False

    def prepare(self, tasks: object) -> None:
        """Look at nothing."""
