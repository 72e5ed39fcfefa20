"""What a manager does with an agent that dies in the middle of a conversation."""

from __future__ import annotations

import os
import select
import socket
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from fixtures.runs import Runs
from fixtures.witness import Witness
from provrun.core.messages import FromAgent
from provrun.core.states import Outcome
from provrun.project.managing import manage
from provrun.project.running import Setting, new_uuid, starter
from provrun.run.agent import Agent
from provrun.run.channel import Channel
from provrun.run.interrupts import Interrupts
from provrun.run.links import Local
from provrun.run.setup import Setup

DYING = Path(__file__).parents[1] / "fixtures" / "dying_spawner.py"


class Late(Agent):
    """An agent that is read from when its spawner has died, whatever that has said before."""

    def pump(self) -> list[FromAgent]:
        if select.select([self], [], [], 0)[0]:
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        return super().pump()


def dying(setting: Setting, root: Path) -> Agent:
    """Give an agent whose spawner is dead before anybody reads what it has said."""
    ours, theirs = socket.socketpair()
    with theirs:
        os.set_inheritable(theirs.fileno(), True)
        words = [sys.executable, str(DYING), str(theirs.fileno())]
        pid = os.posix_spawn(sys.executable, words, os.environ, setsid=True)
    return Late(Channel(ours), pid, Setup(setting.slots, str(root), setting.uuid, 0, "", "n0"), True)


def agents(setting: Setting, runs: Runs) -> Iterator[Agent]:
    yield dying(setting, runs.root)
    start = starter(runs.project(), setting, 0, os.environ)
    while True:
        yield start()


def test_a_spawner_that_dies_while_it_is_handed_a_task_costs_that_attempt(runs: Runs, witness: Witness) -> None:
    # Wide ones: so that the second is handed over when the first has ended, not queued behind it.
    runs.submit("first", ["true"], 1, priority=1, cores=2)
    runs.submit("second", ["sh", "-c", witness.shell("{x}")], 1, cores=2)
    setting = Setting(uuid=new_uuid(), names=("first", "second"), slots=2)
    there = agents(setting, runs)
    with closing(runs.project()) as project, closing(Interrupts()) as interrupts:
        local = Local(lambda: next(there))
        summary = manage(project, setting, local, interrupts, runs.heard)
        local.agent.close()
    assert (summary.succeeded, summary.lost, summary.exit) == (2, 1, 0)
    assert witness.lines() == ["0"]
    assert [one.outcome for one in runs.attempts("second", 0)] == [Outcome.LOST, Outcome.SUCCEEDED]
