"""Rows of a map for Python: results as the functions returned them, arrays and frames included."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from provrun.api.table import Table
from provrun.core.states import State
from provrun.errors import UsageError
from provrun.project import asking

if TYPE_CHECKING:
    from provrun.core.answers import Shown
    from provrun.project.project import Project
    from provrun.query.view import View


class MapRows:
    """The rows of a map's tasks, all or those in a state or for which a condition holds; read anew at each loop."""

    def __init__(self, project: Project, name: str, state: str | None, where: str | None) -> None:
        self._project = project
        self._name = name
        self._state = _state(state)
        self._where = where

    def __iter__(self) -> Iterator[dict[str, object]]:
        view = asking.view(self._project)
        map = view.map(self._name)
        rows = view.rows(map)
        folder = view.folder(map)
        for shown in asking.selected(self._project, self._name, self._where, state=self._state):
            row = rows.row(shown)
            if any(artifact.role == "result" for artifact in shown.artifacts):
                row["result"] = _restored(self._project, view, shown, row["result"], folder)
            yield row

    def __len__(self) -> int:
        if self._where is not None:
            return sum(1 for _ in asking.selected(self._project, self._name, self._where, state=self._state))
        counts = self._project.map(self._name).counts
        return sum(counts.values()) if self._state is None else counts[self._state]


def table(project: Project, name: str, *, state: str | None = None, where: str | None = None) -> Table:
    """Give a map's tasks as a table."""
    return Table(MapRows(project, name, state, where))


def _restored(project: Project, view: View, shown: Shown, result: object, folder: str) -> object:
    from provrun.run.packs import blob_reader
    from provrun.run.values import restore

    assert shown.attempt is not None
    job = view.contexts[shown.attempt.context].job_uuid
    places = {
        artifact.digest.hex(): (job, artifact.place) for artifact in shown.artifacts
        if artifact.role == "result" and artifact.place is not None
    }
    return restore(result, blob_reader(project.root, places), folder)


def _state(word: str | None) -> State | None:
    if word is None:
        return None
    found = next((state for state in State if state.word == word.lower()), None)
    if found is None:
        known = ", ".join(state.word for state in State)
        raise UsageError(f"there is no state {word}", value=word, next=f"choose one of {known}")
    return found
