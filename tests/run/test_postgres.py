"""Runs against a registry in PostgreSQL."""

from __future__ import annotations

import signal

import pytest

from fixtures.runs import Runs, finished, until
from fixtures.witness import Witness
from provrun.core.records import Dependency


@pytest.fixture
def shared(postgres_url: str, runs: Runs, monkeypatch: pytest.MonkeyPatch) -> Runs:
    monkeypatch.setenv("PROVRUN_URL", postgres_url)  # the database outlives the last look at it: it was asked for first
    return runs


def test_two_managers_share_maps_and_nothing_runs_twice(shared: Runs, witness: Witness) -> None:
    shared.submit("a", ["sh", "-c", witness.shell("{x}") + "; echo {x}"], 200)
    shared.submit("b", ["sh", "-c", witness.shell("b{a.result}")], on=[Dependency(upstream="a", kind="each")],
                  params=[{}])  # fmt: skip
    ends = [finished(process) for process in [shared.start("-j", "1"), shared.start("-j", "1")]]
    assert sum(document["succeeded"] for _, document, _ in ends) <= 400
    shared.run()
    assert shared.counts("a") == shared.counts("b") == {"succeeded": 200}
    assert set(witness.counts().values()) == {1}
    assert len(witness.counts()) == 400


def test_a_killed_manager_is_recovered_from(shared: Runs, witness: Witness) -> None:
    shared.submit("t", ["sh", "-c", witness.shell("{x}") + "; while [ ! -e gate ]; do sleep 0.02; done"], 4)
    process = shared.start("-j", "2")
    until(lambda: len(witness.lines()) == 2, "two tasks began")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (shared.root / "gate").touch()
    assert shared.run().succeeded == 4
    assert shared.counts("t") == {"succeeded": 4}
