"""Why a task that ended is as it is: succeeded, stale, without result, failed in one of six ways, cancelled."""

from __future__ import annotations

from collections.abc import Iterable

from provrun.core.answers import ContextRecord
from provrun.core.states import Outcome, State
from provrun.core.units import format_duration, format_size
from provrun.query.facts import FEW, Facts
from provrun.query.labels import acceptance_line, attempt_line, clipped, code_line, merged_line, origin_ref, result_line
from provrun.query.rows import moment, short
from provrun.query.situations import Situation, only, times
from provrun.query.staleness import Change


class _Failed(Situation[Facts]):
    outcome: Outcome

    def holds(self, facts: Facts) -> bool:
        return facts.task.state is State.FAILED and self._outcome(facts) is self.outcome

    def details(self, facts: Facts) -> Iterable[str]:
        if len(facts.attempts) > 1:
            yield from facts.history()
        yield _tries(facts)
        yield from self.shown(facts)
        yield self.mended(facts)

    def shown(self, facts: Facts) -> Iterable[str]:
        return facts.printed()

    def next(self, facts: Facts) -> str:
        return f"provrun logs {facts.ref} --err"

    def mended(self, facts: Facts) -> str:
        return f"when mended: provrun retry {only(facts)}"

    @staticmethod
    def _outcome(facts: Facts) -> Outcome | None:
        return facts.shown.attempt.outcome if facts.shown.attempt is not None else None


class FailedExit(_Failed):
    """Its command ended with another exit code than 0."""

    name = "failed-exit"
    outcome = Outcome.EXIT

    def because(self, facts: Facts) -> str:
        detail = facts.ended.detail
        how = f"ended with exit code {detail}" if detail else "did not deliver what it promised"
        return f"it failed: its command {how}{_said(facts)}"


class FailedSignal(_Failed):
    """A signal killed it."""

    name = "failed-signal"
    outcome = Outcome.SIGNAL

    def because(self, facts: Facts) -> str:
        return f"it failed: {facts.ended.error or f'killed by signal {facts.ended.detail}'}"

    def mended(self, facts: Facts) -> str:
        if facts.ended.detail == 9 and facts.map.policy.task_memory is not None:
            return f"if memory ran out: provrun retry {only(facts)} --task-memory x2"
        return super().mended(facts)


class FailedException(_Failed):
    """Its function raised."""

    name = "failed-exception"
    outcome = Outcome.EXCEPTION

    def because(self, facts: Facts) -> str:
        error = (facts.ended.error or "").strip().splitlines()
        return f"it failed: its function raised {clipped(error[-1], 200) if error else 'an exception'}"

    def shown(self, facts: Facts) -> Iterable[str]:
        error = (facts.ended.error or "").rstrip().splitlines()
        yield from error[-20:] if len(error) > 1 else facts.printed()


class FailedTimeout(_Failed):
    """It ran longer than its limit."""

    name = "failed-timeout"
    outcome = Outcome.TIMEOUT

    def because(self, facts: Facts) -> str:
        limits = facts.task.limits
        limit = limits.time if limits is not None and limits.time is not None else facts.map.policy.task_time
        said = f" of {format_duration(limit)}" if limit is not None else ""
        return f"it failed: it was ended after {_took(facts)}, at its time limit{said}"

    def next(self, facts: Facts) -> str:
        return f"provrun retry {only(facts)} --task-time x2"


class FailedMemory(_Failed):
    """It took more memory than its limit."""

    name = "failed-memory"
    outcome = Outcome.MEMORY

    def because(self, facts: Facts) -> str:
        limits = facts.task.limits
        limit = limits.memory if limits is not None and limits.memory is not None else facts.map.policy.task_memory
        said = f" of {format_size(limit)}" if limit is not None else ""
        peak = facts.ended.max_rss
        took = f" (it held {format_size(peak * 1024)})" if peak is not None else ""
        return f"it failed: it ran out of memory{f', at its limit{said}' if said else ''}{took}"

    def next(self, facts: Facts) -> str:
        larger = " --task-memory x2" if facts.map.policy.task_memory is not None else ""
        return f"provrun retry {only(facts)}{larger}"


class FailedLauncher(_Failed):
    """It could not be started."""

    name = "failed-launcher"
    outcome = Outcome.LAUNCHER

    def because(self, facts: Facts) -> str:
        return f"it failed: it could not be started{_said(facts)}"

    def shown(self, facts: Facts) -> Iterable[str]:
        yield f"it starts in {facts.view.folder(facts.map)}"

    def next(self, facts: Facts) -> str:
        return f"provrun retry {only(facts)}"


