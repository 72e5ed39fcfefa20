"""Whether a result still stands for what its recipe would give now: judged by what the attempt used, never by time.

What attempts used is kept once for many of them, so ten million results are judged by looking at a few files.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import msgspec

from provrun.core.answers import AcceptanceRecord, ContextRecord, Shown, Tally
from provrun.core.records import Artifact
from provrun.core.states import Outcome
from provrun.query.rows import short

if TYPE_CHECKING:
    from provrun.ports import Reads

OF_CODE = ("code", "tool")
"""The kinds of changes of which somebody may hold that they make no difference."""
_OF_SYSTEM = ("/usr/", "/bin/", "/sbin/", "/lib")
Digest = Callable[[str], str | None]
"""Gives the SHA-256 of the file at an absolute path as it is now, None if there is none."""


class Change(msgspec.Struct, frozen=True):
    """Something a result was made with that is different now; ``now`` is None for a file that is gone.

    ``what`` is the path of a file as it was recorded, ``then`` and ``now`` are digests in hex; for ``reads``, what
    other maps gave, they are attempts or digests of many.
    """

    kind: Literal["code", "tool", "input", "reads", "environment"]
    what: str
    then: str
    now: str | None


class ReadResults:
    """Compares what attempts of a map read of other maps with what they would read now.

    Nothing is looked at as long as no result of these maps was ever superseded.
    """

    def __init__(self, reads: Reads, map: int) -> None:
        self._source = reads
        self._map = map
        self._trails: dict[int, str | None] = {}
        self._wanted: bool | None = None

    def prepare(self, tasks: Sequence[Shown]) -> None:
        """Look up what these tasks would read now."""
        chosen = [shown.task for shown in tasks if shown.attempt is not None and shown.attempt.trail]
        if chosen and self.superseded():
            trails = self._source.trails(self._map, [(task.index, task.upstream) for task in chosen])
            self._trails = {task.index: trail for task, trail in zip(chosen, trails, strict=True)}

    def changes(self, shown: Shown) -> tuple[Change, ...]:
        """Tell which results an attempt read that are not those of now."""
        attempt = shown.attempt
        if attempt is None or not attempt.trail or not self.superseded():
            return ()
        if shown.task.index not in self._trails:
            self.prepare([shown])
        now = self._trails.get(shown.task.index)
        if now == attempt.trail:
            return ()
        present = {tuple(entry[:2]): entry[2] for entry in _entries(now)}
        changes = (self._change(entry, present.get(tuple(entry[:2]))) for entry in _entries(attempt.trail))
        return tuple(change for change in changes if change is not None)

    def _change(self, entry: list[int | str], now: int | str | None) -> Change | None:
        map, index, then = int(entry[0]), int(entry[1]), entry[2]
        if now == then:
            return None
        name = self._source.map_name(map)
        if isinstance(then, str):
            changed = short(str(now)) if now is not None else None
            return Change("reads", f"{index} results of {name}", short(then), changed)
        digests = {attempt.number: attempt.result_digest for attempt in self._source.attempts(map, index)}
        if isinstance(now, int) and digests.get(now) == digests.get(then):
            return None
        task = f"{name}/{index}"
        return Change("reads", task, f"attempt {then}", f"attempt {now}" if now is not None else None)

    def superseded(self) -> bool:
        """Tell whether a result of a map that is read here was ever superseded."""
        if self._wanted is None:
            self._wanted = any(
                tally.outcome is Outcome.SUCCEEDED and tally.attempts + tally.taken > tally.accepted
                for record in self._source.upstreams(self._map)
                if record.dependency.kind != "after"
                for tally in self._source.tallies(record.upstream)
            )
        return self._wanted


def _entries(trail: str | None) -> list[list[int | str]]:
    return msgspec.json.decode(trail, type=list[list[int | str]]) if trail else []


class Acceptances:
    """What somebody holds of results of older code, of one map."""

    def __init__(self, reads: Reads, map: int, records: Iterable[AcceptanceRecord]) -> None:
        self._reads = reads
        self._map = map
        self.records = [record for record in records if record.map == map]

    def fitting(self, context: int, changes: Sequence[Change]) -> list[AcceptanceRecord]:
        """Give those about attempts in a context that still hold: what has changed since is what had changed then."""
        now = {(change.kind, change.what, change.now) for change in changes if change.kind in OF_CODE}
        if not now:
            return []
        return [one for one in self.records if context in one.contexts and now <= set(one.covers)]

    def about(self, fitting: Iterable[AcceptanceRecord], index: int) -> AcceptanceRecord | None:
        """Give the last of these that is about a task."""
        found = [one for one in fitting if one.whole or self._reads.accepts(one.id, index)]
        return found[-1] if found else None

    def count(self, fitting: Sequence[AcceptanceRecord], tally: Tally) -> int:
        """Count the results of a sum that these are about."""
        if any(one.whole for one in fitting):
            return tally.accepted
        return self._reads.count_accepted(self._map, tally.context, [one.id for one in fitting])


class Staleness:
    """Judges the results of one map.

    ``code`` gives where a file of code or a program lies now, ``folder`` is the absolute one its tasks start in,
    ``environment`` the digest of the present environment, None where none was ever captured, ``software`` gives what
    counts of an environment by its digest; ``reads`` tells what has changed of the results of other maps that attempts
    read; ``acceptances`` are what somebody holds of results of older code. ``node`` is this one: where attempts ran on
    another one, a program that is absent here, or of the system, says nothing, for a login node is no compute node.
    """

    def __init__(
        self, code: Callable[[str], str], folder: str,
        contexts: Mapping[int, ContextRecord], digest: Digest, environment: str | None,
        reads: ReadResults | None = None, *, software: Callable[[str], str], acceptances: Acceptances, node: str,
    ) -> None:
        self._software = software
        self._node = node
        self._code = code
        self._folder = folder
        self._contexts = contexts
        self._digest = digest
        self._environment = environment
        self._reads = reads
        self.acceptances = acceptances
        self._digests: dict[str, str | None] = {}
        self._fits: dict[int, list[AcceptanceRecord]] = {}
        self._judged: dict[int, tuple[Change, ...]] = {}

    def of_context(self, id: int) -> tuple[Change, ...]:
        """Give what makes results of attempts under these circumstances stale, but for what somebody holds of all."""
        fitting = self._fitting(id)
        return self._but_code(self.changed(id)) if any(one.whole for one in fitting) else self.changed(id)

    def changed(self, id: int) -> tuple[Change, ...]:
        """Give what has changed since attempts ran under these circumstances."""
        if id not in self._judged:
            self._judged[id] = tuple(self._changes(self._contexts[id]))
        return self._judged[id]

    def of_task(self, shown: Shown) -> tuple[Change, ...]:
        """Give what has changed since a task's accepted attempt ran, the task's own inputs included."""
        attempt = shown.attempt
        if attempt is None or attempt.number != shown.task.accepted:
            return ()
        reads = self._reads.changes(shown) if self._reads is not None else ()
        changed = self.changed(attempt.context)
        if self.acceptance(shown) is not None:
            changed = self._but_code(changed)
        return (*changed, *self.of_inputs(shown.artifacts), *reads)

    def acceptance(self, shown: Shown) -> AcceptanceRecord | None:
        """Give by whose word the result of a task holds although its code has changed; None if by nobody's."""
        attempt = shown.attempt
        if attempt is None or attempt.number != shown.task.accepted:
            return None
        return self.acceptances.about(self._fitting(attempt.context), shown.task.index)

    def held(self, tallies: Iterable[Tally]) -> int:
        """Count accepted results whose code has changed and that somebody holds to be valid."""
        return sum(self._held(tally) for tally in tallies if tally.accepted)

    def prepare(self, tasks: Sequence[Shown]) -> None:
        """Look up at once what judging these tasks one by one will ask for."""
        if self._reads is not None:
            self._reads.prepare(tasks)

    def of_inputs(self, artifacts: Iterable[Artifact]) -> tuple[Change, ...]:
        """Give the inputs of an attempt whose files have another content now."""
        return tuple(
            change
            for read in artifacts
            if read.role == "input" and read.path is not None
            for change in self._compared(
                "input", posixpath.join(self._folder, read.path), read.path, read.digest.hex()
            )
        )

    def suspects(self, contexts: Iterable[int]) -> list[int] | None:
        """Give the circumstances whose results can be stale, the tasks' own inputs left aside.

        None: what other maps gave has changed, which is told task by task.
        """
        if self._reads is not None and self._reads.superseded():
            return None
        return [id for id in contexts if self.changed(id)]

    def is_stale(self, shown: Shown) -> bool:
        """Tell whether the result of a task is stale."""
        return bool(self.of_task(shown))

    def count(self, tallies: Iterable[Tally]) -> int:
        """Count accepted results that are stale by what many share; what each task read alone is not looked at."""
        return sum(self._stale(tally) for tally in tallies if tally.accepted)

    def _stale(self, tally: Tally) -> int:
        changed = self.changed(tally.context)
        if not changed:
            return 0
        return tally.accepted - (0 if self._but_code(changed) else self._held(tally))

    def _held(self, tally: Tally) -> int:
        fitting = self._fitting(tally.context)
        return self.acceptances.count(fitting, tally) if fitting else 0

    def _fitting(self, context: int) -> list[AcceptanceRecord]:
        if not self.acceptances.records:
            return []
        if context not in self._fits:
            self._fits[context] = self.acceptances.fitting(context, self.changed(context))
        return self._fits[context]

    @staticmethod
    def _but_code(changes: Iterable[Change]) -> tuple[Change, ...]:
        return tuple(change for change in changes if change.kind not in OF_CODE)

    def _changes(self, context: ContextRecord) -> Iterable[Change]:
        if context.uses is not None:
            for path, then in sorted(context.uses.files.items()):
                yield from self._compared("code", self._code(path), path, then)
            here = context.node == self._node
            for tool in context.uses.tools:
                if here or not tool.path.startswith(_OF_SYSTEM):
                    changes = self._compared("tool", self._code(tool.path), tool.path, tool.sha256)
                    yield from (change for change in changes if here or change.now is not None)
        for path, then, _ in context.inputs:
            yield from self._compared("input", posixpath.join(self._folder, path), path, then)
        # Numbers of threads belong to the job: a login node has other ones than a compute node.
        then, now = context.environment, self._environment
        if now is not None and then != now and self._software(then) != self._software(now):
            yield Change("environment", "environment", then, now)

    def _compared(
        self, kind: Literal["code", "tool", "input"], full: str, path: str, then: str
    ) -> tuple[Change, ...]:
        if full not in self._digests:
            self._digests[full] = self._digest(full)
        now = self._digests[full]
        return () if now == then else (Change(kind, path, then, now),)
