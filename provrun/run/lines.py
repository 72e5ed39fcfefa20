"""What a spawner and its function processes say to each other, as msgpack arrays with a tag."""

from __future__ import annotations

import msgspec

from provrun.core.messages import Result, RunMap, Start


class Batch(msgspec.Struct, frozen=True, array_like=True, tag="batch"):
    """Tasks for a child, which drops those it has not started when its lane's epoch is no longer this one.

    ``gpus`` are theirs, the same for all tasks that a child ever gets.
    """

    map: int
    epoch: int
    loaded: int
    gpus: tuple[str, ...]
    tasks: list[Start]


class Ready(msgspec.Struct, frozen=True, array_like=True, tag="ready"):
    """Say that results lie in the lane: up to position ``end``, ``count`` of them since the last such message."""

    end: int
    count: int


class Content(msgspec.Struct, frozen=True, array_like=True):
    """Bytes for the pack; ``artifact`` is the position of what they belong to among the artifacts, -1 for the log."""

    artifact: int
    kind: int
    data: bytes


class Heavy(msgspec.Struct, frozen=True, array_like=True, tag="heavy"):
    """A result that does not go through the lane: it is large, or has content for the pack."""

    result: Result
    contents: list[Content]


class Used(msgspec.Struct, frozen=True, array_like=True, tag="used"):
    """Project files that have been imported, with sha256 (hex) and what tells whether they change."""

    files: dict[str, tuple[str, int, int, int]]


class Import(msgspec.Struct, frozen=True, array_like=True, tag="import"):
    """Let a nursery import the module of a map's function; ``example`` is a task of it."""

    run: RunMap
    example: Start


class Fork(msgspec.Struct, frozen=True, array_like=True, tag="fork"):
    """Let a nursery fork a child for a lane; its socket, stdout and stderr come along."""

    lane: int


class Imported(msgspec.Struct, frozen=True, array_like=True, tag="imported"):
    """Answer `Import`; ``forkable`` tells whether children may be forked from the process that has imported it."""

    map: int
    files: dict[str, tuple[str, int, int, int]]
    defaults: dict[str, object]
    forkable: bool


class Ended(msgspec.Struct, frozen=True, array_like=True, tag="ended"):
    """Say that the child of a lane has ended: its wait status, CPU time in microseconds, peak memory in KiB."""

    lane: int
    pid: int
    status: int
    cpu: int
    max_rss: int


class Born(msgspec.Struct, frozen=True, array_like=True, tag="born"):
    """Say which process the child of a lane is; 0 when none may be forked from here."""

    lane: int
    pid: int


ToChild = Batch | RunMap
FromChild = Ready | Heavy | Used
ToNursery = Import | Fork
FromNursery = Imported | Ended | Born

encode = msgspec.msgpack.Encoder().encode

_to_child: msgspec.msgpack.Decoder[ToChild] = msgspec.msgpack.Decoder(ToChild)
_from_child: msgspec.msgpack.Decoder[FromChild] = msgspec.msgpack.Decoder(FromChild)
_to_nursery: msgspec.msgpack.Decoder[ToNursery] = msgspec.msgpack.Decoder(ToNursery)
_from_nursery: msgspec.msgpack.Decoder[FromNursery] = msgspec.msgpack.Decoder(FromNursery)

decode_to_child = _to_child.decode
decode_from_child = _from_child.decode
decode_to_nursery = _to_nursery.decode
decode_from_nursery = _from_nursery.decode
