"""Whether a result still stands for what its recipe would give now: judged by what the attempt used, never by time.

What attempts used is kept once for many of them, so ten million results are judged by looking at a few files.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Mapping
from typing import Literal

import msgspec

from provrun.core.answers import ContextRecord, Shown, Tally
from provrun.core.records import Artifact

Digest = Callable[[str], str | None]
"""Gives the SHA-256 of the file at an absolute path as it is now, None if there is none."""


class Change(msgspec.Struct, frozen=True):
    """Something a result was made with that is different now; ``now`` is None for a file that is gone.

    ``what`` is the path of a file as it was recorded, ``then`` and ``now`` are digests in hex.
    """

    kind: Literal["code", "tool", "input", "reads", "environment"]
    what: str
    then: str
    now: str | None


class Staleness:
    """Judges the results of one map.

    ``folder`` is the absolute folder its tasks start in, ``environment`` the digest of the present environment, None
    where none was ever captured.
    """

    def __init__(
        self, folder: str, contexts: Mapping[int, ContextRecord], digest: Digest, environment: str | None
    ) -> None:
        self._folder = folder
        self._contexts = contexts
        self._digest = digest
        self._environment = environment
        self._digests: dict[str, str | None] = {}
        self._judged: dict[int, tuple[Change, ...]] = {}

    def of_context(self, id: int) -> tuple[Change, ...]:
        """Give what has changed since attempts ran under these circumstances."""
        if id not in self._judged:
            self._judged[id] = tuple(self._changes(self._contexts[id]))
        return self._judged[id]

    def of_task(self, shown: Shown) -> tuple[Change, ...]:
        """Give what has changed since a task's accepted attempt ran, the task's own inputs included."""
        attempt = shown.attempt
        if attempt is None or attempt.number != shown.task.accepted:
            return ()
        return (*self.of_context(attempt.context), *self.of_inputs(shown.artifacts))

    def of_inputs(self, artifacts: Iterable[Artifact]) -> tuple[Change, ...]:
        """Give the inputs of an attempt whose files have another content now."""
        return tuple(
            change
            for read in artifacts
            if read.role == "input" and read.path is not None
            for change in self._compared("input", read.path, read.digest.hex())
        )

    def is_stale(self, shown: Shown) -> bool:
        """Tell whether the result of a task is stale."""
        return bool(self.of_task(shown))

    def count(self, tallies: Iterable[Tally]) -> int:
        """Count accepted results that are stale by what many share; the own inputs of tasks are not looked at."""
        return sum(tally.accepted for tally in tallies if tally.accepted and self.of_context(tally.context))

    def _changes(self, context: ContextRecord) -> Iterable[Change]:
        if context.uses is not None:
            for path, then in sorted(context.uses.files.items()):
                yield from self._compared("code", path, then)
            if context.uses.tool is not None:
                yield from self._compared("tool", *context.uses.tool)
        for path, then, _ in context.inputs:
            yield from self._compared("input", path, then)
        if self._environment is not None and context.environment != self._environment:
            yield Change("environment", "environment", context.environment, self._environment)

    def _compared(self, kind: Literal["code", "tool", "input"], path: str, then: str) -> tuple[Change, ...]:
        full = posixpath.join(self._folder, path)
        if full not in self._digests:
            self._digests[full] = self._digest(full)
        now = self._digests[full]
        return () if now == then else (Change(kind, path, then, now),)
