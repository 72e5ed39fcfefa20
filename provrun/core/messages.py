"""What managers, agents and spawners say to each other: small typed messages, many tasks in one.

Every message is a msgspec array with a tag, so it is encoded in about a microsecond and never pickled.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from provrun.core.environment import Tool
from provrun.core.records import Artifact, Limits, Policy, Recipe

Key = tuple[int, int, int]
"""An attempt: map, index, number."""


class Pin(msgspec.Struct, frozen=True, array_like=True):
    """Run the code of the repository in ``root`` from a checkout, beneath the project; ``code`` is its id."""

    root: str
    checkout: str
    code: int


class RunMap(msgspec.Struct, frozen=True, array_like=True, tag="map"):
    """Tell an agent what it needs to run tasks of a map; sent before the first of them."""

    map: int
    name: str
    recipe: Recipe
    recipe_digest: bytes
    policy: Policy
    workdir: str
    own: tuple[str, ...]
    each: tuple[str, ...]
    """Names of the maps it builds on task by task, nearest first (the ancestors of an ``each``)."""
    reduces: tuple[str, ...]
    """Names of the maps it reads many tasks of (``all``, ``group``, ``chunk``)."""
    pin: Pin | None = None


class Start(msgspec.Struct, frozen=True, array_like=True):
    """One attempt to run. ``reads`` is the JSON text of what flows in, or None.

    {"each": {A: {"result": value, "outputs": {name: path}, "blobs": {digest: [job uuid, place]}}},
    "rows": {A: path of a JSON-lines file}}.
    """

    map: int
    index: int
    number: int
    params: str
    upstream: int | None
    limits: Limits | None
    reads: str | None
    hosts: tuple[str, ...] = ()
    """The nodes of a task of several nodes, the agent's own first; empty for a task of one node."""

    @property
    def key(self) -> Key:
        """Name the attempt."""
        return self.map, self.index, self.number


class Tasks(msgspec.Struct, frozen=True, array_like=True, tag="tasks"):
    """Hand tasks to an agent, in the order in which it starts them."""

    tasks: list[Start]


class Stop(msgspec.Struct, frozen=True, array_like=True, tag="stop"):
    """Tell an agent to start nothing more; ``now`` ends running tasks too and gives them back."""

    now: bool


class Kill(msgspec.Struct, frozen=True, array_like=True, tag="kill"):
    """Tell an agent to end these attempts as cancelled."""

    tasks: list[Key]


class Warn(msgspec.Struct, frozen=True, array_like=True, tag="warn"):
    """Tell an agent that the allocation ends in so many seconds, so that tasks that can save where they are do so.

    Such a task that ends by the warning is given back (`Returned`, started); it goes on in its next attempt.
    """

    seconds: float


class Recall(msgspec.Struct, frozen=True, array_like=True, tag="recall"):
    """Ask an agent for so many of these tasks, the first ones it has not started; it answers once (`Returned`)."""

    tasks: list[Key]
    most: int


class Joined(msgspec.Struct, frozen=True, array_like=True, tag="joined"):
    """Say that an agent is there; ``host`` is the canonical JSON text of its host record.

    ``gpus`` counts the GPUs it can give to tasks, ``memory`` is that of its node in bytes (0: not known). ``spawner``
    counts those of the rank that have died before this one.
    """

    slots: int
    node: str
    host: str
    gpus: int = 0
    memory: int = 0
    spawner: int = 0


class Result(msgspec.Struct, frozen=True, array_like=True):
    """One ended attempt as the agent saw it; units as in `records.Ended`.

    ``outcome`` is the number of a `states.Outcome`; ``loaded`` numbers the `Loaded` message of the same agent that
    says what code it ran (0 for none), ``loaded_after`` differs when the code changed meanwhile.
    ``result`` is canonical JSON text, its digest is ``result_digest``; ``defaults`` and used files stand in `Loaded`.
    """

    map: int
    index: int
    number: int
    outcome: int
    started: int
    wall: int
    cpu: int | None
    max_rss: int | None
    rss_shared: bool
    detail: int | None
    error: str | None
    result: str | None
    result_digest: bytes | None
    log: str | None
    artifacts: list[Artifact] | None
    loaded: int
    loaded_after: int


class Results(msgspec.Struct, frozen=True, array_like=True, tag="results"):
    """Report ended attempts."""

    results: list[Result]


class Returned(msgspec.Struct, frozen=True, array_like=True, tag="returned"):
    """Give back tasks: unstarted ones (``started`` False) or running ones that were stopped on request.

    ``recalled``: this is the answer to a `Recall`, and says all that came back of what it asked for.
    """

    tasks: list[Key]
    started: bool
    recalled: bool = False


class Loaded(msgspec.Struct, frozen=True, array_like=True, tag="loaded"):
    """Say what a map's recipe uses on this agent, once and again when it has changed.

    ``files`` maps paths of project files (imported modules, script arguments, ``--uses``) to sha256; ``tools`` are
    the programs of a command that lie elsewhere; ``defaults`` are a function's parameters left to defaults;
    ``shared_inputs`` are (path, sha256, size) of inputs whose template names no parameter.
    """

    number: int
    map: int
    files: dict[str, str]
    tools: list[Tool]
    defaults: dict[str, object]
    shared_inputs: list[tuple[str, str, int]]


class Failed(msgspec.Struct, frozen=True, array_like=True, tag="failed"):
    """Say that the agent cannot go on, and why; with ``io`` because it cannot write what it has to keep."""

    reason: str
    io: bool = False


ToAgent = RunMap | Tasks | Stop | Kill | Warn | Recall
FromAgent = Joined | Results | Returned | Loaded | Failed


class Codec:
    """Encode and decode messages; decoders are made once."""

    _encoder: ClassVar[msgspec.msgpack.Encoder] = msgspec.msgpack.Encoder()
    _to_agent: ClassVar[msgspec.msgpack.Decoder[ToAgent]] = msgspec.msgpack.Decoder(ToAgent)
    _from_agent: ClassVar[msgspec.msgpack.Decoder[FromAgent]] = msgspec.msgpack.Decoder(FromAgent)

    encode = _encoder.encode
    decode_to_agent = _to_agent.decode
    decode_from_agent = _from_agent.decode
