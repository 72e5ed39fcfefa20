"""The states of a task as one table, from which code, tests and the drawing in the docs are made."""

from __future__ import annotations

from enum import IntEnum


class State(IntEnum):
    """Where a task stands; the numbers are stored."""

    WAITING = 0
    PENDING = 1
    RUNNING = 2
    SUCCEEDED = 3
    FAILED = 4
    CANCELLED = 5

    @property
    def word(self) -> str:
        """Give the state in the words users see."""
        return self.name.lower()


ENDED = (State.SUCCEEDED, State.FAILED, State.CANCELLED)
"""The states that a task leaves only at a person's wish, or when what it reads changes."""


class Outcome(IntEnum):
    """How an attempt ended; the numbers are stored."""

    SUCCEEDED = 0
    EXIT = 1
    SIGNAL = 2
    EXCEPTION = 3
    TIMEOUT = 4
    MEMORY = 5
    LAUNCHER = 6
    LOST = 7
    CANCELLED = 8

    @property
    def word(self) -> str:
        """Give the outcome class in the words users see."""
        return self.name.lower()

    @property
    def counts(self) -> bool:
        """Tell whether the outcome is the task's own fault and uses up one of its retries."""
        return Outcome.EXIT <= self <= Outcome.LAUNCHER


class Event(IntEnum):
    """What can happen to a task."""

    READY = 0  # all it waits for is there
    BLOCKED = 1  # something it reads was withdrawn or has grown
    CLAIMED = 2  # a job took it
    RETURNED = 3  # the job gave it back unstarted, or lost it
    SUCCEEDED = 4
    FAILED = 5  # its own fault and no retry left
    RETRIED = 6  # its own fault, or a person's wish to try a failed task again
    CANCELLED = 7
    RERUN = 8  # a person wants a succeeded task run again


TRANSITIONS: dict[tuple[State, Event], State] = {
    (State.WAITING, Event.READY): State.PENDING,
    (State.WAITING, Event.CANCELLED): State.CANCELLED,
    (State.PENDING, Event.BLOCKED): State.WAITING,
    (State.PENDING, Event.CLAIMED): State.RUNNING,
    (State.PENDING, Event.CANCELLED): State.CANCELLED,
    (State.RUNNING, Event.RETURNED): State.PENDING,
    (State.RUNNING, Event.RETRIED): State.PENDING,
    (State.RUNNING, Event.SUCCEEDED): State.SUCCEEDED,
    (State.RUNNING, Event.FAILED): State.FAILED,
    (State.RUNNING, Event.CANCELLED): State.CANCELLED,
    (State.SUCCEEDED, Event.BLOCKED): State.WAITING,
    (State.SUCCEEDED, Event.RERUN): State.PENDING,
    (State.FAILED, Event.BLOCKED): State.WAITING,
    (State.FAILED, Event.RETRIED): State.PENDING,
    (State.FAILED, Event.CANCELLED): State.CANCELLED,
    (State.CANCELLED, Event.BLOCKED): State.WAITING,
    (State.CANCELLED, Event.RETRIED): State.PENDING,
}


def after(state: State, event: Event) -> State:
    """Give the state that follows; raise ``KeyError`` where the table has no such step."""
    return TRANSITIONS[state, event]


def sources(event: Event) -> tuple[State, ...]:
    """Give the states in which an event can happen."""
    return tuple(state for state, happening in TRANSITIONS if happening is event)


def drawing() -> str:
    """Draw the table in Graphviz's language: one node per state, one arrow per pair with the events on it."""
    labels: dict[tuple[State, State], list[str]] = {}
    for (source, event), target in TRANSITIONS.items():
        labels.setdefault((source, target), []).append(event.name.lower())
    nodes = [f'  {state.word} [label="{state.word}"]' for state in State]
    arrows = [f'  {one.word} -> {other.word} [label="{", ".join(names)}"]' for (one, other), names in labels.items()]
    return "\n".join(["digraph states {", "  rankdir=LR", *nodes, *arrows, "}", ""])
