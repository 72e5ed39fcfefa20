"""The state table: every step it has, and none it has not."""

from __future__ import annotations

import itertools

import pytest

from provrun.core.states import TRANSITIONS, Event, Outcome, State, after, drawing, sources

STEPS = {
    "waiting": {"READY": "pending", "CANCELLED": "cancelled"},
    "pending": {"BLOCKED": "waiting", "CLAIMED": "running", "CANCELLED": "cancelled"},
    "running": {
        "RETURNED": "pending", "RETRIED": "pending", "SUCCEEDED": "succeeded", "FAILED": "failed",
        "CANCELLED": "cancelled",
    },
    "succeeded": {"BLOCKED": "waiting", "RERUN": "pending"},
    "failed": {"BLOCKED": "waiting", "RETRIED": "pending", "CANCELLED": "cancelled"},
    "cancelled": {"BLOCKED": "waiting", "RETRIED": "pending"},
}  # fmt: skip


@pytest.mark.parametrize(("state", "event"), list(itertools.product(State, Event)))
def test_each_state_answers_each_event_as_the_table_says(state: State, event: Event) -> None:
    expected = STEPS[state.word].get(event.name)
    if expected is None:
        with pytest.raises(KeyError):
            after(state, event)
    else:
        assert after(state, event).word == expected


def test_every_state_can_be_reached_from_waiting() -> None:
    reached = {State.WAITING}
    for _ in State:
        reached |= {target for (source, _), target in TRANSITIONS.items() if source in reached}
    assert reached == set(State)


def test_only_a_claim_makes_a_task_run_and_only_a_pending_one() -> None:
    assert [key for key, target in TRANSITIONS.items() if target is State.RUNNING] == [(State.PENDING, Event.CLAIMED)]


def test_sources_of_an_event_are_the_states_that_answer_it() -> None:
    assert sources(Event.RETRIED) == (State.RUNNING, State.FAILED, State.CANCELLED)
    assert sources(Event.CLAIMED) == (State.PENDING,)


def test_stored_numbers_of_states_and_outcomes_never_change() -> None:
    assert [state.word for state in State] == ["waiting", "pending", "running", "succeeded", "failed", "cancelled"]
    assert [outcome.word for outcome in Outcome] == [
        "succeeded", "exit", "signal", "exception", "timeout", "memory", "launcher", "lost", "cancelled",
    ]  # fmt: skip


def test_loss_and_cancellation_are_no_fault_of_the_task() -> None:
    assert [outcome.word for outcome in Outcome if not outcome.counts] == ["succeeded", "lost", "cancelled"]


def test_the_drawing_shows_every_state_and_every_step() -> None:
    lines = drawing().splitlines()
    for state in State:
        assert any(line.strip() == f'{state.word} [label="{state.word}"]' for line in lines)
    arrows = [line for line in lines if "->" in line]
    assert len(arrows) == len({(source, target) for (source, _), target in TRANSITIONS.items()})
    assert '  running -> pending [label="returned, retried"]' in lines