class FailedOtherwise(_Failed):
    """It failed, and the attempt that shows says nothing of it."""

    name = "failed"

    def holds(self, facts: Facts) -> bool:
        return facts.task.state is State.FAILED

    def because(self, facts: Facts) -> str:
        last = facts.last
        return f"it failed: its last attempt ended as {last.outcome.word}" if last is not None else "it failed"

    def shown(self, facts: Facts) -> Iterable[str]:
        return ()


class Cancelled(Situation[Facts]):
    """Somebody cancelled it."""

    name = "cancelled"

    def holds(self, facts: Facts) -> bool:
        return facts.task.state is State.CANCELLED

    def because(self, facts: Facts) -> str:
        last = facts.last
        if last is None:
            return "it was cancelled before it was ever started"
        if last.outcome is Outcome.CANCELLED:
            return f"it was cancelled while attempt {last.number} was running, after {_took(facts)}"
        return f"it was cancelled after {times(len(facts.attempts))} tried, the last time {last.outcome.word}"

    def details(self, facts: Facts) -> Iterable[str]:
        return facts.history()

    def next(self, facts: Facts) -> str:
        return f"provrun retry {only(facts)}"


class _Stale(Situation[Facts]):
    kinds: tuple[str, ...]

    def holds(self, facts: Facts) -> bool:
        return facts.task.state is State.SUCCEEDED and any(change.kind in self.kinds for change in facts.changes)

    def details(self, facts: Facts) -> Iterable[str]:
        for change in facts.changes:
            yield from _told(facts, change)
        maker = origin_ref(facts.origin) if facts.origin is not None else f"attempt {facts.ended.number}"
        yield f"the result is of {maker}, {moment(facts.ended.started)}"
        yield from self.otherwise(facts)

    def otherwise(self, facts: Facts) -> Iterable[str]:
        return ()

    def next(self, facts: Facts) -> str:
        return f"provrun rerun {only(facts)} --stale --force"

    def what(self, facts: Facts) -> str:
        names = [change.what for change in facts.changes if change.kind in self.kinds]
        return ", ".join(names[:FEW]) + (f" and {len(names) - FEW} more" if len(names) > FEW else "")


class StaleCode(_Stale):
    """A file of its recipe has changed, or the program it runs."""

    name = "stale-code"
    kinds = ("code", "tool")

    def because(self, facts: Facts) -> str:
        return f"its result is stale: {self.what(facts)} is not what it was when the result was made"

    def otherwise(self, facts: Facts) -> Iterable[str]:
        yield f"if the change makes no difference: provrun accept {only(facts)} --because TEXT"


class StaleInput(_Stale):
    """An input has another content."""

    name = "stale-input"
    kinds = ("input", "reads")

    def because(self, facts: Facts) -> str:
        return f"its result is stale: its input {self.what(facts)} has another content now"


class StaleEnvironment(_Stale):
    """The software is another one."""

    name = "stale-environment"
    kinds = ("environment",)

    def because(self, facts: Facts) -> str:
        return "its result is stale: the software is not what it was when the result was made"


class Accepted(Situation[Facts]):
    """Its code has changed, and somebody holds that its result is valid all the same."""

    name = "accepted"

    def holds(self, facts: Facts) -> bool:
        return facts.task.state is State.SUCCEEDED and facts.acceptance is not None

    def because(self, facts: Facts) -> str:
        assert facts.acceptance is not None
        return f"its result is of older code, and {facts.acceptance.user} holds that it is valid under the present one"

    def details(self, facts: Facts) -> Iterable[str]:
        assert facts.acceptance is not None
        yield acceptance_line(facts.acceptance)
        for change in facts.view.staleness(facts.map).changed(facts.ended.context):
            yield from _told(facts, change)

    def next(self, facts: Facts) -> str:
        assert facts.acceptance is not None
        return f"provrun diff code:{short(facts.context.code)} code:{short(facts.acceptance.code)}"


class Reused(Situation[Facts]):
    """An attempt of another map has made its result."""

    name = "reused"

    def holds(self, facts: Facts) -> bool:
        return facts.task.state is State.SUCCEEDED and facts.origin is not None

    def because(self, facts: Facts) -> str:
        assert facts.origin is not None
        return f"it was not executed: {origin_ref(facts.origin)} made its result, and what that used is as it was"

    def details(self, facts: Facts) -> Iterable[str]:
        assert facts.origin is not None
        yield attempt_line(origin_ref(facts.origin), facts.ended)
        if facts.view.maker(facts.ended, facts.origin) is None:
            yield f"{facts.origin.map} is not there any more; what it used and gave is kept here"
        if facts.ended.result is not None:
            yield result_line(facts.ended.result)
        yield f"to execute it all the same: provrun rerun {only(facts)} --force"

    def next(self, facts: Facts) -> str:
        return f"provrun trace {facts.ref}"


