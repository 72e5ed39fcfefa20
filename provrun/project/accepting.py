"""Let results of older code hold under the code that lies here now, by somebody's word."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from provrun.core.states import State
from provrun.project.asking import matching, view
from provrun.project.capturing import capture_code
from provrun.project.project import Project
from provrun.project.submitter import user_name
from provrun.query.staleness import OF_CODE, Change

if TYPE_CHECKING:
    from provrun.core.records import MapRecord


def accept_results(
    project: Project, record: MapRecord, because: str, notes: list[str], tasks: Sequence[int] | None
) -> int:
    """Keep that results of a map hold although their code has changed: of these stale tasks, or all; give how many."""
    seen = view(project)
    judge = seen.staleness(record)
    tallies = [tally for tally in seen.reads.tallies(record.id) if tally.accepted]
    by_changes: dict[tuple[tuple[str, str, str | None], ...], list[int]] = {}
    partly = False
    for context in sorted({tally.context for tally in tallies}):
        changed = [change for change in judge.of_context(context) if change.kind in OF_CODE]
        if not changed:
            continue
        partly = partly or bool(judge.acceptances.fitting(context, changed))
        by_changes.setdefault(_covers(changed), []).append(context)
    if not by_changes:
        return 0
    if tasks is None and partly:  # some of them were accepted before: they keep the word they have
        tasks = list(matching(project, record, "stale == true"))
    registry = project.registry
    at = time.time_ns() // 1000
    code = registry.intern_code(capture_code(project, record, registry.maps()), at)
    accepted = sum(
        registry.accept(
            record.id, tasks, contexts=contexts, covers=covers, code=code, user=user_name(), reason=because, at=at
        )
        for covers, contexts in sorted(by_changes.items())
    )
    after = view(project)
    left = after.staleness(record).count(after.reads.tallies(record.id))
    if left and record.counts.get(State.SUCCEEDED, 0):
        notes.append(f"{left} results of {record.name} are still stale: provrun why {record.name} says by what")
    return accepted


def _covers(changed: Sequence[Change]) -> tuple[tuple[str, str, str | None], ...]:
    return tuple(sorted((change.kind, change.what, change.now) for change in changed))
