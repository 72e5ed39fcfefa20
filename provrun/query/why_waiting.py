"""Why a task has not ended: it waits, it is pending, it runs."""

from __future__ import annotations

from collections.abc import Iterable

from provrun.core.states import Outcome, State
from provrun.core.units import format_duration
from provrun.query.facts import FEW, Facts, Wait
from provrun.query.rows import moment
from provrun.query.situations import Situation, plural, times

AHEAD = 100_000  # tasks before this one are counted up to here


class _Waiting(Situation[Facts]):
    def details(self, facts: Facts) -> Iterable[str]:
        for wait in facts.waits:
            yield f"it {_needs(wait)}: {wait.missing:,} of {wait.of:,} missing"
            for state in State:
                if state in (State.SUCCEEDED,):
                    continue
                indices = wait.in_state(state)
                if indices:
                    named = ", ".join(f"{wait.map.name}/{index}" for index in indices)
                    yield f"  {state.word}: {named}{' ...' if len(indices) == FEW else ''}"


class WaitsForFailed(_Waiting):
    """Something it needs failed or was cancelled, and nothing will change that by itself."""

    name = "waits-for-failed"

    def holds(self, facts: Facts) -> bool:
        return facts.task.state is State.WAITING and any(wait.hopeless for wait in facts.waits)

    def because(self, facts: Facts) -> str:
        wait = self._wait(facts)
        upstream = f"{wait.map.name}/{wait.hopeless[0]}"
        state = facts.view.reads.states(wait.map.id, wait.hopeless[:1])[wait.hopeless[0]]
        return f"it is waiting and stays so: it {_needs(wait)}, and {upstream} {_has(state)}"

    def next(self, facts: Facts) -> str:
        wait = self._wait(facts)
        return f"provrun why {wait.map.name}/{wait.hopeless[0]}"

    def _wait(self, facts: Facts) -> Wait:
        return next(wait for wait in facts.waits if wait.hopeless)


class Waits(_Waiting):
    """It waits for others that can still bring what it needs."""

    name = "waiting"

    def holds(self, facts: Facts) -> bool:
        return facts.task.state is State.WAITING

    def because(self, facts: Facts) -> str:
        if not facts.waits:
            return "it is waiting, and all it waits for is there: a job makes it pending when it records next"
        needs = " and ".join(f"{_needs(wait)} ({wait.missing:,} of {wait.of:,} missing)" for wait in facts.waits)
        return f"it is waiting: it {needs}"

    def next(self, facts: Facts) -> str:
        paused = next((wait.map.name for wait in facts.waits if wait.map.paused), None)
        if paused is not None:
            return f"provrun resume {paused}"
        return "provrun watch" if facts.jobs else f"provrun run {facts.map.name}"


class _Pending(Situation[Facts]):
    def details(self, facts: Facts) -> Iterable[str]:
        yield from facts.history()
        if facts.task.fails:
            yield (
                f"it failed {times(facts.task.fails)} by its own fault;"
                f" {plural(facts.retries_left, 'further failure')} will be retried"
            )


class Paused(_Pending):
    """Its map is paused."""

    name = "paused"

    def holds(self, facts: Facts) -> bool:
        return facts.task.state is State.PENDING and facts.map.paused

    def because(self, facts: Facts) -> str:
        return f"it is pending and nothing starts it: the map {facts.map.name} is paused"

    def next(self, facts: Facts) -> str:
        return f"provrun resume {facts.map.name}"


class Queued(_Pending):
    """A job that may take it waits in the queue of a scheduler."""

    name = "job-is-queued"

    def holds(self, facts: Facts) -> bool:
        return facts.task.state is State.PENDING and not facts.jobs and bool(facts.queued)

    def because(self, facts: Facts) -> str:
        jobs = ", ".join(f"job:{job.id} ({job.owner.get('scheduler')})" for job in facts.queued)
        return f"it is pending, and {jobs} {'is' if len(facts.queued) == 1 else 'are'} still queued"

    def next(self, facts: Facts) -> str:
        return f"provrun why job:{facts.queued[0].id}"


class NoJob(_Pending):
    """Nothing runs here."""

    name = "no-job"

    def holds(self, facts: Facts) -> bool:
        return facts.task.state is State.PENDING and not facts.jobs

    def because(self, facts: Facts) -> str:
        again = ""
        if facts.last is not None:
            again = {
                Outcome.LOST: "; its last attempt was lost with its job",
                Outcome.SUCCEEDED: "; it has been reopened, its earlier result is superseded",
            }.get(facts.last.outcome, "; it is to be tried again")
            if facts.last.outcome is Outcome.CANCELLED and facts.last.started is None and facts.last.wall:
                ran = format_duration(round(facts.last.wall / 1e6))
                again = f"; its last attempt ran {ran} and was stopped when its allocation ended"
            if facts.map.policy.checkpoint and facts.last.outcome is not Outcome.SUCCEEDED:
                again += "; its next attempt goes on from its checkpoint"
        return f"it is pending and no job is running{again}"

    def next(self, facts: Facts) -> str:
        return f"provrun run {facts.map.name}"