class NoResult(Situation[Facts]):
    """It succeeded and brought no result, while others did."""

    name = "noresult"

    def holds(self, facts: Facts) -> bool:
        if facts.task.state is not State.SUCCEEDED or facts.ended.result_digest is not None:
            return False
        tallies = facts.view.reads.tallies(facts.map.id)
        return any(tally.accepted > tally.noresult for tally in tallies)

    def because(self, facts: Facts) -> str:
        recipe = facts.map.recipe
        if recipe.kind == "function":
            return "it succeeded without a result: its function returned None, where it gave others a value"
        return (
            "it succeeded without a result: the last line of its stdout is no JSON object, array or number"
            if recipe.result == "auto" else f"it succeeded without a result (--result {recipe.result})"
        )

    def details(self, facts: Facts) -> Iterable[str]:
        return facts.printed()

    def next(self, facts: Facts) -> str:
        return f"provrun logs {facts.ref}"


class ChangedMeanwhile(Situation[Facts]):
    """The code changed while it ran."""

    name = "code-changed-meanwhile"

    def holds(self, facts: Facts) -> bool:
        return facts.task.state is State.SUCCEEDED and facts.context.code_after is not None

    def because(self, facts: Facts) -> str:
        return "it succeeded, but the code changed while it ran: its result may be of either version"

    def details(self, facts: Facts) -> Iterable[str]:
        context = facts.context
        yield f"began with {code_line(facts.view.reads.code(context.code).code)}"
        if context.code_after is not None:
            yield f"ended with {code_line(facts.view.reads.code(context.code_after).code)}"

    def next(self, facts: Facts) -> str:
        return f"provrun rerun {only(facts)} --force"


class Succeeded(Situation[Facts]):
    """It succeeded, and its result stands."""

    name = "succeeded"

    def holds(self, facts: Facts) -> bool:
        return facts.task.state is State.SUCCEEDED

    def because(self, facts: Facts) -> str:
        tried = f", at the {facts.ended.number}. attempt" if facts.ended.number > 1 else ""
        return f"it succeeded in {_took(facts)}{tried}, and what it used is as it was"

    def details(self, facts: Facts) -> Iterable[str]:
        if len(facts.attempts) > 1:
            yield from facts.history()
        for wait in facts.needs:
            if skipped := wait.skipped(facts.ended):
                yield f"it read {wait.of - skipped:,} of {wait.of:,} of {wait.map.name}: the others did not succeed"
        if (origin := facts.made_as.get(facts.ended.number)) is not None:
            yield merged_line(origin)
        if facts.ended.result is not None:
            yield result_line(facts.ended.result)

    def next(self, facts: Facts) -> str:
        return f"provrun trace {facts.ref}"


def _told(facts: Facts, change: Change) -> Iterable[str]:
    if change.kind == "environment" and change.now is not None:
        yield f"env:{short(change.then)} became env:{short(change.now)}: {_different(facts, change.then, change.now)}"
        return
    if change.kind == "reads":
        yield f"it read {change.then} of {change.what}, which is now {change.now or 'taken back'}"
        return
    now = f"sha256:{short(change.now)}" if change.now is not None else "gone"
    yield f"{change.kind} {change.what}: sha256:{short(change.then)} became {now}"


def _different(facts: Facts, then: str, now: str) -> str:
    from provrun.query.diff import environments

    lines = environments(facts.view.environment_of(then), facts.view.environment_of(now))
    return "; ".join(lines[:FEW]) + (f"; and {len(lines) - FEW} more" if len(lines) > FEW else "")


def _said(facts: Facts) -> str:
    error = (facts.ended.error or "").strip()
    return f": {clipped(error, 200)}" if error and error != f"exit code {facts.ended.detail}" else ""


def _took(facts: Facts) -> str:
    wall = facts.ended.wall if facts.shown.attempt is not None else None
    return format_duration(wall / 1e6) if wall is not None else "an unknown time"


def _tries(facts: Facts) -> str:
    context: ContextRecord = facts.context
    lost = f", {times(facts.lost)} lost with its job" if facts.lost else ""
    return (
        f"it was tried {times(len(facts.attempts))}{lost} (--retries {facts.map.policy.retries}); the last attempt ran"
        f" on {context.node} in job:{context.job} with code:{short(context.code)}"
    )
