"""Ctrl-C and SIGTERM: a first one drains, a second gives back, a third leaves; the registry is sound after each."""

from __future__ import annotations

import os
import signal
import time

from fixtures.runs import Runs, finished, until
from fixtures.witness import Witness
from provrun.core.states import Outcome
from provrun.run.interrupts import Interrupts

WAIT = "; while [ ! -e gate ]; do sleep 0.02; done"


def test_the_first_ctrl_c_lets_running_tasks_end_and_starts_no_more(runs: Runs, witness: Witness) -> None:
    runs.submit("t", ["sh", "-c", witness.shell("{x}") + WAIT], 10)
    process = runs.start("-j", "2")
    until(lambda: len(witness.lines()) == 2, "two tasks began")
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    (runs.root / "gate").touch()
    code, document, said = finished(process)
    assert (code, document["succeeded"]) == (130, 2)
    assert "2 tasks in flight" in said
    assert "once more" in said
    assert runs.counts("t") == {"succeeded": 2, "pending": 8}
    assert len(witness.lines()) == 2


def test_the_second_ctrl_c_gives_running_tasks_back(runs: Runs, witness: Witness) -> None:
    runs.submit("t", ["sh", "-c", witness.shell("{x}") + WAIT], 3)
    process = runs.start("-j", "2")
    until(lambda: len(witness.lines()) == 2, "two tasks began")
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    code, document, _ = finished(process)
    assert (code, document["succeeded"]) == (130, 0)
    assert runs.counts("t") == {"pending": 3}
    assert [attempt.outcome for attempt in runs.attempts("t", 0)] == [Outcome.CANCELLED]
    (runs.root / "gate").touch()
    assert runs.run().succeeded == 3


def test_the_third_ctrl_c_leaves_at_once_and_what_ran_is_lost(runs: Runs, witness: Witness) -> None:
    # It takes no notice of being stopped.
    runs.submit("t", ["sh", "-c", "trap '' TERM INT; " + witness.shell("{x}") + WAIT], 2)
    process = runs.start("-j", "2")
    until(lambda: len(witness.lines()) == 2, "two tasks began")
    for _ in range(3):
        process.send_signal(signal.SIGINT)
        time.sleep(0.1)
    code, _, _ = finished(process)
    assert code == 130
    assert runs.counts("t") == {"pending": 2}
    assert [attempt.outcome for attempt in runs.attempts("t", 0)] == [Outcome.LOST]
    (runs.root / "gate").touch()
    assert runs.run().succeeded == 2


def test_sigterm_gives_running_tasks_back(runs: Runs, witness: Witness) -> None:
    runs.submit("t", ["sh", "-c", witness.shell("{x}") + WAIT], 2)
    process = runs.start("-j", "2")
    until(lambda: len(witness.lines()) == 2, "two tasks began")
    process.send_signal(signal.SIGTERM)
    code, _, _ = finished(process)
    assert code == 143
    assert runs.counts("t") == {"pending": 2}


def test_beneath_a_launcher_the_same_signal_within_a_second_counts_once() -> None:
    interrupts = Interrupts(launched=True)
    try:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupts.read() == 1
        os.kill(os.getpid(), signal.SIGTERM)
        assert interrupts.read() == 2
    finally:
        interrupts.close()


def test_each_ctrl_c_at_a_terminal_counts() -> None:
    interrupts = Interrupts()
    try:
        for expected in (1, 2, 3):
            os.kill(os.getpid(), signal.SIGINT)
            assert interrupts.read() == expected
        assert interrupts.number == signal.SIGINT
    finally:
        interrupts.close()


def test_afterwards_signals_belong_to_whom_they_belonged_before() -> None:
    before = signal.getsignal(signal.SIGINT)
    Interrupts().close()
    assert signal.getsignal(signal.SIGINT) is before