class TooWide(_Pending):
    """It wants more cores than any running job has on one rank."""

    name = "does-not-fit"

    def holds(self, facts: Facts) -> bool:
        policy = facts.map.policy
        large = policy.width > self._widest(facts) or (policy.task_nodes > 1 and policy.task_nodes > self._ranks(facts))
        return facts.task.state is State.PENDING and large

    def because(self, facts: Facts) -> str:
        policy = facts.map.policy
        if policy.width > self._widest(facts):
            return (
                f"it is pending and fits into no running job: it takes {policy.width} cores, and the widest job"
                f" has {plural(self._widest(facts), 'slot')} on a rank"
            )
        return (
            f"it is pending and fits into no running job: it takes {policy.task_nodes} nodes, and the largest job"
            f" has {plural(self._ranks(facts), 'rank')}"
        )

    def next(self, facts: Facts) -> str:
        policy = facts.map.policy
        if policy.width > self._widest(facts):
            return f"provrun run {facts.map.name} -j {policy.width}"
        return f"provrun launch {facts.map.name} --nodes {policy.task_nodes}"

    @staticmethod
    def _ranks(facts: Facts) -> int:
        return max((job.ranks for job in facts.jobs), default=0)

    @staticmethod
    def _widest(facts: Facts) -> int:
        return max((job.slots for job in facts.jobs), default=0)


class Behind(_Pending):
    """Others go first."""

    name = "behind-others"

    def holds(self, facts: Facts) -> bool:
        return facts.task.state is State.PENDING and self._ahead(facts) > 0

    def because(self, facts: Facts) -> str:
        ahead = self._ahead(facts)
        more = " or more" if ahead >= AHEAD else ""
        return (
            f"it is pending: {plural(ahead, 'task')}{more} go first, by priority, then map, then index"
            f" (its priority is {facts.task.priority})"
        )

    def next(self, facts: Facts) -> str:
        return f"provrun set {facts.map.name} --priority {facts.task.priority + 1}"

    @staticmethod
    def _ahead(facts: Facts) -> int:
        return facts.view.reads.ahead(facts.map.id, facts.task.index, facts.task.priority, AHEAD)


class Next(_Pending):
    """It is the next one that a running job takes, if that job works on its map."""

    name = "next"

    def holds(self, facts: Facts) -> bool:
        return facts.task.state is State.PENDING

    def because(self, facts: Facts) -> str:
        jobs = ", ".join(f"job:{job.id}" for job in facts.jobs)
        return f"it is pending and the first in line: {jobs} takes it soon, if it works on {facts.map.name}"

    def next(self, facts: Facts) -> str:
        return f"provrun watch {facts.map.name}"


class Orphaned(Situation[Facts]):
    """The job that holds it is over and did not say so."""

    name = "job-is-over"

    def holds(self, facts: Facts) -> bool:
        holder = facts.holder
        return facts.task.state is State.RUNNING and (holder is None or all(holder.id != job.id for job in facts.jobs))

    def because(self, facts: Facts) -> str:
        holder = facts.holder
        who = f"job:{holder.id} on {holder.node}" if holder is not None else "its job"
        return f"it is marked as running, but {who}, which held it, is over"

    def next(self, facts: Facts) -> str:
        return f"provrun recover {facts.map.name}"


class Running(Situation[Facts]):
    """A job has it."""

    name = "running"

    def holds(self, facts: Facts) -> bool:
        return facts.task.state is State.RUNNING

    def because(self, facts: Facts) -> str:
        job = facts.holder
        assert job is not None
        since = format_duration(max(0, facts.view.now - job.started) / 1e6)
        return (
            f"it is attempt {facts.task.attempts}, held by job:{job.id} on {job.node}, which runs since"
            f" {moment(job.started)} ({since})"
        )

    def details(self, facts: Facts) -> Iterable[str]:
        yield from facts.history()
        limits = facts.task.limits
        time = limits.time if limits is not None and limits.time is not None else facts.map.policy.task_time
        if time is not None:
            yield f"its time limit is {format_duration(time)}"

    def next(self, facts: Facts) -> str:
        return f"provrun watch {facts.map.name}"


def _needs(wait: Wait) -> str:
    upstream = wait.map.name
    match wait.dependency.kind:
        case "each":
            return f"needs {upstream}/{wait.in_state(*State)[0]}"
        case "group":
            return f"needs its group of {upstream} by {', '.join(wait.dependency.by)}"
        case "chunk":
            return f"needs its {wait.dependency.chunk} tasks of {upstream}"
        case "all":
            return f"needs all of {upstream}"
        case "after":
            return f"runs after {upstream}"


def _has(state: State) -> str:
    return "was cancelled" if state is State.CANCELLED else "has failed"
