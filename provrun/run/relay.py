"""The relay: what a rank other than 0 does, passing messages between the manager and the spawner of its host."""

from __future__ import annotations

import select
import signal
import time

import msgspec

from provrun.core.messages import Codec, Failed, Joined
from provrun.run.agent import AgentLost
from provrun.run.links import BEAT, END, PULSE, Local, Post, address
from provrun.run.orphans import OTHERS, leave_with_launcher

QUICK = 0.0002  # seconds between looks for messages while there is traffic
IDLE = 0.02  # and when there has been none for a while: a rank that waits must not eat a core


def relay(post: Post, local: Local, host: str, wrong: str | None) -> None:
    """Pass messages on until the manager says that the job is over; ``host`` describes this host for `Joined`.

    ``wrong`` is a reason for which this rank takes no part. Signals are left to rank 0, which decides for the job.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    leave_with_launcher(OTHERS)
    poll = select.poll()
    poll.register(local.agent.fileno(), select.POLLIN)
    pause = QUICK
    alive = wrong is None
    if wrong is not None:
        post.post(0, Codec.encode(Failed(wrong)))
    beat = 0.0
    while True:
        busy = bool(poll.poll(pause * 1000))
        if (now := time.monotonic()) >= beat:
            beat = now + PULSE
            post.post(0, BEAT)
        for _, data in post.receive():
            if data == END:
                return
            spawner, message = address(data)
            # What was meant for one that has died is told to be lost: the next one must not run it.
            if alive and spawner == local.spawner:
                local.agent.send_raw(message)
            busy = True
        if alive:
            try:
                _forward(post, local, host)
            except AgentLost as lost:
                poll.unregister(local.agent.fileno())
                post.post(0, Codec.encode(Failed(lost.message)))
                alive = local.replace()
                if alive:
                    poll.register(local.agent.fileno(), select.POLLIN)
        pause = QUICK if busy or (alive and local.agent.wants_write) else min(2 * pause, IDLE)


def _forward(post: Post, local: Local, host: str) -> None:
    for data in local.agent.pump_raw():
        # Only the first message of a spawner is looked into.
        post.post(0, _introduced(data, host, local.spawner) if data[1:8] == _JOINED else data)


def _introduced(data: bytes, host: str, spawner: int) -> bytes:
    message = Codec.decode_from_agent(data)
    assert isinstance(message, Joined)
    return Codec.encode(msgspec.structs.replace(message, host=host, spawner=spawner))


_JOINED = Codec.encode(Joined(1, "", ""))[1:8]
