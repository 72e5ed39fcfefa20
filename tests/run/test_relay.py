"""What another rank passes on to its spawners, which die and are replaced."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.kills import spawner_of
from fixtures.witness import Witness
from provrun.core.messages import Codec, Failed, FromAgent, Joined, Results, RunMap, Start, Tasks, ToAgent
from provrun.core.records import Policy, Recipe
from provrun.run.channel import Channel
from provrun.run.links import addressed

LONE = Path(__file__).parents[1] / "fixtures" / "lone_relay.py"
PATIENCE = 20.0


class Manager:
    """The other end of a relay."""

    def __init__(self, folder: Path) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self.relay = subprocess.Popen(
                [sys.executable, LONE, str(theirs.fileno()), folder], pass_fds=[theirs.fileno()]
            )
        self._channel = Channel(ours)
        self._heard: list[FromAgent] = []

    def send(self, spawner: int, *messages: ToAgent) -> None:
        for message in messages:
            self._channel.send(addressed(spawner, Codec.encode(message)))
        self._channel.flush_all()

    def hear(self) -> FromAgent:
        """Wait for the next message that is none of code."""
        end = time.monotonic() + PATIENCE
        while not self._heard:
            assert time.monotonic() < end
            select.select([self._channel], [], [], 0.1)
            came = map(Codec.decode_from_agent, self._channel.receive())
            self._heard = [message for message in came if isinstance(message, Joined | Failed | Results)]
        return self._heard.pop(0)

    def close(self) -> None:
        self._channel.close()
        assert self.relay.wait(PATIENCE) == 0


@pytest.fixture
def manager(project_dir: Path, no_strays: None) -> Iterator[Manager]:
    made = Manager(project_dir)
    yield made
    made.close()


def test_what_was_meant_for_a_spawner_that_died_is_not_run_by_the_next_one(manager: Manager, witness: Witness) -> None:
    words = ("sh", "-c", witness.shell("{x}"))
    scan = RunMap(1, "scan", Recipe(kind="command", words=words), bytes(32), Policy(), ".", ("x",), (), ())

    def task(index: int) -> Tasks:
        return Tasks([Start(1, index, 1, f'{{"x":{index}}}', None, None, None)])

    first = manager.hear()
    assert isinstance(first, Joined) and first.spawner == 0
    os.kill(spawner_of(manager.relay.pid), signal.SIGKILL)
    assert isinstance(manager.hear(), Failed)
    second = manager.hear()
    assert isinstance(second, Joined) and second.spawner == 1
    manager.send(first.spawner, scan, task(0))  # on its way before anybody knew
    manager.send(second.spawner, scan, task(1))
    results = manager.hear()
    assert isinstance(results, Results) and [result.index for result in results.results] == [1]
    assert witness.lines() == ["1"]
