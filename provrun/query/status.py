"""How maps stand: from counters and sums, never from their tasks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from provrun.core.answers import ContextRecord, Tally
from provrun.core.records import JobRecord, MapRecord
from provrun.core.states import State
from provrun.query.rows import counts
from provrun.query.staleness import Staleness

Document = dict[str, object]
_UNFINISHED = (State.RUNNING, State.PENDING, State.WAITING)
_FINISHED = (State.FAILED, State.SUCCEEDED, State.CANCELLED)


def state_of(map: MapRecord) -> str:
    """Give one word for a map: what is left to do, else the worst that came of it."""
    unfinished = [state for state in _UNFINISHED if map.counts.get(state)]
    if map.paused and unfinished:
        return "paused"
    ended = [state for state in _FINISHED if map.counts.get(state)]
    return next((state.word for state in (*unfinished, *ended)), "empty")


def status(
    map: MapRecord, tallies: Sequence[Tally], contexts: Mapping[int, ContextRecord], staleness: Staleness, *,
    jobs: Iterable[JobRecord], now: int,
) -> Document:
    """Say how a map stands; ``jobs`` are the running ones that work on it, ``now`` in microseconds.

    Tasks per second are those of the running jobs, else of the job that worked on it last.
    """
    live = {job.id for job in jobs}
    rate = _rate(tallies, contexts, live, now)
    left = sum(map.counts.get(state, 0) for state in _UNFINISHED)
    accepted = sum(tally.accepted for tally in tallies)
    noresult = sum(tally.noresult for tally in tallies)
    return {
        "name": map.name,
        "state": state_of(map),
        "ntasks": counts(map),
        "stale": staleness.count(tallies),
        "noresult": noresult if noresult < accepted else 0,
        "rate": rate,
        "eta_seconds": 0.0 if not left else left / rate if rate and live else None,
        "core_hours": sum(tally.wall for tally in tallies) * map.policy.cores / 3.6e9,
        "user": map.user,
        "jobs": sorted(job.id for job in jobs),
        "reused": sum(tally.reused for tally in tallies),
    }


def _rate(
    tallies: Sequence[Tally], contexts: Mapping[int, ContextRecord], live: set[int], now: int
) -> float | None:
    timed = [tally for tally in tallies if tally.first is not None and tally.last is not None]
    if not timed:
        return None
    chosen = [tally for tally in timed if contexts[tally.context].job in live]
    if chosen:
        last = now
    else:
        latest = max(timed, key=lambda tally: tally.last or 0)
        chosen = [tally for tally in timed if contexts[tally.context].job == contexts[latest.context].job]
        last = latest.last or 0
    span = last - min(tally.first or 0 for tally in chosen)
    return sum(tally.attempts for tally in chosen) / (span / 1e6) if span > 0 else None
