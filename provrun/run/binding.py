"""What flows into a task: its parameters, and what the tasks it builds on have made."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import cast

import msgspec

from provrun.core.canonical import Blob, Value, decode
from provrun.core.messages import Start

_json = msgspec.json.Decoder()


def read_value(text: str) -> Value:
    """Decode canonical JSON text; ten times as fast as `canonical.decode` where no key or value needs undoing."""
    if '"$' in text:
        return decode(text)
    return cast(Value, _json.decode(text))


class Upstream(msgspec.Struct, frozen=True):
    """What a task of an upstream map has made.

    ``outputs`` are paths of its output files by name; ``blobs`` say for the digest of each blob in ``result`` where it
    lies: job uuid and place.
    """

    result: object = None
    outputs: dict[str, str] = {}
    blobs: dict[str, tuple[str, str]] = {}


class Reads(msgspec.Struct, frozen=True):
    """What flows into a task, see `messages.Start`: by map name, tasks and paths of JSON-lines files of rows."""

    each: dict[str, Upstream] = {}
    rows: dict[str, str] = {}


def read_reads(text: str | None) -> Reads:
    """Decode what flows into a task."""
    if text is None:
        return Reads()
    return msgspec.convert(read_value(text), Reads)


class Names:
    """What the placeholders of a task's template stand for; long results are read from the packs of ``project``."""

    def __init__(self, start: Start, known: Callable[[], dict[str, Value]], project: str) -> None:
        self._start = start
        self._known = known
        self._project = project

    # Most templates ask for little of this, and gathering it takes longer than filling.

    @cached_property
    def known(self) -> dict[str, Value]:
        """What has a name without being a parameter or a result."""
        return self._known()

    @cached_property
    def params(self) -> dict[str, Value]:
        """The parameters of the task."""
        return cast("dict[str, Value]", read_value(self._start.params))

    @cached_property
    def reads(self) -> Reads:
        """What flows into the task."""
        return read_reads(self._start.reads)

    def value(self, name: str) -> Value:
        """Give the value of a name; the ``KeyError`` says in words what is missing."""
        if name in self.params:
            return self.params[name]
        if name in self.known:
            return self.known[name]
        head, _, rest = name.partition(".")
        if rest == "rows" and head in self.reads.rows:
            return self.reads.rows[head]
        if head not in self.reads.each:
            raise KeyError(f"nothing is known of {{{name}}}")
        kind, _, key = rest.partition(".")
        upstream = self.reads.each[head]
        if kind == "param" and key in self.params:
            return self.params[key]
        if kind == "output" and key in upstream.outputs:
            return upstream.outputs[key]
        if kind == "result":
            return cast(Value, self._result(name, upstream, key))
        raise KeyError(f"{head} has no {rest}")

    def _result(self, name: str, upstream: Upstream, key: str) -> object:
        value = self._whole(upstream.result, upstream)
        for part in key.split(".") if key else ():
            if not isinstance(value, dict) or isinstance(value, Blob) or part not in value:
                raise KeyError(f"the result has no key for {{{name}}}")
            value = self._whole(value[part], upstream)
        return value

    def _whole(self, value: object, upstream: Upstream) -> object:
        """Give a JSON value that is too long for the registry; arrays and frames stay what stands for them."""
        if not isinstance(value, Blob) or value["format"] != "json":
            return value
        from provrun.run.packs import blob_reader  # late: few templates meet one

        return decode(blob_reader(self._project, upstream.blobs)(cast(str, value["digest"])).decode())
