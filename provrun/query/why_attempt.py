"""Why an attempt does not stand for its task."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

from provrun.core.answers import Shown
from provrun.core.records import AttemptRecord, MapRecord
from provrun.core.states import Outcome, State
from provrun.query.facts import Facts
from provrun.query.labels import attempt_line, merged_line, result_line
from provrun.query.rows import moment
from provrun.query.situations import Situation
from provrun.query.view import View


class AttemptFacts(Facts):
    """One ended attempt that does not stand for its task, or no more."""

    def __init__(self, view: View, map: MapRecord, shown: Shown, attempt: AttemptRecord) -> None:
        super().__init__(view, map, shown)
        self.task_ref = self.ref
        self.ref = f"{self.ref}#{attempt.number}"
        self.attempt = attempt

    @property
    def successor(self) -> AttemptRecord | None:
        """The attempt that stands for the task now, if that is a later one."""
        shown = self.shown.attempt
        return shown if shown is not None and shown.number > self.attempt.number else None

    @cached_property
    def growth(self) -> list[str]:
        """What the task reads and has grown since the attempt began."""
        started = self.attempt.started or 0
        return [
            f"{upstream.name} grew by {submission.added:,} tasks at {moment(submission.at)}"
            for record in self.view.reads.upstreams(self.map.id)
            if record.dependency.kind != "after"
            for upstream in [self.view.map_by_id(record.upstream)]
            for submission in self.view.reads.submissions(upstream.id)
            if submission.at > started and submission.added
        ]


class _Superseded(Situation[AttemptFacts]):
    def details(self, facts: AttemptFacts) -> Iterable[str]:
        yield attempt_line(facts.ref, facts.attempt)
        if facts.attempt.result is not None:
            yield f"its {result_line(facts.attempt.result)} is kept"
        if facts.successor is not None:
            yield attempt_line(f"{facts.task_ref}#{facts.successor.number}", facts.successor)

    def next(self, facts: AttemptFacts) -> str:
        if facts.successor is not None and facts.attempt.outcome is Outcome.SUCCEEDED:
            return f"provrun diff {facts.ref} {facts.task_ref}#{facts.successor.number}"
        return f"provrun why {facts.task_ref}"


class Late(_Superseded):
    """Its result came when another attempt had been accepted, or the task had been taken away."""

    name = "superseded-late"

    def holds(self, facts: AttemptFacts) -> bool:
        later, mine = facts.successor, facts.attempt
        if later is None or mine.outcome is not Outcome.SUCCEEDED or not mine.started or not later.started:
            return False
        if later.number in facts.made_as:
            return False  # they knew nothing of each other
        return later.started < mine.started + (mine.wall or 0)

    def because(self, facts: AttemptFacts) -> str:
        assert facts.successor is not None
        return (
            "it succeeded and does not count: its job was held for over, and by the time its result came attempt"
            f" {facts.successor.number} had begun"
        )


class Outgrown(_Superseded):
    """What it read has grown since, so its task was opened again."""

    name = "superseded-growth"

    def holds(self, facts: AttemptFacts) -> bool:
        return facts.attempt.outcome is Outcome.SUCCEEDED and bool(facts.growth)

    def because(self, facts: AttemptFacts) -> str:
        return f"its result is superseded: {facts.growth[-1]}, so the task was opened again"


class Rerun(_Superseded):
    """Its task was run again."""

    name = "superseded-rerun"

    def holds(self, facts: AttemptFacts) -> bool:
        return facts.attempt.outcome is Outcome.SUCCEEDED

    def because(self, facts: AttemptFacts) -> str:
        now = (
            f"attempt {facts.task.accepted} stands for it now" if facts.task.state is State.SUCCEEDED
            else f"it is {facts.task.state.word} again"
        )
        return f"its result is superseded: the task was run again (rerun), and {now}"


class Retried(_Superseded):
    """It did not succeed, and the task was tried again."""

    name = "superseded-retry"

    def holds(self, facts: AttemptFacts) -> bool:
        return True

    def because(self, facts: AttemptFacts) -> str:
        outcome = facts.attempt.outcome
        how = "was lost with its job" if outcome is Outcome.LOST else f"ended as {outcome.word}"
        return f"it {how}, and the task was tried again; it is {facts.task.state.word} now"


class Merged(_Superseded):
    """It was made in another registry, and does not stand for its task here."""

    name = "superseded-merge"

    def holds(self, facts: AttemptFacts) -> bool:
        if facts.attempt.number not in facts.made_as:
            return False
        return facts.successor is None or facts.successor.number in facts.made_as  # else it was run again here

    def because(self, facts: AttemptFacts) -> str:
        made, state = merged_line(facts.made_as[facts.attempt.number]), facts.task.state.word
        if facts.attempt.outcome is not Outcome.SUCCEEDED:
            return f"{made}; it ended as {facts.attempt.outcome.word}, and the task is {state} now"
        if 0 < facts.task.accepted < facts.attempt.number:
            return f"{made}; the task had a result already, and that stays: attempt {facts.task.accepted}"
        return f"{made}; it read other results than there are here, or was given up: the task is {state}"


ATTEMPTS: tuple[Situation[AttemptFacts], ...] = (Merged(), Late(), Outgrown(), Rerun(), Retried())
