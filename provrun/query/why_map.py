"""Why a map is not done, or whether it is."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

from provrun.core.answers import Tally
from provrun.core.records import JobRecord, MapRecord
from provrun.core.states import Outcome, State
from provrun.query.facts import FEW, Facts
from provrun.query.labels import acceptance_line
from provrun.query.situations import Situation, plural
from provrun.query.view import View


class MapFacts:
    """A map, its sums and what works on it."""

    def __init__(self, view: View, map: MapRecord) -> None:
        self.view = view
        self.map = map
        self.ref = map.name

    @cached_property
    def tallies(self) -> list[Tally]:
        """The sums over its ended attempts."""
        found = self.view.reads.tallies(self.map.id)
        self.view.contexts.load({tally.context for tally in found})
        return found

    @cached_property
    def jobs(self) -> list[JobRecord]:
        """The jobs that run now."""
        return self.view.running_jobs()

    @cached_property
    def queued(self) -> list[JobRecord]:
        """The jobs that wait in the queue of a scheduler."""
        return self.view.queued_jobs()

    @cached_property
    def stale(self) -> int:
        """How many results are stale by what many share."""
        return self.view.staleness(self.map).count(self.tallies)

    @cached_property
    def drifted(self) -> int:
        """How many attempts ran a version of code with which nobody submitted the map."""
        submitted = {submission.code for submission in self.view.reads.submissions(self.map.id)}
        contexts = self.view.contexts
        return sum(one.attempts for one in self.tallies if contexts[one.context].code not in submitted)

    @cached_property
    def held(self) -> int:
        """How many results of older code somebody holds to be valid."""
        return self.view.staleness(self.map).held(self.tallies)

    def count(self, *states: State) -> int:
        """Count its tasks in some states."""
        return sum(self.map.counts.get(state, 0) for state in states)

    def some(self, state: State) -> list[str]:
        """Name a few of its tasks in a state."""
        return [f"{self.map.name}/{index}" for index in self.view.reads.first_in(self.map.id, state, FEW)]


class _OfMap(Situation[MapFacts]):
    def details(self, facts: MapFacts) -> Iterable[str]:
        counts = ", ".join(f"{n:,} {state.word}" for state, n in facts.map.counts.items() if n)
        yield counts or "it has no task"
        if facts.drifted:
            yield f"{plural(facts.drifted, 'attempt')} of it ran other code than it was submitted with"


class MapPaused(_OfMap):
    """It is paused."""

    name = "map-paused"

    def holds(self, facts: MapFacts) -> bool:
        return facts.map.paused and facts.count(State.WAITING, State.PENDING) > 0

    def because(self, facts: MapFacts) -> str:
        return "it is paused, nothing of it is started"

    def next(self, facts: MapFacts) -> str:
        return f"provrun resume {facts.map.name}"


class MapFailed(_OfMap):
    """Some of its tasks have failed."""

    name = "map-failed"

    def holds(self, facts: MapFacts) -> bool:
        return facts.count(State.FAILED) > 0

    def because(self, facts: MapFacts) -> str:
        n = facts.count(State.FAILED)
        return f"{plural(n, 'task')} of it {'has' if n == 1 else 'have'} failed: {', '.join(facts.some(State.FAILED))}"

    def details(self, facts: MapFacts) -> Iterable[str]:
        yield from super().details(facts)
        outcomes: dict[Outcome, int] = {}
        for tally in facts.tallies:
            if tally.outcome is not Outcome.SUCCEEDED:
                outcomes[tally.outcome] = outcomes.get(tally.outcome, 0) + tally.attempts
        for outcome, n in outcomes.items():
            yield f"{plural(n, 'attempt')} ended as {outcome.word}"

    def next(self, facts: MapFacts) -> str:
        return f"provrun why {facts.some(State.FAILED)[0]}"


class MapRunning(_OfMap):
    """Jobs work on it."""

    name = "map-running"

    def holds(self, facts: MapFacts) -> bool:
        return facts.count(State.RUNNING) > 0 and bool(facts.jobs)

    def because(self, facts: MapFacts) -> str:
        jobs = ", ".join(f"job:{job.id}" for job in facts.jobs)
        return f"{plural(facts.count(State.RUNNING), 'task')} of it are held by {jobs}"

    def next(self, facts: MapFacts) -> str:
        return f"provrun watch {facts.map.name}"


class MapOrphaned(_OfMap):
    """Tasks are marked as running, and nothing runs."""

    name = "map-job-is-over"

    def holds(self, facts: MapFacts) -> bool:
        return facts.count(State.RUNNING) > 0

    def because(self, facts: MapFacts) -> str:
        return f"{plural(facts.count(State.RUNNING), 'task')} are marked as running, but the job that held them is over"

    def next(self, facts: MapFacts) -> str:
        return f"provrun recover {facts.map.name}"


class MapPending(_OfMap):
    """Tasks are pending."""

    name = "map-pending"

    def holds(self, facts: MapFacts) -> bool:
        return facts.count(State.PENDING) > 0

    def because(self, facts: MapFacts) -> str:
        count = facts.count(State.PENDING)
        pending = f"{plural(count, 'task')} of it {'is' if count == 1 else 'are'} pending"
        if facts.jobs:
            return pending
        if not facts.queued:
            return f"{pending}, and no job is running"
        waiting = ", ".join(f"job:{job.id}" for job in facts.queued)
        return f"{pending}, and {waiting} {'is' if len(facts.queued) == 1 else 'are'} still queued"

    def next(self, facts: MapFacts) -> str:
        pending = facts.some(State.PENDING)
        if facts.queued and not facts.jobs:
            return f"provrun why job:{facts.queued[0].id}"
        return f"provrun why {pending[0]}" if facts.jobs else f"provrun run {facts.map.name}"


class MapWaiting(_OfMap):
    """Tasks are waiting."""

    name = "map-waiting"

    def holds(self, facts: MapFacts) -> bool:
        return facts.count(State.WAITING) > 0

    def because(self, facts: MapFacts) -> str:
        shown = facts.view.reads.shown(facts.map.id, facts.view.reads.first_in(facts.map.id, State.WAITING, 1)[0])
        assert shown is not None
        waits = Facts(facts.view, facts.map, shown).waits
        upstream = ", ".join(sorted({wait.map.name for wait in waits}))
        return f"{plural(facts.count(State.WAITING), 'task')} of it wait for {upstream or 'what is there already'}"

    def next(self, facts: MapFacts) -> str:
        return f"provrun why {facts.some(State.WAITING)[0]}"


class MapStale(_OfMap):
    """It is done, and results are stale."""

    name = "map-stale"

    def holds(self, facts: MapFacts) -> bool:
        return facts.stale > 0

    def because(self, facts: MapFacts) -> str:
        changed = {
            change.what: change
            for tally in facts.tallies if tally.accepted
            for change in facts.view.staleness(facts.map).of_context(tally.context)
        }
        return f"{plural(facts.stale, 'result')} of it are stale: changed since are {', '.join(list(changed)[:FEW])}"

    def next(self, facts: MapFacts) -> str:
        return f"provrun rerun {facts.map.name} --stale --force"


class MapCancelled(_OfMap):
    """Some of it was cancelled."""

    name = "map-cancelled"

    def holds(self, facts: MapFacts) -> bool:
        return facts.count(State.CANCELLED) > 0

    def because(self, facts: MapFacts) -> str:
        return f"{plural(facts.count(State.CANCELLED), 'task')} of it were cancelled, the others have ended"

    def next(self, facts: MapFacts) -> str:
        return f"provrun resume {facts.map.name}"


class MapAccepted(_OfMap):
    """All of it succeeded, some by code that has changed, and somebody holds that this makes no difference."""

    name = "map-accepted"

    def holds(self, facts: MapFacts) -> bool:
        return facts.held > 0

    def because(self, facts: MapFacts) -> str:
        return (
            f"all its tasks succeeded, {plural(facts.held, 'result')} of it by older code, and somebody holds that"
            " they are valid under the present one"
        )

    def details(self, facts: MapFacts) -> Iterable[str]:
        yield from super().details(facts)
        for acceptance in facts.view.staleness(facts.map).acceptances.records:
            yield acceptance_line(acceptance)

    def next(self, facts: MapFacts) -> str:
        return f"provrun results {facts.map.name}"


class MapDone(_OfMap):
    """All of it succeeded."""

    name = "map-done"

    def holds(self, facts: MapFacts) -> bool:
        return True

    def because(self, facts: MapFacts) -> str:
        return "all its tasks succeeded, and what they used is as it was" if facts.map.total else "it has no task"

    def next(self, facts: MapFacts) -> str:
        return f"provrun results {facts.map.name}"


MAPS: tuple[Situation[MapFacts], ...] = (
    MapPaused(), MapFailed(), MapRunning(), MapOrphaned(), MapPending(), MapWaiting(), MapStale(), MapCancelled(),
    MapAccepted(), MapDone(),
)
